/* run.c - call destructors and messages: on one stack level, with cancellation disabled, with no lock.
 * SPDX-License-Identifier: MIT
 *
 * A thread runs at most one destructor at a time. What a destructor drops at home joins the runner's
 * `later` list and is run when it has returned, by whoever called it:
 *
 *     tether_drop at home --> run_here: destructor, then `later` until it is empty
 *     tether_drain ---------> run_lists: `later` before `taken` before what the inbox holds
 *
 * Invariant: a node is off every list before its function is called, so a function that never returns
 *   (pthread_exit, an exception; the library is built with -fexceptions, and tetheri_run_leave() is a
 *   cleanup) strands nothing: the next drain, or the thread's end, goes on with the rest.
 * Invariant: `next_` is read before a destructor runs, and nothing of the object is touched after. */
#include <pthread.h>

#include "internal.h"

void tetheri_run_enter(struct tetheri_run *run, bool draining)
{
	run->runner = tetheri_runner();
	run->slot = tetheri_thread.slot;
	run->draining = draining;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &run->cancel_state);
	if (draining)
		run->runner->draining = true;
}

void tetheri_run_leave(struct tetheri_run *run)
{
	struct tetheri_runner *runner = run->runner;

	runner->destroying = NULL;
	/* A thread without an owner has no later drain that would go on where a destructor broke off. */
	if (!run->slot)
		(void)tetheri_run_lists(run, 0);
	if (run->draining)
		runner->draining = false;
	if (run->slot && !runner->draining && (run->draining || runner->later.first))
		tetheri_wake_settle(run->slot);
	pthread_setcancelstate(run->cancel_state, NULL);
}

void tetheri_run_destructor(struct tetheri_runner *runner, struct tether *tag)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);
	const struct tether_type *type = tetheri_word_type(word);
	void *object = (char *)tag - type->offset;

	assert(!runner->destroying);
	assert(tetheri_word_state(word) == TETHERI_DROPPED);
	/* Relaxed: the node is ours. Whoever still looks at it, wrongly, may see it late. */
	__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DEAD), __ATOMIC_RELAXED);
	__atomic_store_n(&tag->owner_, TETHER_GONE_, __ATOMIC_RELAXED);
	runner->destroying = tag;
	if (type->destroy)
		type->destroy(object);
	else if (type->destroy_with)
		type->destroy_with(object, type->context);
	runner->destroying = NULL;
}

void tetheri_run_message(struct tether_message *message, enum tether_fate fate)
{
	void (*fn)(struct tether_message *, enum tether_fate) = message->fn;

	/* Release: pairs with the post that finds it idle; it may be posted again from now on. */
	__atomic_store_n(&message->node_.state_, 0, __ATOMIC_RELEASE);
	fn(message, fate);
}

/* One node from a list: at home, or a stray whose owner has gone. */
void tetheri_run_node(struct tetheri_run *run, struct tether *node)
{
	tether_owner_t home = __atomic_load_n(&node->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT;
	bool is_home = home == tether_self_;

	tetheri_tsan_acquire(node);
	if (tetheri_word_type(__atomic_load_n(&node->state_, __ATOMIC_RELAXED)) == &tetheri_message_type) {
		tetheri_count(is_home ? &tetheri_counts()->run_home : &tetheri_counts()->orphaned, 1);
		tetheri_run_message((struct tether_message *)node, is_home ? TETHER_RUN : TETHER_UNDELIVERED);
	} else if (is_home) {
		tetheri_count_add(run_home, 1);
		tetheri_run_destructor(run->runner, node);
	} else {
		(void)tetheri_orphan(node, true);
	}
}

/* `later` and `taken`, and, inside a drain, the inbox, up to max_nodes (0: all). */
size_t tetheri_run_lists(struct tetheri_run *run, size_t max_nodes)
{
	size_t handled = 0;

	while (max_nodes == 0 || handled < max_nodes) {
		struct tether *node = tetheri_list_pop(&run->runner->later);

		if (!node && run->draining) {
			if (!run->slot->taken.first)
				(void)tetheri_inbox_take(run->slot);
			node = tetheri_list_pop(&run->slot->taken);
			if (node)
				__builtin_prefetch((const void *)(uintptr_t)~node->hint_, 1);
		}
		if (!node)
			break;
		handled++;
		tetheri_run_node(run, node);
	}
	return handled;
}

void tetheri_run_here(struct tether *tag)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, false);
	tetheri_run_destructor(run.runner, tag);
	(void)tetheri_run_lists(&run, 0);
}

void tetheri_run_later(struct tether *tag)
{
	tetheri_count_add(received, 1);
	tetheri_list_append(&tetheri_runner()->later, tag);
	if (tetheri_in_destructor())
		return;
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));
	tetheri_run_enter(&run, false);
	(void)tetheri_run_lists(&run, 0);
}
