/* words.c - what reports say: the name, the verdict and the advice of each kind of violation.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "report.h"

#define LINE_BYTES 512

static const struct tetheri_words table[] = {
	[TETHER_WRONG_THREAD] = {"wrong-thread-use", "wrong-thread use", "used",
                             "use it on its owner only: tether_post() a message there, or tether_drop() it to release it"},
	[TETHER_UNCLAIMED] = {"unclaimed-use", "use of what nobody owns", "used",
                          "call tether_claim() where a thread takes the object over"},
	[TETHER_IN_TRANSIT] = {"in-transit-use", "use while its owner changes", "used", "wait until it has arrived"},
	[TETHER_USE_AFTER_DROP] = {"use-after-drop", "use after drop", "used",
                               "do not touch an object after tether_drop(), whatever it returned"},
	[TETHER_DOUBLE_DROP] = {"double-drop", "double drop", "dropped again",
                            "two places think that they hold the last reference: drop it once"},
	[TETHER_NEVER_BOUND] = {"never-bound", "use of what was never bound", "used", "call tether_bind() when the object is made"},
	[TETHER_OVERWRITTEN] = {"overwritten", "not a tag, or overwritten", "used",
                            "look for a write past the end of a neighbour, or a use after free"},
	[TETHER_OTHER_COPY] = {"other-copy", "bound by another copy of tether", "used",
                           "link one shared libtether instead of a static copy in each module"},
	[TETHER_LEAKED] = {"leaked", "leak: its owner has gone", "dropped",
                       "end the owner after its objects, or give the type the policy TETHER_ANYWHERE or TETHER_HEIR"},
	[TETHER_DOUBLE_POST] = {"double-post", "message posted twice", "posted",
                            "post a message again only after its function was called"},
	[TETHER_BAD_OWNER] = {"bad-owner", "no such owner", "named",
                          "pass a number that tether_self() or tether_owner_create() gave in this process"},
	[TETHER_BAD_TYPE] = {"bad-type", "no type", "bound",
                         "define the type as a static struct tether_type with a TETHER_TYPE macro"},
	[TETHER_NO_OWNER] = {"no-owner", "no owner can be made", "called",
                         "memory, owner slots or pthread keys have run out; what it would own stays unbound"},
	[TETHER_NO_WAKE] = {"no-wake", "no descriptor for the inbox", "called",
                        "call tether_drain() on each turn of the loop, with a timeout; or tether_set_wake()"},
	[TETHER_BAD_CALL] = {"bad-call", "called where it may not be", "called", "do not call it from a destructor or a message"},
	[TETHER_WRONG_THREAD_DROP] = {"wrong-thread-drop", "wrong-thread drop", "destroyed",
                                  "call tether_drop() instead of its destructor: it is then destroyed on its owner"},
	[TETHER_STALLED] = {"stalled-owner", "stalled owner", "sent to",
                        "let it call tether_drain() on each turn of its loop, and do nothing there that blocks"},
	[TETHER_UNSENDABLE_MOVED] = {"unsendable-move", "move of an unsendable object", "moved",
                                 "use it on its first owner for all its life, or take TETHER_UNSENDABLE from its type"},
	[TETHER_BAD_MOVE] = {"bad-move", "move of what cannot be moved", "moved",
                         "move it only while its owner holds it alone: not shared, lent, on its way, nor following another"},
	[TETHER_LENT_USE] = {"lent-use", "use while it is lent", "used", "wait until its borrower has called tether_return()"},
	[TETHER_NOT_RETURNED] = {"not-returned", "borrowed and not returned", "kept",
                             "call tether_return() before the borrower ends; it is its lender's again"},
	[TETHER_HAS_CHILDREN] = {"has-children", "others follow it", "ended", "end or drop what follows it first"},
	[TETHER_OVERLAP] = {"overlapping-use", "overlapping use", "used",
                        "let one finish before the other begins: a lock, or one owner"},
	[TETHER_BAD_COUNT] = {"bad-count", "reference count out of range", "counted",
                          "call tether_ref_init() first, and match each tether_ref_get() with one tether_ref_put()"},
	[TETHER_OWNER_BUSY] = {"owner-busy", "owner entered by two", "entered",
                           "leave it first: an owner runs on one thread at a time, and is entered there once"},
	[TETHER_EXIT_INSIDE] = {"exit-inside", "thread ended inside an owner", "left",
                            "call tether_owner_leave() before the thread ends; it was left now"},
	[TETHER_RESTLESS] = {"restless-owner", "an ending owner does not come to rest", "sent to",
                         "let what it runs at its end stop sending to it"},
	[TETHER_LEFT_OVER] = {"left-over", "not everything could be drained", "waited for",
                          "let each owner drain, and end, before the process does"},
	[TETHER_WRONG_OWNER_FD] = {"wrong-owner-fd", "descriptor of another owner", "closed",
                               "let its owner close it, or make it yours first by tether_fd_exchange()"},
	[TETHER_STALE_FD] = {"stale-fd", "descriptor of an earlier life", "used",
                         "close it once, by tether_fd_close() only, and forget its number and id then"},
	[TETHER_FOREIGN_DROP] = {"foreign-drop", "drop on another thread", "dropped",
                             "nothing has to be done: it goes home. To let it go there, look who still held it here"},
};
#define KINDS (sizeof table / sizeof *table)

const struct tetheri_words *tetheri_words(enum tether_kind kind)
{
	static const struct tetheri_words unknown = {"unknown", "unknown", "used", "look at the documentation of a newer version"};

	return (size_t)kind < KINDS ? &table[kind] : &unknown;
}

const char *tetheri_other_role(enum tether_kind kind)
{
	static const char *const roles[] = {
		[TETHER_IN_TRANSIT] = "on its way to",   [TETHER_LENT_USE] = "lent to",      [TETHER_NOT_RETURNED] = "lent to",
		[TETHER_OVERLAP] = "in use by",          [TETHER_OWNER_BUSY] = "entered by", [TETHER_RESTLESS] = "kept busy by",
		[TETHER_WRONG_OWNER_FD] = "expected of", [TETHER_STALE_FD] = "adopted for"};

	return (size_t)kind < sizeof roles / sizeof *roles ? roles[kind] : NULL;
}

const char *tether_kind_name(enum tether_kind kind)
{
	return tetheri_words(kind)->name;
}

const char *tetheri_level_name(enum tether_level level)
{
	static const char *const names[] = {"default", "count", "once", "warn", "abort"};

	return (size_t)level < sizeof names / sizeof *names ? names[level] : "unknown";
}

const char *tetheri_event_name(enum tether_event_kind kind)
{
	static const char *const names[] = {"nothing",  "bound",  "prepared", "claimed",   "unbound", "handed off", "lent",
	                                    "returned", "shared", "dropped",  "destroyed", "ended",   "received"};

	return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

/* As C programmers call it aloud. */
const char *tetheri_type_word(const char *name)
{
	if (!name)
		return "object";
	return strncmp(name, "struct ", 7) == 0 ? name + 7 : name;
}

