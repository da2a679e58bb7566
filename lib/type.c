/* type.c - which addresses are types, so that a word that may be garbage is never followed.
 * SPDX-License-Identifier: MIT
 *
 * A type is remembered when an object of it is bound. A small direct-mapped cache in front makes that
 * one load and one compare. */
#include <link.h>

#include "internal.h"
#include "set.h"

_Atomic(const struct tether_type *) tetheri_type_cache[TETHERI_TYPE_CACHE];

/* What a message's node carries where an object has its type. */
const struct tether_type tetheri_message_type =
	TETHER_TYPE_AT("message", 0, NULL, NULL, NULL, NULL, TETHER_LEAK, TETHER_LEVEL_DEFAULT);

static bool is_aligned(const struct tether_type *type)
{
	return type && (uintptr_t)type % _Alignof(struct tether_type) == 0 &&
	       ((uintptr_t)type & (TETHERI_MAGIC_MASK | TETHERI_LOW_MASK)) == 0;
}

static void cache(const struct tether_type *type)
{
	atomic_store_explicit(&tetheri_type_cache[tetheri_type_slot(type)], type, memory_order_relaxed);
}

bool tetheri_type_known_slow(const struct tether_type *type)
{
	if (!is_aligned(type) || !tetheri_set_has(TETHERI_SET_TYPES, (uintptr_t)type))
		return false;
	cache(type);
	return true;
}

bool tetheri_type_register(const struct tether_type *type)
{
	if (!is_aligned(type) || type->magic_ != TETHER_TYPE_MAGIC_)
		return false;
	/* Where the set is full the type stays unknown, and tetheri_type_in_module() vouches for it. */
	(void)tetheri_set_add(TETHERI_SET_TYPES, (uintptr_t)type);
	cache(type);
	return true;
}

struct query {
	uintptr_t from, to;
	bool found;
};

static int look(struct dl_phdr_info *info, size_t size, void *context)
{
	struct query *query = context;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum && !query->found; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		query->found = segment->p_type == PT_LOAD && (segment->p_flags & PF_R) && query->from >= start &&
		               query->to <= start + segment->p_memsz;
	}
	return query->found;
}

/* Only on the way to a report, or for a type that nobody has bound yet: a walk over loaded modules. */
bool tetheri_type_in_module(const struct tether_type *type)
{
	struct query query = {(uintptr_t)type, (uintptr_t)type + sizeof *type, false};

	if (!is_aligned(type))
		return false;
	dl_iterate_phdr(look, &query);
	return query.found && type->magic_ == TETHER_TYPE_MAGIC_;
}
