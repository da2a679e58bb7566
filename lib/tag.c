/* tag.c - a tag's states and who may change them; what a failed check means.
 * SPDX-License-Identifier: MIT
 *
 *     zero --bind_later--> UNBOUND --claim--> MOVING --------> BOUND <--bind-- zero, dead
 *                             |                 |                |
 *                             | drop            | drop           | drop                 fini
 *                             v                 v                v                (owner) |
 *                          DROPPED <-- MOVING_DROPPED         DROPPED                     v
 *                             +---------- destructor ------------+------------------->  DEAD
 *
 * Invariant: each transition is one CAS on `state_`, so whatever races has one arbiter.
 * Invariant: `owner_` is written by the thread that won the transition and by nobody else until the
 *   next one; it is read before a transition only to guess.
 * Invariant: who marks MOVING as MOVING_DROPPED has passed its drop on to the thread that moves it: that
 *   thread's own CAS then fails, and it finishes the drop. */
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

/* An unbound tag may come from a static initialiser, and nobody has seen its type yet: then it has no
 * owner, and a type in a loaded module. */
bool tetheri_word_is_static(const struct tether *tag, uint64_t word)
{
	return tetheri_word_state(word) == TETHERI_UNBOUND && __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) == 0 &&
	       tetheri_type_in_module(tetheri_word_type(word));
}

/* Bound by another copy of the library, to an owner of its own, though the type may be known here too;
 * or an owner that something wrote over. `word` was read before. */
bool tetheri_tag_is_strange(const struct tether *tag, uint64_t word)
{
	/* Acquire: pairs with the release of a drop's and a destruction's store; then the word read next tells of it. */
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_ACQUIRE);
	struct tetheri_slot *slot;

	if (tetheri_word_state(word) != TETHERI_BOUND || owner == tether_self_ ||
	    tetheri_owner_find(owner, &slot) != TETHERI_NOT_OURS)
		return false;
	return __atomic_load_n(&tag->state_, __ATOMIC_RELAXED) == word;
}

/* What is wrong with a tag that is not the caller's. */
enum tether_kind tetheri_tag_verdict(const struct tether *tag, tether_owner_t owner, uint64_t word)
{
	struct tetheri_slot *slot;

	if (word == 0 && owner == 0)
		return TETHER_NEVER_BOUND;
	if (!tetheri_word_is_tag(tag, word)) {
		bool looks_whole = tetheri_word_has_magic(word) && tetheri_type_in_module(tetheri_word_type(word));
		return looks_whole ? TETHER_OTHER_COPY : TETHER_OVERWRITTEN;
	}
	switch (tetheri_word_state(word)) {
	case TETHERI_UNBOUND:
		return TETHER_UNCLAIMED;
	case TETHERI_MOVING:
		return TETHER_IN_TRANSIT;
	case TETHERI_MOVING_DROPPED:
	case TETHERI_DROPPED:
	case TETHERI_DEAD:
		return TETHER_USE_AFTER_DROP;
	default:
		/* The type is ours and the number is not: a type that two copies of the library share, or
		 * an `owner_` that something wrote over. */
		return tetheri_owner_find(owner, &slot) == TETHERI_NOT_OURS ? TETHER_OTHER_COPY : TETHER_WRONG_THREAD;
	}
}

/* `next_` holds it until the tag goes into a list. What is read from a tag that goes there meanwhile is not
 * taken for one: see tetheri_origin_read. */
tetheri_origin_t tetheri_tag_origin(const struct tether *tag)
{
	enum tetheri_state state = tetheri_word_state(__atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE));

	if (state == TETHERI_DROPPED || state == TETHERI_MOVING_DROPPED)
		return 0;
	return __atomic_load_n(&tag->next_, __ATOMIC_RELAXED);
}

/* A dead tag keeps in `hint_` whose it was, for as long as nobody uses its memory again. */
tether_owner_t tetheri_tag_home(const struct tether *tag)
{
	/* Acquire: pairs with the release of GONE. */
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_ACQUIRE);

	return owner == TETHER_GONE_ ? __atomic_load_n(&tag->hint_, __ATOMIC_RELAXED) : owner & ~TETHERI_DROPPED_BIT;
}

