/* drop.c - run a destructor on the thread that owns the object.
 * SPDX-License-Identifier: MIT
 *
 *     tether_drop --> mark: one CAS on `state_` --> home is me      --> run_here, or `later` in a destructor
 *                       | lost: double drop,        home is another --> its inbox
 *                       v report, touch nothing     home has gone   --> orphan: leak, run here, or heir
 *                    REFUSED                        nobody's        --> run_here, as what is shared
 *                                                   lent, moving    --> whoever has it finishes the drop
 *
 * Invariant: only the winner of the mark links the node, so it is in at most one list.
 * Invariant: after the mark `owner_` is the winner's to read: whoever moved the tag wrote it before the
 *   transition that the mark has acquired. It then takes TETHERI_DROPPED_BIT, and nobody passes the
 *   check any more.
 * Invariant: a node that no inbox took is run here, sent to the heir once, or leaked and reported; in
 *   the lists of one thread, never on its stack, so that a chain of any length takes constant stack. */
#include "batch.h"
#include "internal.h"
#include "probe.h"

/* What the mark found, and for HOME whose it is, with that owner's slot if it is alive, in another thread, and
 * known already. */
enum found {
	REFUSED, /* and reported */
	PASSED,  /* somebody has it who finishes the drop; it is not ours to touch */
	NOBODYS, /* or everybody's */
	HOME
};

struct marked {
	enum found found;
	tether_owner_t home;
	struct tetheri_slot *slot;
};

static TETHER_COLD_ struct marked refuse(struct tether *tag, uint64_t word, const char *operation, const void *address)
{
	enum tether_kind kind = tetheri_tag_verdict(tag, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED), word);

	tetheri_report_tag(kind == TETHER_USE_AFTER_DROP ? TETHER_DOUBLE_DROP : kind, operation, tag, address);
	return (struct marked){REFUSED, 0, NULL};
}

/* What a drop makes of a state that is not dropped; ZERO: nothing. */
static enum tetheri_state dropped(enum tetheri_state state)
{
	switch (state) {
	case TETHERI_MOVING:
		return TETHERI_MOVING_DROPPED;
	case TETHERI_LENT:
		return TETHERI_LENT_DROPPED;
	case TETHERI_TRANSIT:
		return TETHERI_TRANSIT_DROPPED;
	case TETHERI_FOLLOWS:
		return TETHERI_FOLLOWS_DROPPED;
	case TETHERI_UNBOUND:
	case TETHERI_BOUND:
	case TETHERI_SHARED:
		return TETHERI_DROPPED;
	default:
		return TETHERI_ZERO;
	}
}

/* What is shared is destroyed where it is dropped; unless its type says otherwise, or it has children left, which are its
 * owner's, while that lives. */
static bool is_nobodys(const struct tether *tag, uint64_t word)
{
	struct tetheri_slot *slot;

	if (tetheri_word_type(word)->rules & TETHER_DIES_AT_HOME)
		return false;
	return !tetheri_group_has_children(tag, word) ||
	       tetheri_owner_find(__atomic_load_n(&tag->owner_, __ATOMIC_RELAXED), &slot) != TETHERI_ALIVE ||
	       !tetheri_slot_is_open(slot);
}

/* We won the mark, which turned a word with this state into `word`. */
static struct marked marked_as(struct tether *tag, enum tetheri_state state, uint64_t word)
{
	switch (state) {
	case TETHERI_UNBOUND:
		return (struct marked){NOBODYS, 0, NULL};
	case TETHERI_SHARED:
		if (is_nobodys(tag, word))
			return (struct marked){NOBODYS, 0, NULL};
		break;
	case TETHERI_MOVING:
	case TETHERI_LENT:
	case TETHERI_TRANSIT:
		return (struct marked){PASSED, 0, NULL}; /* and perhaps freed already */
	default:
		break;
	}
	/* Acquired by the mark. */
	return (struct marked){HOME, tetheri_home_of(tag, word), NULL};
}

