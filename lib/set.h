/* set.h - sets that only grow: lock-free look-ups, no allocation, no failure but "full".
 * SPDX-License-Identifier: MIT
 *
 * Two files implement them, one is built: set_ck.c on ConcurrencyKit's ck_hs, and set_c11.c on C11
 * atomics, for ThreadSanitizer (libck is precompiled and it cannot see into it) and for targets
 * without libck. Both live in static memory: a report may not call malloc. */
#ifndef TETHER_SET_H
#define TETHER_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#pragma GCC visibility push(hidden)

enum tetheri_set_name {
	/* Sets of numbers. */
	TETHERI_SET_TYPES, /* addresses of the types that were bound */
	TETHERI_SET_SITES, /* hashes of the sites that were reported */
	/* Sets of objects. */
	TETHERI_SET_STACKS, /* the depot's */
	TETHERI_SETS
};

enum tetheri_set_result {
	TETHERI_SET_ADDED,
	TETHERI_SET_THERE,
	TETHERI_SET_FULL,
	TETHERI_SET_BUSY /* another thread, or the code that this signal handler interrupted, is adding */
};

/* ---- Numbers ---------------------------------------------------------------------------------- */

/* Any thread, signal handlers too. `key` is neither 0 nor UINTPTR_MAX. */
bool tetheri_set_has(enum tetheri_set_name set, uintptr_t key);
enum tetheri_set_result tetheri_set_add(enum tetheri_set_name set, uintptr_t key);

/* In a child of fork(): whoever was adding is not there. */
void tetheri_set_restart(void);

/* ---- Objects ---------------------------------------------------------------------------------- */

/* An object stays where it is, and does not change, once it is in a set. One to look for others by may lie
 * anywhere. */
struct tetheri_object {
	uint64_t hash; /* of the key: well mixed; equal keys have equal hashes */
	const void *key;
	uint32_t size; /* of the key, in bytes */
	uint32_t note; /* for its user: no part of the key */
};

static inline bool tetheri_object_is_like(const struct tetheri_object *a, const struct tetheri_object *b)
{
	return a->hash == b->hash && a->size == b->size && memcmp(a->key, b->key, a->size) == 0;
}

/* The object whose key is like that of `like`, or NULL. Any thread, signal handlers too. */
const struct tetheri_object *tetheri_set_find(enum tetheri_set_name set, const struct tetheri_object *like);
/* Add an object whose key is not there: ADDED or FULL. One thread at a time: its user's lock. */
enum tetheri_set_result tetheri_set_put(enum tetheri_set_name set, const struct tetheri_object *object);

#pragma GCC visibility pop

#endif
