/* owner.c - owners: numbers that are never reused, the table of slots, a thread's beginning and end.
 * SPDX-License-Identifier: MIT
 *
 * An id is generation << 20 | index of the owner's slot. Slots are never freed, so any id, however
 * stale, leads to memory that is a slot; the slot's own id then tells whether it is still meant.
 *
 *     thread's first use -> open a slot (reuse the one that has been free longest, next generation)
 *     ...
 *     last round of pthread key destructors, or tether_owner_exit()
 *        run what is in the inbox, until it is quiet
 *        XCHG the head to CLOSED, run what that returned
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
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>

#include "internal.h"

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif

#define DEPARTED 1024
#define QUIET_NODES 100000
#define NO_INDEX UINT32_MAX

__thread tether_owner_t tether_self_ = TETHER_NOBODY_;
__thread struct tetheri_thread tetheri_thread;
_Atomic(struct tetheri_slot *) tetheri_chunk[TETHERI_CHUNKS];
uint64_t tetheri_first_generation;

/* Who has gone, for reports: written under the lock, read by anyone; `id` is cleared first and set last. */
static struct {
	_Atomic uint64_t id;
	_Atomic uint64_t number;
	struct tetheri_name name;
} departed[DEPARTED];

static struct {
	pthread_mutex_t lock;
	uint32_t size;                  /* slots made */
	uint32_t free_first, free_last; /* first freed, first used again */
	uint64_t numbers;
	uint64_t departures;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .free_first = NO_INDEX, .free_last = NO_INDEX};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

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
	return table.size;
}

struct tetheri_slot *tetheri_table_at(uint32_t index)
{
	/* Relaxed: under the lock. */
	return &atomic_load_explicit(&tetheri_chunk[index / TETHERI_CHUNK_SLOTS], memory_order_relaxed)[index % TETHERI_CHUNK_SLOTS];
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void name_write(struct tetheri_name *name, const char *text)
{
	uint64_t words[TETHERI_NAME_WORDS] = {0};

	memcpy(words, text, strnlen(text, sizeof words - 1));
	for (int i = 0; i < TETHERI_NAME_WORDS; i++)
		atomic_store_explicit(&name->word[i], words[i], memory_order_relaxed);
}

static void name_read(const struct tetheri_name *name, char *text)
{
	uint64_t words[TETHERI_NAME_WORDS];

	for (int i = 0; i < TETHERI_NAME_WORDS; i++)
		words[i] = atomic_load_explicit(&name->word[i], memory_order_relaxed);
	memcpy(text, words, sizeof words);
	text[TETHERI_NAME_BYTES - 1] = '\0';
}

static void name_from_thread(struct tetheri_name *name)
{
	char text[TETHERI_NAME_BYTES] = "";
	int saved_errno = errno;

	prctl(PR_GET_NAME, text);
	name_write(name, text);
	errno = saved_errno;
}

/* ---- The beginning --------------------------------------------------------------------------- */

static void end_thread(void *value);

/* Only the calling thread's inbox is drained; what is pending for others is said, and stays reachable. */
static void at_exit(void)
{
	(void)tether_drain(0);
	tetheri_report_at_exit();
	tetheri_table_lock();
	for (uint32_t i = 0; i < table.size; i++)
		tetheri_inbox_show(tetheri_table_at(i));
	tetheri_table_unlock();
}

static void start_library(void)
{
	uint64_t random = 0;
	struct timespec now;
	int saved_errno = errno;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		random = ((uint64_t)now.tv_nsec ^ (uintptr_t)&table ^ (uint64_t)now.tv_sec << 30) * UINT64_C(0x9e3779b97f4a7c15);
	}
	/* 42 of the 43 bits that TETHERI_DROPPED_BIT leaves to it: room for 2^42 owners per slot. Never 0. */
	tetheri_first_generation = (random >> 22) | 1;
	key_error = pthread_key_create(&key, end_thread);
	atexit(at_exit);
	errno = saved_errno;
}

/* Under the lock. */
static struct tetheri_slot *slot_new(void)
{
	uint32_t index = table.size;
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
	table.size++;
	struct tetheri_slot *slot = tetheri_table_at(index);
	slot->index = index;
	slot->read_fd = slot->write_fd = -1;
	atomic_store_explicit(&slot->id, tetheri_first_generation << TETHERI_INDEX_BITS | index, memory_order_relaxed);
	return slot;
}

/* Under the lock. */
static struct tetheri_slot *slot_reuse(void)
{
	struct tetheri_slot *slot = tetheri_table_at(table.free_first);

	table.free_first = slot->next_free;
	if (table.free_first == NO_INDEX)
		table.free_last = NO_INDEX;
	uint64_t id = atomic_load_explicit(&slot->id, memory_order_relaxed) + (UINT64_C(1) << TETHERI_INDEX_BITS);
	/* Release: what the last owner left is in order before anyone sends by the new id. */
	atomic_store_explicit(&slot->id, id, memory_order_release);
	return slot;
}

