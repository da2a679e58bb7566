/* fuzz.h - what both harnesses have: a sink that checks what it is told to write.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_TESTS_FUZZ_H
#define TETHER_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Unlike assert(), in every build. */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

extern unsigned fuzz_warnings; /* since the harness set it to 0 */

void fuzz_check_text(const char *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
