/* drop.c - run a destructor on the thread that owns the object.
 * SPDX-License-Identifier: MIT
 *
 *     tether_drop --> mark: one CAS on `state_` --> home is me      --> run_here, or `later` in a destructor
 *                       | lost: double drop,        home is another --> its inbox
 *                       v report, touch nothing     home has gone   --> orphan: leak, run here, or heir
 *                    REFUSED                        nobody's        --> run_here
 *
 * Invariant: only the winner of the mark links the node, so it is in at most one list.
 * Invariant: after the mark `owner_` is the winner's to read: whoever moved the tag wrote it before the
 *   transition that the mark has acquired. It then takes TETHERI_DROPPED_BIT, and nobody passes the
 *   check any more.
 * Invariant: a node that no inbox took is run here, sent to the heir once, or leaked and reported; in
 *   the lists of one thread, never on its stack, so that a chain of any length takes constant stack. */
#include "internal.h"

/* How the tag was before the mark; ZERO: refused. */
static inline enum tetheri_state mark(struct tether *tag, const char *operation, const void *address)
{
	/* Acquire, here and in the CAS: pairs with the release of the transition that left this state. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	struct tetheri_slot *slot;

	for (;;) {
		tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
		enum tetheri_state state = tetheri_word_state(word);
		enum tetheri_state next = state == TETHERI_MOVING ? TETHERI_MOVING_DROPPED : TETHERI_DROPPED;
		bool may = state == TETHERI_BOUND || state == TETHERI_UNBOUND || state == TETHERI_MOVING;

		if (!may || !tetheri_word_is_tag(tag, word) ||
		    (state == TETHERI_BOUND && owner != tether_self_ && tetheri_owner_find(owner, &slot) == TETHERI_NOT_OURS)) {
			enum tether_kind kind = tetheri_tag_verdict(tag, owner, word);
			tetheri_report_tag(kind == TETHER_USE_AFTER_DROP ? TETHER_DOUBLE_DROP : kind, operation, tag, address);
			return TETHERI_ZERO;
		}
		/* Release: pairs with the mover that finds MOVING_DROPPED and destroys what we used. */
		if (__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, next), false, __ATOMIC_ACQ_REL,
		                                __ATOMIC_ACQUIRE))
			return state;
	}
}

static enum tether_dropped destroy_here(struct tether *tag)
{
	/* Relaxed: the node is ours until it is run. */
	__atomic_store_n(&tag->owner_, tether_self_ | TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	if (tetheri_in_destructor()) {
		tetheri_count_add(sent, 1);
		tetheri_run_later(tag);
		return TETHER_QUEUED;
	}
	tetheri_count_add(here, 1);
	tetheri_run_here(tag);
	return TETHER_HERE;
}

static inline bool send_to(struct tether *tag, tether_owner_t home)
{
	struct tetheri_slot *slot;

	/* Relaxed: the publishing CAS releases it. */
	__atomic_store_n(&tag->owner_, home | TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	return tetheri_owner_find(home, &slot) == TETHERI_ALIVE && tetheri_inbox_push(slot, tag);
}

enum tether_dropped tether_drop(struct tether *tag)
{
	enum tetheri_state state = mark(tag, "drop", TETHERI_CALLER);

	if (tetheri_unlikely(state == TETHERI_ZERO))
		return TETHER_REFUSED;
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	if (state == TETHERI_UNBOUND || (state == TETHERI_BOUND && home == tether_self_))
		return destroy_here(tag);
	tetheri_count_add(sent, 1);
	if (state == TETHERI_MOVING || send_to(tag, home))
		return TETHER_QUEUED;
	return tetheri_orphan(tag, false);
}

enum tether_dropped tether_drop_later(struct tether *tag)
{
	enum tetheri_state state = mark(tag, "drop_later", TETHERI_CALLER);

	if (tetheri_unlikely(state == TETHERI_ZERO))
		return TETHER_REFUSED;
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	if (state == TETHERI_UNBOUND)
		return destroy_here(tag);
	if (state == TETHERI_MOVING || send_to(tag, home)) {
		tetheri_count_shared(sent_later);
		return TETHER_QUEUED;
	}
	if (home == tether_self_)
		return destroy_here(tag); /* this thread's owner has ended: there is no later */
	tetheri_count_shared(sent_later);
	return tetheri_orphan(tag, false);
}

/* ---- Orphans --------------------------------------------------------------------------------- */

static bool send_to_heir(struct tether *tag, const struct tether_type *type)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);

	if (type->orphan != TETHER_HEIR || !type->heir || (word & TETHERI_INHERITED))
		return false;
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	/* Acquire: pairs with whoever named the heir after it was made. */
	tether_owner_t heir = __atomic_load_n(type->heir, __ATOMIC_ACQUIRE);
	__atomic_store_n(&tag->state_, word | TETHERI_INHERITED, __ATOMIC_RELAXED);
	if (send_to(tag, heir))
		return true;
	__atomic_store_n(&tag->owner_, home, __ATOMIC_RELAXED); /* so that the report names whose it was */
	return false;
}

static void leak(struct tether *tag, const struct tether_type *type)
{
	struct tetheri_event event = {
		.kind = TETHER_LEAKED, .operation = "drop", .tag = tag, .type = type, .address = TETHERI_CALLER};

	event.owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT;
	tetheri_count_shared(leaked);
	tetheri_report(&event);
}

enum tether_dropped tetheri_orphan(struct tether *tag, bool received)
{
	const struct tether_type *type = tetheri_word_type(__atomic_load_n(&tag->state_, __ATOMIC_RELAXED));

	if (send_to_heir(tag, type)) {
		if (received)
			tetheri_count_add(forwarded, 1);
		return TETHER_ORPHANED;
	}
	if (type->orphan == TETHER_ANYWHERE && tetheri_in_destructor()) {
		tetheri_run_later(tag);
		return TETHER_QUEUED;
	}
	if (received)
		tetheri_count_add(orphaned, 1);
	else
		tetheri_count_shared(direct);
	if (type->orphan != TETHER_ANYWHERE)
		leak(tag, type);
	else if (received)
		tetheri_run_destructor(tetheri_runner(), tag); /* whoever walks the list goes on with what it drops */
	else
		tetheri_run_here(tag);
	return TETHER_ORPHANED;
}
