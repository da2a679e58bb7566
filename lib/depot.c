/* depot.c - the stack depot: every stack is kept once, and an origin names it and a time in one word.
 * SPDX-License-Identifier: MIT
 *
 *     walk --> hash --> in the set? --yes--> its place | now
 *                            |
 *                            no: prove it --> lock --> still not? --> append, publish, put into the set
 *
 * A walk may read things that are no return addresses, another time others. tetheri_stack_prove() takes them
 * away, and what is left is kept, so that they never fill the depot; the next such walk is proved again.
 *
 * Invariant: what lies below `used` is whole and never changes or moves, so a reader that has acquired
 *   `used`, or found an object in the set, needs no lock.
 * Invariant: an origin is read from words that may be garbage. What it points to is a stack only if it
 *   lies below `used` and says itself where it lies; and its time has come. */
#include <errno.h>
#include <string.h>

#include "holder.h"
#include "internal.h"
#include "set.h"

#define ARENA_BYTES (16U << 20) /* of address space; used as stacks come */
#define UNIT 16U                /* places are counted in these */

#define PLACE_SHIFT 40
#define TIME_SHIFT 14 /* 16.384 us */
#define TIME_MAX ((UINT64_C(1) << PLACE_SHIFT) - 1)
#define WHY_SHIFT 61

#define RECENT 64 /* stacks that need not be looked for in the set */
#define TRIES 100
#define NAPS 100

struct record {
	struct tetheri_object object;
	uintptr_t pc[];
};

_Static_assert(ARENA_BYTES / UNIT <= TETHERI_ORIGIN_IN_DEPOT >> PLACE_SHIFT, "a place fits in an origin");

static _Alignas(64) unsigned char arena[ARENA_BYTES];
static _Atomic uint32_t used;   /* units; written by the holder */
static _Atomic uint64_t holder; /* who is adding a stack */
static _Atomic bool is_full;
static _Atomic uint64_t lost;
static _Atomic uint64_t first_ns; /* when the first stack was kept */

/* ---- Words ------------------------------------------------------------------------------------ */

static uint64_t units_since_first(void)
{
	uint64_t now = tetheri_now(), first = atomic_load_explicit(&first_ns, memory_order_relaxed);

	/* Relaxed: a number, that says all by itself. */
	if (tetheri_unlikely(first == 0) &&
	    atomic_compare_exchange_strong_explicit(&first_ns, &first, now, memory_order_relaxed, memory_order_relaxed))
		first = now;
	uint64_t units = now > first ? (now - first) >> TIME_SHIFT : 0;
	return units < TIME_MAX ? units : TIME_MAX;
}

static tetheri_origin_t origin_in_depot(const struct tetheri_object *object)
{
	uint64_t place = (uint64_t)((const unsigned char *)object - arena) / UNIT;

	return TETHERI_ORIGIN_IN_DEPOT | place << PLACE_SHIFT | units_since_first();
}

static tetheri_origin_t origin_alone(uintptr_t caller, enum tetheri_stack_end why)
{
	atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
	return tetheri_origin_at((const void *)caller) | (uint64_t)(why - TETHERI_STACK_OFF) << WHY_SHIFT;
}

uint64_t tetheri_origin_lost(void)
{
	return atomic_load_explicit(&lost, memory_order_relaxed);
}

/* ---- Adding ----------------------------------------------------------------------------------- */

/* Two chains of products, side by side. How the walk ended counts as well. */
static uint64_t hash_of(const uintptr_t *pc, uint32_t depth, enum tetheri_stack_end end)
{
	uint64_t a = UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)end, b = depth;
	uint32_t i;

	for (i = 0; i + 1 < depth; i += 2) {
		a = (a ^ pc[i]) * UINT64_C(0xff51afd7ed558ccd);
		b = (b ^ pc[i + 1]) * UINT64_C(0xc4ceb9fe1a85ec53);
	}
	if (i < depth)
		a = (a ^ pc[i]) * UINT64_C(0xff51afd7ed558ccd);
	a = (a ^ b >> 29) * UINT64_C(0xc4ceb9fe1a85ec53) + b;
	return a ^ a >> 32;
}

/* Wait for whoever adds: some 10 ms, as it may have been preempted. Not for ever, and not at all if it is the very
 * code that a signal handler interrupted to get here. */
static bool take_turn(void)
{
	uint64_t self = tetheri_holder_self(), who = 0;
	int saved_errno = errno;
	bool mine = false;

	for (int tries = 0; !mine && who != self && tries < TRIES + NAPS; tries++) {
		mine = tetheri_holder_take(&holder, self, &who);
		if (!mine && tries >= TRIES)
			tetheri_holder_await();
	}
	errno = saved_errno;
	return mine;
}

/* In turn. NULL: no room. */
static const struct tetheri_object *append(const struct tetheri_object *like, enum tetheri_stack_end end)
{
	uint32_t place = atomic_load_explicit(&used, memory_order_relaxed);
	uint32_t units = (uint32_t)(sizeof(struct record) + like->size + UNIT - 1) / UNIT;
	struct record *record = (struct record *)(void *)(arena + (size_t)place * UNIT);

	if (units > ARENA_BYTES / UNIT - place)
		return NULL;
	record->object = *like;
	record->object.key = record->pc;
	record->object.note = end;
	memcpy(record->pc, like->key, like->size);
	/* Release: the record, before who reads an origin that points to it. */
	atomic_store_explicit(&used, place + units, memory_order_release);
	return tetheri_set_put(TETHERI_SET_STACKS, &record->object) == TETHERI_SET_ADDED ? &record->object : NULL;
}