/* Everything but the common case: any state, any tag. */
static __attribute__((noinline)) struct marked mark_any(struct tether *tag, const char *operation, const void *address)
{
	/* Acquire, here and in the CAS: pairs with the release of the transition that left this state. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	for (;;) {
		enum tetheri_state state = tetheri_word_state(word), next = dropped(state);

		if (next == TETHERI_ZERO || !tetheri_word_is_tag(tag, word) || tetheri_tag_is_strange(tag, word) ||
		    (state == TETHERI_FOLLOWS && !tetheri_group_follows(tag, word)))
			return refuse(tag, word, operation, address);
		/* Of a static tag nobody may have seen the type; a second drop is to know it. */
		if (state == TETHERI_UNBOUND)
			tetheri_type_remember(tetheri_word_type(word));
		/* Release: pairs with whoever has it, finds it dropped and destroys what we used. */
		if (!__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, next), false, __ATOMIC_ACQ_REL,
		                                 __ATOMIC_ACQUIRE))
			continue;
		if (state == TETHERI_UNBOUND || state == TETHERI_SHARED) /* others wait for their owner, who may be inside */
			tetheri_use_end(tag, operation, address);
		return marked_as(tag, state, tetheri_word_with(word, next));
	}
}

/* The common case in few instructions: bound, and its type in the cache. Whose it is, is looked at before and, as it may have
 * changed hands and the word be the same again, after. */
static inline bool is_usual(uint64_t word)
{
	return tetheri_likely(tetheri_word_is_bound(word)) && tetheri_type_is_cached(tetheri_word_type(word));
}

static inline bool mark_usual(struct tether *tag, uint64_t word)
{
	/* As in mark_any. */
	return tetheri_likely(__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_DROPPED), false,
	                                                  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

static struct marked mark(struct tether *tag, const char *operation, const void *address)
{
	/* Acquire: as in mark_any. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	struct marked marked = {HOME, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED), NULL};
	bool is_known = marked.home == tether_self_ || tetheri_owner_find(marked.home, &marked.slot) == TETHERI_ALIVE;

	if (tetheri_unlikely(!is_known || !is_usual(word)) || !mark_usual(tag, word))
		return mark_any(tag, operation, address);
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	if (tetheri_unlikely(home != marked.home))
		marked = (struct marked){HOME, home, NULL};
	return marked;
}

/* Release: who reads this, wrongly using what was dropped, then finds the mark, and is told what it did. */
static inline void set_home(struct tether *tag, tether_owner_t home)
{
	__atomic_store_n(&tag->owner_, home | TETHERI_DROPPED_BIT, __ATOMIC_RELEASE);
}

/* It is destroyed in a moment: if its owner is inside, it will leave what is gone. (Of a child it is the parent.) */
static inline void end_my_use(struct tether *tag, const char *operation, const void *address)
{
	if (tetheri_unlikely(__atomic_load_n(&tag->hint_, __ATOMIC_RELAXED) != 0))
		tetheri_use_end(tag, operation, address);
}

static enum tether_dropped destroy_here(struct tether *tag)
{
	set_home(tag, tether_self_);
	if (tetheri_in_destructor()) {
		tetheri_count_add(tetheri_counts(), sent, 1);
		tetheri_run_later(tag);
		return TETHER_QUEUED;
	}
	if (tetheri_group_defer(tag, __atomic_load_n(&tag->state_, __ATOMIC_RELAXED))) {
		tetheri_count_add(tetheri_counts(), sent, 1);
		return TETHER_QUEUED;
	}
	tetheri_count_add(tetheri_counts(), here, 1);
	tetheri_run_here(tag);
	return TETHER_HERE;
}

/* `slot`: where `home` lives, if known. False: it has gone. */
static inline bool send_to(struct tether *tag, tether_owner_t home, struct tetheri_slot *slot)
{
	if (tetheri_unlikely(home == TETHERI_WAITS))
		return true;
	set_home(tag, home);
	if ((slot || tetheri_owner_find(home, &slot) == TETHERI_ALIVE) && tetheri_inbox_push(slot, tag))
		return true;
	/* It closed its inbox before this, and so did what it wrote, which an ANYWHERE destructor may read. */
	if (slot)
		tetheri_tsan_acquire(slot);
	return false;
}

/* What another node follows may have moved away from an owner that has gone since. */
static bool send_after(struct tether *tag, tether_owner_t home)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);
	tether_owner_t last;

	do {
		last = home;
		if (send_to(tag, home, NULL))
			return true;
		home = tetheri_home_of(tag, word);
	} while (home != last);
	return false;
}

