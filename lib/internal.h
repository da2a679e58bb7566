/* internal.h - what the files of the library share: slots, inboxes, runners, and who may touch what.
 * SPDX-License-Identifier: MIT
 *
 *      tag.c  message.c          what an object or a message goes through
 *        \      /
 *         drop.c                 the mark, where a node goes, the orphan policies
 *           |
 *      inbox.c -> wake.c -> wake_fd.c     publish, take, arm, close; waking the owner
 *           |
 *      loop.c                    drain, park                    run.c    call destructors and messages
 *           |
 *      batch.c             drops that are collected, marked late and published together
 *           |
 *      limit.c stall.c     senders that look at what is pending
 *           |
 *      owner.c                   ids and slots; name.c, thread_exit.c     type.c   which types are real -> set.h, module.c
 *      fork.c                    what a fork leaves of all this
 *           |
 *      report.c                  the one door for everything that is printed, see report.h; stats.c the counters
 */
#ifndef TETHER_INTERNAL_H
#define TETHER_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>

#include <tether/tether.h>

#include "clock.h"
#include "options.h"
#include "side.h"
#include "stack.h"
#include "tsan.h"
#include "word.h"

#pragma GCC visibility push(hidden)

#define tetheri_likely(condition) __builtin_expect(!!(condition), 1)
#define tetheri_unlikely(condition) __builtin_expect(!!(condition), 0)
#define TETHERI_CACHE_LINE 64

/* ---- Owners ---------------------------------------------------------------------------------- */

#define TETHERI_INDEX_BITS 20
#define TETHERI_INDEX_MASK ((UINT64_C(1) << TETHERI_INDEX_BITS) - 1)
#define TETHERI_CHUNK_SLOTS 64
#define TETHERI_CHUNKS ((1 << TETHERI_INDEX_BITS) / TETHERI_CHUNK_SLOTS)
#define TETHERI_NAME_WORDS 4
#define TETHERI_NAME_BYTES (TETHERI_NAME_WORDS * 8)

/* A name that a report may read while its owner writes it: words, so that a reader sees old or new
 * ones and never a data race. */
struct tetheri_name {
	_Atomic uint64_t word[TETHERI_NAME_WORDS];
};

struct tetheri_list {
	struct tether *first, *last;
};

/* Nodes that are published together, linked from the newest to the oldest. */
struct tetheri_chain {
	struct tether *newest, *oldest;
	uint64_t count;
};

/* What runs destructors: part of an owner, so that a destructor which never returns strands nothing;
 * a thread without an owner has one of its own. */
struct tetheri_runner {
	struct tetheri_list later;       /* dropped inside a destructor; owner only */
	bool in_destructor;              /* owner only */
	bool draining;                   /* owner only */
	unsigned frames;                 /* of run.c, begun and not ended, on whatever stack; owner only */
	int cancel_state;                /* the thread's, outside of them; owner only */
	unsigned refused;                /* entries of use.c: as many leave and were not inside; owner only */
	const struct tether *destroying; /* whose it is, until it has ended its tag itself; owner only */
	struct tether *parent;           /* whom that followed, and who may end after it; owner only */
};

/* Each is written by its owner's thread alone, by a relaxed load and store, and read by anyone. Those
 * that a signal handler may change as well are marked: they are changed by fetch_add only. */
struct tetheri_counts {
	_Atomic uint64_t bound;
	_Atomic uint64_t here;       /* destroyed inside tether_drop */
	_Atomic uint64_t sent;       /* by tether_drop */
	_Atomic uint64_t sent_later; /* by tether_drop_later and tether_post; handlers */
	_Atomic uint64_t received;   /* taken from the inbox, or dropped here inside a destructor */
	_Atomic uint64_t forwarded;  /* of those, sent on to an heir */
	_Atomic uint64_t run_home;
	_Atomic uint64_t orphaned; /* of those received */
	_Atomic uint64_t direct;   /* orphans that never entered an inbox; handlers */
	_Atomic uint64_t leaked;   /* handlers */
	_Atomic uint64_t failed;   /* handlers */
};

/* Beside a type in `doing`; types are aligned. */
#define TETHERI_NOW ((uintptr_t)1)    /* it still is at that */
#define TETHERI_DRAINS ((uintptr_t)2) /* it is draining, and has not come to another yet */
#define TETHERI_BUSY (TETHERI_NOW | TETHERI_DRAINS)

#define TETHERI_AHEAD 32 /* nodes; with 16 a drain takes two fifths longer, 64 measured the same */

/* The last nodes that were sent to one owner, as hints: their addresses, complemented, so that leak checkers do not
 * take them for references. They are only ever prefetched: what lies there may have been freed long ago. */
struct tetheri_recent {
	const struct tetheri_slot *to;
	uint64_t sent;
	uint64_t hint[TETHERI_AHEAD];
};

struct tetheri_batch; /* batch.h */

