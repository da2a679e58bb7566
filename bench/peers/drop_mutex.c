/* drop_mutex.c - a mutex, a list and an eventfd: what event loops usually have.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "drop_list.h"

static struct list list;
static int wake_fd, epoll_fd;

static void init(size_t heap_size)
{
	struct epoll_event event = {.events = EPOLLIN};

	(void)heap_size;
	list_init(&list);
	wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (wake_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) != 0)
		abort();
}

/* Only the first one of a list wakes. */
static void push(const struct share *share)
{
	for (size_t i = 0; i < share->count; i++)
		if (share_admits(share, share->objects[i]) && list_append(&list, share->objects[i]))
			eventfd_write(wake_fd, 1);
}

static void drain(void)
{
	eventfd_t wakes;

	eventfd_read(wake_fd, &wakes);
	list_drain(&list);
}

static void turn(void)
{
	struct epoll_event event;

	if (epoll_wait(epoll_fd, &event, 1, -1) == 1)
		drain();
}

static struct drop_peer peer = {.subject = "mutex-eventfd",
                                .kinds = BARE | WHOLE,
                                .init = init,
                                .revive = objects_revive,
                                .push = push,
                                .drain = drain,
                                .turn = turn};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&peer);
}
