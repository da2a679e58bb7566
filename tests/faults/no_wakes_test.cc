/* no_wakes_test.cc - where the kernel forbids eventfd and pipe (run by without), that is said, and nothing is lost.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

namespace
{

class NoWakes : public Quiet
{
protected:
	Thread home;
};

TEST_F(NoWakes, AreSaidWithWhatTheKernelSaid)
{
	home.run([] {
		errno = 4242;
		EXPECT_EQ(tether_fd(), -EPERM);
		EXPECT_EQ(errno, 4242);
		EXPECT_STREQ(tether_wake_name(), "none");
		EXPECT_FALSE(tether_park()) << "nothing could wake it";
	});
	std::vector<Caught> caught = reports.take();

	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_NO_WAKE);
	EXPECT_EQ(caught[0].report.error, EPERM);
	EXPECT_NE(caught[0].verdict.find("the kernel refuses eventfd and pipe (errno 1)"), std::string::npos) << caught[0].verdict;
}

TEST_F(NoWakes, AreNotWantedByDrops)
{
	Thing thing;

	home.run([&] { tether_bind(&thing.tether, &thing_type); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(thing.ended_once_on(home.id()));
}

TEST_F(NoWakes, AreReplacedByOnesOwn)
{
	static std::atomic<int> calls;
	Note note;

	calls = 0;
	home.run([] {
		EXPECT_EQ(tether_set_wake([](void *) { calls++; }, nullptr), 0);
		EXPECT_STREQ(tether_wake_name(), "own");
	});
	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(calls, 1);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
}

} // namespace
