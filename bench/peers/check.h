/* check.h - one way to ask whether this thread may touch an object, as check.cc times it.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_PEERS_CHECK_H
#define BENCH_PEERS_CHECK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A subject: `loop` checks the same object n times, in a loop of its own, so that no call from one
 * language into another is paid per check. All loops have one shape: opaque(), check, count down. A
 * check that fails ends the program. */
struct check_peer {
	const char *subject;
	void (*loop)(uint64_t n);
	struct check_peer *next; /* the list's */
};

/* Each file of peers adds its own before main(), so a peer that cannot be built is simply not there. */
void check_peer_add(struct check_peer *peer);

/* The cold end of a check. */
__attribute__((cold, noinline, noreturn)) void check_peer_failed(void);

/* After this the compiler knows neither where `object` points nor what memory holds, so it must do the
 * next check in full. It costs no instruction. */
static inline void *opaque(void *object)
{
	__asm__ volatile("" : "+r"(object) : : "memory");
	return object;
}

#ifdef __cplusplus
}
#endif

#endif
