/* conn.h - a connection whose fields are guarded by a role, as a user's header has it.
 * SPDX-License-Identifier: MIT */
#ifndef CONN_H
#define CONN_H

#include <tether/tether.h>

TETHER_ROLE(conn_role);

struct conn {
	int refs; /* any thread */
	int fd TETHER_GUARDED_BY(conn_role);
	char url[16] TETHER_GUARDED_BY(conn_role);
	unsigned is_open : 1 TETHER_GUARDED_BY(conn_role);
	long *bytes TETHER_DATA_GUARDED_BY(conn_role);
	struct tether tether;
};

extern const struct tether_type conn_type;

int conn_read(struct conn *c) TETHER_REQUIRES(conn_role);
void conn_destroy(void *object) TETHER_REQUIRES(conn_role);

#endif
