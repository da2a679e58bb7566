/* scratch.c - memory for making one report: a region from the kernel, and spares of it.
 * SPDX-License-Identifier: MIT
 *
 *     | struct | taken ... -> front      (free)      back <- ... strings |
 *
 * A spare has one holder at a time, as it is taken out of its place by an exchange: a signal handler that
 * interrupts a holder finds the place empty and takes the next one, or a new region. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "scratch.h"

#define REGION_BYTES ((size_t)1024 * 1024) /* pages that nothing touches cost nothing */
#define SPARES 4

struct tetheri_scratch {
	char *front, *back;
	uint64_t memory[];
};

static _Atomic(struct tetheri_scratch *) spares[SPARES];

static struct tetheri_scratch *map_region(void)
{
	int saved_errno = errno;
	void *region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	errno = saved_errno;
	return region == MAP_FAILED ? NULL : region;
}

struct tetheri_scratch *tetheri_scratch_get(void)
{
	struct tetheri_scratch *scratch = NULL;

	/* Acquire: pairs with the release in tetheri_scratch_put; its last holder has finished with it. */
	for (int i = 0; i < SPARES && !scratch; i++)
		scratch = atomic_exchange_explicit(&spares[i], NULL, memory_order_acquire);
	if (!scratch)
		scratch = map_region();
	if (!scratch)
		return NULL;
	scratch->front = (char *)scratch->memory;
	scratch->back = (char *)scratch + REGION_BYTES;
	return scratch;
}

void tetheri_scratch_put(struct tetheri_scratch *scratch)
{
	int saved_errno = errno;

	for (int i = 0; i < SPARES; i++) {
		struct tetheri_scratch *none = NULL;

		/* Release: see tetheri_scratch_get. */
		if (atomic_compare_exchange_strong_explicit(&spares[i], &none, scratch, memory_order_release, memory_order_relaxed))
			return;
	}
	munmap(scratch, REGION_BYTES);
	errno = saved_errno;
}

void *tetheri_scratch_take(struct tetheri_scratch *scratch, size_t bytes)
{
	size_t room = (size_t)(scratch->back - scratch->front);
	size_t rounded = (bytes + TETHERI_SCRATCH_ALIGN - 1) & ~(size_t)(TETHERI_SCRATCH_ALIGN - 1);
	void *taken = scratch->front;

	if (rounded < bytes || rounded > room)
		return NULL;
	scratch->front += rounded;
	return memset(taken, 0, bytes);
}

const char *tetheri_scratch_string(struct tetheri_scratch *scratch, const char *string, size_t bytes)
{
	size_t room = (size_t)(scratch->back - scratch->front);

	if (!string)
		return NULL;
	if (bytes >= room)
		return "";
	scratch->back -= bytes + 1;
	memcpy(scratch->back, string, bytes);
	scratch->back[bytes] = '\0';
	return scratch->back;
}
