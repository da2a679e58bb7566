/* options.h - the options, as the rest of the library reads them.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_OPTIONS_H
#define TETHERI_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum tetheri_format { TETHERI_FORMAT_TEXT, TETHERI_FORMAT_JSONL, TETHERI_FORMAT_BOTH };
enum tetheri_color { TETHERI_COLOR_AUTO, TETHERI_COLOR_ALWAYS, TETHERI_COLOR_NEVER };
enum tetheri_dedup { TETHERI_DEDUP_SITE, TETHERI_DEDUP_STACK, TETHERI_DEDUP_NONE };
enum tetheri_bind_stacks { TETHERI_BIND_STACKS_OFF, TETHERI_BIND_STACKS_FAST, TETHERI_BIND_STACKS_FULL };

/* Relaxed, all: each says something by itself. */
struct tetheri_options {
	_Atomic int level;         /* enum tether_level, TETHER_WARN_ONCE */
	_Atomic int abort;         /* 0 */
	_Atomic int exit_code;     /* 0: leave it alone */
	_Atomic int format;        /* text */
	_Atomic int color;         /* auto */
	_Atomic int dedup;         /* site */
	_Atomic int max_reports;   /* 0: any number */
	_Atomic int bind_stacks;   /* off */
	_Atomic int stack_depth;   /* 16 */
	_Atomic int history;       /* 0 */
	_Atomic int symbols;       /* 1 */
	_Atomic int stall_ms;      /* 10000; 0: do not look */
	_Atomic int queue_warn;    /* 0: do not look */
	_Atomic int linger_us;     /* 50; 0: park at once */
	_Atomic int exit_drain;    /* 1 */
	_Atomic int exit_summary;  /* 1 */
	_Atomic int script_places; /* 1 */
	_Atomic int help;          /* 0 */
};
extern struct tetheri_options tetheri_options;

#define TETHERI_LINGER_US 1000 /* at most */

/* What bind, drop and their kind do beyond their work: one word, so that the fast path tests it once.
 * options.c keeps it. */
#define TETHERI_TRACE_STACKS 1U
#define TETHERI_TRACE_HISTORY 2U
#define TETHERI_TRACE_STALLS 4U /* when the number of pending nodes doubles */
#define TETHERI_TRACE_QUEUES 8U /* at each push */
/* From here on it counts the owners to which no push goes unseen, see limit.c. */
#define TETHERI_TRACE_OWNER 0x100U
#define TETHERI_TRACE_OPTIONS (TETHERI_TRACE_OWNER - 1)
extern _Atomic unsigned tetheri_trace;
extern _Atomic uint64_t tetheri_history_since; /* when history was last switched on: tetheri_now() */

#define tetheri_option(name) atomic_load_explicit(&tetheri_options.name, memory_order_relaxed)

/* Before anything is read: what the program and the environment say. Only the first call does something.
 * Any thread, signal handlers too. No malloc. */
void tetheri_options_load(void);

/* A text as in TETHER_OPTIONS; what is wrong with it is said, and the rest holds. Once in a process, or in
 * a fuzzer: files that it names are opened by whoever called. */
enum tetheri_rank { TETHERI_BY_DEFAULT, TETHERI_BY_PROGRAM, TETHERI_BY_ENVIRONMENT, TETHERI_BY_CALL };
void tetheri_options_read(const char *text, const char *origin, enum tetheri_rank rank);

#pragma GCC visibility pop

#endif
