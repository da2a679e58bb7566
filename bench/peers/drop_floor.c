/* drop_floor.c - what memory takes: the same objects in an order that both sides know, and no queue.
 * SPDX-License-Identifier: MIT
 *
 * A producer writes the word where the others have their link, and marks the object where they do. The owner reads
 * from a list of what was pushed, so nothing keeps the core from having many objects on their way at once. */
#include "drop.h"

enum { SHARES_MAX = 1024 };

/* Each written by its producer; the next phase reads them. */
static struct {
	const struct share *share;
} __attribute__((aligned(64))) shares[SHARES_MAX];
static size_t share_count;

static void init(size_t heap_size)
{
	(void)heap_size;
}

static void revive(struct object **objects, size_t count)
{
	objects_revive(objects, count);
	share_count = 0;
}

static void push(const struct share *share)
{
	size_t place = __atomic_fetch_add(&share_count, 1, __ATOMIC_RELAXED); /* once, not for each */

	if (place >= SHARES_MAX)
		__builtin_trap();
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			share->objects[i]->tag.next = NULL;
	shares[place].share = share;
}

static void drain(void)
{
	for (size_t s = 0; s < share_count; s++)
		for (size_t i = 0; i < shares[s].share->count; i++)
			object_destroy(shares[s].share->objects[i]);
}

static struct drop_peer peer = {
	.subject = "floor", .kinds = BARE | WHOLE, .init = init, .revive = revive, .push = push, .drain = drain};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
