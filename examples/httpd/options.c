/* options.c - the command line.
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "httpd.h"

struct options options = {
	.port = 8080,
	.loops = 2,
	.workers = 2,
	.jobs = 4096,
	.header_bytes = 8192,
	.body_bytes = BODY_MAX,
};

struct limits limits = {
	.drain_ms = 3000,
	.wait_ms = {[WAIT_IDLE] = 60000, [WAIT_HEADER] = 10000, [WAIT_TOTAL] = 30000, [WAIT_LINGER] = 2000},
};

static const struct {
	const char *name;
	long *value;
	long min, max;
	const char *help;
} numbers[] = {
	{"port", &options.port, 0, 65535, "where to listen on 127.0.0.1; 0: any free port"},
	{"threads", &options.loops, 1, LOOPS_MAX, "event loops"},
	{"workers", &options.workers, 1, WORKERS_MAX, "threads for /slow"},
	{"requests", &options.requests, 0, LONG_MAX, "stop after about so many requests; 0: no bound"},
	{"seconds", &options.seconds, 0, 86400, "stop after so many seconds; 0: no bound"},
	{"max-jobs", &options.jobs, 1, INT_MAX, "how many /slow requests may wait for a worker"},
	{"max-header", &options.header_bytes, 64, 65536, "bytes of a request's header"},
	{"max-body", &options.body_bytes, 0, BODY_MAX, "bytes of a request's body"},
	{"idle-ms", &limits.wait_ms[WAIT_IDLE], 1, INT_MAX, "how long to wait for a request"},
	{"header-ms", &limits.wait_ms[WAIT_HEADER], 1, INT_MAX, "how long a header may take"},
	{"total-ms", &limits.wait_ms[WAIT_TOTAL], 1, INT_MAX, "how long body and answer may take"},
	{"linger-ms", &limits.wait_ms[WAIT_LINGER], 1, INT_MAX, "how long to wait for the peer to close"},
	{"drain-ms", &limits.drain_ms, 1, INT_MAX, "how long a stop waits for what has begun"},
};

enum { NUMBERS = sizeof numbers / sizeof *numbers };

static bool help(void)
{
	printf("usage: httpd [--NAME=VALUE ...]\n");
	for (int i = 0; i < NUMBERS; i++)
		printf("  --%-11s %s (%ld)\n", numbers[i].name, numbers[i].help, *numbers[i].value);
	printf("  --%-11s %s\n", "bug", "plant a mistake; --bug=list names them");
	printf("  --%-11s %s\n", "once", "be the client as well, ask once, and end");
	return false;
}

static bool parse_number(const char *name, size_t name_bytes, const char *text)
{
	for (int i = 0; i < NUMBERS; i++) {
		char *end;

		if (strlen(numbers[i].name) != name_bytes || strncmp(numbers[i].name, name, name_bytes) != 0)
			continue;
		long value = strtol(text, &end, 10);
		if (end == text || *end != '\0' || value < numbers[i].min || value > numbers[i].max)
			return false;
		*numbers[i].value = value;
		return true;
	}
	return false;
}

static bool parse_one(const char *argument)
{
	const char *name = argument + 2, *equals = strchr(argument, '=');

	if (strcmp(argument, "--once") == 0)
		return options.once = true;
	if (strncmp(argument, "--bug=", 6) == 0)
		return (options.bug = bugs_find(argument + 6)) != BUG_NONE;
	return strncmp(argument, "--", 2) == 0 && equals && parse_number(name, (size_t)(equals - name), equals + 1);
}

/* False: there is nothing to run, as help was asked for or something is wrong (exit with `*status`). */
bool options_parse(char **arguments, int *status)
{
	*status = 0;
	for (; *arguments; arguments++) {
		if (strcmp(*arguments, "--help") == 0)
			return help();
		if (strcmp(*arguments, "--bug=list") == 0)
			return bugs_list();
		if (parse_one(*arguments))
			continue;
		fprintf(stderr, "httpd: what is %s? --help names the options\n", *arguments);
		*status = 2;
		return false;
	}
	return true;
}
