/* check_rust.c - puts the checks of check_rust.rs on the list.
 * SPDX-License-Identifier: MIT
 *
 * Each is there twice, as its users have it: linked into the executable, and in a shared library,
 * where reaching a thread-local word costs more. */
#include "check.h"

void check_fragile(uint64_t n);
void check_fragile_shared(uint64_t n);
void check_send_wrapper(uint64_t n);
void check_send_wrapper_shared(uint64_t n);
void check_pyo3(uint64_t n);
void check_pyo3_shared(uint64_t n);

static struct check_peer peers[] = {
	{"fragile-executable", check_fragile, NULL},
	{"fragile", check_fragile_shared, NULL},
	{"send_wrapper-executable", check_send_wrapper, NULL},
	{"send_wrapper", check_send_wrapper_shared, NULL},
	{"thread-id-executable", check_pyo3, NULL},
	{"thread-id", check_pyo3_shared, NULL},
};

__attribute__((constructor)) static void add(void)
{
	for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++)
		check_peer_add(&peers[i]);
}
