/* report.h - what violations print, who hears of them, and the counters.
 * SPDX-License-Identifier: MIT
 *
 * Fork: the child inherits callback and levels. Signal handlers: none of these functions. Thread
 * exit: a report made while a thread exits still names its owner. */
#ifndef TETHER_REPORT_H
#define TETHER_REPORT_H

#include <tether/tag.h>

TETHER_BEGIN_

/** What was violated. */
enum tether_kind {
	TETHER_WRONG_THREAD = 0,   /* touched from a thread that does not own it */
	TETHER_UNCLAIMED = 1,      /* touched while nobody owns it */
	TETHER_IN_TRANSIT = 2,     /* touched while its owner changes */
	TETHER_USE_AFTER_DROP = 3, /* touched after it was dropped, or destroyed */
	TETHER_DOUBLE_DROP = 4,    /* dropped a second time */
	TETHER_NEVER_BOUND = 5,    /* a tag of zeroes */
	TETHER_OVERWRITTEN = 6,    /* not a tag, or no longer one */
	TETHER_OTHER_COPY = 7,     /* bound by another copy of the library in this process */
	TETHER_LEAKED = 8,         /* dropped after its owner had gone, and its type says LEAK */
	TETHER_DOUBLE_POST = 9,    /* a message posted while still on its way */
	TETHER_BAD_OWNER = 10,     /* an owner number that is none */
	TETHER_BAD_TYPE = 11,      /* a type descriptor that is none */
	TETHER_NO_OWNER = 12,      /* no owner could be made for a thread */
	TETHER_NO_WAKE = 13,       /* no descriptor for an inbox */
	TETHER_BAD_CALL = 14       /* a function called where it may not be */
};

/** One report, as a callback sees it. Strings and the structure live until the callback returns. */
struct tether_report {
	enum tether_kind kind;
	enum tether_level level; /* never DEFAULT */
	const char *operation;   /* "check", "drop", "post", ... */
	const void *object;      /* NULL where there is none */
	const char *type;        /* its type's name, or NULL */
	tether_owner_t owner;    /* whose it is, or was; 0: nobody's, or not known */
	uint64_t owner_number;   /* as people read it: owner #5 */
	const char *owner_name;  /* NULL: not known any more */
	bool owner_is_alive;
	tether_owner_t caller; /* who was caught; 0: a thread without an owner */
	uint64_t caller_number;
	const char *caller_name;
	const char *file; /* of the check; NULL for functions */
	int line;
	const char *function; /* NULL: not known */
	const void *address;  /* where the call came from */
	const char *text;     /* the whole message, ending in a newline */
	size_t text_bytes;
};

/** Have reports passed to `callback` instead of written to standard error; NULL: write them again.
 * It is called on the thread that was caught, possibly in a signal handler (if a check fails in one),
 * with no lock held, cancellation disabled; it must return (no exception, no pthread_exit). What it
 * reports itself is counted and not printed.
 * Any thread. When it returns, a callback set before may still be running on another thread. */
TETHER_API void tether_set_report_callback(void (*callback)(const struct tether_report *report, void *context), void *context);

/** The level of types that do not name one, and of what concerns no type. At process exit a summary of
 * what was reported, leaked and left pending goes to standard error, unless there is nothing to say or
 * this level is TETHER_COUNT. TETHER_LEVEL_DEFAULT restores TETHER_WARN_ONCE. Any thread. Wait-free. */
TETHER_API void tether_set_level(enum tether_level level);

/** What happened to an owner's objects. At a quiet point (nobody is inside the library) exact, and
 * then queued == run_home + orphaned + pending, for each owner and in total. */
struct tether_counters {
	uint64_t bound;         /* objects bound or claimed by it */
	uint64_t failed_checks; /* reports and repeats it caused, of every kind */
	uint64_t dropped_here;  /* objects it destroyed inside tether_drop() */
	uint64_t sent;          /* drops and messages that it sent to an inbox or to the orphan path */
	uint64_t queued;        /* drops and messages that its own inbox received, and orphans it found */
	uint64_t run_home;      /* of those, run here as their owner */
	uint64_t orphaned;      /* of those, whose owner had gone */
	uint64_t leaked;        /* of the orphaned, those never destroyed */
	uint64_t pending;       /* of those, not handled yet */
	uint64_t wakeups;       /* wake-ups made for it */
};

/** The counters of an owner; of all, past and present, where `owner` is 0.
 * Any thread. Takes a short lock. 0, or -ESRCH: the owner has ended and its counters have joined the total. */
TETHER_API int tether_stats(tether_owner_t owner, struct tether_counters *out);

TETHER_END_

#endif
