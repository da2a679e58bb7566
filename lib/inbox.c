/* inbox.c - an owner's queue: many threads publish with one CAS, the owner takes all with one XCHG.
 * SPDX-License-Identifier: MIT
 *
 * `head` is one word that says everything a sender must know:
 *
 *                      publish (CAS)             publish (CAS)
 *        EMPTY  ------------------------> list ----------------+
 *         |  ^  <------------------------  | ^                 |
 *     arm |  | disarm    take (XCHG)       | +-----------------+
 *    (CAS)v  | (CAS)                       |
 *        ARMED ----------------------------+--> the sender whose CAS found ARMED makes the one wake-up
 *         |            close (XCHG), from any of them
 *         +--------------------------------> CLOSED --- open (store) ---> EMPTY, for the slot's next owner
 *
 * A list is its newest node, linked to older ones through `next_`, with the number of nodes in bits
 * that an address leaves free (it sticks at the maximum; what comes on top is counted in `overflow`).
 *
 * Invariant: a node is in at most one inbox, because whoever publishes it won the mark of its tag.
 * Invariant: nobody but the owner takes, arms, disarms or closes; so the owner's CAS to arm can only
 *   fail because something was published, and its CAS to disarm only because ARMED was consumed.
 * Invariant: an owner that sleeps left ARMED behind, and the CAS that replaces ARMED is the CAS that
 *   publishes: there is no second flag to read, so no order of two words to get wrong and no wake-up
 *   to lose.
 *
 * What could hurt, and why it does not:
 *   push/push    the loser's CAS fails; it links to the winner's node and tries again.
 *   push/take    the XCHG gets the node or comes before it; the CAS then fails and sees EMPTY.
 *   push/arm     either the push finds ARMED (and wakes), or the arm finds the list (and the owner stays).
 *   push/close   the push finds CLOSED, or its node is in what the XCHG returned.
 *   push/reuse   a sender that read the slot's id before it was closed may publish to the next owner:
 *                its drain compares every node's id and sends a stray the orphan's way.
 *   ABA          a sender's CAS succeeds on a head that was taken and came back to the same word: for
 *                EMPTY and ARMED that is harmless, they mean the same each time; for a list, `next_` is
 *                the address that the head holds now, wherever that node has been meanwhile.
 *
 * Somebody else may look at what is in an inbox (shutdown.c), under the table's lock:
 *
 *     looker                                              owner
 *     held = true                                         XCHG (acquire), take or close
 *     CAS head: list -> the same list (release)           held? wait until it is not (acquire)
 *     walk the list, but no node that came later          receive
 *     held = false (release)
 *
 *   hold/take    the CAS changes nothing, but it is a change in the order of the head. If the XCHG is before it,
 *                the looker does not see what was taken. If it is after it, the XCHG is acquired from it or from
 *                a push that came after it (a release sequence), and the owner finds `held`.
 * Treiber's stack (IBM RJ 5118, 1986) with take-all; what the special values add is ours. */
#include <errno.h>

#include "holder.h"
#include "internal.h"

#define EMPTY UINT64_C(0)
#define ARMED UINT64_C(1)
#define CLOSED UINT64_C(2)

/* How many bits of an address are free: 16 on x86-64; on aarch64 the top byte may be a pointer tag
 * (MTE), which leaves 8; none where the compiler itself tags addresses, or on machines we do not know. */
#if defined(__SANITIZE_HWADDRESS__)
#define COUNT_MAX UINT64_C(0)
#elif defined(__x86_64__)
#define COUNT_MAX UINT64_C(0xffff)
#elif defined(__aarch64__)
#define COUNT_MAX UINT64_C(0xff)
#else
#define COUNT_MAX UINT64_C(0)
#endif
#define COUNT_SHIFT 48
#define PAUSES 4 /* 2 to 6 measured alike; 8 and more, or doubling, slower */
#define COUNT_MASK (COUNT_MAX << COUNT_SHIFT)

static bool is_list(uint64_t head)
{
	return head > CLOSED;
}

