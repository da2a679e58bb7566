/* report.c - the one door for everything that is reported: whether, how loud, and to whom.
 * SPDX-License-Identifier: MIT
 *
 *     a violation --> count it --> site seen before? --> stacks --> the story --> suppressed? --> callback or sink
 *                                    repeat: count                                 count
 *
 * Invariant: once its thread is an owner (the first thing a report sees to) it does not call malloc, throw,
 *   longjmp or take a lock but that of the writing (sink.c); it is made on whatever thread was caught, also in a
 *   signal handler or while the thread exits. Its memory is not on the stack, which may be a signal's.
 * Invariant: a report inside a report (a callback that does wrong) is counted and not printed.
 * Invariant: every violation is counted once, as printed, repeated or suppressed. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "probe.h"
#include "repeat.h"
#include "report.h"
#include "sink.h"
#include "suppress.h"

#define TEXT_BYTES (32 << 10)
#define JSON_BYTES (96 << 10)
#define SHORT_BYTES 600
#define STACK_BYTES (13 << 10)

typedef void (*report_fn)(const struct tether_report *report, void *context);

/* The callback and its context, as one: `version` is odd while they are being written. A reader that
 * cannot get a whole pair (it may be a signal handler that interrupted the writer) writes to standard
 * error instead. */
static struct {
	pthread_mutex_t lock; /* writers */
	_Atomic unsigned version;
	_Atomic(report_fn) fn;
	_Atomic(void *) context;
} callback = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct tetheri_told tetheri_told;

/* ---- The callback ---------------------------------------------------------------------------- */

static report_fn read_callback(void **context)
{
	for (int tries = 0; tries < 1000; tries++) {
		/* Acquire, all three: pairs with the releases of the writer. A pair read between two equal,
		 * even versions is whole: had we read a newer word, the version read after it is newer too. */
		unsigned before = atomic_load_explicit(&callback.version, memory_order_acquire);
		report_fn fn = atomic_load_explicit(&callback.fn, memory_order_acquire);
		*context = atomic_load_explicit(&callback.context, memory_order_acquire);
		if (before % 2 == 0 && before == atomic_load_explicit(&callback.version, memory_order_relaxed))
			return fn;
	}
	return NULL;
}

void tetheri_report_lock(void)
{
	pthread_mutex_lock(&callback.lock);
}

void tetheri_report_unlock(void)
{
	pthread_mutex_unlock(&callback.lock);
}

void tether_set_report_callback(report_fn fn, void *context)
{
	tetheri_report_lock();
	unsigned version = atomic_load_explicit(&callback.version, memory_order_relaxed);
	atomic_store_explicit(&callback.version, version + 1, memory_order_relaxed);
	/* Release: the odd version before either word. */
	atomic_store_explicit(&callback.fn, fn, memory_order_release);
	atomic_store_explicit(&callback.context, context, memory_order_release);
	/* Release: both words before the even version. */
	atomic_store_explicit(&callback.version, version + 2, memory_order_release);
	tetheri_report_unlock();
}

/* ---- Whether --------------------------------------------------------------------------------- */

void tether_set_level(enum tether_level level)
{
	bool valid = level >= TETHER_COUNT && level <= TETHER_ABORT;

	(void)tether_set_option("level", tetheri_level_name(valid ? level : TETHER_WARN_ONCE));
}

static enum tether_level level_of(const struct tetheri_event *event)
{
	if (event->type && event->type->level > TETHER_LEVEL_DEFAULT && event->type->level <= TETHER_ABORT)
		return event->type->level;
	return (enum tether_level)tetheri_option(level);
}

/* What is told once by itself, and is another thing each time. */
static bool is_episode(const struct tetheri_event *event)
{
	return event->kind == TETHER_STALLED || event->kind == TETHER_RESTLESS || event->kind == TETHER_LEFT_OVER;
}

static bool is_once(const struct tetheri_event *event, enum tether_level level)
{
	return level == TETHER_WARN_ONCE && !is_episode(event) && tetheri_option(dedup) != TETHERI_DEDUP_NONE;
}

static void count_repeat(void)
{
	atomic_fetch_add_explicit(&tetheri_told.repeated, 1, memory_order_relaxed);
}

/* ---- How ------------------------------------------------------------------------------------- */

/* Where the text goes, taken before the story, which then has what is left. */
struct output {
	int format;
	char *bytes;
	size_t size;
};

static struct output take_output(struct tetheri_scratch *scratch)
{
	struct output output = {.format = tetheri_option(format)};

