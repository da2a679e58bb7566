/* drop_glib_queue.c - GLib's asynchronous queue: a mutex, a condition and an allocated link.
 * SPDX-License-Identifier: MIT */
#include <glib.h>

#include "drop.h"

static GAsyncQueue *queue;

static void init(size_t heap_size)
{
	(void)heap_size;
	queue = g_async_queue_new();
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			g_async_queue_push(queue, share->objects[i]);
}

static void drain(void)
{
	struct object *object;

	while ((object = g_async_queue_try_pop(queue)))
		object_destroy(object);
}

static void turn(void)
{
	object_destroy(g_async_queue_pop(queue));
	drain();
}

static struct drop_peer peer = {.subject = "glib-queue",
                                .kinds = BARE | WHOLE,
                                .init = init,
                                .revive = objects_revive,
                                .push = push,
                                .drain = drain,
                                .turn = turn};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
