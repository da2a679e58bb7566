/* bugs.c - real mistakes, planted with --bug=NAME, each as somebody once made it.
 * SPDX-License-Identifier: MIT
 *
 * They are meant for --once, where one client asks once and waits: there each does no harm beyond its
 * report. Under load a second drop, for one, may hit an object that uses the memory again. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "httpd.h"

static const struct {
	const char *name, *text;
} bugs[] = {
	[BUG_TOUCH] = {"touch-from-worker", "a worker looks whether the connection is still open"},
	[BUG_DESTROY] = {"destroy-on-worker", "a worker calls the connection's destructor instead of dropping it"},
	[BUG_USE_AFTER_DROP] = {"use-after-drop", "a loop reads a request which it has released"},
	[BUG_DOUBLE_DROP] = {"double-drop", "a worker drops a request that its last reference has dropped"},
	[BUG_OWNER_EXITS] = {"owner-exits", "a loop's thread ends while a worker has its request"},
};

enum { BUGS = sizeof bugs / sizeof *bugs };

static struct {
	pthread_t thread; /* main only */
	int fd;           /* constant while the client runs */
	atomic_bool is_done;
	atomic_bool is_released; /* its request, by a worker */
} client = {.fd = -1};

/* BUG_NONE: no such name. */
enum bug bugs_find(const char *name)
{
	for (int i = BUG_NONE + 1; i < BUGS; i++)
		if (strcmp(bugs[i].name, name) == 0)
			return (enum bug)i;
	return BUG_NONE;
}

bool bugs_list(void)
{
	for (int i = BUG_NONE + 1; i < BUGS; i++)
		printf("%-18s %s\n", bugs[i].name, bugs[i].text);
	return false;
}

/* A worker has taken a job. */
void bugs_in_worker(struct job *j)
{
	if (options.bug == BUG_TOUCH)
		conn_is_open(j->conn);
	if (options.bug == BUG_DESTROY)
		conn_destroy(j->conn);
	if (options.bug != BUG_OWNER_EXITS)
		return;
	while (tether_owner_is_alive(j->loop->owner))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	shutdown(client.fd, SHUT_RDWR); /* nobody will answer it any more */
}

/* A worker has released its request. */
void bugs_after_worker(struct request *r)
{
	if (options.bug == BUG_DOUBLE_DROP)
		tether_drop(&r->tether);
	atomic_store_explicit(&client.is_released, true, memory_order_release);
}

/* A loop has released its request. */
void bugs_after_request(struct request *r)
{
	if (options.bug == BUG_USE_AFTER_DROP)
		request_is_for(r, "/");
}

/* Does the loop's thread end before its time? */
bool bugs_loop_exits(struct loop *l)
{
	return options.bug == BUG_OWNER_EXITS && count_of(&l->jobs) > 0;
}

static void *client_run(void *context)
{
	static const char slow[] = "GET /slow?ms=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
	static const char quick[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	/* A worker's reference would keep the request alive, so the use after the drop is without one. */
	const char *request = options.bug == BUG_USE_AFTER_DROP ? quick : slow;
	char answer[512];

	(void)context;
	pthread_setname_np(pthread_self(), "client");
	if (send(client.fd, request, strlen(request), MSG_NOSIGNAL) > 0 && recv(client.fd, answer, sizeof answer, 0) > 0)
		printf("client: %.*s\n", (int)strcspn(answer, "\r"), answer);
	atomic_store_explicit(&client.is_done, true, memory_order_release);
	return NULL;
}

/* A client in this process, for --once. 0 or -1. */
int bugs_client_start(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client.fd < 0 || connect(client.fd, (struct sockaddr *)&address, sizeof address) != 0)
		return -1;
	return pthread_create(&client.thread, NULL, client_run, NULL) == 0 ? 0 : -1;
}

/* The second drop is to find the loop alive, and comes after the answer. */
bool bugs_client_is_done(void)
{
	return atomic_load_explicit(&client.is_done, memory_order_acquire) &&
	       (options.bug != BUG_DOUBLE_DROP || atomic_load_explicit(&client.is_released, memory_order_acquire));
}

void bugs_client_join(void)
{
	pthread_join(client.thread, NULL);
	close(client.fd);
}
