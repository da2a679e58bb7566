/* limit.c - how much may be pending for an owner: who is told when it is more, and who is refused.
 * SPDX-License-Identifier: MIT
 *
 * What is limited is what tether_stats() calls pending: in the inbox, and taken but not handled yet. A sender
 * looks after it has published, as it does for stalls, and nothing that it does waits or fails:
 *
 *     limit + 1 pending --> over, once; over_at moves on to 2, 4, 8 ... times the limit, plus 1
 *     the owner finds limit or fewer, where it takes or ends a drain --> over_at is limit + 1 again
 *
 * The owner moves back, not the next sender: only who takes knows how many it holds. A sender may read the
 * counters between the XCHG and the sum that tells of it, and would find a queue that has vanished.
 * A sender that was preempted after its look must not move on what the owner has moved back meanwhile: who then exceeds
 * the limit again would not be told of. So `over_at` carries a number of the owner's, of as often as it did that:
 *
 *      63     48 47                      0
 *     +---------+-------------------------+
 *     |  round  |   so many call `over`   |     the sender reads it before it counts what is pending
 *     +---------+-------------------------+
 *
 * A sender may be preempted between its look and its call of `over`, as one may be before a wake-up (wake.c).
 * So it enters first, and the owner takes the sign down and waits until all have left:
 *
 *     sender                                     owner
 *     callers + 1 (acquire): IS_SET?             callers: IS_SET goes
 *     CAS over_at, over(context)                 wait until callers is 0 (acquire)
 *     callers - 1 (release) --------------->     over, context and limit are the owner's to change
 *
 * Both are changes of one word. So either the sender finds IS_SET gone and touches nothing, or the owner finds
 * the sender counted: there is no order of two words to get wrong.
 *
 * Invariant: `over` and `over_context` change only while IS_SET is not there and nobody is counted.
 * Invariant: where no owner has a limit a sender does no more than today's look at tetheri_trace, whose upper
 *   bits count the owners whose senders look at each push. */
#include <errno.h>
#include <pthread.h>

#include "holder.h"
#include "internal.h"

#define AT_BITS 48
#define ROUND (UINT64_C(1) << AT_BITS)
#define AT_MASK (ROUND - 1)
#define IS_SET (UINT64_C(1) << 32) /* of `callers`; below it is how many there are */

static uint64_t limit_of(const struct tetheri_slot *slot)
{
	/* Relaxed: a number, which may be old when it arrives. */
	return atomic_load_explicit(&slot->limit, memory_order_relaxed);
}

bool tetheri_limit_is_reached(const struct tetheri_slot *slot)
{
	uint64_t limit = limit_of(slot);

	return limit > 0 && tetheri_stats_pending(slot) >= limit;
}

/* The limit, doubled until it is not exceeded, plus 1. */
static uint64_t call_at(uint64_t limit, uint64_t pending)
{
	while (limit < pending && limit <= AT_MASK / 2)
		limit *= 2;
	return limit < AT_MASK ? limit + 1 : AT_MASK;
}

static bool is_exceeded(const struct tetheri_slot *slot, uint64_t *at, uint64_t *pending)
{
	/* Acquire: pairs with the release in tetheri_limit_settle: what is pending is no older than the round. */
	*at = atomic_load_explicit(&slot->over_at, memory_order_acquire);
	*pending = tetheri_stats_pending(slot);
	return *pending >= (*at & AT_MASK);
}

/* Of several senders that find too much, one tells. */
static bool is_mine_to_tell(struct tetheri_slot *slot, uint64_t *pending)
{
	uint64_t limit = limit_of(slot), at;

	/* Relaxed: it is only decided who tells. */
	while (limit > 0 && is_exceeded(slot, &at, pending))
		if (atomic_compare_exchange_strong_explicit(&slot->over_at, &at, (at & ~AT_MASK) | call_at(limit, *pending),
		                                            memory_order_relaxed, memory_order_relaxed))
			return true;
	return false;
}

static __attribute__((noinline)) void tell(struct tetheri_slot *slot)
{
	uint64_t pending;
	int cancel_state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	/* Acquire: pairs with the release in tether_set_limit: `over` and its context are there. */
	if ((atomic_fetch_add_explicit(&slot->callers, 1, memory_order_acquire) & IS_SET) && is_mine_to_tell(slot, &pending))
		slot->over(slot->over_context, (size_t)pending);
	/* Release: the call has ended, before the owner that acquires this forgets the context. */
	atomic_fetch_sub_explicit(&slot->callers, 1, memory_order_release);
	pthread_setcancelstate(cancel_state, NULL);
}

void tetheri_limit_look(struct tetheri_slot *slot)
{
	uint64_t at, pending;

	/* A guess, `tell` looks again. */
	if (limit_of(slot) > 0 && is_exceeded(slot, &at, &pending))
		tell(slot);
}

void tetheri_limit_settle(struct tetheri_slot *slot)
{
	uint64_t limit = limit_of(slot);
	uint64_t at = atomic_load_explicit(&slot->over_at, memory_order_relaxed);

	/* Where it is what it was, too: the sender may have looked before. Release: what we have handled, before who finds
	 * the new round. */
	while (limit > 0 && tetheri_stats_pending(slot) <= limit &&
	       !atomic_compare_exchange_weak_explicit(&slot->over_at, &at, ((at & ~AT_MASK) + ROUND) | call_at(limit, 0),
	                                              memory_order_release, memory_order_relaxed))
		;
}

void tetheri_limit_end(struct tetheri_slot *slot)
{
	int saved_errno = errno;

	if (limit_of(slot) == 0)
		return;
	atomic_store_explicit(&slot->limit, 0, memory_order_relaxed);
	/* Release: where a fork finds the limit, it finds the owner counted. */
	atomic_fetch_sub_explicit(&tetheri_trace, TETHERI_TRACE_OWNER, memory_order_release);
	/* Relaxed: it publishes nothing; who comes later finds IS_SET gone. Acquire: pairs with the release in `tell`. */
	atomic_fetch_and_explicit(&slot->callers, ~IS_SET, memory_order_relaxed);
	while (atomic_load_explicit(&slot->callers, memory_order_acquire) != 0)
		tetheri_holder_await();
	errno = saved_errno;
}

/* Senders that were in `over`, or about to be, are not here. */
void tetheri_limit_renew(struct tetheri_slot *slot)
{
	atomic_fetch_and_explicit(&slot->callers, IS_SET, memory_order_relaxed);
}

void tetheri_limit_forget(struct tetheri_slot *slot)
{
	atomic_store_explicit(&slot->callers, 0, memory_order_relaxed);
	tetheri_limit_end(slot);
}

int tether_set_limit(size_t max_pending, void (*over)(void *context, size_t pending), void *context)
{
	struct tetheri_slot *slot = tetheri_owner_make(TETHERI_CALLER);

	if (!slot)
		return tetheri_thread.ended ? -ESRCH : -ENOMEM;
	tetheri_limit_end(slot);
	if (max_pending == 0)
		return 0;
	slot->over = over;
	slot->over_context = context;
	atomic_store_explicit(&slot->over_at, call_at(max_pending, 0), memory_order_relaxed);
	atomic_fetch_add_explicit(&tetheri_trace, TETHERI_TRACE_OWNER, memory_order_relaxed);
	/* Release: as in tetheri_limit_end. */
	atomic_store_explicit(&slot->limit, max_pending, memory_order_release);
	/* Release: pairs with the acquire in `tell`. */
	if (over)
		atomic_fetch_or_explicit(&slot->callers, IS_SET, memory_order_release);
	return 0;
}