static struct tetheri_slot *slot_open(void)
{
	tetheri_table_lock();
	struct tetheri_slot *slot = table.free_first != NO_INDEX ? slot_reuse() : slot_new();
	if (slot) {
		atomic_store_explicit(&slot->number, ++table.numbers, memory_order_relaxed);
		name_from_thread(&slot->name);
		slot->parks = false;
		tetheri_inbox_open(slot);
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

struct tetheri_slot *tetheri_owner_make(void)
{
	struct tetheri_thread *thread = &tetheri_thread;

	if (thread->slot || thread->ended)
		return thread->slot;
	pthread_once(&once, start_library);
	struct tetheri_slot *slot = key_error == 0 ? slot_open() : NULL;
	/* What runs destructors at the thread's end may be refused memory as well. */
	if (slot && pthread_setspecific(key, thread) != 0) {
		tetheri_table_lock();
		tetheri_inbox_close(slot);
		slot_free(slot);
		tetheri_table_unlock();
		slot = NULL;
	}
	if (!slot) {
		tetheri_report_call(TETHER_NO_OWNER, "make an owner", TETHERI_CALLER);
		return NULL;
	}
	thread->slot = slot;
	tether_self_ = atomic_load_explicit(&slot->id, memory_order_relaxed);
	return slot;
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Under the lock. */
static void remember(const struct tetheri_slot *slot)
{
	unsigned place = table.departures++ % DEPARTED;

	/* Release and acquire fences are not needed: a reader compares `id` before and after, and what it
	 * prints may at worst mix two names, in a report. */
	atomic_store_explicit(&departed[place].id, 0, memory_order_release);
	atomic_store_explicit(&departed[place].number, atomic_load_explicit(&slot->number, memory_order_relaxed),
	                      memory_order_relaxed);
	for (int i = 0; i < TETHERI_NAME_WORDS; i++)
		atomic_store_explicit(&departed[place].name.word[i], atomic_load_explicit(&slot->name.word[i], memory_order_relaxed),
		                      memory_order_relaxed);
	atomic_store_explicit(&departed[place].id, atomic_load_explicit(&slot->id, memory_order_relaxed), memory_order_release);
}

static void run_until_quiet(struct tetheri_slot *slot)
{
	struct tetheri_run run __attribute__((cleanup(tetheri_run_leave)));

	tetheri_run_enter(&run, true);
	/* Bounded: others may send faster than we run; what is left then is what close returns. */
	(void)tetheri_run_lists(&run, QUIET_NODES);
	tetheri_inbox_close(slot);
	(void)tetheri_run_lists(&run, 0);
}

static void owner_end(struct tetheri_slot *slot)
{
	/* Twice over where a destructor leaves by an exception: each call goes on where the last one was. */
	run_until_quiet(slot);
	tetheri_wake_end(slot);
	tetheri_thread.slot = NULL;
	tetheri_thread.ended = true;
	tetheri_table_lock();
	tetheri_stats_retire(slot);
	remember(slot);
	slot_free(slot);
	tetheri_table_unlock();
}

/* The pthread key's destructor. It comes back each round until the last, so that destructors of other
 * keys which drop things find the owner still there. */
static void end_thread(void *value)
{
	struct tetheri_thread *thread = value;

	if (!thread->slot)
		return;
	if (++thread->exit_rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		if (pthread_setspecific(key, thread) == 0)
			return;
	}
	owner_end(thread->slot);
}

/* ---- The public calls ------------------------------------------------------------------------ */

tether_owner_t tether_self(void)
{
	if (tetheri_unlikely(tether_self_ == TETHER_NOBODY_) && !tetheri_owner_make())
		return 0;
	return tether_self_;
}

void tether_self_set_name(const char *name)
{
	struct tetheri_slot *slot = tetheri_owner_make();

	if (slot && name)
		name_write(&slot->name, name);
	else if (slot)
		name_from_thread(&slot->name);
}

bool tether_owner_is_alive(tether_owner_t owner)
{
	struct tetheri_slot *slot;

	return tetheri_owner_find(owner, &slot) == TETHERI_ALIVE && tetheri_slot_is_open(slot);
}

static void describe_departed(tether_owner_t id, struct tetheri_who *out)
{
	for (unsigned i = 0; i < DEPARTED; i++) {
		if (atomic_load_explicit(&departed[i].id, memory_order_acquire) != id)
			continue;
		out->number = atomic_load_explicit(&departed[i].number, memory_order_relaxed);
		name_read(&departed[i].name, out->name);
		return;
	}
}

void tetheri_owner_describe(tether_owner_t id, struct tetheri_who *out)
{
	struct tetheri_slot *slot;

	*out = (struct tetheri_who){.number = 0};
	switch (tetheri_owner_find(id, &slot)) {
	case TETHERI_ALIVE:
		out->number = atomic_load_explicit(&slot->number, memory_order_relaxed);
		out->alive = tetheri_slot_is_open(slot);
		name_read(&slot->name, out->name);
		break;
	case TETHERI_EXITED:
		describe_departed(id, out);
		break;
	case TETHERI_NOT_OURS:
		break;
	}
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
	if (slot->runner.draining || slot->runner.destroying) {
		tetheri_report_call(TETHER_BAD_CALL, "tether_owner_exit", TETHERI_CALLER);
		return;
	}
	owner_end(slot);
}
