/* symbol.h - which function, file and line an address is.
 * SPDX-License-Identifier: MIT
 *
 * Built with libbacktrace (symbol_backtrace.c) or without (symbol_none.c); in a program under a sanitizer
 * its own symboliser goes first. Any thread, signal handlers too; no malloc, but in a sanitizer's
 * symboliser. What is looked up is the call: the byte before the return address. */
#ifndef TETHERI_SYMBOL_H
#define TETHERI_SYMBOL_H

#include <tether/report.h>

#include "module.h"
#include "scratch.h"
#include "stack.h"

#pragma GCC visibility push(hidden)

/* Frames for one return address, inlined ones first; at least one. Returns how many were written. */
size_t tetheri_symbol_frames(uintptr_t pc, struct tether_frame *frames, size_t room, struct tetheri_scratch *scratch);

/* A whole stack: frames from the scratch, `cut` filled in. */
struct tether_stack tetheri_symbol_stack(const struct tetheri_stack *stack, struct tetheri_scratch *scratch);

/* ---- What symbol_backtrace.c or symbol_none.c supplies ---------------------------------------- */

/* Called once for each function that an address is in, the innermost inlined one first. */
struct tetheri_symbol_listener {
	void (*hear)(struct tetheri_symbol_listener *self, const char *function, const char *file, int line);
};
/* NULL: it has looked, whether or not it found anything; else why it could not look now. */
const char *tetheri_symbol_ask(const struct tetheri_module *module, uintptr_t address, struct tetheri_symbol_listener *listener);
/* Make the first use of a module's symbols. NULL, or why that could not be done now: tetheri_symbol_busy, if
 * another thread is at it, or what a signal handler interrupted. */
const char *tetheri_symbol_read(const struct tetheri_module *module);
extern const char tetheri_symbol_busy[];

#pragma GCC visibility pop

#endif
