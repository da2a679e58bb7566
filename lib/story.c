/* story.c - all that is known of a violation: stacks, owners, the object and its history.
 * SPDX-License-Identifier: MIT
 *
 * Invariant: it reads what other threads may be changing, each word by itself, and follows nothing that
 *   they may free: an object that is used wrongly may be gone the next moment.
 * Invariant: what it makes lies in the scratch.
 * Invariant: what changes is read before symbols are looked up, which may take long; all ages are of one moment. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd.h"
#include "path.h"
#include "report.h"
#include "symbol.h"

#define DOING_BYTES 256
#define NUMBER_BYTES 12

/* What is known before anything has a name. Fields are zero, or NULL, where it is nothing. */
struct facts {
	uint64_t now;
	struct tetheri_stack *bound, *made;
	struct tetheri_side *side;
	struct tetheri_text doing;
	uintptr_t doing_fn;
};

void tetheri_story_trace(const struct tetheri_event *event, struct tetheri_stacks *out)
{
	tetheri_stack_unwind(&out->at, out->functions);
	tetheri_stack_start_at(&out->at, out->functions, event->address);
}

/* The check is inlined; the program's own function is where the story begins. */
static bool is_ours(const struct tether_frame *frame)
{
	return frame->is_inlined && frame->function && strncmp(frame->function, "tether_", 7) == 0;
}

static struct tether_stack symbols_of(const struct tetheri_stack *stack, struct tetheri_scratch *scratch,
                                      struct tetheri_path *path)
{
	if (!stack)
		return (struct tether_stack){.frames = NULL};
	struct tether_stack told = tetheri_symbol_stack(stack, scratch);
	while (told.count > 1 && is_ours(told.frames)) {
		told.frames++;
		told.count--;
	}
	/* They are in our scratch, and ours to complete. */
	struct tether_frame *frames = (struct tether_frame *)told.frames;
	for (size_t i = 0; i < told.count; i++)
		frames[i].file = tetheri_path_tidy(path, frames[i].file);
	return told;
}

static struct tetheri_stack *origin_stack(tetheri_origin_t origin, uint64_t *ago_ns, struct tetheri_scratch *scratch)
{
	struct tetheri_stack *stack = tetheri_scratch_take(scratch, sizeof *stack);

	return stack && tetheri_origin_read(origin, stack, ago_ns) ? stack : NULL;
}

/* ---- Owners ---------------------------------------------------------------------------------- */

void tetheri_story_doing(const struct tetheri_slot *slot, struct tetheri_text *text)
{
	/* Relaxed: see run.c. */
	uintptr_t doing = atomic_load_explicit(&slot->doing, memory_order_relaxed);
	const void *fn = atomic_load_explicit(&slot->doing_fn, memory_order_relaxed);
	const struct tether_type *type = (const struct tether_type *)(doing & ~TETHERI_BUSY);
	bool is_doing = doing & TETHERI_NOW;

	if (!type)
		tetheri_put(text, "has run nothing yet");
	else if (type == &tetheri_message_type)
		tetheri_put(text, "%s the message function %p", is_doing ? "is in" : "last ran", fn);
	else if (!tetheri_type_in_module(type)) /* the module that it was in may have gone since */
		tetheri_put(text, "%s an object", is_doing ? "is destroying" : "last destroyed");
	else
		tetheri_put(text, "%s %.200s", is_doing ? "is destroying a" : "last destroyed a", tetheri_type_word(type->name));
}

static const char *copy_name(const char *name, struct tetheri_scratch *scratch)
{
	return tetheri_scratch_string(scratch, name, strlen(name));
}

/* The slot's thread; of a logical owner, that of who is inside. */
static void tell_tid(struct tether_report *out, const struct tetheri_slot *slot, struct tetheri_scratch *scratch)
{
	tether_owner_t inside = tetheri_logical_inside(slot);
	struct tetheri_who who;

	out->owner_is_logical = inside != 0;
	if (inside != 0 && inside != out->owner) {
		tetheri_owner_describe(inside, &who);
		out->owner_inside = inside;
		out->owner_inside_number = who.number;
		out->owner_inside_name = who.number ? copy_name(who.name, scratch) : NULL;
		slot = who.slot;
	}
	if (slot)
		out->owner_tid = atomic_load_explicit(&slot->tid, memory_order_relaxed);
}

