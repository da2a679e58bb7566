/* side.c - what an object's tag has no room for: its label and its history.
 * SPDX-License-Identifier: MIT
 *
 * The hash of an object's address chooses one of 512 locks, and a bucket of eight places in each table:
 *
 *     the lock      the first 9 bits
 *     tables[0]     the first 9 bits of 512 buckets
 *     tables[1]     the first 10 bits of 1024
 *     ...
 *     tables[8]     the first 17 bits of 131,072
 *
 * so one lock covers an object's buckets in every table. A table is mapped when the buckets before it are full of
 * living objects; the first that found no room was the 870,000th, measured. What is known of a dead one stays until its place is wanted, the longest dead first.
 *
 * Invariant: an address is in one place at most.
 * Invariant: everything in a bucket is read and written under its lock only.
 * Invariant: a thread that waits for a lock holds none. A signal handler that interrupted a holder tries once and
 *   gives up, so every wait ends.
 * Invariant: after a fork all locks are free in the child (the kernel wipes their pages there), also those that other
 *   threads held. What these were writing may be half written, and is still safe to read.
 *
 * Addresses are kept complemented, so that leak checkers do not take them for references. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "side.h"

#define WAYS 8
#define LOCK_BITS 9
#define LOCKS (1U << LOCK_BITS)
#define TABLES 9

/* An address that is in the table, complemented; 0: the place is free. */
typedef uintptr_t tag_key;

struct entry {
	uint64_t noted; /* events, ever: the next goes to event[noted % TETHER_HISTORY_EVENTS] */
	char label[TETHERI_LABEL_BYTES];
	struct tetheri_side_event event[TETHER_HISTORY_EVENTS];
};

struct age {
	uint64_t ns : 63; /* when the last event was noted, or the label set */
	uint64_t is_dead : 1;
};

/* The two lines that a search reads come first. */
struct bucket {
	_Alignas(TETHERI_CACHE_LINE) tag_key key[WAYS];
	struct age age[WAYS];
	struct entry entry[WAYS];
};

struct lock {
	_Alignas(TETHERI_CACHE_LINE) _Atomic bool is_held;
};

struct place {
	struct bucket *bucket; /* NULL: none */
	unsigned way;
};

static _Atomic(void *) locks; /* struct lock[LOCKS] */
static _Atomic(void *) tables[TABLES];
static _Atomic uint64_t lost;

static tag_key key_of(const struct tether *tag)
{
	return ~(uintptr_t)tag;
}

/* Multiplications carry upwards only, so the first bits are the good ones. tools/gdb has the same. */
static uint64_t hash_of(const struct tether *tag)
{
	uint64_t h = (uintptr_t)tag * UINT64_C(0x9e3779b97f4a7c15);

	return (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
}

static void lose(uint64_t events)
{
	atomic_fetch_add_explicit(&lost, events, memory_order_relaxed);
}

/* ---- Memory, from the kernel ----------------------------------------------------------------- */

/* Raw, as a malloc that is checked for leaks or for races may stand behind mmap(). */
static TETHER_COLD_ void *map(_Atomic(void *) *where, size_t bytes, int advice)
{
	int saved_errno = errno;
	void *there = NULL;
	long mapped = syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mapped != -1) {
		(void)syscall(SYS_madvise, mapped, bytes, advice);
		/* Release: the advice before any use. Acquire: another thread was first, and its mapping is used. */
		if (atomic_compare_exchange_strong_explicit(where, &there, (void *)mapped, memory_order_acq_rel, memory_order_acquire))
			there = (void *)mapped;
		else
			(void)syscall(SYS_munmap, mapped, bytes);
	}
	errno = saved_errno;
	return there;
}

/* An object's bucket in a table; NULL if there is no such table. */
static struct bucket *bucket_find(unsigned number, uint64_t hash, bool may_map)
{
	if (number == TABLES)
		return NULL;
	/* Acquire: pairs with the release that published it. */
	struct bucket *table = atomic_load_explicit(&tables[number], memory_order_acquire);
	if (!table && may_map)
		table = map(&tables[number], sizeof *table * LOCKS << number, MADV_NOHUGEPAGE);
	return table ? &table[hash >> (64 - LOCK_BITS - number)] : NULL;
}

/* ---- Locks ----------------------------------------------------------------------------------- */

struct hold {
	struct lock *lock;
	bool was_inside;
};

static bool lock_try(struct lock *lock)
{
	bool is_held = false;

	/* Acquire: pairs with the release of the holder before. */
	return atomic_compare_exchange_strong_explicit(&lock->is_held, &is_held, true, memory_order_acquire, memory_order_relaxed);
}

