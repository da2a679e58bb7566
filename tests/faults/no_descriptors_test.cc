/* no_descriptors_test.cc - a process that can open nothing more drains on each turn of its loop instead.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <fcntl.h>
#include <sys/resource.h>

namespace
{

class NoDescriptors : public Quiet
{
protected:
	Thread home;

	void SetUp() override
	{
		struct rlimit none;

		Quiet::SetUp();
		home.owner();
		ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved_), 0);
		none = {0, saved_.rlim_max};
		ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
		ASSERT_EQ(open("/dev/null", O_RDONLY | O_CLOEXEC), -1) << "the fault is not there";
	}
	void TearDown() override
	{
		restore();
		Quiet::TearDown();
	}
	void restore() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &saved_), 0); }

private:
	struct rlimit saved_ = {};
};

TEST_F(NoDescriptors, IsSaidAndReported)
{
	home.run([] {
		errno = 4242;
		EXPECT_EQ(tether_fd(), -EMFILE);
		EXPECT_EQ(errno, 4242);
	});

	std::vector<Caught> caught = reports.take();

	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_NO_WAKE);
	EXPECT_EQ(caught[0].report.caller, home.owner());
	EXPECT_EQ(caught[0].report.error, EMFILE);
	EXPECT_NE(caught[0].verdict.find("descriptors have run out"), std::string::npos) << caught[0].verdict;
	EXPECT_NE(caught[0].text.find("tether_drain()"), std::string::npos) << "it says what to do";
	home.run([] { EXPECT_STREQ(tether_wake_name(), "none"); });
}

TEST_F(NoDescriptors, DrainingOnEachTurnHandlesEverything)
{
	Thing things[3];

	home.run([&] {
		EXPECT_EQ(tether_fd(), -EMFILE);
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	});
	for (Thing &thing : things) {
		home.run([] { EXPECT_FALSE(tether_park()) << "nothing could wake it"; });
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		home.run([] {
			tether_unpark();
			EXPECT_EQ(tether_drain(0), 1U);
		});
		EXPECT_TRUE(thing.ended_once_on(home.id()));
	}
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_WAKE});
	EXPECT_EQ(stats(home.owner()).wakeups, 0U);
}

TEST_F(NoDescriptors, AWakeOfOnesOwnNeedsNone)
{
	static std::atomic<int> calls;
	Note note;

	calls = 0;
	home.run([] { EXPECT_EQ(tether_set_wake([](void *) { calls++; }, nullptr), 0); });
	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(calls, 1);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
}

TEST_F(NoDescriptors, TheNextCallMayHaveMoreLuck)
{
	Note note;
	int fd = -1;

	home.run([] { EXPECT_EQ(tether_fd(), -EMFILE); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_WAKE});
	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	restore();
	home.run([&] { fd = tether_fd(); });
	EXPECT_GE(fd, 0);
	EXPECT_TRUE(is_readable(fd));
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_FALSE(is_readable(fd));
}

} // namespace
