/* hello.c - an object that is dropped on another thread and destroyed at home, in five lines of use.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <tether/tether.h>

struct conn {
	int number;
	struct tether tether; /* 1. embed the tag */
};

static void conn_destroy(void *object)
{
	printf("owner #%d destroys connection %d\n", (int)tether_owner_number(tether_self()), ((struct conn *)object)->number);
}

static const struct tether_type conn_type = TETHER_TYPE(struct conn, tether, conn_destroy); /* 2. describe its type */

static void *other_thread(void *object)
{
	struct conn *c = object;

	tether_self_set_name("other");                      /* for the report: both threads are called "hello" */
	TETHER_CHECK(&c->tether);                           /* 3. check: here it is a mistake, and the report says whose */
	enum tether_dropped what = tether_drop(&c->tether); /* 4. drop, from any thread */
	printf("owner #%d drops it: %s\n", (int)tether_owner_number(tether_self()), what == TETHER_QUEUED ? "queued" : "?");
	return NULL;
}

int main(void)
{
	struct conn c = {.number = 1};
	pthread_t thread;

	tether_self_set_name("main");
	tether_bind(&c.tether, &conn_type); /* 5. bind: it is this thread's from here on */
	if (pthread_create(&thread, NULL, other_thread, &c) != 0 || pthread_join(thread, NULL) != 0)
		return 1;
	printf("owner #%d drains\n", (int)tether_owner_number(tether_self()));
	return tether_drain(0) == 1 ? 0 : 1;
}