/* Short: what it waits for is a thread between two of our own lines, unless that was preempted. */
static TETHER_COLD_ void lock_wait(struct lock *lock)
{
	struct timespec nap = {0, 50000};
	int saved_errno = errno;

	for (unsigned rounds = 1; !lock_try(lock); rounds++) {
		/* Raw: nanosleep() and sched_yield() may be cancellation points. */
		if (rounds < 100)
			TETHERI_PAUSE();
		else if (rounds < 200)
			syscall(SYS_sched_yield);
		else
			syscall(SYS_nanosleep, &nap, NULL); /* the holder's priority may be lower than ours */
	}
	errno = saved_errno;
}

/* False: there are no locks, and so no objects; or we are in a handler and what it interrupted stands in the way. */
static bool enter(struct hold *hold, uint64_t hash, bool may_map)
{
	/* Acquire: pairs with the release that published them. */
	struct lock *all = atomic_load_explicit(&locks, memory_order_acquire);

	if (tetheri_unlikely(!all) && may_map)
		all = map(&locks, LOCKS * sizeof *all, MADV_WIPEONFORK);
	if (tetheri_unlikely(!all))
		return false;
	hold->lock = &all[hash >> (64 - LOCK_BITS)];
	hold->was_inside = tetheri_thread.in_side;
	tetheri_thread.in_side = true;
	atomic_signal_fence(memory_order_seq_cst); /* a handler from here on waits for nothing */
	if (tetheri_likely(lock_try(hold->lock)))
		return true;
	if (hold->was_inside)
		return false;
	lock_wait(hold->lock);
	return true;
}

static void leave(const struct hold *hold)
{
	/* Release: what was done, before the next holder's acquire. */
	atomic_store_explicit(&hold->lock->is_held, false, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst); /* a handler up to here waits for nothing */
	tetheri_thread.in_side = hold->was_inside;
}

/* ---- Places, all under their lock ------------------------------------------------------------- */

static struct entry *entry_at(struct place place)
{
	return &place.bucket->entry[place.way];
}

static struct age *age_at(struct place place)
{
	return &place.bucket->age[place.way];
}

/* Of the object with this key; of none, if it is 0. */
static struct place place_find(uint64_t hash, tag_key key, bool may_map)
{
	struct place place;

	for (unsigned table = 0; (place.bucket = bucket_find(table, hash, may_map)); table++)
		for (place.way = 0; place.way < WAYS; place.way++)
			if (place.bucket->key[place.way] == key)
				return place;
	return place;
}

static void place_clear(struct place place, tag_key key)
{
	struct entry *entry = entry_at(place);

	place.bucket->key[place.way] = key;
	*age_at(place) = (struct age){.ns = 0};
	entry->noted = 0;
	entry->label[0] = '\0';
}

static bool is_evictable(struct place place, bool dead)
{
	return dead ? age_at(place)->is_dead : !entry_at(place)->label[0];
}

/* The one that was touched longest ago: of the dead, or of the living without a label. */
static struct place place_oldest(uint64_t hash, bool dead)
{
	struct place place, oldest = {.bucket = NULL};

	for (unsigned table = 0; (place.bucket = bucket_find(table, hash, false)); table++)
		for (place.way = 0; place.way < WAYS; place.way++)
			if (is_evictable(place, dead) && (!oldest.bucket || age_at(place)->ns < age_at(oldest)->ns))
				oldest = place;
	return oldest;
}

static struct place place_make(uint64_t hash, tag_key key, bool may_evict)
{
	struct place place = place_find(hash, 0, false);

	if (!place.bucket)
		place = place_oldest(hash, true);
	if (!place.bucket)
		place = place_find(hash, 0, true);
	if (!place.bucket && may_evict) {
		place = place_oldest(hash, false);
		if (place.bucket)
			lose(entry_at(place)->noted < TETHER_HISTORY_EVENTS ? entry_at(place)->noted : TETHER_HISTORY_EVENTS);
	}
	if (place.bucket)
		place_clear(place, key);
	return place;
}

/* ---- What is known of an object -------------------------------------------------------------- */

static bool is_beginning(enum tether_event_kind kind)
{
	return kind == TETHER_EVENT_BOUND || kind == TETHER_EVENT_PREPARED;
}

static bool is_end(enum tether_event_kind kind)
{
	return kind == TETHER_EVENT_DESTROYED || kind == TETHER_EVENT_ENDED;
}

