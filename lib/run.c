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
 * Invariant: a callback returns in the owner that it was called in. One that switches stacks may leave that owner, and
 *   is back when its own stack goes on; for one that forgot it is put right, before any list is looked at (logical.c).
 * Invariant: `next_` is read before a destructor runs, and nothing of the object is touched after. */
#include <pthread.h>

#include "internal.h"

/* Before a node is off its list and counted as handled: it is pending no more then, and runs in a moment. */
static void begin_drain(struct tetheri_runner *runner, struct tetheri_slot *slot)
{
	runner->draining = true;
	/* Relaxed: the release of the XCHG that takes what is pending brings it to who finds that gone. */
	atomic_store_explicit(&slot->doing, atomic_load_explicit(&slot->doing, memory_order_relaxed) | TETHERI_DRAINS,
	                      memory_order_relaxed);
}

static inline void enter(struct tetheri_run *run, struct tetheri_runner *runner, bool draining)
{
	run->runner = runner;
	run->slot = tetheri_thread.slot;
	run->draining = draining;
	run->usual = 0;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &run->cancel_state);
	/* Constants where they are one and none, here and in the end: as a counter it took 3 ns. */
	if (tetheri_likely(runner->frames == 0)) {
		run->depth = runner->frames = 1;
		runner->cancel_state = run->cancel_state;
	} else {
		run->depth = ++runner->frames;
	}
	tetheri_thread.active = runner;
	if (draining)
		begin_drain(runner, run->slot);
}

void tetheri_run_enter(struct tetheri_run *run, bool draining)
{
	enter(run, tetheri_runner(), draining);
}

/* The callback has entered another owner, or left its own. A thread without an owner may have been made one. */
static inline bool is_astray(const struct tetheri_slot *called_in)
{
	return tetheri_unlikely(tetheri_thread.slot != called_in) && (called_in || tetheri_thread.slot != tetheri_thread.own);
}

static inline bool comes_back(struct tetheri_slot *called_in)
{
	return !is_astray(called_in) || tetheri_logical_come_back(called_in ? called_in : tetheri_thread.own);
}

/* What the owner is at, for reports; relaxed: it is said in the past tense. */
static inline void set_doing(struct tetheri_slot *slot, const struct tether_type *type)
{
	if (slot)
		atomic_store_explicit(&slot->doing, (uintptr_t)type | TETHERI_NOW, memory_order_relaxed);
}

void tetheri_run_idle(struct tetheri_slot *slot)
{
	/* Release: what it was at has counted what it sent, before a shutdown finds it idle. */
	atomic_store_explicit(&slot->doing, atomic_load_explicit(&slot->doing, memory_order_relaxed) & ~TETHERI_BUSY,
	                      memory_order_release);
}

static void set_idle(void)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	if (slot && !tetheri_thread.active)
		tetheri_run_idle(slot);
}

/* A thread without an owner has no later drain that would go on where a destructor broke off; and one that has become
 * an owner meanwhile drains that one's lists. */
static void run_rest(struct tetheri_runner *runner)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	enter(&run, runner, false);
	(void)tetheri_run_lists(&run, 0);
}

static __attribute__((noinline)) void leave_parent(struct tetheri_runner *runner)
{
	struct tether *parent = runner->parent;

	runner->parent = NULL;
	tetheri_group_let_go(parent);
}

void tetheri_run_let_parent_go(const struct tether *root)
{
	struct tetheri_runner *runner = tetheri_runner();

	if (tetheri_unlikely(runner->parent) && tetheri_group_decider(runner->parent) == root)
		leave_parent(runner);
}

/* It returned, or else it did not. */
static inline void end_destructor(struct tetheri_runner *runner)
{
	runner->destroying = NULL;
	runner->in_destructor = false;
	if (tetheri_unlikely(runner->parent))
		leave_parent(runner);
}

/* A thread without an owner, or at the very end of one: nothing later goes on with what is left over. */
static bool has_no_drain(const struct tetheri_runner *runner)
{
	return runner == &tetheri_thread.runner || tetheri_inbox_is_over(tetheri_thread.slot);
}