struct tetheri_slot {
	/* What senders touch. */
	_Alignas(TETHERI_CACHE_LINE) _Atomic uint64_t head; /* see inbox.c */
	_Atomic uint64_t id;                                /* the owner that has the slot, or had it last */
	_Atomic uint64_t overflow;                          /* nodes published while the head's count was full; never reset */
	_Atomic uint64_t woken;                             /* wake-ups that have ended; release by the waker, acquire by the owner */
	/* How to wake. Written by the owner while nobody can be waking (see wake.c), read by the sender
	 * that consumed ARMED. */
	void (*wake)(void *context);
	void *wake_context;
	int write_fd;
	_Atomic int tid;        /* its thread's */
	_Atomic uint64_t since; /* since when something is pending, see stall.c */
	/* What senders look at, see limit.c and stall.c. `over` and its context are the owner's while nobody is in `callers`. */
	_Atomic uint64_t limit;   /* of what may be pending; 0: there is none. The owner writes it */
	_Atomic uint64_t over_at; /* how many pending call `over` next, see limit.c; senders and the owner */
	_Atomic uint64_t callers; /* senders that may be in `over`, and whether they may */
	void (*over)(void *context, size_t pending);
	void *over_context;
	_Atomic uint64_t took;    /* when it last took what was in its inbox: tetheri_now_coarse(); 0: never */
	_Atomic uint64_t held;    /* somebody looks at what is in the inbox, see inbox.c */
	_Atomic uint64_t sent_by; /* who sent last, while somebody wants to know, see rest.c; else 0 */
	/* The owner's alone; what is atomic is read by reports. */
	_Alignas(TETHERI_CACHE_LINE) int read_fd;
	bool armed;                /* the inbox was ARMED, and I have not looked since */
	bool parks;                /* tether_park() has been used: drains do not arm */
	bool lingers;              /* something was taken since it last parked */
	bool lingered;             /* and then it slept unarmed, see tether_park_for() */
	uint8_t lulls;             /* how many such sleeps in a row brought nothing, up to a bound */
	uint8_t takes_left;        /* how many takes there are to the next, for that reason; 0: as with 1 */
	bool ending;               /* it runs what is left, and takes nothing new */
	uint64_t consumed;         /* ARMEDs found consumed: as many wake-ups were or will be made */
	uint64_t self_signals;     /* writes to the descriptor by the owner itself */
	uint64_t cleared;          /* writes read back from the descriptor */
	struct tetheri_list taken; /* first in, first out */
	struct tetheri_runner runner;
	struct tetheri_runner *active;   /* what runs a callback of it, while another owner is current, see logical.c */
	struct tetheri_slot *outer;      /* of a logical owner: what the thread inside was before it entered; else NULL */
	_Atomic uint64_t inside;         /* of a logical owner: who is inside, see logical.c; else 0 */
	_Atomic uint64_t late;           /* what this thread drops for itself once the inbox is closed; handlers */
	_Atomic uint64_t overflow_taken; /* the part of `overflow` that was taken; never reset */
	_Atomic uint64_t drained;        /* when it last looked into its inbox: tetheri_now(); 0: never */
	_Atomic uintptr_t doing;         /* the type of the object or message that it was last at, and whether it is busy */
	_Atomic(const void *) doing_fn;  /* the message's function */
	uint64_t messages;               /* that were run; owner only */
	_Atomic tetheri_origin_t made;   /* where the owner was first seen */
	struct tetheri_counts counts;
	struct tetheri_recent recent;   /* what it sent; handlers may spoil it */
	struct tetheri_batch *batch;    /* of a thread's own owner, and of those that have had the slot; NULL: none yet */
	struct tetheri_loan *loans;     /* what was lent to it; under the loans' lock, as `loans_closed` */
	_Atomic(struct tether *) shown; /* at exit: the newest node, as `head` looks like no address */
	/* `name`: its owner's; `number`: under the table's lock; both read by anyone. The rest: under the lock. */
	struct tetheri_name name;
	_Atomic uint64_t number;
	_Atomic uint64_t lost; /* the last owner of the slot that a fork left behind; read by anyone */
	bool loans_closed;
	bool in_use; /* its counters have not joined the total */
	uint32_t index;
	uint32_t next_free;
};

/* A thread's own part; with all others under the 128 bytes of TLS that we allow ourselves (tests/build/symbols.py). */
struct tetheri_thread {
	struct tetheri_slot *slot;     /* of the current owner; NULL before the thread's own is made and after it has ended */
	struct tetheri_slot *own;      /* of the thread's own owner, likewise */
	struct tetheri_runner *active; /* what runs a destructor or message of the current owner at this moment, else NULL */
	struct tetheri_runner runner;  /* while there is no slot */
	bool batching;                 /* drops are collected, see batch.c; so it has an owner of its own */
	bool reporting;
	bool in_side;              /* it holds a lock of side.c, or waits for one */
	unsigned char ended : 1;   /* its owner; no handler changes this byte */
	unsigned char leaving : 1; /* the thread's exit has begun, and its owner was made before */
	unsigned char exit_rounds : 6;
	unsigned halfway;                /* logical owners that it left in the middle of a callback */
	uintptr_t stack_low, stack_high; /* of the stack that it runs on, see stack.c; 0: not known */
};

