/* move.c - an object changes hands: hand-off, give, unbind, share. (Loans: loan.c.)
 * SPDX-License-Identifier: MIT
 *
 * A hand-off travels as a message of the library's own, in the same inbox and order as all else:
 *
 *     sender a                                    receiver b
 *     hint_ = a; CAS BOUND -> TRANSIT             drains the message
 *     owner_ = b, marked as on its way            owner_ = b; CAS TRANSIT -> BOUND; arrived(RECEIVED)
 *     message to b's inbox  --------------------> b ends, or the node is a stray: message to a's inbox,
 *       | closed: owner_ = a;                       and a receives it likewise: arrived(CAME_BACK);
 *       v CAS TRANSIT -> BOUND, -ESRCH              a's is closed: DROPPED, arrived(STRANDED), orphan
 *
 * A drop meanwhile is one CAS, TRANSIT -> TRANSIT_DROPPED. Whoever holds the message loses its own CAS by that,
 * and finishes the drop: arrived(ENDED_AWAY), destroyed there.
 *
 * Invariant: while the state is TRANSIT or TRANSIT_DROPPED, only who holds the message writes the tag's other
 *   words, or leaves the state.
 * Invariant: `arrived` is called once for each hand-off that returned 0, before the object is destroyed, as
 *   the transfer may lie in it. What ended on its way is destroyed also if `arrived` does not return.
 *
 * What could hurt, and why it does not:
 *   hand-off/drop    one CAS each on `state_`: the drop finds BOUND and the hand-off is refused, or it finds TRANSIT.
 *                    A drop that read `owner_` and the word before and wins after a whole journey, as the word
 *                    is the same again, reads `owner_` anew (drop.c).
 *   hand-off/close   the push finds CLOSED, or b's last drain finds the message and sends it back.
 *   hand-off/reuse   another owner of b's slot finds the message, which is not its own, and sends it back.
 *   hand-off/give    a program's race; the give may win, and then the hand-off takes it from who got it.
 *   unbind/claim     unbind goes by MOVING, so that who finds UNBOUND finds no owner. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

/* ---- May it be moved? ------------------------------------------------------------------------ */

static enum tether_kind why_not(const struct tether *tag, uint64_t word, tether_owner_t owner)
{
	enum tetheri_state state = tetheri_word_state(word);

	if (!tetheri_word_is_tag(tag, word) || tetheri_state_is_dropped(state))
		return tetheri_tag_verdict(tag, owner, word);
	if (state == TETHERI_BOUND && owner == tether_self_)
		return TETHER_UNSENDABLE_MOVED;
	if (state != TETHERI_BOUND && tether_is_mine(tag))
		return TETHER_BAD_MOVE;
	return tetheri_tag_verdict(tag, owner, word);
}

/* Its borrower is about to have returned it, and we see the last step but one. Raw: sched_yield() may be a
 * cancellation point. */
static void await_return(void)
{
	int saved_errno = errno;

	syscall(SYS_sched_yield);
	errno = saved_errno;
}

uint64_t tetheri_move_begin(struct tether *tag, const char *operation, const void *address)
{
	for (;;) {
		/* Acquire: pairs with the release of the transition that left this state. */
		uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
		tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);

		if (owner == tether_self_ && tetheri_word_state(word) == TETHERI_MOVING) {
			await_return();
			continue;
		}
		if (owner == tether_self_ && tetheri_word_state(word) == TETHERI_BOUND && tetheri_word_is_tag(tag, word) &&
		    !(tetheri_word_type(word)->rules & TETHER_UNSENDABLE))
			return tetheri_use_forbids(tag, operation, address) ? 0 : word;
		tetheri_report_tag(why_not(tag, word, owner), operation, tag, address);
		return 0;
	}
}

int tetheri_move_to(tether_owner_t to, struct tetheri_slot **slot, const char *operation, const void *address)
{
	switch (tetheri_owner_find(to, slot)) {
	case TETHERI_ALIVE:
		return tetheri_slot_is_open(*slot) ? 0 : -ESRCH;
	case TETHERI_EXITED:
		return -ESRCH;
	case TETHERI_NOT_OURS:
		break;
	}
	tetheri_report_call(TETHER_BAD_OWNER, operation, address);
	return -EINVAL;
}

/* The caller has it, and somebody dropped it meanwhile: it is destroyed here. */
static void finish_drop(struct tether *tag, uint64_t word)
{
	tetheri_note(tag, TETHER_EVENT_DROPPED, NULL);
	__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DROPPED), __ATOMIC_RELAXED);
	/* Release: as in set_home, drop.c. */
	__atomic_store_n(&tag->owner_, tether_self_ | TETHERI_DROPPED_BIT, __ATOMIC_RELEASE);
}

/* ---- The hand-off ---------------------------------------------------------------------------- */

/* The caller holds it, in transit: it becomes the caller's. False: it was dropped on its way, and that is now
 * the caller's to finish. */
