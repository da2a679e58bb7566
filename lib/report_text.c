/* report_text.c - a report as people read it.
 * SPDX-License-Identifier: MIT
 *
 * In the order in which it is wanted: what happened, what to do, where, whose object it is, how that came
 * about, how to silence it, what is needed to decode it elsewhere, and one line for those who search logs. */
#include <string.h>

#include "path.h"
#include "report.h"

#define RED "\033[1;31m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"
#define NAME_WIDTH 20
#define MODULES 8
#define EVENT_FRAMES 6

static const char *color(const struct tetheri_text *text, const char *escape)
{
	return text->colors ? escape : "";
}

static void put_frame(struct tetheri_text *text, const char *indent, size_t number, const struct tether_frame *frame)
{
	tetheri_put(text, "%s#%zu %-*s ", indent, number, NAME_WIDTH, frame->function ? frame->function : "??");
	if (frame->file)
		tetheri_put(text, "%s:%d ", frame->file, frame->line);
	if (frame->is_inlined)
		tetheri_put(text, "(inlined)\n");
	else if (!frame->address)
		tetheri_put(text, "(says the check)\n");
	else if (frame->module)
		tetheri_put(text, "(%s+0x%llx)\n", tetheri_path_base(frame->module), (unsigned long long)frame->offset);
	else
		tetheri_put(text, "(%p)\n", frame->address);
}

/* How the C library started the thread is of no interest, where it has no names. */
static bool is_start(const struct tether_frame *frame)
{
	return !frame->function && frame->module && strncmp(tetheri_path_base(frame->module), "libc.so", 7) == 0;
}

static void put_stack_from(struct tetheri_text *text, const char *indent, const struct tether_stack *stack, size_t max_frames)
{
	size_t count = stack->count;

	while (count > 1 && is_start(&stack->frames[count - 1]))
		count--;
	for (size_t i = 0; i < count && i < max_frames; i++)
		put_frame(text, indent, i, &stack->frames[i]);
	if (stack->cut && count <= max_frames)
		tetheri_put(text, "%s(%s%s)\n", indent, strncmp(stack->cut, "names", 5) == 0 ? "" : "the rest is missing: ", stack->cut);
}

static void put_stack(struct tetheri_text *text, const struct tether_stack *stack)
{
	put_stack_from(text, "    ", stack, SIZE_MAX);
}

static void put_caller(struct tetheri_text *text, const struct tether_report *report)
{
	tetheri_put(text, report->thread ? "  As " : "  On thread ");
	if (report->thread)
		tetheri_put(text, "'%s' (owner #%llu), on thread '%s' (owner #%llu, tid %d)", report->caller_name,
		            (unsigned long long)report->caller_number, report->thread_name, (unsigned long long)report->thread_number,
		            report->caller_tid);
	else if (report->caller_number)
		tetheri_put(text, "'%s' (owner #%llu, tid %d)", report->caller_name, (unsigned long long)report->caller_number,
		            report->caller_tid);
	else
		tetheri_put(text, "%d, which has no owner", report->caller_tid);
	tetheri_put(text, ", in %s:\n", report->operation);
	put_stack(text, &report->at);
}

static void put_drained(struct tetheri_text *text, const struct tether_report *report)
{
	if (report->owner_drained_ns == UINT64_MAX) {
		tetheri_put(text, "never drained");
	} else if (report->owner_drained_ns < TETHERI_TICK_NS) {
		tetheri_put(text, "drained just now");
	} else {
		tetheri_put(text, "drained ");
		tetheri_put_age(text, report->owner_drained_ns);
		tetheri_put(text, " ago");
	}
}

static void put_home(struct tetheri_text *text, const struct tether_report *report)
{
	bool was = report->kind == TETHER_USE_AFTER_DROP || report->kind == TETHER_DOUBLE_DROP || report->kind == TETHER_LEAKED;
	const char *belongs = report->object ? (was ? "Belonged to" : "Belongs to") : "The owner is";

	if (!report->owner || !report->owner_number)
		return;
	tetheri_put(text, "  %s '%s' (owner #%llu", belongs, report->owner_name, (unsigned long long)report->owner_number);
	if (report->owner_is_logical)
		tetheri_put(text, report->owner_inside ? ", inside: '%s'" : ", nobody inside",
		            report->owner_inside_name ? report->owner_inside_name : "?");
	if (report->owner_tid)
		tetheri_put(text, ", tid %d", report->owner_tid);
	tetheri_put(text, "): %s",
	            report->owner_is_alive  ? "alive, "
	            : report->owner_is_lost ? "did not survive the fork"
	                                    : "exited");
	if (report->owner_is_alive) {
		put_drained(text, report);
		tetheri_put(text, ", %llu pending", (unsigned long long)report->owner_pending);
		if (report->owner_doing)
			tetheri_put(text, ", %s", report->owner_doing);
	}
	tetheri_put(text, "\n");
}

static void put_other(struct tetheri_text *text, const struct tether_report *report)
{
	if (!report->other || !report->other_role)
		return;
	tetheri_put(text, "  It is %s ", report->other_role);
	tetheri_put_owner(text, report->other_number, report->other_name);
	tetheri_put(text, "\n");
}

