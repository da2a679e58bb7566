/* spell.c - what people type: shown so that it can do no harm, and the nearest word that we know.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <string.h>

#include "spell.h"

#define SHOWN 80 /* bytes */
#define WORD 32  /* no word of ours is longer, nor is a misspelt one */

bool tetheri_given_is(struct tetheri_given given, const char *word)
{
	return strlen(word) == given.size && memcmp(given.bytes, word, given.size) == 0;
}

void tetheri_put_given(struct tetheri_text *text, struct tetheri_given given)
{
	for (size_t i = 0; i < given.size && i < SHOWN; i++) {
		unsigned char byte = (unsigned char)given.bytes[i];
		tetheri_put(text, byte >= ' ' && byte <= '~' ? "%c" : "\\x%02x", byte);
	}
	if (given.size > SHOWN)
		tetheri_put(text, "...");
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static int lower(char letter)
{
	return tolower((unsigned char)letter);
}

/* How many letters must be put in, left out, changed, or swapped with their neighbour. */
static unsigned distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
	unsigned rows[3][WORD + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_size; j++)
		before[j] = last[j] = (unsigned)j;
	for (size_t i = 1; i <= a_size; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_size; j++) {
			bool differ = lower(a[i - 1]) != lower(b[j - 1]);
			row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + differ);
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		unsigned *oldest = before;
		before = last;
		last = row;
		row = oldest;
	}
	return last[b_size];
}

void tetheri_guess_offer(struct tetheri_guess *guess, const char *word)
{
	size_t size = guess->given.size;
	size_t word_size = strlen(word);

	if (size == 0 || size > WORD || word_size > WORD)
		return;
	unsigned far = distance(guess->given.bytes, size, word, word_size);
	/* "stack" is nearer to "stack_depth" than letters tell. */
	if (size >= 3 && size < word_size && strncasecmp(guess->given.bytes, word, size) == 0)
		far = least(far, 2);
	if (far > least(3, (unsigned)(size + 1) / 2) || (guess->word && far >= guess->distance))
		return;
	guess->word = word;
	guess->distance = far;
}

void tetheri_put_guess(struct tetheri_text *text, const struct tetheri_guess *guess)
{
	if (guess->word)
		tetheri_put(text, ": did you mean '%s'?", guess->word);
}
