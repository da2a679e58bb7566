/* tsan.h - tell ThreadSanitizer, in a program that runs under it, that a node's sender comes before
 * its receiver, also when this library was built without it.
 * SPDX-License-Identifier: MIT
 *
 * The functions belong to TSan's runtime; weak, so that without it they are null and cost one test.
 * When the library itself is built with TSan they are left out: it then sees the atomics, and must be
 * able to find our mistakes in them. */
#ifndef TETHER_TSAN_H
#define TETHER_TSAN_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_THREAD__)
#define TETHERI_TSAN_SEES_US 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TETHERI_TSAN_SEES_US 1
#endif
#endif

#ifdef TETHERI_TSAN_SEES_US
#define TETHERI_TSAN_IS_HERE true

static inline void tetheri_tsan_release(void *address)
{
	(void)address;
}

static inline void tetheri_tsan_acquire(void *address)
{
	(void)address;
}
#else
extern void __tsan_release(void *address) __attribute__((weak));
extern void __tsan_acquire(void *address) __attribute__((weak));

#define TETHERI_TSAN_IS_HERE (__tsan_acquire != NULL)

static inline void tetheri_tsan_release(void *address)
{
	if (__builtin_expect(__tsan_release != NULL, 0))
		__tsan_release(address);
}

static inline void tetheri_tsan_acquire(void *address)
{
	if (__builtin_expect(__tsan_acquire != NULL, 0))
		__tsan_acquire(address);
}
#endif

#endif