static bool settle_down(struct tether *tag)
{
	/* Acquire, as in the failed CAS: pairs with the release of the drop that we finish. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	__atomic_store_n(&tag->hint_, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&tag->owner_, tether_self_, __ATOMIC_RELAXED);
	/* Release: the owner, before whoever acquires BOUND and drops it. */
	if (tetheri_word_state(word) == TETHERI_TRANSIT &&
	    __atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_BOUND), false, __ATOMIC_RELEASE,
	                                __ATOMIC_ACQUIRE))
		return true;
	assert(tetheri_word_state(word) == TETHERI_TRANSIT_DROPPED);
	finish_drop(tag, word);
	return false;
}

/* What is to be done with it when `arrived` has been called, also if that leaves by an exception. */
struct arrival {
	struct tether *tag;
	void (*finish)(struct tether *tag); /* NULL: nothing */
};

static void end_arrival(struct arrival *arrival)
{
	if (arrival->finish)
		arrival->finish(arrival->tag);
}

static void tell(struct tether_transfer *transfer, enum tether_arrival how, void (*finish)(struct tether *tag))
{
	struct arrival arrival __attribute__((cleanup(end_arrival))) = {transfer->tag_, finish};

	transfer->arrived(transfer, arrival.tag, how);
}

static void arrive(struct tether_transfer *transfer)
{
	struct tether *tag = transfer->tag_;
	bool is_alive = settle_down(tag);

	if (is_alive)
		tetheri_note(tag, TETHER_EVENT_RECEIVED, NULL);
	tetheri_group_arrive(tag);
	if (!is_alive)
		tell(transfer, TETHER_ENDED_AWAY, tetheri_run_later);
	else
		tell(transfer, transfer->is_back_ ? TETHER_CAME_BACK : TETHER_RECEIVED, NULL);
}

static void be_orphan(struct tether *tag)
{
	(void)tetheri_orphan(tag, TETHERI_BY_DROP, NULL);
}

static void tell_of_stranding(struct tether_transfer *const *transfer)
{
	tell(*transfer, TETHER_STRANDED, be_orphan);
}

/* Neither its receiver nor its sender lives: it counts as dropped by whoever found that out. */
static void strand(struct tether_transfer *transfer)
{
	/* When its children have gone their way, of which one may throw. */
	struct tether_transfer *stranded __attribute__((cleanup(tell_of_stranding), unused)) = transfer;
	struct tether *tag = transfer->tag_;
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	/* Acquire and release: as the mark in drop.c, whose place it takes. */
	if (tetheri_word_state(word) == TETHERI_TRANSIT &&
	    __atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_DROPPED), false, __ATOMIC_ACQ_REL,
	                                __ATOMIC_ACQUIRE))
		tetheri_count_add(tetheri_counts(), sent, 1);
	else
		__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DROPPED), __ATOMIC_RELAXED);
	tetheri_note(tag, TETHER_EVENT_DROPPED, NULL);
	__atomic_store_n(&tag->owner_, transfer->from_ | TETHERI_DROPPED_BIT, __ATOMIC_RELEASE);
	tetheri_group_arrive(tag);
}

static void send_back(struct tether_transfer *transfer)
{
	struct tether *tag = transfer->tag_;

	if (!transfer->is_back_ && tetheri_message_mark(&transfer->message_)) {
		transfer->is_back_ = true;
		__atomic_store_n(&tag->owner_, transfer->from_ | TETHERI_DROPPED_BIT, __ATOMIC_RELEASE);
		if (tetheri_message_push(transfer->from_, &transfer->message_))
			return;
		tetheri_message_unmark(&transfer->message_);
	}
	strand(transfer);
}

/* Its message has come: to its receiver, to its sender again, or to somebody who finds that they have gone. An owner
 * that ends takes nothing new. */
static void travel(struct tether_message *message, enum tether_fate fate)
{
	struct tether_transfer *transfer = (struct tether_transfer *)message;
	bool is_ending = tetheri_thread.slot && tetheri_thread.slot->ending;

	if (fate == TETHER_RUN && (transfer->is_back_ || !is_ending))
		arrive(transfer);
	else
		send_back(transfer);
}

/* The word was BOUND and ours. False: somebody dropped it first. */
static bool set_out(struct tether *tag, uint64_t word, tether_owner_t to)
{
	__atomic_store_n(&tag->hint_, tether_self_, __ATOMIC_RELAXED);
	tetheri_group_depart(tag, word);
	/* Release: the sender in `hint_`, before who finds it in transit. Acquire: as in drop.c's mark. */
	if (!__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_TRANSIT), false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_ACQUIRE))
		return false;
	/* Release: who finds this is told of a journey. */
	__atomic_store_n(&tag->owner_, to | TETHERI_DROPPED_BIT, __ATOMIC_RELEASE);
	return true;
}

tether_owner_t tetheri_transfer_sender(const struct tether_message *message)
{
	return message->fn == travel ? ((const struct tether_transfer *)message)->from_ : 0;
}

