/* check_tether.h - our own checks, as executables and as shared libraries have them.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_PEERS_CHECK_TETHER_H
#define BENCH_PEERS_CHECK_TETHER_H

#include "check.h"

void check_executable(uint64_t n);
void check_shared(uint64_t n);
void is_mine_executable(uint64_t n);
void is_mine_shared(uint64_t n);

#ifdef TETHER_STATIC
#define TETHER_LOOP(what) what##_executable
#else
#define TETHER_LOOP(what) what##_shared
#endif

#endif