void tetheri_put_owner(struct tetheri_text *text, uint64_t number, const char *name)
{
	if (number)
		tetheri_put(text, "'%s' (owner #%llu)", name ? name : "?", (unsigned long long)number);
	else
		tetheri_put(text, "one that is not known any more");
}

const struct tether_frame *tetheri_blamed(const struct tether_report *report)
{
	for (size_t i = 0; i < report->at.count; i++)
		if (report->at.frames[i].file && report->at.frames[i].line > 0)
			return &report->at.frames[i];
	return NULL;
}

/* ---- One line each --------------------------------------------------------------------------- */

static bool is_gone(enum tether_kind kind)
{
	return kind == TETHER_USE_AFTER_DROP || kind == TETHER_DOUBLE_DROP || kind == TETHER_LEAKED;
}

static const char *caller_word(const struct tether_report *report)
{
	return report->caller_name ? report->caller_name : "a thread without an owner";
}

static void put_object(struct tetheri_text *text, const struct tether_report *report)
{
	tetheri_put(text, "%.200s ", tetheri_type_word(report->type));
	if (report->label)
		tetheri_put(text, "\"%s\"", report->label);
	else
		tetheri_put(text, "%p", report->object);
}

static void put_belongs(struct tetheri_text *text, const struct tether_report *report)
{
	const char *belongs = is_gone(report->kind) ? "belonged" : "belongs";

	if (report->owner == 0)
		tetheri_put(text, " %s to nobody", belongs);
	else if (report->owner_number)
		tetheri_put(text, " %s to '%s'%s", belongs, report->owner_name,
		            report->owner_is_lost ? ", which did not survive the fork" : "");
	else if (report->owner_is_lost)
		tetheri_put(text, " %s to an owner that did not survive the fork", belongs);
	else if (report->kind == TETHER_OTHER_COPY || report->kind == TETHER_OVERWRITTEN)
		tetheri_put(text, " belongs to 0x%llx, a number that was not given out here", (unsigned long long)report->owner);
	else
		tetheri_put(text, " %s to an owner that exited long ago", belongs);
}