int tether_hand_off(struct tether *tag, tether_owner_t to, struct tether_transfer *transfer)
{
	struct tetheri_slot *slot;
	uint64_t word = tetheri_move_begin(tag, "hand_off", TETHERI_CALLER);
	int error = word ? tetheri_move_to(to, &slot, "hand_off", TETHERI_CALLER) : -EINVAL;

	if (error)
		return error;
	if (!tetheri_message_mark(&transfer->message_)) {
		tetheri_report_call(TETHER_DOUBLE_POST, "hand_off", TETHERI_CALLER);
		return -EALREADY;
	}
	tetheri_fork_look();
	transfer->message_.fn = travel;
	transfer->tag_ = tag;
	transfer->from_ = tether_self_;
	transfer->is_back_ = false;
	tetheri_note(tag, TETHER_EVENT_HANDED_OFF, TETHERI_CALLER);
	tetheri_tsan_release(tag);
	tetheri_run_let_parent_go(tag);
	if (!set_out(tag, word, to)) {
		tetheri_message_unmark(&transfer->message_);
		tetheri_group_arrive(tag); /* nobody waits for a root that stays */
		tetheri_report_tag(TETHER_USE_AFTER_DROP, "hand_off", tag, TETHERI_CALLER);
		return -EINVAL;
	}
	if (tetheri_message_push(to, &transfer->message_))
		return 0;
	tetheri_message_unmark(&transfer->message_);
	bool is_alive = settle_down(tag);
	tetheri_group_arrive(tag);
	if (is_alive)
		tetheri_note(tag, TETHER_EVENT_RECEIVED, TETHERI_CALLER);
	else
		tetheri_run_later(tag);
	return -ESRCH;
}

/* ---- The others ------------------------------------------------------------------------------ */

int tether_give(struct tether *tag, tether_owner_t expected, tether_owner_t to)
{
	struct tetheri_slot *slot;
	/* Acquire: pairs with the release of the transition that left this state. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	tether_owner_t owner = expected;

	if (!tetheri_word_is_tag(tag, word) || tetheri_word_state(word) != TETHERI_BOUND ||
	    (tetheri_word_type(word)->rules & TETHER_UNSENDABLE)) {
		owner = __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED);
		tetheri_report_tag(why_not(tag, word, owner), "give", tag, TETHERI_CALLER);
		return -EINVAL;
	}
	int error = tetheri_move_to(to, &slot, "give", TETHERI_CALLER);
	if (error)
		return error;
	if (tetheri_use_forbids(tag, "give", TETHERI_CALLER))
		return -EINVAL;
	/* Before its history says so: once it is another's, that is the other's to write. */
	if (__atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) != expected)
		return -EAGAIN;
	tetheri_note(tag, TETHER_EVENT_HANDED_OFF, TETHERI_CALLER);
	tetheri_tsan_release(tag);
	if (owner == tether_self_)
		tetheri_run_let_parent_go(tag);
	/* Release: what the giver did to it, before who finds itself its owner. Acquire: the same of who gave it
	 * before. No CAS on `state_`, which stays BOUND: a drop that comes in between takes one owner or the other. */
	if (!__atomic_compare_exchange_n(&tag->owner_, &owner, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return -EAGAIN;
	return 0;
}

int tether_unbind(struct tether *tag)
{
	uint64_t word = tetheri_move_begin(tag, "unbind", TETHERI_CALLER);

	if (!word)
		return -EINVAL;
	if (tetheri_group_has_children(tag, word)) {
		tetheri_report_tag(TETHER_HAS_CHILDREN, "unbind", tag, TETHERI_CALLER);
		return -EINVAL;
	}
	uint64_t moving = tetheri_word_with(word, TETHERI_MOVING);
	if (!__atomic_compare_exchange_n(&tag->state_, &word, moving, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		tetheri_report_tag(TETHER_USE_AFTER_DROP, "unbind", tag, TETHERI_CALLER);
		return -EINVAL;
	}
	tetheri_note(tag, TETHER_EVENT_UNBOUND, TETHERI_CALLER);
	tetheri_tsan_release(tag);
	__atomic_store_n(&tag->owner_, 0, __ATOMIC_RELAXED);
	word = moving;
	/* Release: that it has no owner, and what we did to it, before who claims or drops it. Acquire: the drop we finish. */
	if (!__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(moving, TETHERI_UNBOUND), false, __ATOMIC_RELEASE,
	                                 __ATOMIC_ACQUIRE)) {
		assert(tetheri_word_state(word) == TETHERI_MOVING_DROPPED);
		finish_drop(tag, word);
		tetheri_run_later(tag);
	}
	return 0;
}

int tether_share(struct tether *tag)
{
	uint64_t word = tetheri_move_begin(tag, "share", TETHERI_CALLER);

	if (!word)
		return -EINVAL;
	tetheri_note(tag, TETHER_EVENT_SHARED, TETHERI_CALLER);
	tetheri_tsan_release(tag);
	/* Release: what we did to it, before who passes its check by this state. */
	if (__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_SHARED), false, __ATOMIC_ACQ_REL,
	                                __ATOMIC_ACQUIRE))
		return 0;
	tetheri_report_tag(TETHER_USE_AFTER_DROP, "share", tag, TETHERI_CALLER);
	return -EINVAL;
}
