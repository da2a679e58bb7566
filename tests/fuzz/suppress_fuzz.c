/* suppress_fuzz.c - any text as suppressions, and any names to match: the answer is that of a matcher which is
 * slow and plain.
 * SPDX-License-Identifier: MIT
 *
 * An input is strings, each with a zero byte behind it: the type, the function, the file; the rest is the text. */
#include <string.h>

#include <tether/report.h>

#include "fuzz.h"
#include "suppress.h"

#define KINDS (TETHER_FOREIGN_DROP + 1)
#define MOST_WARNINGS 12
#define GLOB 256 /* bytes; longer ones are left to the library alone */

/* reached[i]: the glob so far fits the text up to i. */
static bool fits_plainly(const char *glob, size_t size, const char *text)
{
	size_t length = strlen(text);
	bool *reached = calloc(length + 1, sizeof *reached);
	bool from_start = size > 0 && *glob == '^';
	bool to_end = size > from_start && glob[size - 1] == '$';
	bool fits = false;

	CHECK(reached);
	memset(reached, !from_start, length + 1);
	reached[0] = true;
	for (size_t k = from_start; k < size - to_end; k++) {
		if (glob[k] == '*') {
			for (size_t i = 1; i <= length; i++)
				reached[i] |= reached[i - 1];
			continue;
		}
		for (size_t i = length; i > 0; i--)
			reached[i] = reached[i - 1] && text[i - 1] == glob[k];
		reached[0] = false;
	}
	for (size_t i = to_end ? length : 0; i <= length; i++)
		fits |= reached[i];
	free(reached);
	return fits;
}

static bool is_blank(char byte)
{
	return byte && strchr(" \t\n\v\f\r", byte);
}

static void trim(const char **from, const char **to)
{
	while (*from < *to && is_blank(**from))
		++*from;
	while (*from < *to && is_blank((*to)[-1]))
		--*to;
}

/* 1: it fits; 0: it does not; -1: not asked. */
static int line_fits(const char *from, const char *to, const struct tether_report *report)
{
	const char *names[] = {report->type, report->function, report->file};
	const char *name = tether_kind_name(report->kind);

	trim(&from, &to);
	const char *colon = from < to && *from != '#' ? memchr(from, ':', (size_t)(to - from)) : NULL;
	if (!colon || colon + 1 == to)
		return 0;
	const char *kind_end = colon;
	const char *glob = colon + 1;
	trim(&from, &kind_end);
	trim(&glob, &to);
	size_t size = (size_t)(kind_end - from);
	if (!(size == 1 && *from == '*') && !(size == strlen(name) && memcmp(from, name, size) == 0))
		return 0;
	if (to - glob > GLOB)
		return -1;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (fits_plainly(glob, (size_t)(to - glob), names[i]))
			return 1;
	return 0;
}

static void check_answer(const struct tether_report *report, const char *text, size_t size)
{
	const char *end = text + size;
	int number = tetheri_suppress_find(report);
	bool fits = false;

	for (const char *next; text < end; text = next + 1) {
		next = memchr(text, '\n', (size_t)(end - text));
		if (!next)
			next = end;
		int one = line_fits(text, next, report);
		if (one < 0)
			return;
		fits |= one > 0;
	}
	CHECK(fits == (number != TETHERI_SUPPRESS_NONE));
	if (fits) {
		uint64_t before = tetheri_suppress_total();
		tetheri_suppress_count(number);
		CHECK(tetheri_suppress_total() == before + 1);
	}
}

/* The next string of the input; "" when there is none. */
static char *string_take(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memchr(*data, '\0', *size) : NULL;
	size_t length = end ? (size_t)(end - *data) : 0;
	char *string = malloc(length + 1);

	CHECK(string);
	memcpy(string, length ? *data : (const uint8_t *)"", length);
	string[length] = '\0';
	if (end) {
		*data += length + 1;
		*size -= length + 1;
	}
	return string;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[4096] = "\n";
	struct tetheri_text text = {.bytes = out, .size = sizeof out};
	char *type = string_take(&data, &size), *function = string_take(&data, &size), *file = string_take(&data, &size);
	struct tether_report report = {.type = type, .function = function, .file = file};

	fuzz_warnings = 0;
	CHECK(tetheri_suppress_read("a file", (const char *)data, size) == 0);
	CHECK(fuzz_warnings <= MOST_WARNINGS);
	if (size < 3 || memcmp(data, "\xef\xbb\xbf", 3) != 0) /* the mark of UTF-8 is not part of the first line */
		for (int kind = 0; kind < KINDS; kind++) {
			report.kind = (enum tether_kind)kind;
			check_answer(&report, (const char *)data, size);
		}
	tetheri_suppress_put(&text);
	if (text.used < text.size)
		fuzz_check_text(out, text.used);
	free(type);
	free(function);
	free(file);
	return 0;
}
