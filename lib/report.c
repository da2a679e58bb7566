/* report.c - the one door for everything that is printed.
 * SPDX-License-Identifier: MIT
 *
 *     a violation --> count it --> level, site seen before? --> format on the stack --> callback or one write
 *
 * Invariant: once its thread is an owner (the first thing a report sees to) it does not allocate, throw,
 *   longjmp or wait for another thread; it is made on whatever thread was caught, also in a signal
 *   handler or while the thread exits.
 * Invariant: a report inside a report (a callback that does wrong) is counted and not printed. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "set.h"

#define TEXT_BYTES 2048

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

static _Atomic int default_level = TETHER_WARN_ONCE;
static _Atomic uint64_t printed;
static _Atomic uint64_t repeated;

struct text {
	char bytes[TEXT_BYTES];
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
	va_list arguments;
	size_t room = sizeof text->bytes - text->used;

	va_start(arguments, format);
	int wanted = vsnprintf(text->bytes + text->used, room, format, arguments);
	va_end(arguments);
	if (wanted > 0)
		text->used += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

/* ---- The words ------------------------------------------------------------------------------- */

static const struct words {
	const char *title;
	const char *advice;
} words[] = {
	[TETHER_WRONG_THREAD] = {"used on the wrong thread",
                             "use it on its owner only: tether_post() a message there, or tether_drop() it to release it"},
	[TETHER_UNCLAIMED] = {"used while nobody owns it", "call tether_claim() where a thread takes the object over"},
	[TETHER_IN_TRANSIT] = {"used while its owner changes", "wait until it has arrived"},
	[TETHER_USE_AFTER_DROP] = {"used after it was dropped", "do not touch an object after tether_drop(), whatever it returned"},
	[TETHER_DOUBLE_DROP] = {"dropped twice", "two places think that they hold the last reference: drop it once"},
	[TETHER_NEVER_BOUND] = {"never bound", "call tether_bind() when the object is made"},
	[TETHER_OVERWRITTEN] = {"not a tag, or overwritten", "look for a write past the end of a neighbour, or a use after free"},
	[TETHER_OTHER_COPY] = {"bound by another copy of tether",
                           "link one shared libtether instead of a static copy in each module"},
	[TETHER_LEAKED] = {"leaked: its owner has gone",
                       "end the owner after its objects, or give the type the policy TETHER_ANYWHERE or TETHER_HEIR"},
	[TETHER_DOUBLE_POST] = {"message posted twice", "post a message again only after its function was called"},
	[TETHER_BAD_OWNER] = {"no such owner", "pass a number that tether_self() returned in this process"},
	[TETHER_BAD_TYPE] = {"no type", "define the type as a static struct tether_type with a TETHER_TYPE macro"},
	[TETHER_NO_OWNER] = {"no owner can be made for this thread",
                         "memory, owner slots or pthread keys have run out; its objects stay unbound"},
	[TETHER_NO_WAKE] = {"no descriptor for the inbox",
                        "descriptors have run out: call tether_drain() on each turn of the loop, with a timeout"},
	[TETHER_BAD_CALL] = {"called where it may not be", "do not call it from a destructor or a message"},
};

/* Too long a message is cut, and still ends as a message does. */
static void put_end(struct text *text)
{
	if (text->used == sizeof text->bytes - 1)
		text->bytes[text->used - 1] = '\n';
}

static void put_who(struct text *text, uint64_t number, const char *name, const char *state)
{
	if (number)
		put(text, "'%s' (owner #%llu%s)", name ? name : "?", (unsigned long long)number, state);
	else
		put(text, "%s", name ? name : "unknown");
}

static void put_site(struct text *text, const struct tether_report *report)
{
	uintptr_t offset;
	const char *module;

	if (report->file)
		put(text, "  %s at %s:%d in %s()\n", report->operation, report->file, report->line, report->function);
	else if ((module = tetheri_module_of(report->address, &offset)))
		put(text, "  %s called from %s+0x%lx\n", report->operation, *module ? module : "the executable", (unsigned long)offset);
	else
		put(text, "  %s called from %p\n", report->operation, report->address);
}

static void put_owner(struct text *text, const struct tether_report *report)
{
	bool was = report->kind == TETHER_USE_AFTER_DROP || report->kind == TETHER_DOUBLE_DROP;

	put(text, "  %s to: ", was ? "belonged" : "belongs");
	if (report->owner == 0)
		put(text, "nobody");
	else if (report->owner_number)
		put_who(text, report->owner_number, report->owner_name, report->owner_is_alive ? ", alive" : ", exited");
	else if (report->kind == TETHER_OTHER_COPY || report->kind == TETHER_OVERWRITTEN)
		put(text, "0x%llx, a number that was not given out here", (unsigned long long)report->owner);
	else
		put(text, "an owner that exited long ago");
	put(text, "\n");
}

static void put_report(struct text *text, const struct tether_report *report)
{
	const struct words *say = &words[report->kind];

	put(text, "==%d== tether: ", (int)getpid());
	if (report->object)
		put(text, "%.200s %p: ", report->type ? report->type : "object", report->object);
	put(text, "%s\n", say->title);
	put_site(text, report);
	put(text, "  on thread:  ");
	put_who(text, report->caller_number, report->caller_number ? report->caller_name : "one without an owner", "");
	put(text, "\n");
	if (report->object)
		put_owner(text, report);
	put(text, "  what to do: %s\n", say->advice);
	put_end(text);
}

/* ---- The sink -------------------------------------------------------------------------------- */

