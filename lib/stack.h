/* stack.h - call stacks: captured where an object is bound and where a violation happens; the depot.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_STACK_H
#define TETHERI_STACK_H

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

#define TETHERI_STACK_DEPTH 64

enum tetheri_stack_end {
	TETHERI_STACK_ENDED,     /* whole, down to the thread's first frames */
	TETHERI_STACK_DEEP,      /* there was no more room */
	TETHERI_STACK_ELSEWHERE, /* not on the stack that the thread is known to have: only the caller */
	TETHERI_STACK_BROKEN,    /* code without frame pointers hides some of it */
	TETHERI_STACK_NO_TABLES, /* code without unwind tables: what follows it is missing, or not proved */
	TETHERI_STACK_OFF,       /* not asked for: only the caller */
	TETHERI_STACK_NO_ROOM,   /* the depot is full: only the caller */
	TETHERI_STACK_NO_TURN    /* others were using the depot for too long: only the caller */
};

struct tetheri_stack {
	enum tetheri_stack_end end;
	uint32_t depth;
	uintptr_t pc[TETHERI_STACK_DEPTH]; /* return addresses, innermost first */
};

/* Why a stack goes no further, for people; NULL: it is whole. */
const char *tetheri_stack_why(enum tetheri_stack_end end);

/* Follow frame pointers from `frame`, the __builtin_frame_address(0) of a function that is still running,
 * beginning with the return address `caller`. Up to max_depth frames, at least one. It reads nothing outside
 * the thread's stack. Any thread, signal handlers too. */
void tetheri_stack_walk(struct tetheri_stack *out, const void *frame, const void *caller, unsigned max_depth);

/* By the unwind tables, with our own frames; functions[] are where the functions begin, or 0. Slow. */
void tetheri_stack_unwind(struct tetheri_stack *out, uintptr_t functions[TETHERI_STACK_DEPTH]);

/* Forget the frames before the one that returns to `caller`, if it is there; else only `caller` is kept.
 * `functions` may be NULL. */
void tetheri_stack_start_at(struct tetheri_stack *stack, uintptr_t functions[TETHERI_STACK_DEPTH], const void *caller);

/* Compare what was walked, on this thread and just now, with the unwind tables: take away what they
 * contradict, and say whether something is missing. Slow. */
void tetheri_stack_prove(struct tetheri_stack *stack);

/* Find out where the thread's stack lies, if that is not known. Not a signal handler: it allocates. */
void tetheri_stack_locate(const void *frame);

/* ---- Origins: where and when, in one word -----------------------------------------------------------
 * 0: not recorded. Bit 63 clear: an address, without a time; bits 61 and 62 say why no more is known. Bit 63
 * set: a stack in the depot (23 bits) and when, in units of 16.384 us since the first one (40 bits: 208 days;
 * what is later has no time). */
typedef uint64_t tetheri_origin_t;

#define TETHERI_ORIGIN_IN_DEPOT (UINT64_C(1) << 63)

static inline tetheri_origin_t tetheri_origin_at(const void *address)
{
	return (uintptr_t)address & ~(UINT64_C(7) << 61);
}

/* Keep where the thread is, now: by unwinding if the options say so, else by frame pointers from `frame`, which
 * is that of the function of ours that returns to `caller`, or of one that it called; the first entry is `caller`. An
 * origin that is an address, if there is no room. Any thread, not a signal handler: may allocate at its first use on a
 * thread, and takes a lock for a stack that is new. */
tetheri_origin_t tetheri_origin_here(const void *frame, const void *caller);
/* What an origin says. False: nothing, or it is none of ours: any word may be passed. Any thread, signal handlers too. */
bool tetheri_origin_read(tetheri_origin_t origin, struct tetheri_stack *out, uint64_t *ago_ns); /* UINT64_MAX: no time */
/* Stacks of which only the caller was kept, as the depot was full or in use. */
uint64_t tetheri_origin_lost(void);

#pragma GCC visibility pop

#endif
