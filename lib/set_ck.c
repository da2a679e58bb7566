/* set_ck.c - the sets of set.h on ConcurrencyKit's ck_hs: lock-free readers, one writer at a time.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stddef.h>

#include <ck_hs.h>
#include <ck_pr.h>
#include <ck_spinlock.h>

#include "set.h"

#define TRIES 1000

/* ck_hs grows by making a map of twice the size. Maps come from here and are never given back, as a
 * reader may still be in an old one. */
#define NUMBERS_ARENA_BYTES ((size_t)1 << 20) /* full beyond 10,000 members */
#define OBJECTS_ARENA_BYTES ((size_t)9 << 19) /* all maps up to the last one, and their heads */
#define FIRST_CAPACITY 1024
#define LAST_CAPACITY (1 << 18) /* objects: half of it is used, so that look-ups stay short */

static _Alignas(64) unsigned char types_memory[NUMBERS_ARENA_BYTES], sites_memory[NUMBERS_ARENA_BYTES],
	stacks_memory[OBJECTS_ARENA_BYTES];

static struct {
	unsigned char *memory;
	size_t bytes, used;
} arena[TETHERI_SETS] = {[TETHERI_SET_TYPES] = {types_memory, sizeof types_memory, 0},
                         [TETHERI_SET_SITES] = {sites_memory, sizeof sites_memory, 0},
                         [TETHERI_SET_STACKS] = {stacks_memory, sizeof stacks_memory, 0}};

static struct {
	ck_hs_t hs;
	ck_spinlock_t lock; /* numbers; objects have their user's */
	_Atomic bool ready;
} sets[TETHERI_SETS];

static void *take(enum tetheri_set_name set, size_t bytes)
{
	size_t rounded = (bytes + 63) & ~(size_t)63;

	if (rounded > arena[set].bytes - arena[set].used)
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

static void *take_stacks(size_t bytes)
{
	return take(TETHERI_SET_STACKS, bytes);
}

static void keep(void *memory, size_t bytes, bool deferred)
{
	(void)memory;
	(void)bytes;
	(void)deferred;
}

static struct ck_malloc allocators[TETHERI_SETS] = {[TETHERI_SET_TYPES] = {.malloc = take_types, .free = keep},
                                                    [TETHERI_SET_SITES] = {.malloc = take_sites, .free = keep},
                                                    [TETHERI_SET_STACKS] = {.malloc = take_stacks, .free = keep}};

/* Under the set's lock. */
static bool is_ready(enum tetheri_set_name set, unsigned mode, ck_hs_hash_cb_t *hash, ck_hs_compare_cb_t *same)
{
	if (atomic_load_explicit(&sets[set].ready, memory_order_relaxed))
		return true;
	if (!ck_hs_init(&sets[set].hs, CK_HS_MODE_SPMC | mode, hash, same, &allocators[set], FIRST_CAPACITY, 0))
		return false;
	atomic_store_explicit(&sets[set].ready, true, memory_order_release);
	return true;
}

/* ---- Numbers ---------------------------------------------------------------------------------- */

static unsigned long hash_number(const void *key, unsigned long seed)
{
	uint64_t h = ((uintptr_t)key ^ seed) * UINT64_C(0x9e3779b97f4a7c15);

	return h ^ (h >> 32);
}

static bool same_number(const void *a, const void *b)
{
	return a == b;
}

bool tetheri_set_has(enum tetheri_set_name set, uintptr_t key)
{
	const void *number = (const void *)key;

	/* Acquire: pairs with the release in is_ready, so the table is initialised. */
	if (!atomic_load_explicit(&sets[set].ready, memory_order_acquire))
		return false;
	return ck_hs_get(&sets[set].hs, hash_number(number, 0), number) != NULL;
}

static enum tetheri_set_result add_locked(enum tetheri_set_name set, const void *number)
{
	ck_hs_t *hs = &sets[set].hs;

	if (!is_ready(set, CK_HS_MODE_DIRECT, hash_number, same_number))
		return TETHERI_SET_FULL;
	if (ck_hs_get(hs, hash_number(number, 0), number))
		return TETHERI_SET_THERE;
	return ck_hs_put(hs, hash_number(number, 0), number) ? TETHERI_SET_ADDED : TETHERI_SET_FULL;
}

enum tetheri_set_result tetheri_set_add(enum tetheri_set_name set, uintptr_t key)
{
	const void *number = (const void *)key;

	if (tetheri_set_has(set, key))
		return TETHERI_SET_THERE;
	/* Bounded: the holder may be the very code that a signal handler interrupted to get here. */
	for (int i = 0; i < TRIES; i++) {
		if (ck_spinlock_trylock(&sets[set].lock)) {
			enum tetheri_set_result result = add_locked(set, number);
			ck_spinlock_unlock(&sets[set].lock);
			return result;
		}
		ck_pr_stall();
	}
	return TETHERI_SET_BUSY;
}

/* What its holder left is sound: nothing is ever taken out, a member is one store, a larger map is published by one. */
void tetheri_set_restart(void)
{
	for (unsigned set = 0; set < TETHERI_SETS; set++)
		ck_spinlock_init(&sets[set].lock);
}

/* ---- Objects ---------------------------------------------------------------------------------- */

static unsigned long hash_object(const void *object, unsigned long seed)
{
	return ((const struct tetheri_object *)object)->hash ^ seed;
}

static bool same_object(const void *a, const void *b)
{
	return tetheri_object_is_like(a, b);
}

const struct tetheri_object *tetheri_set_find(enum tetheri_set_name set, const struct tetheri_object *like)
{
	/* Acquire: as in tetheri_set_has. */
	if (!atomic_load_explicit(&sets[set].ready, memory_order_acquire))
		return NULL;
	return ck_hs_get(&sets[set].hs, like->hash, like);
}

enum tetheri_set_result tetheri_set_put(enum tetheri_set_name set, const struct tetheri_object *object)
{
	ck_hs_t *hs = &sets[set].hs;

	if (!is_ready(set, CK_HS_MODE_OBJECT, hash_object, same_object) || ck_hs_count(hs) >= LAST_CAPACITY / 2)
		return TETHERI_SET_FULL;
	/* The object, before whoever finds it: ck_hs leaves that to its users. */
	ck_pr_fence_store();
	return ck_hs_put_unique(hs, object->hash, object) ? TETHERI_SET_ADDED : TETHERI_SET_FULL;
}