static void write_all(const char *bytes, size_t size)
{
	/* Raw: write() is a cancellation point. One call where the sink takes it whole. */
	while (size > 0) {
		long written = syscall(SYS_write, STDERR_FILENO, bytes, size);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		bytes += written;
		size -= (size_t)written;
	}
}

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

static void deliver(const struct tether_report *report)
{
	void *context;
	report_fn fn = read_callback(&context);

	if (fn)
		fn(report, context);
	else
		write_all(report->text, report->text_bytes);
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

/* ---- Whether and how loud -------------------------------------------------------------------- */

void tether_set_level(enum tether_level level)
{
	bool valid = level >= TETHER_COUNT && level <= TETHER_ABORT;

	atomic_store_explicit(&default_level, valid ? (int)level : TETHER_WARN_ONCE, memory_order_relaxed);
}

static enum tether_level level_of(const struct tetheri_event *event)
{
	if (event->type && event->type->level > TETHER_LEVEL_DEFAULT && event->type->level <= TETHER_ABORT)
		return event->type->level;
	return (enum tether_level)atomic_load_explicit(&default_level, memory_order_relaxed);
}

static uintptr_t mix(uintptr_t hash, uintptr_t value)
{
	return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

static bool is_repeat(const struct tetheri_event *event)
{
	uintptr_t site = event->file ? mix((uintptr_t)event->file, (uintptr_t)event->line) : (uintptr_t)event->address;
	uintptr_t hash = mix(mix(mix(1, event->kind), site), (uintptr_t)event->type);

	/* The set does not take 0 and all ones; a full set lets everything through. */
	return tetheri_set_add(TETHERI_SET_SITES, (hash & (UINTPTR_MAX >> 1)) | 1) == TETHERI_SET_THERE;
}

static void fill_owner(struct tether_report *report, const struct tetheri_who *owner, const struct tetheri_who *caller)
{
	report->owner_number = owner->number;
	report->owner_name = owner->number ? owner->name : NULL;
	report->owner_is_alive = owner->alive;
	report->caller_number = caller->number;
	report->caller_name = caller->number ? caller->name : NULL;
}

static void print(const struct tetheri_event *event, enum tether_level level)
{
	struct text text = {.used = 0};
	struct tetheri_who owner, caller;
	struct tether_report report = {.kind = event->kind,
	                               .level = level,
	                               .operation = event->operation,
	                               .object = event->tag,
	                               .type = event->type ? event->type->name : NULL,
	                               .owner = event->owner,
	                               .caller = tether_self_ == TETHER_NOBODY_ ? 0 : tether_self_,
	                               .file = event->file,
	                               .line = event->line,
	                               .function = event->function,
	                               .address = event->address};

	if (event->tag && event->type)
		report.object = (const char *)event->tag - event->type->offset;
	tetheri_owner_describe(report.owner, &owner);
	tetheri_owner_describe(report.caller, &caller);
	fill_owner(&report, &owner, &caller);
	put_report(&text, &report);
	report.text = text.bytes;
	report.text_bytes = text.used;
	deliver(&report);
}

void tetheri_report(const struct tetheri_event *event)
{
	int saved_errno = errno;
	enum tether_level level = level_of(event);
	bool nested = tetheri_thread.reporting;
	int cancel_state;

	/* A thread that is caught becomes an owner, to have a number and a name; unless that is what failed. */
	if (event->kind != TETHER_NO_OWNER && tether_self_ == TETHER_NOBODY_ && !nested)
		(void)tetheri_owner_make();
	tetheri_count_shared(failed);
	if (level == TETHER_COUNT || nested || (level == TETHER_WARN_ONCE && is_repeat(event))) {
		atomic_fetch_add_explicit(&repeated, 1, memory_order_relaxed);
		errno = saved_errno;
		return;
	}
	tetheri_thread.reporting = true;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	print(event, level);
	atomic_fetch_add_explicit(&printed, 1, memory_order_relaxed);
	pthread_setcancelstate(cancel_state, NULL);
	tetheri_thread.reporting = false;
	if (level == TETHER_ABORT)
		abort();
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

/* ---- At exit --------------------------------------------------------------------------------- */

static void put_pending(struct text *text)
{
	struct tether_counters counters;
	struct tetheri_who who;

	tetheri_table_lock();
	uint32_t size = tetheri_table_size();
	tetheri_table_unlock();
	for (uint32_t i = 0; i < size; i++) {
		tether_owner_t id = atomic_load_explicit(&tetheri_table_at(i)->id, memory_order_relaxed);
		if (tether_stats(id, &counters) != 0 || counters.pending == 0)
			continue;
		tetheri_owner_describe(id, &who);
		put(text, "  pending for '%s' (owner #%llu): %llu\n", who.name, (unsigned long long)who.number,
		    (unsigned long long)counters.pending);
	}
}

/* Say, once, what was wrong and what was lost. On standard error: a callback may be gone by now. */
void tetheri_report_at_exit(void)
{
	struct text text = {.used = 0};
	struct tether_counters total;

	(void)tether_stats(0, &total);
	if (total.failed_checks == 0 && total.pending == 0 && total.leaked == 0)
		return;
	if (atomic_load_explicit(&default_level, memory_order_relaxed) == TETHER_COUNT)
		return;
	put(&text, "==%d== tether: at exit: %llu reports (%llu more not printed), %llu leaked, %llu pending\n", (int)getpid(),
	    (unsigned long long)atomic_load_explicit(&printed, memory_order_relaxed),
	    (unsigned long long)atomic_load_explicit(&repeated, memory_order_relaxed), (unsigned long long)total.leaked,
	    (unsigned long long)total.pending);
	put_pending(&text);
	put_end(&text);
	write_all(text.bytes, text.used);
}
