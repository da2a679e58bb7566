/* group.c - objects that follow another, whose owner is theirs.
 * SPDX-License-Identifier: MIT
 *
 * A child's tag says FOLLOWS and holds its parent's address in `hint_`; its `owner_` matches nobody, so a check goes by
 * the cold function to the root, the first ancestor that does not follow itself. So a parent that moves
 * moves all, and no child is touched.
 *
 *     child dropped --> FOLLOWS_DROPPED, where is the root?
 *                         | somebody's     -> their inbox; whoever drains it asks again, and sends it on
 *                         | on its way     -> the root's `waiting_`: whoever receives the root queues them
 *                         v its owner gone -> orphan, by the child's own policy
 *     parent run with children left --> stays, flagged; the last child that leaves has it run
 *
 * `waiting_` is one word that says whether one may wait there: CLOSED but while the root is on its way, OPEN from
 * before it departs, or a list. Who takes the list closes it by the same XCHG, so nobody is left behind.
 *
 * Invariant: a child counts in its parent's `children_` from its bind until its destructor has returned (or
 *   it was leaked, or ended, or that destructor gives the parent away), and the parent is not destroyed before. So who holds a child may read its parent.
 * Invariant: `children_` is written by the owner of the root with a load and a store, while its inbox is open and the
 *   parent is neither shared nor dropped; by RMWs else: then nobody writes it the first way any more.
 * Invariant: a living child's `owner_` repeats its parent's address, so that no address is followed that something
 *   wrote over.
 * Invariant: a node that follows keeps `hint_` while it is queued (inbox.c leaves it alone). */
#include <errno.h>

#include "internal.h"

/* Values of `waiting_` that are no child's address; a group that was bound as a plain tag has neither. */
#define CLOSED UINT64_C(0x7465746865722d67)
#define OPEN (CLOSED + 2)
/* In `children_`, above their number: it was dropped, and is to be run after the last of them; and after how many forks. */
#define RUN_LATER (UINT64_C(1) << 63)
#define FORKS_SHIFT 32
#define FORKS_MASK (RUN_LATER - NUMBER_MASK - 1)
#define NUMBER_MASK ((UINT64_C(1) << FORKS_SHIFT) - 1)

static struct tether_group *group_of(struct tether *tag)
{
	return (struct tether_group *)tag;
}

static bool is_group(uint64_t word)
{
	return tetheri_word_type(word)->rules & TETHER_GROUP;
}

/* Else it was bound as a plain tag, though its type has the rule: nobody follows it, and its count is whatever was there.
 * Of one that is not on its way. Relaxed: it came with the state. */
static bool is_bound_as_group(const struct tether_group *group)
{
	return __atomic_load_n(&group->waiting_, __ATOMIC_RELAXED) == CLOSED;
}

/* ---- Following ------------------------------------------------------------------------------- */

void tether_bind_group(struct tether_group *group, const struct tether_type *type)
{
	__atomic_store_n(&group->children_, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&group->waiting_, CLOSED, __ATOMIC_RELAXED);
	tetheri_bind(&group->tag, type, TETHERI_CALLER);
}

/* May objects of this type follow it? */
static bool may_follow(const struct tether_type *type, const struct tether_group *parent, enum tether_kind *why)
{
	const struct tether *tag = &parent->tag;
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	enum tetheri_state state = tetheri_word_state(word);
	bool is_tag = tetheri_word_is_tag(tag, word);
	const struct tether *root = tetheri_group_follows(tag, word) ? tetheri_group_root(tag) : tag;
	tether_owner_t owner = __atomic_load_n(&root->owner_, __ATOMIC_RELAXED);

	if (!is_tag || tetheri_state_is_dropped(state) || owner != tether_self_)
		*why = tetheri_tag_verdict(tag, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED), word);
	else if (!is_group(word) || !is_bound_as_group(parent))
		*why = TETHER_BAD_MOVE; /* not bound as a group */
	else if ((type->rules & TETHER_UNSENDABLE) && !(tetheri_word_type(word)->rules & TETHER_UNSENDABLE))
		*why = TETHER_UNSENDABLE_MOVED; /* or will be, when the parent moves */
	else
		return true;
	return false;
}

/* Does the caller's owner have it, so that nobody else counts its children? What is shared may be dropped by anybody, and
 * marked as waiting, at any moment. */
static bool counts_alone(const struct tether *parent)
{
	enum tetheri_state state = tetheri_word_state(__atomic_load_n(&parent->state_, __ATOMIC_RELAXED));
	const struct tether *root = state == TETHERI_FOLLOWS ? tetheri_group_root(parent) : parent;

	return !tetheri_state_is_dropped(state) && state != TETHERI_SHARED &&
	       __atomic_load_n(&root->owner_, __ATOMIC_RELAXED) == tether_open_self_;
}

