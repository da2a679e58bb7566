/* loop.c - loop.h alone: a loop that sleeps and drains.
 * SPDX-License-Identifier: MIT */
#include <tether/loop.h>

static void wake(void *context)
{
	*(int *)context = 1;
}

int use(int *woken);
int use(int *woken)
{
	int fd = tether_fd();

	if (fd < 0)
		fd = tether_set_wake(wake, woken);
	if (tether_park())
		*woken = 0;
	tether_unpark();
	return tether_drain(0) + tether_drain(1) > 0 ? fd : 0;
}
