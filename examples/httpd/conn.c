/* conn.c - a client's connection: reads requests, has them answered in order, and ends well.
 * SPDX-License-Identifier: MIT
 *
 *     READING --a job--> WORKING --the job comes home--> READING --the last answer is out--> LINGERING
 *        any of them --peer gone, time is up, loop stops--> closed --the last reference--> destroyed
 *
 * A function that may close the connection does so as its last act, as closing may destroy it. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core.h"

/* The destructor, which tether runs on the loop that owns the connection, whoever dropped it. Called
 * anywhere else it would spoil the shelf, which has no lock: so it refuses, with checks off as well. */
void conn_destroy(void *object)
{
	struct conn *c = object;

	if (!TETHER_ENSURE(&c->tether))
		return;
	assert(c->fd < 0 && !c->request && !c->held && !c->job && !c->body);
	shelf_put(&c->loop->conns, &c->item);
}

static const struct tether_type conn_type = TETHER_TYPE(struct conn, tether, conn_destroy);

/* Reports call a connection by its peer. */
static void conn_label(struct conn *c)
{
	struct sockaddr_in peer;
	char address[INET_ADDRSTRLEN], label[sizeof address + 8];

	if (getpeername(c->fd, (struct sockaddr *)&peer, &(socklen_t){sizeof peer}) != 0 ||
	    !inet_ntop(AF_INET, &peer.sin_addr, address, sizeof address))
		return;
	snprintf(label, sizeof label, "%s:%d", address, ntohs(peer.sin_port));
	(void)tether_set_label(&c->tether, label); /* without room it has none */
}

/* Takes the descriptor over. NULL: out of memory, and it is closed. */
struct conn *conn_create(struct loop *loop, int fd)
{
	struct conn *c = shelf_take(&loop->conns);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

	if (!c) {
		close(fd);
		return NULL;
	}
	memset(c, 0, offsetof(struct conn, in));
	tether_bind(&c->tether, &conn_type);
	atomic_init(&c->refs, 1);
	c->loop = loop;
	c->fd = fd;
	if (TETHER_CHECKS)
		conn_label(c);
	c->watched = event.events;
	list_init(&c->link);
	http_init(&c->parser, c);
	conn_wait(c, WAIT_IDLE);
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		conn_close(c);
		return NULL;
	}
	return c;
}

