/* drop_tether_batch.c - our own drop, of many in a batch.
 * SPDX-License-Identifier: MIT
 *
 * All that is pushed in one go is one batch. */
#include <stdlib.h>

#include "drop_tether.h"

static void push(const struct share *share)
{
	if (tether_batch_begin() != 0)
		abort();
	for (size_t i = 0; i < share->count; i++)
		tether_drop(&share->objects[i]->tether);
	tether_batch_end();
}

static struct drop_peer peer = {.subject = "tether-batch",
                                .kinds = WHOLE,
                                .init = drop_tether_init,
                                .revive = drop_tether_revive,
                                .push = push,
                                .drain = drop_tether_drain,
                                .turn = drop_tether_linger_turn,
                                .by_owners = true};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
