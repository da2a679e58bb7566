/* owner.c - owners: numbers that are never reused, the table of slots, a thread's beginning and end.
 * SPDX-License-Identifier: MIT
 *
 * An id is generation << 20 | index of the owner's slot. Slots are never freed, so any id, however
 * stale, leads to memory that is a slot; the slot's own id then tells whether it is still meant.
 *
 *     thread's first use -> open a slot (reuse the one that has been free longest, next generation)
 *     ...
 *     last round of pthread key destructors, or tether_owner_exit()
 *        run what is in the inbox, until it is quiet; XCHG the head to CLOSED, run what that returned (rest.c)
 *        wait for wake-ups on their way, close the descriptor
 *        counters join the total, the name goes to the ring of the departed, the slot becomes free
 *
 * Invariant: no id is given out twice. A slot's generation only grows; all start at one random value, so
 *   that another copy of the library in the process has other ids (and finds ours to be none of its).
 * Invariant: tether_self_ keeps the id after the end, so that what a later TLS destructor drops of its
 *   own is still destroyed here; the slot is not the thread's any more and is not touched. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "probe.h"

/* The file that carries gdb's commands: a static library has to give it too. */
__asm__(".globl tetheri_gdb_script");

#define EXIT_NODES 100000
#define NO_INDEX UINT32_MAX

__thread tether_owner_t tether_self_ = TETHER_NOBODY_;
__thread tether_owner_t tether_open_self_ = TETHER_NOBODY_;
__thread struct tetheri_thread tetheri_thread;
_Atomic(struct tetheri_slot *) tetheri_chunk[TETHERI_CHUNKS];
uint64_t tetheri_first_generation;

static struct {
	pthread_mutex_t lock;
	_Atomic uint32_t size;          /* slots made; read by anyone */
	uint32_t free_first, free_last; /* first freed, first used again */
	uint64_t numbers;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .free_first = NO_INDEX, .free_last = NO_INDEX};

void tetheri_table_lock(void)
{
	pthread_mutex_lock(&table.lock);
}

void tetheri_table_unlock(void)
{
	pthread_mutex_unlock(&table.lock);
}

uint32_t tetheri_table_size(void)
{
	/* Acquire: pairs with the release in slot_new, so that the chunks are there. */
	return atomic_load_explicit(&table.size, memory_order_acquire);
}

struct tetheri_slot *tetheri_table_at(uint32_t index)
{
	/* Relaxed: the size that was read brought it. */
	return &atomic_load_explicit(&tetheri_chunk[index / TETHERI_CHUNK_SLOTS], memory_order_relaxed)[index % TETHERI_CHUNK_SLOTS];
}

/* ---- The beginning --------------------------------------------------------------------------- */

static void drain_at_exit(void *context)
{
	(void)context;
	(void)tether_drain(EXIT_NODES);
}

/* Of all owners only those that the calling thread is or is inside of are drained; what is pending for others is said,
 * and stays reachable. */
static void at_exit(void)
{
	tetheri_batch_flush();
	if (tetheri_option(exit_drain))
		tetheri_logical_visit_mine(drain_at_exit, NULL);
	tetheri_summary_at_exit();
	tetheri_table_lock();
	for (uint32_t i = 0; i < tetheri_table_size(); i++)
		tetheri_inbox_show(tetheri_table_at(i));
	tetheri_table_unlock();
}

static uint64_t choose_generation(void)
{
	uint64_t random = 0;
	struct timespec now;

	/* Raw: getrandom() is a cancellation point. */
	if (syscall(SYS_getrandom, &random, sizeof random, GRND_NONBLOCK) != (long)sizeof random) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		random = ((uint64_t)now.tv_nsec ^ (uintptr_t)&table ^ (uint64_t)now.tv_sec << 30) * UINT64_C(0x9e3779b97f4a7c15);
	}
	/* 42 of the 43 bits that TETHERI_DROPPED_BIT leaves to it: room for 2^42 owners per slot. Never 0. */
	return (random >> 22) | 1;
}

/* Under the lock, which a fork holds: pthread_once() would begin anew in a child, where another thread was at it. */
static void start_library(void)
{
	int saved_errno = errno;

	if (tetheri_first_generation != 0)
		return;
	tetheri_first_generation = choose_generation();
	tetheri_exit_start();
	atexit(at_exit);
	errno = saved_errno;
}

/* Under the lock. */
static struct tetheri_slot *slot_new(void)
{
	uint32_t index = tetheri_table_size();
	void *memory;

