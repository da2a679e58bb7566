/* loop.c - what an owner's event loop calls: drain, park, and how it is woken.
 * SPDX-License-Identifier: MIT
 *
 *     without park:   drain ... until empty, ARM --(a push)--> woken, readable --> drain ...
 *     with park:      drain --> park: ARM --> poll --> unpark: disarm --> drain ...
 *                     and no wake-up at all while the loop is awake, as nothing is armed then
 *     with park_for:  the first poll after a drain that took something sleeps unarmed, for linger_us; only when
 *                     that brought nothing: ARM. Where it keeps bringing nothing, it is done less and less
 *
 * Invariant: tether_park() is true only with an armed, empty inbox and nothing taken undone; tether_park_for() lets a
 *   loop sleep longer than linger_us only then. */
#include <errno.h>
#include <pthread.h>

#include "internal.h"

#define NS_PER_US 1000

enum { LULLS_MAX = 7 }; /* then it lingers after one take of 64 */

static bool may_drain(void)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	if (!slot || tetheri_thread.active)
		return false;
	/* Relaxed: others read it to say how long ago it was. */
	atomic_store_explicit(&slot->drained, tetheri_now_coarse(), memory_order_relaxed);
	return true;
}

static size_t drain(size_t max_nodes)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, true);
	return tetheri_run_lists(&run, max_nodes);
}

static size_t drain_for(size_t max_nodes, uint64_t max_us)
{
	size_t handled = 0, one;
	uint64_t start = tetheri_now();
	uint64_t end = max_us > 0 && max_us < (UINT64_MAX - start) / NS_PER_US ? start + max_us * NS_PER_US : UINT64_MAX;
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));
	tetheri_run_enter(&run, true);
	do {
		one = tetheri_run_lists(&run, 1);
		handled += one;
	} while (one > 0 && handled != max_nodes && tetheri_now() < end);
	return handled;
}

/* What its destructors have dropped goes on its way, before the loop sleeps. */
static size_t flushed(size_t handled)
{
	tetheri_batch_flush();
	return handled;
}

size_t tether_drain(size_t max_nodes)
{
	return may_drain() ? flushed(drain(max_nodes)) : 0;
}

size_t tether_drain_for(size_t max_nodes, uint64_t max_us)
{
	return may_drain() ? flushed(drain_for(max_nodes, max_us)) : 0;
}

static void settle(struct tetheri_slot *slot)
{
	int cancel_state;

	if (slot->runner.draining)
		return; /* the drain that we are inside of will */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	tetheri_wake_settle(slot);
	pthread_setcancelstate(cancel_state, NULL);
}

int tether_fd(void)
{
	struct tetheri_slot *slot = tetheri_owner_make(TETHERI_CALLER);
	int fds[2];

	if (!slot)
		return tetheri_thread.ended ? -ESRCH : -ENOMEM;
	if (slot->read_fd >= 0)
		return slot->read_fd;
	if (slot->wake)
		return -EBUSY;
	int error = tetheri_fd_open(fds);
	if (error) {
		struct tetheri_event event = {
			.kind = TETHER_NO_WAKE, .operation = "tether_fd", .error = -error, .address = TETHERI_CALLER};
		tetheri_report(&event);
		return error;
	}
	/* Nobody can be waking: with no way to be woken the inbox was never armed. */
	assert(!slot->armed);
	slot->read_fd = fds[0];
	slot->write_fd = fds[1];
	slot->cleared = slot->consumed; /* what woke the loop another way is not in the descriptor */
	settle(slot);
	return fds[0];
}

const char *tether_wake_name(void)
{
	const struct tetheri_slot *slot = tetheri_thread.slot;

	if (!slot || !tetheri_wake_exists(slot))
		return "none";
	if (slot->wake)
		return "own";
	return slot->read_fd == slot->write_fd ? "eventfd" : "pipe";
}

int tether_set_wake(void (*wake)(void *context), void *context)
{
	struct tetheri_slot *slot = tetheri_owner_make(TETHERI_CALLER);

	if (!slot)
		return tetheri_thread.ended ? -ESRCH : -ENOMEM;
	if (slot->read_fd >= 0)
		return -EBUSY;
	tetheri_inbox_disarm(slot);
	tetheri_wake_await(slot);
	slot->wake = wake;
	slot->wake_context = context;
	settle(slot);
	return 0;
}

/* Nothing is to be done, and there is a way to be woken. */
static bool is_quiet(struct tetheri_slot *slot)
{
	tetheri_batch_flush();
	slot->parks = true;
	if (!tetheri_wake_exists(slot) || slot->taken.first || slot->runner.later.first)
		return false;
	tetheri_inbox_disarm(slot);
	if (tetheri_inbox_has_nodes(slot))
		return false;
	tetheri_wake_clear(slot);
	return true;
}

/* Was something taken since the owner last parked? If it slept unarmed then, that is what it was good for. */
static bool has_taken(struct tetheri_slot *slot)
{
	bool took = slot->lingers;

	if (slot->lingered) {
		slot->lulls = took ? 0 : (uint8_t)(slot->lulls + (slot->lulls < LULLS_MAX));
		slot->takes_left = (uint8_t)((1U << slot->lulls) / 2);
	}
	slot->lingers = slot->lingered = false;
	return took;
}

/* A sleep that brings nothing costs a timer, and spares nobody a wake-up: with each in a row, twice as many takes go by
 * before the next. */
static bool shall_linger(struct tetheri_slot *slot)
{
	if (!has_taken(slot))
		return false;
	slot->lingered = slot->takes_left <= 1;
	slot->takes_left -= slot->takes_left > 0;
	return slot->lingered;
}

bool tether_park(void)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	if (!slot || !is_quiet(slot))
		return false;
	has_taken(slot);
	return tetheri_inbox_arm(slot);
}

/* Who sends now and then makes a wake-up each time, if each time it finds the owner asleep. */
int64_t tether_park_for(int64_t timeout_us)
{
	struct tetheri_slot *slot = tetheri_thread.slot;
	int64_t linger_us = tetheri_option(linger_us);

	if (!slot || !is_quiet(slot))
		return 0;
	if (linger_us > 0 && shall_linger(slot))
		return timeout_us < 0 || timeout_us > linger_us ? linger_us : timeout_us;
	return tetheri_inbox_arm(slot) ? timeout_us : 0;
}

void tether_unpark(void)
{
	if (tetheri_thread.slot)
		tetheri_inbox_disarm(tetheri_thread.slot);
}
