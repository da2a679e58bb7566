/* wake.c - waking an owner, and never after it has ended.
 * SPDX-License-Identifier: MIT
 *
 * A sender may be preempted between the CAS that consumed ARMED and its wake-up. If the owner closed
 * its descriptor in that gap, the sender would write into whatever has reused the number. So:
 *
 *     sender                                 owner
 *     CAS head: ARMED -> node                finds its ARMED gone: consumed++
 *     read wake, write_fd                    ...
 *     wake up                                before it closes, replaces its wake or ends:
 *     woken++ (release)  ------------------>     wait until woken == consumed (acquire)
 *
 * Invariant: `wake`, `wake_context` and `write_fd` change only while the inbox is not armed and woken ==
 *   consumed; then no sender can be reading them.
 * Invariant: outstanding() = consumed + self_signals - cleared is how many writes are in the descriptor
 *   or on their way to it. The descriptor is cleared only while the inbox is not armed, so clearing can
 *   never swallow the wake-up of a node that nobody has seen.
 * Invariant: an owner with a way to be woken, that is not inside tether_drain(), has nothing undone and
 *   an armed inbox (or parks, and arms when it wants to sleep), or a wake-up outstanding. */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "probe.h"

void tetheri_wake_owner(struct tetheri_slot *slot)
{
	int cancel_state;

	TETHERI_PROBE_WAKE(atomic_load_explicit(&slot->id, memory_order_relaxed));
	if (slot->wake) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
		slot->wake(slot->wake_context);
		pthread_setcancelstate(cancel_state, NULL);
	} else if (slot->write_fd >= 0) {
		tetheri_fd_signal(slot->write_fd);
	}
	/* Release: the wake-up has ended, before the owner that acquires this closes what it used. The
	 * last access to how it is done. */
	atomic_fetch_add_explicit(&slot->woken, 1, memory_order_release);
}

static uint64_t outstanding(const struct tetheri_slot *slot)
{
	if (slot->read_fd < 0)
		return 0;
	return slot->consumed + slot->self_signals - slot->cleared;
}

void tetheri_wake_clear(struct tetheri_slot *slot)
{
	assert(!slot->armed);
	if (slot->read_fd >= 0 && outstanding(slot) > 0)
		slot->cleared += tetheri_fd_clear(slot->read_fd);
}

/* Is anything left that the owner's loop would not find by itself? One that parks looks at the inbox
 * before it sleeps. */
static bool is_undone(const struct tetheri_slot *slot)
{
	return slot->taken.first || slot->runner.later.first || (!slot->parks && tetheri_inbox_has_nodes(slot));
}

/* The owner tells itself that something is left. */
static void signal_self(struct tetheri_slot *slot)
{
	if (slot->wake) {
		slot->wake(slot->wake_context);
	} else if (outstanding(slot) == 0) {
		slot->self_signals++;
		tetheri_fd_signal(slot->write_fd);
	}
}

/* Make the last invariant above true. Called with cancellation disabled, at the end of a drain and when
 * a way to be woken was set. */
void tetheri_wake_settle(struct tetheri_slot *slot)
{
	if (!tetheri_wake_exists(slot))
		return;
	if (!is_undone(slot) && !slot->parks) {
		if (slot->armed && outstanding(slot) == 0)
			return;
		tetheri_inbox_disarm(slot);
		if (!is_undone(slot))
			tetheri_wake_clear(slot);
		if (!is_undone(slot) && tetheri_inbox_arm(slot))
			return;
	}
	/* Armed, and yet there are nodes: they consumed it, and their sender's wake-up is on its way. */
	if (is_undone(slot) && !(slot->armed && tetheri_inbox_has_nodes(slot)))
		signal_self(slot);
}

/* Wait until every wake-up that was begun has ended. Short: what it waits for is a sender between two
 * instructions and a non-blocking write, unless that sender was preempted. */
void tetheri_wake_await(struct tetheri_slot *slot)
{
	struct timespec nap = {0, 50000};
	int saved_errno = errno;
	unsigned rounds = 0;

	assert(!slot->armed);
	/* Acquire: pairs with the release in tetheri_wake_owner. */
	while (atomic_load_explicit(&slot->woken, memory_order_acquire) != slot->consumed) {
		if (++rounds < 100)
			continue;
		/* Raw: nanosleep() and sched_yield() may be cancellation points. */
		if (rounds < 200)
			syscall(SYS_sched_yield);
		else
			syscall(SYS_nanosleep, &nap, NULL);
	}
	errno = saved_errno;
}

void tetheri_wake_forget(struct tetheri_slot *slot)
{
	int fds[2] = {slot->read_fd, slot->write_fd};

	slot->wake = NULL;
	slot->wake_context = NULL;
	slot->read_fd = slot->write_fd = -1;
	tetheri_fd_close(fds);
}

/* The owner ends; its inbox is closed. */
void tetheri_wake_end(struct tetheri_slot *slot)
{
	tetheri_wake_await(slot);
	tetheri_wake_forget(slot);
}

/* What the parent's descriptor holds is the parent's, and each would read what was meant for the other. Of the senders that
 * were about to wake none is here; the books were cleared, and whatever is undone is signalled. A wake of the program's own
 * is not called: it may want locks that only the program can mend, after us. */
int tetheri_wake_renew(struct tetheri_slot *slot)
{
	bool was_consumed = tetheri_inbox_renew(slot);
	int fds[2] = {slot->read_fd, slot->write_fd};

	if (slot->read_fd < 0)
		return 0;
	int error = tetheri_fd_renew(fds);
	slot->read_fd = fds[0];
	slot->write_fd = fds[1];
	if (error) {
		tetheri_inbox_disarm(slot);
		return error;
	}
	if (was_consumed)
		signal_self(slot);
	if (!slot->runner.draining)
		tetheri_wake_settle(slot); /* else the drain that we are inside of will */
	return 0;
}
