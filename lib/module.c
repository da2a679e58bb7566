/* module.c - which loaded module an address lies in.
 * SPDX-License-Identifier: MIT
 *
 * dladdr() would wait for the loader's lock, which a thread inside dlopen() holds for as long as the
 * module's constructors run; dl_iterate_phdr() takes one that is only held while the list changes. */
#include <link.h>

#include "internal.h"

struct query {
	uintptr_t from, to;
	uintptr_t base;
	const char *name; /* NULL: not found */
};

static int look(struct dl_phdr_info *info, size_t size, void *context)
{
	struct query *query = context;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum && !query->name; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_R) || query->from < start ||
		    query->to > start + segment->p_memsz)
			continue;
		query->base = info->dlpi_addr;
		query->name = info->dlpi_name ? info->dlpi_name : "";
	}
	return query->name != NULL;
}

bool tetheri_module_has(const void *address, size_t bytes)
{
	struct query query = {.from = (uintptr_t)address, .to = (uintptr_t)address + bytes};

	return query.to >= query.from && dl_iterate_phdr(look, &query) != 0;
}

const char *tetheri_module_of(const void *address, uintptr_t *offset)
{
	struct query query = {.from = (uintptr_t)address, .to = (uintptr_t)address};

	if (!address || dl_iterate_phdr(look, &query) == 0)
		return NULL;
	*offset = query.from - query.base;
	return query.name;
}
