/* way.c - goes through the functions of check.c with an object that is mine, or is not; the cold half
 * of the check ends the program, so that whoever gets through has not called it.
 * SPDX-License-Identifier: MIT */
#include <tether/tag.h>

#include <stdlib.h>
#include <string.h>

struct conn {
	int fd;
	long bytes;
	struct tether tether;
};

int calls_with_one(struct conn *c);
int calls_with_two(struct conn *c, int n);
int calls_with_three(struct conn *c, int n, int m);
long leaf_with_one(struct conn *c);
long leaf_with_two(struct conn *c, long n);
void leaf_without_result(struct conn *c, int fd);
int work(struct conn *c, int n);

__thread tether_owner_t tether_self_ = 42;

bool tether_check_failed_(const struct tether *tag, const char *file, int line, const char *function)
{
	(void)tag, (void)file, (void)line, (void)function;
	exit(3);
}

int work(struct conn *c, int n)
{
	return c->fd + n;
}

int main(int argc, char **argv)
{
	struct conn c = {1, 2, {0, 0, 0, 0}};

	c.tether.owner_ = argc == 2 && strcmp(argv[1], "mine") == 0 ? tether_self_ : 7;
	leaf_without_result(&c, 1);
	if (calls_with_one(&c) != 4 || calls_with_two(&c, 1) != 4 || calls_with_three(&c, 1, 2) != 4)
		return 1;
	return leaf_with_one(&c) == 2 && leaf_with_two(&c, 3) == 5 ? 0 : 1;
}