static void put_left(struct tetheri_text *text, const struct tether_report *report)
{
	unsigned long long pending = report->left_more;
	size_t owners = 0;

	for (size_t i = 0; i < report->left_count; i++) {
		pending += report->left[i].count;
		owners += i == 0 || report->left[i].owner != report->left[i - 1].owner;
	}
	tetheri_put(text, ": %llu pending for ", pending);
	if (owners == 1)
		tetheri_put_owner(text, report->left[0].owner_number, report->left[0].owner_name);
	else
		tetheri_put(text, "%zu owners%s", owners, report->left_more ? " and more" : "");
}

/* Not strerror(), which may allocate and speaks any language. */
static void put_error(struct tetheri_text *text, int error)
{
	switch (error) {
	case 0:
		break;
	case EMFILE:
	case ENFILE:
		tetheri_put(text, ", as descriptors have run out");
		break;
	case ENOMEM:
		tetheri_put(text, ", as the kernel has no memory");
		break;
	default:
		tetheri_put(text, ", as the kernel refuses eventfd and pipe (errno %d)", error);
	}
}

static void put_verdict(struct tetheri_text *text, const struct tether_report *report)
{
	const struct tetheri_words *words = tetheri_words(report->kind);

	tetheri_put(text, "%s", words->title);
	if (report->object) {
		tetheri_put(text, ": ");
		put_object(text, report);
		put_belongs(text, report);
		tetheri_put(text, ", %s on '%s'", words->done, caller_word(report));
	} else if (report->kind == TETHER_STALLED) {
		tetheri_put(text, ": '%s' does not drain, %llu pending", report->owner_name ? report->owner_name : "?",
		            (unsigned long long)report->owner_pending);
	} else if (report->kind == TETHER_OWNER_BUSY || report->kind == TETHER_EXIT_INSIDE) {
		tetheri_put(text, ": '%s', %s on '%s'", report->owner_name ? report->owner_name : "?", words->done, caller_word(report));
	} else if (report->kind == TETHER_LEFT_OVER) {
		put_left(text, report);
	} else if (report->kind == TETHER_RESTLESS) {
		tetheri_put(text, ": '%s' %.250s", report->owner_name ? report->owner_name : "?",
		            report->owner_doing ? report->owner_doing : "");
	} else {
		tetheri_put(text, ": %s on '%s'", report->operation, caller_word(report));
		put_error(text, report->error);
	}
}

/* What is known better where a function says so. */
static const char *advice_on(const struct tether_report *report)
{
	static const struct {
		enum tether_kind kind;
		const char *operation, *advice;
	} table[] = {
		{TETHER_BAD_OWNER, "tether_owner_enter", "enter what tether_owner_create() made, until tether_owner_end()"},
		{TETHER_BAD_OWNER, "tether_owner_end", "end what tether_owner_create() made, and once"},
		{TETHER_BAD_CALL, "tether_owner_enter", "enter it before the thread's own owner has ended"},
		{TETHER_BAD_CALL, "tether_owner_leave",
	     "leave what was entered, with what tether_owner_enter() returned; in a destructor "
	     "or a message, before it returns, and nothing else"},
		{TETHER_BAD_CALL, "tether_owner_exit", "do not call it from a destructor or a message, nor inside of another owner"},
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].kind == report->kind && strcmp(table[i].operation, report->operation) == 0)
			return table[i].advice;
	return tetheri_words(report->kind)->advice;
}

