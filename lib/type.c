/* type.c - which addresses are types, so that a word that may be garbage is never followed.
 * SPDX-License-Identifier: MIT
 *
 * A type is remembered when an object of it is bound. A small direct-mapped cache in front makes that
 * one load and one compare. */
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "set.h"

/* The first place must not hold NULL, which would be found there. */
_Atomic(const struct tether_type *) tetheri_type_cache[TETHERI_TYPE_CACHE] = {(const struct tether_type *)1};

/* What a message's node carries where an object has its type. */
const struct tether_type tetheri_message_type = TETHER_TYPE_AT("message", sizeof(struct tether_message), 0, NULL, NULL, NULL,
                                                               NULL, TETHER_LEAK, TETHER_LEVEL_DEFAULT, TETHER_NO_RULES);

/* Of which types an object has ended; a type's place is by its address, and the next free one if that is taken. A
 * type that finds none is not told of. Relaxed, all: an address is compared, and followed only at exit, where it
 * is looked for in the loaded modules first. */
_Atomic(const struct tether_type *) tetheri_type_ended[TETHERI_TYPE_CACHE];

#define LISTED 512
#define PROBES 16

static struct {
	_Atomic(const struct tether_type *) type;
	_Atomic bool has_ended;
} listed[LISTED];

static unsigned place_of(const struct tether_type *type, unsigned probe)
{
	return (unsigned)(((uintptr_t)type >> 6) + probe) % LISTED;
}

/* LISTED: there is no room. */
static unsigned list(const struct tether_type *type)
{
	for (unsigned probe = 0; probe < PROBES; probe++) {
		unsigned at = place_of(type, probe);
		const struct tether_type *found = atomic_load_explicit(&listed[at].type, memory_order_relaxed);
		if (found == type || (!found && (atomic_compare_exchange_strong_explicit(&listed[at].type, &found, type,
		                                                                         memory_order_relaxed, memory_order_relaxed) ||
		                                 found == type)))
			return at;
	}
	return LISTED;
}

void tetheri_type_note_end_slow(const struct tether_type *type)
{
	unsigned at = list(type);

	atomic_store_explicit(&tetheri_type_ended[tetheri_type_slot(type)], type, memory_order_relaxed);
	if (at < LISTED && !atomic_load_explicit(&listed[at].has_ended, memory_order_relaxed))
		atomic_store_explicit(&listed[at].has_ended, true, memory_order_relaxed);
}

const struct tether_type *tetheri_type_never_ended(unsigned *at)
{
	while (*at < LISTED) {
		unsigned i = (*at)++;
		const struct tether_type *type = atomic_load_explicit(&listed[i].type, memory_order_relaxed);
		/* Its module may have gone meanwhile. */
		if (type && !atomic_load_explicit(&listed[i].has_ended, memory_order_relaxed) && tetheri_type_in_module(type))
			return type;
	}
	return NULL;
}

static bool is_aligned(const struct tether_type *type)
{
	return type && (uintptr_t)type % _Alignof(struct tether_type) == 0 &&
	       ((uintptr_t)type & (TETHERI_MAGIC_MASK | TETHERI_LOW_MASK)) == 0;
}

static void cache(const struct tether_type *type)
{
	atomic_store_explicit(&tetheri_type_cache[tetheri_type_slot(type)], type, memory_order_relaxed);
}

/* Beyond tens of thousands of types the set is full; then a type must lie in a loaded module. */
static _Atomic bool is_full;

bool tetheri_type_known_slow(const struct tether_type *type)
{
	if (!is_aligned(type))
		return false;
	if (!tetheri_set_has(TETHERI_SET_TYPES, (uintptr_t)type) &&
	    !(atomic_load_explicit(&is_full, memory_order_relaxed) && tetheri_type_in_module(type)))
		return false;
	cache(type);
	return true;
}

void tetheri_type_remember(const struct tether_type *type)
{
	enum tetheri_set_result result = tetheri_set_add(TETHERI_SET_TYPES, (uintptr_t)type);

	if (result == TETHERI_SET_ADDED)
		(void)list(type);
	if (type->rules & (TETHER_DIES_IN_CHILDREN | TETHER_GROUP))
		tetheri_fork_look();
	if (result == TETHERI_SET_FULL)
		atomic_store_explicit(&is_full, true, memory_order_relaxed);
}

bool tetheri_type_register(const struct tether_type *type)
{
	if (!is_aligned(type) || type->magic_ != TETHER_TYPE_MAGIC_)
		return false;
	tetheri_type_remember(type);
	/* It must not be forgotten because two threads bind their first objects at once. */
	while (!tetheri_type_known_slow(type) && !atomic_load_explicit(&is_full, memory_order_relaxed)) {
		syscall(SYS_sched_yield); /* raw: sched_yield() may be a cancellation point */
		tetheri_type_remember(type);
	}
	cache(type);
	return true;
}

/* Garbage may lead to where AddressSanitizer keeps variables apart, which is memory, but nobody's. */
static __attribute__((no_sanitize_address)) bool has_magic(const struct tether_type *type)
{
	return type->magic_ == TETHER_TYPE_MAGIC_;
}

/* Only on the way to a report, or for a type that nobody has bound yet: a walk over loaded modules. */
bool tetheri_type_in_module(const struct tether_type *type)
{
	return is_aligned(type) && tetheri_module_has(type, sizeof *type) && has_magic(type);
}