bool tether_check_failed_(const struct tether *tag, const char *file, int line, const char *function)
{
	struct tetheri_event event = {
		.operation = "check", .tag = tag, .file = file, .line = line, .function = function, .address = TETHERI_CALLER};

	if (tether_is_mine_slow_(tag))
		return true;
	/* Acquire: as in tetheri_tag_is_strange. */
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_ACQUIRE);
	/* Acquire: pairs with the release of the transition, so that what we print belongs together. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	event.owner = tetheri_tag_home(tag);
	event.word = word;
	event.origin = tetheri_tag_origin(tag);
	event.kind = tetheri_tag_verdict(tag, owner, word);
	if (tetheri_word_is_tag(tag, word))
		event.type = tetheri_word_type(word);
	tetheri_report(&event);
	if (event.kind == TETHER_WRONG_THREAD)
		tetheri_tsan_misuse(tag, event.type, event.address);
	return false;
}

/* While its destructor runs an object passes the checks of the thread that runs it, though `owner_`
 * says GONE already: nothing can be written to it afterwards, as the destructor frees its memory. */
bool tether_is_mine_slow_(const struct tether *tag)
{
	return tetheri_runner()->destroying == tag && tag != NULL;
}

/* Where and when, as the options say. `frame`: of a function that the program called, or that of one of ours
 * in between. */
static tetheri_origin_t origin_here(const void *frame, const void *caller)
{
	return tetheri_traces(TETHERI_TRACE_STACKS) ? tetheri_origin_here(frame, caller) : tetheri_origin_at(caller);
}

void tetheri_note_slow(const struct tether *tag, enum tether_event_kind kind, const void *caller)
{
	uint64_t by = tether_self_;

	if (by == TETHER_NOBODY_)
		by = TETHERI_NO_OWNER_BIT | (uint64_t)syscall(SYS_gettid);
	tetheri_side_note(tag, kind, by, caller ? origin_here(__builtin_frame_address(0), caller) : 0);
}

static bool type_is_valid(struct tether *tag, const struct tether_type *type, const char *operation, const void *address)
{
	if (tetheri_type_known(type) || tetheri_type_register(type))
		return true;
	*tag = (struct tether){0, 0, 0, 0};
	struct tetheri_event event = {.kind = TETHER_BAD_TYPE, .operation = operation, .tag = tag, .address = address};
	tetheri_report(&event);
	return false;
}

static inline void tag_start(struct tether *tag, const struct tether_type *type, enum tetheri_state state, tether_owner_t owner,
                             tetheri_origin_t origin)
{
	tetheri_set_next(tag, origin);
	__atomic_store_n(&tag->hint_, 0, __ATOMIC_RELAXED);
	tetheri_tsan_bind(tag, type);
	__atomic_store_n(&tag->owner_, owner, __ATOMIC_RELAXED);
	/* Release: the object and its owner, before whoever claims or drops it acquires this state. */
	__atomic_store_n(&tag->state_, tetheri_word(type, state), __ATOMIC_RELEASE);
}

/* Everything but the common case: the thread's or the type's first object; stacks or history are kept. */
static __attribute__((noinline)) void bind_any(struct tether *tag, const struct tether_type *type, const void *caller)
{
	enum tetheri_state state = TETHERI_BOUND;

	if (!type_is_valid(tag, type, "bind", caller))
		return;
	if (!tetheri_thread.slot && !tetheri_owner_make(caller) && !tetheri_thread.ended)
		state = TETHERI_UNBOUND;
	tetheri_note(tag, state == TETHERI_BOUND ? TETHER_EVENT_BOUND : TETHER_EVENT_PREPARED, caller);
	tag_start(tag, type, state, state == TETHERI_BOUND ? tether_self_ : 0, origin_here(__builtin_frame_address(0), caller));
	if (state == TETHERI_BOUND)
		tetheri_count_add(tetheri_counts(), bound, 1);
}

void tether_bind(struct tether *tag, const struct tether_type *type)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	if (tetheri_unlikely(!slot || !tetheri_type_is_cached(type)) ||
	    tetheri_traces(TETHERI_TRACE_STACKS | TETHERI_TRACE_HISTORY)) {
		bind_any(tag, type, TETHERI_CALLER);
		return;
	}
	tag_start(tag, type, TETHERI_BOUND, tether_self_, tetheri_origin_at(TETHERI_CALLER));
	tetheri_count_add(&slot->counts, bound, 1);
}

