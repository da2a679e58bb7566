/* places.c - where protocols were made and where they were let go on another thread, as tether reports it.
 * SPDX-License-Identifier: MIT
 *
 * The reports are made in tp_dealloc, so with the GIL, which protects the table. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "wsgi.h"

enum { PLACES_MAX = 512, PLACE_BYTES = 160 };

static struct place {
	unsigned long long count;
	char made[48], dropped[PLACE_BYTES];
} places[PLACES_MAX];

/* NULL: there is no room. */
static struct place *place_of(const char *made, const char *dropped)
{
	for (struct place *p = places; p < places + PLACES_MAX; p++) {
		if (p->count == 0) {
			snprintf(p->made, sizeof p->made, "%s", made);
			snprintf(p->dropped, sizeof p->dropped, "%s", dropped);
		}
		if (strcmp(p->made, made) == 0 && strcmp(p->dropped, dropped) == 0)
			return p;
	}
	return NULL;
}

static void write_text(const char *text, size_t bytes)
{
	/* A report that standard error does not take is lost; it is in the counts. */
	(void)!write(STDERR_FILENO, text, bytes);
}

/* One line for each: with deferred drops off that was a destructor. */
static void write_one(const struct tether_report *report, const struct place *place)
{
	char line[512];
	int n = snprintf(line, sizeof line, "foreign: %s made on '%s' at %s, destroyed on '%s' at %s\n", report->type,
	                 report->owner_name ? report->owner_name : "?", place->made, report->caller_name ? report->caller_name : "?",
	                 place->dropped);

	write_text(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void on_report(const struct tether_report *report, void *context)
{
	char dropped[PLACE_BYTES];
	/* Without tether's drop, tp_dealloc uses the payload of another thread. */
	bool is_drop = report->kind == (options.is_deferred ? TETHER_FOREIGN_DROP : TETHER_WRONG_THREAD);

	(void)context;
	if (!is_drop || !report->type || strcmp(report->type, "WSGIProtocol") != 0) {
		write_text(report->text, report->text_bytes);
		return;
	}
	if (report->file)
		snprintf(dropped, sizeof dropped, "%s:%d in %s", report->file, report->line, report->function);
	else
		snprintf(dropped, sizeof dropped, "no Python frame");
	struct place *place = place_of(report->label ? report->label : "no Python frame", dropped);
	if (!place)
		return;
	if (place->count++ == 0 && options.shows_reports)
		write_text(report->text, report->text_bytes);
	if (!options.is_deferred)
		write_one(report, place);
}

void places_start(void)
{
	tether_set_report_callback(on_report, NULL);
	(void)tether_set_option("exit_summary", "0"); /* the server's last line says the same, and where */
}

/* There may be no room for the whole of the last character. */
static PyObject *text_to_python(const char *text)
{
	return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

/* [(count, where made, where let go), ...]. With the GIL. */
PyObject *places_to_python(void)
{
	PyObject *list = PyList_New(0);

	for (struct place *p = places; list && p < places + PLACES_MAX && p->count > 0; p++) {
		PyObject *one = Py_BuildValue("KNN", p->count, text_to_python(p->made), text_to_python(p->dropped));

		if (!one || PyList_Append(list, one) != 0)
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	return list;
}
