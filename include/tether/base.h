/* base.h - what every public header needs: linkage, the switch for checks, identities.
 * SPDX-License-Identifier: MIT
 *
 * Nothing here is called. Fork: numbers mean in the child what they meant before. Signal handlers, thread exit:
 * the two words below outlive the owner. dlclose: the library stays loaded, and so do they. */
#ifndef TETHER_BASE_H
#define TETHER_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX != UINT64_MAX
#error "tether needs 64-bit pointers: a tag keeps state in the bits of one that such machines leave free"
#endif

#define TETHER_VERSION_MAJOR 0
#define TETHER_VERSION_MINOR 1
#define TETHER_VERSION_PATCH 0

/* Checks are on in debug builds and vanish under NDEBUG; define TETHER_CHECKS to 0 or 1 to choose.
 * The layout of every structure is the same either way, so both kinds of object link together. */
#ifndef TETHER_CHECKS
#ifdef NDEBUG
#define TETHER_CHECKS 0
#else
#define TETHER_CHECKS 1
#endif
#endif

#define TETHER_API __attribute__((visibility("default")))
#define TETHER_COLD_ __attribute__((cold, noinline))
#define TETHER_INLINE_ static inline __attribute__((always_inline))
#define TETHER_UNLIKELY_(condition) __builtin_expect(!!(condition), 0)

/* How the thread's identity is reached. initial-exec is one load from the GOT; TETHER_STATIC is one
 * instruction less, for code that ends up in an executable only (never in a shared object). A libc
 * that cannot dlopen initial-exec TLS (musl) takes TETHER_TLS_DYNAMIC, library and users alike. */
#if defined(TETHER_STATIC)
#define TETHER_TLS_ __attribute__((tls_model("local-exec")))
#elif defined(TETHER_TLS_DYNAMIC)
#define TETHER_TLS_ __attribute__((tls_model("global-dynamic")))
#else
#define TETHER_TLS_ __attribute__((tls_model("initial-exec")))
#endif

#ifdef __cplusplus
#define TETHER_BEGIN_ extern "C" {
#define TETHER_END_ }
#else
#define TETHER_BEGIN_
#define TETHER_END_
#endif

TETHER_BEGIN_

/** An owner: the execution context that objects belong to. 0 is no owner. A value is never given out
 * twice in a process, counting what fork inherited; in a process that is no child of fork it means nothing. */
typedef uint64_t tether_owner_t;

/* The calling thread's current owner, or TETHER_NOBODY_ before it has one. Only the library writes it. */
extern TETHER_API __thread tether_owner_t tether_self_ TETHER_TLS_;

/* The same while that owner's inbox is open, else TETHER_NOBODY_: who may count without atomics, see ref.h. */
extern TETHER_API __thread tether_owner_t tether_open_self_ TETHER_TLS_;

#define TETHER_NOBODY_ UINT64_C(1) /* a thread without an owner; no tag ever holds it */
#define TETHER_GONE_ UINT64_MAX    /* a tag whose object was destroyed; no thread ever holds it */

TETHER_END_

#endif
