/* use.c - who is inside an object that any thread may use, but never two at once.
 * SPDX-License-Identifier: MIT
 *
 * While an object lives, is with one owner, with nobody or with all, its `hint_` is free, and holds its user:
 *
 *      63        44 43                20 19         0
 *     +------------+--------------------+------------+
 *     |   depth    |  generation's low  |    slot    |   0: nobody is inside
 *     +------------+--------------------+------------+
 *
 *     0 --enter, CAS--> (me, 1) <--enter, leave: stores, mine alone--> (me, 2) ...
 *     ^                    |
 *     +-----leave, store---+
 *
 * Nothing here orders what users do with the object: what is inside a scope must be ordered by the program, also where
 * checks are off. Leaving is a relaxed store for that reason. An entry that acquired what the last user released
 * would hide the program's own races, from itself and from ThreadSanitizer.
 *
 * Invariant: of two that are inside one object at once, at least one has been told: each entry is a CAS on the one
 *   word that the other wrote.
 * Invariant: whoever enters what somebody else is dropping is told, or the dropper is: both write `hint_`, and each
 *   then sees what the first one did.
 * Invariant: what is no user, the hint of an object that was dropped meanwhile, is never taken for one: it was stored by a
 *   release behind the mark, is read by an acquire, and the state is looked at again.
 * Invariant: what an entry writes is a whole user or nothing. In a word that has become a prefetch hint or the home of
 *   the dead, by a misuse that was reported, it does no harm: one is never followed, the other only printed. */
#include "internal.h"

#define USER_BITS 44
#define USER_MASK ((UINT64_C(1) << USER_BITS) - 1)
#define ONE_DEEP (UINT64_C(1) << USER_BITS)
#define FULL_DEPTH (~USER_MASK)

static bool is_mine(uint64_t use)
{
	return use != 0 && ((use ^ tether_self_) & USER_MASK) == 0;
}

/* The user's whole number: of those of its slot that end like that, the last one given out. */
static tether_owner_t user_of(uint64_t use)
{
	struct tetheri_slot *slot = NULL;
	tether_owner_t low = use & USER_MASK;

	(void)tetheri_owner_find(low, &slot); /* by its index; the rest of the number is not there */
	if (use == 0 || !slot)
		return 0;
	uint64_t now = atomic_load_explicit(&slot->id, memory_order_relaxed);
	tether_owner_t user = (now & ~USER_MASK) | low;
	return user > now ? user - ONE_DEEP : user;
}