void tetheri_send_home(struct tether *node)
{
	tether_owner_t home = tetheri_home_of(node, __atomic_load_n(&node->state_, __ATOMIC_RELAXED));

	if (home == tether_self_) {
		set_home(node, home);
		if (!tetheri_inbox_push_self(node)) /* our owner has ended, and we still run what is ours */
			tetheri_run_later(node);
	} else if (!send_after(node, home)) {
		(void)tetheri_orphan(node, TETHERI_BY_DROP, NULL);
	}
}

/* It closed its inbox before it was found closed, and so did what it wrote, which an ANYWHERE destructor may read. */
static TETHER_COLD_ enum tether_dropped found_closed(struct tether *tag, struct tetheri_slot *slot, const void *caller)
{
	tetheri_tsan_acquire(slot);
	return tetheri_orphan(tag, TETHERI_BY_DROP, caller);
}

static __attribute__((noinline)) enum tether_dropped drop_marked(struct tether *tag, struct marked marked, const void *caller)
{
	if (marked.found != PASSED && marked.home != TETHERI_WAITS) /* else it is theirs, and theirs to note */
		tetheri_note(tag, TETHER_EVENT_DROPPED, caller);
	if (marked.found == HOME && marked.home == tether_self_)
		end_my_use(tag, "drop", caller);
	if (marked.found == NOBODYS || (marked.found == HOME && marked.home == tether_self_))
		return destroy_here(tag);
	tetheri_count_add(tetheri_counts(), sent, 1);
	if (marked.found == PASSED || send_to(tag, marked.home, marked.slot) || send_after(tag, marked.home))
		return TETHER_QUEUED;
	return tetheri_orphan(tag, TETHERI_BY_DROP, caller);
}

static __attribute__((noinline)) enum tether_dropped drop_any(struct tether *tag, const void *caller)
{
	struct marked marked = mark(tag, "drop", caller);

	return tetheri_unlikely(marked.found == REFUSED) ? TETHER_REFUSED : drop_marked(tag, marked, caller);
}

static inline __attribute__((always_inline)) enum tether_dropped drop(struct tether *tag, const void *caller)
{
	if (tetheri_unlikely(tetheri_thread.batching))
		return tetheri_batch_drop(tag, caller);
	TETHERI_PREFETCH(tag);
	/* As in mark. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	struct tetheri_slot *slot;
	bool is_here = home == tether_self_;

	if (tetheri_unlikely(!is_usual(word) || tetheri_traces(TETHERI_TRACE_HISTORY)) ||
	    tetheri_unlikely(!is_here && tetheri_owner_find(home, &slot) != TETHERI_ALIVE) || !mark_usual(tag, word))
		return drop_any(tag, caller);
	tether_owner_t now = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	if (tetheri_unlikely(now != home))
		return drop_marked(tag, (struct marked){HOME, now, NULL}, caller);
	if (is_here) {
		end_my_use(tag, "drop", caller);
		return destroy_here(tag);
	}
	tetheri_count_add(tetheri_counts(), sent, 1);
	set_home(tag, home);
	return tetheri_likely(tetheri_inbox_push(slot, tag)) ? TETHER_QUEUED : found_closed(tag, slot, caller);
}

enum tether_dropped tether_drop(struct tether *tag)
{
	return drop(tag, TETHERI_CALLER);
}

enum tether_dropped tetheri_drop(struct tether *tag, const void *caller)
{
	return drop(tag, caller);
}

/* Nobody's is dropped as one's own. */
enum tether_dropped tetheri_drop_held(struct tether *tag, const void *caller)
{
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);

	/* Release: as the mark's. */
	__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DROPPED), __ATOMIC_RELEASE);
	return drop_marked(tag, (struct marked){home == 0 ? NOBODYS : HOME, home, NULL}, caller);
}

/* Its owner is known, so the mark has found it bound, and of a type in the cache. */
static void add_usual(struct tetheri_batch *batch, struct tether *tag, tether_owner_t home)
{
	struct tetheri_bundle *bundle = tetheri_batch_bundle_to(batch, home);

	bundle->usual = tetheri_word_with(__atomic_load_n(&tag->state_, __ATOMIC_RELAXED), TETHERI_BOUND);
	tetheri_batch_add(batch, bundle, tag);
}

