/* main.c - starts the loops and the workers, waits for a reason to stop, stops them, says what happened.
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "httpd.h"

struct loop loops[LOOPS_MAX];

/* What tether is to remember: in a debug build, the whole story of each object. TETHER_OPTIONS comes after. */
const char *tether_default_options(void)
{
	return TETHER_CHECKS ? "bind_stacks=fast:history=1" : "";
}

/* 0 or -errno. */
static int server_start(int *port)
{
	static pthread_barrier_t all_started; /* static, as threads may still be leaving it when we go on */
	int error = pool_start((int)options.workers);

	for (int i = 0; i < options.loops && !error; i++)
		error = loop_create(&loops[i], i, port);
	pthread_barrier_init(&all_started, NULL, (unsigned)options.loops + 1);
	for (int i = 0; i < options.loops && !error; i++)
		error = loop_start(&loops[i], &all_started);
	if (error)
		return error;
	pthread_barrier_wait(&all_started);
	for (int i = 0; i < options.loops && !error; i++)
		error = loops[i].error;
	return error;
}

/* Loops end when all that they own is destroyed, so after them no worker has a job. */
static void server_stop(void)
{
	for (int i = 0; i < options.loops; i++)
		loop_stop(&loops[i]);
	for (int i = 0; i < options.loops; i++)
		pthread_join(loops[i].thread, NULL);
	pool_stop();
	if (options.once)
		bugs_client_join();
}

static time_t clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static bool server_is_over(time_t began)
{
	return (options.seconds && clock_s() - began >= options.seconds) ||
	       (options.requests && stats_served() >= (unsigned long long)options.requests) ||
	       (options.once && bugs_client_is_done());
}

/* Until a signal comes, or a bound of the options is reached. */
static void server_wait(const sigset_t *signals)
{
	const struct timespec tick = {.tv_nsec = 20000000};
	time_t began = clock_s();

	while (!server_is_over(began))
		if (sigtimedwait(signals, NULL, &tick) > 0)
			return;
}

int main(int argc, char **argv)
{
	int status = 0;
	sigset_t signals;

	(void)argc;
	if (!options_parse(argv + 1, &status))
		return status;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL); /* for all threads: main takes them */
	http_parser_set_max_header_size((uint32_t)options.header_bytes);

	int port = (int)options.port, error = server_start(&port);
	if (error) {
		fprintf(stderr, "httpd: cannot start: %s\n", strerror(-error));
		return 1;
	}
	printf("httpd: listening on 127.0.0.1:%d, %ld loops, %ld workers, checks %s\n", port, options.loops, options.workers,
	       TETHER_CHECKS ? "on" : "off");
	fflush(stdout);
	if (options.once && bugs_client_start(port) != 0) {
		fprintf(stderr, "httpd: the client cannot connect\n");
		return 1;
	}
	server_wait(&signals);
	server_stop();
	bool is_good = stats_print();
	for (int i = 0; i < options.loops; i++)
		loop_destroy(&loops[i]);
	return is_good ? 0 : 1;
}
