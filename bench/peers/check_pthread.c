/* check_pthread.c - the C library's own comparison of threads.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "check.h"

struct object {
	pthread_t owner;
};

static void loop_pthread(uint64_t n)
{
	struct object mine = {pthread_self()};
	struct object *object = &mine;

	for (; n; n--) {
		object = opaque(object);
		if (!pthread_equal(object->owner, pthread_self()))
			check_peer_failed();
	}
}

static struct check_peer peer = {"pthread_equal", loop_pthread, NULL};

__attribute__((constructor)) static void add(void)
{
	check_peer_add(&peer);
}