static void count_child(struct tether_group *parent)
{
	/* Relaxed, both: the child's bind publishes nothing of the parent. Once our inbox is closed others run its orphans,
	 * and count. */
	if (tetheri_likely(counts_alone(&parent->tag)))
		__atomic_store_n(&parent->children_, __atomic_load_n(&parent->children_, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&parent->children_, 1, __ATOMIC_RELAXED);
}

int tether_bind_to(struct tether *child, const struct tether_type *type, struct tether_group *parent)
{
	enum tether_kind why;

	if (!tetheri_type_check(child, type, "bind_to", TETHERI_CALLER))
		return -EINVAL;
	if (!may_follow(type, parent, &why)) {
		*child = (struct tether){0, 0, 0, 0};
		tetheri_report_tag(why, "bind_to", &parent->tag, TETHERI_CALLER);
		return -EINVAL;
	}
	count_child(parent);
	tetheri_note(child, TETHER_EVENT_BOUND, TETHERI_CALLER);
	tetheri_tag_start(child, type, TETHERI_FOLLOWS, tetheri_group_owner_word(&parent->tag), (uintptr_t)&parent->tag,
	                  tetheri_origin_now(__builtin_frame_address(0), TETHERI_CALLER));
	tetheri_count_add(tetheri_counts(), bound, 1);
	return 0;
}

/* ---- Where a dropped child goes -------------------------------------------------------------- */

/* False: the root has arrived. */
static bool wait_for(struct tether *root, struct tether *child)
{
	uint64_t *waiting = &group_of(root)->waiting_;
	/* Acquire, as in the failed CAS: with CLOSED comes that the root has arrived. */
	uint64_t first = __atomic_load_n(waiting, __ATOMIC_ACQUIRE);

	do {
		if (first == CLOSED)
			return false;
		tetheri_set_next(child, first == OPEN ? 0 : first);
		/* Release: what its dropper did to the child, before who runs it. */
	} while (!__atomic_compare_exchange_n(waiting, &first, (uintptr_t)child, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE));
	return true;
}

tether_owner_t tetheri_group_route(struct tether *child)
{
	struct tether *root = tetheri_group_root(child);

	for (;;) {
		/* Acquire, both: pairs with the release of the transition, and with that of set_out in move.c, so that who
		 * finds the root somebody's finds also what they did to it. */
		enum tetheri_state state = tetheri_word_state(__atomic_load_n(&root->state_, __ATOMIC_ACQUIRE));
		tether_owner_t owner = __atomic_load_n(&root->owner_, __ATOMIC_ACQUIRE);

		if (state == TETHERI_TRANSIT || state == TETHERI_TRANSIT_DROPPED) {
			if (wait_for(root, child))
				return TETHERI_WAITS;
		} else if (tetheri_state_is_dropped(state) || !(owner & TETHERI_DROPPED_BIT)) {
			return owner & ~TETHERI_DROPPED_BIT;
		} /* else it departed between the two looks */
	}
}

void tetheri_group_depart(struct tether *tag, uint64_t word)
{
	struct tether_group *group = group_of(tag);

	if (!is_group(word))
		return;
	/* Relaxed, both: the CAS that makes it depart releases them. From here on it counts as bound as a group. */
	if (!is_bound_as_group(group))
		__atomic_store_n(&group->children_, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&group->waiting_, OPEN, __ATOMIC_RELAXED);
}

/* An orphan's destructor may run here, and leave by an exception; then the rest is sent as that passes. */
static void send_home(struct tetheri_list *list)
{
	struct tether *child;

	while ((child = list->first)) {
		list->first = tetheri_next(child);
		tetheri_note(child, TETHER_EVENT_DROPPED, NULL);
		tetheri_send_home(child);
	}
}

void tetheri_group_arrive(struct tether *tag)
{
	struct tetheri_list list __attribute__((cleanup(send_home))) = {NULL, NULL};

	if (!is_group(__atomic_load_n(&tag->state_, __ATOMIC_RELAXED)))
		return;
	/* Acquire: the children, from who dropped them. Release: that the root has arrived, to who finds it closed. */
	uint64_t first = __atomic_exchange_n(&group_of(tag)->waiting_, CLOSED, __ATOMIC_ACQ_REL);
	struct tether *child = first == OPEN || first == CLOSED ? NULL : (struct tether *)(uintptr_t)first;
	/* Newest first becomes oldest first. */
	while (child) {
		struct tether *older = tetheri_next(child);
		tetheri_set_next(child, (uintptr_t)list.first);
		list.first = child;
		child = older;
	}
	send_home(&list);
}

/* ---- A parent outlives its children ---------------------------------------------------------- */

bool tetheri_group_has_children(const struct tether *tag, uint64_t word)
{
	const struct tether_group *group = (const struct tether_group *)tag;

	return is_group(word) && is_bound_as_group(group) && __atomic_load_n(&group->children_, __ATOMIC_RELAXED) & NUMBER_MASK;
}

static uint64_t forks(void)
{
	return (uint64_t)tetheri_stats_forks << FORKS_SHIFT & FORKS_MASK;
}

bool tetheri_group_defer_slow(struct tether *tag)
{
	uint64_t *children = &group_of(tag)->children_;

	/* Acquire: the children's ends, before their parent's. None can come any more, as it is dropped. */
	if ((__atomic_load_n(children, __ATOMIC_ACQUIRE) & NUMBER_MASK) == 0 || !is_bound_as_group(group_of(tag)))
		return false;
	/* Acquire and release: pairs with the last child's, whichever comes second runs the parent. */
	return __atomic_fetch_or(children, RUN_LATER | forks(), __ATOMIC_ACQ_REL) & NUMBER_MASK;
}

bool tetheri_group_leave(struct tether *parent)
{
	uint64_t *children = &group_of(parent)->children_;
	uint64_t left;

	if (counts_alone(parent)) {
		left = __atomic_load_n(children, __ATOMIC_RELAXED) - 1;
		__atomic_store_n(children, left, __ATOMIC_RELAXED);
	} else {
		/* Release: the child's end, before the parent's. Acquire: as the last one, all the others' ends. */
		left = __atomic_sub_fetch(children, 1, __ATOMIC_ACQ_REL);
	}
	if ((left & (RUN_LATER | NUMBER_MASK)) != RUN_LATER)
		return false;
	/* It was sent in the process that this one was forked from, and is received here. */
	if (left != (RUN_LATER | forks()))
		tetheri_count_shared(sent_later);
	return true;
}

void tetheri_group_let_go(struct tether *parent)
{
	if (tetheri_group_leave(parent))
		tetheri_run_again(parent);
}
