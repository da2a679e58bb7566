/* drop_wfcqueue.c - liburcu's wait-free concurrent queue, spliced whole into a private one.
 * SPDX-License-Identifier: MIT */
#define _LGPL_SOURCE /* its functions inline, as ours and the other peers' are */
#include <urcu/wfcqueue.h>

#include "drop.h"

/* The ends lie on lines of their own, as its documentation advises. */
static struct {
	struct cds_wfcq_tail tail __attribute__((aligned(64)));
	struct __cds_wfcq_head head __attribute__((aligned(64)));
} queue;

static void init(size_t heap_size)
{
	(void)heap_size;
	__cds_wfcq_init(&queue.head, &queue.tail);
}

static struct cds_wfcq_node *node_of(struct object *object)
{
	return (struct cds_wfcq_node *)&object->tag.next;
}

static struct object *object_of(struct cds_wfcq_node *node)
{
	return (struct object *)((char *)node - offsetof(struct object, tag.next));
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++) {
		if (!share_admits(share, share->objects[i]))
			continue;
		cds_wfcq_node_init(node_of(share->objects[i]));
		cds_wfcq_enqueue(&queue.head, &queue.tail, node_of(share->objects[i]));
	}
}

static void drain(void)
{
	struct __cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	struct cds_wfcq_node *node, *next;

	__cds_wfcq_init(&head, &tail);
	__cds_wfcq_splice_blocking(&head, &tail, &queue.head, &queue.tail);
	__cds_wfcq_for_each_blocking_safe(&head, &tail, node, next) object_destroy(object_of(node));
}

static struct drop_peer peer = {
	.subject = "wfcqueue", .kinds = BARE | WHOLE, .init = init, .revive = objects_revive, .push = push, .drain = drain};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
