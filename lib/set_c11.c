/* set_c11.c - the sets of set.h on C11 atomics, for ThreadSanitizer and for targets without libck.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>

#include "set.h"

#define CAPACITY (1 << 16)
#define PROBES 64

static _Atomic uintptr_t table[TETHERI_SETS][CAPACITY];

static _Atomic uintptr_t *place(enum tetheri_set_name set, uintptr_t key, unsigned probe)
{
	uint64_t h = key * UINT64_C(0x9e3779b97f4a7c15);

	return &table[set][((h >> 32) + probe) % CAPACITY];
}

/* Relaxed everywhere: the numbers are compared, nothing is read through them. */
bool tetheri_set_has(enum tetheri_set_name set, uintptr_t key)
{
	for (unsigned probe = 0; probe < PROBES; probe++) {
		uintptr_t found = atomic_load_explicit(place(set, key, probe), memory_order_relaxed);
		if (found == key || found == 0)
			return found == key;
	}
	return false;
}

enum tetheri_set_result tetheri_set_add(enum tetheri_set_name set, uintptr_t key)
{
	for (unsigned probe = 0; probe < PROBES; probe++) {
		uintptr_t found = 0;
		if (atomic_compare_exchange_strong_explicit(place(set, key, probe), &found, key, memory_order_relaxed,
		                                            memory_order_relaxed))
			return TETHERI_SET_ADDED;
		if (found == key)
			return TETHERI_SET_THERE;
	}
	return TETHERI_SET_FULL;
}
