/* report.h - what violations print, who hears of them, and the counters.
 * SPDX-License-Identifier: MIT
 *
 * Fork: the child inherits callback, options and what was told once; its counters begin at zero, but for what is
 * pending. Where it has no descriptor left, TETHER_NO_WAKE is reported inside fork().
 * Signal handlers: tether_describe, tether_dump and tether_kind_name; none of the others. (A check that fails in a handler
 * is reported all the same; in one line where its stack has less than 13 KiB to spare.) Thread exit: a report made while a
 * thread exits still names its owner. dlclose: a callback must be taken back before its module goes. */
#ifndef TETHER_REPORT_H
#define TETHER_REPORT_H

#include <tether/tag.h>

TETHER_BEGIN_

/** What was violated. */
enum tether_kind {
	TETHER_WRONG_THREAD = 0,       /* touched from a thread that does not own it */
	TETHER_UNCLAIMED = 1,          /* touched while nobody owns it */
	TETHER_IN_TRANSIT = 2,         /* touched while its owner changes */
	TETHER_USE_AFTER_DROP = 3,     /* touched after it was dropped, or destroyed */
	TETHER_DOUBLE_DROP = 4,        /* dropped a second time */
	TETHER_NEVER_BOUND = 5,        /* a tag of zeroes */
	TETHER_OVERWRITTEN = 6,        /* not a tag, or no longer one */
	TETHER_OTHER_COPY = 7,         /* bound by another copy of the library in this process */
	TETHER_LEAKED = 8,             /* dropped after its owner had gone, and its type says LEAK */
	TETHER_DOUBLE_POST = 9,        /* a message posted while still on its way */
	TETHER_BAD_OWNER = 10,         /* an owner number that is none */
	TETHER_BAD_TYPE = 11,          /* a type descriptor that is none */
	TETHER_NO_OWNER = 12,          /* no owner could be made for a thread */
	TETHER_NO_WAKE = 13,           /* no descriptor for an inbox */
	TETHER_BAD_CALL = 14,          /* a function called where it may not be */
	TETHER_WRONG_THREAD_DROP = 15, /* its destructor was called, directly, on a thread that does not own it */
	TETHER_STALLED = 16,           /* an owner does not drain: see the options stall_ms, queue_warn */
	TETHER_UNSENDABLE_MOVED = 17,  /* a move of an object whose type is TETHER_UNSENDABLE; refused */
	TETHER_BAD_MOVE = 18,          /* a move that the object's state forbids; refused */
	TETHER_LENT_USE = 19,          /* touched by its lender while it is lent */
	TETHER_NOT_RETURNED = 20,      /* a borrower ended without giving it back; it went home */
	TETHER_HAS_CHILDREN = 21,      /* ended, or left to nobody, while other objects follow it; refused */
	TETHER_OVERLAP = 22,           /* two users at once of what only one may use at a time */
	TETHER_BAD_COUNT = 23,         /* a reference count that went too far up or down, or was never begun */
	TETHER_OWNER_BUSY = 24,        /* an owner entered while another thread is inside */
	TETHER_EXIT_INSIDE = 25,       /* a thread ended inside an owner that is not its own */
	TETHER_RESTLESS = 26,          /* what an ending owner runs goes on sending to it */
	TETHER_LEFT_OVER = 27,         /* tether_shutdown() ran out of time */
	TETHER_WRONG_OWNER_FD = 28,    /* a descriptor of another owner, closed or given away */
	TETHER_STALE_FD = 29,          /* a descriptor that was closed, whose number may be another one by now */
	TETHER_FOREIGN_DROP = 30       /* let go on another thread, by a collector perhaps, see python.h; it goes home */
};

/** The name of a kind in suppressions and JSON: "wrong-thread-use", "double-drop", ...; "unknown" for a
 * number that is none. Any thread, signal handlers too. */
TETHER_API const char *tether_kind_name(enum tether_kind kind);