extern __thread struct tetheri_thread tetheri_thread;
extern _Atomic(struct tetheri_slot *) tetheri_chunk[TETHERI_CHUNKS];
extern uint64_t tetheri_first_generation; /* written once, before the first id exists */
extern struct tetheri_counts tetheri_nobody;

enum tetheri_place {
	TETHERI_ALIVE,
	TETHERI_EXITED,
	TETHERI_NOT_OURS /* no id that this copy of the library gave out */
};

/* Where an id's owner lives, or lived. Wait-free; the answer may be old when it arrives, so a sender finds out
 * by its CAS on the head. */
static inline enum tetheri_place tetheri_owner_find(tether_owner_t id, struct tetheri_slot **out)
{
	uint64_t index = id & TETHERI_INDEX_MASK;
	/* Acquire: pairs with the release in owner.c that published the chunk, zeroed. */
	struct tetheri_slot *chunk = atomic_load_explicit(&tetheri_chunk[index / TETHERI_CHUNK_SLOTS], memory_order_acquire);

	if (tetheri_unlikely(!chunk))
		return TETHERI_NOT_OURS;
	struct tetheri_slot *slot = &chunk[index % TETHERI_CHUNK_SLOTS];
	/* Acquire: pairs with the release that reopened the slot; the head read next is no older. */
	uint64_t now = atomic_load_explicit(&slot->id, memory_order_acquire);
	*out = slot;
	if (tetheri_likely(now == id))
		return TETHERI_ALIVE;
	bool ours = id >> TETHERI_INDEX_BITS >= tetheri_first_generation && id < now;
	return ours ? TETHERI_EXITED : TETHERI_NOT_OURS;
}

/* owner.c */
/* From now on the calling thread is this owner, and runs what that was running. Handlers that come in between find the
 * old one or the new one, or send to the one what is the other's: a drain sends that on. */
void tetheri_owner_become(struct tetheri_slot *slot);
/* The caller's slot, made if need be; NULL: none, or ended. `caller`: who called the library. */
struct tetheri_slot *tetheri_owner_make(const void *caller);
struct tetheri_who {
	uint64_t number; /* 0: not known */
	char name[TETHERI_NAME_BYTES];
	bool alive;
	bool lost;                 /* a fork left it behind */
	struct tetheri_slot *slot; /* while it has one */
};
void tetheri_owner_describe(tether_owner_t id, struct tetheri_who *out);
void tetheri_owner_finish(struct tetheri_slot *slot); /* the caller's: run all, close, wait for wake-ups */
void tetheri_owner_end(struct tetheri_slot *slot);    /* the calling thread's own */
void tetheri_owner_lose(struct tetheri_slot *slot);   /* in a child: nobody is there; under the table's lock */
bool tetheri_owner_is_lost(tether_owner_t id);
struct tetheri_slot *tetheri_slot_open(tetheri_origin_t made, const char *name, bool is_logical); /* NULL: no room */
void tetheri_slot_retire(struct tetheri_slot *slot); /* it is finished, and nobody's any more */
void tetheri_table_lock(void);
void tetheri_table_unlock(void);
uint32_t tetheri_table_size(void);                          /* slots ever made */
struct tetheri_slot *tetheri_table_at(uint32_t index);      /* below a size that was read */
bool tetheri_slot_is_open(const struct tetheri_slot *slot); /* it may close at any moment */

/* logical.c */
/* What `inside` says of a logical owner: its own id, nobody's there; the id of a thread's own owner; or that with this
 * bit: the thread has left in the middle of a callback, and nobody else may enter. No id has it. */
#define TETHERI_HALFWAY (UINT64_C(1) << 63)
bool tetheri_logical_come_back(struct tetheri_slot *home); /* a callback did not return where it was called; false: it cannot */
void tetheri_logical_visit_mine(void (*visit)(void *context), void *context); /* as each that the thread is inside of */
void tetheri_logical_visit(struct tetheri_slot *slot, void (*visit)(void *context), void *context); /* if nobody is inside */
void tetheri_logical_exit(void); /* the thread ends: leave all, reported */

/* Who is inside of a logical owner, or is to come back: a thread's own owner; or the same as its own id: nobody. 0: it is
 * no logical one. */
static inline tether_owner_t tetheri_logical_inside(const struct tetheri_slot *slot)
{
	/* Relaxed: it is printed, or compared. */
	return atomic_load_explicit(&slot->inside, memory_order_relaxed) & ~TETHERI_HALFWAY;
}

/* fork.c */
/* Among what is pending for lost owners there may be something to keep. Relaxed: it is set before such a node can be in
 * a list, and a fork copies both as of one instant. */
extern _Atomic bool tetheri_fork_looks;
static inline void tetheri_fork_look(void)
{
	if (!atomic_load_explicit(&tetheri_fork_looks, memory_order_relaxed))
		atomic_store_explicit(&tetheri_fork_looks, true, memory_order_relaxed);
}
bool tetheri_fork_is_waiting(void);                 /* something waits in this child for the first owner that is made */
void tetheri_fork_adopt(struct tetheri_slot *slot); /* the caller's, which is new: it takes what waits for an owner */

