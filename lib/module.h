/* module.h - loaded modules, and what identifies each.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_MODULE_H
#define TETHERI_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scratch.h"

#pragma GCC visibility push(hidden)

struct tetheri_module {
	const struct tetheri_module *next; /* see tetheri_module_list */
	const char *path;                  /* its file */
	const char *build_id;              /* hexadecimal; NULL: it has none */
	uintptr_t base;                    /* an address in memory less the one in the file */
	bool is_program;                   /* the executable itself */
};

/* Which modules some addresses lie in; NULL where none does, or the scratch is
 * used up. Any thread, signal handlers too. */
void tetheri_module_find(const uintptr_t *addresses, size_t count, const struct tetheri_module **modules,
                         struct tetheri_scratch *scratch);
/* All that are loaded, for which the scratch has room. */
const struct tetheri_module *tetheri_module_list(struct tetheri_scratch *scratch);

#pragma GCC visibility pop

#endif
