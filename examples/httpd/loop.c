/* loop.c - one event loop: a thread, a listener of its own, and the connections that it accepted.
 * SPDX-License-Identifier: MIT
 *
 * What other threads send here, drops and messages, is handled by tether_drain() after the events of
 * each turn. So an event never finds its connection closed by something else in the same turn. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

enum { EVENTS_MAX = 64, ACCEPT_PAUSE_MS = 100, GIVE_UP_MS = 10000 };

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* On `*port`, or, where that is 0, on any, which is stored there. The first one is alone when it is bound, and shares its
 * port only then: with the others of this process, not with another server. The descriptor, or -errno. */
static int listener_create(int *port, bool is_first)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof address;
	int on = 1, shares = !is_first, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &shares, sizeof shares) != 0 ||
	    bind(fd, (struct sockaddr *)&address, bytes) != 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
	    listen(fd, SOMAXCONN) != 0 || getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	*port = ntohs(address.sin_port);
	return fd;
}

/* The listener's events carry the loop, those of the inbox nothing, others their connection. */
static int loop_watch(struct loop *l, int operation, int fd, uint32_t events, void *subject)
{
	struct epoll_event event = {.events = events, .data.ptr = subject};

	return epoll_ctl(l->epoll, operation, fd, &event) == 0 ? 0 : -errno;
}

static void loop_accept(struct loop *l)
{
	for (;;) {
		int on = 1, fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
			if (conn_create(l, fd))
				count_up(&l->accepted);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			/* No descriptors, or no memory: look away, or epoll would tell of it without end. */
			loop_watch(l, EPOLL_CTL_MOD, l->listener, 0, l);
			l->accept_again_ms = l->now_ms + ACCEPT_PAUSE_MS;
			return;
		}
	}
}

/* Closes, or answers and closes, what has waited too long; once the time to stop is over, all. */
static void loop_expire(struct loop *l)
{
	bool is_over = l->stop_by_ms && l->now_ms >= l->stop_by_ms;

	for (int wait = 0; wait < WAIT_KINDS; wait++) {
		while (!list_is_empty(&l->waiting[wait])) {
			struct conn *c = container_of(l->waiting[wait].next, struct conn, link);

			if (is_over)
				conn_close(c);
			else if (c->deadline_ms <= l->now_ms)
				conn_expire(c);
			else
				break;
		}
	}
	if (l->accept_again_ms && l->now_ms >= l->accept_again_ms) {
		l->accept_again_ms = 0;
		loop_watch(l, EPOLL_CTL_MOD, l->listener, EPOLLIN, l);
	}
}

static int loop_timeout_ms(const struct loop *l)
{
	int64_t next_ms = INT64_MAX;

	for (int wait = 0; wait < WAIT_KINDS; wait++) {
		const struct conn *first = container_of(l->waiting[wait].next, struct conn, link);

		if (!list_is_empty(&l->waiting[wait]) && first->deadline_ms < next_ms)
			next_ms = first->deadline_ms;
	}
	int64_t stop_ms = l->now_ms < l->stop_by_ms ? l->stop_by_ms : l->stop_by_ms + GIVE_UP_MS;
	if (l->stop_by_ms && stop_ms < next_ms)
		next_ms = stop_ms;
	if (l->accept_again_ms && l->accept_again_ms < next_ms)
		next_ms = l->accept_again_ms;
	if (next_ms == INT64_MAX)
		return -1;
	return next_ms > l->now_ms ? (int)(next_ms - l->now_ms) : 0;
}

/* While a client waits for a worker's answer, whatever comes wakes the loop. Else only drops can come, and they can wait:
 * where the kernel sleeps by the microsecond, the first of many wakes the loop, and the others nobody, see
 * tether_park_for(). */