/* name.c */
void tetheri_name_write(struct tetheri_name *name, const char *text);
void tetheri_name_read(const struct tetheri_name *name, char *text);
void tetheri_name_from_thread(struct tetheri_name *name);
void tetheri_name_remember(const struct tetheri_slot *slot); /* it has gone; under the table's lock */
void tetheri_name_recall(tether_owner_t id, struct tetheri_who *out);

/* thread_exit.c */
void tetheri_exit_start(void);                          /* once in a process */
bool tetheri_exit_watch(struct tetheri_thread *thread); /* false: no memory, or no key */

/* type.c */
bool tetheri_type_register(const struct tether_type *type); /* false: not a type; it is not read unless aligned */
void tetheri_type_remember(const struct tether_type *type); /* tries; it is a type */
bool tetheri_type_known_slow(const struct tether_type *type);
bool tetheri_type_in_module(const struct tether_type *type); /* readable, and looks like a type */
#define TETHERI_TYPE_CACHE 64
extern _Atomic(const struct tether_type *) tetheri_type_cache[TETHERI_TYPE_CACHE];
extern const struct tether_type tetheri_message_type;
/* An object of this type was destroyed or ended; for the summary at exit. */
extern _Atomic(const struct tether_type *) tetheri_type_ended[TETHERI_TYPE_CACHE]; /* of the last ones */
void tetheri_type_note_end_slow(const struct tether_type *type);
const struct tether_type *tetheri_type_never_ended(unsigned *at); /* the next one from *at on, 0 at first; NULL: no more */

static inline unsigned tetheri_type_slot(const struct tether_type *type)
{
	return ((uintptr_t)type >> 6) % TETHERI_TYPE_CACHE;
}

/* Relaxed: the pointer is compared, never followed through the cache. */
static inline bool tetheri_type_is_cached(const struct tether_type *type)
{
	return tetheri_likely(atomic_load_explicit(&tetheri_type_cache[tetheri_type_slot(type)], memory_order_relaxed) == type);
}

/* Was this type bound in this process? Only then may a word that may be garbage be followed. */
static inline bool tetheri_type_known(const struct tether_type *type)
{
	return tetheri_type_is_cached(type) || tetheri_type_known_slow(type);
}

static inline void tetheri_type_note_end(const struct tether_type *type)
{
	if (tetheri_unlikely(atomic_load_explicit(&tetheri_type_ended[tetheri_type_slot(type)], memory_order_relaxed) != type))
		tetheri_type_note_end_slow(type);
}

/* module.c: among the loaded modules; any thread, no allocation. */
bool tetheri_module_has(const void *address, size_t bytes);
bool tetheri_module_has_code(const void *return_address);
const char *tetheri_module_of(const void *address, uintptr_t *offset); /* "": the executable; NULL: none */

/* Is any of this wanted? The fast paths ask once for all. */
static inline bool tetheri_traces(unsigned what)
{
	return tetheri_unlikely(atomic_load_explicit(&tetheri_trace, memory_order_relaxed) & what);
}

/* One more event of an object's history, by the calling thread. */
void tetheri_note_slow(const struct tether *tag, enum tether_event_kind kind, const void *caller);
static inline void tetheri_note(const struct tether *tag, enum tether_event_kind kind, const void *caller)
{
	if (tetheri_traces(TETHERI_TRACE_HISTORY))
		tetheri_note_slow(tag, kind, caller);
}

/* What stands for a thread without an owner: its number in the kernel. No id has this bit. */
#define TETHERI_NO_OWNER_BIT (UINT64_C(1) << 63)

/* tag.c */
tetheri_origin_t tetheri_tag_origin(const struct tether *tag);              /* where and when it was bound, while that is known */
tetheri_origin_t tetheri_origin_now(const void *frame, const void *caller); /* for a tag, as the options say */
bool tetheri_type_check(struct tether *tag, const struct tether_type *type, const char *operation,
                        const void *address); /* false: not a type, reported, and the tag zeroed */
void tetheri_bind(struct tether *tag, const struct tether_type *type, const void *caller);
bool tetheri_tag_is_strange(const struct tether *tag, uint64_t word);
tether_owner_t tetheri_tag_home(const struct tether *tag);  /* whose it is, or was; for reports */
tether_owner_t tetheri_tag_other(const struct tether *tag); /* who has it, or shall have it, instead; 0: nobody */
enum tether_kind tetheri_tag_verdict(const struct tether *tag, tether_owner_t owner, uint64_t word);
bool tetheri_word_is_static(const struct tether *tag, uint64_t word);

/* A tag starts a life. */
static inline void tetheri_tag_start(struct tether *tag, const struct tether_type *type, enum tetheri_state state,
                                     tether_owner_t owner, uint64_t hint, tetheri_origin_t origin)
{
	tetheri_set_next(tag, origin);
	__atomic_store_n(&tag->hint_, hint, __ATOMIC_RELAXED);
	tetheri_tsan_bind(tag, type);
	__atomic_store_n(&tag->owner_, owner, __ATOMIC_RELAXED);
	/* Release: the object and its owner, before whoever claims or drops it acquires this state. */
	__atomic_store_n(&tag->state_, tetheri_word(type, state), __ATOMIC_RELEASE);
}

