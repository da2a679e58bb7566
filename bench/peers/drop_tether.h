/* drop_tether.h - what our own subjects share: they differ in how they push.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_PEERS_DROP_TETHER_H
#define BENCH_PEERS_DROP_TETHER_H

#include "drop.h"

void drop_tether_init(size_t heap_size);
void drop_tether_revive(struct object **objects, size_t count);
void drop_tether_push(const struct share *share);
void drop_tether_drain(void);
void drop_tether_turn(void);        /* as the guide has it for any loop */
void drop_tether_linger_turn(void); /* and for one that can sleep for microseconds */
int drop_tether_epoll(void);        /* where its loop sleeps */

#endif
