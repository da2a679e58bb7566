/* drop_glib_context.c - a function called by GLib's main context: an idle source for each object.
 * SPDX-License-Identifier: MIT */
#include <glib.h>

#include "drop.h"

static GMainContext *context;

static gboolean destroy(gpointer object)
{
	object_destroy(object);
	return G_SOURCE_REMOVE;
}

static void init(size_t heap_size)
{
	(void)heap_size;
	context = g_main_context_new();
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			g_main_context_invoke_full(context, G_PRIORITY_DEFAULT, destroy, share->objects[i], NULL);
}

static void drain(void)
{
	while (g_main_context_iteration(context, FALSE))
		;
}

static void turn(void)
{
	g_main_context_iteration(context, TRUE);
}

static struct drop_peer peer = {.subject = "glib-context",
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
