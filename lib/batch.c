/* batch.c - inside a scope that the program opens: drops are marked late, and published many at a time.
 * SPDX-License-Identifier: MIT
 *
 *     tether_drop --> late[32] --- full: the oldest 16 ---> mark --> a bundle for each destination --> one CAS for up to 32
 *       prefetches                                           |
 *       the tag's line                                       +--> `left`: is run here, or has no owner any more
 *
 * A drop outside is one miss, for the tag's line, which another core wrote last, and one CAS on a line that all senders
 * write. Here the miss is over when the mark comes, and the CAS is shared.
 *
 * The block is that of the thread's own owner, made by the first scope, and stays with the slot. `batching` in the
 * thread says that drops are collected. It is taken away while the block is changed:
 *
 *     batching = false    what comes in between, in a handler or a callback, goes its way by itself
 *     change the block
 *     batching = true
 *
 * Invariant: a node is in `late` and unmarked, or marked, and in one bundle or in `left`. At every instruction where
 *   `batching` is set the block is whole; so a handler may publish it (settle).
 * Invariant: whatever the thread sends another way is published after what it has collected, see tetheri_inbox_push.
 *   So each destination gets what the thread sent in the order in which it was sent.
 * Invariant: no callback of the program's runs while nodes are off all lists; `left` goes to the runner's list, as what
 *   destructors drop does, before the first of it is run.
 * Invariant: outside of scopes the block is empty. */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>

static inline struct tetheri_batch *begin_change(void)
{
	atomic_signal_fence(memory_order_seq_cst); /* what was read before, one may have changed */
	tetheri_thread.batching = false;
	atomic_signal_fence(memory_order_seq_cst); /* a handler that sees the change sees this */
	return tetheri_thread.own->batch;
}

static inline void end_change(const struct tetheri_batch *batch)
{
	atomic_signal_fence(memory_order_seq_cst); /* one that sees this sees the change */
	tetheri_thread.batching = batch->depth > 0;
	atomic_signal_fence(memory_order_seq_cst); /* and we, from here on, what one has made of it */
}

/* ---- Publishing ------------------------------------------------------------------------------ */

/* Newest first becomes oldest first. */
static void leave(struct tetheri_batch *batch, const struct tetheri_chain *chain)
{
	struct tetheri_list left = {NULL, chain->newest};
	struct tether *older;

	/* A push that failed may have linked it to what was in the inbox before that was closed. */
	tetheri_set_next(chain->oldest, 0);
	for (struct tether *node = chain->newest; node; node = older) {
		older = tetheri_next(node);
		tetheri_set_next(node, (uintptr_t)left.first);
		left.first = node;
	}
	tetheri_list_prepend(&left, &batch->left);
	batch->left = left;
}

void tetheri_batch_publish(struct tetheri_batch *batch, struct tetheri_bundle *bundle)
{
	struct tetheri_chain chain = bundle->chain;
	struct tetheri_slot *slot = NULL;

	if (chain.count == 0)
		return;
	bundle->chain = (struct tetheri_chain){NULL, NULL, 0};
	if (tetheri_owner_find(bundle->to, &slot) == TETHERI_ALIVE && tetheri_inbox_push_chain(slot, &chain)) {
		atomic_fetch_add_explicit(&tetheri_counts()->sent_later, chain.count, memory_order_relaxed);
		return;
	}
	/* It closed its inbox before this, and so did what it wrote, which an ANYWHERE destructor may read. */
	if (slot)
		tetheri_tsan_acquire(slot);
	leave(batch, &chain);
}

void tetheri_batch_publish_all(struct tetheri_batch *batch)
{
	for (size_t i = 0; i < TETHERI_BUNDLES; i++)
		tetheri_batch_publish(batch, &batch->bundles[i]);
}

/* All that is collected: mark it, from the oldest on, and publish it. */
static void gather(struct tetheri_batch *batch)
{
	if (batch->next == batch->done)
		return;
	tetheri_drop_late(batch, batch->next - batch->done);
	tetheri_batch_publish_all(batch);
}