/* "  Left for 'loop-2' (owner #3): 998 conn, 3 message, 12 that it has taken; is destroying a conn" */
static void put_left(struct tetheri_text *text, const struct tether_report *report)
{
	for (size_t i = 0; i < report->left_count; i++) {
		const struct tether_left *left = &report->left[i];
		bool is_first = i == 0 || left->owner != left[-1].owner;
		bool is_last = i + 1 == report->left_count || left->owner != left[1].owner;
		if (is_first) {
			tetheri_put(text, "  Left for ");
			tetheri_put_owner(text, left->owner_number, left->owner_name);
		}
		tetheri_put(text, "%s ", is_first ? ":" : ",");
		if (left->type)
			tetheri_put(text, "%llu %.100s", (unsigned long long)left->count, tetheri_type_word(left->type));
		else if (left->count > 0)
			tetheri_put(text, "%llu that it has taken and not handled", (unsigned long long)left->count);
		else
			tetheri_put(text, "nothing");
		if (is_last)
			tetheri_put(text, "; it %s\n", left->owner_doing ? left->owner_doing : "is not known any more");
	}
	if (report->left_more)
		tetheri_put(text, "  Left besides: %llu\n", (unsigned long long)report->left_more);
}

static void put_object(struct tetheri_text *text, const struct tether_report *report)
{
	if (!report->object)
		return;
	tetheri_put(text, "  Object: %.200s at %p", report->type ? report->type : "not a type that is known", report->object);
	if (report->object_bytes)
		tetheri_put(text, ", %zu bytes", report->object_bytes);
	if (report->label)
		tetheri_put(text, ", \"%s\"", report->label);
	tetheri_put(text, "\n");
}

static void put_bound(struct tetheri_text *text, const struct tether_report *report)
{
	if (report->bound.count == 0)
		return;
	tetheri_put(text, "  Bound ");
	if (report->bound_ns != UINT64_MAX) {
		tetheri_put_age(text, report->bound_ns);
		tetheri_put(text, " ago ");
	}
	tetheri_put(text, "at:\n");
	put_stack(text, &report->bound);
}

/* Where it was bound is told in full above. */
static void put_event(struct tetheri_text *text, const struct tether_event *event, bool is_told)
{
	tetheri_put(text, "    %s ", tetheri_event_name(event->kind));
	tetheri_put_age(text, event->ago_ns);
	tetheri_put(text, " ago on ");
	if (event->by == 0)
		tetheri_put(text, "thread %d, which had no owner", event->by_tid);
	else
		tetheri_put_owner(text, event->by_number, event->by_name);
	tetheri_put(text, event->at.count == 0 ? "\n" : is_told ? ", as above\n" : ", at:\n");
	if (!is_told)
		put_stack_from(text, "      ", &event->at, EVENT_FRAMES);
}

static void put_history(struct tetheri_text *text, const struct tether_report *report)
{
	if (report->history_count == 0)
		return;
	tetheri_put(text, "  History, newest first:\n");
	for (size_t i = 0; i < report->history_count; i++)
		put_event(text, &report->history[i], report->history[i].kind == TETHER_EVENT_BOUND && report->bound.count > 0);
	if (report->history_forgotten)
		tetheri_put(text, "    (%llu older ones are forgotten)\n", (unsigned long long)report->history_forgotten);
}

/* Each module of the stacks once, for decoding on another machine. */
static void put_modules(struct tetheri_text *text, const struct tether_report *report)
{
	const struct tether_stack stacks[] = {report->at, report->bound, report->owner_made};
	const char *told[MODULES];
	size_t n = 0;

	for (size_t s = 0; s < sizeof stacks / sizeof *stacks; s++)
		for (size_t i = 0; i < stacks[s].count; i++) {
			const struct tether_frame *frame = &stacks[s].frames[i];
			size_t k = 0;
			while (frame->module && k < n && strcmp(told[k], frame->module) != 0)
				k++;
			if (!frame->module || k < n || n == MODULES)
				continue;
			told[n++] = frame->module;
			tetheri_put(text, "%s%s%s%s", n == 1 ? "  Modules: " : ", ", frame->module, frame->build_id ? " build id " : "",
			            frame->build_id ? frame->build_id : "");
		}
	if (n > 0)
		tetheri_put(text, "\n");
}

/* What did not fit is cut, and the last line is whole all the same. */
static void put_end(struct tetheri_text *text, const struct tether_report *report)
{
	char summary[600];
	struct tetheri_text line = {.bytes = summary, .size = sizeof summary};

	tetheri_put(&line, "%sSUMMARY: tether: %.500s%s\n", color(text, BOLD), report->summary, color(text, PLAIN));
	size_t room = tetheri_text_length(&line) + 1;
	if (text->used + room > text->size) {
		text->used = text->size > room + 4 ? text->size - room - 4 : 0;
		tetheri_put(text, "...\n");
	}
	tetheri_put(text, "%s", summary);
}

void tetheri_report_text(const struct tether_report *report, struct tetheri_text *text)
{
	tetheri_put(text, "==%d== %stether: %s%s\n", report->pid, color(text, RED), report->verdict, color(text, PLAIN));
	tetheri_put(text, "  %sWhat to do:%s %s\n", color(text, BOLD), color(text, PLAIN), report->advice);
	put_caller(text, report);
	put_home(text, report);
	put_other(text, report);
	put_left(text, report);
	put_object(text, report);
	put_bound(text, report);
	put_history(text, report);
	if (report->owner_made.count) {
		tetheri_put(text, "  Owner '%s' was first seen at:\n", report->owner_name ? report->owner_name : "?");
		put_stack(text, &report->owner_made);
	}
	if (report->suppression)
		tetheri_put(text, "  To suppress: %s (see the option suppressions)\n", report->suppression);
	put_modules(text, report);
	put_end(text, report);
}
