/* tsan.h - what ThreadSanitizer is told in a program that runs under it: which node comes before what, also
 * when this library was built without it; which memory is an object of which type; who misused one.
 * SPDX-License-Identifier: MIT
 *
 * The functions belong to TSan's runtime; weak, so that without it they are null and cost one test.
 * When the library itself is built with TSan, acquire and release are left out: it then sees the atomics, and
 * must be able to find our mistakes in them. */
#ifndef TETHER_TSAN_H
#define TETHER_TSAN_H

#include <stdbool.h>
#include <stddef.h>

#include <tether/tag.h>

#if defined(__SANITIZE_THREAD__)
#define TETHERI_TSAN_SEES_US 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TETHERI_TSAN_SEES_US 1
#endif
#endif

#pragma GCC visibility push(hidden)

/* tsan.c */
TETHER_COLD_ void tetheri_tsan_start(struct tether *tag, const struct tether_type *type);
TETHER_COLD_ void tetheri_tsan_report(const struct tether *tag, const struct tether_type *type, const void *address);

#pragma GCC visibility pop

extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

#define TETHERI_TSAN_IS_HERE __builtin_expect(__tsan_acquire != NULL, 0)

#ifdef TETHERI_TSAN_SEES_US
static inline void tetheri_tsan_release(void *address)
{
	(void)address;
}

static inline void tetheri_tsan_acquire(void *address)
{
	(void)address;
}
#else
static inline void tetheri_tsan_release(void *address)
{
	if (TETHERI_TSAN_IS_HERE)
		__tsan_release(address);
}

static inline void tetheri_tsan_acquire(void *address)
{
	if (TETHERI_TSAN_IS_HERE)
		__tsan_acquire(address);
}
#endif

/* A tag starts a life: what its memory is, and a release as above. One test, as the release alone. */
static inline void tetheri_tsan_bind(struct tether *tag, const struct tether_type *type)
{
	if (TETHERI_TSAN_IS_HERE)
		tetheri_tsan_start(tag, type);
}

/* A check has failed, called from `address`: used on the wrong thread. */
static inline void tetheri_tsan_misuse(const struct tether *tag, const struct tether_type *type, const void *address)
{
	if (TETHERI_TSAN_IS_HERE)
		tetheri_tsan_report(tag, type, address);
}

#endif
