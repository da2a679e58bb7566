/* side.h - what an object's tag has no room for: its label and its history.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_SIDE_H
#define TETHERI_SIDE_H

#include <tether/report.h>

#pragma GCC visibility push(hidden)

#define TETHERI_LABEL_BYTES 48

struct tetheri_side_event {
	uint64_t when_ns; /* CLOCK_MONOTONIC */
	uint64_t by;      /* an owner, or TETHERI_NO_OWNER_BIT and a thread */
	uint64_t at;      /* an origin, see stack.h; 0: not known */
	enum tether_event_kind kind;
};

struct tetheri_side {
	char label[TETHERI_LABEL_BYTES];                        /* "": none */
	struct tetheri_side_event event[TETHER_HISTORY_EVENTS]; /* newest first; kind NONE: no more */
	uint64_t forgotten;                                     /* older events */
};

/* Note an event. BOUND and PREPARED start anew: label and history of what used the memory before go.
 * DESTROYED and ENDED leave what is known to be read, until the place is wanted. Any thread, signal handlers
 * too. May ask the kernel for memory (not malloc); an event that finds no room, or a handler that
 * interrupted its bucket's holder, is lost and counted. */
void tetheri_side_note(const struct tether *tag, enum tether_event_kind kind, uint64_t by, uint64_t at);
/* 0 or -ENOMEM. NULL: take it away. Not for signal handlers. */
int tetheri_side_set_label(const struct tether *tag, const char *label);
/* The object has gone, and no history is kept: its place may be used again. */
void tetheri_side_end(const struct tether *tag);
/* False: nothing is known of it. Any thread, signal handlers too: gives up rather than wait for itself. */
bool tetheri_side_read(const struct tether *tag, struct tetheri_side *out);
uint64_t tetheri_side_lost(void); /* events that found no room */

#pragma GCC visibility pop

#endif
