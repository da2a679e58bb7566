/* drop.c - drop.h alone: drops, and messages initialised both ways.
 * SPDX-License-Identifier: MIT */
#include <tether/drop.h>

static void note(struct tether_message *message, enum tether_fate fate)
{
	if (fate == TETHER_UNDELIVERED)
		message->fn = NULL;
}

static struct tether_message letter = TETHER_MESSAGE_INIT(note);

int use(struct tether *object, tether_owner_t to);
int use(struct tether *object, tether_owner_t to)
{
	struct tether_message *message = &letter;
	enum tether_dropped dropped = tether_drop(object);

	if (dropped == TETHER_REFUSED)
		dropped = tether_drop_later(object);
	tether_message_init(message, note);
	return dropped == TETHER_HERE || dropped == TETHER_QUEUED || dropped == TETHER_BATCHED ? tether_post(to, message)
	                                                                                       : tether_try_post(to, message);
}