static struct tetheri_object object_of(const struct tetheri_stack *stack)
{
	return (struct tetheri_object){.hash = hash_of(stack->pc, stack->depth, stack->end),
	                               .key = stack->pc,
	                               .size = stack->depth * (uint32_t)sizeof *stack->pc};
}

/* It was not there. */
static __attribute__((noinline)) tetheri_origin_t add(struct tetheri_stack *stack, bool was_walked)
{
	struct tetheri_object like = object_of(stack);
	uint32_t depth = stack->depth;

	if (atomic_load_explicit(&is_full, memory_order_relaxed))
		return origin_alone(stack->pc[0], TETHERI_STACK_NO_ROOM);
	if (was_walked && stack->end != TETHERI_STACK_ELSEWHERE)
		tetheri_stack_prove(stack);
	if (stack->depth != depth)
		like = object_of(stack);
	if (!take_turn())
		return origin_alone(stack->pc[0], TETHERI_STACK_NO_TURN);
	const struct tetheri_object *object = tetheri_set_find(TETHERI_SET_STACKS, &like);
	if (!object)
		object = append(&like, stack->end);
	tetheri_holder_leave(&holder);
	if (object)
		return origin_in_depot(object);
	atomic_store_explicit(&is_full, true, memory_order_relaxed);
	return origin_alone(stack->pc[0], TETHERI_STACK_NO_ROOM);
}

/* A program binds at few places: where each stack was found last, so that the set is asked only now and then. */
static const struct tetheri_object *find(const struct tetheri_object *like)
{
	static _Atomic(const struct tetheri_object *) recent[RECENT];
	_Atomic(const struct tetheri_object *) *last = &recent[like->hash % RECENT];
	/* Acquire: pairs with the release, here, of another thread, which has seen it whole. */
	const struct tetheri_object *object = atomic_load_explicit(last, memory_order_acquire);

	if (tetheri_likely(object && tetheri_object_is_like(object, like)))
		return object;
	object = tetheri_set_find(TETHERI_SET_STACKS, like);
	if (object)
		atomic_store_explicit(last, object, memory_order_release);
	return object;
}

static tetheri_origin_t keep(struct tetheri_stack *stack, bool was_walked)
{
	struct tetheri_object like = object_of(stack);
	const struct tetheri_object *object = find(&like);

	return tetheri_likely(object) ? origin_in_depot(object) : add(stack, was_walked);
}

/* ---- Here and now ----------------------------------------------------------------------------- */

static tetheri_origin_t unwound_here(const void *caller, uint32_t depth)
{
	uintptr_t functions[TETHERI_STACK_DEPTH];
	struct tetheri_stack stack;

	tetheri_stack_unwind(&stack, functions);
	tetheri_stack_start_at(&stack, NULL, caller);
	if (stack.depth > depth) {
		stack.depth = depth;
		stack.end = TETHERI_STACK_DEEP;
	}
	return keep(&stack, false);
}

tetheri_origin_t tetheri_origin_here(const void *frame, const void *caller)
{
	uint32_t depth = (uint32_t)tetheri_option(stack_depth);
	struct tetheri_stack stack;

	if (tetheri_option(bind_stacks) == TETHERI_BIND_STACKS_FULL)
		return unwound_here(caller, depth);
	tetheri_stack_locate(frame);
	tetheri_stack_walk(&stack, frame, caller, depth);
	return keep(&stack, true);
}

/* ---- Reading ---------------------------------------------------------------------------------- */

/* The record at a place, if there is one. */
static const struct record *record_at(uint64_t place)
{
	/* Acquire: pairs with the release in append. */
	uint32_t end = atomic_load_explicit(&used, memory_order_acquire);

	if (place >= end || (end - place) * UNIT < sizeof(struct record))
		return NULL;
	const struct record *record = (const struct record *)(const void *)(arena + place * UNIT);
	uint32_t size = record->object.size;
	bool fits = size <= (end - place) * UNIT - sizeof *record && size <= TETHERI_STACK_DEPTH * sizeof *record->pc;
	return fits && record->object.key == record->pc ? record : NULL;
}

static bool read_address(tetheri_origin_t origin, struct tetheri_stack *out)
{
	uintptr_t address = (uintptr_t)tetheri_origin_at((const void *)(uintptr_t)origin);

	out->end = (enum tetheri_stack_end)(TETHERI_STACK_OFF + (origin >> WHY_SHIFT));
	out->depth = 1;
	out->pc[0] = address;
	return out->end <= TETHERI_STACK_NO_TURN && tetheri_module_has_code((const void *)address);
}

bool tetheri_origin_read(tetheri_origin_t origin, struct tetheri_stack *out, uint64_t *ago_ns)
{
	uint64_t units = origin & TIME_MAX, now_units = units_since_first();

	*ago_ns = UINT64_MAX;
	if (!(origin & TETHERI_ORIGIN_IN_DEPOT))
		return read_address(origin, out);
	const struct record *record = record_at((origin & ~TETHERI_ORIGIN_IN_DEPOT) >> PLACE_SHIFT);
	if (!record || (units > now_units && units < TIME_MAX))
		return false;
	out->end = (enum tetheri_stack_end)record->object.note;
	out->depth = record->object.size / (uint32_t)sizeof *out->pc;
	memcpy(out->pc, record->pc, record->object.size);
	if (units < TIME_MAX)
		*ago_ns = now_units > units ? (now_units - units) << TIME_SHIFT : 0;
	return true;
}
