/* summary.c - the last word at exit: what was reported, what was lost, what was never dropped.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "report.h"
#include "sink.h"
#include "suppress.h"

#define TEXT_BYTES (64 << 10)
#define LINE_BYTES (32 << 10) /* for a line, and for all suppressions that were used */

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void put_pending(struct tetheri_text *text)
{
	uint32_t size = tetheri_table_size();
	struct tetheri_who who;

	for (uint32_t i = 0; i < size; i++) {
		const struct tetheri_slot *slot = tetheri_table_at(i);
		uint64_t pending = tetheri_stats_pending(slot);
		if (pending == 0)
			continue;
		tetheri_owner_describe(atomic_load_explicit(&slot->id, memory_order_relaxed), &who);
		tetheri_put(text, "  pending for '%s' (owner #%llu): %llu\n", who.name, (unsigned long long)who.number,
		            (unsigned long long)pending);
		tetheri_sink_make_room(text, LINE_BYTES);
	}
}

static void put_never_ended(struct tetheri_text *text)
{
	const struct tether_type *type;
	unsigned at = 0;

	while ((type = tetheri_type_never_ended(&at))) {
		tetheri_put(text, "  bound but never destroyed: objects of the type %.200s\n", type->name);
		tetheri_sink_make_room(text, LINE_BYTES);
	}
}

static void put_summary(struct tetheri_text *text, const struct tether_counters *total)
{
	tetheri_put(text, "==%d== tether: at exit: %llu reports, %llu repeats, %llu suppressed, %llu leaked, %llu pending\n",
	            (int)getpid(), (unsigned long long)get(&tetheri_told.printed), (unsigned long long)get(&tetheri_told.repeated),
	            (unsigned long long)tetheri_suppress_total(), (unsigned long long)total->leaked,
	            (unsigned long long)total->pending);
	put_pending(text);
	put_never_ended(text);
	tetheri_suppress_put(text);
	if (tetheri_sink_lost() > 0)
		tetheri_put(text, "  could not be written: %llu texts\n", (unsigned long long)tetheri_sink_lost());
	if (tetheri_sink_out_of_turn() > 0)
		tetheri_put(text, "  written out of turn: %llu texts\n", (unsigned long long)tetheri_sink_out_of_turn());
	if (tetheri_origin_lost() > 0)
		tetheri_put(text, "  found no room: %llu stacks of binds\n", (unsigned long long)tetheri_origin_lost());
	if (tetheri_side_lost() > 0)
		tetheri_put(text, "  found no room: %llu events of histories\n", (unsigned long long)tetheri_side_lost());
}

void tetheri_summary_at_exit(void)
{
	struct tether_counters total;
	struct tetheri_scratch *scratch;

	(void)tether_stats(0, &total);
	bool has_told = get(&tetheri_told.printed) || get(&tetheri_told.repeated) || tetheri_suppress_total();
	if (!has_told && total.pending == 0 && total.leaked == 0)
		return;
	if (!tetheri_option(exit_summary) || tetheri_option(level) == TETHER_COUNT || !(scratch = tetheri_scratch_get()))
		return;
	struct tetheri_text text = {.bytes = tetheri_scratch_take(scratch, TEXT_BYTES), .size = TEXT_BYTES};
	if (text.bytes) {
		put_summary(&text, &total);
		tetheri_sink_write_text(text.bytes, tetheri_text_length(&text));
	}
	tetheri_scratch_put(scratch);
}

/* Not fflush(NULL): a thread may sit in a read of some stream for ever, and hold its lock. */
static void flush_stream(FILE *stream)
{
	if (ftrylockfile(stream) != 0)
		return;
	(void)fflush_unlocked(stream);
	funlockfile(stream);
}

/* After the handlers of atexit(), as nothing but _exit() can change the status there. */
__attribute__((destructor)) static void set_exit_status(void)
{
	if (tetheri_option(exit_code) == 0 || get(&tetheri_told.printed) == 0)
		return;
	flush_stream(stdout);
	flush_stream(stderr);
	_exit(tetheri_option(exit_code));
}
