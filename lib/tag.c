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
 * From BOUND it may go further: hand-off and share in move.c, LENT in loan.c; FOLLOWS is in group.c.
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

	/* No owner, or one to be: it was just left to nobody, or sent off, and may be bound again by now. */
	if (tetheri_word_state(word) != TETHERI_BOUND || owner == tether_self_ || owner == 0 ||
	    tetheri_owner_find(owner & ~TETHERI_DROPPED_BIT, &slot) != TETHERI_NOT_OURS)
		return false;
	return __atomic_load_n(&tag->state_, __ATOMIC_RELAXED) == word;
}

/* Who says whose it is: itself, or the root of what it follows. */
static const struct tether *decider(const struct tether *tag)
{
	return tetheri_group_follows(tag, __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE)) ? tetheri_group_root(tag) : tag;
}

/* Of what follows another: what is wrong is that one's, unless it was just dropped, or something wrote over it. */
static enum tether_kind child_verdict(const struct tether *tag)
{
	const struct tether *root = decider(tag);
	uint64_t word = __atomic_load_n(&root->state_, __ATOMIC_ACQUIRE);

	if (root == tag)
		return tetheri_word_state(word) == TETHERI_FOLLOWS ? TETHER_OVERWRITTEN : TETHER_USE_AFTER_DROP;
	switch (tetheri_word_state(word)) {
	case TETHERI_TRANSIT:
	case TETHERI_TRANSIT_DROPPED:
		return TETHER_IN_TRANSIT;
	case TETHERI_LENT:
		return tetheri_tag_home(root) == tether_self_ ? TETHER_LENT_USE : TETHER_WRONG_THREAD;
	default:
		return TETHER_WRONG_THREAD;
	}
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
	case TETHERI_TRANSIT:
		return TETHER_IN_TRANSIT;
	case TETHERI_LENT:
		return tetheri_tag_home(tag) == tether_self_ ? TETHER_LENT_USE : TETHER_WRONG_THREAD;
	case TETHERI_SHARED:
		return TETHER_WRONG_THREAD;
	case TETHERI_FOLLOWS:
		return child_verdict(tag);
	case TETHERI_MOVING_DROPPED:
	case TETHERI_LENT_DROPPED:
	case TETHERI_TRANSIT_DROPPED:
	case TETHERI_FOLLOWS_DROPPED:
	case TETHERI_DROPPED:
	case TETHERI_DEAD:
		return TETHER_USE_AFTER_DROP;
	default:
		/* The type is ours and the number is not: a type that two copies of the library share, or
		 * an `owner_` that something wrote over. */
		return tetheri_owner_find(owner, &slot) == TETHERI_NOT_OURS ? TETHER_OTHER_COPY : TETHER_WRONG_THREAD;
	}
}

/* `next_` holds it until the tag goes into a list, or is lent. What is read from a tag that goes there meanwhile is not
 * taken for one: see tetheri_origin_read. */
tetheri_origin_t tetheri_tag_origin(const struct tether *tag)
{
	switch (tetheri_word_state(__atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE))) {
	case TETHERI_DROPPED:
	case TETHERI_FOLLOWS_DROPPED:
	case TETHERI_MOVING_DROPPED:
	case TETHERI_LENT:
	case TETHERI_LENT_DROPPED:
		return 0;
	default:
		return __atomic_load_n(&tag->next_, __ATOMIC_RELAXED);
	}
}

/* A dead tag keeps in `hint_` whose it was, for as long as nobody uses its memory again; one that is lent or on its
 * way, whose it is. */
tether_owner_t tetheri_tag_home(const struct tether *tag)
{
	tag = decider(tag);
	/* Acquire: pairs with the release of GONE. */
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_ACQUIRE);
	enum tetheri_state state = tetheri_word_state(__atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE));

	switch (owner == TETHER_GONE_ ? TETHERI_DEAD : state) {
	case TETHERI_LENT:
	case TETHERI_LENT_DROPPED:
	case TETHERI_TRANSIT:
	case TETHERI_TRANSIT_DROPPED:
	case TETHERI_DEAD:
		return __atomic_load_n(&tag->hint_, __ATOMIC_RELAXED);
	default:
		return owner & ~TETHERI_DROPPED_BIT;
	}
}