	output.size = output.format == TETHERI_FORMAT_TEXT ? TEXT_BYTES : TEXT_BYTES + JSON_BYTES;
	output.bytes = tetheri_scratch_take(scratch, output.size);
	return output;
}

/* As a line. What is too deep is short without its stacks, and still JSON. */
static size_t put_json(struct tether_report *report, char *bytes, size_t size)
{
	size_t used = tether_report_json(report, bytes, size - 1);

	if (used >= size - 1) {
		report->at.count = report->bound.count = report->owner_made.count = report->history_count = 0;
		report->type = NULL; /* the verdict has it, cut */
		used = tether_report_json(report, bytes, size - 1);
	}
	assert(used < size - 1);
	bytes[used] = '\n';
	return used + 1;
}

static void write_report(struct tether_report *report, const struct output *output)
{
	struct tetheri_text text = {.bytes = output->bytes, .size = TEXT_BYTES, .colors = tetheri_sink_has_colors()};
	size_t used = 0;

	if (output->format != TETHERI_FORMAT_JSONL) {
		tetheri_report_text(report, &text);
		used = tetheri_text_length(&text);
	}
	if (output->format != TETHERI_FORMAT_TEXT)
		used += put_json(report, output->bytes + used, output->size - used);
	tetheri_sink_write(output->bytes, used);
}

static void call_back(report_fn fn, void *context, struct tether_report *report, const struct output *output)
{
	struct tetheri_text text = {.bytes = output->bytes, .size = TEXT_BYTES};

	tetheri_report_text(report, &text);
	report->text = text.bytes;
	report->text_bytes = tetheri_text_length(&text);
	fn(report, context);
}

/* What can be said without memory, or on a small stack. */
static void tell_shortly(const struct tetheri_event *event, enum tether_level level, const char *why)
{
	char bytes[SHORT_BYTES];
	struct tetheri_text text = {.bytes = bytes, .size = sizeof bytes};
	struct tether_report report = {.kind = event->kind,
	                               .level = level,
	                               .operation = event->operation,
	                               .object = event->tag,
	                               .owner = event->owner,
	                               .caller = tether_self_,
	                               .file = event->file,
	                               .line = event->line,
	                               .function = event->function,
	                               .address = event->address,
	                               .owner_drained_ns = UINT64_MAX,
	                               .bound_ns = UINT64_MAX,
	                               .text = bytes};
	void *context;
	report_fn fn = read_callback(&context);

	tetheri_put(&text, "==%d== tether: %s, in %s, called from %p", (int)getpid(), tetheri_words(event->kind)->title,
	            event->operation, event->address);
	if (event->file)
		tetheri_put(&text, " at %.300s:%d in %.100s()", event->file, event->line, event->function);
	tetheri_put(&text, " (%s to tell more)\n", why);
	report.text_bytes = tetheri_text_length(&text);
	report.verdict = report.summary = tetheri_words(event->kind)->title;
	report.advice = tetheri_words(event->kind)->advice;
	if (fn)
		fn(&report, context);
	else
		tetheri_sink_write(bytes, tetheri_text_length(&text));
}

static bool may_print(enum tether_level level)
{
	uint64_t max = (uint64_t)tetheri_option(max_reports);

	if (atomic_fetch_add_explicit(&tetheri_told.printed, 1, memory_order_relaxed) < max || max == 0 || level == TETHER_ABORT)
		return true;
	atomic_fetch_sub_explicit(&tetheri_told.printed, 1, memory_order_relaxed);
	count_repeat();
	return false;
}

/* True: it was told. */
static bool tell(const struct tetheri_event *event, enum tether_level level, struct tetheri_scratch *scratch)
{
	struct output output = take_output(scratch);
	struct tetheri_stacks *stacks = tetheri_scratch_take(scratch, sizeof *stacks);
	struct tether_report *report = tetheri_scratch_take(scratch, sizeof *report);
	bool by_stack = tetheri_option(dedup) == TETHERI_DEDUP_STACK;
	void *context;
	int number;

	tetheri_story_trace(event, stacks);
	uintptr_t way = tetheri_repeat_key(event, &stacks->at);
	if (by_stack && is_once(event, level) && tetheri_repeat_is(way)) {
		count_repeat();
		return false;
	}
	if ((number = tetheri_repeat_suppressed(way)) != TETHERI_SUPPRESS_NONE && tetheri_suppress_again(number))
		return false;
	tetheri_story_tell(event, level, stacks, scratch, report);
	if (tetheri_suppress_any() && (number = tetheri_suppress_find(report)) != TETHERI_SUPPRESS_NONE) {
		tetheri_suppress_count(number);
		tetheri_repeat_suppress(way, number);
		return false;
	}
	/* Only now: another way to the same site may not be suppressed. */
	if (is_once(event, level) && !tetheri_repeat_add(by_stack ? way : tetheri_repeat_key(event, NULL))) {
		count_repeat(); /* another thread was first */
		return false;
	}
	if (!may_print(level))
		return false;
	report_fn fn = read_callback(&context);
	if (fn)
		call_back(fn, context, report, &output);
	else
		write_report(report, &output);
	return true;
}

