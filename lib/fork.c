/* fork.c - what a fork leaves: one thread and what is its own; of the others, who they were.
 * SPDX-License-Identifier: MIT
 *
 *     prepare   block signals; take the locks, from the first to the last
 *     parent    release them; signals as they were
 *     child     every owner of another thread, and that another thread is inside of: lost. Its inbox is closed, its
 *               descriptor too, its slot is free
 *               all others: the same number, objects and inbox; a descriptor of its own, under the same number
 *               counters, and what was told: from zero
 *               release the locks; signals as they were; say what could not be done
 *
 * The kernel copies memory as of one instant: a thread that writes to a page which is being copied waits, so of each
 * thread's writes, and of those that another had seen when it wrote, none is missing before one that is there. A
 * thread that is gone thus stopped between two instructions, and all at the same moment. What it did under a lock of
 * `locks` is whole, as we hold that. Everything else must be sound at every step, or be mended here:
 *
 *   holder.h         who holds it is found to be gone; what they write says itself how it stays sound
 *   lists of nodes   see TETHERI_BEFORE_LINKING. They are walked from their first one, as `last` may be old
 *   sender           its node is published or not; the wake-up, the counts, the story of a stall may be missing, and
 *                    it may be counted as inside of a limit's callback
 *   logical owner    `inside` says who is in it: somebody who is gone, or nobody, and then it is at rest
 *   set_ck.c         a member is one store, a larger map is published by one; the spinlock is made anew
 *   suppress.c       readers are counted: the count is made anew
 *   side.c           its locks are free, as the kernel wipes them
 *   fd.c             a descriptor that another thread was adopting is not adopted
 *   tag in MOVING    its claimer is gone: it stays so, and a drop of it destroys nothing
 *
 * Invariant: locks are taken in the order of `locks`. Who holds one takes none that stands before it.
 * Invariant: the child's part calls no function of the program and no malloc until all is done.
 * Invariant: no signal handler runs between the fork and the end of the child's part. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "set.h"
#include "sink.h"
#include "suppress.h"

static const struct {
	void (*take)(void), (*release)(void);
} locks[] = {
	{tetheri_table_lock, tetheri_table_unlock},
	{tetheri_loans_lock, tetheri_loans_unlock},
	{tetheri_report_lock, tetheri_report_unlock},
};
#define LOCKS (sizeof locks / sizeof *locks)

_Atomic bool tetheri_fork_looks;

static uint64_t signals; /* as they were before; under the locks */

/* What lost owners had pending and is to be destroyed here, where the thread that forked had no owner: it waits for
 * the first that is made. Under the table's lock. */
static struct tetheri_list waiting;
static _Atomic bool is_waiting; /* something is in it */

static void prepare(void)
{
	const uint64_t all = UINT64_MAX;
	uint64_t before;

	/* Raw: a handler that the C library hides from its users is blocked, too. */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof before);
	for (size_t i = 0; i < LOCKS; i++)
		locks[i].take();
	signals = before;
}

static void release(void)
{
	uint64_t before = signals;

	for (size_t i = LOCKS; i > 0; i--)
		locks[i - 1].release();
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}

/* ---- The child -------------------------------------------------------------------------------- */

static tether_owner_t id_of(const struct tetheri_slot *slot)
{
	return atomic_load_explicit(&slot->id, memory_order_relaxed);
}

/* The thread's own, those that it is inside of, and those that nobody is inside of. */
static bool is_survivor(const struct tetheri_slot *slot)
{
	tether_owner_t inside = tetheri_logical_inside(slot);
	const struct tetheri_slot *own = tetheri_thread.own;

	if (inside == 0)
		return slot == own;
	return inside == id_of(slot) || (own && inside == id_of(own));
}

static bool is_living(tether_owner_t id, struct tetheri_slot **out)
{
	return tetheri_owner_find(id, out) == TETHERI_ALIVE && is_survivor(*out);
}

/* Of the library's own messages: what the survivor has sent comes back, and what he may hold a reference to is counted. */
static bool is_wanted(const struct tether_message *message, struct tetheri_slot **out)
{
	if (is_living(tetheri_transfer_sender(message), out))
		return true;
	*out = tetheri_thread.own;
	return tetheri_ref_is_held(message);
}

/* Who shall have a node that was pending for a lost owner? NULL: who is the first to become an owner. False: nobody,
 * it is forgotten. */
