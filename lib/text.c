/* text.c - text in a fixed buffer.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "text.h"

void tetheri_put(struct tetheri_text *text, const char *format, ...)
{
	bool has_room = text->used < text->size;
	va_list arguments;

	va_start(arguments, format);
	int wanted = vsnprintf(has_room ? text->bytes + text->used : NULL, has_room ? text->size - text->used : 0, format, arguments);
	va_end(arguments);
	if (wanted > 0)
		text->used += (size_t)wanted;
}

/* Three figures, in the largest unit that leaves one before the point. No floating point: a signal handler
 * may be here. */
void tetheri_put_age(struct tetheri_text *text, uint64_t ns)
{
	static const struct {
		uint64_t ns;
		const char *unit;
	} units[] = {{UINT64_C(86400000000000), "days"}, {UINT64_C(3600000000000), "h"}, {UINT64_C(60000000000), "min"},
	             {UINT64_C(1000000000), "s"},        {UINT64_C(1000000), "ms"},      {UINT64_C(1000), "us"}};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (ns < units[i].ns)
			continue;
		tetheri_put(text, "%llu.%llu %s", (unsigned long long)(ns / units[i].ns),
		            (unsigned long long)(ns % units[i].ns * 10 / units[i].ns), units[i].unit);
		return;
	}
	tetheri_put(text, "%llu ns", (unsigned long long)ns);
}
