/* drop_tether.c - our own drop.
 * SPDX-License-Identifier: MIT */
#include "drop.h"

static const struct tether_type object_type = TETHER_TYPE(struct object, tether, object_destroy);

/* With a descriptor, so that the first push of a round makes a wake-up, as that of the mutex does. */
static void init(void)
{
	tether_fd();
}

static void revive(struct object *object)
{
	tether_bind(&object->tether, &object_type);
}

static void push(struct object **objects, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tether_drop(&objects[i]->tether);
}

static void drain(void)
{
	tether_drain(0);
}

/* A limit that is never exceeded; it is set for these rounds only, as all senders look where one is. */
static bool is_limited;

static void revive_with_limit(struct object *object)
{
	if (!is_limited)
		is_limited = tether_set_limit(SIZE_MAX, NULL, NULL) == 0;
	revive(object);
}

static void drain_for_a_second(void)
{
	tether_drain_for(0, 1000000);
	tether_set_limit(0, NULL, NULL);
	is_limited = false;
}

/* A thread of a server is an owner: it has bound objects of its own. */
static void start(void)
{
	tether_self();
}

static struct drop_peer tether = {"tether", init, revive, push, drain, start, NULL};
/* One that is none counts what it sends on a line that all such threads share. */
static struct drop_peer stranger = {"tether, producer is no owner", init, revive, push, drain, NULL, NULL};
static struct drop_peer limited = {
	"tether, with a limit, drained for a time", init, revive_with_limit, push, drain_for_a_second, start, NULL};

__attribute__((constructor)) static void add(void)
{
	drop_peer_add(&tether);
	drop_peer_add(&stranger);
	drop_peer_add(&limited);
}