static struct tether *newest(uint64_t head)
{
	return is_list(head) ? (struct tether *)(uintptr_t)(head & ~COUNT_MASK) : NULL;
}

/* Of what is no list: 0. */
static uint64_t count_of(uint64_t head)
{
	return (head & COUNT_MASK) >> COUNT_SHIFT;
}

static uint64_t list_word(const struct tether *node, uint64_t count)
{
	return (uintptr_t)node | (count < COUNT_MAX ? count : COUNT_MAX) << COUNT_SHIFT;
}

/* Another sender won. It keeps the line for a moment, and publishes more while we do not ask for it:
 * two senders together measured a tenth to a fifth faster than with an immediate retry. */
static uint64_t stand_back(_Atomic uint64_t *word)
{
	for (int i = 0; i < PAUSES; i++)
		TETHERI_PAUSE();
	return atomic_load_explicit(word, memory_order_acquire);
}

/* The first of what may be pending for long. */
static inline void begin_episode(struct tetheri_slot *slot)
{
	if (atomic_load_explicit(&tetheri_trace, memory_order_relaxed) & (TETHERI_TRACE_STALLS | TETHERI_TRACE_QUEUES))
		tetheri_stall_begin(slot);
}

/* Put the nodes in front of the list in `word`, the head or `late`. Returns what it replaced. */
static inline __attribute__((always_inline)) uint64_t publish(struct tetheri_slot *slot, _Atomic uint64_t *word,
                                                              const struct tetheri_chain *chain)
{
	/* Acquire, as in the failed CAS: with CLOSED comes all that the owner did before it closed, which
	 * an ANYWHERE destructor that we run in its place may rely on. */
	uint64_t head = atomic_load_explicit(word, memory_order_acquire);

	for (;;) {
		if (tetheri_unlikely(head == CLOSED))
			return CLOSED;
		uint64_t count = count_of(head) + chain->count;
		if (tetheri_unlikely(!is_list(head)))
			begin_episode(slot);
		tetheri_set_next(chain->oldest, (uintptr_t)newest(head));
		/* Release: the nodes' `next_`, and whatever their sender did to the objects, before the owner's
		 * acquiring XCHG. Acquire: pairs with the release of the arm, so that how to wake is read
		 * no older than the ARMED that this CAS consumes. */
		if (tetheri_likely(atomic_compare_exchange_weak_explicit(word, &head, list_word(chain->newest, count),
		                                                         memory_order_acq_rel, memory_order_acquire))) {
			if (tetheri_unlikely(count > COUNT_MAX))
				atomic_fetch_add_explicit(&slot->overflow, count - COUNT_MAX, memory_order_relaxed);
			return head;
		}
		head = stand_back(word);
	}
}

/* Is this push one of those that look at what is pending? For a stall each that makes the number reach a power of
 * two, or finds it uncounted; with a limit to a queue, all. */
static inline bool looks(uint64_t head, uint64_t more)
{
	unsigned traces = atomic_load_explicit(&tetheri_trace, memory_order_relaxed);
	uint64_t count = count_of(head);

	return (traces & (TETHERI_TRACE_QUEUES | ~TETHERI_TRACE_OPTIONS)) ||
	       ((traces & TETHERI_TRACE_STALLS) && (count ^ (count + more)) > count);
}

static __attribute__((noinline)) void look(struct tetheri_slot *slot, uint64_t head, uint64_t more)
{
	uint64_t before = count_of(head);

	if (head == CLOSED)
		return;
	if (is_list(head) && before == COUNT_MAX) {
		uint64_t depth = tetheri_inbox_depth(slot);
		before = depth > more ? depth - more : 1; /* uncounted, and somebody is just taking it */
	}
	tetheri_stall_look(slot, before, before + more);
	tetheri_limit_look(slot);
	tetheri_rest_look(slot);
}

/* Of a child `hint_` is its parent. Relaxed: the node is ours. */
static bool is_follower(const struct tether *node)
{
	return tetheri_word_state(__atomic_load_n(&node->state_, __ATOMIC_RELAXED)) == TETHERI_FOLLOWS_DROPPED;
}

