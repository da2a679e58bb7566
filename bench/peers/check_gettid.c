/* check_gettid.c - the kernel's thread number: asked afresh for each check, and kept in a thread-local word.
 * SPDX-License-Identifier: MIT */
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

struct object {
	long owner;
};

static void loop_gettid(uint64_t n)
{
	struct object mine = {syscall(SYS_gettid)};
	struct object *object = &mine;

	for (; n; n--) {
		object = opaque(object);
		if (object->owner != syscall(SYS_gettid))
			check_peer_failed();
	}
}

static __thread long cached;

/* The word may be empty: this thread may not have asked yet. */
static inline long cached_gettid(void)
{
	if (__builtin_expect(cached == 0, 0))
		cached = syscall(SYS_gettid);
	return cached;
}

static void loop_cached(uint64_t n)
{
	struct object mine = {syscall(SYS_gettid)};
	struct object *object = &mine;

	for (; n; n--) {
		object = opaque(object);
		if (object->owner != cached_gettid())
			check_peer_failed();
	}
}

static struct check_peer peers[] = {
	{"gettid", loop_gettid, NULL},
	{"gettid-cached", loop_cached, NULL},
};

__attribute__((constructor)) static void add(void)
{
	for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
		check_peer_add(&peers[i]);
}
