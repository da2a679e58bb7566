/* drop_libuv.c - libuv's way: a list under a mutex, and uv_async_send() to say that there is something.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <uv.h>

#include "drop_list.h"

static struct list list;
static uv_loop_t loop;
static uv_async_t async;

static void on_async(uv_async_t *handle)
{
	(void)handle;
	list_drain(&list);
}

static void init(size_t heap_size)
{
	(void)heap_size;
	list_init(&list);
	if (uv_loop_init(&loop) != 0 || uv_async_init(&loop, &async, on_async) != 0)
		abort();
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i])) {
			list_append(&list, share->objects[i]);
			uv_async_send(&async);
		}
}

static void drain(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void turn(void)
{
	uv_run(&loop, UV_RUN_ONCE);
}

static struct drop_peer peer = {.subject = "libuv",
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
