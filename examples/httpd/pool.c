/* pool.c - worker threads, and the jobs that loops give them.
 * SPDX-License-Identifier: MIT
 *
 * A job is in one pair of hands at a time, so it needs no tag: its loop makes it, a worker works on it
 * and posts it home, its loop frees it. It holds a reference to its request, as what it works on lies
 * in there, and one to the connection. A worker looks into neither. It lets the request go once the
 * answer is on its way, for which somebody waits; and, if nobody does any more, the connection too. Where
 * they are destroyed is not its concern: tether sends them home. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "httpd.h"

enum { WORK_MS_MAX = 10000, NAP_MS = 10 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t not_empty;
	struct link jobs; /* under the lock */
	long queued;      /* under the lock */
	bool is_stopping; /* under the lock */
	int workers;      /* main only */
	pthread_t threads[WORKERS_MAX];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .not_empty = PTHREAD_COND_INITIALIZER};

/* Any thread. */
static void job_destroy(struct job *j)
{
	conn_unref(j->conn);
	free(j);
}

/* The answer, which a worker has made. */
void job_reply(struct conn *c, struct job *j)
{
	TETHER_CHECK(&c->tether);
	conn_reply(c, HTTP_STATUS_OK, "text/plain", j->answer, j->answer_bytes);
}

/* At home; or, where the loop has gone, on the worker, which then has nobody to answer. */
static void job_done(struct tether_message *message, enum tether_fate fate)
{
	struct job *j = container_of(message, struct job, done);

	if (fate == TETHER_RUN) {
		count_up(&j->loop->messages);
		conn_finish_job(j->conn, j);
	}
	job_destroy(j);
}

/* NULL: there is too much to do already, or no memory. Stays valid until it comes home or is forgotten. */
struct job *pool_submit(struct conn *c, struct request *r)
{
	TETHER_CHECK(&c->tether);
	TETHER_CHECK(&r->tether);
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		return NULL;
	pthread_mutex_lock(&pool.lock);
	bool has_room = pool.queued < options.jobs;
	if (has_room) {
		tether_message_init(&j->done, job_done);
		j->loop = c->loop;
		j->conn = conn_ref(c);
		j->request = request_ref(r);
		j->body = r->body;
		j->body_bytes = r->body_bytes;
		j->work_ms = r->work_ms < WORK_MS_MAX ? r->work_ms : WORK_MS_MAX;
		list_append(&pool.jobs, &j->link);
		pool.queued++;
		pthread_cond_signal(&pool.not_empty);
	}
	pthread_mutex_unlock(&pool.lock);
	if (has_room)
		return j;
	free(j);
	return NULL;
}

/* Nobody wants its answer any more. Its loop only; the job is not to be touched after that. */
void pool_forget(struct job *j)
{
	/* Release, with acquire in job_is_unwanted(): a worker that sees it may free the job. */
	atomic_store_explicit(&j->is_unwanted, true, memory_order_release);
}

static bool job_is_unwanted(struct job *j)
{
	return atomic_load_explicit(&j->is_unwanted, memory_order_acquire);
}

/* The work: a hash of the body, and a wait, as for a database. */
static void job_work(struct job *j)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < j->body_bytes; i++)
		hash = (hash ^ (unsigned char)j->body[i]) * 16777619u;
	for (long left_ms = j->work_ms; left_ms > 0 && !job_is_unwanted(j); left_ms -= NAP_MS) {
		long nap_ms = left_ms < NAP_MS ? left_ms : NAP_MS;

		nanosleep(&(struct timespec){.tv_nsec = nap_ms * 1000000}, NULL);
	}
	int n = snprintf(j->answer, sizeof j->answer, "worked %ld ms on %zu bytes, hash %08x\n", j->work_ms, j->body_bytes, hash);
	j->answer_bytes = (size_t)n;
}

static void job_run(struct job *j)
{
	struct request *r = j->request;

	bugs_in_worker(j);
	job_work(j);
	if (job_is_unwanted(j))
		job_destroy(j);
	else
		tether_post(j->loop->owner, &j->done);
	request_unref(r);
	bugs_after_worker(r);
}

/* NULL: the pool stops. */
static struct job *pool_take(void)
{
	struct job *j = NULL;

	pthread_mutex_lock(&pool.lock);
	while (list_is_empty(&pool.jobs) && !pool.is_stopping)
		pthread_cond_wait(&pool.not_empty, &pool.lock);
	if (!list_is_empty(&pool.jobs)) {
		j = container_of(pool.jobs.next, struct job, link);
		list_remove(&j->link);
		pool.queued--;
	}
	pthread_mutex_unlock(&pool.lock);
	return j;
}

static void *pool_run(void *context)
{
	char name[16];

	snprintf(name, sizeof name, "pool-%d", (int)(intptr_t)context);
	pthread_setname_np(pthread_self(), name);
	for (struct job *j; (j = pool_take()) != NULL;)
		job_run(j);
	return NULL;
}

/* 0 or -errno. */
int pool_start(int workers)
{
	list_init(&pool.jobs);
	for (; pool.workers < workers; pool.workers++) {
		int error = pthread_create(&pool.threads[pool.workers], NULL, pool_run, (void *)(intptr_t)pool.workers);

		if (error)
			return -error;
	}
	return 0;
}

/* Returns when all jobs are done. */
void pool_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.is_stopping = true;
	pthread_cond_broadcast(&pool.not_empty);
	pthread_mutex_unlock(&pool.lock);
	while (pool.workers > 0)
		pthread_join(pool.threads[--pool.workers], NULL);
}