static int loop_wait(struct loop *l, struct epoll_event *events)
{
	int timeout_ms = loop_timeout_ms(l);

	if (l->due > 0 || !l->has_microseconds)
		return epoll_wait(l->epoll, events, EVENTS_MAX, tether_park() ? timeout_ms : 0);
	int64_t timeout_us = timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000;
	int64_t us = tether_park_for(timeout_us);
	struct timespec timeout = {us / 1000000, us % 1000000 * 1000};
	if (us > 0 && us != timeout_us)
		count_up(&l->unarmed);
	return epoll_pwait2(l->epoll, events, EVENTS_MAX, us < 0 ? NULL : &timeout, NULL);
}

static void loop_turn(struct loop *l)
{
	struct epoll_event events[EVENTS_MAX];
	int n = loop_wait(l, events);

	tether_unpark();
	l->now_ms = clock_ms();
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr == l)
			loop_accept(l);
		else if (events[i].data.ptr)
			conn_event(events[i].data.ptr, events[i].events);
	}
	tether_drain(0);
	loop_expire(l);
}

/* Nothing left to come home? A job that a worker has counts: it holds a connection. */
static bool loop_is_finished(const struct loop *l)
{
	if (!l->stop_by_ms)
		return false;
	if (l->now_ms >= l->stop_by_ms + GIVE_UP_MS)
		return true; /* something is lost: better to end and say so than to wait for ever */
	return l->conns.taken == l->conns.returned && l->requests.taken == l->requests.returned;
}

/* The message that stops a loop: accept what has arrived, answer what was asked, close what is idle. */
static void loop_on_stop(struct tether_message *message, enum tether_fate fate)
{
	struct loop *l = container_of(message, struct loop, stop);
	struct link *idle = &l->waiting[WAIT_IDLE];

	if (fate == TETHER_UNDELIVERED)
		return;
	count_up(&l->messages);
	loop_accept(l);
	close(l->listener);
	l->listener = -1;
	l->accept_again_ms = 0;
	l->stop_by_ms = l->now_ms + limits.drain_ms;
	for (struct link *link = idle->next, *next; link != idle; link = next) {
		next = link->next;
		conn_event(container_of(link, struct conn, link), 0);
	}
}

/* 0 or -errno. Port: see listener_create(). */
int loop_create(struct loop *l, int number, int *port)
{
	snprintf(l->name, sizeof l->name, "loop-%d", number);
	shelf_init(&l->conns, sizeof(struct conn));
	shelf_init(&l->requests, request_bytes);
	for (int wait = 0; wait < WAIT_KINDS; wait++)
		list_init(&l->waiting[wait]);
	tether_message_init(&l->stop, loop_on_stop);
	l->listener = listener_create(port, number == 0);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->has_microseconds = epoll_pwait2(l->epoll, &(struct epoll_event){0}, 1, &(struct timespec){0}, NULL) == 0;
	if (l->listener < 0)
		return l->listener;
	return l->epoll < 0 ? -errno : loop_watch(l, EPOLL_CTL_ADD, l->listener, EPOLLIN, l);
}

/* Its thread has ended. */
void loop_destroy(struct loop *l)
{
	shelf_fini(&l->conns);
	shelf_fini(&l->requests);
	if (l->listener >= 0)
		close(l->listener);
	close(l->epoll);
}

/* The thread becomes an owner here, so its name is set before. */
static int loop_enter(struct loop *l)
{
	pthread_setname_np(pthread_self(), l->name);
	l->owner = tether_self();
	l->now_ms = clock_ms();
	int inbox = tether_fd();
	return inbox < 0 ? inbox : loop_watch(l, EPOLL_CTL_ADD, inbox, EPOLLIN, NULL);
}

static void *loop_run(void *context)
{
	struct loop *l = context;

	l->error = loop_enter(l);
	pthread_barrier_wait(l->all_started); /* /stats reads the others' owners */
	if (l->error == 0)
		while (!loop_is_finished(l) && !bugs_loop_exits(l))
			loop_turn(l);
	return NULL;
}

/* 0 or -errno. */
int loop_start(struct loop *l, pthread_barrier_t *all_started)
{
	l->all_started = all_started;
	return -pthread_create(&l->thread, NULL, loop_run, l);
}

/* Any thread. The loop ends when all that it owns is destroyed. */
void loop_stop(struct loop *l)
{
	tether_post(l->owner, &l->stop);
}