static void put_advice(struct tetheri_text *text, const struct tether_report *report, const char *destructor)
{
	if (report->kind == TETHER_WRONG_THREAD_DROP && destructor)
		tetheri_put(text, "call tether_drop() on it instead of %s(): it is then destroyed on '%s'", destructor,
		            report->owner_name ? report->owner_name : "its owner");
	else if (report->kind == TETHER_OVERLAP && report->other == report->caller)
		tetheri_put(text, "leave it before you end it or give it away: the end of a TETHER_SCOPE touches it");
	else if (report->kind == TETHER_BAD_CALL && report->object)
		tetheri_put(text, "match each TETHER_ENTER() with one TETHER_LEAVE() by the same owner");
	else if (report->kind == TETHER_STALLED && report->owner_is_logical && !report->owner_inside)
		tetheri_put(text, "nobody is inside: let a thread enter it and call tether_drain()");
	else if (report->owner_is_lost && (report->kind == TETHER_WRONG_THREAD || report->kind == TETHER_LEAKED))
		tetheri_put(text,
		            "of all threads only the one that forks lives on in the child: make the object there, or after the fork");
	else if (report->kind == TETHER_STALLED && report->owner_drained_ns == UINT64_MAX)
		tetheri_put(text, "it has never drained: have its loop watch tether_fd() and call tether_drain()");
	else
		tetheri_put(text, "%s", advice_on(report));
}

static void put_summary(struct tetheri_text *text, const struct tether_report *report)
{
	const struct tether_frame *blamed = tetheri_blamed(report);

	tetheri_put(text, "%s", tetheri_words(report->kind)->title);
	if (blamed)
		tetheri_put(text, " %s:%d in %s", blamed->file, blamed->line, blamed->function ? blamed->function : "??");
	else if (report->at.count > 0 && report->at.frames[0].module)
		tetheri_put(text, " %s+0x%llx", report->at.frames[0].module, (unsigned long long)report->at.frames[0].offset);
	if (report->object)
		tetheri_put(text, " (%.200s: %s -> %s)", tetheri_type_word(report->type),
		            report->owner_name ? report->owner_name : "nobody", caller_word(report));
}

static void put_suppression(struct tetheri_text *text, const struct tether_report *report)
{
	const struct tether_frame *blamed = tetheri_blamed(report);
	const char *what = blamed ? blamed->function : NULL;

	if (!what && report->type)
		what = report->type;
	if (what)
		tetheri_put(text, "%s:^%s$", tetheri_words(report->kind)->name, what);
	else
		tetheri_put(text, "%s:*", tetheri_words(report->kind)->name);
}

static const char *line_of(struct tetheri_scratch *scratch, void (*put)(struct tetheri_text *, const struct tether_report *),
                           const struct tether_report *report)
{
	struct tetheri_text text = {.bytes = tetheri_scratch_take(scratch, LINE_BYTES), .size = LINE_BYTES};

	if (!text.bytes)
		return "";
	put(&text, report);
	return text.bytes;
}

void tetheri_words_fill(struct tether_report *report, const char *destructor, struct tetheri_scratch *scratch)
{
	struct tetheri_text advice = {.bytes = tetheri_scratch_take(scratch, LINE_BYTES), .size = LINE_BYTES};

	if (advice.bytes)
		put_advice(&advice, report, destructor);
	report->advice = advice.bytes ? advice.bytes : tetheri_words(report->kind)->advice;
	report->verdict = line_of(scratch, put_verdict, report);
	report->summary = line_of(scratch, put_summary, report);
	report->suppression = line_of(scratch, put_suppression, report);
}
