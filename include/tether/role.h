/* role.h - who may touch which field, told to the compiler: clang -Wthread-safety.
 * SPDX-License-Identifier: MIT
 *
 *     TETHER_ROLE(conn_role);                                  // "the thread that this connection belongs to"
 *     struct conn { int fd TETHER_GUARDED_BY(conn_role); struct tether tether; };
 *
 *     TETHER_CHECK(&c->tether, conn_role);                     // from here on c->fd may be touched
 *     static void conn_shut(struct conn *c) TETHER_REQUIRES(conn_role);  // its callers have checked
 *
 * A function that touches a guarded field without having checked, or being marked, gets a warning. A role
 * stands for all objects of a kind: the compiler cannot tell one of them from another, TETHER_CHECK can.
 * Other compilers see none of it, but that the role exists.
 *
 * Nothing of a role exists at run time, in any build: fork, signal handlers, thread exit and dlclose do
 * not concern it. */
#ifndef TETHER_ROLE_H
#define TETHER_ROLE_H

#include <tether/base.h>

#if defined(__clang__)
#define TETHER_ANALYSIS_(attribute) __attribute__((attribute))
#else
#define TETHER_ANALYSIS_(attribute)
#endif

TETHER_BEGIN_

struct TETHER_ANALYSIS_(capability("role")) tether_role_ {
	char unused_;
};

TETHER_END_

/** Declare a role, at file or namespace scope, in a header too. It has no definition: nothing uses it at run time. */
#define TETHER_ROLE(role) \
	extern struct tether_role_ role; \
	TETHER_INLINE_ __attribute__((unused)) TETHER_ANALYSIS_(assert_capability(role)) void role##_assume_(void) \
	{ \
	} \
	struct role##_end_ /* takes the semicolon */

/** Behind a field: to be touched in that role only. For a pointer, the pointer is meant; _DATA means what it
 * points to. */
#define TETHER_GUARDED_BY(role) TETHER_ANALYSIS_(guarded_by(role))
#define TETHER_DATA_GUARDED_BY(role) TETHER_ANALYSIS_(pt_guarded_by(role))

/** Behind a function's parameters: to be called in these roles only. Destructors and other callbacks too:
 * the library calls them through a pointer, at home, and no warning comes of that; direct calls are seen. */
#define TETHER_REQUIRES(...) TETHER_ANALYSIS_(requires_capability(__VA_ARGS__))

/** A statement: take the role without a check, because you know better. While nobody else can reach the object
 * (before it is bound), and after TETHER_ENSURE. It compiles to nothing. */
#if defined(__clang__)
#define TETHER_ASSUME(role) role##_assume_()
#else
#define TETHER_ASSUME(role) ((void)sizeof(role))
#endif

#endif
