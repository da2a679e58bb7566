/* copy.c - a module that contains a whole library of its own, as a plug-in linked statically does.
 * SPDX-License-Identifier: MIT */
#include "copy.h"

struct object {
	struct tether tether;
};

static int destroyed;

static void object_destroy(void *object)
{
	(void)object;
	destroyed++;
}

static const struct tether_type object_type = TETHER_TYPE(struct object, tether, object_destroy);

static bool ensure(const struct tether *tag)
{
	return TETHER_ENSURE(tag);
}

static bool is_mine(const struct tether *tag)
{
	return tether_is_mine(tag);
}

__attribute__((visibility("default"))) const struct copy copy = {
	.self = tether_self,
	.bind = tether_bind,
	.bind_later = tether_bind_later,
	.ensure = ensure,
	.is_mine = is_mine,
	.claim = tether_claim,
	.drop = tether_drop,
	.drop_later = tether_drop_later,
	.fini = tether_fini,
	.post = tether_post,
	.drain = tether_drain,
	.set_level = tether_set_level,
	.set_report_callback = tether_set_report_callback,
	.type = &object_type,
	.destroyed = &destroyed,
};
