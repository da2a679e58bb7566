/* drop_list.h - a list under a mutex, for the peers that have nothing better to queue with.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_PEERS_DROP_LIST_H
#define BENCH_PEERS_DROP_LIST_H

#include <pthread.h>

#include "drop.h"

struct list {
	pthread_mutex_t lock;
	struct object *first; /* under lock */
	struct object **last; /* under lock */
};

static inline void list_init(struct list *list)
{
	pthread_mutex_init(&list->lock, NULL);
	list->first = NULL;
	list->last = &list->first;
}

/* Was it empty? */
static inline bool list_append(struct list *list, struct object *object)
{
	bool was_empty;

	object->tag.next = NULL;
	pthread_mutex_lock(&list->lock);
	was_empty = !list->first;
	*list->last = object;
	list->last = &object->tag.next;
	pthread_mutex_unlock(&list->lock);
	return was_empty;
}

static inline void list_drain(struct list *list)
{
	struct object *object, *next;

	pthread_mutex_lock(&list->lock);
	object = list->first;
	list->first = NULL;
	list->last = &list->first;
	pthread_mutex_unlock(&list->lock);

	for (; object; object = next) {
		next = object->tag.next;
		object_destroy(object);
	}
}

#endif
