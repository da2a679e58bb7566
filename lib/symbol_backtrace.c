/* symbol_backtrace.c - names of functions by gcc's libbacktrace, which reads DWARF and symbol tables.
 * SPDX-License-Identifier: MIT
 *
 * libbacktrace would read the files of all loaded modules at its first use, and hold the loader's lock
 * meanwhile: with the C library's debugging information 50 ms in which nobody can load a module or, with
 * some unwinders, throw. So each module gets a state of its own, when an address in it is first asked for.
 * lib/meson.build makes a copy of libbacktrace that calls the function below in place of dl_iterate_phdr();
 * it names one module. A module loaded later is just another one.
 *
 * Invariant: one thread reads at a time, and who finds it reading (a signal handler that interrupted it,
 *   perhaps) goes without. Files on the list have been read: asking them waits for nobody.
 * Invariant: a file stays on the list for ever, as libbacktrace cannot free its state. It is used again
 *   when the same module is loaded again at the same place. */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "symbol.h"

/* Of libbacktrace's interface, unchanged since gcc 4.8, what we use; under the names that our copy has, which meet
 * no other copy in the program. Callbacks of pcinfo return 0 to be called again. */
#pragma GCC visibility push(hidden)
struct backtrace_state;
typedef void backtrace_failed(void *context, const char *message, int error);
typedef int backtrace_place(void *context, uintptr_t address, const char *file, int line, const char *function);
typedef void backtrace_symbol(void *context, uintptr_t address, const char *name, uintptr_t start, uintptr_t bytes);

struct backtrace_state *tetheri_backtrace_create_state(const char *file, int threaded, backtrace_failed *failed, void *context);
int tetheri_backtrace_pcinfo(struct backtrace_state *state, uintptr_t address, backtrace_place *place, backtrace_failed *failed,
                             void *context);
int tetheri_backtrace_syminfo(struct backtrace_state *state, uintptr_t address, backtrace_symbol *symbol,
                              backtrace_failed *failed, void *context);

/* It calls this in place of dl_iterate_phdr(). */
int tetheri_backtrace_modules(int (*callback)(struct dl_phdr_info *, size_t, void *), void *data);
#pragma GCC visibility pop

struct file {
	struct file *next;
	struct backtrace_state *state; /* NULL: nothing can be read */
	uintptr_t base;
	char *path, *build_id; /* "": none */
	char text[];
};

static _Atomic(struct file *) files;

/* The process that reads a file, 0: none. One that is not ours stayed behind by a fork. */
static _Atomic int reader;
static uintptr_t reading_base; /* the reader's */

int tetheri_backtrace_modules(int (*callback)(struct dl_phdr_info *, size_t, void *), void *data)
{
	struct dl_phdr_info info = {.dlpi_addr = reading_base, .dlpi_name = ""};

	return callback(&info, sizeof info, data);
}

/* ---- The files ------------------------------------------------------------------------------- */

static const char *text_of(const char *string)
{
	return string ? string : "";
}

static struct file *find_file(const struct tetheri_module *module)
{
	/* Acquire: pairs with the release in read_file; the file was read before. */
	struct file *file = atomic_load_explicit(&files, memory_order_acquire);

	while (file && (file->base != module->base || strcmp(file->path, module->path) != 0 ||
	                strcmp(file->build_id, text_of(module->build_id)) != 0))
		file = file->next;
	return file;
}

static struct file *make_file(const struct tetheri_module *module)
{
	size_t path_bytes = strlen(module->path) + 1, id_bytes = strlen(text_of(module->build_id)) + 1;
	struct file *file =
		mmap(NULL, sizeof *file + path_bytes + id_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (file == MAP_FAILED)
		return NULL;
	file->base = module->base;
	file->path = memcpy(file->text, module->path, path_bytes);
	file->build_id = memcpy(file->text + path_bytes, text_of(module->build_id), id_bytes);
	return file;
}

/* 0 or -errno. Raw: open() and close() are cancellation points. */
static int try_open(const char *path)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	syscall(SYS_close, (int)fd);
	return 0;
}

/* Errors are no news: what is not found is not told. */
static void ignore_error(void *context, const char *message, int error)
{
	(void)context;
	(void)message;
	(void)error;
}

static void ignore_symbol(void *context, uintptr_t address, const char *name, uintptr_t start, uintptr_t bytes)
{
	(void)context;
	(void)address;
	(void)name;
	(void)start;
	(void)bytes;
}

static const char *read_file(const struct tetheri_module *module)
{
	static const char program[] = "/proc/self/exe"; /* whatever became of its name */
	bool by_link = module->is_program && try_open(program) == 0;
	int error = by_link ? 0 : try_open(module->path);

	if (error == -EMFILE || error == -ENFILE)
		return "no file descriptor was free";
	struct file *file = make_file(module);
	if (!file)
		return "there was no memory";
	if (error == 0)
		file->state = tetheri_backtrace_create_state(by_link ? program : file->path, 1, ignore_error, NULL);
	if (file->state) {
		reading_base = module->base;
		tetheri_backtrace_syminfo(file->state, module->base, ignore_symbol, ignore_error, NULL);
	}
	file->next = atomic_load_explicit(&files, memory_order_relaxed);
	/* Release: see find_file. */
	atomic_store_explicit(&files, file, memory_order_release);
	return NULL;
}

const char *tetheri_symbol_read(const struct tetheri_module *module)
{
	int self = getpid(), before = 0, cancel_state;
	const char *why = NULL;

	if (find_file(module))
		return NULL;
	/* Acquire: pairs with the release below; what the last reader put on the list is there. */
	if (!atomic_compare_exchange_strong_explicit(&reader, &before, self, memory_order_acquire, memory_order_relaxed) &&
	    (before == self ||
	     !atomic_compare_exchange_strong_explicit(&reader, &before, self, memory_order_acquire, memory_order_relaxed)))
		return tetheri_symbol_busy;
	/* libbacktrace opens files, which is a cancellation point. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	if (!find_file(module))
		why = read_file(module);
	pthread_setcancelstate(cancel_state, NULL);
	atomic_store_explicit(&reader, 0, memory_order_release);
	return why;
}

/* ---- Look-ups -------------------------------------------------------------------------------- */

struct question {
	struct backtrace_state *state;
	struct tetheri_symbol_listener *listener;
	const char *symbol;
	bool is_answered;
};

static void take_symbol(void *context, uintptr_t address, const char *name, uintptr_t start, uintptr_t bytes)
{
	struct question *question = context;

	(void)address;
	(void)start;
	(void)bytes;
	question->symbol = name;
}

static const char *symbol_of(struct question *question, uintptr_t address)
{
	tetheri_backtrace_syminfo(question->state, address, take_symbol, ignore_error, question);
	return question->symbol;
}

static int take_place(void *context, uintptr_t address, const char *file, int line, const char *function)
{
	struct question *question = context;

	if (!file && !function)
		return 0;
	if (!function)
		function = symbol_of(question, address);
	question->listener->hear(question->listener, function, file, line);
	question->is_answered = true;
	return 0;
}

const char *tetheri_symbol_ask(const struct tetheri_module *module, uintptr_t address, struct tetheri_symbol_listener *listener)
{
	const char *why = tetheri_symbol_read(module);
	const struct file *file = why ? NULL : find_file(module);
	struct question question = {.listener = listener};

	if (!file || !file->state)
		return why;
	question.state = file->state;
	tetheri_backtrace_pcinfo(file->state, address, take_place, ignore_error, &question);
	if (!question.is_answered && symbol_of(&question, address))
		listener->hear(listener, question.symbol, NULL, 0);
	return NULL;
}
