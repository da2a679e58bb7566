/* stats.c - the counters, per owner and in total.
 * SPDX-License-Identifier: MIT
 *
 * Each owner counts for itself, without atomic read-modify-writes; threads without an owner share one
 * set. When an owner ends, its counts join `retired`, under the table's lock, so a total misses none and
 * counts none twice.
 * Invariant, at quiet points: sent (by all) == queued (by all), and for each owner
 *   queued = run_home + orphaned + pending. */
#include <errno.h>

#include "internal.h"

struct tetheri_counts tetheri_nobody;
unsigned tetheri_stats_forks;

static struct tether_counters retired; /* under the table's lock */

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add(struct tether_counters *sum, const struct tetheri_counts *counts, uint64_t depth, uint64_t wakeups)
{
	uint64_t queued = get(&counts->received) + get(&counts->direct) + depth - get(&counts->forwarded);
	uint64_t orphaned = get(&counts->orphaned) + get(&counts->direct);
	int64_t pending = (int64_t)(queued - get(&counts->run_home) - orphaned);

	sum->bound += get(&counts->bound);
	sum->failed_checks += get(&counts->failed);
	sum->dropped_here += get(&counts->here);
	sum->sent += get(&counts->sent) + get(&counts->sent_later);
	sum->queued += queued;
	sum->run_home += get(&counts->run_home);
	sum->orphaned += orphaned;
	sum->leaked += get(&counts->leaked);
	/* Read while they change, the counters may disagree by what is just being handled. */
	sum->pending += pending > 0 ? (uint64_t)pending : 0;
	sum->wakeups += wakeups;
}

static void add_slot(struct tether_counters *sum, const struct tetheri_slot *slot)
{
	add(sum, &slot->counts, tetheri_inbox_depth(slot), get(&slot->woken));
}

uint64_t tetheri_stats_pending(const struct tetheri_slot *slot)
{
	struct tether_counters sum = {.bound = 0};

	add_slot(&sum, slot);
	return sum.pending;
}

static void clear(struct tetheri_counts *counts)
{
	for (_Atomic uint64_t *counter = (_Atomic uint64_t *)counts; counter < (_Atomic uint64_t *)(counts + 1); counter++)
		atomic_store_explicit(counter, 0, memory_order_relaxed);
}

void tetheri_stats_clear(struct tetheri_slot *slot)
{
	clear(&slot->counts);
	/* Every wake-up that was begun has ended, see wake.c, or who began it is not in this process. */
	slot->consumed = slot->self_signals = slot->cleared = 0;
	atomic_store_explicit(&slot->woken, 0, memory_order_relaxed);
}

void tetheri_stats_retire(struct tetheri_slot *slot)
{
	add_slot(&retired, slot);
	slot->in_use = false;
	tetheri_stats_clear(slot);
}

static uint64_t length(const struct tetheri_list *list)
{
	uint64_t n = 0;

	for (const struct tether *node = list->first; node; node = tetheri_next(node))
		n++;
	return n;
}

void tetheri_stats_restart(const struct tetheri_list *of_nobody)
{
	uint64_t pending = length(of_nobody) + length(&tetheri_thread.runner.later);

	tetheri_stats_forks++;
	retired = (struct tether_counters){.bound = 0};
	clear(&tetheri_nobody);
	atomic_store_explicit(&tetheri_nobody.received, pending, memory_order_relaxed);
	atomic_store_explicit(&tetheri_nobody.sent, pending, memory_order_relaxed);
}

uint64_t tetheri_stats_unhandled(const struct tetheri_slot *slot)
{
	const struct tetheri_counts *counts = &slot->counts;

	return get(&counts->received) - get(&counts->forwarded) - get(&counts->run_home) - get(&counts->orphaned);
}

void tetheri_stats_begin(struct tetheri_slot *slot, uint64_t unhandled)
{
	atomic_store_explicit(&slot->counts.received, unhandled, memory_order_relaxed);
	atomic_store_explicit(&slot->counts.sent, unhandled + tetheri_inbox_depth(slot), memory_order_relaxed);
}

void tetheri_stats_take_over(struct tetheri_slot *slot)
{
	uint64_t taken = length(&slot->taken);

	tetheri_count_add(&slot->counts, received, taken);
	atomic_fetch_sub_explicit(&tetheri_nobody.received, taken, memory_order_relaxed);
}

static void add_all(struct tether_counters *sum)
{
	*sum = retired;
	add(sum, &tetheri_nobody, 0, 0);
	/* Also of slots that nobody has: their counts are zero. */
	for (uint32_t i = 0; i < tetheri_table_size(); i++)
		add_slot(sum, tetheri_table_at(i));
}

int tether_stats(tether_owner_t owner, struct tether_counters *out)
{
	struct tetheri_slot *slot;
	int error = 0;

	*out = (struct tether_counters){.bound = 0};
	tetheri_table_lock();
	if (owner == 0)
		add_all(out);
	else if (tetheri_owner_find(owner, &slot) == TETHERI_ALIVE && slot->in_use)
		add_slot(out, slot);
	else
		error = -ESRCH;
	tetheri_table_unlock();
	return error;
}