static __attribute__((noinline)) void drop_late_marked(struct tetheri_batch *batch, struct tether *tag, struct marked marked,
                                                       const void *caller)
{
	bool is_passed = marked.found == PASSED || marked.home == TETHERI_WAITS;

	if (!is_passed)
		tetheri_note(tag, TETHER_EVENT_DROPPED, caller);
	if (tetheri_likely(marked.slot && marked.home != tether_self_)) {
		set_home(tag, marked.home);
		add_usual(batch, tag, marked.home);
		return;
	}
	if (marked.found == HOME && marked.home == tether_self_)
		end_my_use(tag, "drop", caller);
	if (!is_passed && (marked.found == NOBODYS || marked.home == tether_self_)) {
		set_home(tag, tether_self_);
		tetheri_list_append(&batch->left, tag);
		return;
	}
	tetheri_batch_publish_all(batch); /* it may go to any of them */
	if (is_passed || send_after(tag, marked.home))
		tetheri_count_shared(sent_later);
	else
		tetheri_list_append(&batch->left, tag);
}

static __attribute__((noinline)) void drop_late_any(struct tetheri_batch *batch, struct tether *tag, const void *caller)
{
	struct marked marked = mark(tag, "drop", caller);

	if (tetheri_likely(marked.found != REFUSED))
		drop_late_marked(batch, tag, marked, caller);
}

/* Its type need not be looked for where the last one that went there had the same word. */
static inline bool is_usual_there(struct tetheri_bundle *bundle, uint64_t word)
{
	if (tetheri_likely(word == bundle->usual))
		return true;
	if (!is_usual(word))
		return false;
	bundle->usual = word;
	return true;
}

/* The common case goes where others went before: whether that owner lives is asked once for all of them, when they are
 * published. */
static inline __attribute__((always_inline)) void drop_late(struct tetheri_batch *batch, struct tether *tag, const void *caller)
{
	/* As in mark. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	tether_owner_t home = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	struct tetheri_bundle *bundle = tetheri_batch_bundle(batch, home);

	if (tetheri_unlikely(bundle->to != home || home == tether_self_ || tetheri_traces(TETHERI_TRACE_HISTORY)) ||
	    !is_usual_there(bundle, word) || !mark_usual(tag, word)) {
		drop_late_any(batch, tag, caller);
		return;
	}
	tether_owner_t now = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
	if (tetheri_unlikely(now != home)) {
		drop_late_marked(batch, tag, (struct marked){HOME, now, NULL}, caller);
		return;
	}
	set_home(tag, home);
	tetheri_batch_add(batch, bundle, tag);
}

/* In a handler perhaps, which publishes what it has interrupted: what would run callbacks is left to others. */
void tetheri_drop_late(struct tetheri_batch *batch, unsigned count)
{
	/* A handler may just have published all; and what a mark reports, or wakes, may end the batch. */
	for (; count > 0 && batch->done != batch->next; count--) {
		const struct tetheri_late late = *tetheri_batch_late(batch, batch->done++);
		drop_late(batch, late.tag, late.caller);
	}
}

/* At home, or nobody's and so ours: into our own inbox. */
static enum tether_dropped keep_for_later(struct tether *tag)
{
	set_home(tag, tether_self_);
	if (!tetheri_inbox_push_self(tag))
		return destroy_here(tag); /* no owner, or it has ended: there is no later */
	tetheri_count_shared(sent_later);
	return TETHER_QUEUED;
}

enum tether_dropped tether_drop_later(struct tether *tag)
{
	struct marked marked = mark(tag, "drop_later", TETHERI_CALLER);

	if (tetheri_unlikely(marked.found == REFUSED))
		return TETHER_REFUSED;
	if (marked.found != PASSED && marked.home != TETHERI_WAITS) /* else it is theirs, and theirs to note */
		tetheri_note(tag, TETHER_EVENT_DROPPED, TETHERI_CALLER);
	if (marked.found == NOBODYS || (marked.found == HOME && marked.home == tether_self_))
		return keep_for_later(tag);
	tetheri_count_shared(sent_later);
	if (marked.found == PASSED || send_to(tag, marked.home, marked.slot) || send_after(tag, marked.home))
		return TETHER_QUEUED;
	return tetheri_orphan(tag, TETHERI_BY_DROP_LATER, TETHERI_CALLER);
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
	if (send_to(tag, heir, NULL))
		return true;
	__atomic_store_n(&tag->owner_, home, __ATOMIC_RELAXED); /* so that the report names whose it was */
	return false;
}

/* Its parent need not wait for it; so it must not be asked for its parent any more. */
static void abandon_parent(struct tether *tag, uint64_t word, enum tetheri_found found)
{
	struct tether *parent = tetheri_group_parent(tag);

	__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DROPPED), __ATOMIC_RELAXED);
	if (tetheri_group_leave(parent) && !(found == TETHERI_BY_DROP_LATER && tetheri_inbox_push_self(parent)))
		tetheri_run_again(parent);
}