static void tell_slot(struct tether_report *out, const struct tetheri_slot *slot, struct tetheri_scratch *scratch,
                      struct facts *facts)
{
	uint64_t drained = atomic_load_explicit(&slot->drained, memory_order_relaxed);
	uint64_t now = tetheri_now_coarse(), ago_ns;
	uintptr_t doing = atomic_load_explicit(&slot->doing, memory_order_relaxed) & ~TETHERI_BUSY;

	facts->made = origin_stack(atomic_load_explicit(&slot->made, memory_order_relaxed), &ago_ns, scratch);
	if (out->owner_is_lost)
		return; /* what it was at, it is at in another process */
	facts->doing = (struct tetheri_text){.bytes = tetheri_scratch_take(scratch, DOING_BYTES), .size = DOING_BYTES};
	if (doing == (uintptr_t)&tetheri_message_type)
		facts->doing_fn = (uintptr_t)atomic_load_explicit(&slot->doing_fn, memory_order_relaxed);
	tell_tid(out, slot, scratch);
	out->owner_pending = tetheri_stats_pending(slot);
	if (drained)
		out->owner_drained_ns = now > drained ? now - drained : 0;
	if (facts->doing.bytes) {
		tetheri_story_doing(slot, &facts->doing);
		out->owner_doing = facts->doing.bytes;
	}
}

static void tell_other(struct tether_report *out, struct tetheri_scratch *scratch)
{
	struct tetheri_who other;

	if (!out->other)
		return;
	tetheri_owner_describe(out->other, &other);
	out->other_number = other.number;
	out->other_name = other.number ? copy_name(other.name, scratch) : NULL;
	out->other_role = tetheri_other_role(out->kind);
}

/* Who is inside of a logical owner is itself known by name. */
static void tell_thread(struct tether_report *out, struct tetheri_scratch *scratch)
{
	struct tetheri_who own;

	if (tetheri_thread.slot == tetheri_thread.own)
		return;
	out->thread = atomic_load_explicit(&tetheri_thread.own->id, memory_order_relaxed);
	tetheri_owner_describe(out->thread, &own);
	out->thread_number = own.number;
	out->thread_name = copy_name(own.name, scratch);
}

static void tell_owners(struct tether_report *out, struct tetheri_scratch *scratch, struct facts *facts)
{
	struct tetheri_who owner, caller;

	tetheri_owner_describe(out->owner, &owner);
	tetheri_owner_describe(out->caller, &caller);
	out->owner_number = owner.number;
	out->owner_name = owner.number ? copy_name(owner.name, scratch) : NULL;
	out->owner_is_alive = owner.alive;
	out->owner_is_lost = owner.lost;
	out->caller_number = caller.number;
	out->caller_name = caller.number ? copy_name(caller.name, scratch) : NULL;
	if (owner.slot)
		tell_slot(out, owner.slot, scratch, facts);
	tell_thread(out, scratch);
	tell_other(out, scratch);
}

/* What an owner is at, and its name, are told once for all of its rows. */
static void tell_left_of(struct tether_left *out, struct tetheri_scratch *scratch)
{
	struct tetheri_text doing = {.bytes = tetheri_scratch_take(scratch, DOING_BYTES), .size = DOING_BYTES};
	struct tetheri_who who;

	tetheri_owner_describe(out->owner, &who);
	out->owner_number = who.number;
	out->owner_name = who.number ? copy_name(who.name, scratch) : NULL;
	if (who.slot && doing.bytes) {
		tetheri_story_doing(who.slot, &doing);
		out->owner_doing = doing.bytes;
	}
}

static const char *type_name(const struct tether_type *type)
{
	if (!type || type == &tetheri_message_type || tetheri_type_in_module(type))
		return type ? type->name : NULL;
	return "(of a module that has gone)";
}

static void tell_left(struct tether_report *out, const struct tetheri_event *event, struct tetheri_scratch *scratch)
{
	struct tether_left *left = event->left_count > 0 ? tetheri_scratch_take(scratch, event->left_count * sizeof *left) : NULL;

	out->left = left;
	out->left_more = event->left_more;
	for (size_t i = 0; left && i < event->left_count; i++) {
		bool is_same = i > 0 && left[i - 1].owner == event->left[i].owner;
		left[i] = is_same ? left[i - 1] : (struct tether_left){.owner = event->left[i].owner};
		left[i].type = type_name(event->left[i].type);
		left[i].count = event->left[i].count;
		if (!is_same)
			tell_left_of(&left[i], scratch);
		out->left_count = i + 1;
	}
}

