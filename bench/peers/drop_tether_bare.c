/* drop_tether_bare.c - our own queue alone: an inbox that is nobody's, without tags, types and counts of who sent what.
 * SPDX-License-Identifier: MIT
 *
 * No program can have it so: it is here to be compared with queues that are shipped without what a drop needs. */
#include "drop.h"
#include "internal.h"

static struct tetheri_slot slot;

static void init(size_t heap_size)
{
	(void)heap_size;
	tetheri_inbox_open(&slot);
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		tetheri_inbox_push(&slot, &share->objects[i]->tether);
}

/* As run.c goes through what was taken. */
static void drain(void)
{
	struct tether *node;

	tetheri_inbox_take(&slot);
	while ((node = tetheri_list_pop(&slot.taken))) {
		__builtin_prefetch((const void *)(uintptr_t)~__atomic_load_n(&node->hint_, __ATOMIC_RELAXED), 1);
		object_destroy(node);
	}
}

static struct drop_peer peer = {
	.subject = "tether", .kinds = BARE, .init = init, .revive = objects_revive, .push = push, .drain = drain, .by_owners = true};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