/* Is this word worth following, or garbage? */
static inline bool tetheri_word_is_tag(const struct tether *tag, uint64_t word)
{
	if (tetheri_unlikely(!tetheri_word_has_magic(word) || tetheri_word_state(word) == TETHERI_ZERO ||
	                     tetheri_word_state(word) > TETHERI_DEAD))
		return false;
	return tetheri_type_known(tetheri_word_type(word)) || tetheri_word_is_static(tag, word);
}

/* use.c */
/* Is `hint_` the user, in this state? */
static inline bool tetheri_use_is_kept(enum tetheri_state state)
{
	return state == TETHERI_UNBOUND || state == TETHERI_BOUND || state == TETHERI_SHARED;
}
tether_owner_t tetheri_use_of(const struct tether *tag); /* who is inside; 0: nobody. It may be old when it arrives */
/* The caller has just ended the object, in a state in which `hint_` is the user: report whoever is inside. */
void tetheri_use_end(struct tether *tag, const char *operation, const void *address);
/* Is anybody inside, who still lives? Then it may not change hands, and that has been reported. */
bool tetheri_use_forbids(const struct tether *tag, const char *operation, const void *address);

/* inbox.c */
bool tetheri_inbox_push(struct tetheri_slot *slot, struct tether *node);                     /* false: closed, nothing happened */
bool tetheri_inbox_push_chain(struct tetheri_slot *slot, const struct tetheri_chain *chain); /* likewise; it has nodes */
bool tetheri_inbox_push_self(struct tether *node);           /* to the caller's own, late or not; handlers */
void tetheri_inbox_take_late(struct tetheri_slot *slot);     /* after close, into `taken` */
bool tetheri_inbox_close_late(struct tetheri_slot *slot);    /* after that; false: there is something to take */
bool tetheri_inbox_is_over(const struct tetheri_slot *slot); /* both are closed: the thread's last drain has been */
bool tetheri_inbox_take(struct tetheri_slot *slot);          /* into `taken`; false: nothing there */
bool tetheri_inbox_arm(struct tetheri_slot *slot);           /* false: there is something to take, or it is closed */
void tetheri_inbox_disarm(struct tetheri_slot *slot);
void tetheri_inbox_close(struct tetheri_slot *slot); /* what was there goes to `taken` */
void tetheri_inbox_open(struct tetheri_slot *slot);
bool tetheri_inbox_has_nodes(const struct tetheri_slot *slot);
struct tether *tetheri_inbox_hold(struct tetheri_slot *slot);  /* its newest node: others may look, and nobody takes */
void tetheri_inbox_let_go(struct tetheri_slot *slot);          /* after each hold */
void tetheri_inbox_show(struct tetheri_slot *slot);            /* let leak checkers see what is pending */
uint64_t tetheri_inbox_depth(const struct tetheri_slot *slot); /* exact at quiet points */
struct tether *tetheri_inbox_newest(const struct tetheri_slot *slot);
struct tether *tetheri_inbox_newest_late(const struct tetheri_slot *slot);
void tetheri_inbox_abandon(struct tetheri_slot *slot); /* in a child: closed, nothing in it, nobody to sleep */
bool tetheri_inbox_renew(struct tetheri_slot *slot);   /* in a child; true: ARMED was consumed, and not noticed yet */

/* wake.c */
void tetheri_wake_owner(struct tetheri_slot *slot); /* by the sender that consumed ARMED */
void tetheri_wake_settle(struct tetheri_slot *slot);
void tetheri_wake_clear(struct tetheri_slot *slot);
void tetheri_wake_await(struct tetheri_slot *slot);
void tetheri_wake_end(struct tetheri_slot *slot);
void tetheri_wake_forget(struct tetheri_slot *slot); /* nobody is waking */
int tetheri_wake_renew(struct tetheri_slot *slot);   /* in a child: a descriptor of its own. 0, or -errno: it has none */
static inline bool tetheri_wake_exists(const struct tetheri_slot *slot)
{
	return slot->wake || slot->read_fd >= 0;
}

/* wake_fd.c */
int tetheri_fd_open(int fds[2]);
void tetheri_fd_signal(int write_fd);
uint64_t tetheri_fd_clear(int read_fd);
void tetheri_fd_close(int fds[2]);
int tetheri_fd_renew(int fds[2]); /* another one under the same number. 0, or -errno: it is closed */