/* ---- The object ------------------------------------------------------------------------------ */

static void tell_history(struct tether_report *out, const struct facts *facts, struct tetheri_scratch *scratch,
                         struct tetheri_path *path)
{
	const struct tetheri_side *side = facts->side;
	struct tether_event *events = tetheri_scratch_take(scratch, TETHER_HISTORY_EVENTS * sizeof *events);
	struct tetheri_who who;
	uint64_t ago_ns;
	size_t n = 0;

	/* What was noted before the option was last switched on may be of another object: its end went unseen. */
	uint64_t since = atomic_load_explicit(&tetheri_history_since, memory_order_relaxed);
	for (; events && n < TETHER_HISTORY_EVENTS && side->event[n].kind != TETHER_EVENT_NONE; n++) {
		const struct tetheri_side_event *event = &side->event[n];
		if (event->when_ns < since)
			break;

		bool has_owner = !(event->by & TETHERI_NO_OWNER_BIT);
		tetheri_owner_describe(has_owner ? event->by : 0, &who);
		events[n] = (struct tether_event){.kind = event->kind,
		                                  .by = has_owner ? event->by : 0,
		                                  .by_tid = has_owner ? 0 : (int)(event->by & ~TETHERI_NO_OWNER_BIT),
		                                  .by_number = who.number,
		                                  .by_name = who.number ? copy_name(who.name, scratch) : NULL,
		                                  .ago_ns = facts->now > event->when_ns ? facts->now - event->when_ns : 0,
		                                  .at = symbols_of(origin_stack(event->at, &ago_ns, scratch), scratch, path)};
	}
	out->history = events;
	out->history_count = n;
	out->history_forgotten = side->forgotten;
}

/* Of a descriptor: "17". */
static const char *number_label(int fd, struct tetheri_scratch *scratch)
{
	struct tetheri_text text = {.bytes = tetheri_scratch_take(scratch, NUMBER_BYTES), .size = NUMBER_BYTES};

	if (text.bytes)
		tetheri_put(&text, "%d", fd);
	return text.bytes;
}

static void tell_object(struct tether_report *out, const struct tetheri_event *event, struct tetheri_scratch *scratch,
                        struct facts *facts)
{
	struct tetheri_side *side = tetheri_scratch_take(scratch, sizeof *side);

	if (event->type) {
		out->object = (const char *)event->tag - event->type->offset;
		out->object_bytes = event->type->size;
	}
	facts->bound = origin_stack(event->origin, &out->bound_ns, scratch);
	if (tetheri_fd_number(event->type, event->tag) >= 0)
		out->label = number_label(tetheri_fd_number(event->type, event->tag), scratch);
	if (!side || !event->type || !tetheri_side_read(event->tag, side))
		return;
	if ((event->word & TETHERI_LABELLED) && side->label[0])
		out->label = side->label;
	if (tetheri_option(history))
		facts->side = side;
}

/* ---- The call -------------------------------------------------------------------------------- */

/* Who sends to a stalled owner is told from inside of what it called: its stack begins with the call. */
static void skip_library(struct tether_report *out)
{
	static const struct {
		const char *function, *operation;
	} calls[] = {
		{"tether_drop", "drop"}, {"tether_drop_later", "drop_later"}, {"tether_post", "post"}, {"tether_ref_put", "ref_put"}};
	size_t n = sizeof calls / sizeof *calls;

	for (size_t i = 0; i + 1 < out->at.count; i++)
		for (size_t k = 0; k < n && out->at.frames[i].function; k++) {
			if (strcmp(out->at.frames[i].function, calls[k].function) != 0)
				continue;
			out->operation = calls[k].operation;
			out->at.frames += i + 1;
			out->at.count -= i + 1;
			return;
		}
}

/* Is the check where the first address says? Not if it is a function's last call: then that has become a jump, and the first
 * address is the caller's; nor without symbols. */
static bool has_check(const struct tether_stack *at, const struct tetheri_event *event)
{
	for (size_t i = 0; i < at->count && at->frames[i].address == event->address; i++)
		if (at->frames[i].file && at->frames[i].line == event->line &&
		    strcmp(tetheri_path_base(at->frames[i].file), tetheri_path_base(event->file)) == 0)
			return true;
	return false;
}

