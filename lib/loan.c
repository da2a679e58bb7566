/* loan.c - lend an object to another owner, and see it come home.
 * SPDX-License-Identifier: MIT
 *
 *     lender a                          borrower b
 *     hint_ = a; CAS BOUND -> LENT      passes the check
 *     owner_ = b                        return: CAS LENT -> MOVING; owner_ = a; CAS MOVING -> BOUND
 *                                         | dropped meanwhile, LENT_DROPPED or MOVING_DROPPED:
 *                                         v DROPPED, to a's inbox, or the orphan's way
 *
 * Each loan is a record on its borrower's list, so that a borrower which ends can give back what it still has. The
 * lists are under one lock: a loan crosses threads twice anyway, and a fork must find the lists whole.
 *
 * Invariant: while the state is LENT or LENT_DROPPED, `hint_` is the home, and `next_` the record, which only the
 *   borrower follows.
 * Invariant: a record is on its borrower's list exactly while the object is lent to it; once a borrower's list is
 *   closed nothing is lent to it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"

struct tetheri_loan {
	struct tetheri_loan *next, **link; /* under the lock */
	struct tether *tag;
	tetheri_origin_t origin; /* what `next_` held */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void tetheri_loans_lock(void)
{
	pthread_mutex_lock(&lock);
}

void tetheri_loans_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

/* Under the lock. */
static void add(struct tetheri_slot *slot, struct tetheri_loan *loan)
{
	loan->next = slot->loans;
	loan->link = &slot->loans;
	if (loan->next)
		loan->next->link = &loan->next;
	slot->loans = loan;
}

/* Under the lock. */
static void take_off(struct tetheri_loan *loan)
{
	*loan->link = loan->next;
	if (loan->next)
		loan->next->link = loan->link;
}

/* Under the lock: nothing can end the borrower's list meanwhile. */
static int lend(struct tether *tag, uint64_t word, tether_owner_t to, struct tetheri_slot *slot, struct tetheri_loan *loan)
{
	if (atomic_load_explicit(&slot->id, memory_order_relaxed) != to || slot->loans_closed)
		return -ESRCH;
	__atomic_store_n(&tag->hint_, tether_self_, __ATOMIC_RELAXED);
	/* Release: the home in `hint_`, before who drops what is lent. Acquire: as in drop.c's mark. */
	if (!__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_LENT), false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_ACQUIRE))
		return -EINVAL;
	tetheri_set_next(tag, (uintptr_t)loan);
	add(slot, loan);
	/* Release: what we did to the object, before who finds itself its owner. */
	__atomic_store_n(&tag->owner_, to, __ATOMIC_RELEASE);
	return 0;
}

int tether_lend(struct tether *tag, tether_owner_t to)
{
	struct tetheri_slot *slot;
	uint64_t word = tetheri_move_begin(tag, "lend", TETHERI_CALLER);

	if (!word)
		return -EINVAL;
	if (to == tether_self_) {
		tetheri_report_tag(TETHER_BAD_MOVE, "lend", tag, TETHERI_CALLER);
		return -EINVAL;
	}
	int error = tetheri_move_to(to, &slot, "lend", TETHERI_CALLER);
	if (error)
		return error;
	struct tetheri_loan *loan = malloc(sizeof *loan);
	if (!loan)
		return -ENOMEM;
	*loan = (struct tetheri_loan){.tag = tag, .origin = tetheri_tag_origin(tag)};
	tetheri_tsan_release(tag);
	tetheri_run_let_parent_go(tag);
	tetheri_loans_lock();
	error = lend(tag, word, to, slot, loan);
	tetheri_loans_unlock();
	if (error)
		free(loan);
	if (error == -EINVAL)
		tetheri_report_tag(TETHER_USE_AFTER_DROP, "lend", tag, TETHERI_CALLER);
	else if (!error)
		tetheri_note(tag, TETHER_EVENT_LENT, TETHERI_CALLER);
	return error;
}

/* It is off the borrower's list, and the caller's to end. True: it was dropped meanwhile, and that is the caller's to
 * finish. */
