/* stall_test.cc - an owner that does not drain is told of: once per episode, by who sends to it.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <deque>

namespace
{

const std::chrono::milliseconds stall(30), longer(80); /* the kernel's coarse clock ticks every 4 ms */

class Stall : public Quiet
{
protected:
	void SetUp() override
	{
		Quiet::SetUp();
		ASSERT_EQ(tether_set_option("stall_ms", std::to_string(stall.count()).c_str()), 0);
		home.run([] { tether_self_set_name("the home"); });
	}
	void TearDown() override
	{
		home.run([] { tether_drain(0); });
		EXPECT_EQ(tether_set_option("queue_warn", "0"), 0);
		Quiet::TearDown();
	}

	/* Objects of the home that are dropped here. */
	void drop(size_t count)
	{
		size_t first = things.size();

		for (size_t i = 0; i < count; i++)
			things.emplace_back();
		home.run([&] {
			for (size_t i = first; i < things.size(); i++)
				tether_bind(&things[i].tether, &thing_type);
		});
		for (size_t i = first; i < things.size(); i++)
			EXPECT_EQ(tether_drop(&things[i].tether), TETHER_QUEUED);
	}

	Caught take_one()
	{
		std::vector<Caught> caught = reports.take();

		EXPECT_EQ(caught.size(), 1U);
		caught.resize(1);
		return caught[0];
	}

	/* What happens in less than a stall, by far, is told of nobody. Where a busy machine held us up, it proves
	 * nothing: once more. */
	void expect_quiet(
		const std::function<void()> &work, const std::function<void()> &before = [] {})
	{
		for (;;) {
			before();

			auto since = std::chrono::steady_clock::now();

			work();

			bool in_time = std::chrono::steady_clock::now() - since < stall / 2;
			Kinds told = reports.take_kinds();

			if (in_time) {
				EXPECT_EQ(told, Kinds{});
				return;
			}
		}
	}

	std::deque<Thing> things;
	Thread home;
};

TEST_F(Stall, IsToldOnceByWhoSends)
{
	drop(1);
	EXPECT_EQ(reports.take_kinds(), Kinds{}) << "nothing is old yet";
	std::this_thread::sleep_for(longer);
	drop(30);

	Caught caught = take_one();

	EXPECT_EQ(caught.report.kind, TETHER_STALLED);
	EXPECT_EQ(caught.report.owner, home.owner());
	EXPECT_EQ(caught.owner_name, "the home");
	EXPECT_TRUE(caught.report.owner_is_alive);
	EXPECT_EQ(caught.report.caller, tether_self());
	EXPECT_GE(caught.report.owner_pending, 2U);
	EXPECT_EQ(caught.report.owner_drained_ns, UINT64_MAX) << "it never has";
	EXPECT_EQ(caught.report.object, nullptr);
	EXPECT_EQ(caught.text.find("inbox.c"), std::string::npos) << "what is to blame is not the library\n" << caught.text;
	EXPECT_NE(caught.text.find("'the home'"), std::string::npos) << caught.text;
	EXPECT_NE(caught.text.find("never drained"), std::string::npos) << caught.text;
	EXPECT_NE(caught.advice.find("it has never drained"), std::string::npos) << caught.advice;
}

TEST_F(Stall, IsToldAgainInItsNextEpisode)
{
	for (int episode = 0; episode < 3; episode++) {
		drop(1);
		std::this_thread::sleep_for(longer);
		drop(100);
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_STALLED});
		drop(200);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
		home.run([] { EXPECT_EQ(tether_drain(0), 301U); });
	}
}

TEST_F(Stall, SaysWhatTheOwnerIsDoing)
{
	std::atomic<bool> is_in{false}, may_go{false};
	Thing slow([&] {
		is_in = true;
		while (!may_go)
			sched_yield();
	});
	Thing next[2];
	std::thread owner([&] {
		tether_bind(&slow.tether, &thing_type);
		for (Thing &thing : next)
			tether_bind(&thing.tether, &thing_type);
		tether_drain(0);
		tether_drop(&slow.tether);
	});

	while (!is_in)
		sched_yield();
	EXPECT_EQ(tether_drop(&next[0].tether), TETHER_QUEUED);
	std::this_thread::sleep_for(longer);
	EXPECT_EQ(tether_drop(&next[1].tether), TETHER_QUEUED);
	may_go = true;
	owner.join();

	Caught caught = take_one();

	EXPECT_EQ(caught.doing, "is destroying a Thing");
	EXPECT_GE(caught.report.owner_drained_ns, static_cast<uint64_t>(std::chrono::nanoseconds(stall).count()));
	EXPECT_LT(caught.report.owner_drained_ns, UINT64_C(3600000000000));
}

TEST_F(Stall, IsNotToldOfAnOwnerThatDrains)
{
	auto drain_five = [&] { home.run([] { EXPECT_EQ(tether_drain(0), 5U); }); };

	for (int turn = 0; turn < 20; turn++)
		expect_quiet([&] {
			drop(5);
			std::this_thread::sleep_for(stall / 10);
			drain_five();
		});
	/* Nor of one to which nothing was sent for long: what is pending is new. */
	expect_quiet(
		[&] {
			drop(5);
			drain_five();
		},
		[] { std::this_thread::sleep_for(longer); });
}