void tetheri_run_leave(struct tetheri_run *run)
{
	struct tetheri_runner *runner = run->runner;

	if (!comes_back(run->slot)) { /* it is on a wrong thread: nothing here is ours */
		pthread_setcancelstate(run->cancel_state, NULL);
		return;
	}
	if (run->depth >= runner->frames) /* else it is another stack's destructor */
		end_destructor(runner);
	if (run->draining)
		runner->draining = false;
	if (run->draining && tetheri_traces(~TETHERI_TRACE_OPTIONS))
		tetheri_limit_settle(tetheri_thread.slot);
	/* Fibers may end their frames in another order than they began them: the last one gives back what the
	 * first one found. */
	bool is_last = tetheri_likely(runner->frames == 1);
	int cancel_state = is_last ? runner->cancel_state : run->cancel_state;
	atomic_signal_fence(memory_order_seq_cst); /* read before: a handler's callback is the first one from here on */
	if (is_last) {
		runner->frames = 0;
		tetheri_thread.active = NULL;
	} else {
		runner->frames--;
	}
	atomic_signal_fence(memory_order_seq_cst); /* read behind: what a handler found us at, and left to us, is there */
	bool is_left_over = is_last && runner->later.first;
	set_idle();
	if (is_left_over && has_no_drain(runner))
		run_rest(runner);
	else if (run->draining || is_left_over)
		tetheri_wake_settle(tetheri_thread.slot);
	pthread_setcancelstate(cancel_state, NULL);
}

static __attribute__((noinline)) void end_story(const struct tether *tag, uint64_t word)
{
	tetheri_note(tag, TETHER_EVENT_DESTROYED, NULL);
	if (word & TETHERI_LABELLED)
		tetheri_side_end(tag);
}

/* Its tag ends, and then the object. False: the callback has left for another owner. */
static inline __attribute__((always_inline)) bool destroy(struct tetheri_runner *runner, struct tetheri_slot *called_in,
                                                          struct tether *tag, uint64_t word)
{
	const struct tether_type *type = tetheri_word_type(word);
	void *object = (char *)tag - type->offset;

	set_doing(called_in, type);
	runner->in_destructor = true;
	runner->destroying = tag;
	atomic_signal_fence(memory_order_seq_cst); /* a handler that checks it finds it ours, before or after */
	/* Relaxed: the node is ours. Whoever still looks at it, wrongly, may see it late. */
	__atomic_store_n(&tag->state_, tetheri_word_with(word, TETHERI_DEAD), __ATOMIC_RELAXED);
	__atomic_store_n(&tag->hint_, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT, __ATOMIC_RELAXED);
	/* Release: who finds GONE finds in `hint_` whose it was. */
	__atomic_store_n(&tag->owner_, TETHER_GONE_, __ATOMIC_RELEASE);
	if (type->destroy)
		type->destroy(object);
	else if (type->destroy_with)
		type->destroy_with(object, type->context);
	if (!comes_back(called_in))
		return false;
	end_destructor(runner);
	return true;
}

void tetheri_run_destructor(struct tetheri_runner *runner, struct tether *tag)
{
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_RELAXED);
	const struct tether_type *type = tetheri_word_type(word);

	assert(!runner->in_destructor && !runner->parent);
	assert(tetheri_word_state(word) == TETHERI_DROPPED || tetheri_word_state(word) == TETHERI_FOLLOWS_DROPPED);
	tetheri_type_note_end(type);
	if (tetheri_unlikely(word & TETHERI_LABELLED) || tetheri_traces(TETHERI_TRACE_HISTORY))
		end_story(tag, word);
	if (tetheri_unlikely(tetheri_word_state(word) == TETHERI_FOLLOWS_DROPPED))
		runner->parent = tetheri_group_parent(tag);
	(void)destroy(runner, tetheri_thread.slot, tag, word);
}

static void run_message(struct tether_message *message, enum tether_fate fate)
{
	void (*fn)(struct tether_message *, enum tether_fate) = message->fn;

	/* Release: pairs with the post that finds it idle; it may be posted again from now on. */
	__atomic_store_n(&message->node_.state_, 0, __ATOMIC_RELEASE);
	if (tetheri_thread.slot) {
		atomic_store_explicit(&tetheri_thread.slot->doing_fn, (const void *)(uintptr_t)fn, memory_order_relaxed);
		tetheri_thread.slot->messages++;
	}
	set_doing(tetheri_thread.slot, &tetheri_message_type);
	fn(message, fate);
}

void tetheri_run_undelivered(struct tether_message *message)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, false);
	run_message(message, TETHER_UNDELIVERED);
}

/* What a thread without an owner left for later is its own, though it may be an owner by now. */
static bool is_home(tether_owner_t home)
{
	return home == tether_self_ || home == TETHER_NOBODY_;
}

/* Its owner lives, and yet it is here: a sender was between two owners, or what it follows moved meanwhile, or is
 * on its way, and the node waits for it. */
static bool send_on(struct tether *node, uint64_t word, tether_owner_t *home)
{
	struct tetheri_slot *slot;
	tether_owner_t last = 0;

	while (!is_home(*home) && *home != last) {
		last = *home;
		if (last == TETHERI_WAITS || (tetheri_owner_find(last, &slot) == TETHERI_ALIVE && tetheri_inbox_push(slot, node))) {
			tetheri_count_add(tetheri_counts(), forwarded, 1);
			return true;
		}
		*home = tetheri_home_of(node, word); /* that owner has gone; what the node follows may have moved before */
	}
	return false;
}

