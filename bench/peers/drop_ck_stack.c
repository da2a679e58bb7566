/* drop_ck_stack.c - Concurrency Kit's stack, taken whole: last in, first out.
 * SPDX-License-Identifier: MIT */
#include <ck_stack.h>

#include "drop.h"

static ck_stack_t stack;

static void init(size_t heap_size)
{
	(void)heap_size;
	ck_stack_init(&stack);
}

static ck_stack_entry_t *entry_of(struct object *object)
{
	return (ck_stack_entry_t *)&object->tag.next;
}

static struct object *object_of(ck_stack_entry_t *entry)
{
	return (struct object *)((char *)entry - offsetof(struct object, tag.next));
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			ck_stack_push_upmc(&stack, entry_of(share->objects[i]));
}

static void drain(void)
{
	ck_stack_entry_t *entry, *next;

	for (entry = ck_stack_batch_pop_upmc(&stack); entry; entry = next) {
		next = entry->next;
		object_destroy(object_of(entry));
	}
}

static struct drop_peer peer = {
	.subject = "ck_stack", .kinds = BARE | WHOLE, .init = init, .revive = objects_revive, .push = push, .drain = drain};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
