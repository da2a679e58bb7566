/* rest.c - an owner comes to rest before it ends, or is cut off.
 * SPDX-License-Identifier: MIT
 *
 * What an ending owner runs may drop and post again: to itself, or to another that ends as well and answers. Mostly
 * that comes to an end. What does not is found by counting, and named:
 *
 *     open       what is pending is run, and up to QUIET_NODES that are new
 *       |        close: who sends from now on finds it gone
 *     closed     what is pending is run, and up to QUIET_NODES that are new
 *       | too many
 *     cut off    what is there now is run; what that sends is leaked, and the owner ends
 *
 * New is a message, as it may be posted again for ever, and an object that was bound meanwhile. The others that an
 * owner has are finitely many, in a list perhaps of which each drops the next; each counts a thousandth, for those
 * that nobody bound.
 *
 * The first stage that does not suffice is reported (RESTLESS), with what ran last and who sent last. Senders say who
 * they are only in the second half of the first stage, where it begins to matter.
 *
 * `late` is closed while nothing runs: a handler that finds it closed tells its message at once, and does not leave it
 * to a list that nobody looks at any more.
 *
 * Invariant: what is cut off has its function called at most once more after the report, or never; then it is counted
 *   as orphaned and leaked, and reported. */
#include "internal.h"

#define QUIET_NODES 100000

#define SLICE 1000

struct rest {
	struct tetheri_slot *slot;
	uint64_t most; /* of work(), before it is too much */
	bool is_told;
};

/* ---- Who sends ------------------------------------------------------------------------------- */

void tetheri_rest_look(struct tetheri_slot *slot)
{
	/* Relaxed: it is printed. By CAS: when nobody wants to know any more it stays 0. */
	tether_owner_t last = atomic_load_explicit(&slot->sent_by, memory_order_relaxed);

	if (last != 0)
		(void)atomic_compare_exchange_strong_explicit(&slot->sent_by, &last, tether_self_, memory_order_relaxed,
		                                              memory_order_relaxed);
}

/* Until somebody else does, it sends to itself. */
static struct tetheri_slot *watch(struct tetheri_slot *slot)
{
	atomic_fetch_add_explicit(&tetheri_trace, TETHERI_TRACE_OWNER, memory_order_relaxed);
	/* Release: where a fork finds this, it finds the owner counted. */
	atomic_store_explicit(&slot->sent_by, tether_self_, memory_order_release);
	return slot;
}

static void unwatch(struct tetheri_slot *const *slot)
{
	atomic_store_explicit(&(*slot)->sent_by, 0, memory_order_relaxed);
	/* Release: as above. */
	atomic_fetch_sub_explicit(&tetheri_trace, TETHERI_TRACE_OWNER, memory_order_release);
}

void tetheri_rest_forget(struct tetheri_slot *slot)
{
	if (atomic_load_explicit(&slot->sent_by, memory_order_relaxed) != 0)
		unwatch(&slot);
}

static TETHER_COLD_ void tell(struct rest *rest, tether_owner_t sent_by)
{
	struct tetheri_event event = {
		.kind = TETHER_RESTLESS, .operation = "owner exit", .owner = tether_self_, .address = TETHERI_CALLER};

	if (rest->is_told)
		return;
	rest->is_told = true;
	event.other = sent_by == TETHER_NOBODY_ ? 0 : sent_by;
	tetheri_run_idle(rest->slot);
	tetheri_report(&event);
}

/* ---- Open and closed ------------------------------------------------------------------------- */

/* What it has done, for the most part what may never end. */
static uint64_t work(const struct tetheri_slot *slot)
{
	return slot->messages + atomic_load_explicit(&slot->counts.bound, memory_order_relaxed) +
	       atomic_load_explicit(&slot->counts.received, memory_order_relaxed) / 1024;
}

static void allow(struct rest *rest, uint64_t more)
{
	rest->most = work(rest->slot) + tetheri_stats_pending(rest->slot) + more;
}

static bool is_too_much(const struct rest *rest)
{
	return work(rest->slot) > rest->most;
}

/* False: there is more, and it is too much. */
static bool run_all(struct tetheri_run *run, const struct rest *rest)
{
	while (tetheri_run_lists(run, SLICE) == SLICE)
		if (is_too_much(rest))
			return false;
	return true;
}

static void run_watched(struct tetheri_run *run, struct rest *rest)
{
	struct tetheri_slot *watched __attribute__((cleanup(unwatch))) = watch(rest->slot);

	allow(rest, QUIET_NODES / 2);
	if (!run_all(run, rest))
		tell(rest, atomic_load_explicit(&watched->sent_by, memory_order_relaxed));
}

/* Still open: something that it ran has left by an exception, and the owner lives on. */
static void end_unless_open(struct tetheri_slot *const *slot)
{
	(*slot)->ending = !tetheri_slot_is_open(*slot);
}

static bool run_and_close(struct rest *rest)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));
	struct tetheri_slot *ending __attribute__((cleanup(end_unless_open))) = rest->slot;

	tetheri_run_enter(&run, true);
	ending->ending = true;
	allow(rest, QUIET_NODES / 2);
	if (!run_all(&run, rest))
		run_watched(&run, rest);
	/* Before others can find it closed, and count in our place. */
	tether_open_self_ = TETHER_NOBODY_;
	atomic_signal_fence(memory_order_seq_cst);
	tetheri_inbox_close(rest->slot);
	allow(rest, QUIET_NODES);
	return run_all(&run, rest);
}

static bool run_late(const struct rest *rest)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, true);
	tetheri_inbox_take_late(rest->slot);
	return run_all(&run, rest) && !is_too_much(rest);
}

static bool comes_to_rest(struct rest *rest)
{
	bool is_quiet = run_and_close(rest);

	/* A handler may have left something over in the last instructions of a drain. */
	while (is_quiet && (!tetheri_inbox_close_late(rest->slot) || rest->slot->runner.later.first))
		is_quiet = run_late(rest);
	return is_quiet;
}

/* ---- Cut off --------------------------------------------------------------------------------- */

static void run_what_is_there(struct tetheri_slot *slot)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, true);
	tetheri_list_prepend(&slot->taken, &slot->runner.later);
	tetheri_inbox_take_late(slot);
	tetheri_run_taken(&run);
}

static void leak_what_is_there(struct tetheri_slot *slot)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));
	struct tether *node;

	tetheri_run_enter(&run, true);
	tetheri_inbox_take_late(slot);
	do {
		tetheri_list_prepend(&slot->taken, &slot->runner.later);
		node = tetheri_list_pop(&slot->taken);
		if (node)
			tetheri_lose(node);
	} while (node);
}

void tetheri_rest(struct tetheri_slot *slot)
{
	struct rest rest = {.slot = slot};

	if (comes_to_rest(&rest))
		return;
	tell(&rest, tether_self_);
	run_what_is_there(slot);
	do {
		leak_what_is_there(slot);
	} while (!tetheri_inbox_close_late(slot) || slot->runner.later.first);
}
