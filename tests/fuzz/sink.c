/* sink.c - in place of the library's: nothing is written, and what would be is checked.
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "sink.h"

unsigned fuzz_warnings;

/* Nothing that a terminal would obey. */
void fuzz_check_text(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		CHECK(bytes[i] == '\n' || (bytes[i] >= ' ' && bytes[i] <= '~'));
	CHECK(size == 0 || bytes[size - 1] == '\n');
}

void tetheri_sink_write_error(const char *bytes, size_t size)
{
	fuzz_check_text(bytes, size);
}

void tetheri_sink_warn(const char *format, ...)
{
	char bytes[2048];
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(bytes, sizeof bytes - 1, format, arguments);
	va_end(arguments);
	CHECK(size > 0 && (size_t)size < sizeof bytes - 1);
	CHECK(!strchr(bytes, '\n'));
	bytes[size] = '\n';
	fuzz_check_text(bytes, (size_t)size + 1);
	fuzz_warnings++;
}