TEST_F(Stall, IsToldOfAnOwnerThatOnlyNibbles)
{
	expect_quiet(
		[&] {
			drop(20);
			home.run([] { EXPECT_EQ(tether_drain(1), 1U); }); /* it has taken all, and handled one */
			drop(1);
		},
		[&] { home.run([] { tether_drain(0); }); });
	for (std::chrono::milliseconds waited(0); waited < longer; waited += stall / 3) {
		std::this_thread::sleep_for(stall / 3);
		home.run([] { EXPECT_EQ(tether_drain(1), 1U); });
	}
	drop(1);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_STALLED});
}

TEST_F(Stall, IsNotToldOfWhatAnOwnerSendsToItself)
{
	home.run([&] {
		Thing thing[8];

		for (Thing &one : thing)
			tether_bind(&one.tether, &thing_type);
		EXPECT_EQ(tether_drop_later(&thing[0].tether), TETHER_QUEUED);
		std::this_thread::sleep_for(longer);
		for (int i = 1; i < 8; i++)
			EXPECT_EQ(tether_drop_later(&thing[i].tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 8U);
	});
}

/* The first sender is still waking the owner, and has not noted the time. */
TEST_F(Stall, IsNotToldOfANewOwnerBeforeItsFirstSenderIsThrough)
{
	static std::atomic<bool> is_waking, may_go;
	tether_owner_t owner = home.owner();
	Note notes[2];

	is_waking = may_go = false;
	home.run([] {
		EXPECT_EQ(tether_set_wake(
					  [](void *) {
						  is_waking = true;
						  while (!may_go)
							  sched_yield();
					  },
					  nullptr),
		          0);
		EXPECT_TRUE(tether_park());
	});
	std::thread first([&] { EXPECT_EQ(tether_post(owner, &notes[0].message), 0); });
	while (!is_waking)
		sched_yield();
	EXPECT_EQ(tether_post(owner, &notes[1].message), 0);
	may_go = true;
	first.join();
	home.run([] {
		EXPECT_EQ(tether_drain(0), 2U);
		EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0);
	});
}

static std::atomic<int> wakes, wakes_over;

void wake_when_told(void *)
{
	for (int mine = ++wakes; wakes_over < mine;)
		sched_yield();
}

/* Its own wake-up holds up the first sender of an episode, past the end of that; much later another one comes, and is
 * held up as well. */
TEST_F(Stall, FirstSenderThatIsHeldUpLeavesNoOldTimeBehind)
{
	Note notes[3];

	wakes = wakes_over = 0;
	home.run([] { EXPECT_EQ(tether_set_wake(wake_when_told, nullptr), 0); });
	expect_quiet(
		[&] {
			std::thread first([&] { EXPECT_EQ(tether_post(home.owner(), &notes[1].message), 0); });

			while (wakes == wakes_over)
				sched_yield();
			EXPECT_EQ(tether_post(home.owner(), &notes[2].message), 0);
			wakes_over = wakes.load();
			first.join();
			home.run([] { EXPECT_EQ(tether_drain(0), 2U); });
		},
		[&] {
			std::thread first([&] { EXPECT_EQ(tether_post(home.owner(), &notes[0].message), 0); });

			while (wakes == wakes_over)
				sched_yield();
			home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
			wakes_over = wakes.load();
			first.join();
			std::this_thread::sleep_for(longer);
		});
	home.run([] { EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0); });
}

TEST_F(Stall, QueueThatIsTooLongIsToldAtOnce)
{
	ASSERT_EQ(tether_set_option("stall_ms", "0"), 0);
	ASSERT_EQ(tether_set_option("queue_warn", "100"), 0);
	drop(100);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	drop(1);

	Caught caught = take_one();

	EXPECT_EQ(caught.report.kind, TETHER_STALLED);
	EXPECT_EQ(caught.report.owner_pending, 101U);
	EXPECT_NE(caught.text.find("101 pending"), std::string::npos) << caught.text;
	drop(1000);
	home.run([] { EXPECT_EQ(tether_drain(0), 1101U); });
	drop(101);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_STALLED}) << "it is another episode";
}

TEST_F(Stall, QueueLongerThanTheHeadCounts)
{
	ASSERT_EQ(tether_set_option("stall_ms", "0"), 0);
	ASSERT_EQ(tether_set_option("queue_warn", "70000"), 0);
	if (scaled(100) < 100)
		GTEST_SKIP() << "too slow here";
	drop(200000);
	EXPECT_GE(take_one().report.owner_pending, 70001U);
}

TEST_F(Stall, IsNotLookedForWhenSwitchedOff)
{
	ASSERT_EQ(tether_set_option("stall_ms", "0"), 0);
	drop(1);
	std::this_thread::sleep_for(longer);
	drop(100);
}

} // namespace
