/* names.c - makes one report and prints its frames, one a line: tests/build/names.py builds it in many ways.
 * SPDX-License-Identifier: MIT
 *
 * With the argument "unlink" its own file goes first. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tether/tether.h>

#ifdef OWN_LIBBACKTRACE
/* The program has a libbacktrace of its own, under the usual names. */
extern void *backtrace_create_state(const char *, int, void (*)(void *, const char *, int), void *);
extern int backtrace_pcinfo(void *, unsigned long, int (*)(void *, unsigned long, const char *, int, const char *),
                            void (*)(void *, const char *, int), void *);

static int take(void *context, unsigned long address, const char *file, int line, const char *function)
{
	(void)address;
	(void)file;
	(void)line;
	*(const char **)context = function;
	return 0;
}

static void complain(void *context, const char *message, int error)
{
	(void)context;
	fprintf(stderr, "%s %d\n", message, error);
}

static int own_copy_works(void)
{
	const char *name = NULL;

	backtrace_pcinfo(backtrace_create_state(NULL, 1, complain, NULL), (unsigned long)own_copy_works + 1, take, complain, &name);
	return name && strcmp(name, "own_copy_works") == 0;
}
#else
static int own_copy_works(void)
{
	return 1;
}
#endif

struct thing {
	struct tether tether;
};
static const struct tether_type thing_type = TETHER_TYPE(struct thing, tether, NULL);

static const char *text(const char *string)
{
	return string ? string : "-";
}

static void print(const struct tether_report *report, void *context)
{
	(void)context;
	for (size_t i = 0; i < report->at.count; i++) {
		const struct tether_frame *f = &report->at.frames[i];

		if (!f->address) /* what the check says of itself */
			continue;
		printf("%s\t%s\t%d\t%d\t%s\t%#lx\t%s\n", text(f->function), text(f->file), f->line, f->is_inlined, text(f->module),
		       (unsigned long)f->offset, text(f->build_id));
	}
}

__attribute__((noinline)) static void guilty(struct thing *thing)
{
	(void)TETHER_ENSURE(&thing->tether); /* the guilty line */
	__asm__ volatile("" ::: "memory");
}

static inline __attribute__((always_inline)) void inlined(struct thing *thing)
{
	guilty(thing); /* the inlined line */
	__asm__ volatile("" ::: "memory");
}

int main(int count, char **arguments)
{
	struct thing thing;

	if (count > 1 && strcmp(arguments[1], "unlink") == 0)
		unlink(arguments[0]);
	tether_set_report_callback(print, NULL);
	tether_bind_later(&thing.tether, &thing_type);
	inlined(&thing); /* the outer line */
	tether_fini(&thing.tether);
	return own_copy_works() ? 0 : 1;
}