static bool find_heir(struct tether *node, struct tetheri_slot **out)
{
	uint64_t word = __atomic_load_n(&node->state_, __ATOMIC_RELAXED);
	tether_owner_t home = tetheri_home_of(node, word);

	if (home == TETHERI_WAITS) /* what it follows is on its way, and has it now: in no other list may it be */
		return false;
	if (is_living(home, out)) /* what it follows is his by now */
		return true;
	if (tetheri_word_type(word) == &tetheri_message_type)
		return is_wanted((const struct tether_message *)node, out);
	*out = tetheri_thread.own;
	return tetheri_word_type(word)->rules & TETHER_DIES_IN_CHILDREN;
}

/* A list, oldest first. */
static void keep(struct tether *node)
{
	struct tetheri_slot *heir;
	struct tether *next;

	for (; node; node = next) {
		next = tetheri_next(node);
		if (!find_heir(node, &heir))
			continue;
		tetheri_list_append(heir ? &heir->taken : &waiting, node);
		if (heir)
			tetheri_count_add(&heir->counts, received, 1);
	}
}

/* Newest first. Only nodes that somebody shall have are written to. */
static void keep_reversed(struct tether *node)
{
	struct tether *next, *first = NULL;
	struct tetheri_slot *heir;

	for (; node; node = next) {
		next = tetheri_next(node);
		if (!find_heir(node, &heir))
			continue;
		tetheri_set_next(node, (uintptr_t)first);
		first = node;
	}
	keep(first);
}

/* In the order in which it would have run them. */
static void keep_pending(const struct tetheri_slot *slot)
{
	keep(slot->runner.later.first);
	keep(slot->taken.first);
	keep_reversed(tetheri_inbox_newest(slot));
	keep_reversed(tetheri_inbox_newest_late(slot));
}

static void lose(struct tetheri_slot *slot)
{
	struct tetheri_list returned = {NULL, NULL};

	tetheri_loans_lost(slot, &returned);
	keep(returned.first);
	if (atomic_load_explicit(&tetheri_fork_looks, memory_order_relaxed))
		keep_pending(slot);
	tetheri_inbox_abandon(slot);
	tetheri_limit_forget(slot);
	tetheri_batch_forget(slot);
	tetheri_rest_forget(slot);
	tetheri_wake_forget(slot);
	tetheri_stats_clear(slot);
	tetheri_owner_lose(slot);
}

/* False: it is left without a descriptor. */
static bool renew(struct tetheri_slot *slot)
{
	uint64_t unhandled = tetheri_stats_unhandled(slot);

	tetheri_stats_clear(slot);
	tetheri_limit_renew(slot);
	int error = tetheri_wake_renew(slot);
	tetheri_stats_begin(slot, unhandled);
	return error == 0;
}

/* The lost ones first: their descriptors make room. False: an owner is left without one. */
static bool sort_out(void)
{
	uint32_t size = tetheri_table_size();
	bool is_whole = true;

	for (uint32_t i = 0; i < size; i++)
		if (tetheri_table_at(i)->in_use && !is_survivor(tetheri_table_at(i)))
			lose(tetheri_table_at(i));
	atomic_store_explicit(&is_waiting, waiting.first != NULL, memory_order_relaxed);
	tetheri_stats_restart(&waiting);
	for (uint32_t i = 0; i < size; i++)
		if (tetheri_table_at(i)->in_use)
			is_whole &= renew(tetheri_table_at(i));
	return is_whole;
}

bool tetheri_fork_is_waiting(void)
{
	/* Relaxed: a hint; the list is under the lock. */
	return atomic_load_explicit(&is_waiting, memory_order_relaxed);
}

void tetheri_fork_adopt(struct tetheri_slot *slot)
{
	if (tetheri_likely(!tetheri_fork_is_waiting()))
		return;
	tetheri_table_lock();
	atomic_store_explicit(&is_waiting, false, memory_order_relaxed);
	slot->taken = waiting;
	waiting = (struct tetheri_list){NULL, NULL};
	tetheri_stats_take_over(slot);
	tetheri_table_unlock();
}

static void begin_child(void)
{
	int saved_errno = errno;
	bool is_whole = sort_out();

	if (tetheri_thread.own)
		atomic_store_explicit(&tetheri_thread.own->tid, (int)syscall(SYS_gettid), memory_order_relaxed);
	tetheri_report_restart();
	tetheri_suppress_restart();
	tetheri_sink_restart();
	tetheri_set_restart();
	release();
	if (!is_whole)
		tetheri_report_call(TETHER_NO_WAKE, "fork", TETHERI_CALLER);
	errno = saved_errno;
}

/* When the library is loaded, so that each handler of the program's own is younger: prepare() then comes after theirs, and
 * begin_child() before. */
__attribute__((constructor)) static void watch_forks(void)
{
	int error = pthread_atfork(prepare, release, begin_child);

	if (error)
		tetheri_sink_warn("forks cannot be watched: %s; a child may wait for ever", strerrordesc_np(error));
}
