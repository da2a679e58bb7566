/* shutdown.c - drain all owners that still live, and say what could not be.
 * SPDX-License-Identifier: MIT
 *
 *     drain here --> is anything pending, is anybody running something? -- no --> 0
 *       ^                    | yes, and there is time left            | yes
 *       +------ a nap -------+                                        +---------> what is left, by owner and type
 *
 * Here means the owners that the thread is inside of, and the logical ones that nobody is inside of. Of the others
 * nobody is told to drain: one that has something pending has a wake-up on its way (wake.c), or drains without.
 *
 * An owner is quiet if nothing is pending for it, and it is not busy then. In this order: what it has taken and not
 * counted yet, or counted as handled and not run yet, is pending nowhere, but its drain has begun before.
 *
 * A callback that has just sent something and returned may be seen as idle, and what it sent not be seen any more as
 * its receiver was looked at before. So all are looked at twice, and the number of nodes that were ever sent must be the
 * same before and after:
 *
 *     sent ........ look at all ........ look at all ........ sent
 *       a callback counts what it sends, sends it, and is idle
 *
 * What is counted in between changes the number. What was counted before is sent before its callback is found idle by
 * the first look, and so found by the second. (Threads that send without being told to are the program's to stop.)
 *
 * What lies in another owner's inbox is counted by type where it is, see tetheri_inbox_hold(). What the owner has taken
 * already is its alone, and only its number is known. */
#include <errno.h>

#include "holder.h"
#include "internal.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Acquire: pairs with the release in tetheri_run_idle; what it counted as sent is seen. */
static bool is_busy(const struct tetheri_slot *slot)
{
	return atomic_load_explicit(&slot->doing, memory_order_acquire) & TETHERI_BUSY;
}

static uint64_t sent_by_all(void)
{
	struct tether_counters total;

	(void)tether_stats(0, &total);
	return total.sent;
}

static bool is_each_quiet(void)
{
	bool is_quiet = true;

	tetheri_table_lock();
	for (uint32_t i = 0; i < tetheri_table_size() && is_quiet; i++) {
		const struct tetheri_slot *slot = tetheri_table_at(i);
		is_quiet = !slot->in_use || (tetheri_stats_pending(slot) == 0 && !is_busy(slot));
	}
	tetheri_table_unlock();
	return is_quiet;
}

static bool is_quiet(void)
{
	uint64_t sent = sent_by_all();

	if (!is_each_quiet())
		return false;
	return is_each_quiet() && sent_by_all() == sent;
}

/* What is pending for the current owner now, and not what that sends, or the time would never be looked at. */
static void drain_current(void *context)
{
	const uint64_t *end = context;
	uint64_t pending = tetheri_stats_pending(tetheri_thread.slot), now = tetheri_now();

	if (pending > 0)
		(void)tether_drain_for(pending, *end > now ? (*end - now) / NS_PER_US + 1 : 1);
}

static bool is_free(const struct tetheri_slot *slot)
{
	/* Relaxed: whoever enters makes sure. */
	return tetheri_logical_inside(slot) == atomic_load_explicit(&slot->id, memory_order_relaxed);
}

/* Those that the thread is inside of, and those that nobody is: for these it has to be an owner itself, and for what waits
 * in a child until there is one. */
static void drain_here(uint64_t end, const void *caller)
{
	if (tetheri_fork_is_waiting())
		(void)tetheri_owner_make(caller);
	tetheri_logical_visit_mine(drain_current, &end);
	for (uint32_t i = 0; i < tetheri_table_size(); i++) {
		struct tetheri_slot *slot = tetheri_table_at(i);
		if (is_free(slot) && tetheri_stats_pending(slot) > 0 && (tetheri_thread.own || tetheri_owner_make(caller)))
			tetheri_logical_visit(slot, drain_current, &end);
	}
}

static void nap(void)
{
	int saved_errno = errno;

	tetheri_holder_await();
	errno = saved_errno;
}

/* ---- What is left ---------------------------------------------------------------------------- */

struct left {
	struct tetheri_left rows[TETHERI_LEFT_ROWS];
	size_t count;
	uint64_t more;
};

/* `first`: of this owner's rows. */
static void add(struct left *left, size_t first, const struct tetheri_left *what)
{
	size_t i = first;

	while (i < left->count && left->rows[i].type != what->type)
		i++;
	if (i < left->count)
		left->rows[i].count += what->count;
	else if (i < TETHERI_LEFT_ROWS)
		left->rows[left->count++] = *what;
	else
		left->more += what->count;
}

static void count_of(struct left *left, struct tetheri_slot *slot)
{
	struct tetheri_left row = {.owner = atomic_load_explicit(&slot->id, memory_order_relaxed), .count = 1};
	const struct tether *node = tetheri_inbox_hold(slot);
	/* While nothing can be taken, or what is would be counted twice. */
	uint64_t pending = tetheri_stats_pending(slot), seen = 0;
	size_t first = left->count;

	for (; node; node = tetheri_next(node), seen++) {
		/* Relaxed: it was published, and nobody takes it while we look. */
		row.type = tetheri_word_type(__atomic_load_n(&node->state_, __ATOMIC_RELAXED));
		add(left, first, &row);
	}
	tetheri_inbox_let_go(slot);
	row.type = NULL;
	row.count = pending > seen ? pending - seen : 0;
	if (row.count > 0 || (seen == 0 && is_busy(slot)))
		add(left, first, &row);
}

static TETHER_COLD_ void tell(const void *caller)
{
	struct left left = {.count = 0};
	struct tetheri_event event = {.kind = TETHER_LEFT_OVER, .operation = "tether_shutdown", .address = caller};

	tetheri_table_lock();
	for (uint32_t i = 0; i < tetheri_table_size(); i++) {
		struct tetheri_slot *slot = tetheri_table_at(i);
		if (slot->in_use)
			count_of(&left, slot);
	}
	tetheri_table_unlock();
	event.left = left.rows;
	event.left_count = left.count;
	event.left_more = left.more;
	tetheri_report(&event);
}

int tether_shutdown(unsigned timeout_ms)
{
	uint64_t end = tetheri_now() + timeout_ms * NS_PER_MS;

	if (tetheri_thread.active) {
		tetheri_report_call(TETHER_BAD_CALL, "tether_shutdown", TETHERI_CALLER);
		return -EPERM;
	}
	tetheri_batch_flush();
	for (drain_here(timeout_ms > 0 ? end : UINT64_MAX, TETHERI_CALLER); !is_quiet(); drain_here(end, TETHERI_CALLER)) {
		if (tetheri_now() >= end) {
			tell(TETHERI_CALLER);
			return -ETIMEDOUT;
		}
		nap();
	}
	return 0;
}
