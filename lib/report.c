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
#include "report.h"
#include "set.h"
#include "sink.h"
#include "suppress.h"

#define TEXT_BYTES (32 << 10)
#define JSON_BYTES (96 << 10)
#define SHORT_BYTES 600
#define STACK_BYTES (20 << 10)

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

void tether_set_report_callback(report_fn fn, void *context)
{
	pthread_mutex_lock(&callback.lock);
	unsigned version = atomic_load_explicit(&callback.version, memory_order_relaxed);
	atomic_store_explicit(&callback.version, version + 1, memory_order_relaxed);
	/* Release: the odd version before either word. */
	atomic_store_explicit(&callback.fn, fn, memory_order_release);
	atomic_store_explicit(&callback.context, context, memory_order_release);
	/* Release: both words before the even version. */
	atomic_store_explicit(&callback.version, version + 2, memory_order_release);
	pthread_mutex_unlock(&callback.lock);
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

static uintptr_t mix(uintptr_t hash, uintptr_t value)
{
	return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

/* The set does not take 0 and all ones; a full set lets everything through. */
static bool is_new(uintptr_t hash)
{
	return tetheri_set_add(TETHERI_SET_SITES, (hash & (UINTPTR_MAX >> 1)) | 1) != TETHERI_SET_THERE;
}

static uintptr_t site_hash(const struct tetheri_event *event)
{
	uintptr_t site = event->file ? mix((uintptr_t)event->file, (uintptr_t)event->line) : (uintptr_t)event->address;

	return mix(mix(mix(1, event->kind), site), (uintptr_t)event->type);
}

static uintptr_t stack_hash(const struct tetheri_event *event, const struct tetheri_stack *stack)
{
	uintptr_t hash = site_hash(event);

	for (uint32_t i = 0; i < stack->depth; i++)
		hash = mix(hash, stack->pc[i]);
	return hash;
}

/* Which suppression a site was found to fit, so that its repeats are counted as that. Direct-mapped: one that
 * is displaced counts as repeated. Relaxed: each word says all. */
#define SITES 1024
#define NUMBER_MASK UINT64_C(0xffff)
static _Atomic uint64_t suppressed_sites[SITES];

static void remember_suppressed(uintptr_t hash, int number)
{
	if ((unsigned)number < NUMBER_MASK)
		atomic_store_explicit(&suppressed_sites[hash % SITES], (hash & ~NUMBER_MASK) | ((unsigned)number + 1),
		                      memory_order_relaxed);
}

static void count_repeat(uintptr_t hash)
{
	uint64_t word = atomic_load_explicit(&suppressed_sites[hash % SITES], memory_order_relaxed);

	if (word != 0 && ((word ^ hash) & ~NUMBER_MASK) == 0)
		tetheri_suppress_count((int)(word & NUMBER_MASK) - 1);
	else
		atomic_fetch_add_explicit(&tetheri_told.repeated, 1, memory_order_relaxed);
}

/* An episode of stall.c is told once by itself. */
static bool is_once(const struct tetheri_event *event, enum tether_level level)
{
	return level == TETHER_WARN_ONCE && event->kind != TETHER_STALLED;
}

/* ---- How ------------------------------------------------------------------------------------- */

static void write_report(struct tether_report *report, struct tetheri_scratch *scratch)
{
	int format = tetheri_option(format);
	size_t room = format == TETHERI_FORMAT_TEXT ? TEXT_BYTES : TEXT_BYTES + JSON_BYTES;
	struct tetheri_text text = {.bytes = tetheri_scratch_take(scratch, room), .size = TEXT_BYTES};

	if (!text.bytes)
		return;
	text.colors = tetheri_sink_has_colors();
	if (format != TETHERI_FORMAT_JSONL)
		tetheri_report_text(report, &text);
	if (format != TETHERI_FORMAT_TEXT) {
		size_t at = text.used ? tetheri_text_length(&text) : 0;
		size_t used = tether_report_json(report, text.bytes + at, JSON_BYTES - 1);
		if (used >= JSON_BYTES - 1) {
			/* Too deep: without its stacks it is short, and still JSON. */
			report->at.count = report->bound.count = report->owner_made.count = report->history_count = 0;
			used = tether_report_json(report, text.bytes + at, JSON_BYTES - 1);
		}
		text.bytes[at + used] = '\n';
		text.used = at + used + 1;
		text.size = room;
	}
	tetheri_sink_write(text.bytes, tetheri_text_length(&text));
}

static void call_back(report_fn fn, void *context, struct tether_report *report, struct tetheri_scratch *scratch)
{
	struct tetheri_text text = {.bytes = tetheri_scratch_take(scratch, TEXT_BYTES), .size = TEXT_BYTES};

	if (text.bytes)
		tetheri_report_text(report, &text);
	report->text = text.bytes ? text.bytes : "";
	report->text_bytes = text.bytes ? tetheri_text_length(&text) : 0;
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
	atomic_fetch_add_explicit(&tetheri_told.repeated, 1, memory_order_relaxed);
	return false;
}

/* True: it was told. */
static bool tell(const struct tetheri_event *event, enum tether_level level, struct tetheri_scratch *scratch)
{
	struct tetheri_stacks *stacks = tetheri_scratch_take(scratch, sizeof *stacks);
	struct tether_report *report = tetheri_scratch_take(scratch, sizeof *report);
	void *context;
	int number;

	tetheri_story_trace(event, stacks);
	uintptr_t hash = tetheri_option(dedup) == TETHERI_DEDUP_STACK ? stack_hash(event, &stacks->at) : site_hash(event);
	if (tetheri_option(dedup) == TETHERI_DEDUP_STACK && is_once(event, level) && !is_new(hash)) {
		count_repeat(hash);
		return false;
	}
	tetheri_story_tell(event, level, stacks, scratch, report);
	if (tetheri_suppress_any() && (number = tetheri_suppress_find(report)) != TETHERI_SUPPRESS_NONE) {
		tetheri_suppress_count(number);
		remember_suppressed(hash, number);
		return false;
	}
	if (!may_print(level))
		return false;
	report_fn fn = read_callback(&context);
	if (fn)
		call_back(fn, context, report, scratch);
	else
		write_report(report, scratch);
	return true;
}

/* Reading a module's symbols for the first time took 12 KiB of stack where it was measured, anything else 5.5. */
static bool has_stack(void)
{
	stack_t stack;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	if (sigaltstack(NULL, &stack) != 0 || !(stack.ss_flags & SS_ONSTACK))
		return true;
	return here - (uintptr_t)stack.ss_sp >= STACK_BYTES;
}

/* With cancellation disabled, once at a time in a thread. */
static void tell_as_far_as_possible(const struct tetheri_event *event, enum tether_level level)
{
	struct tetheri_scratch *scratch = has_stack() ? tetheri_scratch_get() : NULL;
	bool is_told = true;

	if (scratch)
		is_told = tell(event, level, scratch);
	else if (may_print(level))
		tell_shortly(event, level, has_stack() ? "there is no memory" : "the signal's stack is too small");
	if (scratch)
		tetheri_scratch_put(scratch);
	if (is_told && (level == TETHER_ABORT || tetheri_option(abort)))
		abort();
}

void tetheri_report(const struct tetheri_event *event)
{
	int saved_errno = errno, cancel_state;
	bool nested = tetheri_thread.reporting;

	/* A thread that is caught becomes an owner, to have a number and a name; unless that is what failed. */
	if (event->kind != TETHER_NO_OWNER && tether_self_ == TETHER_NOBODY_ && !nested)
		(void)tetheri_owner_make(event->address);
	enum tether_level level = level_of(event);
	tetheri_count_shared(failed);
	if (nested || level == TETHER_COUNT) {
		atomic_fetch_add_explicit(&tetheri_told.repeated, 1, memory_order_relaxed);
	} else if (is_once(event, level) && tetheri_option(dedup) == TETHERI_DEDUP_SITE && !is_new(site_hash(event))) {
		count_repeat(site_hash(event));
	} else {
		tetheri_thread.reporting = true;
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
		TETHERI_PROBE_REPORT(event->kind, event->tag);
		tell_as_far_as_possible(event, level);
		pthread_setcancelstate(cancel_state, NULL);
		tetheri_thread.reporting = false;
	}
	errno = saved_errno;
}

void tetheri_report_tag(enum tether_kind kind, const char *operation, const struct tether *tag, const void *address)
{
	struct tetheri_event event = {.kind = kind, .operation = operation, .tag = tag, .address = address};
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	event.owner = tetheri_tag_home(tag);
	if (tetheri_word_is_tag(tag, word))
		event.type = tetheri_word_type(word);
	tetheri_report(&event);
}

void tetheri_report_call(enum tether_kind kind, const char *operation, const void *address)
{
	struct tetheri_event event = {.kind = kind, .operation = operation, .address = address};

	tetheri_report(&event);
}