void tether_bind_later(struct tether *tag, const struct tether_type *type)
{
	if (!type_is_valid(tag, type, "bind_later", TETHERI_CALLER))
		return;
	tetheri_note(tag, TETHER_EVENT_PREPARED, TETHERI_CALLER);
	tag_start(tag, type, TETHERI_UNBOUND, 0, origin_here(__builtin_frame_address(0), TETHERI_CALLER));
}

/* We moved it from UNBOUND to MOVING: make it ours, or finish the drop that came in between. */
static bool claim_finish(struct tether *tag, uint64_t moving, const void *frame, const void *caller)
{
	uint64_t expected = moving;

	tetheri_tsan_acquire(tag);
	tetheri_note(tag, TETHER_EVENT_CLAIMED, caller);
	tetheri_set_next(tag, origin_here(frame, caller));
	__atomic_store_n(&tag->owner_, tether_self_, __ATOMIC_RELAXED);
	/* Release: the owner, before whoever acquires BOUND and drops it. Acquire: the drop we finish. */
	if (__atomic_compare_exchange_n(&tag->state_, &expected, tetheri_word_with(moving, TETHERI_BOUND), false, __ATOMIC_RELEASE,
	                                __ATOMIC_ACQUIRE)) {
		tetheri_count_add(tetheri_counts(), bound, 1);
		return true;
	}
	assert(tetheri_word_state(expected) == TETHERI_MOVING_DROPPED);
	tetheri_note(tag, TETHER_EVENT_DROPPED, NULL);
	__atomic_store_n(&tag->state_, tetheri_word_with(moving, TETHERI_DROPPED), __ATOMIC_RELAXED);
	__atomic_store_n(&tag->owner_, tether_self_ | TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	tetheri_run_later(tag);
	return false;
}

bool tether_claim(struct tether *tag)
{
	/* Acquire: pairs with the release of whoever left it in this state. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	if (!tetheri_thread.slot && !tetheri_owner_make(TETHERI_CALLER) && tether_self_ == TETHER_NOBODY_)
		return false;
	for (;;) {
		tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);

		if (!tetheri_word_is_tag(tag, word) || tetheri_state_is_dropped(tetheri_word_state(word))) {
			tetheri_report_tag(tetheri_tag_verdict(tag, owner, word), "claim", tag, TETHERI_CALLER);
			return false;
		}
		if (tetheri_word_state(word) != TETHERI_UNBOUND) {
			if (tetheri_tag_is_strange(tag, word))
				tetheri_report_tag(TETHER_OTHER_COPY, "claim", tag, TETHERI_CALLER);
			return owner == tether_self_;
		}
		(void)tetheri_type_register(tetheri_word_type(word));
		uint64_t moving = tetheri_word_with(word, TETHERI_MOVING);
		if (__atomic_compare_exchange_n(&tag->state_, &word, moving, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return claim_finish(tag, moving, __builtin_frame_address(0), TETHERI_CALLER);
	}
}

void tether_fini(struct tether *tag)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	if (tether_is_mine_slow_(tag)) {
		/* The last act of its destructor. It is dead already; whoever gets the memory now is not us. */
		tetheri_runner()->destroying = NULL;
		return;
	}
	for (;;) {
		tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
		enum tetheri_state state = tetheri_word_state(word);
		bool ends = state == TETHERI_UNBOUND || state == TETHERI_BOUND;

		if (!tetheri_word_is_tag(tag, word) || !ends || tetheri_tag_is_strange(tag, word)) {
			tetheri_report_tag(tetheri_tag_verdict(tag, owner, word), "fini", tag, TETHERI_CALLER);
			return;
		}
		if (state == TETHERI_BOUND && owner != tether_self_)
			tetheri_report_tag(tetheri_tag_verdict(tag, owner, word), "fini", tag, TETHERI_CALLER);
		if (state == TETHERI_UNBOUND)
			tetheri_type_remember(tetheri_word_type(word));
		if (__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_DEAD), false, __ATOMIC_ACQ_REL,
		                                __ATOMIC_ACQUIRE))
			break;
	}
	tetheri_note(tag, TETHER_EVENT_ENDED, TETHERI_CALLER);
	tetheri_type_note_end(tetheri_word_type(word));
	if (word & TETHERI_LABELLED)
		tetheri_side_end(tag);
	/* The tag is ours. Release: who finds GONE finds in `hint_` whose it was. */
	__atomic_store_n(&tag->hint_, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	__atomic_store_n(&tag->owner_, TETHER_GONE_, __ATOMIC_RELEASE);
}