tether_owner_t tetheri_tag_other(const struct tether *tag)
{
	tag = decider(tag);
	switch (tetheri_word_state(__atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE))) {
	case TETHERI_LENT:
	case TETHERI_TRANSIT:
		return __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT;
	default:
		return 0;
	}
}

static __attribute__((noinline)) void report_check(const struct tether *tag, const char *file, int line, const char *function,
                                                   const void *caller)
{
	struct tetheri_event event = {
		.operation = "check", .tag = tag, .file = file, .line = line, .function = function, .address = caller};
	/* Acquire: as in tetheri_tag_is_strange. */
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_ACQUIRE);
	/* Acquire: pairs with the release of the transition, so that what we print belongs together. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	event.owner = tetheri_tag_home(tag);
	event.other = tetheri_tag_other(tag);
	event.word = word;
	event.origin = tetheri_tag_origin(tag);
	event.kind = tetheri_tag_verdict(tag, owner, word);
	if (tetheri_word_is_tag(tag, word))
		event.type = tetheri_word_type(word);
	tetheri_report(&event);
	if (event.kind == TETHER_WRONG_THREAD)
		tetheri_tsan_misuse(tag, event.type, event.address);
}

/* What most checks come here for: that which a destructor begins with. */
static inline bool is_being_destroyed(const struct tether *tag)
{
	const struct tetheri_runner *active = tetheri_thread.active;

	return tetheri_likely(active && active->destroying == tag);
}

/* While its destructor runs an object passes the checks of the thread that runs it, though `owner_`
 * says GONE already: nothing can be written to it afterwards, as the destructor frees its memory. So do
 * those that it follows, though they may have been dropped before it. */
static bool is_in_destruction(const struct tether *tag)
{
	const struct tether *parent = tetheri_runner()->parent;

	while (parent && parent != tag)
		parent = tetheri_state_follows(tetheri_word_state(__atomic_load_n(&parent->state_, __ATOMIC_ACQUIRE)))
		             ? tetheri_group_parent(parent)
		             : NULL;
	return parent != NULL;
}

/* A root that was dropped, and waits for its children, still says whose they are. */
static bool root_is_mine(const struct tether *root)
{
	/* Relaxed: as in tether_matches_. Acquire: pairs with the release of tether_share(). */
	tether_owner_t owner = __atomic_load_n(&root->owner_, __ATOMIC_RELAXED);
	enum tetheri_state state = tetheri_word_state(__atomic_load_n(&root->state_, __ATOMIC_ACQUIRE));

	return owner == tether_self_ || state == TETHERI_SHARED ||
	       (state == TETHERI_DROPPED && owner == (tether_self_ | TETHERI_DROPPED_BIT));
}

static __attribute__((noinline)) bool is_mine_otherwise(const struct tether *tag)
{
	/* Acquire: pairs with the release of tether_share() and of tether_bind_to(). */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	enum tetheri_state state = tetheri_word_state(word);

	if (state == TETHERI_SHARED)
		return tetheri_word_is_tag(tag, word);
	if (state == TETHERI_FOLLOWS && tetheri_group_follows(tag, word))
		return root_is_mine(tetheri_group_root(tag));
	return is_in_destruction(tag);
}

bool tether_is_mine_slow_(const struct tether *tag)
{
	return is_being_destroyed(tag) || is_mine_otherwise(tag);
}

bool tether_check_failed_(const struct tether *tag, const char *file, int line, const char *function)
{
	if (is_being_destroyed(tag) || is_mine_otherwise(tag))
		return true;
	report_check(tag, file, line, function, TETHERI_CALLER);
	return false;
}

/* Where and when, as the options say. `frame`: of a function that the program called, or that of one of ours
 * in between. */
tetheri_origin_t tetheri_origin_now(const void *frame, const void *caller)
{
	return tetheri_traces(TETHERI_TRACE_STACKS) ? tetheri_origin_here(frame, caller) : tetheri_origin_at(caller);
}