void tetheri_batch_settle(void)
{
	struct tetheri_batch *batch = begin_change();

	gather(batch);
	end_change(batch);
}

/* What is to be run here, unless a destructor is running: then it comes after that. */
static __attribute__((noinline)) void run_left(struct tetheri_batch *batch)
{
	bool was_batching = tetheri_thread.batching;
	struct tether *node;

	do {
		tetheri_thread.batching = false;
		atomic_signal_fence(memory_order_seq_cst); /* as in begin_change */
		node = tetheri_list_pop(&batch->left);
		atomic_signal_fence(memory_order_seq_cst);
		tetheri_thread.batching = was_batching;
		if (node) {
			tetheri_count_add(tetheri_counts(), sent, 1);
			tetheri_run_queue(node);
		}
	} while (node);
	tetheri_run_queued();
}

void tetheri_batch_flush_slow(void)
{
	struct tetheri_batch *batch = tetheri_thread.own->batch;

	do {
		tetheri_batch_settle();
		if (batch->left.first)
			run_left(batch);
	} while (tetheri_thread.batching && batch->next != batch->done);
}

static void end_scopes(struct tetheri_batch *batch)
{
	begin_change();
	gather(batch);
	batch->depth = 0;
	end_change(batch);
	if (batch->left.first)
		run_left(batch);
}

/* What runs then may begin another one. */
void tetheri_batch_close(struct tetheri_slot *own)
{
	while (own->batch && own->batch->depth > 0)
		end_scopes(own->batch);
}

/* What another thread had collected is not in this process. */
void tetheri_batch_forget(struct tetheri_slot *slot)
{
	if (!slot->batch)
		return;
	*slot->batch = (struct tetheri_batch){.depth = 0};
	for (size_t i = 0; i < TETHERI_BUNDLES; i++)
		slot->batch->bundles[i].to = i + 1; /* the place of that is the next: whatever a tag holds, it is not found here */
}

static __attribute__((noinline)) void mark_oldest(struct tetheri_batch *batch)
{
	begin_change();
	tetheri_drop_late(batch, TETHERI_AT_ONCE);
	end_change(batch);
	if (tetheri_unlikely(batch->left.first))
		run_left(batch);
}

enum tether_dropped tetheri_batch_drop(struct tether *tag, const void *caller)
{
	TETHERI_PREFETCH(tag);
	struct tetheri_batch *batch = begin_change();

	*tetheri_batch_late(batch, batch->next++) = (struct tetheri_late){tag, caller};
	end_change(batch);
	if (tetheri_unlikely(batch->next - batch->done == TETHERI_LATE))
		mark_oldest(batch);
	return TETHER_BATCHED;
}

/* ---- The public calls ------------------------------------------------------------------------ */

int tether_batch_begin(void)
{
	(void)tetheri_owner_make(TETHERI_CALLER);
	struct tetheri_slot *own = tetheri_thread.own;

	if (!own)
		return tetheri_thread.ended ? -ESRCH : -ENOMEM;
	if (!own->batch) {
		own->batch = malloc(sizeof *own->batch);
		tetheri_batch_forget(own);
	}
	if (!own->batch)
		return -ENOMEM;
	if (own->batch->depth++ == 0)
		tetheri_thread.batching = true;
	return 0;
}

void tether_batch_end(void)
{
	struct tetheri_slot *own = tetheri_thread.own;

	if (own && own->batch && own->batch->depth > 1)
		own->batch->depth--;
	else if (own && own->batch && own->batch->depth == 1)
		end_scopes(own->batch);
	else if (!tetheri_thread.ended) /* else its scope ended with its owner */
		tetheri_report_call(TETHER_BAD_CALL, "tether_batch_end", TETHERI_CALLER);
}

void tether_batch_flush(void)
{
	tetheri_batch_flush();
}
