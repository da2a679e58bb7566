/* demangle.c - names of C++ functions as people write them.
 * SPDX-License-Identifier: MIT
 *
 * A reader of the Itanium C++ ABI's names, https://itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling,
 * as far as a function's own name goes. Types (parameters, template arguments) are read past and not
 * written; names inside them are read with `muted` set. Expressions are not read: a name that contains one stays as it is.
 *
 * Invariant: `at` is on or before the final zero: nothing is read behind a character that was not looked at.
 * Invariant: every function that calls itself, by whatever way, counts in `depth`. */
#include <string.h>

#include "demangle.h"

#define DEPTH_MAX 64

struct reader {
	const char *at;
	char *out, *end;  /* *end: the last byte, kept for the zero */
	const char *last; /* the last identifier, for constructors */
	size_t last_bytes;
	int muted, depth;
	bool failed;
};

/* NOLINTBEGIN(misc-no-recursion): names contain types, and types names. */
static void read_name(struct reader *r);
static void skip_type(struct reader *r);

static void write_bytes(struct reader *r, const char *bytes, size_t count)
{
	if (r->muted)
		return;
	if (count > (size_t)(r->end - r->out)) {
		r->failed = true;
		return;
	}
	memcpy(r->out, bytes, count);
	r->out += count;
}

static void write_text(struct reader *r, const char *text)
{
	write_bytes(r, text, strlen(text));
}

/* A constructor's name may follow: the same once more. */
static void write_name(struct reader *r, const char *bytes, size_t count)
{
	write_bytes(r, bytes, count);
	if (r->muted)
		return;
	r->last = bytes;
	r->last_bytes = count;
}

/* Nothing more is read, whatever still asks. */
static void fail(struct reader *r)
{
	r->failed = true;
	r->at = "";
}

static bool take(struct reader *r, const char *text)
{
	size_t bytes = strlen(text);

	if (strncmp(r->at, text, bytes) != 0)
		return false;
	r->at += bytes;
	return true;
}

static void expect(struct reader *r, const char *text)
{
	if (!take(r, text))
		fail(r);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_in(char c, const char *set)
{
	return c && strchr(set, c);
}

static void skip_set(struct reader *r, const char *set)
{
	while (is_in(*r->at, set))
		r->at++;
}

static bool enter(struct reader *r)
{
	if (++r->depth > DEPTH_MAX)
		fail(r);
	return !r->failed;
}

/* ---- Parts of names --------------------------------------------------------------------------- */

static void read_identifier(struct reader *r)
{
	size_t count = 0;

	for (; is_digit(*r->at) && count < 10000; r->at++)
		count = count * 10 + (size_t)(*r->at - '0');
	if (count == 0 || strnlen(r->at, count) < count) {
		fail(r);
		return;
	}
	if (strncmp(r->at, "_GLOBAL__N", strlen("_GLOBAL__N")) == 0)
		write_text(r, "(anonymous namespace)");
	else
		write_name(r, r->at, count);
	r->at += count;
}

static void read_operator(struct reader *r)
{
	static const char *const operators[] = {"nw new", "na new[]", "dl delete", "da delete[]", "aw co_await", "ps +",  "ng -",
	                                        "ad &",   "de *",     "co ~",      "pl +",        "mi -",        "ml *",  "dv /",
	                                        "rm %",   "an &",     "or |",      "eo ^",        "aS =",        "pL +=", "mI -=",
	                                        "mL *=",  "dV /=",    "rM %=",     "aN &=",       "oR |=",       "eO ^=", "ls <<",
	                                        "rs >>",  "lS <<=",   "rS >>=",    "eq ==",       "ne !=",       "lt <",  "gt >",
	                                        "le <=",  "ge >=",    "ss <=>",    "nt !",        "aa &&",       "oo ||", "pp ++",
	                                        "mm --",  "cm ,",     "pm ->*",    "pt ->",       "cl ()",       "ix []"};

	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
		if (strncmp(r->at, operators[i], 2) != 0)
			continue;
		r->at += 2;
		write_text(r, operators[i][3] >= 'a' && operators[i][3] <= 'z' ? "operator " : "operator");
		write_text(r, operators[i] + 3);
		return;
	}
	fail(r);
}

/* A conversion to a type, of which we do not write the name. */
static void read_conversion(struct reader *r)
{
	expect(r, "cv");
	write_text(r, "operator <...>");
	skip_type(r);
}

static void skip_types_to_end(struct reader *r)
{
	while (!r->failed && !take(r, "E"))
		skip_type(r);
}

/* Which of several closures, literals or blocks it is. */
static void skip_number(struct reader *r)
{
	skip_set(r, "0123456789");
	expect(r, "_");
}

static void read_unnamed(struct reader *r)
{
	if (take(r, "Ul")) {
		write_text(r, "{lambda}");
		skip_types_to_end(r);
	} else {
		expect(r, "Ut");
		write_text(r, "{unnamed}");
	}
	skip_number(r);
}

static void read_unqualified(struct reader *r)
{
	take(r, "L"); /* local to its file */
	if (is_digit(*r->at))
		read_identifier(r);
	else if (*r->at == 'U')
		read_unnamed(r);
	else if (strncmp(r->at, "cv", 2) == 0)
		read_conversion(r);
	else
		read_operator(r);
	r->muted++;
	while (!r->failed && take(r, "B")) /* ABI tags */
		read_identifier(r);
	r->muted--;
}

