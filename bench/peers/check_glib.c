/* check_glib.c - does this thread own the main context? GLib's way.
 * SPDX-License-Identifier: MIT */
#include <glib.h>

#include "check.h"

static void loop_glib(uint64_t n)
{
	GMainContext *context = g_main_context_new();

	if (!g_main_context_acquire(context))
		check_peer_failed();
	for (; n; n--) {
		context = opaque(context);
		if (!g_main_context_is_owner(context))
			check_peer_failed();
	}
	g_main_context_release(context);
	g_main_context_unref(context);
}

static struct check_peer glib = {"glib", loop_glib, NULL};

__attribute__((constructor)) static void add(void)
{
	check_peer_add(&glib);
}