/* A node names the one that its sender pushed AHEAD pushes before, to the same owner. A handler that comes in
 * between may spoil it: it is only ever prefetched. */
static inline void hint(const struct tetheri_slot *to, struct tether *node)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	/* Release: its owner may be inside, and takes no user of it, as it then finds it dropped. */
	if (slot && !is_follower(node))
		__atomic_store_n(&node->hint_, tetheri_recent_swap(&slot->recent, to, node), __ATOMIC_RELEASE);
}

static inline __attribute__((always_inline)) bool push(struct tetheri_slot *slot, const struct tetheri_chain *chain)
{
	uint64_t head = publish(slot, &slot->head, chain);

	if (tetheri_unlikely(head == ARMED))
		tetheri_wake_owner(slot);
	if (tetheri_unlikely(looks(head, chain->count)))
		look(slot, head, chain->count);
	return head != CLOSED;
}

bool tetheri_inbox_push(struct tetheri_slot *slot, struct tether *node)
{
	const struct tetheri_chain chain = {node, node, 1};

	/* What this thread has dropped before comes before. */
	if (tetheri_unlikely(tetheri_thread.batching))
		tetheri_batch_settle();
	hint(slot, node);
	tetheri_tsan_release(node);
	return push(slot, &chain);
}

bool tetheri_inbox_push_chain(struct tetheri_slot *slot, const struct tetheri_chain *chain)
{
	return push(slot, chain);
}

/* What may not run now, and has no other owner to go to. While this thread's inbox is open it waits
 * there; between the close and the end it waits in `late`. */
bool tetheri_inbox_push_self(struct tether *node)
{
	const struct tetheri_chain chain = {node, node, 1};
	struct tetheri_slot *slot = tetheri_thread.slot;

	return slot && (tetheri_inbox_push(slot, node) || publish(slot, &slot->late, &chain) != CLOSED);
}

struct tether *tetheri_inbox_hold(struct tetheri_slot *slot)
{
	/* Relaxed: the release of the CAS takes it along. */
	atomic_store_explicit(&slot->held, true, memory_order_relaxed);
	/* Acquire, here and in the CAS: each sender's release, so that the links can be followed. */
	uint64_t head = atomic_load_explicit(&slot->head, memory_order_acquire);

	while (is_list(head) &&
	       !atomic_compare_exchange_weak_explicit(&slot->head, &head, head, memory_order_acq_rel, memory_order_acquire))
		;
	return newest(head);
}

void tetheri_inbox_let_go(struct tetheri_slot *slot)
{
	/* Release: our last look, before the owner changes the links and runs the nodes. */
	atomic_store_explicit(&slot->held, false, memory_order_release);
}

static __attribute__((noinline)) void await_let_go(struct tetheri_slot *slot)
{
	int saved_errno = errno;

	while (atomic_load_explicit(&slot->held, memory_order_acquire))
		tetheri_holder_await();
	errno = saved_errno;
}

/* The owner has taken the list. */
static inline void let_look(struct tetheri_slot *slot)
{
	/* Acquire: pairs with the release in tetheri_inbox_let_go. */
	if (tetheri_unlikely(atomic_load_explicit(&slot->held, memory_order_acquire)))
		await_let_go(slot);
}

/* The node that a hint names, if it is one: nobody knows what lies there now. */
static inline void follow(const struct tether *node)
{
	TETHERI_PREFETCH((const void *)(uintptr_t)~__atomic_load_n(&node->hint_, __ATOMIC_RELAXED));
}

/* Newest first becomes oldest first, behind what was taken before. Both this walk and that of the drain are bound by the
 * latency of memory, a miss for each node: so each follows the hints. The sender's lead AHEAD nodes back; they
 * are replaced by the address of the node that is run AHEAD nodes later, which has just been seen. */