/* Reading a module's symbols for the first time took 12 KiB of stack where it was measured, anything else 5.5. */
bool tetheri_has_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	stack_t stack;

	if (here >= tetheri_thread.stack_low && here < tetheri_thread.stack_high)
		return here - tetheri_thread.stack_low >= STACK_BYTES;
	if (sigaltstack(NULL, &stack) != 0 || !(stack.ss_flags & SS_ONSTACK))
		return true;
	return here - (uintptr_t)stack.ss_sp >= STACK_BYTES;
}

/* With cancellation disabled, once at a time in a thread. True: it was told. */
static bool tell_as_far_as_possible(const struct tetheri_event *event, enum tether_level level)
{
	bool has_stack = tetheri_has_stack(), is_told = true;
	struct tetheri_scratch *scratch = has_stack ? tetheri_scratch_get() : NULL;

	if (scratch) {
		is_told = tell(event, level, scratch);
		tetheri_scratch_put(scratch);
	} else if (is_once(event, level) && !tetheri_repeat_add(tetheri_repeat_key(event, NULL))) {
		count_repeat();
		is_told = false;
	} else if (may_print(level)) {
		tell_shortly(event, level, has_stack ? "there is no memory" : "the stack is too small");
	}
	return is_told;
}

/* Is it only to be counted? */
static bool is_silent(const struct tetheri_event *event, enum tether_level level)
{
	if (tetheri_thread.reporting || level == TETHER_COUNT)
		return true;
	return is_once(event, level) && tetheri_option(dedup) == TETHERI_DEDUP_SITE &&
	       tetheri_repeat_is(tetheri_repeat_key(event, NULL));
}

static bool report_alone(const struct tetheri_event *event, enum tether_level level)
{
	int cancel_state;

	tetheri_thread.reporting = true;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	TETHERI_PROBE_REPORT(event->kind, event->tag);
	bool is_told = tell_as_far_as_possible(event, level);
	pthread_setcancelstate(cancel_state, NULL);
	tetheri_thread.reporting = false;
	return is_told;
}

void tetheri_report_restart(void)
{
	atomic_store_explicit(&tetheri_told.printed, 0, memory_order_relaxed);
	atomic_store_explicit(&tetheri_told.repeated, 0, memory_order_relaxed);
}

void tetheri_report(const struct tetheri_event *event)
{
	int saved_errno = errno;

	/* A thread that is caught becomes an owner, to have a number and a name; unless that is what failed. */
	if (event->kind != TETHER_NO_OWNER && tether_self_ == TETHER_NOBODY_ && !tetheri_thread.reporting)
		(void)tetheri_owner_make(event->address);
	enum tether_level level = level_of(event);
	tetheri_count_shared(failed);
	if (is_silent(event, level))
		count_repeat();
	else if (report_alone(event, level) && (level == TETHER_ABORT || tetheri_option(abort)))
		abort(); /* all is as it was, for a handler of SIGABRT that does not return */
	errno = saved_errno;
}

void tetheri_event_fill(struct tetheri_event *event, enum tether_kind kind, const char *operation, const struct tether *tag,
                        const void *address)
{
	/* Acquire: pairs with the release of the transition that left this state. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	*event = (struct tetheri_event){.kind = kind,
	                                .operation = operation,
	                                .tag = tag,
	                                .owner = tetheri_tag_home(tag),
	                                .other = tetheri_tag_other(tag),
	                                .word = word,
	                                .origin = tetheri_tag_origin(tag),
	                                .address = address};
	if (tetheri_word_is_tag(tag, word))
		event->type = tetheri_word_type(word);
}

void tetheri_report_tag(enum tether_kind kind, const char *operation, const struct tether *tag, const void *address)
{
	struct tetheri_event event;

	tetheri_event_fill(&event, kind, operation, tag, address);
	tetheri_report(&event);
}

void tetheri_report_call(enum tether_kind kind, const char *operation, const void *address)
{
	struct tetheri_event event = {.kind = kind, .operation = operation, .address = address};

	tetheri_report(&event);
}
