/* symbol.c - call stacks as people read them: functions, files, lines, modules.
 * SPDX-License-Identifier: MIT
 *
 * What it costs, and when: the first look-up in a module reads that module's file (0.3 to 1 ms measured for small
 * programs, 50 ms for a C library with its debugging information), later ones take 0.3 us a frame.
 * tether_load_symbols() reads them all beforehand. The frames that start a program or a thread are not looked up:
 * nobody needs their names, and the C library's file may be the largest of all. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "demangle.h"
#include "options.h"
#include "symbol.h"
#include "text.h"
#include "tsan.h"

#define INLINED_MAX 16 /* frames for one address */

const char tetheri_symbol_busy[] = "they were being read";

struct finding {
	struct tetheri_symbol_listener listener;
	struct tether_frame blank; /* what is known without symbols */
	struct tether_frame *frames;
	size_t count, room;
	struct tetheri_scratch *scratch;
};

static const char *keep(const char *string, struct tetheri_scratch *scratch)
{
	return string ? tetheri_scratch_string(scratch, string, strlen(string)) : NULL;
}

/* A symbol's name goes on where the compiler split or copied the function: "conn_read.cold". */
static size_t own_length(const char *name)
{
	static const char *const marks[] = {".cold", ".part.", ".constprop.", ".isra.", ".lto_priv.", ".llvm."};
	size_t length = strlen(name);

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		const char *mark = strstr(name, marks[i]);

		if (mark && (size_t)(mark - name) < length)
			length = (size_t)(mark - name);
	}
	return length;
}

static const char *keep_function(const char *name, struct tetheri_scratch *scratch)
{
	char plain[512];

	if (name && tetheri_demangle(name, plain, sizeof plain))
		name = plain;
	return name ? tetheri_scratch_string(scratch, name, own_length(name)) : NULL;
}

/* Where there is no room for all, the last one stays: it is the function that was called. */
static void add_frame(struct tetheri_symbol_listener *listener, const char *function, const char *file, int line)
{
	struct finding *finding = (struct finding *)listener;

	if (finding->count == finding->room)
		finding->count--;
	if (finding->count > 0)
		finding->frames[finding->count - 1].is_inlined = true;
	struct tether_frame *frame = &finding->frames[finding->count++];
	*frame = finding->blank;
	frame->function = keep_function(function, finding->scratch);
	frame->file = keep(file, finding->scratch);
	frame->line = line;
}

/* ---- A sanitizer's symboliser ---------------------------------------------------------------- */

/* Takes a return address. Writes a string for each function, the innermost inlined one first, and an
 * empty one. Signals wait meanwhile: a handler must not enter it again, nor interrupt what it reads. */
extern void sanitizer_symbolize(void *address, const char *format, char *out, size_t size) __asm__("__sanitizer_symbolize_pc")
	__attribute__((weak));

static const char *known(const char *string)
{
	return strcmp(string, "<null>") == 0 || strcmp(string, "??") == 0 ? NULL : string;
}

/* "function\nfile\nline", of which a short buffer may have cut the end. */
static bool add_told(struct finding *finding, char *told)
{
	char *save = NULL;
	const char *function = strtok_r(told, "\n", &save);
	const char *file = function ? strtok_r(NULL, "\n", &save) : NULL;
	const char *number = file ? strtok_r(NULL, "\n", &save) : NULL;
	int line = 0;

	for (; number && *number >= '0' && *number <= '9'; number++)
		line = line * 10 + (*number - '0');
	function = function ? known(function) : NULL;
	file = file ? known(file) : NULL;
	if (function || file)
		add_frame(&finding->listener, function, file, line);
	return function || file;
}

TETHER_COLD_ static void ask_sanitizer(struct finding *finding, uintptr_t pc)
{
	char told[2048];
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	sanitizer_symbolize((void *)pc, "%f\n%s\n%l", told, sizeof told);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	for (char *next = told, *end; *next; next = end + 1) {
		end = next + strlen(next);
		if (!add_told(finding, next))
			break;
	}
}

/* ---- One address ----------------------------------------------------------------------------- */

/* NULL, or why nothing could be looked up. TSan would take what libbacktrace does for races, as it cannot
 * see into it. */
static const char *ask(struct finding *finding, const struct tetheri_module *module, uintptr_t pc)
{
	if (sanitizer_symbolize)
		ask_sanitizer(finding, pc);
	if (finding->count > 0 || TETHERI_TSAN_IS_HERE)
		return NULL;
	return tetheri_symbol_ask(module, pc - 1, &finding->listener);
}

/* At least one frame. `why` is set where names are missing. */
static size_t frames_of(uintptr_t pc, const struct tetheri_module *module, bool wants_names, struct finding *finding,
                        const char **why)
{
	const char *problem = NULL;

	finding->count = 0;
	finding->listener.hear = add_frame;
	finding->blank = (struct tether_frame){.address = (const void *)pc};
	if (module) {
		finding->blank.module = module->path;
		finding->blank.build_id = module->build_id;
		finding->blank.offset = pc - 1 - module->base;
	}
	if (module && wants_names)
		problem = ask(finding, module, pc);
	if (problem)
		*why = problem;
	if (finding->count == 0)
		finding->frames[finding->count++] = finding->blank;
	return finding->count;
}

