/* holder.h - who holds what others wait for: a thread that may have gone, or that a fork left behind.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_HOLDER_H
#define TETHERI_HOLDER_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The calling thread: process << 32 | thread, as the kernel numbers them. Never 0, never all ones. */
static inline uint64_t tetheri_holder_self(void)
{
	return (uint64_t)syscall(SYS_getpid) << 32 | (uint32_t)syscall(SYS_gettid);
}

/* Will it never let go? It is a thread of the process that we were forked from, or it has ended. Changes errno. */
static inline bool tetheri_holder_is_gone(uint64_t holder)
{
	long process = syscall(SYS_getpid);

	return (long)(holder >> 32) != process || (syscall(SYS_tgkill, process, (long)(uint32_t)holder, 0) < 0 && errno == ESRCH);
}

/* Try to become who holds it. False: `*who` does; 0 where it was let go this moment. Changes errno. */
static inline bool tetheri_holder_take(_Atomic uint64_t *holder, uint64_t self, uint64_t *who)
{
	*who = 0;
	/* Acquire: pairs with the release of who held it last. One that has gone released nothing: what it left
	 * must be sound at every step. */
	if (atomic_compare_exchange_strong_explicit(holder, who, self, memory_order_acquire, memory_order_relaxed))
		return true;
	return *who != self && tetheri_holder_is_gone(*who) &&
	       atomic_compare_exchange_strong_explicit(holder, who, self, memory_order_acquire, memory_order_relaxed);
}

static inline void tetheri_holder_leave(_Atomic uint64_t *holder)
{
	/* Release: pairs with the acquire of who takes it next. */
	atomic_store_explicit(holder, 0, memory_order_release);
}

/* Wait a moment. Raw: nanosleep() is a cancellation point. Changes errno. */
static inline void tetheri_holder_await(void)
{
	struct timespec nap = {0, 50000};

	syscall(SYS_nanosleep, &nap, NULL);
}

#endif
