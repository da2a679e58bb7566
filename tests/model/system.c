/* system.c - what the library asks of the C library and the kernel: locks, keys, clocks, descriptors.
 * SPDX-License-Identifier: MIT
 *
 * What may wait is a point, and waits as the model says; what differs from run to run is the same each time.
 * The rest goes to the kernel.
 *
 * Memory that was given back is not used again in a schedule: it is filled with what is no address.
 *
 * Descriptors that the library makes are counters that lie in the world. Their numbers are not used again in a schedule,
 * so what is written to one that was closed is seen, though the kernel might have given its number to another file.
 * Those that a scenario opens, and the library closes, are numbers only, and used again as soon as the kernel would. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define KEYS 4
#define EXITS 4
#define FDS 8
#define FIRST_FD 1000
#define HEAP_BYTES (64 << 10)
#define NUMBERS 4
#define FIRST_NUMBER 100
#define FILES 6
#define MAPS 3
#define MAP_BYTES ((size_t)256 << 10)

struct callback {
	void (*fn)(void *value);
	void *value;
};

/* In the world. */
struct system {
	struct {
		void (*destructor)(void *value);
		void *value[MODEL_THREADS];
	} key[KEYS];
	unsigned keys;
	struct callback exits[MODEL_THREADS][EXITS];
	unsigned exits_count[MODEL_THREADS];
	struct descriptor {
		bool is_open;
		uint64_t count;
		bool is_parents;
	} fd[FDS];
	unsigned fds;
	struct {
		unsigned files; /* that the number was; the last may be open */
		bool is_open;
		int closed_by[FILES];
	} number[NUMBERS];
	unsigned bad_closes;
	uint64_t signals[MODEL_THREADS]; /* that are blocked */
	bool is_child;
	unsigned maps;
	size_t heap_used;
	_Alignas(16) char heap[HEAP_BYTES];
};

static struct system *os;
static char *map; /* of the world, too: MAPS pieces */

/* Of the library, which says so once, before there is a world. */
static struct {
	void (*prepare)(void), (*parent)(void), (*child)(void);
} at_fork;

#define POINT(kind, word, name) model_point(kind, word, sizeof *(word), name, __func__, __LINE__)

void system_start(void)
{
	os = model_new(sizeof *os);
	map = model_new(MAPS * MAP_BYTES);
}

/* ---- Memory ----------------------------------------------------------------------------------- */

/* Before each piece: its size; 0 once it was given back. */
union piece {
	size_t bytes;
	max_align_t alignment;
};

void *model_malloc(size_t bytes)
{
	union piece *piece = (union piece *)(os->heap + os->heap_used);

	bytes = (bytes + sizeof *piece - 1) / sizeof *piece * sizeof *piece;
	os->heap_used += sizeof *piece + bytes;
	assert(os->heap_used <= HEAP_BYTES);
	piece->bytes = bytes;
	return piece + 1;
}

void model_free(void *memory)
{
	union piece *piece = (union piece *)memory - 1;

	if (!memory)
		return;
	if (piece->bytes == 0)
		model_fail(__FILE__, __LINE__, "memory is given back twice");
	memset(memory, 0xdd, piece->bytes);
	piece->bytes = 0;
}

/* The table of descriptors, which is wound back. What is larger is a report's, and is not. */
void *model_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	if (bytes > MAP_BYTES)
		return mmap(address, bytes, protection, flags, fd, offset);
	assert(os->maps < MAPS);
	return map + MAP_BYTES * os->maps++;
}

int model_munmap(void *address, size_t bytes)
{
	if (bytes > MAP_BYTES)
		return munmap(address, bytes);
	memset(address, 0xdd, 4096); /* of it: where the numbers of a scenario are */
	return 0;
}

/* ---- Locks ------------------------------------------------------------------------------------ */

/* A mutex is its first word: who holds it, counted from 1. A static one is all zero. */
static int *holder_of(void *mutex)
{
	return mutex;
}

static bool is_free(void *mutex)
{
	return *holder_of(mutex) == 0;
}

int model_mutex_trylock(pthread_mutex_t *mutex)
{
	int *holder = holder_of(mutex);

	POINT(MODEL_RMW, holder, "mutex");
	if (*holder)
		return EBUSY;
	*holder = model_thread() + 2;
	return 0;
}

