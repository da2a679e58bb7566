/* stats.c - what happened, as tether counted it and as we did.
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include "httpd.h"

struct text {
	char *out;
	size_t used, max;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int n = vsnprintf(t->out + t->used, t->max - t->used, format, arguments);
	va_end(arguments);
	assert(n >= 0 && (size_t)n < t->max - t->used);
	t->used += (size_t)n;
}

/* One member of a JSON object. */
static void text_add_count(struct text *t, const char *name, unsigned long long n)
{
	text_add(t, "%s\"%s\": %llu", t->out[t->used - 1] == '{' ? "" : ", ", name, n);
}

/* Of one owner, or of all where `owner` is 0. */
static void text_add_tether(struct text *t, tether_owner_t owner)
{
	struct tether_counters n = {0};

	(void)tether_stats(owner, &n); /* a loop that has ended has joined the total: zeroes */
	text_add(t, ", \"tether\": {");
	text_add_count(t, "bound", n.bound);
	text_add_count(t, "failed_checks", n.failed_checks);
	text_add_count(t, "dropped_here", n.dropped_here);
	text_add_count(t, "queued", n.queued);
	text_add_count(t, "run_home", n.run_home);
	text_add_count(t, "orphaned", n.orphaned);
	text_add_count(t, "leaked", n.leaked);
	text_add_count(t, "pending", n.pending);
	text_add_count(t, "wakeups", n.wakeups);
	text_add(t, "}");
}

/* Any thread. Returns the bytes of the text. */
size_t stats_json(char *out, size_t max)
{
	struct text t = {out, 0, max};

	text_add(&t, "{");
	text_add_count(&t, "requests", stats_served());
	text_add_tether(&t, 0);
	text_add(&t, ", \"loops\": [");
	for (int i = 0; i < options.loops; i++) {
		struct loop *l = &loops[i];

		text_add(&t, "%s\n{\"name\": \"%s\"", i ? "," : "", l->name);
		text_add_count(&t, "accepted", count_of(&l->accepted));
		text_add_count(&t, "requests", count_of(&l->served));
		text_add_count(&t, "jobs", count_of(&l->jobs));
		text_add_count(&t, "unarmed", count_of(&l->unarmed));
		text_add_tether(&t, l->owner);
		text_add(&t, "}");
	}
	text_add(&t, "]}\n");
	return t.used;
}

/* Any thread. */
unsigned long long stats_served(void)
{
	unsigned long long served = 0;

	for (int i = 0; i < options.loops; i++)
		served += count_of(&loops[i].served);
	return served;
}

static void print_count(const char *name, unsigned long long n)
{
	printf(" %s=%llu", name, n);
}

static unsigned long long ms_of(struct timeval t)
{
	return (unsigned long long)t.tv_sec * 1000 + (unsigned long long)t.tv_usec / 1000;
}

/* When all threads but this have ended. True: nothing is lost, and tether's counts agree with ours. */
bool stats_print(void)
{
	unsigned long long bound = 0, destroyed = 0, messages = 0;
	struct tether_counters n;
	struct rusage use;

	tether_stats(0, &n);
	getrusage(RUSAGE_SELF, &use);
	for (int i = 0; i < options.loops; i++) {
		bound += loops[i].conns.taken + loops[i].requests.taken;
		destroyed += loops[i].conns.returned + loops[i].requests.returned;
		messages += count_of(&loops[i].messages);
	}
	printf("httpd:");
	print_count("requests", stats_served());
	print_count("bound", n.bound);
	print_count("destroyed", destroyed);
	print_count("here", n.dropped_here);
	print_count("queued", n.queued);
	print_count("run_home", n.run_home);
	print_count("messages", messages);
	print_count("orphaned", n.orphaned);
	print_count("pending", n.pending);
	print_count("lost", n.bound - destroyed);
	print_count("reports", n.failed_checks);
	print_count("cpu_ms", ms_of(use.ru_utime) + ms_of(use.ru_stime));
	printf("\n");
	return n.bound == bound && n.dropped_here + n.run_home == destroyed + messages && bound == destroyed;
}
