/* site.c - each request is the application's; so many are with it at once.
 * SPDX-License-Identifier: MIT
 *
 * Backpressure: what is above the bound waits on its loop, its connection is not read, and TCP holds the client back. Each loop
 * has its share of the bound to itself, so that none has to ask another one. */
#include <assert.h>

#include "wsgi.h"

static struct {
	int working, most; /* the loop's; `most` is constant once it runs */
} shares[LOOPS_MAX];

void site_start(void)
{
	for (int i = 0; i < options.loops; i++)
		shares[i].most = options.backpressure / options.loops + (i < options.backpressure % options.loops);
}

void site_serve(struct conn *c, struct request *r)
{
	TETHER_CHECK(&c->tether);
	long number = c->loop - loops;

	if (shares[number].working == shares[number].most) {
		conn_hold(c);
		return;
	}
	conn_start_job(c, r);
	shares[number].working += c->job != NULL;
}

/* A job has come home: one that waits has its turn. */
void site_end_job(struct loop *l)
{
	struct link *waiting = &l->waiting[WAIT_TURN];

	assert(shares[l - loops].working > 0);
	shares[l - loops].working--;
	if (!list_is_empty(waiting))
		conn_resume(container_of(waiting->next, struct conn, link));
}

/* No mistake is planted here. */
void bugs_after_request(struct request *r)
{
	(void)r;
}

bool bugs_loop_exits(struct loop *l)
{
	(void)l;
	return false;
}
