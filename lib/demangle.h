/* demangle.h - names of C++ functions as people write them.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_DEMANGLE_H
#define TETHERI_DEMANGLE_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* "server::Conn::close" of "_ZN6server4Conn5closeEi": without the parameters, and "<...>" for what a
 * template is given. False: not a C++ name, or one that we cannot read; `out` is garbage then. Any thread,
 * signal handlers too; no malloc, as __cxa_demangle() would. */
bool tetheri_demangle(const char *mangled, char *out, size_t size);

#pragma GCC visibility pop

#endif
