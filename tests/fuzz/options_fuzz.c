/* options_fuzz.c - any text as TETHER_OPTIONS, any name and value as a call: values stay good ones.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <tether/options.h>
#include <tether/tag.h>

#include "fuzz.h"
#include "options.h"
#include "sink.h"
#include "suppress.h"

#define MOST_WARNINGS 12 /* of one text */

static const struct {
	_Atomic int *value;
	int min, max;
} allowed[] = {
	{&tetheri_options.level, TETHER_COUNT, TETHER_ABORT},
	{&tetheri_options.abort, 0, 1},
	{&tetheri_options.exit_code, 0, 255},
	{&tetheri_options.format, TETHERI_FORMAT_TEXT, TETHERI_FORMAT_BOTH},
	{&tetheri_options.color, TETHERI_COLOR_AUTO, TETHERI_COLOR_NEVER},
	{&tetheri_options.dedup, TETHERI_DEDUP_SITE, TETHERI_DEDUP_NONE},
	{&tetheri_options.max_reports, 0, INT32_MAX},
	{&tetheri_options.bind_stacks, TETHERI_BIND_STACKS_OFF, TETHERI_BIND_STACKS_FULL},
	{&tetheri_options.stack_depth, 1, 64},
	{&tetheri_options.history, 0, 1},
	{&tetheri_options.symbols, 0, 1},
	{&tetheri_options.stall_ms, 0, INT32_MAX},
	{&tetheri_options.queue_warn, 0, INT32_MAX},
	{&tetheri_options.exit_summary, 0, 1},
	{&tetheri_options.script_places, 0, 1},
	{&tetheri_options.help, 0, 1},
};

/* In place of the library's, so that no file is opened: some can be, and some cannot. */
int tetheri_sink_open(const char *path)
{
	return strlen(path) % 2 ? -ENOENT : 0;
}

int tetheri_suppress_load(const char *path)
{
	return tetheri_sink_open(path);
}

void tetheri_sink_load(void)
{
}

static void check_values(void)
{
	unsigned trace = atomic_load_explicit(&tetheri_trace, memory_order_relaxed);

	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
		int value = atomic_load_explicit(allowed[i].value, memory_order_relaxed);
		CHECK(value >= allowed[i].min && value <= allowed[i].max);
	}
	CHECK(!(trace & TETHERI_TRACE_STACKS) == (tetheri_option(bind_stacks) == TETHERI_BIND_STACKS_OFF));
	CHECK(!(trace & TETHERI_TRACE_HISTORY) == !tetheri_option(history));
	CHECK(!(trace & TETHERI_TRACE_STALLS) == !tetheri_option(stall_ms));
	CHECK(!(trace & TETHERI_TRACE_QUEUES) == !tetheri_option(queue_warn));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	fuzz_warnings = 0;
	tetheri_options_read(text, "a text", TETHERI_BY_CALL);
	CHECK(fuzz_warnings <= MOST_WARNINGS);
	check_values();
	char *value = strchr(text, '=');
	if (value) {
		*value++ = '\0';
		fuzz_warnings = 0;
		errno = 4242;
		int error = tether_set_option(text, value);
		CHECK(errno == 4242);
		CHECK(error <= 0 && (error == 0) == (fuzz_warnings == 0 && error != -ENOENT));
		check_values();
	}
	free(text);
	return 0;
}
