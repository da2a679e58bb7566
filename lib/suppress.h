/* suppress.h - reports that nobody wants to see: "kind:glob" lines, and how often each was used.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_SUPPRESS_H
#define TETHERI_SUPPRESS_H

#include <tether/report.h>

#include "text.h"

#pragma GCC visibility push(hidden)

#define TETHERI_SUPPRESS_NONE (-1)

/* Read a file of suppressions, in place of the ones before; NULL or "": none. 0; a line that makes no sense is
 * warned of and left out. -errno, and a warning: they stay what they were. No malloc. One thread at a time; not in
 * signal handlers. */
int tetheri_suppress_load(const char *path);
/* The same from a text; `name` is for warnings. */
int tetheri_suppress_read(const char *name, const char *bytes, size_t size);
bool tetheri_suppress_any(void);
/* Is there one for this kind whose glob fits a function, file or module of `at`, or the check's own, or the type? Its
 * number, for tetheri_suppress_count; TETHERI_SUPPRESS_NONE. Any thread, signal handlers too. */
int tetheri_suppress_find(const struct tether_report *report);
void tetheri_suppress_count(int number);              /* it was used once more */
bool tetheri_suppress_again(int number);              /* the same, of one that was found before; false: it is in use no more */
void tetheri_suppress_put(struct tetheri_text *text); /* those that were used, a line each; nothing if none was */
void tetheri_suppress_restart(void);                  /* in a child of fork(): nothing was counted, and nobody reads */
uint64_t tetheri_suppress_total(void);

#pragma GCC visibility pop

#endif
