/* use.c - use.h alone: each form, as a statement and as a declaration.
 * SPDX-License-Identifier: MIT */
#include <tether/use.h>

struct cache {
	int entries;
	struct tether tether;
};

static const struct tether_type type = TETHER_TYPE(struct cache, tether, NULL);

int use(struct cache *c, int n);
int use(struct cache *c, int n)
{
	tether_bind_later(&c->tether, &type);
	if (n < 0)
		TETHER_ENTER(&c->tether);
	else
		return n;
	c->entries += n;
	TETHER_LEAVE(&c->tether);
	TETHER_SCOPE(&c->tether);
	for (int i = 0; i < n; i++) {
		TETHER_SCOPE(&c->tether);
		TETHER_SCOPE(&c->tether);
		c->entries++;
	}
	return c->entries;
}
