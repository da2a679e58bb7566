/* role.c - role.h alone: a role, what it guards, who requires it, who assumes it.
 * SPDX-License-Identifier: MIT */
#include <tether/role.h>

TETHER_ROLE(conn_role);

struct conn {
	int fd TETHER_GUARDED_BY(conn_role);
	int *bytes TETHER_DATA_GUARDED_BY(conn_role);
};

static int conn_count(struct conn *c) TETHER_REQUIRES(conn_role);
static int conn_count(struct conn *c)
{
	return *c->bytes + c->fd;
}

int use(struct conn *c);
int use(struct conn *c)
{
	TETHER_ASSUME(conn_role);
	return conn_count(c);
}
