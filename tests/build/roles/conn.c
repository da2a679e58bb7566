/* conn.c - which uses of a guarded field warn under clang -Wthread-safety: those marked so. C, and C++ as well.
 * SPDX-License-Identifier: MIT */
#include "conn.h"

TETHER_ROLE(cache_role);

static long cached TETHER_GUARDED_BY(cache_role);

const struct tether_type conn_type = TETHER_TYPE(struct conn, tether, conn_destroy);

/* A callback is marked, and given away as a pointer. */
void conn_destroy(void *object)
{
	struct conn *c = (struct conn *)object;

	c->fd = -1;
	c->is_open = 0;
}

int conn_read(struct conn *c)
{
	return c->fd + c->url[0];
}

static void shut(struct conn *c) TETHER_REQUIRES(conn_role);
static void shut(struct conn *c)
{
	c->is_open = 0;
}

int checked(struct conn *c);
int checked(struct conn *c)
{
	TETHER_CHECK(&c->tether, conn_role);
	shut(c);
	*c->bytes += conn_read(c);
	return c->fd;
}

int checked_without_role(struct conn *c);
int checked_without_role(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	return c->fd; /* warns */
}

int not_checked(struct conn *c);
int not_checked(struct conn *c)
{
	c->refs++;
	c->fd = 1;          /* warns */
	c->url[0] = 0;      /* warns */
	c->is_open = 1;     /* warns */
	*c->bytes = 1;      /* warns */
	shut(c);            /* warns */
	conn_destroy(c);    /* warns */
	c->bytes = &cached; /* the pointer is not guarded */
	return c->refs;
}

int checked_too_late(struct conn *c);
int checked_too_late(struct conn *c)
{
	int fd = c->fd; /* warns */

	TETHER_CHECK(&c->tether, conn_role);
	return fd + c->fd;
}

int checked_on_one_way(struct conn *c, int n);
int checked_on_one_way(struct conn *c, int n)
{
	if (n > 0) {
		TETHER_CHECK(&c->tether, conn_role);
		c->fd = n;
	}
	return c->fd; /* warns */
}

int checked_in_a_loop(struct conn **all, int n);
int checked_in_a_loop(struct conn **all, int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++) {
		TETHER_CHECK(&all[i]->tether, conn_role);
		sum += all[i]->fd;
	}
	return sum;
}

int ensured(struct conn *c);
int ensured(struct conn *c)
{
	if (!TETHER_ENSURE(&c->tether))
		return c->fd; /* warns */
	TETHER_ASSUME(conn_role);
	return c->fd;
}

/* Before it is bound nobody else can reach it. */
void made(struct conn *c);
void made(struct conn *c)
{
	TETHER_ASSUME(conn_role);
	c->fd = 1;
	tether_bind(&c->tether, &conn_type);
}

/* One role is not the other; and a role is not an object, so `other` passes unseen. */
long two_roles(struct conn *c, struct conn *other);
long two_roles(struct conn *c, struct conn *other)
{
	TETHER_CHECK(&c->tether, conn_role);
	cached = c->fd; /* warns */
	TETHER_ASSUME(cache_role);
	return cached + other->fd;
}

static int needs_both(struct conn *c) TETHER_REQUIRES(conn_role, cache_role);
static int needs_both(struct conn *c)
{
	return c->fd + (int)cached;
}

int calls_with_one(struct conn *c);
int calls_with_one(struct conn *c)
{
	TETHER_CHECK(&c->tether, conn_role);
	return needs_both(c); /* warns */
}

int calls_with_both(struct conn *c);
int calls_with_both(struct conn *c)
{
	TETHER_CHECK(&c->tether, conn_role);
	TETHER_ASSUME(cache_role);
	return needs_both(c);
}

/* A message comes home, or is told elsewhere that it could not. */
struct letter {
	struct tether_message message;
	struct conn *conn;
};

void arrive(struct tether_message *message, enum tether_fate fate);
void arrive(struct tether_message *message, enum tether_fate fate)
{
	struct conn *c = ((struct letter *)(void *)message)->conn;

	if (fate == TETHER_UNDELIVERED) {
		c->fd = -1; /* warns */
		return;
	}
	TETHER_CHECK(&c->tether, conn_role);
	c->fd = 1;
}
