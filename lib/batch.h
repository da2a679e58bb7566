/* batch.h - what a thread has dropped inside a batch and not published yet; the protocol is in batch.c.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_BATCH_H
#define TETHERI_BATCH_H

#include "internal.h"

#ifndef TETHERI_LATE
#define TETHERI_LATE 32    /* drops that are not marked yet, at most */
#define TETHERI_AT_ONCE 16 /* marks; so each comes 16 to 31 drops later */
#endif
#define TETHERI_BUNDLES 8       /* destinations at a time; a ninth makes room */
#define TETHERI_BUNDLE_NODES 32 /* 16 measured a twentieth slower, 64 the same */

struct tetheri_late {
	struct tether *tag;
	const void *caller;
};

struct tetheri_bundle {
	tether_owner_t to; /* an owner of this process, which may have ended since; or none whose place this is */
	uint64_t usual;    /* the word of the last tag that went there before its mark */
	struct tetheri_chain chain;
	unsigned next;                  /* in `recent` */
	uint64_t recent[TETHERI_AHEAD]; /* hints, as in struct tetheri_recent; 0: none */
};

/* The thread's alone. It is changed while `batching` is not set, see batch.c. */
struct tetheri_batch {
	unsigned depth; /* scopes */
	unsigned next;  /* drops collected */
	unsigned done;  /* of those, marked: the rest is in `late` */
	struct tetheri_late late[TETHERI_LATE];
	struct tetheri_list left; /* marked, and to be run here, or an orphan */
	struct tetheri_bundle bundles[TETHERI_BUNDLES];
};

static inline struct tetheri_late *tetheri_batch_late(struct tetheri_batch *batch, unsigned number)
{
	return &batch->late[number % TETHERI_LATE];
}

void tetheri_batch_publish(struct tetheri_batch *batch, struct tetheri_bundle *bundle);
void tetheri_batch_publish_all(struct tetheri_batch *batch);

static inline struct tetheri_bundle *tetheri_batch_bundle(struct tetheri_batch *batch, tether_owner_t to)
{
	return &batch->bundles[to % TETHERI_BUNDLES];
}

/* The one for `to`, an owner that lives; what was in it for another is published. */
static inline struct tetheri_bundle *tetheri_batch_bundle_to(struct tetheri_batch *batch, tether_owner_t to)
{
	struct tetheri_bundle *bundle = tetheri_batch_bundle(batch, to);

	if (bundle->to != to) {
		tetheri_batch_publish(batch, bundle);
		*bundle = (struct tetheri_bundle){.to = to};
	}
	return bundle;
}

/* A node that is marked, and whose `owner_` says so; into the bundle for that owner. */
static inline void tetheri_batch_add(struct tetheri_batch *batch, struct tetheri_bundle *bundle, struct tether *node)
{
	struct tetheri_chain *chain = &bundle->chain;
	uint64_t *ahead = &bundle->recent[bundle->next++ % TETHERI_AHEAD];

	/* Release: as in tetheri_inbox_push. */
	__atomic_store_n(&node->hint_, *ahead, __ATOMIC_RELEASE);
	*ahead = ~(uint64_t)(uintptr_t)node;
	tetheri_tsan_release(node);
	tetheri_set_next(node, (uintptr_t)chain->newest);
	chain->newest = node;
	if (chain->count == 0)
		chain->oldest = node;
	if (++chain->count == TETHERI_BUNDLE_NODES)
		tetheri_batch_publish(batch, bundle);
}

#endif
