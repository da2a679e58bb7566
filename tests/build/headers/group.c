/* group.c - group.h alone: a parent and what follows it.
 * SPDX-License-Identifier: MIT */
#include <tether/group.h>

struct parent {
	int fd;
	struct tether_group group;
};

static void parent_destroy(void *object)
{
	((struct parent *)object)->fd = -1;
}

static const struct tether_type parent_type = TETHER_TYPE_RULES(struct parent, group.tag, parent_destroy, TETHER_GROUP);

int use(struct parent *parent, struct tether *child, const struct tether_type *child_type);
int use(struct parent *parent, struct tether *child, const struct tether_type *child_type)
{
	tether_bind_group(&parent->group, &parent_type);
	return tether_bind_to(child, child_type, &parent->group);
}
