/* repeat.h - which violations were told before, and which were found to be suppressed.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_REPEAT_H
#define TETHERI_REPEAT_H

#include "internal.h"

#pragma GCC visibility push(hidden)

/* What makes two violations the same: kind, site and type; and the way there, where a stack is given. */
uintptr_t tetheri_repeat_key(const struct tetheri_event *event, const struct tetheri_stack *way);
bool tetheri_repeat_is(uintptr_t key);  /* it was told */
bool tetheri_repeat_add(uintptr_t key); /* it is told now; false: another thread tells it, or did */
/* The suppression that a way was found to fit: TETHERI_SUPPRESS_NONE if none, or it was displaced. */
int tetheri_repeat_suppressed(uintptr_t key);
void tetheri_repeat_suppress(uintptr_t key, int number);

#pragma GCC visibility pop

#endif