/** One step of a call stack. Where the compiler inlined functions, one address has several frames, innermost
 * first. What is not known is NULL, or 0. */
struct tether_frame {
	const void *address;  /* where the call returns to; NULL: the check says so itself, and no address does */
	const char *function; /* by its symbol */
	const char *file;
	int line;
	bool is_inlined;      /* into the frame that follows */
	const char *module;   /* the file that contains the code */
	uintptr_t offset;     /* of the call in it, as addr2line wants it */
	const char *build_id; /* of the module, hexadecimal */
};

struct tether_stack {
	const struct tether_frame *frames; /* innermost first */
	size_t count;                      /* 0: not recorded */
	const char *cut;                   /* NULL: whole; else why the rest is missing */
};

/** What happened to an object: one entry of its history. */
enum tether_event_kind {
	TETHER_EVENT_NONE = 0,
	TETHER_EVENT_BOUND = 1,
	TETHER_EVENT_PREPARED = 2, /* tether_bind_later: nobody's yet */
	TETHER_EVENT_CLAIMED = 3,
	TETHER_EVENT_UNBOUND = 4,
	TETHER_EVENT_HANDED_OFF = 5,
	TETHER_EVENT_LENT = 6,
	TETHER_EVENT_RETURNED = 7,
	TETHER_EVENT_SHARED = 8,
	TETHER_EVENT_DROPPED = 9,
	TETHER_EVENT_DESTROYED = 10,
	TETHER_EVENT_ENDED = 11,   /* tether_fini */
	TETHER_EVENT_RECEIVED = 12 /* by the owner that it was handed to, or by its sender again */
};

struct tether_event {
	enum tether_event_kind kind;
	tether_owner_t by;   /* who did it; 0: a thread without an owner */
	uint64_t by_number;  /* 0: not known any more */
	const char *by_name; /* NULL: not known any more */
	int by_tid;          /* of a thread without an owner; else 0 */
	uint64_t ago_ns;
	struct tether_stack at; /* with bind_stacks=off only the caller */
};

#define TETHER_HISTORY_EVENTS 4

/** What tether_shutdown() could not drain: of one owner, what is of one type. */
struct tether_left {
	tether_owner_t owner;
	uint64_t owner_number;
	const char *owner_name;  /* NULL: not known */
	const char *owner_doing; /* what it is running, or last ran; NULL: not known */
	const char *type;        /* "message" for messages; NULL: not known, as the owner has taken it from its inbox already */
	uint64_t count;          /* 0: nothing is pending, but what the owner is doing has not returned */
};

/** One report, as a callback sees it. Strings and the structure live until the callback returns. Later
 * versions may add fields at its end. */
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
	const char *text;     /* the whole message, ending in a newline, without colour */
	size_t text_bytes;

	const char *verdict;     /* what happened, in one line */
	const char *advice;      /* what to do */
	const char *summary;     /* "wrong-thread use src/conn.c:88 in conn_write (conn: loop-2 -> pool-0)" */
	const char *suppression; /* the line for a suppressions file; NULL: cannot be suppressed */
	int pid;
	int caller_tid;
	int owner_tid;                      /* 0: not known any more */
	uint64_t owner_drained_ns;          /* how long ago it last drained; UINT64_MAX: never, or not known */
	uint64_t owner_pending;             /* drops and messages that it has not handled */
	const char *owner_doing;            /* what it last did, NULL: not known */
	const char *label;                  /* the object's, NULL: it has none */
	size_t object_bytes;                /* the type's size, 0: not known */
	uint64_t bound_ns;                  /* how long ago it was bound; UINT64_MAX: not recorded */
	struct tether_stack at;             /* where it happened */
	struct tether_stack bound;          /* where it got its owner */
	struct tether_stack owner_made;     /* where its owner was first seen */
	const struct tether_event *history; /* newest first */
	size_t history_count;               /* 0: not recorded; see the option `history` */
	uint64_t history_forgotten;         /* older events */
	tether_owner_t other;               /* the other one in it: who has it now, or shall have it; 0: there is none */
	uint64_t other_number;
	const char *other_name;
	const char *other_role;      /* what it is: "on its way to", "lent to", "in use by", ... */
	bool owner_is_lost;          /* the owner did not survive a fork of its process */
	bool owner_is_logical;       /* see owner.h; owner_tid is then that of the thread inside, 0: nobody is */
	tether_owner_t owner_inside; /* the own owner of the thread that is inside, or is to come back; 0: nobody's */
	uint64_t owner_inside_number;
	const char *owner_inside_name;
	tether_owner_t thread; /* the calling thread's own owner, where `caller` is a logical one that it is inside of; else 0 */
	uint64_t thread_number;
	const char *thread_name;
	const struct tether_left *left; /* of tether_shutdown(); an owner's lie together */
	size_t left_count;
	uint64_t left_more; /* pending, and not in `left`, which ends at 64 */
	int error;          /* of TETHER_NO_WAKE: what the kernel said, an errno; 0: not known */
};

