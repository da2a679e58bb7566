/* text.h - text in a fixed buffer: what does not fit is cut, and its length is still counted.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_TEXT_H
#define TETHERI_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Invariant: bytes[min(used, size - 1)] is 0, if size > 0. */
struct tetheri_text {
	char *bytes;
	size_t size;
	size_t used; /* of the whole text: may exceed size */
	bool colors; /* write escape sequences for a terminal */
};

__attribute__((format(printf, 2, 3))) void tetheri_put(struct tetheri_text *text, const char *format, ...);
void tetheri_put_age(struct tetheri_text *text, uint64_t ns); /* "18.4 ms" */

/* Names and labels may come from strangers: they must not write lines, or to a terminal, of their own. */
static inline void tetheri_clean(char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f)
			bytes[i] = '?';
}

/* What was written, in bytes. */
static inline size_t tetheri_text_length(const struct tetheri_text *text)
{
	return text->used < text->size ? text->used : text->size - 1;
}

#pragma GCC visibility pop

#endif
