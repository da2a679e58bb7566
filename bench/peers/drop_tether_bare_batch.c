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

/* What a batch has for one owner. */
struct collected {
	struct tether *late[TETHERI_LATE];
	uint64_t recent[TETHERI_AHEAD];
	struct tetheri_chain chain;
};

static void publish(struct collected *collected)
{
	tetheri_inbox_push_chain(&slot, &collected->chain);
	collected->chain = (struct tetheri_chain){NULL, NULL, 0};
}

static void link_late(struct collected *collected, size_t first, size_t end)
{
	struct tetheri_chain *chain = &collected->chain;

	for (size_t i = first; i < end; i++) {
		struct tether *node = collected->late[i % TETHERI_LATE];
		uint64_t *ahead = &collected->recent[i % TETHERI_AHEAD];
		__atomic_store_n(&node->hint_, *ahead, __ATOMIC_RELAXED);
		*ahead = ~(uint64_t)(uintptr_t)node;
		tetheri_set_next(node, (uintptr_t)chain->newest);
		chain->newest = node;
		if (chain->count == 0)
			chain->oldest = node;
		if (++chain->count == TETHERI_BUNDLE_NODES)
			publish(collected);
	}
}

/* As batch.c collects what goes to one owner. */
static void push(const struct share *share)
{
	struct collected collected = {.chain = {NULL, NULL, 0}};
	size_t linked = 0;

	for (size_t i = 0; i < share->count; i++) {
		struct tether *node = &share->objects[i]->tether;
		TETHERI_PREFETCH(node);
		collected.late[i % TETHERI_LATE] = node;
		if (i + 1 - linked == TETHERI_LATE) {
			link_late(&collected, linked, linked + TETHERI_AT_ONCE);
			linked += TETHERI_AT_ONCE;
		}
	}
	link_late(&collected, linked, share->count);
	if (collected.chain.count > 0)
		publish(&collected);
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
