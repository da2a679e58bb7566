/* move.c - move.h alone: a transfer, and each move.
 * SPDX-License-Identifier: MIT */
#include <tether/move.h>

static void arrived(struct tether_transfer *transfer, struct tether *tag, enum tether_arrival arrival)
{
	if (arrival == TETHER_RECEIVED || arrival == TETHER_CAME_BACK)
		tether_drop(tag);
	else if (arrival == TETHER_ENDED_AWAY || arrival == TETHER_STRANDED)
		transfer->arrived = NULL;
}

int use(struct tether *tag, struct tether_transfer *transfer, tether_owner_t from, tether_owner_t to);
int use(struct tether *tag, struct tether_transfer *transfer, tether_owner_t from, tether_owner_t to)
{
	tether_transfer_init(transfer, arrived);
	return tether_hand_off(tag, to, transfer) + tether_give(tag, from, to) + tether_unbind(tag) + tether_lend(tag, to) +
	       tether_return(tag) + tether_share(tag);
}
