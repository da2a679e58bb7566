/* report.h - the parts of a report inside the library: an event becomes a story, a story becomes text or JSON.
 * SPDX-License-Identifier: MIT
 *
 *     event --> report.c, repeat.c: whether, how loud --> story.c: stacks, owners, history --> words.c: verdict, advice
 *                                                                             --> report_text.c, report_json.c
 *                                                                             --> the callback, or sink.c */
#ifndef TETHERI_REPORT_H
#define TETHERI_REPORT_H

#include "internal.h"
#include "scratch.h"
#include "text.h"

#pragma GCC visibility push(hidden)

/* report.c: what became of the violations; read at exit. */
struct tetheri_told {
	_Atomic uint64_t printed;
	_Atomic uint64_t repeated; /* and what was not printed for another reason; what was suppressed is counted in suppress.c */
};
extern struct tetheri_told tetheri_told;

/* words.c */
struct tetheri_words {
	const char *name;   /* in suppressions and JSON */
	const char *title;  /* what is wrong, in the fewest words */
	const char *done;   /* "used": what the caller did with the object */
	const char *advice; /* what to do, where nothing better is known */
};
const struct tetheri_words *tetheri_words(enum tether_kind kind);
const char *tetheri_other_role(enum tether_kind kind); /* "lent to"; NULL: there is no other */
const char *tetheri_level_name(enum tether_level level);
const char *tetheri_event_name(enum tether_event_kind kind);
void tetheri_words_fill(struct tether_report *report, const char *destructor, struct tetheri_scratch *scratch);
const char *tetheri_type_word(const char *name); /* "conn" of "struct conn" */
void tetheri_put_owner(struct tetheri_text *text, uint64_t number,
                       const char *name); /* 'loop-2' (owner #3), or what else it is */
/* The frame that is to blame: the first one of the program's own that has a line. NULL: none has. */
const struct tether_frame *tetheri_blamed(const struct tether_report *report);

/* story.c */
struct tetheri_stacks {
	struct tetheri_stack at;
	uintptr_t functions[TETHERI_STACK_DEPTH];
};
void tetheri_story_trace(const struct tetheri_event *event, struct tetheri_stacks *out);
void tetheri_story_tell(const struct tetheri_event *event, enum tether_level level, const struct tetheri_stacks *stacks,
                        struct tetheri_scratch *scratch, struct tether_report *out);
void tetheri_story_doing(const struct tetheri_slot *slot, struct tetheri_text *text); /* "destroying a conn" */

/* report_text.c */
void tetheri_report_text(const struct tether_report *report, struct tetheri_text *text);

#pragma GCC visibility pop

#endif