/* Of the nodes that a drain finds nearly all are like the last one: of the same type, with nothing to tell and
 * nothing to wait for. What was asked about that one need not be asked again. */
static void note_usual(struct tetheri_run *run, uint64_t word)
{
	const struct tether_type *type = tetheri_word_type(word);

	if (run->slot && run->runner == &run->slot->runner && word == tetheri_word(type, TETHERI_DROPPED) &&
	    !(type->rules & TETHER_GROUP))
		run->usual = word;
}

static inline bool is_usual(const struct tetheri_run *run, const struct tether *node)
{
	return __atomic_load_n(&node->state_, __ATOMIC_RELAXED) == run->usual &&
	       __atomic_load_n(&node->owner_, __ATOMIC_RELAXED) == (tether_self_ | TETHERI_DROPPED_BIT) &&
	       !tetheri_traces(TETHERI_TRACE_HISTORY);
}

/* As run_node, with no more than that one needs. False: its callback has left for another owner. */
static inline __attribute__((always_inline)) bool run_usual(struct tetheri_run *run, struct tether *node)
{
	tetheri_tsan_acquire(node);
	tetheri_count_own(&run->slot->counts.run_home, 1);
	return destroy(run->runner, run->slot, node, run->usual);
}

/* One node from a list: at home, or a stray. */
static __attribute__((noinline)) void run_node(struct tetheri_run *run, struct tether *node)
{
	struct tetheri_counts *counts = tetheri_counts_of(run->runner);
	uint64_t word = __atomic_load_n(&node->state_, __ATOMIC_RELAXED);
	tether_owner_t home = tetheri_home_of(node, word);

	tetheri_tsan_acquire(node);
	if (tetheri_unlikely(!is_home(home)) && send_on(node, word, &home))
		return;
	if (tetheri_word_type(word) == &tetheri_message_type) {
		tetheri_count(counts, is_home(home) ? &counts->run_home : &counts->orphaned, 1);
		run_message((struct tether_message *)node, is_home(home) ? TETHER_RUN : TETHER_UNDELIVERED);
	} else if (tetheri_group_defer(node, word)) {
		/* Its last child will have it received again, by whom it may be. */
		tetheri_count_add(counts, forwarded, 1);
	} else if (is_home(home)) {
		tetheri_count_add(counts, run_home, 1);
		note_usual(run, word);
		tetheri_run_destructor(run->runner, node);
	} else {
		(void)tetheri_orphan(node, TETHERI_BY_DRAIN, NULL);
	}
}

/* False: its callback has left for another owner. */
static inline __attribute__((always_inline)) bool run_one(struct tetheri_run *run, struct tether *node)
{
	if (tetheri_likely(is_usual(run, node)))
		return run_usual(run, node);
	run_node(run, node);
	return comes_back(run->slot);
}

static inline struct tether *next_taken(struct tetheri_slot *slot)
{
	if (!slot->taken.first)
		(void)tetheri_inbox_take(slot);
	struct tether *node = tetheri_list_pop(&slot->taken);
	if (node)
		TETHERI_PREFETCH((const void *)(uintptr_t)~__atomic_load_n(&node->hint_, __ATOMIC_RELAXED));
	return node;
}

/* `later` and, inside a drain, `taken` and the inbox, up to max_nodes (0: all). */
size_t tetheri_run_lists(struct tetheri_run *run, size_t max_nodes)
{
	size_t handled = 0;

	while (max_nodes == 0 || handled < max_nodes) {
		struct tether *node = tetheri_list_pop(&run->runner->later);

		if (tetheri_likely(!node) && run->draining)
			node = next_taken(run->slot);
		if (!node)
			break;
		handled++;
		if (!run_one(run, node))
			break;
	}
	return handled;
}

void tetheri_run_taken(struct tetheri_run *run)
{
	struct tether *node;

	while ((node = tetheri_list_pop(&run->slot->taken)))
		if (!run_one(run, node))
			break;
}

void tetheri_run_here(struct tether *tag)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, false);
	tetheri_run_destructor(run.runner, tag);
	if (run.runner->later.first && comes_back(run.slot))
		(void)tetheri_run_lists(&run, 0);
}

void tetheri_run_queue(struct tether *node)
{
	struct tetheri_runner *runner = tetheri_runner();

	tetheri_count_add(tetheri_counts_of(runner), received, 1);
	tetheri_list_append(&runner->later, node);
}

void tetheri_run_again(struct tether *tag)
{
	tetheri_run_queue(tag);
	if (!tetheri_thread.active)
		run_rest(tetheri_runner());
}

void tetheri_run_queued(void)
{
	if (!tetheri_in_destructor())
		run_rest(tetheri_runner());
}

void tetheri_run_later(struct tether *tag)
{
	tetheri_run_queue(tag);
	tetheri_run_queued();
}