/* run.c */
struct tetheri_run {
	struct tetheri_runner *runner;
	struct tetheri_slot *slot; /* of the owner that was current; NULL: the thread had none */
	unsigned depth;            /* how many frames the runner had, with this one */
	bool draining;
	int cancel_state;
	uint64_t usual; /* the word of the last node that was run as nearly all are; 0: of none */
};
void tetheri_run_enter(struct tetheri_run *run, bool draining);
void tetheri_run_leave(struct tetheri_run *run);
void tetheri_run_destructor(struct tetheri_runner *runner, struct tether *tag);
size_t tetheri_run_lists(struct tetheri_run *run, size_t max_nodes);
void tetheri_run_taken(struct tetheri_run *run);  /* what the current owner has taken, and nothing that comes meanwhile */
void tetheri_run_idle(struct tetheri_slot *slot); /* it is busy no more */
void tetheri_run_here(struct tether *tag);        /* now, and whatever it drops */
void tetheri_run_queue(struct tether *node);      /* behind what is running */
void tetheri_run_queued(void);                    /* now, unless a destructor is running */
void tetheri_run_later(struct tether *tag);       /* after the destructor that is running */
void tetheri_run_again(struct tether *tag);       /* after what is running: a parent, after its last child */
/* Before the caller gives `root` away: the child whose destructor is running does not count in its parent any more,
 * if that goes with it, as others may count there from now on. */
void tetheri_run_let_parent_go(const struct tether *root);
void tetheri_run_undelivered(struct tether_message *message);

/* The one that is running, though the thread may have become an owner meanwhile; else the owner's. */
static inline struct tetheri_runner *tetheri_runner(void)
{
	if (tetheri_thread.active)
		return tetheri_thread.active;
	return tetheri_thread.slot ? &tetheri_thread.slot->runner : &tetheri_thread.runner;
}

static inline bool tetheri_in_destructor(void)
{
	return tetheri_runner()->in_destructor;
}

/* stall.c */
void tetheri_stall_begin(struct tetheri_slot *slot); /* by a sender, before it publishes the first */
/* By a sender, after it has published: how many there were before, and are now. */
void tetheri_stall_look(struct tetheri_slot *slot, uint64_t before, uint64_t pending);

/* limit.c */
void tetheri_limit_look(struct tetheri_slot *slot); /* by a sender, after it has published */
bool tetheri_limit_is_reached(const struct tetheri_slot *slot);
void tetheri_limit_settle(struct tetheri_slot *slot); /* by the owner, when it has taken or handled something */
void tetheri_limit_end(struct tetheri_slot *slot);    /* by the owner: there is none, and nobody is told any more */
void tetheri_limit_renew(struct tetheri_slot *slot);  /* in a child, of an owner that lives */
void tetheri_limit_forget(struct tetheri_slot *slot); /* of one that is lost */

/* rest.c */
void tetheri_rest(struct tetheri_slot *slot);        /* the caller's: run all that there is, and close */
void tetheri_rest_look(struct tetheri_slot *slot);   /* by a sender, after it has published */
void tetheri_rest_forget(struct tetheri_slot *slot); /* it was lost in a fork */

/* drop.c */
enum tetheri_found { /* how it was found out that a node's owner has gone */
	                 TETHERI_BY_DROP,
	                 TETHERI_BY_DROP_LATER, /* perhaps in a signal handler: no list and no destructor may be touched */
	                 TETHERI_BY_DRAIN,      /* it is off the list, and counted as received */
	                 TETHERI_BY_CUT         /* likewise, by an owner that runs nothing any more */
};
enum tether_dropped tetheri_drop(struct tether *tag, const void *caller); /* as if `caller` had called tether_drop() */
/* Of what is bound, and of which the caller has seen to it that nobody else changes its state: without a CAS. */
enum tether_dropped tetheri_drop_held(struct tether *tag, const void *caller);
/* `caller`: who called the library to drop it; NULL: nobody did, or not just now. */
enum tether_dropped tetheri_orphan(struct tether *tag, enum tetheri_found found, const void *caller);
void tetheri_lose(struct tether *node);      /* BY_CUT, and it may be a message */
void tetheri_send_home(struct tether *node); /* it is dropped, and counted as sent; to its home, or the orphan's way */

/* batch.c */
enum tether_dropped tetheri_batch_drop(struct tether *tag, const void *caller); /* while `batching` */
void tetheri_batch_settle(void);                                                /* likewise; handlers: nothing is run */
void tetheri_batch_flush_slow(void);                                            /* likewise */
void tetheri_batch_close(struct tetheri_slot *own);                             /* the caller's: all scopes end */
void tetheri_batch_forget(struct tetheri_slot *slot);                           /* in a child */
static inline void tetheri_batch_flush(void)
{
	if (tetheri_unlikely(tetheri_thread.batching))
		tetheri_batch_flush_slow();
}

/* drop.c: the drop of an object that was dropped inside a batch. */
void tetheri_drop_late(struct tetheri_batch *batch, unsigned count); /* marks the oldest of what it has collected */

/* message.c: the steps of a post. */
bool tetheri_message_mark(struct tether_message *message);                    /* as being on its way; false: it is */
void tetheri_message_unmark(struct tether_message *message);                  /* it was not pushed */
bool tetheri_message_push(tether_owner_t to, struct tether_message *message); /* false: that owner has gone */

/* move.c */
/* The word of an object that the caller may move; 0: refused, and reported. */
uint64_t tetheri_move_begin(struct tether *tag, const char *operation, const void *address);
/* Is it an owner that lives? 0, -ESRCH, or -EINVAL, reported. */
tether_owner_t tetheri_transfer_sender(const struct tether_message *message); /* of a hand-off; 0: it is another message */
int tetheri_move_to(tether_owner_t to, struct tetheri_slot **slot, const char *operation, const void *address);