/* Any thread that has a reference. */
struct conn *conn_ref(struct conn *c)
{
	/* Relaxed: the caller's own reference keeps it alive. */
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

/* Any thread that has a reference, which ends. */
void conn_unref(struct conn *c)
{
	/* Release: what we did with it comes before its end. Acquire: what the others did, too. */
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		tether_drop(&c->tether);
}

bool conn_is_open(const struct conn *c)
{
	TETHER_CHECK(&c->tether);
	return c->fd >= 0;
}

void conn_wait(struct conn *c, enum wait wait)
{
	TETHER_CHECK(&c->tether);
	c->wait = wait;
	c->deadline_ms = c->loop->now_ms + limits.wait_ms[wait];
	list_remove(&c->link);
	list_append(&c->loop->waiting[wait], &c->link);
}

static void conn_release_request(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	struct request *r = c->request;

	if (!r)
		return;
	c->request = NULL;
	request_unref(r);
	bugs_after_request(r);
}

static void conn_forget_job(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	if (c->job) {
		pool_forget(c->job);
		c->loop->due--;
	}
	c->job = NULL;
	if (c->held)
		request_unref(c->held);
	c->held = NULL;
}

static void conn_release_body(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	if (c->body)
		c->body->release(c->body);
	c->body = NULL;
}

void conn_close(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	list_remove(&c->link);
	close(c->fd);
	c->fd = -1;
	conn_forget_job(c);
	conn_release_request(c);
	conn_release_body(c);
	conn_unref(c);
}

static void conn_end_reply(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	c->is_head = false;
	count_up(&c->loop->served);
	conn_wait(c, WAIT_IDLE);
}

void conn_reply(struct conn *c, int status, const char *type, const char *body, size_t bytes)
{
	TETHER_CHECK(&c->tether);
	c->is_last |= c->loop->stop_by_ms != 0;
	c->out_end += http_header(c->out + c->out_end, OUT_MAX - c->out_end, status, type, bytes, c->is_last);
	assert(bytes <= OUT_MAX - c->out_end);
	if (!c->is_head) {
		memcpy(c->out + c->out_end, body, bytes);
		c->out_end += bytes;
	}
	conn_end_reply(c);
}

/* A header that a server has made, but for its end; it and the body are less than REPLY_MAX, or the body is sent from where
 * it lies, and released. */
void conn_send(struct conn *c, const char *header, size_t bytes, struct body *body)
{
	static const char ends[2][32] = {"Connection: keep-alive\r\n\r\n", "Connection: close\r\n\r\n"};

	TETHER_CHECK(&c->tether);
	assert(!c->body && bytes + sizeof *ends <= OUT_MAX - c->out_end);
	c->is_last |= c->loop->stop_by_ms != 0;
	memcpy(c->out + c->out_end, header, bytes);
	c->out_end += bytes;
	memcpy(c->out + c->out_end, ends[c->is_last], strlen(ends[c->is_last]));
	c->out_end += strlen(ends[c->is_last]);
	c->body = body;
	c->body_start = 0;
	if (c->is_head)
		conn_release_body(c);
	conn_end_reply(c);
}

/* Answer with an error, and read no more: where the next request begins may be unclear. */
void conn_refuse(struct conn *c, int status)
{
	TETHER_CHECK(&c->tether);
	const char *text = http_status_str((enum http_status)status);

	conn_forget_job(c);
	c->state = CONN_READING;
	c->is_last = true;
	conn_reply(c, status, "text/plain", text, strlen(text));
	conn_release_request(c);
}

static bool conn_can_parse(const struct conn *c)
{
	TETHER_CHECK(&c->tether);
	return c->state == CONN_READING && !c->is_last && !c->body && c->in_start < c->in_end && OUT_MAX - c->out_end >= REPLY_MAX;
}

static void conn_parse(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	while (conn_can_parse(c)) {
		int status = http_parse(c);

		if (status == HTTP_WHOLE) {
			site_serve(c, c->request);
			conn_release_request(c);
		} else if (status != HTTP_MORE) {
			conn_refuse(c, status);
		}
	}
}

/* False: the connection is broken. */
static bool conn_read(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	if (c->state == CONN_LINGERING)
		c->in_start = c->in_end;
	memmove(c->in, c->in + c->in_start, c->in_end - c->in_start);
	c->in_end -= c->in_start;
	c->in_start = 0;
	if (c->in_end == IN_MAX || c->has_ended)
		return true;
	ssize_t n = recv(c->fd, c->in + c->in_end, IN_MAX - c->in_end, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_end += (size_t)n;
	c->has_ended = n == 0;
	return true;
}

/* As much as goes. False: the connection is broken. */
static bool conn_write(struct conn *c, const char *bytes, size_t *start, size_t end)
{
	TETHER_CHECK(&c->tether);
	while (*start < end) {
		ssize_t n = send(c->fd, bytes + *start, end - *start, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		*start += n < 0 ? 0 : (size_t)n;
		if (n > 0 && c->wait == WAIT_IDLE && !c->loop->stop_by_ms)
			conn_wait(c, WAIT_IDLE); /* who takes a long answer slowly does take it */
	}
	return true;
}

/* False: the connection is broken. */
static bool conn_flush(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	if (!conn_write(c, c->out, &c->out_start, c->out_end))
		return false;
	if (c->out_start < c->out_end)
		return true;
	c->out_start = c->out_end = 0;
	if (c->body && !conn_write(c, c->body->bytes, &c->body_start, c->body->size))
		return false;
	if (c->body && c->body_start == c->body->size)
		conn_release_body(c);
	return true;
}

static bool conn_has_output(const struct conn *c)
{
	TETHER_CHECK(&c->tether);
	return c->out_end > 0 || c->body;
}

/* With all answers sent: is there no reason to stay? */
static bool conn_is_over(const struct conn *c)
{
	TETHER_CHECK(&c->tether);
	if (c->state == CONN_READING)
		return c->has_ended || (c->loop->stop_by_ms != 0 && !c->request);
	return c->state == CONN_LINGERING && c->has_ended;
}

static void conn_watch(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	bool wants_more = c->state == CONN_LINGERING || c->in_end - c->in_start < IN_MAX;
	struct epoll_event event = {.data.ptr = c};

	if (wants_more && !c->has_ended)
		event.events |= EPOLLIN;
	if (conn_has_output(c))
		event.events |= EPOLLOUT;
	if (event.events != c->watched)
		epoll_ctl(c->loop->epoll, EPOLL_CTL_MOD, c->fd, &event);
	c->watched = event.events;
}

/* Go as far as input and output allow. May close the connection. */
static void conn_advance(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	do {
		conn_parse(c);
		if (!conn_flush(c)) {
			conn_close(c);
			return;
		}
	} while (conn_can_parse(c));
	if (!conn_has_output(c) && c->is_last && c->state == CONN_READING) {
		shutdown(c->fd, SHUT_WR);
		c->state = CONN_LINGERING;
		conn_wait(c, WAIT_LINGER);
	}
	if (!conn_has_output(c) && conn_is_over(c))
		conn_close(c);
	else
		conn_watch(c);
}

/* Something happened to the descriptor. May close the connection. */
void conn_event(struct conn *c, uint32_t events)
{
	TETHER_CHECK(&c->tether);
	if ((events & (EPOLLERR | EPOLLHUP)) || !conn_read(c))
		conn_close(c);
	else
		conn_advance(c);
}

/* What it waits for has taken too long. May close the connection. */
void conn_expire(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	if (c->wait == WAIT_IDLE || c->wait == WAIT_LINGER) {
		conn_close(c);
		return;
	}
	conn_refuse(c, c->state == CONN_WORKING ? HTTP_STATUS_GATEWAY_TIMEOUT : HTTP_STATUS_REQUEST_TIMEOUT);
	conn_advance(c);
}

/* Have a worker make the answer. */
void conn_start_job(struct conn *c, struct request *r)
{
	TETHER_CHECK(&c->tether);
	c->job = pool_submit(c, r);
	if (!c->job) {
		conn_refuse(c, HTTP_STATUS_SERVICE_UNAVAILABLE);
		return;
	}
	c->state = CONN_WORKING;
	c->loop->due++;
	count_up(&c->loop->jobs);
}

/* A job came home. May close the connection, which the job's reference keeps alive. */
void conn_finish_job(struct conn *c, struct job *j)
{
	TETHER_CHECK(&c->tether);
	if (c->job != j)
		return; /* too late: the client has gone, or was told that it takes too long */
	c->job = NULL;
	c->loop->due--;
	c->state = CONN_READING;
	job_reply(c, j);
	conn_advance(c);
}

/* Enough is being worked on: the request waits for its turn. */
void conn_hold(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	assert(c->request && !c->held);
	c->held = c->request;
	c->request = NULL;
	c->state = CONN_WORKING;
	conn_wait(c, WAIT_TURN);
}

/* Its turn has come: there is room for it. May close the connection. */
void conn_resume(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	struct request *r = c->held;

	c->held = NULL;
	c->state = CONN_READING;
	conn_wait(c, WAIT_TOTAL);
	site_serve(c, r);
	request_unref(r);
	conn_advance(c);
}
