/* drop_ck_ring.c - Concurrency Kit's bounded ring, large enough for all that will ever wait in it.
 * SPDX-License-Identifier: MIT */
#include <ck_ring.h>
#include <stdlib.h>

#include "drop.h"

static ck_ring_t ring;
static ck_ring_buffer_t *buffer;

static void init(size_t heap_size)
{
	unsigned size = 2;

	while (size <= heap_size) /* one place stays free */
		size *= 2;
	buffer = malloc(size * sizeof *buffer);
	if (!buffer)
		abort();
	ck_ring_init(&ring, size);
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]) && !ck_ring_enqueue_mpsc(&ring, buffer, share->objects[i]))
			abort();
}

static void drain(void)
{
	struct object *object;

	while (ck_ring_dequeue_mpsc(&ring, buffer, &object))
		object_destroy(object);
}

/* With four producers on two cores one phase was not over after a minute. */
static struct drop_peer peer = {.subject = "ck_ring",
                                .kinds = BARE | WHOLE,
                                .init = init,
                                .revive = objects_revive,
                                .push = push,
                                .drain = drain,
                                .needs_cores = true};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
