/* set.h - a set of numbers that only grows: lock-free look-ups, no allocation, no failure but "full".
 * SPDX-License-Identifier: MIT
 *
 * Two files implement it, one is built: set_ck.c on ConcurrencyKit's ck_hs, and set_c11.c on C11
 * atomics, for ThreadSanitizer (libck is precompiled and it cannot see into it) and for targets
 * without libck. Both live in static memory: a report may not call malloc. */
#ifndef TETHER_SET_H
#define TETHER_SET_H

#include <stdbool.h>
#include <stdint.h>

enum tetheri_set_name {
	TETHERI_SET_TYPES, /* addresses of the types that were bound */
	TETHERI_SET_SITES, /* hashes of the sites that were reported */
	TETHERI_SETS
};

enum tetheri_set_result {
	TETHERI_SET_ADDED,
	TETHERI_SET_THERE,
	TETHERI_SET_FULL,
	TETHERI_SET_BUSY /* another thread, or the code that this signal handler interrupted, is adding */
};

/* Any thread, signal handlers too. `key` is neither 0 nor UINTPTR_MAX. */
bool tetheri_set_has(enum tetheri_set_name set, uintptr_t key);
enum tetheri_set_result tetheri_set_add(enum tetheri_set_name set, uintptr_t key);

#endif
