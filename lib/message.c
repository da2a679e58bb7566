/* message.c - run a function on another owner's thread, or tell it that this cannot be.
 * SPDX-License-Identifier: MIT
 *
 * A message begins with a tag, so that it travels in the same inbox and the same order as drops. Its
 * `state_` is 0 while it is idle, and a word with our own type and DROPPED while it is on its way.
 *
 * Invariant: for each accepted post its function is called once: by the drain of the owner it was sent
 *   to (RUN), or by whoever finds that owner gone (UNDELIVERED): the poster, or the drain of a later
 *   owner of the same slot. It is idle again before the call. A post that is refused (tether_try_post) leaves it
 *   idle, and its function is not called. */
#include <errno.h>

#include "internal.h"

/* Nobody's home. Inside a callback it waits for this thread's next drain, which finds that out again:
 * a function that is told so and posts again does not nest. */
static void undelivered(struct tether_message *message)
{
	__atomic_store_n(&message->node_.owner_, TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	if (!tetheri_thread.active) {
		tetheri_count_shared(direct);
		tetheri_run_undelivered(message);
	} else if (!tetheri_inbox_push_self(&message->node_)) {
		tetheri_run_queue(&message->node_); /* no owner: what is running now goes on with it */
	}
}

bool tetheri_message_mark(struct tether_message *message)
{
	uint64_t on_its_way = tetheri_word(&tetheri_message_type, TETHERI_DROPPED);
	/* Acquire: pairs with the release in run_message, run.c: the last fate has been told. */
	uint64_t word = __atomic_load_n(&message->node_.state_, __ATOMIC_ACQUIRE);

	do {
		/* Also by another copy of the library, whose own type it carries then. */
		if (tetheri_word_has_magic(word) && tetheri_word_state(word) == TETHERI_DROPPED)
			return false;
	} while (!__atomic_compare_exchange_n(&message->node_.state_, &word, on_its_way, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return true;
}

void tetheri_message_unmark(struct tether_message *message)
{
	__atomic_store_n(&message->node_.state_, 0, __ATOMIC_RELEASE);
}

bool tetheri_message_push(tether_owner_t to, struct tether_message *message)
{
	struct tetheri_slot *slot;

	__atomic_store_n(&message->node_.owner_, to | TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	if (tetheri_owner_find(to, &slot) != TETHERI_ALIVE || !tetheri_inbox_push(slot, &message->node_))
		return false;
	tetheri_count_shared(sent_later);
	return true;
}

int tether_post(tether_owner_t to, struct tether_message *message)
{
	struct tetheri_slot *slot;

	if (!tetheri_message_mark(message)) {
		tetheri_report_call(TETHER_DOUBLE_POST, "tether_post", TETHERI_CALLER);
		return -EALREADY;
	}
	tetheri_count_shared(sent_later);
	__atomic_store_n(&message->node_.owner_, to | TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	enum tetheri_place place = tetheri_owner_find(to, &slot);
	if (place == TETHERI_ALIVE && tetheri_inbox_push(slot, &message->node_))
		return 0;
	if (place == TETHERI_NOT_OURS)
		tetheri_report_call(TETHER_BAD_OWNER, "tether_post", TETHERI_CALLER);
	undelivered(message);
	return place == TETHERI_NOT_OURS ? -EINVAL : -ESRCH;
}

int tether_try_post(tether_owner_t to, struct tether_message *message)
{
	struct tetheri_slot *slot;
	enum tetheri_place place = tetheri_owner_find(to, &slot);

	if (place == TETHERI_NOT_OURS)
		tetheri_report_call(TETHER_BAD_OWNER, "tether_try_post", TETHERI_CALLER);
	if (place != TETHERI_ALIVE)
		return place == TETHERI_NOT_OURS ? -EINVAL : -ESRCH;
	if (tetheri_limit_is_reached(slot))
		return -EAGAIN;
	if (!tetheri_message_mark(message)) {
		tetheri_report_call(TETHER_DOUBLE_POST, "tether_try_post", TETHERI_CALLER);
		return -EALREADY;
	}
	if (tetheri_message_push(to, message))
		return 0;
	tetheri_message_unmark(message);
	return -ESRCH;
}