int model_mutex_lock(pthread_mutex_t *mutex)
{
	if (*holder_of(mutex) == model_thread() + 2)
		model_fail(__FILE__, __LINE__, "a thread takes a lock that it holds");
	while (model_mutex_trylock(mutex) != 0)
		model_wait(is_free, mutex);
	return 0;
}

int model_mutex_unlock(pthread_mutex_t *mutex)
{
	if (*holder_of(mutex) != model_thread() + 2)
		model_fail(__FILE__, __LINE__, "a thread gives back a lock that it does not hold");
	*holder_of(mutex) = 0;
	return 0;
}

/* ---- A thread's end --------------------------------------------------------------------------- */

int model_key_create(pthread_key_t *key, void (*destructor)(void *value))
{
	assert(os->keys < KEYS);
	os->key[os->keys].destructor = destructor;
	*key = os->keys++;
	return 0;
}

int model_setspecific(pthread_key_t key, const void *value)
{
	os->key[key].value[model_thread()] = (void *)(uintptr_t)value;
	return 0;
}

int model_thread_atexit(void (*destructor)(void *object), void *object, void *module)
{
	int self = model_thread();

	(void)module;
	assert(os->exits_count[self] < EXITS);
	os->exits[self][os->exits_count[self]++] = (struct callback){destructor, object};
	return 0;
}

static void run_keys(int self)
{
	for (unsigned i = 0; i < os->keys; i++) {
		void *value = os->key[i].value[self];
		os->key[i].value[self] = NULL;
		if (value && os->key[i].destructor)
			os->key[i].destructor(value);
	}
}

void model_thread_exit(void)
{
	int self = model_thread();

	while (os->exits_count[self] > 0) {
		struct callback last = os->exits[self][--os->exits_count[self]];
		last.fn(last.value);
	}
	for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS; round++)
		run_keys(self);
}

int model_atexit(void (*function)(void))
{
	(void)function; /* the process does not end */
	return 0;
}

int model_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	assert(!at_fork.prepare);
	at_fork.prepare = prepare;
	at_fork.parent = parent;
	at_fork.child = child;
	return 0;
}

int model_setcancelstate(int state, int *old)
{
	(void)state;
	if (old)
		*old = PTHREAD_CANCEL_ENABLE;
	return 0;
}

/* Where the stack lies is not known; to read it takes a millisecond. */
int model_getattr(pthread_t thread, pthread_attr_t *attributes)
{
	(void)thread;
	(void)attributes;
	return ENOSYS;
}

/* ---- Forks ------------------------------------------------------------------------------------ */

/* The child has a world of its own, and goes first: nobody in the parent could tell. What both have of a file is the
 * parent's to read and write. */
void model_fork(void (*child)(void *context), void *context)
{
	at_fork.prepare();
	point_come();
	thread_fork();
	world_fork();
	point_be_alone(true);
	os->is_child = true;
	for (unsigned i = 0; i < os->fds; i++)
		os->fd[i].is_parents = true;
	at_fork.child();
	child(context);
	point_be_alone(false);
	world_join();
	thread_join();
	at_fork.parent();
}

static long process_number(void)
{
	return os->is_child ? 2 : 1;
}

static long thread_number(void)
{
	return 100 * process_number() + model_thread();
}

/* In a child all but one have gone. */
static long send_signal(long process, long thread)
{
	if (process == process_number() && (!os->is_child || thread == thread_number()))
		return 0;
	errno = ESRCH;
	return -1;
}

static long mask_signals(int how, const uint64_t *mask, uint64_t *old)
{
	uint64_t *now = &os->signals[model_thread()];

	if (old)
		*old = *now;
	if (mask)
		*now = how == SIG_BLOCK ? *now | *mask : how == SIG_UNBLOCK ? *now & ~*mask : *mask;
	return 0;
}

bool system_blocks_signals(int thread)
{
	return os->signals[thread] != 0;
}

/* ---- Time, and naps --------------------------------------------------------------------------- */

int model_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){.tv_sec = 1};
	return 0;
}

int model_sched_yield(void)
{
	point_nap();
	return 0;
}

/* ---- Descriptors ------------------------------------------------------------------------------ */

