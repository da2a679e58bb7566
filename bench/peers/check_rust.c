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
	{"Rust fragile, executable", check_fragile, NULL},
	{"Rust fragile, shared library", check_fragile_shared, NULL},
	{"Rust send_wrapper, executable", check_send_wrapper, NULL},
	{"Rust send_wrapper, shared library", check_send_wrapper_shared, NULL},
	{"thread::current().id() (PyO3), executable", check_pyo3, NULL},
	{"thread::current().id() (PyO3), shared library", check_pyo3_shared, NULL},
};

__attribute__((constructor)) static void add(void)
{
	for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++)
		check_peer_add(&peers[i]);
}
