/* report_json.c - a report as one line of JSON.
 * SPDX-License-Identifier: MIT
 *
 * The fields, all always there; null is what is not known:
 *   tool version kind level pid time verdict advice summary suppression operation
 *   object {address type bytes label bound_ns}     thread {id number name tid}
 *   owner {id number name tid alive drained_ns pending doing}
 *   at bound owner_made {frames [{address function file line inlined module offset build_id}] cut}
 *   history [{event thread {id number name tid} ago_ns at}]
 * Addresses and owners' ids are strings of hexadecimal, as they do not fit a double. */
#include <string.h>

#include "report.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define VERSION STRINGIFY(TETHER_VERSION_MAJOR) "." STRINGIFY(TETHER_VERSION_MINOR) "." STRINGIFY(TETHER_VERSION_PATCH)

/* How many bytes a UTF-8 character has that starts here; 0: it is none. Overlong forms, surrogates and what
 * is beyond U+10FFFF are none (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte; of the second */
		size_t length;
	} forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	             {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	             {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last || s[1] < forms[i].low || s[1] > forms[i].high)
			continue;
		for (size_t k = 2; k < forms[i].length; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)
				return 0;
		return forms[i].length;
	}
	return 0;
}

static void put_string(struct tetheri_text *text, const char *string)
{
	const unsigned char *s = (const unsigned char *)string;
	size_t length;

	if (!s) {
		tetheri_put(text, "null");
		return;
	}
	tetheri_put(text, "\"");
	while (*s) {
		size_t plain = 0;
		while (s[plain] >= 0x20 && s[plain] < 0x7f && s[plain] != '"' && s[plain] != '\\')
			plain++;
		if (plain > 0)
			tetheri_put(text, "%.*s", (int)plain, (const char *)s);
		s += plain;
		if (!*s)
			break;
		if (*s == '"' || *s == '\\') {
			tetheri_put(text, "\\%c", *s++);
		} else if (*s >= 0x80 && (length = utf8_length(s)) > 0) {
			tetheri_put(text, "%.*s", (int)length, (const char *)s);
			s += length;
		} else {
			tetheri_put(text, "\\u%04x", *s++); /* a control character, or a byte that is no text, as Latin-1 has it */
		}
	}
	tetheri_put(text, "\"");
}

static void put_field(struct tetheri_text *text, const char *name, const char *string)
{
	tetheri_put(text, ",\"%s\":", name);
	put_string(text, string);
}

static void put_number(struct tetheri_text *text, const char *name, uint64_t number, uint64_t unknown)
{
	if (number == unknown)
		tetheri_put(text, ",\"%s\":null", name);
	else
		tetheri_put(text, ",\"%s\":%llu", name, (unsigned long long)number);
}

/* The calendar by hand: gmtime_r takes a lock. Days since 1970 to a date, by eras of 400 years that begin
 * in March (H. Hinnant, chrono-compatible low-level date algorithms). */
static void put_time(struct tetheri_text *text)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	int64_t days = now.tv_sec / 86400 + 719468, seconds = now.tv_sec % 86400;
	int64_t era = days / 146097, day = days % 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t of_year = day - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;
	long long date[] = {year + era * 400 + (month >= 10), month < 10 ? month + 3 : month - 9,
	                    of_year - (153 * month + 2) / 5 + 1};
	long long clock[] = {seconds / 3600, seconds / 60 % 60, seconds % 60};
	tetheri_put(text, ",\"time\":\"%04lld-%02lld-%02lldT%02lld:%02lld:%02lld.%06ldZ\"", date[0], date[1], date[2], clock[0],
	            clock[1], clock[2], now.tv_nsec / 1000);
}

static void put_frame(struct tetheri_text *text, const struct tether_frame *frame)
{
	tetheri_put(text, "{\"address\":\"0x%llx\"", (unsigned long long)(uintptr_t)frame->address);
	put_field(text, "function", frame->function);
	put_field(text, "file", frame->file);
	put_number(text, "line", (uint64_t)frame->line, 0);
	tetheri_put(text, ",\"inlined\":%s", frame->is_inlined ? "true" : "false");
	put_field(text, "module", frame->module);
	tetheri_put(text, ",\"offset\":\"0x%llx\"", (unsigned long long)frame->offset);
	put_field(text, "build_id", frame->build_id);
	tetheri_put(text, "}");
}

static void put_stack(struct tetheri_text *text, const char *name, const struct tether_stack *stack)
{
	tetheri_put(text, ",\"%s\":{\"frames\":[", name);
	for (size_t i = 0; i < stack->count; i++) {
		tetheri_put(text, "%s", i ? "," : "");
		put_frame(text, &stack->frames[i]);
	}
	tetheri_put(text, "]");
	put_field(text, "cut", stack->cut);
	tetheri_put(text, "}");
}

