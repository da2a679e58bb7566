/* report.c - report.h alone: a callback that reads every field, the level, the counters.
 * SPDX-License-Identifier: MIT */
#include <tether/report.h>

struct seen {
	struct tether_report last;
	size_t text_bytes;
	uint64_t people;
	const void *where;
};

static void on_report(const struct tether_report *report, void *context)
{
	struct seen *seen = (struct seen *)context;

	seen->last = *report;
	seen->text_bytes += report->text && report->operation ? report->text_bytes : 0;
	if (report->kind == TETHER_WRONG_THREAD && report->level == TETHER_WARN && report->owner_is_alive && report->type)
		seen->people += report->owner != report->caller ? report->owner_number : report->caller_number;
	for (size_t i = 0; i < report->left_count; i++)
		if (report->left[i].type && report->left[i].owner_name && report->left[i].owner_doing)
			seen->people += report->left[i].count + report->left[i].owner_number + report->left_more;
	if (report->owner_name && report->caller_name && report->file && report->function && report->line > 0)
		seen->where = report->object ? report->object : report->address;
}

uint64_t use(struct seen *seen);
uint64_t use(struct seen *seen)
{
	struct tether_counters all;

	tether_set_report_callback(on_report, seen);
	tether_set_level(TETHER_WARN);
	if (tether_stats(0, &all) != 0 || all.queued != all.run_home + all.orphaned + all.pending)
		return 0;
	return all.bound + all.failed_checks + all.dropped_here + all.sent + all.leaked + all.wakeups;
}