	if (index == TETHERI_CHUNKS * TETHERI_CHUNK_SLOTS)
		return NULL;
	if (index % TETHERI_CHUNK_SLOTS == 0) {
		/* malloc'd and reachable from a global, so that leak checkers follow what is in an inbox. */
		if (posix_memalign(&memory, TETHERI_CACHE_LINE, TETHERI_CHUNK_SLOTS * sizeof(struct tetheri_slot)) != 0)
			return NULL;
		memset(memory, 0, TETHERI_CHUNK_SLOTS * sizeof(struct tetheri_slot));
		struct tetheri_slot *slots = memory;
		for (uint32_t i = 0; i < TETHERI_CHUNK_SLOTS; i++)
			tetheri_inbox_close(&slots[i]);
		/* Release: the zeroes and the closed inboxes, before any thread finds the chunk. */
		atomic_store_explicit(&tetheri_chunk[index / TETHERI_CHUNK_SLOTS], slots, memory_order_release);
	}
	/* Release: the chunk, before who reads the size without the lock. */
	atomic_store_explicit(&table.size, index + 1, memory_order_release);
	struct tetheri_slot *slot = tetheri_table_at(index);
	slot->index = index;
	slot->read_fd = slot->write_fd = -1;
	return slot;
}

/* Under the lock. */
static struct tetheri_slot *slot_reuse(void)
{
	struct tetheri_slot *slot = tetheri_table_at(table.free_first);

	table.free_first = slot->next_free;
	if (table.free_first == NO_INDEX)
		table.free_last = NO_INDEX;
	return slot;
}

/* Under the lock. A slot that nobody had yet has id 0. */
static uint64_t next_id(const struct tetheri_slot *slot)
{
	uint64_t id = atomic_load_explicit(&slot->id, memory_order_relaxed);

	return id ? id + (UINT64_C(1) << TETHERI_INDEX_BITS) : tetheri_first_generation << TETHERI_INDEX_BITS | slot->index;
}

/* What reports say of the new owner. */
static void slot_begin(struct tetheri_slot *slot, tetheri_origin_t made, const char *name, int tid)
{
	atomic_store_explicit(&slot->number, ++table.numbers, memory_order_relaxed);
	atomic_store_explicit(&slot->tid, tid, memory_order_relaxed);
	atomic_store_explicit(&slot->made, made, memory_order_relaxed);
	atomic_store_explicit(&slot->since, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->took, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->drained, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->doing, 0, memory_order_relaxed);
	if (name)
		tetheri_name_write(&slot->name, name);
	else
		tetheri_name_from_thread(&slot->name);
}

struct tetheri_slot *tetheri_slot_open(tetheri_origin_t made, const char *name, bool is_logical)
{
	tetheri_table_lock();
	start_library();
	struct tetheri_slot *slot = table.free_first != NO_INDEX ? slot_reuse() : slot_new();
	if (slot) {
		uint64_t id = next_id(slot);
		slot_begin(slot, made, name, is_logical ? 0 : (int)syscall(SYS_gettid));
		slot->in_use = true;
		slot->parks = slot->lingers = slot->lingered = slot->ending = false;
		slot->lulls = slot->takes_left = 0;
		slot->outer = NULL;
		slot->active = NULL;
		/* Release: who finds the id finds what the last owner left in order. Before the inbox is open: else the
		 * last owner would seem to live again. */
		atomic_store_explicit(&slot->id, id, memory_order_release);
		tetheri_loans_begin(slot); /* after the id: who lends to the last owner finds that, or the list closed */
		tetheri_inbox_open(slot);
		/* Release: who enters it finds all this. */
		atomic_store_explicit(&slot->inside, is_logical ? id : 0, memory_order_release);
	}
	tetheri_table_unlock();
	return slot;
}

/* Under the lock; the inbox is closed and nothing is in it. */
static void slot_free(struct tetheri_slot *slot)
{
	slot->next_free = NO_INDEX;
	if (table.free_last != NO_INDEX)
		tetheri_table_at(table.free_last)->next_free = slot->index;
	else
		table.free_first = slot->index;
	table.free_last = slot->index;
}

void tetheri_owner_become(struct tetheri_slot *slot)
{
	struct tetheri_thread *thread = &tetheri_thread;

	if (thread->slot) {
		thread->slot->active = thread->active;
		thread->active = slot->active;
	}
	thread->slot = slot;
	tether_self_ = atomic_load_explicit(&slot->id, memory_order_relaxed);
	tether_open_self_ = tetheri_slot_is_open(slot) ? tether_self_ : TETHER_NOBODY_;
}

struct tetheri_slot *tetheri_owner_make(const void *caller)
{
	struct tetheri_thread *thread = &tetheri_thread;

