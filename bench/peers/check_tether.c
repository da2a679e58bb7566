/* check_tether.c - puts our own checks on the list.
 * SPDX-License-Identifier: MIT */
#include "check_tether.h"

static struct check_peer peers[] = {
	{"tether-executable", check_executable, NULL},
	{"tether", check_shared, NULL},
	{"is_mine-executable", is_mine_executable, NULL},
	{"is_mine", is_mine_shared, NULL},
};

__attribute__((constructor)) static void add(void)
{
	for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++)
		check_peer_add(&peers[i]);
}
