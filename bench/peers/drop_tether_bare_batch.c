/* drop_tether_bare_batch.c - our own queue alone, with as many nodes at a time as a batch publishes.
 * SPDX-License-Identifier: MIT */
#include "batch.h"
#include "drop.h"

static struct tetheri_slot slot; /* nobody's, as in drop_tether_bare.c */

static void init(size_t heap_size)
{
	(void)heap_size;
	tetheri_inbox_open(&slot);
}

/* As batch.c collects what goes to one owner. */
static void push(const struct share *share)
{
	struct tetheri_recent recent = {.sent = 0};
	struct tetheri_chain chain = {NULL, NULL, 0};

	for (size_t i = 0; i < share->count; i++) {
		struct tether *node = &share->objects[i]->tether;
		__atomic_store_n(&node->hint_, tetheri_recent_swap(&recent, NULL, node), __ATOMIC_RELAXED);
		tetheri_set_next(node, (uintptr_t)chain.newest);
		chain.newest = node;
		if (chain.count == 0)
			chain.oldest = node;
		if (++chain.count == TETHERI_BUNDLE_NODES || i + 1 == share->count) {
			tetheri_inbox_push_chain(&slot, &chain);
			chain = (struct tetheri_chain){NULL, NULL, 0};
		}
	}
}

static void drain(void)
{
	struct tether *node;

	tetheri_inbox_take(&slot);
	while ((node = tetheri_list_pop(&slot.taken))) {
		TETHERI_PREFETCH((const void *)(uintptr_t)~__atomic_load_n(&node->hint_, __ATOMIC_RELAXED));
		object_destroy(node);
	}
}

static struct drop_peer peer = {.subject = "tether-batch",
                                .kinds = BARE,
                                .init = init,
                                .revive = objects_revive,
                                .push = push,
                                .drain = drain,
                                .by_owners = true};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
