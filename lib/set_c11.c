/* set_c11.c - the sets of set.h on C11 atomics, for ThreadSanitizer and for targets without libck.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stddef.h>

#include "set.h"

/* ---- Numbers ---------------------------------------------------------------------------------- */

#define NUMBERS_CAPACITY (1 << 16)
#define NUMBERS_PROBES 64

static _Atomic uintptr_t numbers[TETHERI_SET_STACKS][NUMBERS_CAPACITY];

static _Atomic uintptr_t *place(enum tetheri_set_name set, uintptr_t key, unsigned probe)
{
	uint64_t h = key * UINT64_C(0x9e3779b97f4a7c15);

	return &numbers[set][((h >> 32) + probe) % NUMBERS_CAPACITY];
}

/* Relaxed everywhere: the numbers are compared, nothing is read through them. */
bool tetheri_set_has(enum tetheri_set_name set, uintptr_t key)
{
	for (unsigned probe = 0; probe < NUMBERS_PROBES; probe++) {
		uintptr_t found = atomic_load_explicit(place(set, key, probe), memory_order_relaxed);
		if (found == key || found == 0)
			return found == key;
	}
	return false;
}

enum tetheri_set_result tetheri_set_add(enum tetheri_set_name set, uintptr_t key)
{
	for (unsigned probe = 0; probe < NUMBERS_PROBES; probe++) {
		uintptr_t found = 0;
		if (atomic_compare_exchange_strong_explicit(place(set, key, probe), &found, key, memory_order_relaxed,
		                                            memory_order_relaxed))
			return TETHERI_SET_ADDED;
		if (found == key)
			return TETHERI_SET_THERE;
	}
	return TETHERI_SET_FULL;
}

void tetheri_set_restart(void)
{
	/* There is no lock. */
}

/* ---- Objects ---------------------------------------------------------------------------------- */

/* Half of it is used, so that look-ups stay short. Invariant: there is always an empty place, where a
 * search ends. */
#define OBJECTS_CAPACITY (1 << 18)

static struct objects {
	_Atomic(const struct tetheri_object *) place[OBJECTS_CAPACITY];
	uint32_t count; /* under its user's lock */
} objects[TETHERI_SETS - TETHERI_SET_STACKS];

const struct tetheri_object *tetheri_set_find(enum tetheri_set_name set, const struct tetheri_object *like)
{
	struct objects *in = &objects[set - TETHERI_SET_STACKS];

	for (uint64_t i = like->hash;; i++) {
		/* Acquire: pairs with the release in tetheri_set_put, so the object is whole. */
		const struct tetheri_object *found = atomic_load_explicit(&in->place[i % OBJECTS_CAPACITY], memory_order_acquire);
		if (!found || tetheri_object_is_like(found, like))
			return found;
	}
}

enum tetheri_set_result tetheri_set_put(enum tetheri_set_name set, const struct tetheri_object *object)
{
	struct objects *in = &objects[set - TETHERI_SET_STACKS];
	uint64_t i = object->hash;

	if (in->count >= OBJECTS_CAPACITY / 2)
		return TETHERI_SET_FULL;
	in->count++;
	/* Relaxed: we are the only writer. */
	while (atomic_load_explicit(&in->place[i % OBJECTS_CAPACITY], memory_order_relaxed))
		i++;
	/* Release: the object, before whoever finds it. */
	atomic_store_explicit(&in->place[i % OBJECTS_CAPACITY], object, memory_order_release);
	return TETHERI_SET_ADDED;
}
