/* logical_test.cc - owners that threads enter and leave.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <malloc.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

/* ThreadSanitizer has to be told of stacks. */
extern "C" {
void *__tsan_get_current_fiber(void) __attribute__((weak));
void *__tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_destroy_fiber(void *fiber) __attribute__((weak));
void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));
}

namespace
{

tether_owner_t create(const char *name)
{
	tether_owner_t owner = 0;

	EXPECT_EQ(tether_owner_create(name, &owner), 0);
	return owner;
}

/* Do it inside of that owner. */
template <typename Work>
void as(tether_owner_t owner, Work work)
{
	tether_owner_t previous = tether_owner_enter(owner);

	ASSERT_NE(previous, 0U);
	work();
	tether_owner_leave(previous);
}

int cancel_state()
{
	int state = -1;

	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	pthread_setcancelstate(state, nullptr);
	return state;
}

bool has(const std::string &text, const std::string &part)
{
	return text.find(part) != std::string::npos;
}

class Logical : public Quiet
{
protected:
	void SetUp() override
	{
		Quiet::SetUp();
		own = tether_self();
		fiber = create("the fiber");
		other = create("the other");
	}
	void TearDown() override
	{
		EXPECT_EQ(tether_self(), own) << "the test has not left";
		end(fiber);
		end(other);
		Quiet::TearDown();
	}
	static void end(tether_owner_t owner)
	{
		if (tether_owner_is_alive(owner)) {
			EXPECT_EQ(tether_owner_end(owner), 0);
		}
	}
	Caught take_one(enum tether_kind kind)
	{
		std::vector<Caught> all = reports.take();

		EXPECT_EQ(all.size(), 1U);
		if (all.empty())
			return {};
		EXPECT_EQ(all[0].report.kind, kind) << all[0].text;
		return all[0];
	}

