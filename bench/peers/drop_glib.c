/* drop_glib.c - GLib's asynchronous queue: a mutex, a condition and an allocated link.
 * SPDX-License-Identifier: MIT */
#include <glib.h>

#include "drop.h"

static GAsyncQueue *queue;

static void init(void)
{
	queue = g_async_queue_new();
}

static void push(struct object **objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (object_mark(objects[i]))
			g_async_queue_push(queue, objects[i]);
}

static void drain(void)
{
	struct object *object;

	while ((object = g_async_queue_try_pop(queue)))
		object_destroy(object);
}

static struct drop_peer glib = {"GAsyncQueue (GLib)", init, object_revive, push, drain, NULL, NULL};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&glib);
}
