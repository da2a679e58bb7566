/* limit_test.cc - limits to what is pending: who is told, who is refused, and when no more.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <deque>

namespace
{

using Calls = std::vector<size_t>;

/* A home in a thread of its own, and what its `over` was told. */
class Limit : public Quiet
{
protected:
	void TearDown() override
	{
		drain(0);
		home.end();
		Quiet::TearDown();
	}

	void limit(size_t max_pending)
	{
		home.run([&] { EXPECT_EQ(tether_set_limit(max_pending, over, this), 0); });
	}
	/* Messages of a sender that does not care. */
	void post(size_t count)
	{
		for (size_t i = 0; i < count; i++) {
			notes.emplace_back();
			EXPECT_EQ(tether_post(home.owner(), &notes.back().message), 0);
		}
	}
	size_t drain(size_t max_nodes)
	{
		size_t handled = 0;

		home.run([&] { handled = tether_drain(max_nodes); });
		return handled;
	}
	Calls take_calls() { return std::exchange(calls, {}); }

	Thread home;
	std::deque<Note> notes;
	Calls calls; /* on the thread that sends: here */

private:
	static void over(void *context, size_t pending) { static_cast<Limit *>(context)->calls.push_back(pending); }
};

TEST_F(Limit, IsToldByTheSendThatExceedsIt)
{
	limit(3);
	post(3);
	EXPECT_EQ(take_calls(), Calls{});
	post(1);
	EXPECT_EQ(take_calls(), Calls{4});
	post(1);
	EXPECT_EQ(take_calls(), Calls{});
	EXPECT_EQ(drain(0), 5U) << "nothing is lost";
}

TEST_F(Limit, IsToldAgainAtEachDoubling)
{
	limit(10);
	post(100);
	EXPECT_EQ(take_calls(), (Calls{11, 21, 41, 81}));
}

TEST_F(Limit, IsToldAnewAfterTheOwnerWasBelowIt)
{
	limit(10);
	for (int crossing = 0; crossing < 3; crossing++) {
		post(25);
		EXPECT_EQ(take_calls(), (Calls{11, 21}));
		EXPECT_EQ(drain(0), 25U);
	}
}

TEST_F(Limit, IsNotToldAnewWhileTheOwnerStaysAboveIt)
{
	limit(10);
	post(20);
	EXPECT_EQ(take_calls(), Calls{11});
	EXPECT_EQ(drain(5), 5U);
	post(5);
	EXPECT_EQ(take_calls(), Calls{});
	EXPECT_EQ(drain(10), 10U);
	post(10);
	EXPECT_EQ(take_calls(), Calls{11}) << "it was at the limit in between";
}

TEST_F(Limit, CountsWhatWasTakenAndNotHandled)
{
	limit(10);
	post(10);
	EXPECT_EQ(drain(1), 1U);
	post(1);
	EXPECT_EQ(take_calls(), Calls{});
	post(1);
	EXPECT_EQ(take_calls(), Calls{11});
}

TEST_F(Limit, HoldsForDropsAndForTheOwnersOwnSends)
{
	Thing things[2];
	Note first, second;

	limit(1);
	home.run([&] {
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	});
	for (Thing &thing : things)
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(take_calls(), Calls{2});
	EXPECT_EQ(drain(0), 2U);
	home.run([&] {
		for (Note *note : {&first, &second})
			EXPECT_EQ(tether_post(tether_self(), &note->message), 0);
	});
	EXPECT_EQ(take_calls(), Calls{2});
	EXPECT_EQ(drain(0), 2U);
}

TEST_F(Limit, BelongsToOneOwner)
{
	Thread other;
	Note mine[3];

	limit(1);
	for (Note &note : mine)
		EXPECT_EQ(tether_post(other.owner(), &note.message), 0);
	EXPECT_EQ(take_calls(), Calls{});
	other.run([] { EXPECT_EQ(tether_drain(0), 3U); });
}

TEST_F(Limit, MayBeMoreThanTheHeadCounts)
{
	if (scaled(100) < 100)
		GTEST_SKIP() << "too slow here";
	limit(70000); /* the number in the head ends at 65,535 */
	post(70000);
	EXPECT_EQ(take_calls(), Calls{});
	post(1);
	EXPECT_EQ(take_calls(), Calls{70001});
}

TEST_F(Limit, OfTheLargestNumberIsNone)
{
	limit(SIZE_MAX);
	post(100);
	EXPECT_EQ(take_calls(), Calls{});
}

TEST_F(Limit, ReplacedIsNotToldOfAnyMore)
{
	limit(2);
	limit(5);
	post(5);
	EXPECT_EQ(take_calls(), Calls{});
	post(1);
	EXPECT_EQ(take_calls(), Calls{6});
	limit(0);
	post(100);
	EXPECT_EQ(take_calls(), Calls{});
}

TEST_F(Limit, SetBelowWhatIsPendingIsToldByTheNextSend)
{
	post(10);
	limit(2);
	EXPECT_EQ(take_calls(), Calls{});
	post(1);
	EXPECT_EQ(take_calls(), Calls{11});
	post(5);
	EXPECT_EQ(take_calls(), Calls{}) << "16 is not yet more than eight times two";
	post(1);
	EXPECT_EQ(take_calls(), Calls{17});
}

