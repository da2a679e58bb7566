/* program.c - a program to look at with gdb: objects in each state, and owners with something pending.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include <tether/tether.h>

struct conn {
	int fd;
	struct {
		struct tether tether;
	} base;
	struct conn *peer;
};

struct conn *mine, *theirs, *orphan, *unclaimed, *dead;
struct tether zero, garbage = {0, 0x1234, 0, 0};
static sem_t ready, finish;
static tether_owner_t loop, fiber, strand;

/* The debugger stops here, and in the next one. */
__attribute__((noinline)) void stop_here(void)
{
	__asm__ volatile("");
}

__attribute__((noinline)) void stop_in_destructor(void)
{
	__asm__ volatile("");
}

static void conn_destroy(void *object)
{
	struct conn *conn = object;

	if (conn->peer) {
		tether_drop(&conn->peer->base.tether);
		stop_in_destructor();
	}
	free(conn);
}

static const struct tether_type conn_type = TETHER_TYPE(struct conn, base.tether, conn_destroy);

static void note_called(struct tether_message *message, enum tether_fate fate)
{
	(void)message;
	(void)fate;
}

struct tether_message note = TETHER_MESSAGE_INIT(note_called);

const char *tether_default_options(void)
{
	return "history=1:bind_stacks=fast";
}

static struct conn *conn_create(const char *label, struct conn *peer)
{
	struct conn *conn = calloc(1, sizeof *conn);

	conn->peer = peer;
	tether_bind(&conn->base.tether, &conn_type);
	tether_set_label(&conn->base.tether, label);
	return conn;
}

static void *run_loop(void *unused)
{
	(void)unused;
	loop = tether_self();
	tether_self_set_name("the loop");
	theirs = conn_create("10.0.0.7:52114", conn_create("the peer", NULL));
	sem_post(&ready);
	sem_wait(&finish);
	tether_drain(0);
	return NULL;
}

static void *run_short(void *unused)
{
	(void)unused;
	tether_self_set_name("the short one");
	orphan = conn_create(NULL, NULL);
	return NULL;
}

static void *run_nobody(void *unused)
{
	(void)unused;
	tether_drop(&theirs->base.tether);
	return NULL;
}

static void in_thread(void *(*work)(void *))
{
	pthread_t thread;

	pthread_create(&thread, NULL, work, NULL);
	pthread_join(thread, NULL);
}

int main(void)
{
	pthread_t looping;

	sem_init(&ready, 0, 0);
	sem_init(&finish, 0, 0);
	tether_self_set_name("the main");
	pthread_create(&looping, NULL, run_loop, NULL);
	sem_wait(&ready);
	tether_owner_create("the fiber", &fiber);
	tether_owner_create("the strand", &strand);
	in_thread(run_short);
	in_thread(run_nobody);
	tether_post(loop, &note);

	mine = conn_create("mine", NULL);
	unclaimed = calloc(1, sizeof *unclaimed);
	tether_bind_later(&unclaimed->base.tether, &conn_type);
	dead = conn_create(NULL, NULL);
	tether_fini(&dead->base.tether);
	tether_owner_t before = tether_owner_enter(strand);
	stop_here();
	tether_owner_leave(before);

	sem_post(&finish);
	pthread_join(looping, NULL);
	return 0;
}