static struct descriptor *descriptor(int fd)
{
	return fd >= FIRST_FD && fd < FIRST_FD + (int)os->fds ? &os->fd[fd - FIRST_FD] : NULL;
}

static long fd_open(void)
{
	assert(os->fds < FDS);
	os->fd[os->fds].is_open = true;
	return FIRST_FD + (long)os->fds++;
}

static void check_fd(const struct descriptor *it, const char *closed)
{
	if (!it->is_open)
		model_fail(__FILE__, __LINE__, closed);
	if (it->is_parents)
		model_fail(__FILE__, __LINE__, "a child uses its parent's descriptor");
}

static long fd_write(struct descriptor *it, const uint64_t *value)
{
	POINT(MODEL_RMW, &it->count, "write");
	check_fd(it, "a closed descriptor is written to");
	it->count += *value;
	return sizeof *value;
}

static long fd_read(struct descriptor *it, uint64_t *value)
{
	POINT(MODEL_RMW, &it->count, "read");
	check_fd(it, "a closed descriptor is read from");
	*value = it->count;
	it->count = 0;
	errno = EAGAIN;
	return *value ? (long)sizeof *value : -1;
}

static long fd_close(struct descriptor *it)
{
	POINT(MODEL_RMW, &it->count, "close");
	if (!it->is_open)
		model_fail(__FILE__, __LINE__, "a closed descriptor is closed");
	it->is_open = false;
	return 0;
}

/* `to` becomes the same as `from`, which is only closed after that. */
static long fd_put(const struct descriptor *from, int to)
{
	*descriptor(to) = *from;
	return to;
}

bool model_fd_is_readable(int fd)
{
	return descriptor(fd)->count > 0;
}

/* ---- Files ------------------------------------------------------------------------------------ */

/* All numbers are one word: the kernel has one table. */
int model_open(void)
{
	int i = 0;

	POINT(MODEL_RMW, &os->number, "open");
	while (os->number[i].is_open)
		i++;
	assert(i < NUMBERS && os->number[i].files < FILES);
	os->number[i].is_open = true;
	os->number[i].closed_by[os->number[i].files++] = MODEL_NOBODY;
	return FIRST_NUMBER + i;
}

int model_close(int fd)
{
	int i = fd - FIRST_NUMBER;

	assert(i >= 0 && i < NUMBERS);
	POINT(MODEL_RMW, &os->number, "close");
	if (!os->number[i].is_open) {
		os->bad_closes++;
		errno = EBADF;
		return -1;
	}
	os->number[i].is_open = false;
	os->number[i].closed_by[os->number[i].files - 1] = model_thread();
	return 0;
}

unsigned model_files(int fd)
{
	return os->number[fd - FIRST_NUMBER].files;
}

int model_closed_by(int fd, unsigned file)
{
	return os->number[fd - FIRST_NUMBER].closed_by[file];
}

unsigned model_bad_closes(void)
{
	return os->bad_closes;
}

/* ---- The kernel's door ------------------------------------------------------------------------ */

long model_syscall(long number, ...)
{
	long argument[6];
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(arguments, long);
	va_end(arguments);
	struct descriptor *fd = descriptor((int)argument[0]);

	switch (number) {
	case SYS_sched_yield:
	case SYS_nanosleep:
		return model_sched_yield();
	case SYS_gettid:
		return thread_number();
	case SYS_getpid:
		return process_number();
	case SYS_tgkill:
		return send_signal(argument[0], argument[1]);
	case SYS_rt_sigprocmask:
		return mask_signals((int)argument[0], (const uint64_t *)argument[1], (uint64_t *)argument[2]);
	case SYS_getrandom:
		memset((void *)argument[0], 0x5a, (size_t)argument[1]);
		return argument[1];
	case SYS_eventfd2:
		return fd_open();
	case SYS_write:
		if (fd)
			return fd_write(fd, (const uint64_t *)argument[1]);
		break;
	case SYS_read:
		if (fd)
			return fd_read(fd, (uint64_t *)argument[1]);
		break;
	case SYS_close:
		if (fd)
			return fd_close(fd);
		break;
	case SYS_dup3:
		if (fd)
			return fd_put(fd, (int)argument[1]);
		break;
	default:
		break;
	}
	return syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