TEST_F(Limit, WithoutACallbackOnlyRefuses)
{
	Note note;

	home.run([] { EXPECT_EQ(tether_set_limit(1, nullptr, nullptr), 0); });
	post(5);
	EXPECT_EQ(tether_try_post(home.owner(), &note.message), -EAGAIN);
}

TEST_F(Limit, EndsWithItsOwner)
{
	Thing thing;

	limit(1);
	post(1);
	home.run([&] {
		tether_bind(&thing.tether, &anywhere_type);
		tether_owner_exit();
	});
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	home.run([] { EXPECT_EQ(tether_set_limit(1, nullptr, nullptr), -ESRCH); });
	EXPECT_EQ(take_calls(), Calls{});

	/* Nor is it the next owner's of that slot. */
	Thread successors[70];
	for (Thread &successor : successors) {
		Note two[2];

		for (Note &note : two)
			EXPECT_EQ(tether_post(successor.owner(), &note.message), 0);
		successor.run([] { EXPECT_EQ(tether_drain(0), 2U); });
	}
	EXPECT_EQ(take_calls(), Calls{});
}

/* Whoever replaces or ends waits for a call that has begun. */
struct SlowOver {
	std::atomic<bool> began{false}, ended{false};

	static void over(void *context, size_t)
	{
		SlowOver *self = static_cast<SlowOver *>(context);

		self->began = true;
		for (int i = 0; i < 1000; i++)
			sched_yield();
		self->ended = true;
	}
};

class LimitInUse : public Limit, public testing::WithParamInterface<const char *>
{
};

TEST_P(LimitInUse, IsWaitedFor)
{
	SlowOver slow;
	Note note[2];

	home.run([&] { EXPECT_EQ(tether_set_limit(1, SlowOver::over, &slow), 0); });
	std::thread sender([&] {
		for (Note &one : note)
			EXPECT_EQ(tether_post(home.owner(), &one.message), 0);
	});
	while (!slow.began)
		sched_yield();
	home.run([&] {
		if (GetParam() == std::string("end"))
			tether_owner_exit();
		else
			EXPECT_EQ(tether_set_limit(1000, nullptr, nullptr), 0);
		EXPECT_TRUE(slow.ended);
	});
	sender.join();
	drain(0);
}

INSTANTIATE_TEST_SUITE_P(By, LimitInUse, testing::Values("end", "replacement"),
                         [](const auto &way) { return std::string(way.param); });

/* Refusals. */

class TryPost : public Limit
{
};

TEST_F(TryPost, IsAPostBelowTheLimit)
{
	Note note;

	EXPECT_EQ(tether_try_post(home.owner(), &note.message), 0) << "without a limit";
	EXPECT_EQ(note.calls, 0);
	EXPECT_EQ(drain(0), 1U);
	EXPECT_TRUE(note.ran_once_on(home.id()));
	limit(1);
	EXPECT_EQ(tether_try_post(home.owner(), &note.message), 0);
	EXPECT_EQ(drain(0), 1U);
	EXPECT_EQ(note.calls, 2);
}

TEST_F(TryPost, IsRefusedAtTheLimitAndTheMessageStaysTheCallers)
{
	Note note;

	limit(2);
	post(2);
	struct tether_counters before = stats();
	EXPECT_EQ(tether_try_post(home.owner(), &note.message), -EAGAIN);
	EXPECT_EQ(since(before).sent, 0U);
	EXPECT_EQ(take_calls(), Calls{}) << "it exceeds nothing";
	EXPECT_EQ(drain(1), 1U);
	EXPECT_EQ(tether_try_post(home.owner(), &note.message), 0);
	EXPECT_EQ(note.calls, 0);
	EXPECT_EQ(drain(0), 2U);
	EXPECT_TRUE(note.ran_once_on(home.id()));
}

TEST_F(TryPost, ToAnOwnerThatHasGoneIsNotToldToTheMessage)
{
	tether_owner_t ended = 0, closed = home.owner();
	Note note;

	elsewhere([&] { ended = tether_self(); });
	home.run([] { tether_owner_exit(); });
	struct tether_counters before = stats();
	EXPECT_EQ(tether_try_post(ended, &note.message), -ESRCH);
	EXPECT_EQ(tether_try_post(closed, &note.message), -ESRCH);
	EXPECT_EQ(since(before).sent, 0U);
	EXPECT_EQ(note.calls, 0);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0) << "it is idle";
	EXPECT_EQ(tether_drain(0), 1U);
}

TEST_F(TryPost, ToNoOwnerIsReported)
{
	Note note;

	EXPECT_EQ(tether_try_post(0, &note.message), -EINVAL);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
	EXPECT_EQ(note.calls, 0);
}

TEST_F(TryPost, OfAMessageOnItsWayIsReported)
{
	Note note;

	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(tether_try_post(home.owner(), &note.message), -EALREADY);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_POST});
	EXPECT_EQ(drain(0), 1U);
	EXPECT_TRUE(note.ran_once_on(home.id()));
}

} // namespace
