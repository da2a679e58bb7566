/* drop_vyukov.c - Vyukov's intrusive queue for many producers and one consumer.
 * SPDX-License-Identifier: MIT */
#include "drop.h"

/* The ends lie on lines of their own: only producers write `last`, only the owner `first`. */
static struct {
	struct object *last __attribute__((aligned(64)));
	struct object *first __attribute__((aligned(64)));
	struct object stub;
} queue;

static void init(size_t heap_size)
{
	(void)heap_size;
	queue.last = queue.first = &queue.stub;
}

static void append(struct object *object)
{
	struct object *previous;

	__atomic_store_n(&object->tag.next, NULL, __ATOMIC_RELAXED);
	previous = __atomic_exchange_n(&queue.last, object, __ATOMIC_ACQ_REL);
	__atomic_store_n(&previous->tag.next, object, __ATOMIC_RELEASE);
}

/* NULL: empty, or a producer is between its exchange and its store. */
static struct object *take(void)
{
	struct object *object = queue.first;
	struct object *next = __atomic_load_n(&object->tag.next, __ATOMIC_ACQUIRE);

	if (object == &queue.stub) {
		if (!next)
			return NULL;
		queue.first = object = next;
		next = __atomic_load_n(&object->tag.next, __ATOMIC_ACQUIRE);
	}
	if (!next && object == __atomic_load_n(&queue.last, __ATOMIC_ACQUIRE)) {
		append(&queue.stub);
		next = __atomic_load_n(&object->tag.next, __ATOMIC_ACQUIRE);
	}
	if (!next)
		return NULL;
	queue.first = next;
	return object;
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]))
			append(share->objects[i]);
}

static void drain(void)
{
	struct object *object;

	while ((object = take()))
		object_destroy(object);
}

static struct drop_peer peer = {
	.subject = "vyukov", .kinds = BARE | WHOLE, .init = init, .revive = objects_revive, .push = push, .drain = drain};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
