/* httpd.h - the nouns of a small web server, and who may touch what.
 * SPDX-License-Identifier: MIT
 *
 *             stop (a message)
 *     main -------------------> loop-0, loop-1, ...     epoll, a listener, connections, requests
 *                                |            ^
 *                 jobs (a queue) |            | jobs with their answers (messages),
 *                                v            | and objects whose last reference a worker let go (drops)
 *                              pool-0, pool-1, ...
 *
 * Connections and requests belong to the loop that made them. Other threads may hold references and
 * let them go, and nothing else; whoever lets the last one go, the object is destroyed on its loop.
 * So nothing in a loop, a connection or a request has a lock. Functions that take a connection or a
 * request say so in their first line, with TETHER_CHECK.
 *
 * Invariant: a connection is destroyed after its descriptor was closed, a loop ends after the last of
 * its objects was destroyed. */
#ifndef HTTPD_HTTPD_H
#define HTTPD_HTTPD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <http_parser.h>
#include <tether/tether.h>

#include "list.h"

enum {
	LOOPS_MAX = 16,
	WORKERS_MAX = 64,
	URL_MAX = 1024,
	BODY_MAX = 16384,
	IN_MAX = 8192,
	OUT_MAX = 16384,
	REPLY_MAX = 8192 /* header and body of one reply: a request is read only while so much is free */
};

/* What a connection waits for; each has its time limit. */
enum wait {
	WAIT_IDLE,   /* the next request */
	WAIT_HEADER, /* the rest of a request's header */
	WAIT_TOTAL,  /* the rest of its body, and its answer */
	WAIT_LINGER, /* the peer, after the last answer */
	WAIT_KINDS
};

enum bug { BUG_NONE, BUG_TOUCH, BUG_DESTROY, BUG_USE_AFTER_DROP, BUG_DOUBLE_DROP, BUG_OWNER_EXITS };

/* options.c - the command line. Constant once the threads run. */
struct options {
	long port, loops, workers, jobs, requests, seconds, header_bytes, body_bytes, drain_ms;
	long wait_ms[WAIT_KINDS];
	enum bug bug;
	bool once;
};

extern struct options options;

bool options_parse(char **arguments, int *status);

/* shelf.c - objects of one type and one loop, waiting to be used again. */
struct shelf_item {
	struct shelf_item *next;
};

struct shelf {
	size_t item_bytes;
	struct shelf_item *free;    /* its loop only */
	struct shelf_block *blocks; /* its loop only */
	uint64_t taken, returned;   /* its loop only, and main when the loop has ended */
};

void shelf_init(struct shelf *shelf, size_t item_bytes);
void shelf_fini(struct shelf *shelf);
void *shelf_take(struct shelf *shelf);
void shelf_put(struct shelf *shelf, struct shelf_item *item);

/* loop.c - one thread and its connections. */
struct loop {
	char name[16];                   /* constant */
	pthread_t thread;                /* main only */
	tether_owner_t owner;            /* constant once all have started */
	int error;                       /* likewise: why it could not */
	pthread_barrier_t *all_started;  /* constant */
	int epoll, listener;             /* loop only, as all down to `stop` */
	int64_t now_ms;                  /* when epoll last returned */
	int64_t accept_again_ms;         /* 0: the listener is watched */
	int64_t stop_by_ms;              /* 0: not stopping */
	struct link waiting[WAIT_KINDS]; /* all open connections. Those in one list wait equally long: it is sorted */
	struct shelf conns, requests;
	struct tether_message stop;                     /* main's until posted, then the loop's */
	atomic_ullong accepted, served, jobs, messages; /* the loop writes, all read */
};

int loop_create(struct loop *loop, int number, int *port);
int loop_start(struct loop *loop, pthread_barrier_t *all_started);
void loop_stop(struct loop *loop);
void loop_destroy(struct loop *loop);

/* Only one thread writes a counter, so it needs no atomic addition. */
static inline void count_up(atomic_ullong *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline unsigned long long count_of(atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

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

struct request *request_create(struct loop *loop);
struct request *request_ref(struct request *r);
void request_unref(struct request *r);
int request_add_url(struct request *r, const char *bytes, size_t n);
int request_add_field(struct request *r, const char *bytes, size_t n);
void request_end_field(struct request *r);
int request_end_header(struct request *r, const struct http_parser *parser);
int request_add_body(struct request *r, const char *bytes, size_t n);
bool request_is_for(const struct request *r, const char *path);

/* conn.c - a client's connection. */
enum conn_state {
	CONN_READING,  /* a request, or the rest of one */
	CONN_WORKING,  /* a worker has the request */
	CONN_LINGERING /* has sent its last; reads on, as closing with bytes unread would destroy the answer */
};

struct conn {
	struct shelf_item item; /* while on the shelf */
	atomic_int refs;        /* any thread: the loop's, and one of each job */
	struct tether tether;
	struct loop *loop; /* constant; from here on it is the loop's */
	int fd;            /* -1: closed, and alive only for the references of workers */
	enum conn_state state;
	enum wait wait;
	int64_t deadline_ms;
	struct link link;        /* in loop->waiting[wait] */
	uint32_t watched;        /* events asked of epoll */
	bool has_ended;          /* the peer sends no more */
	bool is_last;            /* no request is read after this one */
	bool is_head;            /* the answer has no body */
	int refusal;             /* the status with which a callback stopped the parser */
	struct request *request; /* being read */
	struct job *job;         /* being worked on. No reference: the job clears it when it comes home */
	struct http_parser parser;
	size_t in_start, in_end, out_start, out_end;
	char in[IN_MAX];
	char out[OUT_MAX];
};

struct conn *conn_create(struct loop *loop, int fd);
struct conn *conn_ref(struct conn *c);
void conn_unref(struct conn *c);
void conn_destroy(void *object);
bool conn_is_open(const struct conn *c);
void conn_event(struct conn *c, uint32_t events);
void conn_expire(struct conn *c);
void conn_close(struct conn *c);
void conn_wait(struct conn *c, enum wait wait);
void conn_reply(struct conn *c, int status, const char *type, const char *body, size_t bytes);
void conn_refuse(struct conn *c, int status);
void conn_start_job(struct conn *c, struct request *r);
void conn_finish_job(struct conn *c, struct job *j);

/* http.c - between the parser and a connection. */
enum { HTTP_MORE = 0, HTTP_WHOLE = 1 }; /* or the status of a refusal */

void http_init(struct http_parser *parser, struct conn *c);
int http_parse(struct conn *c);
size_t http_header(char *out, size_t max, int status, const char *type, size_t body_bytes, bool is_last);

/* site.c - what is served under which path. */
void site_serve(struct conn *c, struct request *r);

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
struct job *pool_submit(struct conn *c, struct request *r);
void pool_forget(struct job *j);

/* stats.c - what happened. */
size_t stats_json(char *out, size_t max);
unsigned long long stats_served(void);
bool stats_print(void);

/* bugs.c - real mistakes, planted. */
enum bug bugs_find(const char *name);
bool bugs_list(void);
void bugs_in_worker(struct job *j);
void bugs_after_worker(struct request *r);
void bugs_after_request(struct request *r);
bool bugs_loop_exits(struct loop *l);
int bugs_client_start(int port);
bool bugs_client_is_done(void);
void bugs_client_join(void);

/* main.c */
extern struct loop loops[LOOPS_MAX]; /* options.loops of them */

#endif