void tetheri_note_slow(const struct tether *tag, enum tether_event_kind kind, const void *caller)
{
	uint64_t by = tether_self_;

	if (by == TETHER_NOBODY_)
		by = TETHERI_NO_OWNER_BIT | (uint64_t)syscall(SYS_gettid);
	tetheri_side_note(tag, kind, by, caller ? tetheri_origin_now(__builtin_frame_address(0), caller) : 0);
}

bool tetheri_type_check(struct tether *tag, const struct tether_type *type, const char *operation, const void *address)
{
	if (tetheri_type_known(type) || tetheri_type_register(type))
		return true;
	*tag = (struct tether){0, 0, 0, 0};
	struct tetheri_event event = {.kind = TETHER_BAD_TYPE, .operation = operation, .tag = tag, .address = address};
	tetheri_report(&event);
	return false;
}

/* Everything but the common case: the thread's or the type's first object; stacks or history are kept. */
static __attribute__((noinline)) void bind_any(struct tether *tag, const struct tether_type *type, const void *caller)
{
	enum tetheri_state state = TETHERI_BOUND;

	if (!tetheri_type_check(tag, type, "bind", caller))
		return;
	if (!tetheri_thread.slot && !tetheri_owner_make(caller) && !tetheri_thread.ended)
		state = TETHERI_UNBOUND;
	tetheri_note(tag, state == TETHERI_BOUND ? TETHER_EVENT_BOUND : TETHER_EVENT_PREPARED, caller);
	tetheri_tag_start(tag, type, state, state == TETHERI_BOUND ? tether_self_ : 0, 0,
	                  tetheri_origin_now(__builtin_frame_address(0), caller));
	if (state == TETHERI_BOUND)
		tetheri_count_add(tetheri_counts(), bound, 1);
}

static inline __attribute__((always_inline)) void bind(struct tether *tag, const struct tether_type *type, const void *caller)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	if (tetheri_unlikely(!slot || !tetheri_type_is_cached(type)) ||
	    tetheri_traces(TETHERI_TRACE_STACKS | TETHERI_TRACE_HISTORY)) {
		bind_any(tag, type, caller); /* a jump, and our frame has gone: it starts from its own */
		return;
	}
	tetheri_tag_start(tag, type, TETHERI_BOUND, tether_self_, 0, tetheri_origin_at(caller));
	tetheri_count_add(&slot->counts, bound, 1);
}

void tether_bind(struct tether *tag, const struct tether_type *type)
{
	bind(tag, type, TETHERI_CALLER);
}

void tetheri_bind(struct tether *tag, const struct tether_type *type, const void *caller)
{
	bind(tag, type, caller);
}

void tether_bind_later(struct tether *tag, const struct tether_type *type)
{
	if (!tetheri_type_check(tag, type, "bind_later", TETHERI_CALLER))
		return;
	tetheri_note(tag, TETHER_EVENT_PREPARED, TETHERI_CALLER);
	tetheri_tag_start(tag, type, TETHERI_UNBOUND, 0, 0, tetheri_origin_now(__builtin_frame_address(0), TETHERI_CALLER));
}