tether_owner_t tetheri_use_of(const struct tether *tag)
{
	/* Acquire: pairs with the release of the transition: the `hint_` read next is no older. Acquire, there: it is no
	 * younger than the state that is read again, or it may be whose it was, of what has just ended. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	uint64_t use = __atomic_load_n(&tag->hint_, __ATOMIC_ACQUIRE);

	if (!tetheri_use_is_kept(tetheri_word_state(word)) || __atomic_load_n(&tag->state_, __ATOMIC_RELAXED) != word)
		return 0;
	return user_of(use);
}

static TETHER_COLD_ void tell(struct tetheri_event *event, uint64_t word, tetheri_origin_t origin)
{
	event->word = word;
	event->owner = tetheri_tag_home(event->tag);
	event->origin = origin;
	if (tetheri_word_is_tag(event->tag, word))
		event->type = tetheri_word_type(word);
	tetheri_report(event);
}

/* Does a LEAVE of such a tag do nothing? Lent and following objects were only checked; what was dropped meanwhile was
 * its owner's to use until it leaves, or was reported. */
static bool is_left_alone(uint64_t word)
{
	enum tetheri_state state = tetheri_word_state(word);

	return tetheri_word_has_magic(word) && (state == TETHERI_LENT || state == TETHERI_FOLLOWS || tetheri_state_is_dropped(state));
}

/* ---- Enter ----------------------------------------------------------------------------------- */

/* A LEAVE will come for it, and find that we are not inside. */
static void refuse(uint64_t word)
{
	if (!is_left_alone(word))
		tetheri_runner()->refused++;
}

/* Unbound and shared objects are open to all, bound ones to their owner. */
static bool is_open_to_me(const struct tether *tag, uint64_t word)
{
	enum tetheri_state state = tetheri_word_state(word);

	if (!tetheri_use_is_kept(state) || !tetheri_word_is_tag(tag, word))
		return false;
	/* Of a static tag nobody may have seen the type; the next look is to be a short one. */
	if (state == TETHERI_UNBOUND && !tetheri_type_is_cached(tetheri_word_type(word)))
		(void)tetheri_type_register(tetheri_word_type(word));
	return state != TETHERI_BOUND || tether_matches_(tag);
}

static inline uint64_t use_by_me(void)
{
	return (tether_self_ & USER_MASK) | ONE_DEEP;
}

/* True: we are inside. Else `use` is who is; or 0: the object has changed its state, and is to be looked at again. */
static inline bool enter_once(struct tether *tag, uint64_t word, uint64_t *use)
{
	/* Acquire, as in the failed CAS: pairs with the release of a sender's hint, see the end. */
	*use = __atomic_load_n(&tag->hint_, __ATOMIC_ACQUIRE);
	if (is_mine(*use) && *use < FULL_DEPTH) {
		__atomic_store_n(&tag->hint_, *use + ONE_DEEP, __ATOMIC_RELAXED);
		return true;
	}
	/* Acquire: pairs with the release in tetheri_use_end: what was dropped before is seen to be, in the next line. */
	bool is_inside =
		*use == 0 && __atomic_compare_exchange_n(&tag->hint_, use, use_by_me(), false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE);
	if (tetheri_likely(__atomic_load_n(&tag->state_, __ATOMIC_RELAXED) == word))
		return is_inside;
	/* It was dropped, or has changed hands. What was there may have been a hint; and ours is taken back by a CAS, as
	 * it may be somebody else's word by now. */
	*use = use_by_me();
	if (is_inside)
		(void)__atomic_compare_exchange_n(&tag->hint_, use, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	*use = 0;
	return false;
}

/* Somebody else is inside; or we are, a million times. */
static TETHER_COLD_ void overlap(struct tether *tag, uint64_t word, uint64_t use, struct tetheri_event *event)
{
	tether_owner_t user = user_of(use);

	event->kind = is_mine(use) ? TETHER_BAD_CALL : TETHER_OVERLAP;
	event->other = user;
	tell(event, word, tetheri_tag_origin(tag));
	/* Who has ended inside never leaves. One report is enough. */
	if (tether_owner_is_alive(user) ||
	    !__atomic_compare_exchange_n(&tag->hint_, &use, use_by_me(), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		refuse(word);
}

bool tether_use_enter_(struct tether *tag, const char *file, int line, const char *function)
{
	uint64_t use = 0;

	if (tetheri_unlikely(tether_self_ == TETHER_NOBODY_) && !tetheri_owner_make(TETHERI_CALLER)) {
		tetheri_runner()->refused++;
		return true;
	}
	while (use == 0) {
		/* Acquire: pairs with the release of the transition, so that `owner_` and `hint_` are no older. */
		uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

		if (tetheri_unlikely(!is_open_to_me(tag, word))) {
			/* What was dropped may still say for a moment that it is ours. */
			bool is_dropped = tetheri_word_state(word) == TETHERI_DROPPED;
			bool passes = (!is_dropped && tether_matches_(tag)) || tether_is_mine_slow_(tag);
			if (!passes)
				refuse(word);
			return passes;
		}
		if (tetheri_likely(enter_once(tag, word, &use)))
			break;
		if (use != 0) {
			struct tetheri_event event = {
				.operation = "enter", .tag = tag, .file = file, .line = line, .function = function, .address = TETHERI_CALLER};
			overlap(tag, word, use, &event);
		}
	}
	return true;
}

/* ---- Leave ----------------------------------------------------------------------------------- */

/* We are not inside: as we were refused, or because the object is no longer what we entered; or the program has lost
 * count. */
static TETHER_COLD_ void leave_nothing(struct tether *tag, struct tetheri_event *event)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	struct tetheri_runner *runner = tetheri_runner();

	if (is_left_alone(word))
		return;
	if (runner->refused > 0) {
		runner->refused--;
		return;
	}
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	event->kind = tetheri_word_is_tag(tag, word) ? TETHER_BAD_CALL : tetheri_tag_verdict(tag, owner, word);
	tell(event, word, tetheri_tag_origin(tag));
}

void tether_use_leave_(struct tether *tag, const char *file, int line, const char *function)
{
	/* Acquire, both: as in tetheri_use_of. A hint brings along that it was dropped. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	uint64_t use = __atomic_load_n(&tag->hint_, __ATOMIC_ACQUIRE);

	if (tetheri_likely(is_mine(use) && tetheri_word_has_magic(word) && tetheri_use_is_kept(tetheri_word_state(word)))) {
		/* Relaxed: see above. Plain, not a CAS: while we are inside nobody else writes it, but by a misuse that is
		 * reported. */
		__atomic_store_n(&tag->hint_, use >= 2 * ONE_DEEP ? use - ONE_DEEP : 0, __ATOMIC_RELAXED);
		return;
	}
	struct tetheri_event event = {
		.operation = "leave", .tag = tag, .file = file, .line = line, .function = function, .address = TETHERI_CALLER};
	leave_nothing(tag, &event);
}

/* ---- The object ends, or changes hands ------------------------------------------------------- */

void tetheri_use_end(struct tether *tag, const char *operation, const void *address)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);

	if (tetheri_state_follows(tetheri_word_state(word)))
		return;
	/* Release: pairs with the acquire of an entry that comes behind this, which then sees that the object has ended. */
	uint64_t use = __atomic_exchange_n(&tag->hint_, 0, __ATOMIC_RELEASE);
	if (tetheri_likely(use == 0))
		return;
	struct tetheri_event event = {
		.kind = TETHER_OVERLAP, .operation = operation, .tag = tag, .other = user_of(use), .address = address};
	/* It is in no list yet, and its origin where it was. */
	tell(&event, word, __atomic_load_n(&tag->next_, __ATOMIC_RELAXED));
}

bool tetheri_use_forbids(const struct tether *tag, const char *operation, const void *address)
{
	struct tetheri_event event = {
		.kind = TETHER_OVERLAP, .operation = operation, .tag = tag, .other = tetheri_use_of(tag), .address = address};

	if (tetheri_likely(!event.other) || !tether_owner_is_alive(event.other))
		return false;
	tell(&event, __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE), tetheri_tag_origin(tag));
	return true;
}
