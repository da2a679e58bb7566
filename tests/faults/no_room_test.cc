/* no_room_test.cc - the kernel has no memory for labels and history: said, counted, and nothing else is hurt.
 * SPDX-License-Identifier: MIT
 *
 * Linked with --wrap=syscall, so that the library's own requests come here. */
#include "../support.h"

#include <sys/syscall.h>

#include <deque>

namespace
{

size_t requests_granted = SIZE_MAX; /* of what is asked for from now on */

bool refuses(long number)
{
	if (number != SYS_mmap || requests_granted == SIZE_MAX)
		return false;
	if (requests_granted == 0)
		return true;
	requests_granted--;
	return false;
}

} // namespace

extern "C" {
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (refuses(number)) {
		errno = ENOMEM;
		return -1;
	}
	return __real_syscall(number, a, b, c, d, e, f);
}
}

namespace
{

/* In this order: what was mapped once stays. */
class NoRoom : public Quiet
{
protected:
	/* Label it; the kernel grants so many requests meanwhile. */
	static int label(Thing *thing, const char *label, size_t granted)
	{
		errno = 77;
		requests_granted = granted;
		int result = tether_set_label(&thing->tether, label);
		requests_granted = SIZE_MAX;
		EXPECT_EQ(errno, 77);
		return result;
	}
	static void bind(Thing *thing, size_t granted)
	{
		requests_granted = granted;
		tether_bind(&thing->tether, &thing_type);
		requests_granted = SIZE_MAX;
	}
	size_t history_of(const struct tether *tag)
	{
		size_t events = 0;

		tether_set_report_callback(
			[](const struct tether_report *report, void *context) { *static_cast<size_t *>(context) = report->history_count; },
			&events);
		elsewhere([&] { TETHER_CHECK(tag); });
		tether_set_report_callback(nullptr, nullptr);
		return events;
	}
};

TEST_F(NoRoom, LabelIsRefusedUntilThereIsSome)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	for (size_t granted : {0, 1}) {
		EXPECT_EQ(label(&thing, "refused", granted), -ENOMEM) << granted;
		EXPECT_FALSE(shows(&thing.tether, "refused"));
		EXPECT_EQ(label(&thing, nullptr, 0), 0) << "nothing to take away";
	}
	EXPECT_EQ(label(&thing, "granted", SIZE_MAX), 0);
	EXPECT_TRUE(shows(&thing.tether, "granted"));
	tether_fini(&thing.tether);
}

TEST_F(NoRoom, LabelsOfTheLivingStayAndPlacesOfTheDeadAreUsed)
{
	std::deque<Thing> things;
	Thing last;

	do {
		things.emplace_back();
		tether_bind(&things.back().tether, &thing_type);
	} while (label(&things.back(), std::to_string(things.size()).c_str(), things.size() == 1 ? SIZE_MAX : 0) == 0);
	EXPECT_GT(things.size(), 100U) << "one table has room for more";
	for (size_t i = 0; i + 1 < things.size(); i++) {
		ASSERT_TRUE(shows(&things[i].tether, std::to_string(i + 1))) << i;
		tether_fini(&things[i].tether);
	}
	EXPECT_EQ(label(&things.back(), "now", 0), 0);
	EXPECT_TRUE(shows(&things.back().tether, "now"));
	tether_fini(&things.back().tether);
}

TEST_F(NoRoom, HistoryOfTheNewestReplacesThatOfTheOldest)
{
	std::deque<Thing> things(8000);
	size_t kept = 0;

	ASSERT_EQ(tether_set_option("history", "1"), 0);
	tether_bind(&things[0].tether, &thing_type);
	EXPECT_EQ(tether_set_label(&things[0].tether, "kept"), 0);
	for (size_t i = 1; i < things.size(); i++) {
		bind(&things[i], 0);
		if (i % 1000 == 0) {
			EXPECT_EQ(history_of(&things[i].tether), 1U) << i;
		}
	}
	for (size_t i = 0; i < 1000; i++)
		kept += history_of(&things[i].tether);
	EXPECT_LT(kept, 900U) << "of the oldest";
	EXPECT_TRUE(shows(&things[0].tether, "kept"));
	EXPECT_EQ(history_of(&things[0].tether), 1U) << "who has a label keeps it all";
	ASSERT_EQ(tether_set_option("history", "0"), 0);
	for (Thing &thing : things)
		tether_fini(&thing.tether);
}

} // namespace