static void receive(struct tetheri_slot *slot, uint64_t head)
{
	uint64_t seen[TETHERI_AHEAD];
	struct tether *node = newest(head), *last = node, *first = NULL;
	uint64_t n = 0;

	while (node) {
		struct tether *older = tetheri_next(node);
		uint64_t *ahead = &seen[n % TETHERI_AHEAD];
		follow(node);
		/* Relaxed: a report about a node that is used wrongly may read it meanwhile. */
		if (tetheri_likely(!is_follower(node)))
			__atomic_store_n(&node->hint_, n < TETHERI_AHEAD ? 0 : *ahead, __ATOMIC_RELAXED);
		*ahead = ~(uint64_t)(uintptr_t)node;
		tetheri_set_next(node, (uintptr_t)first);
		first = node;
		node = older;
		n++;
	}
	if (!last)
		return;
	TETHERI_BEFORE_LINKING();
	if (slot->taken.last)
		tetheri_set_next(slot->taken.last, (uintptr_t)first);
	else
		slot->taken.first = first;
	slot->taken.last = last;
	tetheri_count_add(&slot->counts, received, n);
	/* Single writer: a relaxed load and store will do. */
	if (n > count_of(head))
		atomic_store_explicit(&slot->overflow_taken,
		                      atomic_load_explicit(&slot->overflow_taken, memory_order_relaxed) + n - count_of(head),
		                      memory_order_relaxed);
}

/* The owner looks at the head: if it had armed and finds something else, a wake-up is or was made. */
static void notice(struct tetheri_slot *slot, uint64_t head)
{
	if (slot->armed && head != ARMED) {
		slot->armed = false;
		slot->consumed++;
	}
}

bool tetheri_inbox_take(struct tetheri_slot *slot)
{
	/* Relaxed: what is not a list is left alone, and a list is taken by the XCHG. */
	if (!is_list(atomic_load_explicit(&slot->head, memory_order_relaxed)))
		return false;
	/* Relaxed: others compare it with limits of seconds. */
	atomic_store_explicit(&slot->took, tetheri_now_coarse(), memory_order_relaxed);
	/* Acquire: every sender's release, also through those that pushed after it (a release sequence). Release: that we
	 * drain, before a shutdown finds nothing here. */
	uint64_t head = atomic_exchange_explicit(&slot->head, EMPTY, memory_order_acq_rel);

	notice(slot, head);
	let_look(slot);
	receive(slot, head);
	slot->lingers = true;
	if (tetheri_traces(~TETHERI_TRACE_OPTIONS))
		tetheri_limit_settle(slot);
	return true;
}

bool tetheri_inbox_arm(struct tetheri_slot *slot)
{
	uint64_t head = EMPTY;

	assert(!slot->armed);
	/* Release: how to wake, before the sender that finds ARMED reads it. */
	slot->armed = atomic_compare_exchange_strong_explicit(&slot->head, &head, ARMED, memory_order_release, memory_order_relaxed);
	return slot->armed;
}

void tetheri_inbox_disarm(struct tetheri_slot *slot)
{
	uint64_t head = ARMED;

	if (!slot->armed)
		return;
	/* Relaxed: nothing is published or read by it; the order of the words is that of one word. */
	if (atomic_compare_exchange_strong_explicit(&slot->head, &head, EMPTY, memory_order_relaxed, memory_order_relaxed))
		slot->armed = false;
	else
		notice(slot, head);
}

void tetheri_inbox_close(struct tetheri_slot *slot)
{
	tetheri_tsan_release(slot);
	/* Acquire: as in take. Release: pairs with the sender that finds CLOSED, see push. */
	uint64_t head = atomic_exchange_explicit(&slot->head, CLOSED, memory_order_acq_rel);

	if (head == ARMED)
		slot->armed = false;
	notice(slot, head);
	let_look(slot);
	receive(slot, head);
}

bool tetheri_inbox_close_late(struct tetheri_slot *slot)
{
	uint64_t head = EMPTY;

	/* Relaxed: nothing is read through it. */
	return atomic_compare_exchange_strong_explicit(&slot->late, &head, CLOSED, memory_order_relaxed, memory_order_relaxed) ||
	       head == CLOSED;
}

