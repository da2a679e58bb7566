/* sink.h - where reports are written: standard error, or the log.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_SINK_H
#define TETHERI_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#pragma GCC visibility push(hidden)

/* Write whole texts, whichever threads write at once. Any thread, signal handlers too, cancellation
 * disabled by the caller. What cannot be written is counted. errno stays. */
void tetheri_sink_write(const char *bytes, size_t size);
void tetheri_sink_write_text(const char *bytes, size_t size); /* what is no report: not into a log of JSON lines */
/* What is in the text goes there as well, if fewer than `wanted` bytes are left for the next line. */
void tetheri_sink_make_room(struct tetheri_text *text, size_t wanted);
void tetheri_sink_write_error(const char *bytes, size_t size);                         /* to standard error, whatever the log */
void tetheri_sink_warn(const char *format, ...) __attribute__((format(printf, 1, 2))); /* "tether: ...\n", likewise */
uint64_t tetheri_sink_lost(void);                                                      /* texts that could not be written whole */
uint64_t tetheri_sink_out_of_turn(void); /* texts written without the lock, whose holder did not come back */
void tetheri_sink_restart(void);         /* in a child of fork(): no text was lost yet */
bool tetheri_sink_has_colors(void);
/* The log: a path with %p for the process; NULL or "": standard error. 0 or -errno, and a warning: it stays
 * what it was. Not for signal handlers. */
int tetheri_sink_open(const char *path);
void tetheri_sink_load(void); /* before the first text: what the environment says of the terminal */

#pragma GCC visibility pop

#endif
