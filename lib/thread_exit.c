/* thread_exit.c - end a thread's owner in the last round of its pthread key destructors.
 * SPDX-License-Identifier: MIT
 *
 * Key destructors run in rounds, glibc's stop after the fourth, and nothing tells which round it is. We
 * come back each round until the last, so that destructors of other keys which drop things find the
 * owner still there:
 *
 *     C++ thread_local destructors, and note_leaving() --> round 1 --> 2 --> 3 --> 4: the owner ends
 *
 * Invariant: an owner that was made before its thread began to leave ends in the last round; one that is
 *   made later, by a destructor of another key, ends at our first call, as there may be no other. (One
 *   that is made in the last round, after our turn, has no call: it stays, its inbox open for ever.)
 * Invariant: while the owner ends the key keeps its value, so that after a destructor that leaves by
 *   pthread_exit() we are called again. */
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif

/* What C++ thread_local uses: runs before the first round. Not every libc has it. */
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *module) __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static pthread_key_t key;
static int key_error;

static void end_thread(void *value)
{
	struct tetheri_thread *thread = value;

	if (!thread->slot || pthread_setspecific(key, thread) != 0)
		return;
	tetheri_batch_close(thread->own);
	/* TSan's runtime takes a thread apart in the last round, and no destructor that it sees may run after. */
	int last = TETHERI_TSAN_IS_HERE ? PTHREAD_DESTRUCTOR_ITERATIONS - 1 : PTHREAD_DESTRUCTOR_ITERATIONS;
	if (thread->leaving && ++thread->exit_rounds < last)
		return;
	tetheri_logical_exit();
	tetheri_owner_end(thread->own);
	(void)pthread_setspecific(key, NULL);
}

void tetheri_exit_start(void)
{
	key_error = pthread_key_create(&key, end_thread);
}

static void note_leaving(void *value)
{
	struct tetheri_thread *thread = value;

	thread->leaving = true;
}

bool tetheri_exit_watch(struct tetheri_thread *thread)
{
	/* glibc ends the process when it finds no memory for what follows, so ask first. */
	void *probe = malloc(128);

	free(probe);
	if (!probe || key_error != 0 || pthread_setspecific(key, thread) != 0)
		return false;
	if (__cxa_thread_atexit_impl)
		(void)__cxa_thread_atexit_impl(note_leaving, thread, &__dso_handle);
	else
		thread->leaving = true; /* count the rounds from our first call */
	return true;
}