size_t tetheri_symbol_frames(uintptr_t pc, struct tether_frame *frames, size_t room, struct tetheri_scratch *scratch)
{
	struct finding finding = {.frames = frames, .room = room, .scratch = scratch};
	const struct tetheri_module *module = NULL;
	uintptr_t call = pc - 1;
	int saved_errno = errno;
	const char *why;

	tetheri_module_find(&call, 1, &module, scratch);
	frames_of(pc, module, tetheri_option(symbols), &finding, &why);
	errno = saved_errno;
	return finding.count;
}

/* ---- A stack --------------------------------------------------------------------------------- */

#define ENTRY_BYTES 64 /* of _start */

static bool is_start(uintptr_t pc, const struct tetheri_module *module)
{
	static const char *const libraries[] = {"libc.so", "libc-", "ld-", "ld64.so", "libpthread", "libstdc++.so", "libc++.so"};
	const char *slash = module ? strrchr(module->path, '/') : NULL;
	const char *name = slash ? slash + 1 : module ? module->path : "";

	if (pc - getauxval(AT_ENTRY) < ENTRY_BYTES)
		return true;
	for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
		if (strncmp(name, libraries[i], strlen(libraries[i])) == 0)
			return true;
	return false;
}

/* How many entries are worth a name: not the outermost ones in the C and C++ libraries, which start the
 * program or the thread, unless there is nothing else. */
static size_t depth_of_names(const struct tetheri_stack *stack, const struct tetheri_module *const *modules)
{
	size_t depth = stack->depth;

	while (depth > 0 && is_start(stack->pc[depth - 1], modules[depth - 1]))
		depth--;
	return depth > 0 ? depth : stack->depth;
}

static const char *cut_and_nameless(const char *cut, const char *why, struct tetheri_scratch *scratch)
{
	struct tetheri_text text = {.bytes = tetheri_scratch_take(scratch, 256), .size = 256};

	if (!text.bytes)
		return cut;
	tetheri_put(&text, "%s%snames are missing: %s", cut ? cut : "", cut ? "; " : "", why);
	return text.bytes;
}

static struct tether_stack stack_of(const struct tetheri_stack *stack, const struct tetheri_module *const *modules,
                                    struct tetheri_scratch *scratch)
{
	struct tether_stack told = {.cut = tetheri_stack_why(stack->end)};
	struct tether_frame found[INLINED_MAX];
	struct finding finding = {.frames = found, .room = INLINED_MAX, .scratch = scratch};
	size_t named = depth_of_names(stack, modules);
	bool has_names = tetheri_option(symbols);
	const char *why = NULL;

	for (size_t i = 0; i < stack->depth; i++) {
		bool wants_names = has_names && (i < named || (modules[i] && modules[i]->is_program));
		size_t n = frames_of(stack->pc[i], modules[i], wants_names, &finding, &why);
		struct tether_frame *frames = tetheri_scratch_take(scratch, n * sizeof *frames);

		if (!frames) {
			told.cut = "the report had no more room";
			break;
		}
		memcpy(frames, found, n * sizeof *frames);
		told.frames = told.frames ? told.frames : frames; /* what is taken next follows */
		told.count += n;
	}
	if (why)
		told.cut = cut_and_nameless(told.cut, why, scratch);
	return told;
}

struct tether_stack tetheri_symbol_stack(const struct tetheri_stack *stack, struct tetheri_scratch *scratch)
{
	const struct tetheri_module *modules[TETHERI_STACK_DEPTH];
	uintptr_t calls[TETHERI_STACK_DEPTH];
	int saved_errno = errno;

	for (size_t i = 0; i < stack->depth; i++)
		calls[i] = stack->pc[i] - 1;
	tetheri_module_find(calls, stack->depth, modules, scratch);
	struct tether_stack told = stack_of(stack, modules, scratch);
	errno = saved_errno;
	return told;
}

/* ---- Beforehand ------------------------------------------------------------------------------ */

#define PATIENCE_MS 10000

static void read_module(const struct tetheri_module *module)
{
	struct timespec nap = {0, 1000000};

	for (int naps = 0; tetheri_symbol_read(module) == tetheri_symbol_busy && naps < PATIENCE_MS; naps++)
		syscall(SYS_nanosleep, &nap, NULL);
}

void tether_load_symbols(void)
{
	struct tetheri_scratch *scratch = tetheri_scratch_get();
	struct tether_frame frame;
	int saved_errno = errno;

	if (!scratch)
		return;
	tetheri_options_load();
	if (sanitizer_symbolize)
		tetheri_symbol_frames((uintptr_t)__builtin_return_address(0), &frame, 1, scratch);
	else if (tetheri_option(symbols))
		for (const struct tetheri_module *module = tetheri_module_list(scratch); module; module = module->next)
			read_module(module);
	tetheri_scratch_put(scratch);
	errno = saved_errno;
}
