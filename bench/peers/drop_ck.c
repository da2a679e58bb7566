/* drop_ck.c - Concurrency Kit's stack, taken whole: last in, first out.
 * SPDX-License-Identifier: MIT */
#include <ck_stack.h>

#include "drop.h"

static ck_stack_t stack;

static void init(void)
{
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

static void push(struct object **objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (object_mark(objects[i]))
			ck_stack_push_upmc(&stack, entry_of(objects[i]));
}

static void drain(void)
{
	ck_stack_entry_t *entry, *next;

	for (entry = ck_stack_batch_pop_upmc(&stack); entry; entry = next) {
		next = entry->next;
		object_destroy(object_of(entry));
	}
}

static struct drop_peer ck = {"ck_stack, batch pop", init, object_revive, push, drain, NULL, NULL};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&ck);
}