static void leak(struct tether *tag, const struct tether_type *type, enum tetheri_found found, const void *address)
{
	struct tetheri_event event = {.kind = TETHER_LEAKED, .operation = "drop", .tag = tag, .type = type, .address = address};

	event.owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT;
	event.word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);
	tetheri_count_shared(leaked);
	tetheri_report(&event);
	if (tetheri_word_state(event.word) == TETHERI_FOLLOWS_DROPPED)
		abandon_parent(tag, event.word, found);
}

/* Its owner did not survive a fork, and its type wants what was pending then to be destroyed in the child, too. */
static bool dies_here(const struct tether *tag, const struct tether_type *type, enum tetheri_found found)
{
	return tetheri_unlikely(type->rules & TETHER_DIES_IN_CHILDREN) && found == TETHERI_BY_DRAIN &&
	       tetheri_owner_is_lost(__atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT);
}

/* It may be run anywhere, and not now: in a handler perhaps, inside a destructor, or while it has children. */
static bool put_off(struct tether *tag, enum tetheri_found found)
{
	/* Our own drain will find it to be an orphan again, and run it. */
	if (found == TETHERI_BY_DROP_LATER && tetheri_inbox_push_self(tag))
		return true;
	if (tetheri_in_destructor()) {
		tetheri_run_later(tag);
		return true;
	}
	return tetheri_group_defer(tag, __atomic_load_n(&tag->state_, __ATOMIC_RELAXED));
}

/* Of what lies in a list, the owner of the list had received it; the rest nobody has. */
static void count_orphan(bool is_listed)
{
	if (is_listed)
		tetheri_count_add(tetheri_counts_of(tetheri_runner()), orphaned, 1);
	else
		tetheri_count_shared(direct);
}

static void run_orphan(struct tether *tag, enum tetheri_found found)
{
	if (found == TETHERI_BY_DRAIN)
		tetheri_run_destructor(tetheri_runner(), tag); /* whoever walks the list goes on with what it drops */
	else
		tetheri_run_here(tag);
}

enum tether_dropped tetheri_orphan(struct tether *tag, enum tetheri_found found, const void *caller)
{
	const struct tether_type *type = tetheri_word_type(__atomic_load_n(&tag->state_, __ATOMIC_RELAXED));
	bool is_listed = found == TETHERI_BY_DRAIN || found == TETHERI_BY_CUT;
	bool anywhere = (type->orphan == TETHER_ANYWHERE || dies_here(tag, type, found)) && found != TETHERI_BY_CUT;

	TETHERI_PROBE_ORPHAN(tag, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT);
	if (send_to_heir(tag, type)) {
		if (is_listed)
			tetheri_count_add(tetheri_counts_of(tetheri_runner()), forwarded, 1);
		return TETHER_ORPHANED;
	}
	if (anywhere && found != TETHERI_BY_DRAIN && put_off(tag, found))
		return TETHER_QUEUED;
	count_orphan(is_listed);
	if (anywhere)
		run_orphan(tag, found);
	else
		leak(tag, type, found, caller ? caller : TETHERI_CALLER);
	return TETHER_ORPHANED;
}

void tetheri_lose(struct tether *node)
{
	struct tether_message *message = (struct tether_message *)node;

	if (tetheri_word_type(__atomic_load_n(&node->state_, __ATOMIC_RELAXED)) != &tetheri_message_type) {
		(void)tetheri_orphan(node, TETHERI_BY_CUT, NULL);
		return;
	}
	tetheri_count_add(tetheri_counts(), orphaned, 1);
	leak(node, &tetheri_message_type, TETHERI_BY_CUT, TETHERI_CALLER);
	tetheri_message_unmark(message);
}
