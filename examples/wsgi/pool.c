/* pool.c - threads that run the application: one more when all are busy, one less when one was idle for long.
 * SPDX-License-Identifier: MIT
 *
 * A pool thread sleeps in poll() until there is a job or something came home to it. A job brings one token to `fd`, a
 * semaphore; whoever finds the job without having slept leaves the token behind, and the next one who sleeps finds
 * nothing under it and sleeps again.
 *
 * Invariant: a queued job has a thread that will look: one lives that is not leaving, and the last one stays. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wsgi.h"

static struct {
	pthread_mutex_t lock;
	int fd;                 /* constant, as `work` and `signals` */
	PyObject *work;         /* what a thread runs: it calls pool_wait() */
	sigset_t signals;       /* what Python blocks: a loop starts threads, and blocks all */
	struct link jobs;       /* under the lock, as all that follows */
	int queued, idle, live; /* live: not leaving */
	int leaving;            /* until their owner has ended */
	unsigned long long started;
	bool is_stopping;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static __thread bool is_ours;

/* ---- Jobs ------------------------------------------------------------------------------------ */

/* Any thread. */
static void job_destroy(struct job *j)
{
	if (j->answer)
		answer_drop(j->answer);
	request_unref(j->request);
	conn_unref(j->conn);
	free(j);
}

/* At home; or, where the loop has gone, on whoever answered it. */
static void job_done(struct tether_message *message, enum tether_fate fate)
{
	struct job *j = container_of(message, struct job, done);
	struct loop *l = j->loop;

	if (fate == TETHER_RUN) {
		count_up(&l->messages);
		conn_finish_job(j->conn, j);
	}
	job_destroy(j);
	if (fate == TETHER_RUN)
		site_end_job(l);
}

void job_reply(struct conn *c, struct job *j)
{
	TETHER_CHECK(&c->tether);
	if (j->answer)
		answer_send(j->answer, c);
	else
		conn_refuse(c, HTTP_STATUS_INTERNAL_SERVER_ERROR);
	j->answer = NULL;
}

static void job_name_peer(struct job *j, struct conn *c)
{
	TETHER_CHECK(&c->tether);
	struct sockaddr_in peer;

	if (getpeername(c->fd, (struct sockaddr *)&peer, &(socklen_t){sizeof peer}) == 0)
		inet_ntop(AF_INET, &peer.sin_addr, j->peer, sizeof j->peer);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void worker_start(void);

/* The owner ends before the thread is no longer counted: what comes home later has an heir. */
static void worker_leave(bool has_left)
{
	tether_owner_exit();
	pthread_mutex_lock(&pool.lock);
	pool.live -= !has_left;
	pool.leaving -= has_left;
	if (pool.live == 0 && !list_is_empty(&pool.jobs))
		worker_start(); /* it was the last one, and an exception ended it */
	pthread_mutex_unlock(&pool.lock);
}

static void *worker_run(void *context)
{
	char name[16];

	snprintf(name, sizeof name, "pool-%d", (int)(intptr_t)context);
	pthread_setname_np(pthread_self(), name);
	pthread_sigmask(SIG_SETMASK, &pool.signals, NULL); /* processes that the application starts have it, too */
	is_ours = true;
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *result = PyObject_CallNoArgs(pool.work);
	if (!result)
		PyErr_WriteUnraisable(pool.work);
	bool has_left = result != NULL;
	Py_XDECREF(result);
	PyGILState_Release(state);
	worker_leave(has_left);
	return NULL;
}

/* Under the lock. What cannot be started is not missed while another one lives. */
static void worker_start(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, worker_run, (void *)(intptr_t)pool.started) != 0)
		return;
	pthread_detach(thread);
	pool.started++;
	pool.live++;
}

/* A loop. NULL: no memory, or no thread. */
struct job *pool_submit(struct conn *c, struct request *r)
{
	TETHER_CHECK(&c->tether);
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		return NULL;
	tether_message_init(&j->done, job_done);
	j->loop = c->loop;
	j->conn = conn_ref(c);
	j->request = request_ref(r);
	job_name_peer(j, c);
	pthread_mutex_lock(&pool.lock);
	if (pool.queued >= pool.idle && pool.live < options.threads)
		worker_start();
	bool has_thread = pool.live > 0;
	if (has_thread) {
		list_append(&pool.jobs, &j->link);
		pool.queued++;
	}
	pthread_mutex_unlock(&pool.lock);
	if (has_thread) {
		eventfd_write(pool.fd, 1);
		return j;
	}
	job_destroy(j);
	return NULL;
}

/* It comes home in any case, and finds that nobody asks for it. */
void pool_forget(struct job *j)
{
	(void)j;
}

/* The next job; or NULL, and the thread is idle. */
static struct job *pool_take(void)
{
	struct job *j = NULL;

	pthread_mutex_lock(&pool.lock);
	if (list_is_empty(&pool.jobs)) {
		pool.idle++;
	} else {
		j = container_of(pool.jobs.next, struct job, link);
		list_remove(&j->link);
		pool.queued--;
	}
	pthread_mutex_unlock(&pool.lock);
	return j;
}

/* No longer idle. True: it was for long, and is to leave. */
static bool pool_wake(bool was_long)
{
	eventfd_t token;

	(void)eventfd_read(pool.fd, &token); /* it does not block, and another one may have been faster */
	pthread_mutex_lock(&pool.lock);
	pool.idle--;
	bool leaves = list_is_empty(&pool.jobs) && (pool.is_stopping || (was_long && pool.live > 1));
	pool.live -= leaves;
	pool.leaving += leaves;
	pthread_mutex_unlock(&pool.lock);
	return leaves;
}

/* A pool thread, without the GIL. NULL: it is to end. */
struct job *pool_wait(void)
{
	struct pollfd fds[] = {{.fd = pool.fd, .events = POLLIN}, {.fd = tether_fd(), .events = POLLIN}};
	enum { NO_INBOX_MS = 10 };

	for (;;) {
		tether_drain(0);
		struct job *j = pool_take();
		if (j)
			return j;
		bool may_sleep = tether_park();
		int limit_ms = fds[1].fd < 0 ? NO_INBOX_MS : may_sleep ? options.idle_ms : 0;
		int n = poll(fds, 2, limit_ms);
		tether_unpark();
		if (pool_wake(n == 0 && may_sleep))
			return NULL;
	}
}

bool pool_is_ours(void)
{
	return is_ours;
}

/* With the GIL. 0 or -errno. */
int pool_start(PyObject *work)
{
	list_init(&pool.jobs);
	pthread_sigmask(SIG_BLOCK, NULL, &pool.signals);
	pool.work = Py_NewRef(work);
	pool.fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	return pool.fd < 0 ? -errno : 0;
}

/* From here on who is idle leaves. A job that still comes finds a new thread. */
void pool_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.is_stopping = true;
	pthread_mutex_unlock(&pool.lock);
	eventfd_write(pool.fd, THREADS_MAX);
}

bool pool_is_empty(void)
{
	pthread_mutex_lock(&pool.lock);
	bool is_empty = pool.live + pool.leaving == 0;
	pthread_mutex_unlock(&pool.lock);
	return is_empty;
}

/* How many threads there were. */
unsigned long long pool_started(void)
{
	pthread_mutex_lock(&pool.lock);
	unsigned long long started = pool.started;
	pthread_mutex_unlock(&pool.lock);
	return started;
}