/* We moved it from UNBOUND to MOVING: make it ours, or finish the drop that came in between. */
static bool claim_finish(struct tether *tag, uint64_t moving, const void *frame, const void *caller)
{
	uint64_t expected = moving;

	tetheri_tsan_acquire(tag);
	tetheri_note(tag, TETHER_EVENT_CLAIMED, caller);
	tetheri_set_next(tag, tetheri_origin_now(frame, caller));
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
		if (tetheri_use_of(tag) != tether_self_ && tetheri_use_forbids(tag, "claim", TETHERI_CALLER))
			return false;
		(void)tetheri_type_register(tetheri_word_type(word));
		uint64_t moving = tetheri_word_with(word, TETHERI_MOVING);
		if (__atomic_compare_exchange_n(&tag->state_, &word, moving, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return claim_finish(tag, moving, __builtin_frame_address(0), TETHERI_CALLER);
	}
}

/* Lent, or on its way, it is in somebody's list. */
static bool may_end(enum tetheri_state state)
{
	return state == TETHERI_UNBOUND || state == TETHERI_BOUND || state == TETHERI_SHARED || state == TETHERI_FOLLOWS;
}

/* True: it may not be ended; reported. */
static bool refuses_end(const struct tether *tag, uint64_t word, tether_owner_t owner, const void *caller)
{
	enum tetheri_state state = tetheri_word_state(word);
	bool is_borrowers = state == TETHERI_LENT && owner == tether_self_;

	if (!tetheri_word_is_tag(tag, word) || !may_end(state) || tetheri_tag_is_strange(tag, word) ||
	    (state == TETHERI_FOLLOWS && !tetheri_group_follows(tag, word)))
		tetheri_report_tag(is_borrowers ? TETHER_BAD_MOVE : tetheri_tag_verdict(tag, owner, word), "fini", tag, caller);
	else if (tetheri_group_has_children(tag, word))
		tetheri_report_tag(TETHER_HAS_CHILDREN, "fini", tag, caller);
	else
		return false;
	return true;
}

/* Returns the word that it had; 0: refused. That it is another's is told after we have won: else a drop that wins is
 * told of as well. */
static uint64_t mark_dead(struct tether *tag, bool is_told, const void *caller)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	struct tetheri_event event;
	bool is_others;

	do {
		tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);

		if (refuses_end(tag, word, owner, caller))
			return 0;
		if (tetheri_word_state(word) == TETHERI_UNBOUND)
			tetheri_type_remember(tetheri_word_type(word));
		is_others = !is_told && tetheri_word_state(word) != TETHERI_UNBOUND && !tether_is_mine(tag);
		if (is_others)
			tetheri_event_fill(&event, tetheri_tag_verdict(tag, owner, word), "fini", tag, caller);
	} while (!__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_DEAD), false, __ATOMIC_ACQ_REL,
	                                      __ATOMIC_ACQUIRE));
	if (is_others)
		tetheri_report(&event);
	return word;
}

static void fini(struct tether *tag, bool is_told, const void *caller)
{
	if (tetheri_runner()->destroying == tag) {
		/* The last act of its destructor. It is dead already; whoever gets the memory now is not us. */
		tetheri_runner()->destroying = NULL;
		return;
	}
	uint64_t word = mark_dead(tag, is_told, caller);
	if (!word)
		return;
	if (tetheri_use_is_kept(tetheri_word_state(word)))
		tetheri_use_end(tag, "fini", caller);
	tetheri_note(tag, TETHER_EVENT_ENDED, caller);
	tetheri_type_note_end(tetheri_word_type(word));
	if (word & TETHERI_LABELLED)
		tetheri_side_end(tag);
	struct tether *parent = tetheri_word_state(word) == TETHERI_FOLLOWS ? tetheri_group_parent(tag) : NULL;
	tether_owner_t home = parent ? tether_self_ : __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	/* The tag is ours. Release: who finds GONE finds in `hint_` whose it was. */
	__atomic_store_n(&tag->hint_, home, __ATOMIC_RELAXED);
	__atomic_store_n(&tag->owner_, TETHER_GONE_, __ATOMIC_RELEASE);
	if (parent)
		tetheri_group_let_go(parent);
}

void tether_fini(struct tether *tag)
{
	fini(tag, false, TETHERI_CALLER);
}

void tether_fini_elsewhere_(struct tether *tag)
{
	fini(tag, true, TETHERI_CALLER);
}

/* Whatever else may be wrong with it, the drop that follows tells. */
static bool is_others(const struct tether *tag, uint64_t word)
{
	switch (tetheri_word_state(word)) {
	case TETHERI_BOUND:
	case TETHERI_LENT:
	case TETHERI_TRANSIT:
	case TETHERI_FOLLOWS:
		return tetheri_word_is_tag(tag, word) && !tetheri_tag_is_strange(tag, word) && !tether_is_mine(tag);
	default:
		return false;
	}
}

void tether_drop_elsewhere_(const struct tether *tag, const char *file, int line, const char *function)
{
	struct tetheri_event event;

	/* Acquire: pairs with the release of the transition that left this state. */
	if (!is_others(tag, __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE)))
		return;
	tetheri_event_fill(&event, TETHER_FOREIGN_DROP, "drop", tag, TETHERI_CALLER);
	event.file = file;
	event.line = line;
	event.function = function;
	tetheri_report(&event);
}
