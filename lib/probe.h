/* probe.h - where bpftrace, perf and gdb can listen: static probes (USDT), each a single nop until somebody does.
 * SPDX-License-Identifier: MIT
 *
 *     report       kind, tag         a violation is about to be told
 *     owner_start  id, number        a thread has become an owner
 *     owner_end    id, number        it has run all that was pending
 *     wake         id                it is about to be woken
 *     orphan       tag, id           what was dropped for it found it gone
 *     stall        id, pending       it does not drain
 *
 * On cold paths only: the check and the way of a drop to its inbox have none. Without systemtap's header they
 * vanish; the build option `usdt` says. */
#ifndef TETHERI_PROBE_H
#define TETHERI_PROBE_H

#ifdef TETHERI_USDT
/* Arguments in registers, or constant: a thread-local word in memory is more than most tracers can read. */
#define STAP_SDT_ARG_CONSTRAINT nr
#include <sys/sdt.h>

#ifdef __clang__ /* its macros leave out an argument, and clang says so where they are used */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif

#define TETHERI_PROBE(name, first, second) STAP_PROBE2(tether, name, first, second)
#define TETHERI_PROBE_WAKE(id) STAP_PROBE1(tether, wake, id)
#else
#define TETHERI_PROBE(name, first, second) ((void)(first), (void)(second))
#define TETHERI_PROBE_WAKE(id) ((void)(id))
#endif

#define TETHERI_PROBE_REPORT(kind, tag) TETHERI_PROBE(report, kind, tag)
#define TETHERI_PROBE_OWNER_START(id, number) TETHERI_PROBE(owner_start, id, number)
#define TETHERI_PROBE_OWNER_END(id, number) TETHERI_PROBE(owner_end, id, number)
#define TETHERI_PROBE_ORPHAN(tag, id) TETHERI_PROBE(orphan, tag, id)
#define TETHERI_PROBE_STALL(id, pending) TETHERI_PROBE(stall, id, pending)

#endif
