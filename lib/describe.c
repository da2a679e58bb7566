/* describe.c - one object in a line, and all owners in a table: for logs, and for people with a debugger.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "fd.h"
#include "path.h"
#include "report.h"
#include "sink.h"
#include "symbol.h"

#define DUMP_BYTES (64 << 10)
#define LINE_BYTES 1024

static const char *state_name(enum tetheri_state state)
{
	static const char *const names[] = {[TETHERI_ZERO] = "never bound",
	                                    [TETHERI_UNBOUND] = "nobody's",
	                                    [TETHERI_BOUND] = "bound",
	                                    [TETHERI_MOVING] = "changing its owner",
	                                    [TETHERI_MOVING_DROPPED] = "dropped while it changed its owner",
	                                    [TETHERI_LENT] = "lent",
	                                    [TETHERI_LENT_DROPPED] = "lent, and dropped meanwhile",
	                                    [TETHERI_SHARED] = "shared",
	                                    [TETHERI_TRANSIT] = "on its way to another owner",
	                                    [TETHERI_TRANSIT_DROPPED] = "dropped on its way to another owner",
	                                    [TETHERI_FOLLOWS] = "follows its parent",
	                                    [TETHERI_FOLLOWS_DROPPED] = "dropped",
	                                    [TETHERI_DROPPED] = "dropped",
	                                    [TETHERI_DEAD] = "destroyed"};

	return names[state];
}

static void put_who(struct tetheri_text *text, tether_owner_t id)
{
	struct tetheri_who who;

	tetheri_owner_describe(id, &who);
	tetheri_put_owner(text, who.number, who.name);
	if (who.lost)
		tetheri_put(text, ", did not survive the fork");
	else if (who.number && !who.alive)
		tetheri_put(text, ", exited");
}

static void put_where(struct tetheri_text *text, const struct tether *tag, struct tetheri_scratch *scratch)
{
	struct tetheri_stack *stack = tetheri_scratch_take(scratch, sizeof *stack);
	struct tether_frame frame;
	struct tetheri_path path;
	uint64_t ago_ns = UINT64_MAX;

	if (!stack || !tetheri_origin_read(tetheri_tag_origin(tag), stack, &ago_ns) || stack->depth == 0 ||
	    tetheri_symbol_frames(stack->pc[0], &frame, 1, scratch) == 0)
		return;
	tetheri_put(text, ", bound ");
	if (ago_ns != UINT64_MAX) {
		tetheri_put_age(text, ago_ns);
		tetheri_put(text, " ago ");
	}
	tetheri_put(text, "in %s", frame.function ? frame.function : "??");
	tetheri_path_start(&path, scratch);
	if (frame.file)
		tetheri_put(text, " %s:%d", tetheri_path_tidy(&path, frame.file), frame.line);
}

static void put_tag(struct tetheri_text *text, const struct tether *tag, struct tetheri_scratch *scratch)
{
	/* Acquire: as in tetheri_report_tag. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	struct tetheri_side *side = scratch ? tetheri_scratch_take(scratch, sizeof *side) : NULL;

	if (word == 0) {
		tetheri_put(text, "%p: never bound", (const void *)tag);
		return;
	}
	if (!tetheri_word_is_tag(tag, word)) {
		tetheri_put(text, "%p: not a tag, or overwritten", (const void *)tag);
		return;
	}
	const struct tether_type *type = tetheri_word_type(word);
	/* Nothing keeps the module of a type whose objects have all gone. */
	bool is_named = tetheri_word_state(word) != TETHERI_DEAD || tetheri_type_in_module(type);
	if (!is_named) {
		tetheri_put(text, "%p: a destroyed object", (const void *)tag);
		return;
	}
	tetheri_put(text, "%.200s %p", tetheri_type_word(type->name), (const void *)((const char *)tag - type->offset));
	if ((word & TETHERI_LABELLED) && side && tetheri_side_read(tag, side) && side->label[0])
		tetheri_put(text, " \"%s\"", side->label);
	else if (tetheri_fd_number(type, tag) >= 0)
		tetheri_put(text, " \"%d\"", tetheri_fd_number(type, tag));
	tetheri_put(text, ": %s", state_name(tetheri_word_state(word)));
	if (tetheri_tag_home(tag)) {
		tetheri_put(text, ", of ");
		put_who(text, tetheri_tag_home(tag));
	}
	if (tetheri_use_of(tag)) {
		tetheri_put(text, ", in use by ");
		put_who(text, tetheri_use_of(tag));
	}
	if (scratch && tetheri_has_stack())
		put_where(text, tag, scratch);
}

