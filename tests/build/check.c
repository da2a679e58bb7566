/* check.c - functions whose code is compared with and without a check: -DCHECK, -DCHECK_ROLE, -DUSE and -DSCOPE say
 * what they begin with.
 * SPDX-License-Identifier: MIT */
#include <tether/use.h>

#if defined(CHECK_ROLE)
TETHER_ROLE(conn_role);
#define BEGIN(c) TETHER_CHECK(&(c)->tether, conn_role)
#elif defined(CHECK)
#define BEGIN(c) TETHER_CHECK(&(c)->tether)
#elif defined(USE)
#define BEGIN(c) (TETHER_ENTER(&(c)->tether), TETHER_LEAVE(&(c)->tether))
#elif defined(SCOPE)
#define BEGIN(c) TETHER_SCOPE(&(c)->tether)
#else
#define BEGIN(c) ((void)0)
#endif

struct conn {
	int fd;
	long bytes;
	struct tether tether;
};

int work(struct conn *c, int n);

int calls_with_one(struct conn *c)
{
	BEGIN(c);
	work(c, 1);
	return work(c, 2) + 1;
}

int calls_with_two(struct conn *c, int n)
{
	BEGIN(c);
	work(c, n);
	return work(c, n + 1) + 1;
}

int calls_with_three(struct conn *c, int n, int m)
{
	BEGIN(c);
	work(c, n);
	return work(c, m) + n;
}

long leaf_with_one(struct conn *c)
{
	BEGIN(c);
	return c->bytes;
}

long leaf_with_two(struct conn *c, long n)
{
	BEGIN(c);
	return c->bytes += n;
}

void leaf_without_result(struct conn *c, int fd)
{
	BEGIN(c);
	c->fd = fd;
}
