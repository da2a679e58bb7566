/* check_mutex.c - a sequence checker behind a mutex, as WebRTC and Chromium have it.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdbool.h>

#include "check.h"

struct object {
	pthread_mutex_t lock;
	bool is_attached; /* under lock */
	pthread_t owner;  /* under lock */
};

/* The mutex is there because the checker may be detached, and attaches to whoever calls next. A call, as
 * it is no function of a header. */
__attribute__((noinline)) static bool is_current(struct object *object)
{
	pthread_t self = pthread_self();
	bool is_mine;

	pthread_mutex_lock(&object->lock);
	if (!object->is_attached) {
		object->is_attached = true;
		object->owner = self;
	}
	is_mine = pthread_equal(object->owner, self);
	pthread_mutex_unlock(&object->lock);
	return is_mine;
}

static void loop_mutex(uint64_t n)
{
	struct object mine = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct object *object = &mine;

	for (; n; n--) {
		object = opaque(object);
		if (!is_current(object))
			check_peer_failed();
	}
	pthread_mutex_destroy(&mine.lock);
}

static struct check_peer mutex = {"mutex", loop_mutex, NULL};

__attribute__((constructor)) static void add(void)
{
	check_peer_add(&mutex);
}