/* loan.c */
void tetheri_loans_lock(void);
void tetheri_loans_unlock(void);
void tetheri_loans_begin(struct tetheri_slot *slot); /* it has a new owner, whose id is there already */
void tetheri_loans_end(struct tetheri_slot *slot);   /* the caller's: what it has borrowed goes home, reported */
/* Of an owner that a fork left behind, under the lock: what it has borrowed goes home. What was dropped meanwhile goes on the list. */
void tetheri_loans_lost(struct tetheri_slot *slot, struct tetheri_list *dropped);

/* ref.c */
bool tetheri_ref_is_held(const struct tether_message *message); /* a merge, after which references are left */

/* group.c; `word`: the tag's state. */
/* What a living child's `owner_` says. */
static inline uint64_t tetheri_group_owner_word(const struct tether *parent)
{
	return (uintptr_t)parent | TETHERI_DROPPED_BIT;
}

static inline struct tether *tetheri_group_parent(const struct tether *child)
{
	/* Relaxed: it came with the state that says that it follows. */
	return (struct tether *)(uintptr_t)__atomic_load_n(&child->hint_, __ATOMIC_RELAXED);
}

/* Does it follow another, and is it whole? Any tag, sound or not. */
static inline bool tetheri_group_follows(const struct tether *tag, uint64_t word)
{
	return tetheri_word_state(word) == TETHERI_FOLLOWS && tetheri_word_is_tag(tag, word) &&
	       __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) == tetheri_group_owner_word(tetheri_group_parent(tag));
}

/* Who decides whose it is: the first ancestor that does not follow itself. */
static inline struct tether *tetheri_group_root(const struct tether *child)
{
	struct tether *tag = tetheri_group_parent(child);

	/* Acquire: pairs with the release of its bind. */
	while (tetheri_state_follows(tetheri_word_state(__atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE))))
		tag = tetheri_group_parent(tag);
	return tag;
}

/* Who decides whose a parent is: itself, or its root. */
static inline const struct tether *tetheri_group_decider(const struct tether *parent)
{
	/* Acquire: as in tetheri_group_root. */
	enum tetheri_state state = tetheri_word_state(__atomic_load_n(&parent->state_, __ATOMIC_ACQUIRE));

	return tetheri_state_follows(state) ? tetheri_group_root(parent) : parent;
}

tether_owner_t tetheri_group_route(struct tether *child); /* who shall run it; or it waits, and is not ours any more */
#define TETHERI_WAITS UINT64_MAX
void tetheri_group_depart(struct tether *tag, uint64_t word); /* before it is in transit */
void tetheri_group_arrive(struct tether *tag);                /* after that */
bool tetheri_group_has_children(const struct tether *tag, uint64_t word);
bool tetheri_group_defer_slow(struct tether *tag);
bool tetheri_group_leave(struct tether *parent);  /* one child less; true: it waited for that, and is the caller's to run */
void tetheri_group_let_go(struct tether *parent); /* likewise, and it is run */

/* True: it has children, and is run after the last of them. */
static inline bool tetheri_group_defer(struct tether *tag, uint64_t word)
{
	return tetheri_unlikely(tetheri_word_type(word)->rules & TETHER_GROUP) && tetheri_group_defer_slow(tag);
}