/* What is known of a dead object does not belong to the one that lives there now, though its beginning was not noted. */
static void place_renew(struct place place, tag_key key)
{
	if (age_at(place)->is_dead)
		place_clear(place, key);
}

static void note(uint64_t hash, tag_key key, const struct tetheri_side_event *event)
{
	struct place place = place_find(hash, key, false);

	if (!place.bucket)
		place = place_make(hash, key, true);
	if (!place.bucket) {
		lose(1);
		return;
	}
	if (is_beginning(event->kind))
		place_clear(place, key);
	else if (!is_end(event->kind))
		place_renew(place, key);
	struct entry *entry = entry_at(place);
	entry->event[entry->noted++ % TETHER_HISTORY_EVENTS] = *event;
	*age_at(place) = (struct age){.ns = event->when_ns, .is_dead = is_end(event->kind)};
}

void tetheri_side_note(const struct tether *tag, enum tether_event_kind kind, uint64_t by, uint64_t at)
{
	struct tetheri_side_event event = {.when_ns = tetheri_now(), .by = by, .at = (uintptr_t)at, .kind = kind};
	uint64_t hash = hash_of(tag);
	struct hold hold;

	if (!enter(&hold, hash, true)) {
		lose(1);
		return;
	}
	note(hash, key_of(tag), &event);
	leave(&hold);
}

/* Cut before the character of UTF-8 that does not fit; anything else is cut where the room ends. */
static size_t label_length(const char *label)
{
	size_t length = strnlen(label, TETHERI_LABEL_BYTES);
	size_t cut = TETHERI_LABEL_BYTES - 1;

	if (length <= cut)
		return length;
	for (size_t i = cut; i > cut - 4; i--)
		if (((unsigned char)label[i] & 0xc0) != 0x80)
			return i;
	return cut;
}

static int set_label(uint64_t hash, tag_key key, const char *label)
{
	struct place place = place_find(hash, key, false);

	if (!place.bucket)
		place = place_make(hash, key, false);
	if (!place.bucket)
		return -ENOMEM;
	place_renew(place, key);
	struct entry *entry = entry_at(place);
	size_t length = label_length(label);
	memcpy(entry->label, label, length);
	memset(entry->label + length, 0, sizeof entry->label - length);
	age_at(place)->ns = tetheri_now();
	return 0;
}

static int remove_label(uint64_t hash, tag_key key)
{
	struct place place = place_find(hash, key, false);

	if (!place.bucket)
		return 0;
	entry_at(place)->label[0] = '\0';
	if (entry_at(place)->noted == 0)
		place_clear(place, 0);
	return 0;
}

int tetheri_side_set_label(const struct tether *tag, const char *label)
{
	uint64_t hash = hash_of(tag);
	bool is_label = label && *label;
	struct hold hold;

	if (!enter(&hold, hash, is_label))
		return is_label ? -ENOMEM : 0;
	int error = is_label ? set_label(hash, key_of(tag), label) : remove_label(hash, key_of(tag));
	leave(&hold);
	return error;
}

void tetheri_side_end(const struct tether *tag)
{
	uint64_t hash = hash_of(tag);
	struct hold hold;

	if (!enter(&hold, hash, false))
		return;
	struct place place = place_find(hash, key_of(tag), false);
	if (place.bucket)
		*age_at(place) = (struct age){.ns = tetheri_now(), .is_dead = true};
	leave(&hold);
}

static void copy(struct tetheri_side *out, const struct entry *entry)
{
	memcpy(out->label, entry->label, sizeof out->label);
	out->forgotten = entry->noted > TETHER_HISTORY_EVENTS ? entry->noted - TETHER_HISTORY_EVENTS : 0;
	for (uint64_t i = 0; i < TETHER_HISTORY_EVENTS && i < entry->noted; i++)
		out->event[i] = entry->event[(entry->noted - 1 - i) % TETHER_HISTORY_EVENTS];
}

bool tetheri_side_read(const struct tether *tag, struct tetheri_side *out)
{
	uint64_t hash = hash_of(tag);
	struct hold hold;

	*out = (struct tetheri_side){.forgotten = 0};
	if (!enter(&hold, hash, false))
		return false;
	struct place place = place_find(hash, key_of(tag), false);
	if (place.bucket)
		copy(out, entry_at(place));
	leave(&hold);
	return place.bucket;
}

uint64_t tetheri_side_lost(void)
{
	return atomic_load_explicit(&lost, memory_order_relaxed);
}
