/* check_tether_loops.c - our own checks; built twice, for an executable and for a shared library.
 * SPDX-License-Identifier: MIT */
#include <tether/tether.h>

#include "check_tether.h"

struct object {
	struct tether tether;
};

static const struct tether_type object_type = TETHER_TYPE(struct object, tether, NULL);

void TETHER_LOOP(check)(uint64_t n)
{
	struct object mine;
	struct object *object = &mine;

	tether_bind(&mine.tether, &object_type);
	for (; n; n--) {
		object = opaque(object);
		TETHER_CHECK(&object->tether);
	}
	tether_fini(&mine.tether);
}

void TETHER_LOOP(is_mine)(uint64_t n)
{
	struct object mine;
	struct object *object = &mine;

	tether_bind(&mine.tether, &object_type);
	for (; n; n--) {
		object = opaque(object);
		if (!tether_is_mine(&object->tether))
			check_peer_failed();
	}
	tether_fini(&mine.tether);
}
