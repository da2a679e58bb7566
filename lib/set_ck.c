/* set_ck.c - the sets of set.h on ConcurrencyKit's ck_hs: lock-free readers, one writer at a time.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stddef.h>

#include <ck_hs.h>
#include <ck_spinlock.h>

#include "set.h"

#define ARENA_BYTES (1 << 20)
#define FIRST_CAPACITY 1024
#define TRIES 1000

/* ck_hs grows by making a map of twice the size. Maps come from here and are never given back, as a
 * reader may still be in an old one; when it is used up the set is full, beyond 10,000 members. */
static struct {
	_Alignas(64) unsigned char memory[ARENA_BYTES];
	size_t used;
} arena[TETHERI_SETS];

static struct {
	ck_hs_t hs;
	ck_spinlock_t lock;
	_Atomic bool ready;
} sets[TETHERI_SETS];

static void *take(enum tetheri_set_name set, size_t bytes)
{
	size_t rounded = (bytes + 63) & ~(size_t)63;

	if (rounded > ARENA_BYTES - arena[set].used)
		return NULL;
	arena[set].used += rounded;
	return arena[set].memory + arena[set].used - rounded;
}

static void *take_types(size_t bytes)
{
	return take(TETHERI_SET_TYPES, bytes);
}

static void *take_sites(size_t bytes)
{
	return take(TETHERI_SET_SITES, bytes);
}

static void keep(void *memory, size_t bytes, bool deferred)
{
	(void)memory;
	(void)bytes;
	(void)deferred;
}

static struct ck_malloc allocators[TETHERI_SETS] = {{.malloc = take_types, .free = keep}, {.malloc = take_sites, .free = keep}};

static unsigned long hash(const void *key, unsigned long seed)
{
	uint64_t h = ((uintptr_t)key ^ seed) * UINT64_C(0x9e3779b97f4a7c15);

	return h ^ (h >> 32);
}

static bool same(const void *a, const void *b)
{
	return a == b;
}

bool tetheri_set_has(enum tetheri_set_name set, uintptr_t key)
{
	const void *object = (const void *)key;

	/* Acquire: pairs with the release below, so the table is initialised. */
	if (!atomic_load_explicit(&sets[set].ready, memory_order_acquire))
		return false;
	return ck_hs_get(&sets[set].hs, hash(object, 0), object) != NULL;
}

static enum tetheri_set_result add_locked(enum tetheri_set_name set, const void *object)
{
	ck_hs_t *hs = &sets[set].hs;

	if (!atomic_load_explicit(&sets[set].ready, memory_order_relaxed)) {
		if (!ck_hs_init(hs, CK_HS_MODE_SPMC | CK_HS_MODE_DIRECT, hash, same, &allocators[set], FIRST_CAPACITY, 0))
			return TETHERI_SET_FULL;
		atomic_store_explicit(&sets[set].ready, true, memory_order_release);
	}
	if (ck_hs_get(hs, hash(object, 0), object))
		return TETHERI_SET_THERE;
	return ck_hs_put(hs, hash(object, 0), object) ? TETHERI_SET_ADDED : TETHERI_SET_FULL;
}

enum tetheri_set_result tetheri_set_add(enum tetheri_set_name set, uintptr_t key)
{
	const void *object = (const void *)key;

	if (tetheri_set_has(set, key))
		return TETHERI_SET_THERE;
	/* Bounded: the holder may be the very code that a signal handler interrupted to get here. */
	for (int i = 0; i < TRIES; i++) {
		if (ck_spinlock_trylock(&sets[set].lock)) {
			enum tetheri_set_result result = add_locked(set, object);
			ck_spinlock_unlock(&sets[set].lock);
			return result;
		}
		ck_pr_stall();
	}
	return TETHERI_SET_BUSY;
}
