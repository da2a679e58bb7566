/* drop_wfstack.c - liburcu's stack with a wait-free push, taken whole: last in, first out.
 * SPDX-License-Identifier: MIT */
#define _LGPL_SOURCE /* its functions inline, as ours and the other peers' are */
#include <urcu/wfstack.h>

#include "drop.h"

static struct __cds_wfs_stack stack; /* the one without a lock: a single thread takes */

static void init(size_t heap_size)
{
	(void)heap_size;
	__cds_wfs_init(&stack);
}

static struct cds_wfs_node *node_of(struct object *object)
{
	return (struct cds_wfs_node *)&object->tag.next;
}

static struct object *object_of(struct cds_wfs_node *node)
{
	return (struct object *)((char *)node - offsetof(struct object, tag.next));
}

static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++) {
		if (!share_admits(share, share->objects[i]))
			continue;
		cds_wfs_node_init(node_of(share->objects[i]));
		cds_wfs_push(&stack, node_of(share->objects[i]));
	}
}

static void drain(void)
{
	struct cds_wfs_head *taken = __cds_wfs_pop_all(&stack);
	struct cds_wfs_node *node, *next;

	cds_wfs_for_each_blocking_safe(taken, node, next) object_destroy(object_of(node));
}

static struct drop_peer peer = {
	.subject = "wfstack", .kinds = BARE | WHOLE, .init = init, .revive = objects_revive, .push = push, .drain = drain};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