static void put_who(struct tetheri_text *text, const char *name, tether_owner_t id, uint64_t number, const char *who)
{
	tetheri_put(text, ",\"%s\":{\"id\":", name);
	if (id)
		tetheri_put(text, "\"0x%llx\"", (unsigned long long)id);
	else
		tetheri_put(text, "null");
	put_number(text, "number", number, 0);
	put_field(text, "name", who);
}

static void put_object(struct tetheri_text *text, const struct tether_report *report)
{
	if (!report->object) {
		tetheri_put(text, ",\"object\":null");
		return;
	}
	tetheri_put(text, ",\"object\":{\"address\":\"0x%llx\"", (unsigned long long)(uintptr_t)report->object);
	put_field(text, "type", report->type);
	put_number(text, "bytes", report->object_bytes, 0);
	put_field(text, "label", report->label);
	put_number(text, "bound_ns", report->bound_ns, UINT64_MAX);
	tetheri_put(text, "}");
}

static void put_owners(struct tetheri_text *text, const struct tether_report *report)
{
	put_who(text, "thread", report->caller, report->caller_number, report->caller_name);
	put_number(text, "tid", (uint64_t)report->caller_tid, 0);
	if (report->thread) {
		put_who(text, "own", report->thread, report->thread_number, report->thread_name);
		tetheri_put(text, "}");
	}
	tetheri_put(text, "}");
	put_who(text, "owner", report->owner, report->owner_number, report->owner_name);
	put_number(text, "tid", (uint64_t)report->owner_tid, 0);
	tetheri_put(text, ",\"alive\":%s", report->owner_is_alive ? "true" : "false");
	put_number(text, "drained_ns", report->owner_drained_ns, UINT64_MAX);
	put_number(text, "pending", report->owner_pending, UINT64_MAX);
	put_field(text, "doing", report->owner_doing);
	if (report->owner_is_lost)
		tetheri_put(text, ",\"lost_in_fork\":true");
	if (report->owner_is_logical) {
		put_who(text, "inside", report->owner_inside, report->owner_inside_number, report->owner_inside_name);
		tetheri_put(text, "}");
	}
	tetheri_put(text, "}");
	if (!report->other)
		return;
	put_who(text, "other", report->other, report->other_number, report->other_name);
	put_field(text, "role", report->other_role);
	tetheri_put(text, "}");
}

static void put_history(struct tetheri_text *text, const struct tether_report *report)
{
	tetheri_put(text, ",\"history\":[");
	for (size_t i = 0; i < report->history_count; i++) {
		const struct tether_event *event = &report->history[i];
		tetheri_put(text, "%s{\"event\":", i ? "," : "");
		put_string(text, tetheri_event_name(event->kind));
		put_who(text, "thread", event->by, event->by_number, event->by_name);
		put_number(text, "tid", (uint64_t)event->by_tid, 0);
		tetheri_put(text, "}");
		put_number(text, "ago_ns", event->ago_ns, UINT64_MAX);
		put_stack(text, "at", &event->at);
		tetheri_put(text, "}");
	}
	tetheri_put(text, "]}");
}

static void put_left(struct tetheri_text *text, const struct tether_report *report)
{
	if (report->kind != TETHER_LEFT_OVER)
		return;
	tetheri_put(text, ",\"left\":[");
	for (size_t i = 0; i < report->left_count; i++) {
		const struct tether_left *left = &report->left[i];
		tetheri_put(text, "%s{\"count\":%llu", i ? "," : "", (unsigned long long)left->count);
		put_field(text, "type", left->type);
		put_who(text, "owner", left->owner, left->owner_number, left->owner_name);
		put_field(text, "doing", left->owner_doing);
		tetheri_put(text, "}}");
	}
	tetheri_put(text, "],\"left_more\":%llu", (unsigned long long)report->left_more);
}

size_t tether_report_json(const struct tether_report *report, char *buffer, size_t size)
{
	struct tetheri_text text = {.bytes = buffer, .size = size};

	if (size > 0)
		buffer[0] = '\0';
	tetheri_put(&text, "{\"tool\":\"tether\",\"version\":\"" VERSION "\"");
	put_field(&text, "kind", tether_kind_name(report->kind));
	put_field(&text, "level", tetheri_level_name(report->level));
	put_number(&text, "pid", (uint64_t)report->pid, 0);
	put_time(&text);
	put_field(&text, "verdict", report->verdict);
	put_field(&text, "advice", report->advice);
	put_field(&text, "summary", report->summary);
	put_field(&text, "suppression", report->suppression);
	put_field(&text, "operation", report->operation);
	put_object(&text, report);
	put_owners(&text, report);
	put_left(&text, report);
	put_stack(&text, "at", &report->at);
	put_stack(&text, "bound", &report->bound);
	put_stack(&text, "owner_made", &report->owner_made);
	put_history(&text, report);
	return text.used;
}
