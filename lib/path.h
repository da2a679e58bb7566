/* path.h - file names as people want to read them: without "..", and from the current directory or the project's own on.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_PATH_H
#define TETHERI_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "scratch.h"

#pragma GCC visibility push(hidden)

struct tetheri_path {
	struct tetheri_scratch *scratch;
	char *directory; /* the process's; NULL: no room */
	size_t length;
	const char *given, *tidy; /* the last one: it often comes again */
};

const char *tetheri_path_base(const char *path); /* what follows the last slash */
void tetheri_path_start(struct tetheri_path *path, struct tetheri_scratch *scratch);
/* The tidy form of a name, from the scratch; of NULL: NULL. */
const char *tetheri_path_tidy(struct tetheri_path *path, const char *file);

#pragma GCC visibility pop

#endif
