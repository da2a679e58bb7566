/* tether.c - tether.h alone: something of each header that it includes.
 * SPDX-License-Identifier: MIT */
#include <tether/tether.h>

size_t use(struct tether *object);
size_t use(struct tether *object)
{
	struct tether_counters mine;

	TETHER_CHECK(object);
	if (tether_stats(tether_self(), &mine) != 0 || tether_drop(object) == TETHER_REFUSED)
		return 0;
	return tether_drain(0) + TETHER_VERSION_MINOR;
}
