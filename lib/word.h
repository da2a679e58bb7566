/* word.h - the words of a tag: states, flags, and how a type and a state share one of them.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_WORD_H
#define TETHERI_WORD_H

#include <tether/tag.h>

/* The state, bits 0-3 of `state_`. Who may leave it is in brackets; each arrow is one CAS. */
enum tetheri_state {
	TETHERI_ZERO = 0,    /* not a tag */
	TETHERI_UNBOUND = 1, /* [anyone] -> MOVING by claim, -> DROPPED by drop */
	TETHERI_BOUND = 2,   /* [anyone] -> DROPPED; [owner] -> MOVING, TRANSIT, LENT, SHARED, DEAD */
	TETHERI_MOVING = 3,  /* [who moves it] -> BOUND, UNBOUND; [anyone] -> MOVING_DROPPED */
	TETHERI_LENT = 4,    /* [borrower] -> MOVING; [anyone] -> LENT_DROPPED */
	TETHERI_SHARED = 5,  /* [anyone] -> DROPPED; [owner] -> DEAD */
	TETHERI_TRANSIT = 6, /* [who receives it] -> BOUND; [anyone] -> TRANSIT_DROPPED */
	TETHERI_FOLLOWS = 7, /* its owner is its parent's. [anyone] -> FOLLOWS_DROPPED; [owner] -> DEAD */
	/* From here on it is dropped. Whoever may leave one of the first three finishes the drop. */
	TETHERI_MOVING_DROPPED = 8,
	TETHERI_LENT_DROPPED = 9,
	TETHERI_TRANSIT_DROPPED = 10,
	TETHERI_FOLLOWS_DROPPED = 11, /* [whoever holds the node] -> DEAD; its `hint_` stays its parent */
	TETHERI_DROPPED = 12,         /* [whoever holds the node] -> DEAD */
	TETHERI_DEAD = 13
};

static inline bool tetheri_state_is_dropped(enum tetheri_state state)
{
	return state >= TETHERI_MOVING_DROPPED;
}

static inline bool tetheri_state_follows(enum tetheri_state state)
{
	return state == TETHERI_FOLLOWS || state == TETHERI_FOLLOWS_DROPPED;
}

#define TETHERI_STATE_MASK UINT64_C(0xf)
#define TETHERI_INHERITED (UINT64_C(1) << 4) /* an orphan that went to its heir; it goes only once */
#define TETHERI_LABELLED (UINT64_C(1) << 5)  /* the side table has an entry for it */
#define TETHERI_LOW_MASK UINT64_C(0x3f)
#define TETHERI_MAGIC_MASK (UINT64_C(0xff) << 48)

/* In `owner_` of a tag that is dropped, or on its way to another owner: nobody passes the check, its owner
 * included, but it can still be told whose it was, or is to be. No id has this bit. */
#define TETHERI_DROPPED_BIT (UINT64_C(1) << 63)

static inline uint64_t tetheri_word(const struct tether_type *type, enum tetheri_state state)
{
	return (uint64_t)(uintptr_t)type | TETHER_STATE_MAGIC_ | state;
}

static inline bool tetheri_word_has_magic(uint64_t word)
{
	return (word & TETHERI_MAGIC_MASK) == TETHER_STATE_MAGIC_;
}

static inline bool tetheri_word_is_bound(uint64_t word)
{
	return (word & (TETHERI_MAGIC_MASK | TETHERI_STATE_MASK)) == (TETHER_STATE_MAGIC_ | TETHERI_BOUND);
}

static inline enum tetheri_state tetheri_word_state(uint64_t word)
{
	return (enum tetheri_state)(word & TETHERI_STATE_MASK);
}

static inline uint64_t tetheri_word_with(uint64_t word, enum tetheri_state state)
{
	return (word & ~TETHERI_STATE_MASK) | state;
}

static inline const struct tether_type *tetheri_word_type(uint64_t word)
{
	return (const struct tether_type *)(uintptr_t)(word & ~(TETHERI_MAGIC_MASK | TETHERI_LOW_MASK));
}

/* Relaxed: a list belongs to one thread at a time, and what hands it on has its own order; but a report about
 * an object that is used wrongly may read this word meanwhile. */
static inline void tetheri_set_next(struct tether *tag, uint64_t next)
{
	__atomic_store_n(&tag->next_, next, __ATOMIC_RELAXED);
}

static inline struct tether *tetheri_next(const struct tether *node)
{
	return (struct tether *)(uintptr_t)node->next_;
}

#endif