static bool end_loan(struct tether *tag, tether_owner_t home, tetheri_origin_t origin)
{
	/* Acquire, as in the failed CASes: pairs with the release of the drop that we finish. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);

	while (tetheri_word_state(word) == TETHERI_LENT &&
	       !__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_MOVING), false, __ATOMIC_ACQUIRE,
	                                    __ATOMIC_ACQUIRE))
		;
	tetheri_set_next(tag, origin);
	if (tetheri_word_state(word) == TETHERI_LENT) {
		word = tetheri_word_with(word, TETHERI_MOVING);
		__atomic_store_n(&tag->hint_, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&tag->owner_, home, __ATOMIC_RELAXED);
		/* Release: what the borrower did to it, and the owner, before who finds it bound. */
		if (__atomic_compare_exchange_n(&tag->state_, &word, tetheri_word_with(word, TETHERI_BOUND), false, __ATOMIC_RELEASE,
		                                __ATOMIC_ACQUIRE))
			return false;
	}
	assert(tetheri_word_state(word) == TETHERI_LENT_DROPPED || tetheri_word_state(word) == TETHERI_MOVING_DROPPED);
	__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DROPPED), __ATOMIC_RELAXED);
	__atomic_store_n(&tag->owner_, home | TETHERI_DROPPED_BIT, __ATOMIC_RELEASE);
	return true;
}

void tetheri_loans_begin(struct tetheri_slot *slot)
{
	tetheri_loans_lock();
	slot->loans_closed = false;
	tetheri_loans_unlock();
}

/* The caller has borrowed it. Off the list and out of its state under one lock: a fork finds it lent, or home. */
static void give_back(struct tether *tag, struct tetheri_loan *loan)
{
	tether_owner_t home = __atomic_load_n(&tag->hint_, __ATOMIC_RELAXED);

	tetheri_loans_lock();
	take_off(loan);
	bool is_dropped = end_loan(tag, home, loan->origin);
	tetheri_loans_unlock();
	free(loan);
	if (!is_dropped)
		return;
	tetheri_note(tag, TETHER_EVENT_DROPPED, NULL);
	tetheri_send_home(tag);
}

int tether_return(struct tether *tag)
{
	/* Acquire: pairs with the release of the loan. */
	tether_owner_t owner = __atomic_load_n(&tag->owner_, __ATOMIC_ACQUIRE);
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	enum tetheri_state state = tetheri_word_state(word);

	if (owner != tether_self_ || !tetheri_word_is_tag(tag, word) || (state != TETHERI_LENT && state != TETHERI_LENT_DROPPED)) {
		enum tether_kind kind = owner == tether_self_ ? TETHER_BAD_MOVE : tetheri_tag_verdict(tag, owner, word);
		tetheri_report_tag(kind, "return", tag, TETHERI_CALLER);
		return -EINVAL;
	}
	tetheri_note(tag, TETHER_EVENT_RETURNED, TETHERI_CALLER);
	tetheri_tsan_release(tag);
	tetheri_run_let_parent_go(tag);
	give_back(tag, (struct tetheri_loan *)(uintptr_t)tag->next_);
	return 0;
}

/* A loan of a borrower; NULL: it has none, and the list is closed. */
static struct tetheri_loan *next_loan(struct tetheri_slot *slot)
{
	tetheri_loans_lock();
	struct tetheri_loan *loan = slot->loans;
	slot->loans_closed = !loan;
	tetheri_loans_unlock();
	return loan; /* NOLINT(clang-analyzer-unix.Malloc): what was freed is off the list */
}

void tetheri_loans_end(struct tetheri_slot *slot)
{
	struct tetheri_loan *loan;

	while ((loan = next_loan(slot))) {
		tetheri_report_tag(TETHER_NOT_RETURNED, "owner's end", loan->tag, TETHERI_CALLER);
		tetheri_note(loan->tag, TETHER_EVENT_RETURNED, NULL);
		give_back(loan->tag, loan);
	}
}

void tetheri_loans_lost(struct tetheri_slot *slot, struct tetheri_list *dropped)
{
	while (slot->loans) {
		struct tetheri_loan *loan = slot->loans;
		struct tether *tag = loan->tag;

		take_off(loan);
		if (end_loan(tag, __atomic_load_n(&tag->hint_, __ATOMIC_RELAXED), loan->origin))
			tetheri_list_append(dropped, tag);
		/* Not freed: malloc may be in the middle of something that a thread which is not here began. */
	}
	slot->loans_closed = true;
}
