/* module.c - a module with a copy of the static library in it, which programs load and unload.
 * SPDX-License-Identifier: MIT */
#include <tether/tether.h>

struct conn {
	int fd;
	struct tether tether;
};

static void conn_destroy(void *object)
{
	((struct conn *)object)->fd = -1;
}

static const struct tether_type conn_type = TETHER_TYPE(struct conn, tether, conn_destroy);

/* Makes the calling thread an owner, so that the library has something to do when the thread exits. */
__attribute__((visibility("default"))) int module_use(void);
int module_use(void)
{
	struct conn c = {7, {0, 0, 0, 0}};

	tether_bind(&c.tether, &conn_type);
	TETHER_CHECK(&c.tether);
	return tether_drop_later(&c.tether) == TETHER_QUEUED && tether_drain(0) == 1 ? c.fd : 0;
}