	tether_owner_t own = 0, fiber = 0, other = 0;
};

/* ---- Being one ------------------------------------------------------------------------------- */

TEST_F(Logical, IsAliveFromItsMakingToItsEnd)
{
	EXPECT_TRUE(tether_owner_is_alive(fiber));
	EXPECT_NE(fiber, other);
	EXPECT_GT(tether_owner_number(other), tether_owner_number(fiber));
	EXPECT_EQ(tether_owner_end(fiber), 0);
	EXPECT_FALSE(tether_owner_is_alive(fiber));
}

TEST_F(Logical, IsMadeByAThreadWithoutAnOwner)
{
	elsewhere([&] {
		tether_owner_t made = create("made elsewhere");
		EXPECT_EQ(tether_owner_number(made), tether_owner_number(other) + 1) << "the thread is none itself";
		as(made, [&] { EXPECT_EQ(tether_self(), made); });
		EXPECT_NE(tether_self(), made);
		EXPECT_EQ(tether_owner_end(made), 0);
	});
}

TEST_F(Logical, ChecksFollowWhoTheThreadIs)
{
	Thing mine, its;

	tether_bind(&mine.tether, &thing_type);
	as(fiber, [&] {
		EXPECT_EQ(tether_self(), fiber);
		tether_bind(&its.tether, &thing_type);
		EXPECT_TRUE(tether_is_mine(&its.tether));
		EXPECT_FALSE(TETHER_ENSURE(&mine.tether));
		Caught caught = take_one(TETHER_WRONG_THREAD);
		EXPECT_EQ(caught.report.owner, own);
		EXPECT_EQ(caught.report.caller, fiber);
		EXPECT_EQ(caught.report.thread, own);
	});
	EXPECT_EQ(tether_self(), own);
	EXPECT_TRUE(tether_is_mine(&mine.tether));
	EXPECT_FALSE(TETHER_ENSURE(&its.tether));
	Caught caught = take_one(TETHER_WRONG_THREAD);
	EXPECT_EQ(caught.report.owner, fiber);
	EXPECT_EQ(caught.report.thread, 0U);
	as(other, [&] { EXPECT_FALSE(tether_is_mine(&its.tether)) << "two of one thread"; });
	as(fiber, [&] { EXPECT_EQ(tether_drop(&its.tether), TETHER_HERE); });
	EXPECT_EQ(tether_drop(&mine.tether), TETHER_HERE);
}

TEST_F(Logical, ClaimsForItself)
{
	Thing thing;

	tether_bind_later(&thing.tether, &thing_type);
	as(fiber, [&] { EXPECT_TRUE(tether_claim(&thing.tether)); });
	EXPECT_FALSE(tether_claim(&thing.tether));
	as(fiber, [&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

TEST_F(Logical, IsNamedFromInside)
{
	as(fiber, [] { tether_self_set_name("renamed"); });
	EXPECT_EQ(tether_owner_enter(tether_self()), 0U);
	EXPECT_NE(take_one(TETHER_BAD_OWNER).caller_name, "renamed");
	as(fiber, [&] {
		EXPECT_EQ(tether_owner_enter(fiber), 0U);
		EXPECT_EQ(take_one(TETHER_OWNER_BUSY).caller_name, "renamed");
	});
}

TEST_F(Logical, WithoutANameHasItsMakersThreads)
{
	char name[16] = "";

	pthread_getname_np(pthread_self(), name, sizeof name);
	tether_owner_t made = create(nullptr);
	as(made, [&] {
		EXPECT_EQ(tether_owner_enter(made), 0U);
		EXPECT_EQ(take_one(TETHER_OWNER_BUSY).caller_name, name);
	});
	EXPECT_EQ(tether_owner_end(made), 0);
}

/* ---- What is sent to it ---------------------------------------------------------------------- */

TEST_F(Logical, DropWaitsUntilSomebodyEntersAndDrains)
{
	Thing thing;
	tether_owner_t ended_as = 0;

	*thing.at_end = [&] { ended_as = tether_self(); };
	as(fiber, [&] { tether_bind(&thing.tether, &thing_type); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED) << "its thread is this one, its owner is not";
	EXPECT_EQ(tether_drain(0), 0U);
	EXPECT_EQ(stats(fiber).pending, 1U);
	as(other, [] { EXPECT_EQ(tether_drain(0), 0U); });
	EXPECT_EQ(thing.ends, 0);
	as(fiber, [] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(thing.ended_once_here());
	EXPECT_EQ(ended_as, fiber);
	EXPECT_EQ(stats(fiber).run_home, 1U);
	expect_balanced(stats(fiber));
}

TEST_F(Logical, PostsAndDropsKeepTheirOrder)
{
	std::vector<int> order;
	Thing thing{[&] { order.push_back(2); }};
	Note first{[&] { order.push_back(1); }}, last{[&] { order.push_back(3); }};

	as(fiber, [&] { tether_bind(&thing.tether, &thing_type); });
	elsewhere([&] {
		EXPECT_EQ(tether_post(fiber, &first.message), 0);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(fiber, &last.message), 0);
	});
	as(fiber, [] { EXPECT_EQ(tether_drain(0), 3U); });
	EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(Logical, DropFromInsideGoesHomeToTheThread)
{
	Thing mine;

	tether_bind(&mine.tether, &thing_type);
	as(fiber, [&] {
		EXPECT_EQ(tether_drop(&mine.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 0U);
	});
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(mine.ends, 1);
}

TEST_F(Logical, MovesBetweenThreads)
{
	Thread first, second;
	struct Plain {
		int value = 0; /* ThreadSanitizer looks for an order */
		struct tether tether = {};
	} plain;
	static const tether_type plain_type = TETHER_TYPE(Plain, tether, nullptr);

	first.run([&] { as(fiber, [&] { tether_bind(&plain.tether, &plain_type); }); });
	std::atomic<bool> has_left{false};
	std::thread third([&] {
		tether_owner_t previous = tether_owner_enter(fiber);
		plain.value++;
		tether_owner_leave(previous);
		has_left.store(true, std::memory_order_relaxed); /* the order is that of leaving and entering */
	});
	std::thread fourth([&] {
		while (!has_left.load(std::memory_order_relaxed))
			sched_yield();
		tether_owner_t previous = tether_owner_enter(fiber);
		EXPECT_TRUE(TETHER_ENSURE(&plain.tether));
		EXPECT_EQ(plain.value++, 1);
		tether_owner_leave(previous);
	});
	third.join();
	fourth.join();
	second.run([&] { as(fiber, [&] { EXPECT_EQ(tether_drop(&plain.tether), TETHER_HERE); }); });
	EXPECT_EQ(plain.value, 2);
}

TEST_F(Logical, WakeTellsAScheduler)
{
	static std::atomic<int> wakes;
	Thing things[2];

	wakes = 0;
	as(fiber, [&] {
		EXPECT_EQ(tether_set_wake([](void *) { wakes++; }, nullptr), 0);
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	});
	elsewhere([&] { EXPECT_EQ(tether_drop(&things[0].tether), TETHER_QUEUED); });
	EXPECT_EQ(wakes, 1);
	elsewhere([&] { EXPECT_EQ(tether_drop(&things[1].tether), TETHER_QUEUED); });
	EXPECT_EQ(wakes, 1) << "once, until it is drained";
	elsewhere([&] { as(fiber, [] { EXPECT_EQ(tether_drain(0), 2U); }); });
	as(fiber, [] { EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0); });
}

TEST_F(Logical, DescriptorIsReadableWhoeverIsInside)
{
	Thread first, second;
	Thing thing;
	int fd = -1;

	first.run([&] {
		as(fiber, [&] {
			tether_bind(&thing.tether, &thing_type);
			fd = tether_fd();
		});
	});
	EXPECT_NE(fd, tether_fd());
	EXPECT_FALSE(is_readable(fd));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_TRUE(is_readable(fd));
	EXPECT_FALSE(is_readable(tether_fd()));
	second.run([&] {
		as(fiber, [&] {
			EXPECT_EQ(tether_fd(), fd);
			EXPECT_FALSE(tether_park());
			EXPECT_EQ(tether_drain(0), 1U);
			EXPECT_TRUE(tether_park());
			tether_unpark();
		});
	});
	EXPECT_FALSE(is_readable(fd));
}

/* ---- With the other ways --------------------------------------------------------------------- */

TEST_F(Logical, ReferencesAreCountedByWhoeverIsInside)
{
	Thread first, second;
	Thing thing;
	struct tether_ref ref = {};

	first.run([&] {
		as(fiber, [&] {
			tether_bind(&thing.tether, &thing_type);
			tether_ref_init(&ref, &thing.tether);
			tether_ref_get(&ref);
		});
	});
	second.run([&] { as(fiber, [&] { tether_ref_put(&ref); }); });
	EXPECT_EQ(tether_ref_count(&ref), 1U);
	tether_ref_put(&ref);
	EXPECT_EQ(thing.ends, 0) << "its owner is asked to add up";
	second.run([&] { as(fiber, [] { EXPECT_GT(tether_drain(0), 0U); }); });
	EXPECT_TRUE(thing.ended_once_on(second.id()));
}

/* Who is back in an owner that ends may count as its owner while its inbox is open, and no longer. */
TEST_F(Logical, LeavingReturnsToAnOwnerThatIsClosed)
{
	tether_owner_t its = 0;
	size_t open = 0, closed = 0;
	Note again{[&] {
		if (again.fate == TETHER_UNDELIVERED)
			return;
		as(fiber, [] {});
		bool is_open = tether_open_self_ == its;
		EXPECT_EQ(tether_post(its, &again.message), is_open ? 0 : -ESRCH);
		(is_open ? open : closed)++;
	}};

	elsewhere([&] {
		its = tether_self();
		EXPECT_EQ(tether_post(its, &again.message), 0);
		tether_owner_exit(); /* it goes on sending to itself, and is cut off */
	});
	reports.take();
	EXPECT_GT(open, 0U);
	EXPECT_EQ(closed, 1U);
}

TEST_F(Logical, ReceivesWhatIsHandedToIt)
{
	struct Move {
		struct tether_transfer transfer;
		Thing thing;
		tether_owner_t received_by = 0;
	} move;

	tether_bind(&move.thing.tether, &thing_type);
	tether_transfer_init(&move.transfer, [](struct tether_transfer *transfer, struct tether *, enum tether_arrival arrival) {
		EXPECT_EQ(arrival, TETHER_RECEIVED);
		reinterpret_cast<Move *>(transfer)->received_by = tether_self();
	});
	EXPECT_EQ(tether_hand_off(&move.thing.tether, fiber, &move.transfer), 0);
	as(fiber, [&] {
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(move.received_by, fiber);
		EXPECT_EQ(tether_drop(&move.thing.tether), TETHER_HERE);
	});
}

/* ---- In and out ------------------------------------------------------------------------------ */

TEST_F(Logical, EntersNest)
{
	tether_owner_t before_first = tether_owner_enter(fiber);
	tether_owner_t before_second = tether_owner_enter(other);

	EXPECT_EQ(before_first, own);
	EXPECT_EQ(before_second, fiber);
	EXPECT_EQ(tether_self(), other);
	tether_owner_leave(before_second);
	EXPECT_EQ(tether_self(), fiber);
	elsewhere([&] { as(other, [] {}); });
	tether_owner_leave(before_first);
	EXPECT_EQ(tether_self(), own);
}

TEST_F(Logical, LeavingTheOuterLeavesTheInner)
{
	tether_owner_t before = tether_owner_enter(fiber);

	EXPECT_NE(tether_owner_enter(other), 0U);
	tether_owner_leave(before);
	EXPECT_EQ(tether_self(), own);
	elsewhere([&] {
		as(fiber, [] {});
		as(other, [] {});
	});
}

TEST_F(Logical, EnteredByTwoNamesBoth)
{
	Thread inside;
	tether_owner_t previous = 0;

	inside.run([&] {
		tether_self_set_name("who is inside");
		previous = tether_owner_enter(fiber);
	});
	EXPECT_EQ(tether_owner_enter(fiber), 0U);
	Caught caught = take_one(TETHER_OWNER_BUSY);
	EXPECT_EQ(caught.report.owner, fiber);
	EXPECT_EQ(caught.report.other, previous);
	EXPECT_EQ(caught.operation, "tether_owner_enter");
	EXPECT_TRUE(has(caught.verdict, "'the fiber'")) << caught.verdict;
	EXPECT_TRUE(has(caught.text, "It is entered by 'who is inside'")) << caught.text;
	tether_owner_leave(0); /* what a failed enter returned */
	EXPECT_EQ(tether_self(), own);
	inside.run([&] { tether_owner_leave(previous); });
	as(fiber, [] {});
}

TEST_F(Logical, EnteredTwiceIsReported)
{
	as(fiber, [&] {
		EXPECT_EQ(tether_owner_enter(fiber), 0U);
		EXPECT_EQ(take_one(TETHER_OWNER_BUSY).report.other, own);
		as(other, [&] {
			EXPECT_EQ(tether_owner_enter(fiber), 0U);
			EXPECT_EQ(take_one(TETHER_OWNER_BUSY).report.other, own);
		});
		EXPECT_EQ(tether_self(), fiber);
	});
}

TEST_F(Logical, OnlyLogicalOwnersThatLiveAreEntered)
{
	Thread thread;
	tether_owner_t gone = create("gone"), reused = create("reused");

	EXPECT_EQ(tether_owner_end(gone), 0);
	for (tether_owner_t owner : {own, thread.owner(), gone, tether_owner_t{0}, tether_owner_t{1}, UINT64_MAX, reused + 1}) {
		EXPECT_EQ(tether_owner_enter(owner), 0U);
		Caught caught = take_one(TETHER_BAD_OWNER);
		EXPECT_TRUE(has(caught.advice, "tether_owner_create()")) << caught.advice;
		EXPECT_EQ(tether_self(), own);
	}
	EXPECT_EQ(tether_owner_end(reused), 0);
}

TEST_F(Logical, StaleNumberDoesNotEnterTheSlotsNextOwner)
{
	std::vector<tether_owner_t> stale, now;

	for (int i = 0; i < 100; i++) {
		stale.push_back(create("stale"));
		EXPECT_EQ(tether_owner_end(stale.back()), 0);
	}
	for (size_t i = 0; i < 200; i++)
		now.push_back(create("now"));
	size_t reused = 0;
	for (tether_owner_t old : stale) {
		reused += static_cast<size_t>(std::count_if(
			now.begin(), now.end(), [&](tether_owner_t one) { return one != old && (one & 0xfffff) == (old & 0xfffff); }));
		EXPECT_EQ(tether_owner_enter(old), 0U);
		EXPECT_EQ(tether_owner_end(old), -ESRCH);
	}
	EXPECT_GT(reused, 0U) << "or this test shows nothing";
	EXPECT_EQ(reports.take_kinds(), Kinds(200, TETHER_BAD_OWNER));
	for (tether_owner_t one : now)
		EXPECT_EQ(tether_owner_end(one), 0);
}

TEST_F(Logical, LeavingWhatWasNotEnteredIsReported)
{
	tether_owner_leave(own);
	EXPECT_TRUE(has(take_one(TETHER_BAD_CALL).advice, "tether_owner_enter()"));
	elsewhere([&] {
		tether_owner_leave(fiber); /* a thread without an owner */
		take_one(TETHER_BAD_CALL);
	});
	EXPECT_EQ(tether_self(), own);
}

TEST_F(Logical, LeavingToWhereItWasNotLeavesTheLastOne)
{
	Thread thread;

	as(fiber, [&] {
		for (tether_owner_t wrong : {other, thread.owner(), UINT64_MAX}) {
			EXPECT_NE(tether_owner_enter(other), 0U);
			tether_owner_leave(wrong);
			EXPECT_EQ(take_one(TETHER_BAD_CALL).report.owner, other);
			EXPECT_EQ(tether_self(), fiber);
		}
	});
}

TEST_F(Logical, IsNotEnteredAfterTheThreadsOwnEnd)
{
	elsewhere([&] {
		tether_self();
		tether_owner_exit();
		EXPECT_EQ(tether_owner_enter(fiber), 0U);
		take_one(TETHER_BAD_CALL);
		EXPECT_EQ(tether_owner_end(fiber), -EPERM);
		take_one(TETHER_BAD_CALL);
	});
}

TEST_F(Logical, ThreadsOwnDoesNotEndFromInside)
{
	Thread thread;
	tether_owner_t its = thread.owner();

	thread.run([&] {
		as(fiber, [&] {
			tether_owner_exit();
			EXPECT_TRUE(has(take_one(TETHER_BAD_CALL).advice, "inside of another owner"));
			EXPECT_EQ(tether_self(), fiber);
		});
		EXPECT_EQ(tether_self(), its);
	});
	EXPECT_TRUE(tether_owner_is_alive(its));
	EXPECT_TRUE(tether_owner_is_alive(fiber));
}

/* ---- The end --------------------------------------------------------------------------------- */

TEST_F(Logical, EndRunsWhatIsPendingAsThatOwner)
{
	tether_owner_t ended_as[2] = {0, 0};
	Thing second{[&] { ended_as[1] = tether_self(); }}, orphan;
	Thing first{[&] {
		ended_as[0] = tether_self();
		EXPECT_EQ(tether_drop(&second.tether), TETHER_QUEUED);
	}};

	as(fiber, [&] {
		tether_bind(&first.tether, &thing_type);
		tether_bind(&second.tether, &thing_type);
		tether_bind(&orphan.tether, &thing_type);
		EXPECT_GE(tether_fd(), 0);
	});
	elsewhere([&] { EXPECT_EQ(tether_drop(&first.tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_owner_end(fiber), 0);
	EXPECT_EQ(ended_as[0], fiber);
	EXPECT_EQ(ended_as[1], fiber);
	EXPECT_EQ(tether_self(), own);
	EXPECT_EQ(tether_drop(&orphan.tether), TETHER_ORPHANED);
	Caught caught = take_one(TETHER_LEAKED);
	EXPECT_EQ(caught.owner_name, "the fiber") << "the name outlives it";
	EXPECT_EQ(tether_owner_enter(fiber), 0U);
	take_one(TETHER_BAD_OWNER);
	EXPECT_EQ(tether_owner_end(fiber), -ESRCH);
	take_one(TETHER_BAD_OWNER);
}

TEST_F(Logical, EndIsNotForWhatSomebodyIsInside)
{
	Thread inside;
	tether_owner_t previous = 0;

	inside.run([&] { previous = tether_owner_enter(fiber); });
	EXPECT_EQ(tether_owner_end(fiber), -EBUSY);
	Caught caught = take_one(TETHER_OWNER_BUSY);
	EXPECT_EQ(caught.report.owner, fiber);
	EXPECT_EQ(caught.report.other, previous);
	inside.run([&] { tether_owner_leave(previous); });
	as(fiber, [&] {
		EXPECT_EQ(tether_owner_end(fiber), -EBUSY);
		EXPECT_EQ(take_one(TETHER_OWNER_BUSY).report.other, own);
		EXPECT_EQ(tether_owner_end(other), 0) << "from inside of another";
		EXPECT_EQ(tether_self(), fiber);
	});
}

TEST_F(Logical, EndIsForLogicalOwnersAlone)
{
	Thread thread;

	for (tether_owner_t owner : {own, thread.owner(), tether_owner_t{0}, UINT64_MAX}) {
		EXPECT_EQ(tether_owner_end(owner), -EINVAL);
		take_one(TETHER_BAD_OWNER);
	}
	EXPECT_TRUE(tether_owner_is_alive(own));
}

TEST_F(Logical, EndIsNotForCallbacks)
{
	Thing thing{[&] { EXPECT_EQ(tether_owner_end(fiber), -EPERM); }};

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(take_one(TETHER_BAD_CALL).operation, "tether_owner_end");
	EXPECT_TRUE(tether_owner_is_alive(fiber));
}

TEST_F(Logical, EndThatAnExceptionBreaksOffGoesOn)
{
	Thing throws{[] { throw std::runtime_error("from a destructor"); }}, last;

	as(fiber, [&] {
		tether_bind(&throws.tether, &thing_type);
		tether_bind(&last.tether, &thing_type);
	});
	EXPECT_EQ(tether_drop(&throws.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&last.tether), TETHER_QUEUED);
	EXPECT_THROW(tether_owner_end(fiber), std::runtime_error);
	EXPECT_EQ(tether_self(), own);
	EXPECT_EQ(last.ends, 0);
	EXPECT_EQ(tether_owner_end(fiber), 0);
	EXPECT_EQ(last.ends, 1);
}

TEST_F(Logical, EndThatAnExceptionBreaksOffLeavesAnOwnerThatReceives)
{
	Note throws{[] { throw std::runtime_error("from a message"); }};
	struct tether_transfer transfer;
	Thing thing;

	tether_transfer_init(&transfer, [](struct tether_transfer *, struct tether *, enum tether_arrival arrival) {
		EXPECT_EQ(arrival, TETHER_RECEIVED);
	});
	EXPECT_EQ(tether_post(fiber, &throws.message), 0);
	EXPECT_THROW(tether_owner_end(fiber), std::runtime_error);
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_hand_off(&thing.tether, fiber, &transfer), 0);
	as(fiber, [&] {
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	});
}

TEST_F(Logical, ThreadThatEndsInsideIsReportedAndLeaves)
{
	Thing thing;
	tether_owner_t its = 0;

	elsewhere([&] {
		tether_self_set_name("ends inside");
		its = tether_self();
		EXPECT_NE(tether_owner_enter(fiber), 0U);
		EXPECT_NE(tether_owner_enter(other), 0U);
		tether_bind(&thing.tether, &thing_type);
	});
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 2U);
	for (const Caught &one : caught) {
		EXPECT_EQ(one.report.kind, TETHER_EXIT_INSIDE);
		EXPECT_EQ(one.caller_name, "ends inside");
	}
	EXPECT_EQ(caught[0].report.owner, other);
	EXPECT_EQ(caught[1].report.owner, fiber);
	EXPECT_TRUE(has(caught[1].text, "nobody inside")) << caught[1].text;
	EXPECT_FALSE(tether_owner_is_alive(its));
	as(other, [&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

/* ---- Callbacks ------------------------------------------------------------------------------- */

TEST_F(Logical, DestructorOfTheThreadEntersAndDropsThereAtOnce)
{
	Thing its, mine;
	Thing outer{[&] {
		as(fiber, [&] {
			EXPECT_EQ(tether_drop(&its.tether), TETHER_HERE) << "nothing of the fiber's is running";
			EXPECT_EQ(its.ends, 1);
			EXPECT_EQ(tether_drain(0), 1U) << "nor is a drain of its own";
		});
		EXPECT_EQ(tether_drop(&mine.tether), TETHER_QUEUED) << "at home a destructor is running";
		EXPECT_EQ(mine.ends, 0);
	}};
	Note note;

	as(fiber, [&] { tether_bind(&its.tether, &thing_type); });
	EXPECT_EQ(tether_post(fiber, &note.message), 0);
	tether_bind(&mine.tether, &thing_type);
	tether_bind(&outer.tether, &thing_type);
	EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
	EXPECT_EQ(mine.ends, 1);
	EXPECT_TRUE(note.ran_once_on(pthread_self()));
	expect_balanced(stats(fiber));
	expect_balanced(stats(own));
}

TEST_F(Logical, DestructorOnAThreadWithoutAnOwnerEnters)
{
	elsewhere([&] {
		Thing rest;
		Thing thing{[&] {
			as(fiber, [] { EXPECT_EQ(tether_drain(0), 0U); });
			tether_bind(&rest.tether, &thing_type);
			EXPECT_EQ(tether_drop(&rest.tether), TETHER_QUEUED);
		}};

		tether_bind_later(&thing.tether, &thing_type);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_EQ(rest.ends, 1);
	});
}

/* A message that yields, as a fiber's does: it leaves its owner in the middle, and is back before it goes on. */
TEST_F(Logical, CallbackThatYieldsIsHalfway)
{
	Thread thread;
	Thing its, mine;
	Note later;
	Note note{[&] {
		tether_owner_leave(own);
		EXPECT_EQ(tether_self(), own);
		EXPECT_EQ(cancel_state(), PTHREAD_CANCEL_ENABLE) << "the thread itself runs no callback";
		EXPECT_EQ(tether_drop(&mine.tether), TETHER_HERE);
		thread.run([&] {
			EXPECT_EQ(tether_owner_enter(fiber), 0U);
			EXPECT_EQ(take_one(TETHER_OWNER_BUSY).report.other, own) << "that callback is this thread's";
		});
		EXPECT_EQ(tether_owner_end(fiber), -EBUSY);
		EXPECT_EQ(take_one(TETHER_OWNER_BUSY).report.other, own);
		tether_owner_exit();
		take_one(TETHER_BAD_CALL);
		as(other, [] { EXPECT_EQ(tether_drain(0), 0U); });
		EXPECT_EQ(tether_owner_enter(fiber), own);
		EXPECT_EQ(cancel_state(), PTHREAD_CANCEL_DISABLE);
		EXPECT_EQ(tether_drain(0), 0U) << "a callback is running";
	}};

	tether_bind(&mine.tether, &thing_type);
	as(fiber, [&] {
		tether_bind(&its.tether, &thing_type);
		EXPECT_EQ(tether_post(fiber, &note.message), 0);
		EXPECT_EQ(tether_post(fiber, &later.message), 0);
		EXPECT_EQ(tether_drain(0), 2U);
		EXPECT_EQ(later.calls, 1);
		EXPECT_EQ(cancel_state(), PTHREAD_CANCEL_ENABLE);
		EXPECT_EQ(tether_drop(&its.tether), TETHER_HERE);
	});
	thread.run([&] { as(fiber, [] {}); });
}

/* Likewise a destructor: what it drops at home after that is still its own to wait for. */
TEST_F(Logical, DestructorThatYieldsFindsItsListAgain)
{
	Thing peer;
	Thing thing{[&] {
		tether_owner_leave(own);
		EXPECT_NE(tether_owner_enter(fiber), 0U);
		EXPECT_TRUE(tether_is_mine(&thing.tether)) << "it is being destroyed";
		EXPECT_EQ(tether_drop(&peer.tether), TETHER_QUEUED);
		EXPECT_EQ(peer.ends, 0);
	}};

	as(fiber, [&] {
		tether_bind(&peer.tether, &thing_type);
		tether_bind(&thing.tether, &thing_type);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_EQ(peer.ends, 1);
	});
}

TEST_F(Logical, CallbackThatForgetsToLeaveIsPutRight)
{
	Note last;
	Note note{[&] {
		EXPECT_NE(tether_owner_enter(fiber), 0U);
		EXPECT_NE(tether_owner_enter(other), 0U);
	}};

	EXPECT_EQ(tether_post(own, &note.message), 0);
	EXPECT_EQ(tether_post(own, &last.message), 0);
	EXPECT_EQ(tether_drain(0), 2U);
	EXPECT_EQ(take_one(TETHER_BAD_CALL).report.owner, own);
	EXPECT_EQ(tether_self(), own);
	EXPECT_EQ(last.calls, 1);
	elsewhere([&] {
		as(fiber, [] {});
		as(other, [] {});
	});
}

TEST_F(Logical, CallbackThatForgetsToComeBackIsPutRight)
{
	Thing thing{[&] { tether_owner_leave(own); }}, last;

	as(fiber, [&] {
		tether_bind(&thing.tether, &thing_type);
		tether_bind(&last.tether, &thing_type);
		EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop_later(&last.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 2U);
		EXPECT_EQ(take_one(TETHER_BAD_CALL).report.owner, fiber);
		EXPECT_EQ(tether_self(), fiber);
		EXPECT_EQ(last.ends, 1);
	});
	EXPECT_EQ(cancel_state(), PTHREAD_CANCEL_ENABLE);
}

/* Those behind it are its owner's, not those that it went to. */
TEST_F(Logical, DestructorAmongManyThatGoesAstrayIsPutRight)
{
	Thing things[6], its[4];

	*things[1].at_end = [&] { as(fiber, [] { EXPECT_EQ(tether_drain(2), 2U); }); };
	*things[3].at_end = [&] { EXPECT_NE(tether_owner_enter(fiber), 0U); };
	as(fiber, [&] {
		for (Thing &thing : its)
			tether_bind(&thing.tether, &thing_type);
	});
	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		for (Thing &thing : its)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	});
	EXPECT_EQ(tether_drain(0), 6U);
	EXPECT_EQ(take_one(TETHER_BAD_CALL).report.owner, own);
	EXPECT_EQ(tether_self(), own);
	for (const Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_here());
	EXPECT_EQ(its[1].ends, 1);
	EXPECT_EQ(its[2].ends, 0);
	expect_balanced(stats(own));
	expect_balanced(stats(fiber));
	as(fiber, [] { EXPECT_EQ(tether_drain(0), 2U); });
}

TEST_F(Logical, DestructorAmongManyThatForgetsToComeBackIsPutRight)
{
	Thing things[4];

	*things[2].at_end = [&] { tether_owner_leave(own); };
	as(fiber, [&] {
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 4U);
		EXPECT_EQ(take_one(TETHER_BAD_CALL).report.owner, fiber);
		EXPECT_EQ(tether_self(), fiber);
	});
	for (const Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Logical, ExceptionOutOfAnotherOwnerIsPutRight)
{
	Thing thing{[&] {
		EXPECT_NE(tether_owner_enter(fiber), 0U);
		throw std::runtime_error("from inside");
	}};

	tether_bind(&thing.tether, &thing_type);
	EXPECT_THROW(tether_drop(&thing.tether), std::runtime_error);
	take_one(TETHER_BAD_CALL);
	EXPECT_EQ(tether_self(), own);
}

/* ---- Stacks ---------------------------------------------------------------------------------- */

/* Two fibers with stacks of their own, on the calling thread; each may say when the other shall go on. */
class Fibers
{
public:
	Fibers(tether_owner_t first, tether_owner_t second) : fibers_{{first}, {second}} {}

	/* Run both, from the first on, until both have ended. */
	void run(std::function<void()> first, std::function<void()> second)
	{
		fibers_[0].work = std::move(first);
		fibers_[1].work = std::move(second);
		current = this;
		tsan_home_ = UNDER_TSAN ? __tsan_get_current_fiber() : nullptr;
		for (int i = 0; i < 2; i++)
			prepare(i);
		for (at_ = 0; !fibers_[0].has_ended || !fibers_[1].has_ended; at_ = 1 - at_)
			if (!fibers_[at_].has_ended)
				resume(fibers_[at_]);
		for (Fiber &fiber : fibers_)
			if (UNDER_TSAN)
				__tsan_destroy_fiber(fiber.tsan);
	}
	/* The calling fiber stops, and the other one goes on. */
	static void yield() { current->go_home(); }
	/* Both stop for ever. */
	static void give_up()
	{
		current->fibers_[0].has_ended = current->fibers_[1].has_ended = true;
		yield();
	}

private:
	struct Fiber {
		tether_owner_t owner;
		std::function<void()> work = {};
		std::vector<char> stack = {};
		ucontext_t context = {};
		void *tsan = nullptr;
		bool has_ended = false;
	};

	void prepare(int number)
	{
		Fiber &fiber = fibers_[number];

		fiber.tsan = UNDER_TSAN ? __tsan_create_fiber(0) : nullptr;
		fiber.stack.resize(size_t{1024} * 1024);
		getcontext(&fiber.context);
		fiber.context.uc_stack.ss_sp = fiber.stack.data();
		fiber.context.uc_stack.ss_size = fiber.stack.size();
		makecontext(&fiber.context, reinterpret_cast<void (*)()>(begin), 1, number);
	}
	void resume(Fiber &fiber)
	{
		tether_owner_t before = tether_owner_enter(fiber.owner);

		if (UNDER_TSAN)
			__tsan_switch_to_fiber(fiber.tsan, 0);
		swapcontext(&home_, &fiber.context);
		tether_owner_leave(before);
	}
	void go_home()
	{
		if (UNDER_TSAN)
			__tsan_switch_to_fiber(tsan_home_, 0);
		swapcontext(&fibers_[at_].context, &home_);
	}
	static void begin(int number)
	{
		current->fibers_[number].work();
		current->fibers_[number].has_ended = true;
		current->go_home();
	}

	static inline Fibers *current;
	Fiber fibers_[2];
	ucontext_t home_ = {};
	void *tsan_home_ = nullptr;
	int at_ = 0;
};

TEST_F(Logical, CallbacksOfTwoFibersOverlap)
{
	std::vector<std::string> order;
	Note first{[&] {
		order.push_back("first begins");
		Fibers::yield();
		order.push_back("first ends");
		EXPECT_EQ(tether_self(), fiber);
	}};
	Note second{[&] {
		order.push_back("second begins");
		Fibers::yield();
		order.push_back("second ends");
		EXPECT_EQ(tether_self(), other);
	}};
	Fibers fibers(fiber, other);

	EXPECT_EQ(tether_post(fiber, &first.message), 0);
	EXPECT_EQ(tether_post(other, &second.message), 0);
	fibers.run([] { EXPECT_EQ(tether_drain(0), 1U); }, [] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_EQ(order, (std::vector<std::string>{"first begins", "second begins", "first ends", "second ends"}));
	EXPECT_EQ(cancel_state(), PTHREAD_CANCEL_ENABLE) << "the last to end did not bring back what the first had switched off";
	expect_balanced(stats(fiber));
	expect_balanced(stats(other));
}

/* Two stacks in one owner: what the one runs is not over when the other one's is. */
TEST_F(Logical, CallbacksOfOneOwnerOverlap)
{
	Thing peer;
	Thing thing{[&] {
		Fibers::yield();
		EXPECT_EQ(tether_drop(&peer.tether), TETHER_QUEUED) << "its own destructor is still running";
	}};
	Note note{[] { Fibers::yield(); }}, last;
	Fibers fibers(fiber, fiber);

	as(fiber, [&] {
		tether_bind(&peer.tether, &thing_type);
		tether_bind(&thing.tether, &thing_type);
	});
	EXPECT_EQ(tether_post(fiber, &note.message), 0);
	fibers.run([] { EXPECT_EQ(tether_drain(0), 1U); }, [&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
	EXPECT_EQ(peer.ends, 1);
	EXPECT_EQ(tether_post(fiber, &last.message), 0);
	as(fiber, [] { EXPECT_EQ(tether_drain(0), 1U) << "nothing is running any more"; });
	EXPECT_EQ(cancel_state(), PTHREAD_CANCEL_ENABLE);
}

TEST_F(Logical, ThreadThatEndsHalfwayGivesItUp)
{
	Note note{[] { Fibers::give_up(); }}, last;
	Fibers fibers(fiber, other);
	tether_owner_t its = 0;

	EXPECT_EQ(tether_post(fiber, &note.message), 0);
	EXPECT_EQ(tether_post(fiber, &last.message), 0);
	elsewhere([&] {
		its = tether_self();
		fibers.run([] { tether_drain(0); }, [] {});
	});
	std::vector<Caught> caught = reports.take();
	EXPECT_EQ(caught.size(), 1U);
	for (const Caught &one : caught) {
		EXPECT_EQ(one.report.kind, TETHER_EXIT_INSIDE);
		EXPECT_EQ(one.report.owner, fiber);
		EXPECT_EQ(one.report.caller, its);
	}
	as(fiber, [] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_EQ(last.calls, 1);
}

TEST_F(Logical, ThreadThatEndsInAChildsDestructorLetsItsParentGo)
{
	struct Family {
		struct tether_group group;
		int ends;
		static void destroy(void *object) { static_cast<Family *>(object)->ends++; }
	};
	static const tether_type family_type = TETHER_TYPE_RULES(Family, group.tag, Family::destroy, TETHER_GROUP);
	Family family = {};
	Thing child{[] { Fibers::give_up(); }}, next;
	Fibers fibers(fiber, other);

	elsewhere([&] {
		fibers.run(
			[&] {
				tether_bind(&next.tether, &thing_type);
				tether_bind_group(&family.group, &family_type);
				EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &family.group), 0);
				EXPECT_EQ(tether_drop(&family.group.tag), TETHER_QUEUED) << "it waits for its child";
				tether_drop(&child.tether);
			},
			[] {});
	});
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_EXIT_INSIDE});
	as(fiber, [&] {
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(family.ends, 1);
		EXPECT_EQ(tether_drop(&next.tether), TETHER_HERE);
	});
}

/* ---- What is told ---------------------------------------------------------------------------- */

TEST_F(Logical, ReportsSayWhoIsInside)
{
	Thread inside;
	Thing thing;
	tether_owner_t previous = 0;

	tether_self_set_name("the thread");
	inside.run([&] {
		tether_self_set_name("who is inside");
		previous = tether_owner_enter(fiber);
		tether_bind(&thing.tether, &thing_type);
	});
	as(other, [&] { EXPECT_FALSE(TETHER_ENSURE(&thing.tether)); });
	Caught caught = take_one(TETHER_WRONG_THREAD);
	EXPECT_TRUE(has(caught.text, "Belongs to 'the fiber' (owner #" + std::to_string(tether_owner_number(fiber)) +
	                                 ", inside: 'who is inside', tid "))
		<< caught.text;
	EXPECT_TRUE(has(caught.text, "As 'the other' (owner #" + std::to_string(tether_owner_number(other)) +
	                                 "), on thread 'the thread' (owner #" + std::to_string(tether_owner_number(own)) + ", tid " +
	                                 std::to_string(syscall(SYS_gettid)) + ")"))
		<< caught.text;
	EXPECT_TRUE(caught.report.owner_is_logical);
	EXPECT_EQ(caught.report.owner_inside, previous);
	EXPECT_GT(caught.report.owner_tid, 0);
	inside.run([&] { tether_owner_leave(previous); });

	EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
	caught = take_one(TETHER_WRONG_THREAD);
	EXPECT_TRUE(has(caught.text,
	                "Belongs to 'the fiber' (owner #" + std::to_string(tether_owner_number(fiber)) + ", nobody inside): alive"))
		<< caught.text;
	EXPECT_EQ(caught.report.owner_inside, 0U);
	EXPECT_EQ(caught.report.owner_tid, 0);
	inside.run([&] { as(fiber, [&] { tether_fini(&thing.tether); }); });
	tether_self_set_name(nullptr);
}

TEST_F(Logical, JsonSaysWhoIsInside)
{
	static std::string line;
	Thing thing;

	as(fiber, [&] { tether_bind(&thing.tether, &thing_type); });
	tether_set_report_callback(
		[](const struct tether_report *report, void *) {
			char bytes[65536];
			EXPECT_LT(tether_report_json(report, bytes, sizeof bytes), sizeof bytes);
			line = bytes;
		},
		nullptr);
	as(other, [&] { EXPECT_FALSE(TETHER_ENSURE(&thing.tether)); });
	EXPECT_TRUE(has(line, "\"inside\":{\"id\":null,\"number\":null,\"name\":null}}")) << line;
	EXPECT_TRUE(has(line, "\"own\":{\"id\":\"0x")) << line;
	tether_set_report_callback(nullptr, nullptr);
	as(fiber, [&] { tether_fini(&thing.tether); });
}

TEST_F(Logical, StallAdvisesToEnter)
{
	Thing things[4];

	as(fiber, [&] {
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	});
	EXPECT_EQ(tether_set_option("queue_warn", "2"), 0);
	for (Thing &thing : things)
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_set_option("queue_warn", "0"), 0);
	EXPECT_TRUE(has(take_one(TETHER_STALLED).advice, "nobody is inside"));
	as(fiber, [] { EXPECT_EQ(tether_drain(0), 4U); });
}

/* ---- Many ------------------------------------------------------------------------------------ */

TEST_F(Logical, TenThousandTakeAKibibyteEach)
{
	const size_t count = scaled(10000);
	std::vector<tether_owner_t> owners(count);
	std::vector<std::unique_ptr<Thing>> things;

	for (size_t i = 0; i < count; i++)
		things.push_back(std::make_unique<Thing>());
	size_t before = mallinfo2().uordblks;
	for (tether_owner_t &owner : owners)
		owner = create("one of many");
	size_t bytes = mallinfo2().uordblks - before;
	if (!UNDER_TSAN && !UNDER_ASAN && !RUNNING_ON_VALGRIND) {
		EXPECT_LE(bytes, count * 1024);
	}
	for (size_t i = 0; i < count; i++)
		as(owners[i], [&] { tether_bind(&things[i]->tether, &thing_type); });
	elsewhere([&] {
		for (auto &thing : things)
			EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	});
	for (size_t i = 0; i < count; i += 2)
		as(owners[i], [] { EXPECT_EQ(tether_drain(0), 1U); });
	for (tether_owner_t owner : owners)
		EXPECT_EQ(tether_owner_end(owner), 0);
	for (auto &thing : things)
		EXPECT_TRUE(thing->ended_once_here());
}

} // namespace
