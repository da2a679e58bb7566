/* drop_mutex.c - a mutex, a list and an eventfd: what event loops usually have.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "drop.h"

static struct {
	pthread_mutex_t lock;
	struct object *first; /* under lock */
	struct object **last; /* under lock */
	int wake_fd;
} queue;

static void init(void)
{
	pthread_mutex_init(&queue.lock, NULL);
	queue.last = &queue.first;
	queue.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void push(struct object **objects, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct object *object = objects[i];
		bool was_empty;

		if (!object_mark(object))
			continue;
		object->tag.next = NULL;
		pthread_mutex_lock(&queue.lock);
		was_empty = !queue.first;
		*queue.last = object;
		queue.last = &object->tag.next;
		pthread_mutex_unlock(&queue.lock);
		if (was_empty)
			eventfd_write(queue.wake_fd, 1);
	}
}

static void drain(void)
{
	struct object *object, *next;
	eventfd_t wakes;

	eventfd_read(queue.wake_fd, &wakes);
	pthread_mutex_lock(&queue.lock);
	object = queue.first;
	queue.first = NULL;
	queue.last = &queue.first;
	pthread_mutex_unlock(&queue.lock);

	for (; object; object = next) {
		next = object->tag.next;
		object_destroy(object);
	}
}

static struct drop_peer mutex = {"mutex, list and eventfd", init, object_revive, push, drain, NULL, NULL};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&mutex);
}
