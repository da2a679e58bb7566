/* tag.c - tag.h alone: every initialiser of a type, and what can be done with a tag.
 * SPDX-License-Identifier: MIT */
#include <tether/tag.h>

struct conn {
	int fd;
	struct tether tether;
};

static void conn_destroy(void *object)
{
	((struct conn *)object)->fd = -1;
}

static void conn_destroy_with(void *object, void *context)
{
	((struct conn *)object)->fd = *(int *)context;
}

static tether_owner_t heir;
static int closed = -1;

static const struct tether_type plain = TETHER_TYPE(struct conn, tether, conn_destroy);
static const struct tether_type nothing = TETHER_TYPE(struct conn, tether, NULL);
static const struct tether_type anywhere = TETHER_TYPE_POLICY(struct conn, tether, conn_destroy, TETHER_ANYWHERE, TETHER_WARN);
static const struct tether_type inherited = TETHER_TYPE_HEIR(struct conn, tether, conn_destroy, &heir, TETHER_COUNT);
static const struct tether_type by_hand =
	TETHER_TYPE_AT("conn", sizeof(struct conn), offsetof(struct conn, tether), NULL, conn_destroy_with, &closed, NULL,
                   TETHER_LEAK, TETHER_ABORT, TETHER_NO_RULES);

static struct conn first = {-1, TETHER_INIT(plain)};

int use(struct conn *c, size_t which);
int use(struct conn *c, size_t which)
{
	const struct tether_type *types[] = {&plain, &nothing, &anywhere, &inherited, &by_hand};

	tether_bind(&c->tether, types[which]);
	TETHER_CHECK(&c->tether);
	tether_fini(&c->tether);
	tether_bind_later(&c->tether, types[which]);
	if (!tether_claim(&first.tether) || !tether_is_mine(&c->tether) || !TETHER_ENSURE(&c->tether))
		return -1;
	return c->fd;
}
