/* core.h - the core of a web server: loops, their connections, the parser. What is served is another's matter.
 * SPDX-License-Identifier: MIT
 *
 *     loop.c, conn.c, http.c, shelf.c     this core, of httpd and of ../wsgi
 *     "what a server adds", below         what each of them brings: its requests, who answers them
 *
 * Connections and requests belong to the loop that made them. Other threads may hold references and
 * let them go, and nothing else; whoever lets the last one go, the object is destroyed on its loop.
 * So nothing in a loop, a connection or a request has a lock. Functions that take a connection or a
 * request say so in their first line, with TETHER_CHECK.
 *
 * Invariant: a connection is destroyed after its descriptor was closed, a loop ends after the last of
 * its objects was destroyed. */
#ifndef HTTPD_CORE_H
#define HTTPD_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <http_parser.h>
#include <tether/tether.h>

#include "list.h"

enum {
	IN_MAX = 8192,
	OUT_MAX = 16384,
	REPLY_MAX = 8192 /* what one reply takes of it, header and all: a request is read only while so much is free */
};

/* What a connection waits for; each has its time limit. */
enum wait {
	WAIT_IDLE,   /* the next request, or that the peer takes more of an answer */
	WAIT_HEADER, /* the rest of a request's header */
	WAIT_TOTAL,  /* the rest of its body, and its answer */
	WAIT_TURN,   /* that fewer requests are worked on */
	WAIT_LINGER, /* the peer, after the last answer */
	WAIT_KINDS
};

/* Constant once the loops run. */
struct limits {
	long drain_ms;
	long wait_ms[WAIT_KINDS];
};

extern struct limits limits;

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
	bool has_microseconds;           /* of epoll: Linux 5.11 */
	size_t due;                      /* answers that clients wait for, and workers bring */
	int64_t now_ms;                  /* when epoll last returned */
	int64_t accept_again_ms;         /* 0: the listener is watched */
	int64_t stop_by_ms;              /* 0: not stopping */
	struct link waiting[WAIT_KINDS]; /* all open connections. Those in one list wait equally long: it is sorted */
	struct shelf conns, requests;
	struct tether_message stop;                     /* main's until posted, then the loop's */
	atomic_ullong accepted, served, jobs, messages; /* the loop writes, all read */
	atomic_ullong unarmed;                          /* likewise: short sleeps in which nobody woke it */
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

/* conn.c - a client's connection. */
enum conn_state {
	CONN_READING,  /* a request, or the rest of one */
	CONN_WORKING,  /* a worker has the request, or will have it when its turn comes */
	CONN_LINGERING /* has sent its last; reads on, as closing with bytes unread would destroy the answer */
};

/* A long body of an answer, sent from where it lies. Its loop releases it: when it is sent, or not wanted. */
struct body {
	const char *bytes;
	size_t size;
	void (*release)(struct body *body);
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
	struct request *held;    /* while it waits for its turn */
	struct job *job;         /* being worked on. No reference: the job clears it when it comes home */
	struct body *body;       /* being sent, behind what is in `out` */
	size_t body_start;
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
void conn_send(struct conn *c, const char *header, size_t bytes, struct body *body);
void conn_refuse(struct conn *c, int status);
void conn_start_job(struct conn *c, struct request *r);
void conn_finish_job(struct conn *c, struct job *j);
void conn_hold(struct conn *c);
void conn_resume(struct conn *c);

/* http.c - between the parser and a connection. */
enum { HTTP_MORE = 0, HTTP_WHOLE = 1 }; /* or the status of a refusal */

void http_init(struct http_parser *parser, struct conn *c);
int http_parse(struct conn *c);
size_t http_header(char *out, size_t max, int status, const char *type, size_t body_bytes, bool is_last);

/* ---- What a server adds ---------------------------------------------------------------------- */

/* request.c - what a client asked for, filled in as it arrives. Those that return an int refuse the request by its
 * status, or return 0. */
extern const size_t request_bytes;

struct request *request_create(struct loop *loop);
struct request *request_ref(struct request *r);
void request_unref(struct request *r);
int request_add_url(struct request *r, const char *bytes, size_t n);
int request_add_field(struct request *r, const char *bytes, size_t n);
int request_add_value(struct request *r, const char *bytes, size_t n);
int request_end_header(struct request *r, const struct http_parser *parser);
int request_add_body(struct request *r, const char *bytes, size_t n);
bool request_expects_continue(const struct request *r);

/* site.c - a request is whole: conn_reply(), conn_refuse(), conn_start_job() or conn_hold(). */
void site_serve(struct conn *c, struct request *r);

/* pool.c - a job for another thread, with references of its own; conn_finish_job() has it answered. */
struct job *pool_submit(struct conn *c, struct request *r);
void pool_forget(struct job *j);
void job_reply(struct conn *c, struct job *j);

/* bugs.c - where mistakes are planted. */
void bugs_after_request(struct request *r);
bool bugs_loop_exits(struct loop *l);

#endif
