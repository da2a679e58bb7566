/* httpd.h - the nouns of a small web server, and who may touch what.
 * SPDX-License-Identifier: MIT
 *
 *             stop (a message)
 *     main -------------------> loop-0, loop-1, ...     epoll, a listener, connections, requests
 *                                |            ^
 *                 jobs (a queue) |            | jobs with their answers (messages),
 *                                v            | and objects whose last reference a worker let go (drops)
 *                              pool-0, pool-1, ...
 */
#ifndef HTTPD_HTTPD_H
#define HTTPD_HTTPD_H

#include "core.h"

enum { LOOPS_MAX = 16, WORKERS_MAX = 64, URL_MAX = 1024, BODY_MAX = 16384 };

enum bug { BUG_NONE, BUG_TOUCH, BUG_DESTROY, BUG_USE_AFTER_DROP, BUG_DOUBLE_DROP, BUG_OWNER_EXITS };

/* options.c - the command line. Constant once the threads run. */
struct options {
	long port, loops, workers, jobs, requests, seconds, header_bytes, body_bytes;
	enum bug bug;
	bool once;
};

extern struct options options;

bool options_parse(char **arguments, int *status);

/* request.c - what a client asked for. */
struct request {
	struct shelf_item item; /* while on the shelf */
	atomic_int refs;        /* any thread */
	struct tether tether;
	struct loop *loop; /* constant; from here on it is the loop's, and constant while a job has it */
	unsigned method, hosts;
	bool expects_continue;
	size_t url_bytes, field_bytes, body_bytes;
	const char *path; /* in `url` */
	size_t path_bytes;
	long work_ms; /* "?ms=" of the query */
	char field[24];
	char url[URL_MAX + 1];
	char body[BODY_MAX];
};

bool request_is_for(const struct request *r, const char *path);

/* pool.c - workers, and the jobs they do. */
struct job {
	struct tether_message done; /* comes home with it */
	struct link link;           /* while queued */
	struct loop *loop;
	struct conn *conn;       /* a reference: for its loop to look into, for us to let go */
	struct request *request; /* a reference, which keeps `body` where it is */
	const char *body;
	size_t body_bytes;
	long work_ms;
	atomic_bool is_unwanted; /* the loop sets it, as the last thing it does with the job */
	char answer[96];
	size_t answer_bytes;
};

int pool_start(int workers);
void pool_stop(void);

/* stats.c - what happened. */
size_t stats_json(char *out, size_t max);
unsigned long long stats_served(void);
bool stats_print(void);

/* bugs.c - real mistakes, planted. */
enum bug bugs_find(const char *name);
bool bugs_list(void);
void bugs_in_worker(struct job *j);
void bugs_after_worker(struct request *r);
int bugs_client_start(int port);
bool bugs_client_is_done(void);
void bugs_client_join(void);

/* main.c */
extern struct loop loops[LOOPS_MAX]; /* options.loops of them */

#endif
