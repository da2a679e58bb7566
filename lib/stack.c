/* stack.c - call stacks: by frame pointers, fast; by unwind tables, true; and the one held against the other.
 * SPDX-License-Identifier: MIT
 *
 *     high  +----------------------+     A frame begins with two words: where the caller's frame lies, and
 *           | first frame          |     where to return to. The walk follows the first and keeps the second:
 *           |   ...                |     some 2 ns a frame. But what it follows may be anything in code that
 *           | caller's frame <--+  |     has another use for the register; so a step is made only upwards,
 *           |   ...             |  |     within the bounds and aligned, and the walk never reads elsewhere.
 *           | our frame: next --+  |
 *     low   +----------------------+     Whether what was read is true, tetheri_stack_prove() finds out.
 *
 * Invariant: stack_high is 0, or [stack_low, stack_high) may be read. A signal handler that interrupts a
 *   change finds stack_high 0. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unwind.h>

#include "internal.h"

/* Read frames as they are, whatever lies around them; sanitizers would have their say. */
#define READS_FRAMES __attribute__((no_sanitize("address", "thread")))

/* As many frames of the library may lie between one of its functions and its caller. */
#define OURS 8

struct frame {
	const struct frame *next;
	uintptr_t return_to;
};

/* Return addresses may be signed: take the signature out. */
#if defined(__aarch64__)
static inline uintptr_t plain(uintptr_t signed_address)
{
	register uintptr_t lr __asm__("x30") = signed_address;

	__asm__("hint #7" : "+r"(lr)); /* xpaclri, which older processors take for a nop */
	return lr;
}
#else
static inline uintptr_t plain(uintptr_t address)
{
	return address;
}
#endif

const char *tetheri_stack_why(enum tetheri_stack_end end)
{
	switch (end) {
	case TETHERI_STACK_ENDED:
		return NULL;
	case TETHERI_STACK_DEEP:
		return "it goes on; stack_depth says how much of it is kept for a bind";
	case TETHERI_STACK_ELSEWHERE:
		return "the rest is on a stack that is not the thread's own; fibers call tether_self_set_stack()";
	case TETHERI_STACK_BROKEN:
		return "code without frame pointers hides some of it; bind_stacks=full finds more, and is slower";
	case TETHERI_STACK_NO_TABLES:
		return "code without unwind tables; beyond it nothing is certain";
	case TETHERI_STACK_OFF:
		return "only the caller is kept; bind_stacks=fast keeps the stack";
	case TETHERI_STACK_NO_ROOM:
		return "only the caller was kept: there was no more room for stacks";
	case TETHERI_STACK_NO_TURN:
		return "only the caller was kept: other threads were keeping theirs";
	}
	return NULL;
}

/* ---- Where the thread's stack lies ------------------------------------------------------------ */

/* Of a main thread whose stack may grow without limit we take this much for its own. */
#define MAIN_BYTES_MAX ((rlim_t)1 << 30)

/* Where the kernel put the main thread's first frame; glibc's. */
extern void *__libc_stack_end __attribute__((weak));

static void set_bounds(uintptr_t low, uintptr_t high)
{
	tetheri_thread.stack_high = 0;
	atomic_signal_fence(memory_order_seq_cst);
	tetheri_thread.stack_low = low;
	atomic_signal_fence(memory_order_seq_cst);
	tetheri_thread.stack_high = high;
}

/* Of the main thread, whose stack the C library knows only by reading /proc/self/maps. The kernel keeps free
 * what the limit allows it to grow. */
static bool locate_main(uintptr_t frame)
{
	struct rlimit limit;

	if (!&__libc_stack_end || getrlimit(RLIMIT_STACK, &limit) != 0)
		return false;
	uintptr_t high = (uintptr_t)__libc_stack_end;
	uintptr_t low = high - (limit.rlim_cur < MAIN_BYTES_MAX ? limit.rlim_cur : MAIN_BYTES_MAX);
	if (frame < low || frame >= high)
		return false;
	set_bounds(low, high);
	return true;
}

