/* drop_tether.c - our own drop.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/epoll.h>

#include "drop_tether.h"

static const struct tether_type object_type = TETHER_TYPE(struct object, tether, object_destroy);
static int epoll_fd;

/* With a descriptor, so that the first push of a round makes a wake-up, as that of the mutex does. */
void drop_tether_init(size_t heap_size)
{
	struct epoll_event event = {.events = EPOLLIN};

	(void)heap_size;
	if (epoll_fd > 0)
		return;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, tether_fd(), &event) != 0)
		abort();
}

void drop_tether_revive(struct object **objects, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tether_bind(&objects[i]->tether, &object_type);
}

void drop_tether_push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		tether_drop(&share->objects[i]->tether);
}

void drop_tether_drain(void)
{
	tether_drain(0);
}

int drop_tether_epoll(void)
{
	return epoll_fd;
}

/* As the guide has it. */
void drop_tether_turn(void)
{
	struct epoll_event event;
	bool may_sleep = tether_park();

	epoll_wait(epoll_fd, &event, 1, may_sleep ? -1 : 0);
	tether_unpark();
	tether_drain(0);
}

/* A limit that is never exceeded; it is set for these rounds only, as all senders look where one is. */
static void revive_with_limit(struct object **objects, size_t count)
{
	if (tether_set_limit(SIZE_MAX, NULL, NULL) != 0)
		abort();
	drop_tether_revive(objects, count);
}

static void drain_for_a_second(void)
{
	tether_drain_for(0, 1000000);
	tether_set_limit(0, NULL, NULL);
}

static struct drop_peer peers[] = {
	{.subject = "tether",
     .kinds = WHOLE,
     .init = drop_tether_init,
     .revive = drop_tether_revive,
     .push = drop_tether_push,
     .drain = drop_tether_drain,
     .turn = drop_tether_turn,
     .by_owners = true},
	/* One that is no owner counts what it sends on a line that all such threads share. */
	{.subject = "tether-stranger",
     .kinds = WHOLE,
     .init = drop_tether_init,
     .revive = drop_tether_revive,
     .push = drop_tether_push,
     .drain = drop_tether_drain},
	{.subject = "tether-limit",
     .kinds = WHOLE,
     .init = drop_tether_init,
     .revive = revive_with_limit,
     .push = drop_tether_push,
     .drain = drain_for_a_second,
     .by_owners = true},
};

__attribute__((constructor)) static void add(void)
{
	for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
		drop_peer_add(&peers[i]);
}
