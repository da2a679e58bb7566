/* drop_tether_linger.c - our own drop, to a loop that lingers in a short sleep before it asks to be woken.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "drop_tether.h"

void drop_tether_linger_turn(void)
{
	struct epoll_event event;
	int64_t wait_us = tether_park_for(-1);
	struct timespec wait = {wait_us / 1000000, wait_us % 1000000 * 1000};

	epoll_pwait2(drop_tether_epoll(), &event, 1, wait_us < 0 ? NULL : &wait, NULL);
	tether_unpark();
	tether_drain(0);
}

static struct drop_peer peer = {.subject = "tether-linger",
                                .kinds = WHOLE,
                                .init = drop_tether_init,
                                .revive = drop_tether_revive,
                                .push = drop_tether_push,
                                .drain = drop_tether_drain,
                                .turn = drop_tether_linger_turn,
                                .by_owners = true};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
