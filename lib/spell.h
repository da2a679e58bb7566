/* spell.h - what people type: shown so that it can do no harm, and the nearest word that we know.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_SPELL_H
#define TETHERI_SPELL_H

#include "text.h"

#pragma GCC visibility push(hidden)

/* Part of a text that somebody typed; no 0 follows it. */
struct tetheri_given {
	const char *bytes;
	size_t size;
};

bool tetheri_given_is(struct tetheri_given given, const char *word);
/* What is not printable ASCII as \xNN, and cut when it is long. */
void tetheri_put_given(struct tetheri_text *text, struct tetheri_given given);

/* The nearest of the words that are offered. Start with {.given = ...}. */
struct tetheri_guess {
	struct tetheri_given given;
	const char *word; /* NULL: none of them is near */
	unsigned distance;
};
void tetheri_guess_offer(struct tetheri_guess *guess, const char *word);
void tetheri_put_guess(struct tetheri_text *text,
                       const struct tetheri_guess *guess); /* ": did you mean 'history'?", or nothing */

#pragma GCC visibility pop

#endif
