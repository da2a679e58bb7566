/* consumer.c - a program that uses the library as its users do: binds here, drops there, drains here.
 * SPDX-License-Identifier: MIT */
#include <tether/tether.h>

#include <pthread.h>
#include <stdio.h>

struct conn {
	int fd;
	pthread_t closed_by;
	struct tether tether;
};

static void conn_destroy(void *object)
{
	struct conn *c = (struct conn *)object;

	c->fd = -1;
	c->closed_by = pthread_self();
}

static const struct tether_type conn_type = TETHER_TYPE(struct conn, tether, conn_destroy);

static void *drop_elsewhere(void *object)
{
	return tether_drop(&((struct conn *)object)->tether) == TETHER_QUEUED ? object : NULL;
}

int main(void)
{
	static struct conn c;
	pthread_t other;
	void *queued;

	tether_bind(&c.tether, &conn_type);
	TETHER_CHECK(&c.tether);
	if (pthread_create(&other, NULL, drop_elsewhere, &c) != 0 || pthread_join(other, &queued) != 0)
		return 1;
	if (!queued || tether_drain(0) != 1 || c.fd != -1 || !pthread_equal(c.closed_by, pthread_self()))
		return 1;
	puts("came home");
	return 0;
}
