/* drop_ck_fifo.c - Concurrency Kit's queue of entries apart from the objects (Michael and Scott's, two words at a time).
 * SPDX-License-Identifier: MIT
 *
 * An entry that was taken out is the queue's end marker until the next one is, so entries come from a pool. Ours is the
 * best that there could be: each producer goes through entries of its own, in order, and frees none. */
#include <ck_fifo.h>
#include <stdlib.h>

#include "drop.h"

#ifdef CK_F_FIFO_MPMC
static ck_fifo_mpmc_t fifo;
static ck_fifo_mpmc_entry_t *entries; /* the first one is the marker at the start */

static void init(size_t heap_size)
{
	entries = aligned_alloc(64, (heap_size + 1) * sizeof *entries);
	if (!entries)
		abort();
	ck_fifo_mpmc_init(&fifo, &entries[0]);
}

/* The queue is empty, so that all entries but its marker are free; that one becomes the first of them. */
static void revive(struct object **objects, size_t count)
{
	objects_revive(objects, count);
	ck_fifo_mpmc_init(&fifo, &entries[0]);
}

static void push(const struct share *share)
{
	ck_fifo_mpmc_entry_t *entry = &entries[1 + share->first];

	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			ck_fifo_mpmc_enqueue(&fifo, entry++, share->objects[i]);
}

static void drain(void)
{
	ck_fifo_mpmc_entry_t *garbage;
	void *object;

	while (ck_fifo_mpmc_dequeue(&fifo, &object, &garbage))
		object_destroy(object);
}

static struct drop_peer peer = {
	.subject = "ck_fifo", .kinds = BARE | WHOLE, .init = init, .revive = revive, .push = push, .drain = drain};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
#endif