size_t tether_describe(const struct tether *tag, char *buffer, size_t size)
{
	struct tetheri_text text = {.bytes = buffer, .size = size};
	struct tetheri_scratch *scratch = tetheri_scratch_get();
	int saved_errno = errno;

	if (size > 0)
		buffer[0] = '\0';
	if (tag)
		put_tag(&text, tag, scratch);
	else
		tetheri_put(&text, "no object");
	if (scratch)
		tetheri_scratch_put(scratch);
	errno = saved_errno;
	return text.used;
}

size_t tether_describe_owner(tether_owner_t owner, char *buffer, size_t size)
{
	struct tetheri_text text = {.bytes = buffer, .size = size};

	if (size > 0)
		buffer[0] = '\0';
	put_who(&text, owner);
	return text.used;
}

/* ---- All owners ------------------------------------------------------------------------------ */

/* Where it runs. */
static void put_thread(struct tetheri_text *text, const struct tetheri_slot *slot)
{
	tether_owner_t inside = tetheri_logical_inside(slot);

	if (inside == 0) {
		tetheri_put(text, ", tid %d", atomic_load_explicit(&slot->tid, memory_order_relaxed));
	} else if (inside == atomic_load_explicit(&slot->id, memory_order_relaxed)) {
		tetheri_put(text, ", nobody inside");
	} else {
		tetheri_put(text, ", inside: ");
		put_who(text, inside);
	}
}

static void put_slot(struct tetheri_text *text, const struct tetheri_slot *slot)
{
	uint64_t drained = atomic_load_explicit(&slot->drained, memory_order_relaxed);
	uint64_t now = tetheri_now_coarse();
	bool is_open = tetheri_slot_is_open(slot);
	uint64_t pending = tetheri_stats_pending(slot);
	uint64_t id = atomic_load_explicit(&slot->id, memory_order_relaxed);
	bool is_lost = tetheri_owner_is_lost(id);

	if (!is_open && pending == 0 && !is_lost)
		return;
	tetheri_put(text, "  ");
	put_who(text, id);
	if (is_lost) {
		tetheri_put(text, "\n");
		return;
	}
	put_thread(text, slot);
	tetheri_put(text, ": %llu pending, ", (unsigned long long)pending);
	if (drained && now < drained + TETHERI_TICK_NS) {
		tetheri_put(text, "drained just now, ");
	} else if (drained) {
		tetheri_put(text, "drained ");
		tetheri_put_age(text, now - drained);
		tetheri_put(text, " ago, ");
	} else {
		tetheri_put(text, "never drained, ");
	}
	tetheri_story_doing(slot, text);
	tetheri_put(text, "\n");
}

void tether_dump(void)
{
	struct tetheri_scratch *scratch = tetheri_scratch_get();
	struct tetheri_text text = {.bytes = scratch ? tetheri_scratch_take(scratch, DUMP_BYTES) : NULL, .size = DUMP_BYTES};
	uint32_t size = tetheri_table_size();
	int saved_errno = errno, cancel_state;

	tetheri_options_load(); /* where it is written */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	if (text.bytes) {
		tetheri_put(&text, "==%d== tether: owners:\n", (int)getpid());
		for (uint32_t i = 0; i < size; i++) {
			put_slot(&text, tetheri_table_at(i));
			tetheri_sink_make_room(&text, LINE_BYTES);
		}
		tetheri_sink_write_text(text.bytes, tetheri_text_length(&text));
	}
	if (scratch)
		tetheri_scratch_put(scratch);
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
}
