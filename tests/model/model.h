/* model.h - the explorer: runs the threads of a scenario in every order, one step at a time.
 * SPDX-License-Identifier: MIT
 *
 *     scenarios/ *.cc    what threads do, and what must hold          scenario.h
 *         |
 *     schedule.c         who is next: all choices, random ones, or those of a failure
 *         |
 *     point.c            before each atomic operation: is its word shared? who goes on?
 *      |       |
 *     thread.c  system.c     threads on one kernel thread;  locks, descriptors, keys, naps
 *         |
 *     world.c            the memory that is wound back for the next schedule
 *
 * See docs/design.md, "The explorer". */
#ifndef TETHER_MODEL_H
#define TETHER_MODEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What points.h puts in place of the library's operations ---------------------------------- */

enum model_kind { MODEL_LOAD, MODEL_STORE, MODEL_RMW };

/* The calling thread is about to do this to the word, unless the schedule has another thread go first.
 * It does nothing outside of a scenario's run. */
void model_point(enum model_kind kind, const volatile void *word, size_t bytes, const char *name, const char *function, int line);

void model_fence(const char *function, int line);
void model_assert_fail(const char *what, const char *file, unsigned line, const char *function);
int model_mutex_lock(pthread_mutex_t *mutex);
int model_mutex_trylock(pthread_mutex_t *mutex);
int model_mutex_unlock(pthread_mutex_t *mutex);
int model_key_create(pthread_key_t *key, void (*destructor)(void *value));
int model_setspecific(pthread_key_t key, const void *value);
int model_setcancelstate(int state, int *old);
int model_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int model_getattr(pthread_t thread, pthread_attr_t *attributes);
int model_thread_atexit(void (*destructor)(void *object), void *object, void *module);
int model_sched_yield(void);
int model_clock_gettime(clockid_t clock, struct timespec *now);
int model_memalign(void **memory, size_t alignment, size_t bytes);
void *model_malloc(size_t bytes);
void model_free(void *memory);
int model_atexit(void (*function)(void));
void *model_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int model_munmap(void *address, size_t bytes);
int model_close(int fd);
long model_syscall(long number, ...);

/* ---- What a scenario may use ------------------------------------------------------------------ */

#define MODEL_THREADS 4 /* a signal's handler is one, too */
#define MODEL_NOBODY (-1)

/* The thread of the scenario that runs now; MODEL_NOBODY: none, it is checked. */
int model_thread(void);

/* Wait until it holds. It may look at what others write, and must change nothing. */
void model_wait(bool (*holds)(void *context), void *context);

/* The thread ends: what pthread_exit() would run is run. The last act of a run. */
void model_thread_exit(void);

/* The calling thread forks: the child has no other thread, runs what the library wants to be run there and then `child`,
 * and is forgotten. All other threads may take steps until the fork's one moment, and none in the child. */
void model_fork(void (*child)(void *context), void *context);

/* Is there something to read from the descriptor that the library made? */
bool model_fd_is_readable(int fd);

/* A file of the scenario's own: the lowest number that is free, as the kernel gives it. */
int model_open(void);

/* How often the number was opened, and which of these files is closed: by the thread; MODEL_NOBODY: it is open. */
unsigned model_files(int fd);
int model_closed_by(int fd, unsigned file);

/* How often a number was closed that was not open. */
unsigned model_bad_closes(void);

/* This schedule has failed. In a run it does not return. */
void model_fail(const char *file, int line, const char *what);

/* Memory that is wound back. */
void *model_new(size_t bytes);

/* ---- Exploring -------------------------------------------------------------------------------- */

struct model_scenario {
	const char *name;
	unsigned threads;
	size_t bytes; /* of its state, which is wound back */
	void (*make)(void *context);
	void (*prepare)(void *context, unsigned thread); /* in turn, once: what it leaves is wound back to */
	void (*run)(void *context, unsigned thread);     /* side by side */
	void (*finish)(void *context, unsigned thread);  /* in turn */
	int interrupted;                                 /* the thread to which a signal may come, once; MODEL_NOBODY: none */
	void (*handle)(void *context);
	void (*check)(void *context); /* by nobody */
};

struct model_options {
	unsigned preemptions; /* at most so many in a schedule, and all schedules that have no more */
	uint64_t random;      /* schedules beyond */
	uint64_t seed;
	const char *replay; /* a schedule as it was printed: this one only; NULL: none */
};

struct model_result {
	uint64_t exhaustive, random; /* schedules */
	unsigned words;              /* that are shared */
	bool has_failed;
	char why[1024];
	char schedule[4096];
};

/* Once: `library` is part of the name of the shared object that was compiled with points.h. */
void model_start(const char *library);

/* What is replayed is written to standard error, step by step. */
void model_explore(const struct model_scenario *scenario, const struct model_options *options, struct model_result *result);

#ifdef __cplusplus
}
#endif

#endif
