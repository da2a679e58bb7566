/* scratch.h - memory for making one report: not from malloc, and not on a stack that may be a signal's.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_SCRATCH_H
#define TETHERI_SCRATCH_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

struct tetheri_scratch;

/* Any thread, signal handlers too. Never waits. NULL: the kernel has no memory. */
struct tetheri_scratch *tetheri_scratch_get(void);
void tetheri_scratch_put(struct tetheri_scratch *scratch);
/* Aligned for numbers and pointers; zeroed. NULL: used up. It lives until tetheri_scratch_put. What is
 * taken next follows it without a gap, if its size is a multiple of the alignment: an array can grow,
 * while only strings are added. */
#define TETHERI_SCRATCH_ALIGN 8
void *tetheri_scratch_take(struct tetheri_scratch *scratch, size_t bytes);
/* A copy of the first `bytes` bytes of a string; "" if there is no room. NULL stays NULL. */
const char *tetheri_scratch_string(struct tetheri_scratch *scratch, const char *string, size_t bytes);

#pragma GCC visibility pop

#endif