void tetheri_stack_locate(const void *frame)
{
	int saved_errno = errno, cancel_state;
	pthread_attr_t attributes;
	void *low;
	size_t bytes;

	if (tetheri_likely(tetheri_thread.stack_high) || locate_main((uintptr_t)frame))
		return;
	/* A main thread on a fiber's stack comes here too, and then files are read. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
		if (pthread_attr_getstack(&attributes, &low, &bytes) == 0)
			set_bounds((uintptr_t)low, (uintptr_t)low + bytes);
		pthread_attr_destroy(&attributes);
	}
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
}

void tether_self_set_stack(void *low, size_t bytes)
{
	set_bounds((uintptr_t)low, (uintptr_t)low + bytes);
}

/* ---- By frame pointers ------------------------------------------------------------------------ */

static inline bool is_inside(const struct frame *frame)
{
	uintptr_t low = tetheri_thread.stack_low, high = tetheri_thread.stack_high;

	return (uintptr_t)frame >= low && (uintptr_t)frame < high && high - (uintptr_t)frame >= sizeof *frame;
}

/* `frame` is inside, and so is every frame up to `last`. Both comparisons in one: next - frame - 1 is
 * huge unless next is above it. */
READS_FRAMES static inline const struct frame *next_of(const struct frame *frame, uintptr_t last)
{
	uintptr_t here = (uintptr_t)frame, next = (uintptr_t)frame->next;

	return next - here - 1 < last - here && next % sizeof(uintptr_t) == 0 ? frame->next : NULL;
}

/* Most of what is read where there is no frame is a small number, or an address on the stack. */
static inline bool may_be_code(uintptr_t address)
{
	return address >= 4096 && address - tetheri_thread.stack_low >= tetheri_thread.stack_high - tetheri_thread.stack_low;
}

/* The frame that returns to `caller`: that of a function of ours is among the first, or there is none. */
READS_FRAMES static inline const struct frame *frame_of(const struct frame *frame, uintptr_t last, uintptr_t caller)
{
	for (int tries = 0; frame && tries < OURS; tries++) {
		if (tetheri_likely(plain(frame->return_to) == caller))
			return frame;
		frame = next_of(frame, last);
	}
	return NULL;
}

READS_FRAMES void tetheri_stack_walk(struct tetheri_stack *out, const void *frame, const void *caller, unsigned max_depth)
{
	const uintptr_t last = tetheri_thread.stack_high - sizeof(struct frame), start = (uintptr_t)caller;
	const struct frame *at = frame;
	uint32_t room = max_depth < TETHERI_STACK_DEPTH ? max_depth : TETHERI_STACK_DEPTH, depth = 0;

	out->end = TETHERI_STACK_ENDED;
	if (!is_inside(at))
		out->end = TETHERI_STACK_ELSEWHERE;
	else if (!(at = frame_of(at, last, start)))
		out->end = TETHERI_STACK_BROKEN;
	out->pc[depth++] = start;
	while (out->end == TETHERI_STACK_ENDED && (at = next_of(at, last)) && may_be_code(plain(at->return_to))) {
		if (depth < room)
			out->pc[depth++] = plain(at->return_to);
		else
			out->end = TETHERI_STACK_DEEP;
	}
	out->depth = depth;
}

/* ---- By unwind tables ------------------------------------------------------------------------- */

struct unwinding {
	struct tetheri_stack *out;
	uintptr_t *functions;
};

static _Unwind_Reason_Code keep_frame(struct _Unwind_Context *context, void *argument)
{
	struct unwinding *unwinding = argument;
	struct tetheri_stack *out = unwinding->out;
	int is_exact = 0; /* where a signal interrupted: not a return address, but we promise those */
	uintptr_t pc = _Unwind_GetIPInfo(context, &is_exact);

	/* A stack that ends as it should ends with a 0. */
	if (pc == 0) {
		out->end = TETHERI_STACK_ENDED;
		return _URC_END_OF_STACK;
	}
	if (out->depth == TETHERI_STACK_DEPTH) {
		out->end = TETHERI_STACK_DEEP;
		return _URC_END_OF_STACK;
	}
	unwinding->functions[out->depth] = _Unwind_GetRegionStart(context);
	out->pc[out->depth++] = pc + (is_exact != 0);
	return _URC_NO_REASON;
}

void tetheri_stack_unwind(struct tetheri_stack *out, uintptr_t functions[TETHERI_STACK_DEPTH])
{
	struct unwinding unwinding = {.out = out};

	unwinding.functions = functions;
	out->end = TETHERI_STACK_NO_TABLES;
	out->depth = 0;
	(void)_Unwind_Backtrace(keep_frame, &unwinding);
}

void tetheri_stack_start_at(struct tetheri_stack *stack, uintptr_t functions[TETHERI_STACK_DEPTH], const void *caller)
{
	uint32_t first = 0;

	while (first < stack->depth && stack->pc[first] != (uintptr_t)caller)
		first++;
	if (first == stack->depth) {
		*stack = (struct tetheri_stack){.end = TETHERI_STACK_NO_TABLES, .depth = 1, .pc = {(uintptr_t)caller}};
		first = 0;
		if (functions)
			functions[0] = 0;
	}
	stack->depth -= first;
	memmove(stack->pc, stack->pc + first, stack->depth * sizeof *stack->pc);
	if (functions)
		memmove(functions, functions + first, stack->depth * sizeof *functions);
}

/* ---- Is it true? ------------------------------------------------------------------------------ */

/* The C library's own frames under main() or a thread's first function, of which a walk may miss some:
 * nobody misses them. */
#define STARTERS 3
/* Frames looked at in vain, before the first one of the stack or after the last that agreed. */
#define PATIENCE (2 * TETHERI_STACK_DEPTH)

struct proof {
	const struct tetheri_stack *stack;
	uint32_t agreed;   /* its entries that were found, in order */
	uint32_t between;  /* frames that it misses between them */
	uint32_t since;    /* frames since the last one that agreed, or since the beginning */
	bool is_at_an_end; /* no more frames */
};

static _Unwind_Reason_Code compare_frame(struct _Unwind_Context *context, void *argument)
{
	struct proof *proof = argument;
	const struct tetheri_stack *stack = proof->stack;
	uintptr_t pc = _Unwind_GetIP(context);

	proof->is_at_an_end = pc == 0;
	if (proof->agreed < stack->depth && pc == stack->pc[proof->agreed]) {
		proof->between += proof->agreed ? proof->since : 0;
		proof->agreed++;
		proof->since = 0;
	} else if (pc != 0) {
		proof->since++;
	}
	uint32_t patience = proof->agreed < stack->depth ? PATIENCE : stack->end == TETHERI_STACK_DEEP ? 0 : STARTERS + 1;
	return proof->since >= patience ? _URC_END_OF_STACK : _URC_NO_REASON;
}

void tetheri_stack_prove(struct tetheri_stack *stack)
{
	struct proof proof = {.stack = stack};

	(void)_Unwind_Backtrace(compare_frame, &proof);
	bool agrees = proof.agreed == stack->depth;
	if (agrees && proof.between == 0 && proof.since <= STARTERS)
		return;
	/* Where the tables end before the stack does (generated code has none) the walk has the last word. */
	if (!agrees && !proof.is_at_an_end && proof.since < PATIENCE) {
		stack->end = TETHERI_STACK_NO_TABLES;
		return;
	}
	stack->end = TETHERI_STACK_BROKEN;
	stack->depth = proof.agreed ? proof.agreed : 1;
}