static void read_constructor(struct reader *r)
{
	if (take(r, "D"))
		write_text(r, "~");
	else
		expect(r, "C");
	if (r->last && is_in(*r->at, "012345")) {
		write_bytes(r, r->last, r->last_bytes);
		r->at++;
	} else {
		fail(r);
	}
}

static bool read_std(struct reader *r)
{
	static const char *const names[] = {"Sa allocator", "Sb basic_string", "Ss string",
	                                    "Si istream",   "So ostream",      "Sd iostream"};

	if (take(r, "St")) {
		write_text(r, "std");
		return true;
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strncmp(r->at, names[i], 2) != 0)
			continue;
		r->at += 2;
		write_text(r, "std::");
		write_name(r, names[i] + 3, strlen(names[i] + 3));
		return true;
	}
	return false;
}

/* At 'S' or 'T': an earlier part, which we have not kept. Inside types nobody misses it. */
static void read_reference(struct reader *r)
{
	if (!r->muted) {
		fail(r);
		return;
	}
	r->at++;
	skip_set(r, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	expect(r, "_");
}

/* ---- Template arguments and types -------------------------------------------------------------- */

static void skip_literal(struct reader *r)
{
	if (take(r, "_Z")) {
		read_name(r);
		skip_types_to_end(r);
		return;
	}
	skip_type(r);
	while (*r->at && *r->at != 'E')
		r->at++;
	expect(r, "E");
}

/* After its 'I' or 'J'. */
static void skip_arguments(struct reader *r)
{
	if (!enter(r))
		return;
	r->muted++;
	while (!r->failed && !take(r, "E")) {
		if (take(r, "L"))
			skip_literal(r);
		else if (take(r, "J"))
			skip_arguments(r);
		else
			skip_type(r);
	}
	r->muted--;
	r->depth--;
}

static void read_arguments(struct reader *r)
{
	if (!take(r, "I"))
		return;
	write_text(r, "<...>");
	skip_arguments(r);
}

/* After its 'F'. */
static void skip_function(struct reader *r)
{
	take(r, "Y");
	while (!r->failed && !take(r, "E") && !take(r, "RE") && !take(r, "OE"))
		skip_type(r);
}

static void skip_extended(struct reader *r)
{
	if (take(r, "Dp") || take(r, "Do")) {
		skip_type(r);
	} else if (is_in(r->at[1], "nisuacdefh")) {
		r->at += 2;
	} else {
		fail(r);
	}
}

static void skip_array(struct reader *r)
{
	r->at++;
	skip_number(r);
	skip_type(r);
}

static void skip_plain_type(struct reader *r)
{
	if (is_in(*r->at, "vwbcahstijlmxynofdegz"))
		r->at++;
	else if (*r->at == 'D')
		skip_extended(r);
	else if (*r->at == 'A')
		skip_array(r);
	else if (take(r, "F"))
		skip_function(r);
	else if (take(r, "M")) {
		skip_type(r);
		skip_type(r);
	} else if (take(r, "u"))
		read_identifier(r);
	else if (*r->at == 'T')
		read_reference(r);
	else
		read_name(r);
	read_arguments(r);
}

static void skip_type(struct reader *r)
{
	if (!enter(r))
		return;
	r->muted++;
	skip_set(r, "PROKVrCG");
	skip_plain_type(r);
	r->muted--;
	r->depth--;
}

/* ---- Whole names ------------------------------------------------------------------------------- */

/* After its 'N'. */
static void read_nested(struct reader *r)
{
	bool is_first = true;

	skip_set(r, "rVKRO");
	for (; !r->failed && !take(r, "E"); is_first = false) {
		if (*r->at == 'I') {
			read_arguments(r);
			continue;
		}
		if (!is_first)
			write_text(r, "::");
		if (*r->at == 'S') {
			if (!read_std(r))
				read_reference(r);
		} else if (*r->at == 'T') {
			read_reference(r);
		} else if (*r->at == 'C' || (*r->at == 'D' && is_in(r->at[1], "012345"))) {
			read_constructor(r);
		} else {
			read_unqualified(r);
		}
		take(r, "M"); /* of a member's initialiser */
	}
}

/* After its 'Z': something inside a function. */
static void read_local(struct reader *r)
{
	read_name(r);
	skip_types_to_end(r);
	if (take(r, "s"))
		return; /* a string */
	if (take(r, "d"))
		skip_number(r);
	write_text(r, "::");
	read_name(r);
	if (take(r, "_"))
		skip_set(r, "0123456789_");
}

static void read_name(struct reader *r)
{
	if (!enter(r))
		return;
	if (take(r, "N")) {
		read_nested(r);
	} else if (take(r, "Z")) {
		read_local(r);
	} else if (strncmp(r->at, "St", 2) == 0) {
		read_std(r);
		write_text(r, "::");
		read_unqualified(r);
	} else if (*r->at != 'S') {
		read_unqualified(r);
	} else if (!read_std(r)) {
		read_reference(r);
	}
	read_arguments(r);
	r->depth--;
}

/* NOLINTEND(misc-no-recursion) */

bool tetheri_demangle(const char *mangled, char *out, size_t size)
{
	struct reader r = {.at = mangled};

	if (size == 0 || !take(&r, "_Z"))
		return false;
	r.out = out;
	r.end = out + size - 1;
	read_name(&r);
	*r.out = '\0';
	return !r.failed;
}