/** Have reports passed to `callback` instead of written; NULL: write them again.
 * It is called on the thread that was caught, possibly in a signal handler (if a check fails in one),
 * with no lock held, cancellation disabled; it must return (no exception, no pthread_exit). What it
 * reports itself is counted and not printed.
 * Any thread. When it returns, a callback set before may still be running on another thread. */
TETHER_API void tether_set_report_callback(void (*callback)(const struct tether_report *report, void *context), void *context);

/** Write a report as one line of JSON, without a newline, as the option format=jsonl does: for callbacks.
 * `buffer` gets at most `size` bytes, the last one 0. Returns the length of the whole line; if that is not
 * less than `size`, what was written is no JSON. Any thread. Does not block or allocate. */
TETHER_API size_t tether_report_json(const struct tether_report *report, char *buffer, size_t size);

/** The level of types that do not name one, and of what concerns no type: the option `level`.
 * TETHER_LEVEL_DEFAULT restores TETHER_WARN_ONCE. Any thread. Takes a short lock. */
TETHER_API void tether_set_level(enum tether_level level);

/** Give an object a name that reports show beside its type: an address, a request's number. At most 47
 * bytes are copied. NULL takes it away. It goes with the object: a new tether_bind() starts without one.
 * Whoever may use the object; anyone for an unbound one. Takes a short lock; may ask the kernel for memory.
 * 0. -ENOMEM: there is no room. -EINVAL: not a live object that the caller may use, reported. */
TETHER_API int tether_set_label(struct tether *tag, const char *label);

/** Describe an object in one line, without a newline: type, label, state, owner, where it was bound. The
 * tag need not be sound. `buffer` gets at most `size` bytes, the last one 0. Returns the length of the
 * whole. Any thread, signal handlers too. Never blocks, allocates or reports. */
TETHER_API size_t tether_describe(const struct tether *tag, char *buffer, size_t size);

/** Describe an owner in a few words, as reports do: 'loop-1' (owner #2). `buffer` gets at most `size` bytes, the
 * last one 0. Returns the length of the whole. Any thread, signal handlers too. Never blocks, allocates or reports. */
TETHER_API size_t tether_describe_owner(tether_owner_t owner, char *buffer, size_t size);

/** Write all owners to where reports go: number, name, thread, alive or not, when it last drained, what is
 * pending, what it is doing. Any thread, signal handlers too, and from a debugger: takes no lock but that
 * of the writing. */
TETHER_API void tether_dump(void);

/** Load debug information now, which the first report would else do: it may take 100 ms or more with large
 * programs. Call it on a thread that may block, at start. Any thread. */
TETHER_API void tether_load_symbols(void);

/** Tell where the calling thread's stack lies, for code that switches stacks (fibers): call it after each
 * switch, so that the fast walk of the option `bind_stacks` knows where to stop. (NULL, 0): the thread's
 * own again. Any thread, not a signal handler. Wait-free. */
TETHER_API void tether_self_set_stack(void *low, size_t bytes);

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
