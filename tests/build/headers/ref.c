/* ref.c - ref.h alone: a count, what is done with it, a cache that asks.
 * SPDX-License-Identifier: MIT */
#include <tether/ref.h>

struct conn {
	struct tether tether;
	struct tether_ref ref;
};

uint64_t use(struct conn *c, const struct conn *cached);
uint64_t use(struct conn *c, const struct conn *cached)
{
	tether_ref_init(&c->ref, &c->tether);
	tether_ref_get(&c->ref);
	if (tether_ref_try_get(&c->ref))
		tether_ref_put(&c->ref);
	return tether_ref_count(&cached->ref);
}