/* Where a dropped node belongs, or TETHERI_WAITS. An heir's is its own, whatever it followed. */
static inline tether_owner_t tetheri_home_of(struct tether *node, uint64_t word)
{
	if (tetheri_unlikely(tetheri_word_state(word) == TETHERI_FOLLOWS_DROPPED) && !(word & TETHERI_INHERITED))
		return tetheri_group_route(node);
	return __atomic_load_n(&node->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT;
}

/* stats.c */
static inline struct tetheri_counts *tetheri_counts(void)
{
	return tetheri_thread.slot ? &tetheri_thread.slot->counts : &tetheri_nobody;
}

/* Whose counts tell of a runner's lists. */
static inline struct tetheri_counts *tetheri_counts_of(const struct tetheri_runner *runner)
{
	return runner == &tetheri_thread.runner ? &tetheri_nobody : &tetheri_thread.slot->counts;
}

/* An owner's own counter, that no signal handler touches: it has a single writer. */
static inline void tetheri_count_own(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Likewise, or nobody's. */
static inline void tetheri_count(struct tetheri_counts *counts, _Atomic uint64_t *counter, uint64_t n)
{
	if (tetheri_likely(counts != &tetheri_nobody))
		tetheri_count_own(counter, n);
	else
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#define tetheri_count_add(counts, field, n) tetheri_count((counts), &(counts)->field, (n))
#define tetheri_count_shared(field) atomic_fetch_add_explicit(&tetheri_counts()->field, 1, memory_order_relaxed)
uint64_t tetheri_stats_pending(const struct tetheri_slot *slot); /* exact at quiet points; takes no lock */
void tetheri_stats_retire(struct tetheri_slot *slot);            /* under the table's lock */
void tetheri_stats_clear(struct tetheri_slot *slot);             /* nobody is waking */
/* In a child, where everything begins at zero but what is pending: that counts as sent by whoever has it. */
void tetheri_stats_restart(const struct tetheri_list *of_nobody);
extern unsigned tetheri_stats_forks; /* from the first process to this one; written while there is one thread */
uint64_t tetheri_stats_unhandled(const struct tetheri_slot *slot); /* of what it has received */
void tetheri_stats_begin(struct tetheri_slot *slot, uint64_t unhandled);
void tetheri_stats_take_over(struct tetheri_slot *slot); /* what it has taken was nobody's */

/* The processor's word for "wait a moment", where there is one. */
#if defined(__x86_64__)
#define TETHERI_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define TETHERI_PAUSE() __asm__ volatile("isb" ::: "memory")
#else
#define TETHERI_PAUSE() ((void)0)
#endif

/* The line of `address` is wanted soon, to be written to. Whatever `address` is, nothing else happens. */
#if defined(__x86_64__)
#define TETHERI_PREFETCH(address) __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(address)))
#else
#define TETHERI_PREFETCH(address) __builtin_prefetch((address), 1)
#endif

/* The hint for a node that is sent there now: the node AHEAD before it, or 0. */
static inline uint64_t tetheri_recent_swap(struct tetheri_recent *recent, const struct tetheri_slot *to,
                                           const struct tether *node)
{
	if (tetheri_unlikely(recent->to != to)) {
		recent->to = to;
		recent->sent = 0;
	}
	uint64_t *oldest = &recent->hint[recent->sent % TETHERI_AHEAD];
	uint64_t hint = recent->sent++ < TETHERI_AHEAD ? 0 : *oldest;
	*oldest = ~(uint64_t)(uintptr_t)node;
	return hint;
}

/* ---- Lists through `next_` ------------------------------------------------------------------- */

/* A node is whole before a list leads to it, at every instruction: a fork may cut another thread's work anywhere,
 * and the child walks its lists. The compiler is what has to be told; see fork.c. */
#define TETHERI_BEFORE_LINKING() atomic_signal_fence(memory_order_release)

static inline void tetheri_list_append(struct tetheri_list *list, struct tether *node)
{
	tetheri_set_next(node, 0);
	TETHERI_BEFORE_LINKING();
	if (list->last)
		tetheri_set_next(list->last, (uintptr_t)node);
	else
		list->first = node;
	list->last = node;
}

/* `front` goes before `list`, and is empty then. */
static inline void tetheri_list_prepend(struct tetheri_list *list, struct tetheri_list *front)
{
	if (!front->first)
		return;
	tetheri_set_next(front->last, (uintptr_t)list->first);
	list->first = front->first;
	if (!list->last)
		list->last = front->last;
	*front = (struct tetheri_list){.first = NULL};
}

static inline struct tether *tetheri_list_pop(struct tetheri_list *list)
{
	struct tether *node = list->first;

	if (node) {
		list->first = tetheri_next(node);
		if (!list->first)
			list->last = NULL;
	}
	return node;
}

/* ---- Reports --------------------------------------------------------------------------------- */

/* report.c: the one door. `address` is the caller's return address. */
struct tetheri_left { /* what a shutdown could not drain, of one owner and type */
	tether_owner_t owner;
	const struct tether_type *type; /* NULL: it is not known */
	uint64_t count;
};
#define TETHERI_LEFT_ROWS 64

struct tetheri_event {
	enum tether_kind kind;
	const char *operation;
	int error;                      /* an errno that led to it, 0: none */
	const struct tether *tag;       /* NULL: none */
	const struct tether_type *type; /* NULL: none, or not to be trusted */
	tether_owner_t owner;           /* whose it is, 0: nobody's */
	tether_owner_t other;           /* the other one in it, see tetheri_other_role; 0: there is none */
	uint64_t word;                  /* the tag's state: it is not read again, as its memory may go any moment */
	tetheri_origin_t origin;        /* where it was bound */
	const char *file;
	int line;
	const char *function;
	const void *address;
	const struct tetheri_left *left; /* an owner's rows lie together */
	size_t left_count;
	uint64_t left_more; /* that found no row */
};
TETHER_COLD_ void tetheri_report(const struct tetheri_event *event);
bool tetheri_has_stack(void); /* for what a report does; false also on most signal stacks of the least size */
void tetheri_event_fill(struct tetheri_event *event, enum tether_kind kind, const char *operation, const struct tether *tag,
                        const void *address); /* with what the tag says now */
TETHER_COLD_ void tetheri_report_tag(enum tether_kind kind, const char *operation, const struct tether *tag, const void *address);
TETHER_COLD_ void tetheri_report_call(enum tether_kind kind, const char *operation, const void *address);

void tetheri_report_lock(void); /* of who sets the callback */
void tetheri_report_unlock(void);
void tetheri_report_restart(void); /* in a child: nothing was told yet */

/* summary.c */
void tetheri_summary_at_exit(void);

#define TETHERI_CALLER __builtin_return_address(0)

#pragma GCC visibility pop

#endif
