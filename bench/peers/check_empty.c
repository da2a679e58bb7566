/* check_empty.c - the loop that every check is measured above.
 * SPDX-License-Identifier: MIT */
#include "check.h"

static void loop_empty(uint64_t n)
{
	uint64_t word = 0;
	void *object = &word;

	for (; n; n--)
		object = opaque(object);
}

static struct check_peer empty = {"floor", loop_empty, NULL};

__attribute__((constructor)) static void add(void)
{
	check_peer_add(&empty);
}