bool tetheri_inbox_is_over(const struct tetheri_slot *slot)
{
	return atomic_load_explicit(&slot->late, memory_order_relaxed) == CLOSED;
}

void tetheri_inbox_take_late(struct tetheri_slot *slot)
{
	/* Acquire: pairs with publish, which only this thread does, in a signal handler perhaps. */
	receive(slot, atomic_exchange_explicit(&slot->late, EMPTY, memory_order_acquire));
}

void tetheri_inbox_open(struct tetheri_slot *slot)
{
	atomic_store_explicit(&slot->late, EMPTY, memory_order_relaxed);
	/* Release: the slot was made ready before anyone publishes to it. */
	atomic_store_explicit(&slot->head, EMPTY, memory_order_release);
}

bool tetheri_inbox_has_nodes(const struct tetheri_slot *slot)
{
	return is_list(atomic_load_explicit(&slot->head, memory_order_relaxed));
}

bool tetheri_slot_is_open(const struct tetheri_slot *slot)
{
	/* Acquire: with CLOSED comes all that the owner did before it closed; and whose it is, is read no older than
	 * the opening. */
	return atomic_load_explicit(&slot->head, memory_order_acquire) != CLOSED;
}

uint64_t tetheri_inbox_depth(const struct tetheri_slot *slot)
{
	uint64_t over = atomic_load_explicit(&slot->overflow, memory_order_relaxed) -
	                atomic_load_explicit(&slot->overflow_taken, memory_order_relaxed);
	/* Acquire: pairs with the release of the XCHG: where that has taken all, the owner is found to be busy. */
	uint64_t head = atomic_load_explicit(&slot->head, memory_order_acquire);

	/* A sender adds to `overflow` after its CAS, so for a moment the difference may be negative. */
	return count_of(head) + count_of(atomic_load_explicit(&slot->late, memory_order_relaxed)) + ((int64_t)over > 0 ? over : 0);
}

void tetheri_inbox_show(struct tetheri_slot *slot)
{
	uint64_t head = atomic_load_explicit(&slot->head, memory_order_relaxed);

	atomic_store_explicit(&slot->shown, newest(head), memory_order_relaxed);
}

/* ---- In a child of fork(), whose only thread this is ------------------------------------------- */

struct tether *tetheri_inbox_newest(const struct tetheri_slot *slot)
{
	return newest(atomic_load_explicit(&slot->head, memory_order_relaxed));
}

struct tether *tetheri_inbox_newest_late(const struct tetheri_slot *slot)
{
	return newest(atomic_load_explicit(&slot->late, memory_order_relaxed));
}

void tetheri_inbox_abandon(struct tetheri_slot *slot)
{
	atomic_store_explicit(&slot->head, CLOSED, memory_order_relaxed);
	atomic_store_explicit(&slot->late, EMPTY, memory_order_relaxed);
	atomic_store_explicit(&slot->overflow, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->overflow_taken, 0, memory_order_relaxed);
	slot->taken = (struct tetheri_list){NULL, NULL};
	slot->armed = false;
}

/* How many nodes the head has no room to count. */
static uint64_t uncounted(uint64_t head)
{
	uint64_t n = 0;

	if (!is_list(head) || count_of(head) < COUNT_MAX)
		return 0;
	for (const struct tether *node = newest(head); node; node = tetheri_next(node))
		n++;
	return n - count_of(head);
}

/* A sender that is not there any more may have published and counted nothing, or consumed ARMED and woken nobody. */
bool tetheri_inbox_renew(struct tetheri_slot *slot)
{
	uint64_t head = atomic_load_explicit(&slot->head, memory_order_relaxed);
	bool was_consumed = slot->armed && head != ARMED;

	atomic_store_explicit(&slot->overflow, uncounted(head), memory_order_relaxed);
	atomic_store_explicit(&slot->overflow_taken, 0, memory_order_relaxed);
	if (was_consumed)
		slot->armed = false;
	return was_consumed;
}
