/* batch.h - what a thread has dropped inside a batch and not published yet; the protocol is in batch.c.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_BATCH_H
#define TETHERI_BATCH_H

#include "internal.h"

#define TETHERI_BUNDLES 8       /* destinations at a time; a ninth makes room */
#define TETHERI_BUNDLE_NODES 32 /* 16 measured a twentieth slower, 64 the same */

struct tetheri_late {
	struct tether *tag;
	const void *caller;
};

struct tetheri_bundle {
	tether_owner_t to;
	struct tetheri_chain chain;
	struct tetheri_recent recent;
};

/* The thread's alone. It is changed while `batching` is not set, see batch.c. */
struct tetheri_batch {
	unsigned depth;     /* scopes */
	unsigned collected; /* drops since it was last empty */
	unsigned next;      /* where the next drop goes, and the oldest one is */
	struct tetheri_late late[TETHERI_AHEAD];
	struct tetheri_list left; /* marked, and to be run here, or an orphan */
	struct tetheri_bundle bundles[TETHERI_BUNDLES];
};

void tetheri_batch_publish(struct tetheri_batch *batch, struct tetheri_bundle *bundle);
void tetheri_batch_publish_all(struct tetheri_batch *batch);

/* A node that is marked, and whose `owner_` says so. */
static inline void tetheri_batch_add(struct tetheri_batch *batch, tether_owner_t to, struct tether *node)
{
	struct tetheri_bundle *bundle = &batch->bundles[to % TETHERI_BUNDLES];
	struct tetheri_chain *chain = &bundle->chain;

	if (tetheri_unlikely(bundle->to != to)) {
		tetheri_batch_publish(batch, bundle);
		bundle->to = to;
		bundle->recent.sent = 0;
	}
	/* Release: as in tetheri_inbox_push. */
	__atomic_store_n(&node->hint_, tetheri_recent_swap(&bundle->recent, NULL, node), __ATOMIC_RELEASE);
	tetheri_tsan_release(node);
	tetheri_set_next(node, (uintptr_t)chain->newest);
	chain->newest = node;
	if (chain->count == 0)
		chain->oldest = node;
	if (++chain->count == TETHERI_BUNDLE_NODES)
		tetheri_batch_publish(batch, bundle);
}

#endif