/* What the check itself says comes first. */
static void add_check(struct tether_report *out, const struct tetheri_event *event, struct tetheri_scratch *scratch,
                      struct tetheri_path *path)
{
	if (!event->file || has_check(&out->at, event))
		return;
	struct tether_frame *frames = tetheri_scratch_take(scratch, (out->at.count + 1) * sizeof *frames);
	if (!frames)
		return;
	frames[0] =
		(struct tether_frame){.function = event->function, .file = tetheri_path_tidy(path, event->file), .line = event->line};
	if (out->at.count > 0)
		memcpy(&frames[1], out->at.frames, out->at.count * sizeof *frames);
	out->at.frames = frames;
	out->at.count++;
}

static uintptr_t destructor_of(const struct tether_type *type)
{
	if (!type)
		return 0;
	return type->destroy ? (uintptr_t)type->destroy : (uintptr_t)type->destroy_with;
}

/* The function's name: look-ups are for return addresses, one behind. */
static const char *function_name(uintptr_t function, struct tetheri_scratch *scratch)
{
	struct tether_frame frames[4];
	size_t n = tetheri_symbol_frames(function + 1, frames, sizeof frames / sizeof *frames, scratch);

	return n > 0 ? frames[n - 1].function : NULL;
}

static void name_doing(struct facts *facts, struct tetheri_scratch *scratch)
{
	const char *name = facts->doing.bytes && facts->doing_fn ? function_name(facts->doing_fn, scratch) : NULL;

	if (name)
		tetheri_put(&facts->doing, " (%.200s)", name);
}

/* Is the type's destructor among the callers, though nobody runs a destructor? Then the program called it. */
static bool is_destroying(const struct tether_report *out, const struct tetheri_event *event, const struct tetheri_stacks *stacks,
                          const char *destructor)
{
	uintptr_t start = destructor_of(event->type);

	if (event->kind != TETHER_WRONG_THREAD || !start || tetheri_in_destructor())
		return false;
	for (size_t i = 0; i < stacks->at.depth; i++)
		if (stacks->functions[i] == start)
			return true;
	for (size_t i = 0; destructor && i < out->at.count; i++)
		if (out->at.frames[i].function && strcmp(out->at.frames[i].function, destructor) == 0)
			return true;
	return false;
}

void tetheri_story_tell(const struct tetheri_event *event, enum tether_level level, const struct tetheri_stacks *stacks,
                        struct tetheri_scratch *scratch, struct tether_report *out)
{
	struct facts facts = {.now = tetheri_now()};
	struct tetheri_path path;
	const char *destructor = NULL;

	*out = (struct tether_report){.kind = event->kind,
	                              .level = level,
	                              .operation = event->operation,
	                              .error = event->error,
	                              .object = event->tag,
	                              .type = event->type ? event->type->name : NULL,
	                              .owner = event->owner,
	                              .other = event->other,
	                              .caller = tether_self_ == TETHER_NOBODY_ ? 0 : tether_self_,
	                              .file = event->file,
	                              .line = event->line,
	                              .function = event->function,
	                              .address = event->address,
	                              .pid = (int)getpid(),
	                              .caller_tid = (int)syscall(SYS_gettid),
	                              .owner_drained_ns = UINT64_MAX,
	                              .bound_ns = UINT64_MAX};
	tell_owners(out, scratch, &facts);
	tell_left(out, event, scratch);
	if (event->tag)
		tell_object(out, event, scratch, &facts);
	tetheri_path_start(&path, scratch);
	out->at = symbols_of(&stacks->at, scratch, &path);
	add_check(out, event, scratch, &path);
	if (event->kind == TETHER_STALLED || event->kind == TETHER_RESTLESS || event->kind == TETHER_LEFT_OVER)
		skip_library(out);
	out->bound = symbols_of(facts.bound, scratch, &path);
	out->owner_made = symbols_of(facts.made, scratch, &path);
	name_doing(&facts, scratch);
	if (facts.side)
		tell_history(out, &facts, scratch, &path);
	if (event->kind == TETHER_WRONG_THREAD && destructor_of(event->type))
		destructor = function_name(destructor_of(event->type), scratch);
	if (is_destroying(out, event, stacks, destructor))
		out->kind = TETHER_WRONG_THREAD_DROP;
	tetheri_words_fill(out, destructor, scratch);
}
