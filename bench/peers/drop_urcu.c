/* drop_urcu.c - liburcu's wait-free concurrent queue, spliced whole into a private one.
 * SPDX-License-Identifier: MIT */
#define _LGPL_SOURCE /* its functions inline, as ours and the other peers' are */
#include <urcu/wfcqueue.h>

#include "drop.h"

/* The ends lie on lines of their own, as its documentation advises. */
static struct {
	struct cds_wfcq_tail tail __attribute__((aligned(64)));
	struct __cds_wfcq_head head __attribute__((aligned(64)));
} queue;

static void init(void)
{
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

static void push(struct object **objects, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!object_mark(objects[i]))
			continue;
		cds_wfcq_node_init(node_of(objects[i]));
		cds_wfcq_enqueue(&queue.head, &queue.tail, node_of(objects[i]));
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

static struct drop_peer urcu = {"liburcu wfcqueue", init, object_revive, push, drain, NULL, NULL};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&urcu);
}
