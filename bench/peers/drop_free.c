/* drop_free.c - memory freed by a thread that did not allocate it; built for each allocator.
 * SPDX-License-Identifier: MIT
 *
 * No queue that anyone wrote for it, but what many programs have instead of one: the allocator itself takes the memory
 * home. Its owner has it again when it allocates as much, so that is the drain. */
#include <dlfcn.h>
#include <stdlib.h>

#include "drop.h"

/* Found by dlopen(), as a program that is linked with mimalloc has no other allocator. */
static void *(*allocate)(size_t bytes);
static void (*release)(void *memory);

static struct object **owned; /* what the owner has: as many as the given heap has, in the order of their places */
static uint64_t *pushed;      /* the places of those that were pushed */
static size_t pushed_count;

static struct object *make(uint64_t place)
{
	struct object *object = allocate(sizeof *object);

	if (!object)
		abort();
	object->value = place;
	return object;
}

static void init(size_t heap_size)
{
	owned = malloc(heap_size * sizeof *owned);
	pushed = malloc(heap_size * sizeof *pushed);
	if (!owned || !pushed)
		abort();
	for (size_t i = 0; i < heap_size; i++)
		owned[i] = make(i);
}

/* Ours in the place of the given ones. */
static void revive(struct object **objects, size_t count)
{
	pushed_count = count;
	for (size_t i = 0; i < count; i++) {
		pushed[i] = objects[i]->value;
		objects[i] = owned[pushed[i]];
	}
	objects_revive(objects, count);
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			release(share->objects[i]);
}

static void drain(void)
{
	for (size_t i = 0; i < pushed_count; i++)
		owned[pushed[i]] = make(pushed[i]);
}

/* To a pointer to a function, as POSIX has it. */
static void find(void *library, const char *name, void *function)
{
	*(void **)function = dlsym(library, name);
}

static struct drop_peer peer = {
	.subject = SUBJECT, .kinds = BARE, .init = init, .revive = revive, .push = push, .drain = drain, .silent = true};

__attribute__((constructor)) static void add(void)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return;
	find(library, ALLOCATE, &allocate);
	find(library, RELEASE, &release);
	if (allocate && release)
		drop_peer_add(&peer);
}
