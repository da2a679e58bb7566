/* wsgi.h - the nouns of a WSGI server, and who may touch what.
 * SPDX-License-Identifier: MIT
 *
 *     loop-0, loop-1, ...   ../httpd's core: epoll, connections, the parser. They never wait for the GIL
 *        |            ^
 *        | jobs       | jobs with their answers (messages), connections and requests (drops)
 *        v            |
 *     pool-0, pool-1, ...   run the application with the GIL; come when there is work, go when they are idle
 *
 * Who owns what:
 *
 *     loop           connections and requests, which have no lock
 *     pool thread    the payload of each WSGIProtocol that it made: what the application's frames keep alive may die on
 *                    any thread that happens to collect; the payload goes home. When home has gone, Python's owner inherits
 *     Python         answers: references that a loop lets go of when it has sent them, and that need the GIL to end */
#ifndef WSGI_WSGI_H
#define WSGI_WSGI_H

#include <tether/python.h>

#include <arpa/inet.h>

#include "core.h"

enum { LOOPS_MAX = 16, THREADS_MAX = 64, URL_MAX = 8192, HEADER_MAX = 32768, ANSWER_HEADER_MAX = REPLY_MAX - 64 };

/* Constant once the threads run. */
struct options {
	int port, loops, threads, backpressure, idle_ms, body_bytes;
	int is_deferred;   /* false: a payload is destroyed where its WSGIProtocol is, as if there were no tether */
	int shows_reports; /* write the first report of each place */
};

extern struct options options;

/* request.c - what a client asked for; whole, it is constant. */
PyObject *request_to_python(const struct request *r, const char *peer);

/* site.c - how many requests are worked on at once. */
void site_start(void);
void site_end_job(struct loop *l);

/* pool.c - threads for the application, and what they are given. */
struct answer;

struct job {
	struct tether_message done; /* comes home with it */
	struct link link;           /* while queued */
	struct loop *loop;
	struct conn *conn;          /* a reference */
	struct request *request;    /* a reference */
	char peer[INET_ADDRSTRLEN]; /* the client */
	struct answer *answer;      /* NULL: nobody answered */
};

int pool_start(PyObject *work);
struct job *pool_wait(void);
bool pool_is_ours(void);
void pool_stop(void);
bool pool_is_empty(void);
unsigned long long pool_started(void);

/* answer.c - bytes of Python that a loop sends. */
struct answer *answer_create(PyObject *header, PyObject *bytes);
void answer_send(struct answer *a, struct conn *c);
void answer_drop(struct answer *a);
unsigned long long answer_count(void);

/* protocol.c - the object that the application's frames hold. */
struct protocol_counters {
	unsigned long long made, kept, elsewhere, home, inherited, foreign;
};

int protocol_init(PyObject *module);
PyObject *protocol_create(struct job *j);
void protocol_let_go_all(void);
struct protocol_counters protocol_count(void);

/* places.c - where protocols were made and let go. */
void places_start(void);
PyObject *places_to_python(void);

/* module.c */
extern struct loop loops[LOOPS_MAX]; /* options.loops of them */

#endif
