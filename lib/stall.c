/* stall.c - an owner that does not drain: told by the threads that send to it, once per episode.
 * SPDX-License-Identifier: MIT
 *
 * An episode begins with the push that finds the inbox empty, which notes the time in `since` before it publishes, and
 * ends when the owner takes what is there, before which it notes the time in `took`:
 *
 *     since = now --> push (EMPTY or ARMED)      push (1, 2, 4, 8, ... pending) --> older than stall_ms?  --> told
 *     take                  --> took = now                                          more than queue_warn? --> told
 *
 * There is no watchdog thread, so an owner to which nobody sends any more is not told of; neither does it
 * grow. To look at the clock only when the number of nodes doubles keeps the cost of a push what it was.
 *
 * Invariant: bit 0 of `since` is set by one sender, by CAS: it tells. A new episode clears it.
 * Invariant: who finds a list finds the time when it began: else a sender that is held up after its push, in its
 *   wake-up for one, would have the next one tell of a wait that has ended long ago.
 * Invariant: a `since` that is older than `took` was noted by a sender that then lost its CAS, and was held up in
 *   between: it says nothing. */
#include "internal.h"
#include "probe.h"

#define TOLD UINT64_C(1)
#define NS_PER_MS UINT64_C(1000000)

static TETHER_COLD_ void tell(struct tetheri_slot *slot, uint64_t since)
{
	struct tetheri_event event = {.kind = TETHER_STALLED, .operation = "drop", .address = TETHERI_CALLER};

	/* Relaxed: it is only decided who tells. */
	if ((since & TOLD) ||
	    !atomic_compare_exchange_strong_explicit(&slot->since, &since, since | TOLD, memory_order_relaxed, memory_order_relaxed))
		return;
	event.owner = atomic_load_explicit(&slot->id, memory_order_relaxed);
	TETHERI_PROBE_STALL(event.owner, tetheri_inbox_depth(slot));
	tetheri_report(&event);
}

void tetheri_stall_begin(struct tetheri_slot *slot)
{
	/* Relaxed: the CAS that publishes releases it. */
	atomic_store_explicit(&slot->since, tetheri_now_coarse() & ~TOLD, memory_order_relaxed);
}

/* Relaxed, all: these are times, compared with limits of seconds. */
void tetheri_stall_look(struct tetheri_slot *slot, uint64_t before, uint64_t pending)
{
	uint64_t limit = (uint64_t)tetheri_option(queue_warn);
	uint64_t stall_ns = (uint64_t)tetheri_option(stall_ms) * NS_PER_MS;

	bool is_doubled = (before ^ pending) > before;
	bool is_long = limit > 0 && pending > limit && (before <= limit || is_doubled);
	if (!is_long && (!is_doubled || before == 0))
		return;
	uint64_t since = atomic_load_explicit(&slot->since, memory_order_relaxed);
	uint64_t took = atomic_load_explicit(&slot->took, memory_order_relaxed);
	uint64_t now = tetheri_now_coarse();
	/* 0: that is not watched for, or was not as it began. */
	bool is_old = stall_ns > 0 && since > 0 && (since | TOLD) >= took && now > since && now - since > stall_ns;
	/* Who sends to itself, from its own handlers, knows. */
	if ((is_long || is_old) && slot != tetheri_thread.slot)
		tell(slot, since);
}
