/* world.c - the memory of the library and of a scenario, wound back to where a schedule begins.
 * SPDX-License-Identifier: MIT
 *
 * Pages are write-protected. The first write to one faults: what it held is kept, and it may be written
 * from then on. To wind back is to copy those few pages, a microsecond or two.
 *
 * A fork is a world within a schedule: it begins as a copy, and is wound back to where it began.
 *
 *     reset                     keep                      rewind, rewind, ...        reset
 *       |-- owners, objects ------|-- a schedule ------------|-- the next ...           |
 *     `first`: before the        `start`: how all schedules                          every page holds
 *     scenario                   begin                                               `first` again
 *
 * Invariant: a page that is not among `written` holds what it held at the last reset. */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define PAGE 4096
#define PAGES 1024
#define REGIONS 4
#define NEW_BYTES (2 << 20)

static struct {
	char *start, *end;
} region[REGIONS];
static unsigned regions;

static struct written {
	char *page;
	char first[PAGE], start[PAGE], fork[PAGE];
} written[PAGES];
static unsigned pages;

static char *new_memory; /* what the library and a scenario allocate */
static size_t new_used, new_first;

static void protect(int how, char *start, char *end)
{
	int failed = mprotect(start, (size_t)(end - start), how);

	assert(!failed);
	(void)failed;
}

void world_add(void *start, size_t bytes)
{
	assert(regions < REGIONS && (uintptr_t)start % PAGE == 0 && bytes % PAGE == 0);
	region[regions].start = start;
	region[regions++].end = (char *)start + bytes;
}

void world_start(void)
{
	new_first = new_used;
	for (unsigned i = 0; i < regions; i++)
		protect(PROT_READ, region[i].start, region[i].end);
}

bool world_has_written(void *address)
{
	char *page = (char *)((uintptr_t)address & ~(uintptr_t)(PAGE - 1));

	for (unsigned i = 0; i < regions; i++) {
		if (page < region[i].start || page >= region[i].end)
			continue;
		assert(pages < PAGES);
		struct written *it = &written[pages++];
		it->page = page;
		memcpy(it->first, page, PAGE);
		memcpy(it->start, page, PAGE);
		memcpy(it->fork, page, PAGE);
		protect(PROT_READ | PROT_WRITE, page, page + PAGE);
		return true;
	}
	return false;
}

void world_keep(void)
{
	for (unsigned i = 0; i < pages; i++)
		memcpy(written[i].start, written[i].page, PAGE);
}

void world_rewind(void)
{
	for (unsigned i = 0; i < pages; i++)
		memcpy(written[i].page, written[i].start, PAGE);
}

void world_fork(void)
{
	for (unsigned i = 0; i < pages; i++)
		memcpy(written[i].fork, written[i].page, PAGE);
}

void world_join(void)
{
	for (unsigned i = 0; i < pages; i++)
		memcpy(written[i].page, written[i].fork, PAGE);
}

void world_reset(void)
{
	for (unsigned i = 0; i < pages; i++) {
		memcpy(written[i].page, written[i].first, PAGE);
		protect(PROT_READ, written[i].page, written[i].page + PAGE);
	}
	pages = 0;
	new_used = new_first;
}

/* Before the first schedule: `new_used` is not wound back. */
static void *take(size_t alignment, size_t bytes)
{
	if (!new_memory) {
		new_memory = mmap(NULL, NEW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert(new_memory != MAP_FAILED);
		world_add(new_memory, NEW_BYTES);
	}
	new_used = (new_used + alignment - 1) & ~(alignment - 1);
	void *memory = new_memory + new_used;
	new_used += bytes;
	assert(new_used <= NEW_BYTES);
	return memory;
}

void *model_new(size_t bytes)
{
	return take(64, bytes);
}

int model_memalign(void **memory, size_t alignment, size_t bytes)
{
	*memory = take(alignment, bytes);
	return 0;
}
