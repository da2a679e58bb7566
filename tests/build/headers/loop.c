/* loop.c - loop.h alone: a loop that sleeps and drains.
 * SPDX-License-Identifier: MIT */
#include <tether/loop.h>

static void wake(void *context)
{
	*(int *)context = 1;
}

static void over(void *context, size_t pending)
{
	*(size_t *)context = pending;
}

int use(int *woken);
int use(int *woken)
{
	int fd = tether_fd();

	if (fd < 0)
		fd = tether_set_wake(wake, woken);
	static size_t most;
	if (tether_set_limit(100, over, &most) != 0)
		return -1;
	if (tether_park() && tether_wake_name()[0])
		*woken = 0;
	tether_park_for(-1);
	tether_unpark();
	return tether_drain(0) + tether_drain(1) + tether_drain_for(10, 100) > 0 ? fd : 0;
}
