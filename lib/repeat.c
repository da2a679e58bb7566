/* repeat.c - which violations were told before, and which were found to be suppressed.
 * SPDX-License-Identifier: MIT
 *
 * Told sites are hashes in a set (set.h). Suppressed ways, with the number of their suppression, are in a
 * direct-mapped table: who is displaced is looked for among the suppressions again.
 * Invariant: a site is entered when it is told, not when it is seen: another way to it may be suppressed.
 * Invariant: a file is its name. A script's may lie somewhere else each time it is compiled, and another's there then. */
#include <string.h>

#include "repeat.h"
#include "set.h"
#include "suppress.h"

#define WAYS 1024
#define NUMBER_MASK UINT64_C(0xffff)

/* A hash and, in its low bits, the number and one. Relaxed: each word says all. */
static _Atomic uint64_t suppressed[WAYS];

static uintptr_t mix(uintptr_t hash, uintptr_t value)
{
	return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

static uintptr_t mix_text(uintptr_t hash, const char *text)
{
	for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
		uintptr_t piece = 0;

		n = left < sizeof piece ? left : sizeof piece;
		memcpy(&piece, text, n);
		hash = mix(hash, piece);
	}
	return hash;
}

uintptr_t tetheri_repeat_key(const struct tetheri_event *event, const struct tetheri_stack *way)
{
	uintptr_t site = event->file ? mix_text((uintptr_t)event->line, event->file) : (uintptr_t)event->address;
	uintptr_t hash = mix(mix(mix(1, event->kind), site), (uintptr_t)event->type);

	for (uint32_t i = 0; way && i < way->depth; i++)
		hash = mix(hash, way->pc[i]);
	/* The set does not take 0 and all ones. */
	return (hash & (UINTPTR_MAX >> 1)) | 1;
}

bool tetheri_repeat_is(uintptr_t key)
{
	return tetheri_set_has(TETHERI_SET_SITES, key);
}

/* A full set lets everything through. */
bool tetheri_repeat_add(uintptr_t key)
{
	return tetheri_set_add(TETHERI_SET_SITES, key) != TETHERI_SET_THERE;
}

int tetheri_repeat_suppressed(uintptr_t key)
{
	uint64_t word = atomic_load_explicit(&suppressed[(key >> 16) % WAYS], memory_order_relaxed);

	return word != 0 && ((word ^ key) & ~NUMBER_MASK) == 0 ? (int)(word & NUMBER_MASK) - 1 : TETHERI_SUPPRESS_NONE;
}

void tetheri_repeat_suppress(uintptr_t key, int number)
{
	if ((unsigned)number < NUMBER_MASK)
		atomic_store_explicit(&suppressed[(key >> 16) % WAYS], (key & ~NUMBER_MASK) | ((unsigned)number + 1),
		                      memory_order_relaxed);
}