	if (thread->slot || thread->ended)
		return thread->slot;
	if (tether_self_ != TETHER_NOBODY_) {
		/* The word is shared with a copy of the library that an executable exports in part. It is
		 * that copy's, and its objects'. */
		tetheri_report_call(TETHER_OTHER_COPY, "make an owner", caller);
		return NULL;
	}
	tetheri_options_load();
	if (thread->slot) /* the program's defaults used the library */
		return thread->slot;
	struct tetheri_slot *slot = tetheri_slot_open(tetheri_origin_here(__builtin_frame_address(0), caller), NULL, false);
	/* What ends it with the thread may be refused memory as well. */
	if (slot && !tetheri_exit_watch(thread)) {
		tetheri_table_lock();
		slot->in_use = false;
		tetheri_inbox_close(slot);
		slot_free(slot);
		tetheri_table_unlock();
		slot = NULL;
	}
	if (!slot) {
		tetheri_report_call(TETHER_NO_OWNER, "make an owner", caller);
		return NULL;
	}
	thread->own = slot;
	tetheri_owner_become(slot);
	tetheri_fork_adopt(slot);
	TETHERI_PROBE_OWNER_START(tether_self_, atomic_load_explicit(&slot->number, memory_order_relaxed));
	return slot;
}

/* ---- The end --------------------------------------------------------------------------------- */

void tetheri_owner_finish(struct tetheri_slot *slot)
{
	/* A destructor may leave by an exception, and this be called again: it goes on where it was. */
	tetheri_rest(slot);
	tetheri_loans_end(slot);
	tetheri_limit_end(slot);
	tetheri_wake_end(slot);
	TETHERI_PROBE_OWNER_END(tether_self_, atomic_load_explicit(&slot->number, memory_order_relaxed));
}

void tetheri_owner_end(struct tetheri_slot *slot)
{
	tetheri_batch_close(slot);
	tetheri_owner_finish(slot);
	tetheri_batch_close(slot); /* of a destructor that has run */
	tetheri_thread.ended = true;
	atomic_signal_fence(memory_order_seq_cst); /* a handler in between makes no second owner */
	tetheri_thread.slot = tetheri_thread.own = NULL;
	tetheri_slot_retire(slot);
}

void tetheri_slot_retire(struct tetheri_slot *slot)
{
	tetheri_table_lock();
	tetheri_stats_retire(slot);
	tetheri_name_remember(slot);
	slot_free(slot);
	tetheri_table_unlock();
}

void tetheri_owner_lose(struct tetheri_slot *slot)
{
	tetheri_name_remember(slot);
	atomic_store_explicit(&slot->lost, atomic_load_explicit(&slot->id, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(&slot->tid, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->inside, 0, memory_order_relaxed);
	slot->runner = (struct tetheri_runner){.draining = false};
	slot->outer = NULL;
	slot->active = NULL;
	slot->in_use = false;
	slot_free(slot);
}

bool tetheri_owner_is_lost(tether_owner_t id)
{
	struct tetheri_slot *slot;

	/* Relaxed: it was written when there was one thread. */
	return tetheri_owner_find(id, &slot) != TETHERI_NOT_OURS && atomic_load_explicit(&slot->lost, memory_order_relaxed) == id;
}

/* ---- The public calls ------------------------------------------------------------------------ */

tether_owner_t tether_self(void)
{
	if (tetheri_unlikely(tether_self_ == TETHER_NOBODY_) && !tetheri_owner_make(TETHERI_CALLER))
		return 0;
	return tether_self_;
}

void tether_self_set_name(const char *name)
{
	struct tetheri_slot *slot = tetheri_owner_make(TETHERI_CALLER);

	if (slot && name)
		tetheri_name_write(&slot->name, name);
	else if (slot)
		tetheri_name_from_thread(&slot->name);
}

bool tether_owner_is_alive(tether_owner_t owner)
{
	struct tetheri_slot *slot;

	/* Asked again: what is open may be the slot's next owner. */
	return tetheri_owner_find(owner, &slot) == TETHERI_ALIVE && tetheri_slot_is_open(slot) &&
	       tetheri_owner_find(owner, &slot) == TETHERI_ALIVE;
}

void tetheri_owner_describe(tether_owner_t id, struct tetheri_who *out)
{
	struct tetheri_slot *slot;

	*out = (struct tetheri_who){.number = 0};
	switch (tetheri_owner_find(id, &slot)) {
	case TETHERI_ALIVE:
		out->slot = slot;
		out->number = atomic_load_explicit(&slot->number, memory_order_relaxed);
		out->alive = tether_owner_is_alive(id);
		tetheri_name_read(&slot->name, out->name);
		break;
	case TETHERI_EXITED:
		tetheri_name_recall(id, out);
		break;
	case TETHERI_NOT_OURS:
		break;
	}
	out->lost = tetheri_owner_is_lost(id);
}

uint64_t tether_owner_number(tether_owner_t owner)
{
	struct tetheri_who who;

	tetheri_owner_describe(owner, &who);
	return who.number;
}

void tether_owner_exit(void)
{
	struct tetheri_slot *slot = tetheri_thread.slot;

	if (!slot)
		return;
	/* Those that it left halfway wait for this owner. */
	if (tetheri_thread.active || slot != tetheri_thread.own || tetheri_thread.halfway > 0) {
		tetheri_report_call(TETHER_BAD_CALL, "tether_owner_exit", TETHERI_CALLER);
		return;
	}
	tetheri_owner_end(slot);
}
