/* check_gettid.c - the kernel's thread number, asked afresh for each check.
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

static struct check_peer peer_gettid = {"gettid", loop_gettid, NULL};

__attribute__((constructor)) static void add(void)
{
	check_peer_add(&peer_gettid);
}
