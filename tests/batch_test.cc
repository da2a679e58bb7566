/* batch_test.cc - drops that are collected: when they are published, in which order, and that none is lost or run twice.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <algorithm>
#include <csignal>
#include <deque>
#include <memory>
#include <stdexcept>

namespace
{

/* More than a destination's bundle takes, with all that are not marked yet. */
constexpr size_t many = 100;
constexpr size_t late = 16, at_once = 16, bundle = 32;

/* How many of so many drops are marked: no later than `late + at_once` drops after. */
constexpr size_t marked(size_t dropped)
{
	return dropped < late ? 0 : dropped / at_once * at_once - late;
}

/* A home in a thread of its own, and things that are its own. */
class Batch : public Quiet
{
protected:
	void TearDown() override
	{
		drain();
		home.end();
		Quiet::TearDown();
	}

	struct tether *bind_at(
		Thread &thread, const tether_type *type = &thing_type, std::function<void()> at_end = [] {})
	{
		things.emplace_back(std::move(at_end));
		struct tether *tag = &things.back().tether;
		thread.run([=] { tether_bind(tag, type); });
		return tag;
	}
	/* Things of the home, which note the order in which they end. */
	struct tether *bind(const tether_type *type = &thing_type)
	{
		size_t number = things.size();
		return bind_at(home, type, [this, number] { order.push_back(number); });
	}
	std::vector<struct tether *> bind_many(size_t count, const tether_type *type = &thing_type)
	{
		std::vector<struct tether *> tags;

		home.run([&] {
			for (size_t i = 0; i < count; i++) {
				size_t number = things.size();
				things.emplace_back([this, number] { order.push_back(number); });
				tether_bind(&things.back().tether, type);
				tags.push_back(&things.back().tether);
			}
		});
		return tags;
	}
	static void drop(const std::vector<struct tether *> &tags)
	{
		for (struct tether *tag : tags)
			EXPECT_EQ(tether_drop(tag), TETHER_BATCHED);
	}
	static void drop_now(const std::vector<struct tether *> &tags)
	{
		for (struct tether *tag : tags)
			EXPECT_EQ(tether_drop(tag), TETHER_QUEUED);
	}
	uint64_t pending() { return stats(home.owner()).pending; }
	size_t drain()
	{
		size_t handled = 0;

		home.run([&] { handled = tether_drain(0); });
		return handled;
	}
	void expect_all_ended_at_home_in_order()
	{
		for (const Thing &thing : things)
			EXPECT_TRUE(thing.ended_once_on(home.id()));
		EXPECT_EQ(order.size(), things.size());
		EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
	}
	/* What `flush` publishes is what was dropped before, all of it. */
	void expect_flushed_by(const std::function<void()> &flush)
	{
		std::vector<struct tether *> tags = bind_many(3);

		ASSERT_EQ(tether_batch_begin(), 0);
		drop(tags);
		EXPECT_EQ(pending(), 0U);
		flush();
		EXPECT_EQ(pending(), 3U);
		tether_batch_end();
		EXPECT_EQ(drain(), 3U);
		expect_all_ended_at_home_in_order();
	}

	Thread home;
	std::deque<Thing> things;
	std::vector<size_t> order; /* on the home's thread */
};

TEST_F(Batch, CollectsDropsAndPublishesThemAtItsEnd)
{
	std::vector<struct tether *> tags = bind_many(late);

	ASSERT_EQ(tether_batch_begin(), 0);
	drop(tags);
	EXPECT_EQ(pending(), 0U);
	tether_batch_end();
	EXPECT_EQ(pending(), late);
	EXPECT_EQ(drain(), late);
	expect_all_ended_at_home_in_order();
}

TEST_F(Batch, HoldsBackNoMoreThanItMust)
{
	std::vector<struct tether *> tags = bind_many(many);

	ASSERT_EQ(tether_batch_begin(), 0);
	for (size_t i = 0; i < many; i++) {
		EXPECT_EQ(tether_drop(tags[i]), TETHER_BATCHED);
		EXPECT_EQ(pending(), marked(i + 1) / bundle * bundle);
	}
	tether_batch_end();
	EXPECT_EQ(drain(), many);
	expect_all_ended_at_home_in_order();
}

TEST_F(Batch, OutsideOfOneNothingIsCollected)
{
	ASSERT_EQ(tether_batch_begin(), 0);
	tether_batch_end();
	EXPECT_EQ(tether_drop(bind()), TETHER_QUEUED);
	EXPECT_EQ(pending(), 1U);
	EXPECT_EQ(drain(), 1U);
}

TEST_F(Batch, OfAnotherThreadCollectsNothingHere)
{
	Thread other;

	other.run([] { ASSERT_EQ(tether_batch_begin(), 0); });
	EXPECT_EQ(tether_drop(bind()), TETHER_QUEUED);
	EXPECT_EQ(drain(), 1U);
	other.run([] { tether_batch_end(); });
}

TEST_F(Batch, InABatchEndsWithTheOuterOne)
{
	ASSERT_EQ(tether_batch_begin(), 0);
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(bind_many(2));
	tether_batch_end();
	EXPECT_EQ(pending(), 0U);
	tether_batch_end();
	EXPECT_EQ(pending(), 2U);
	EXPECT_EQ(drain(), 2U);
}

TEST_F(Batch, EndsWithItsBlockHoweverThatIsReached)
{
	auto throws = [&] {
		TETHER_BATCH();
		drop(bind_many(2));
		throw std::runtime_error("on the way");
	};

	EXPECT_THROW(throws(), std::runtime_error);
	EXPECT_EQ(pending(), 2U);
	on_a_plain_thread([&] {
		TETHER_BATCH();
		drop(bind_many(2));
		pthread_exit(nullptr);
	});
	EXPECT_EQ(pending(), 4U);
	EXPECT_EQ(drain(), 4U);
}

TEST_F(Batch, ThatWasNotBegunIsReported)
{
	tether_batch_end();
	ASSERT_EQ(tether_batch_begin(), 0);
	tether_batch_end();
	tether_batch_end();
	elsewhere([] { tether_batch_end(); });
	EXPECT_EQ(reports.take_kinds(), Kinds(3, TETHER_BAD_CALL));
}

TEST_F(Batch, CannotBeginWhereTheOwnerHasEnded)
{
	elsewhere([&] {
		tether_self();
		tether_owner_exit();
		EXPECT_EQ(tether_batch_begin(), -ESRCH);
		EXPECT_EQ(tether_drop(bind()), TETHER_QUEUED);
	});
	EXPECT_EQ(drain(), 1U);
}

/* Order, and who is told. */

TEST_F(Batch, KeepsTheOrderOfAllThatIsSentToOneOwner)
{
	constexpr size_t rounds = 50;
	std::vector<struct tether *> tags = bind_many(rounds * 4);
	std::deque<Note> notes;
	std::vector<size_t> seen;

	for (size_t i = 0; i < things.size(); i++)
		*things[i].at_end = [&seen, i] { seen.push_back(i); };
	ASSERT_EQ(tether_batch_begin(), 0);
	for (size_t i = 0; i < tags.size(); i++)
		if (i % 7 == 3) {
			notes.emplace_back([&seen, i] { seen.push_back(i); });
			EXPECT_EQ(tether_post(home.owner(), &notes.back().message), 0);
		} else if (i % 11 == 5) {
			EXPECT_EQ(tether_drop_later(tags[i]), TETHER_QUEUED);
		} else {
			EXPECT_EQ(tether_drop(tags[i]), TETHER_BATCHED);
		}
	tether_batch_end();
	EXPECT_EQ(drain(), tags.size());
	EXPECT_EQ(seen.size(), tags.size());
	EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
	for (size_t i = 3; i < tags.size(); i += 7)
		home.run([&] { tether_drop(tags[i]); });
}

TEST_F(Batch, KeepsAHandOffBehindWhatWasDroppedBefore)
{
	struct Journey {
		struct tether_transfer transfer;
		size_t before = 0;
		const std::vector<size_t> *order;
	} journey;
	Thing mine;
	std::vector<struct tether *> tags = bind_many(3);

	journey.order = &order;
	tether_transfer_init(&journey.transfer, [](struct tether_transfer *transfer, struct tether *tag, enum tether_arrival) {
		Journey *self = reinterpret_cast<Journey *>(transfer);
		self->before = self->order->size();
		tether_drop(tag);
	});
	tether_bind(&mine.tether, &thing_type);
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(tags);
	EXPECT_EQ(tether_hand_off(&mine.tether, home.owner(), &journey.transfer), 0);
	tether_batch_end();
	EXPECT_EQ(drain(), 4U);
	EXPECT_EQ(journey.before, 3U);
	EXPECT_TRUE(mine.ended_once_on(home.id()));
}

TEST_F(Batch, WakesAnOwnerOnceForABundle)
{
	static std::atomic<int> wakes;
	std::vector<struct tether *> tags = bind_many(bundle);

	wakes = 0;
	home.run([] {
		ASSERT_EQ(tether_set_wake([](void *) { wakes++; }, nullptr), 0);
		EXPECT_TRUE(tether_park());
	});
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(tags);
	EXPECT_EQ(wakes, 0);
	tether_batch_end();
	EXPECT_EQ(wakes, 1);
	home.run([] { tether_unpark(); });
	EXPECT_EQ(drain(), bundle);
	home.run([] { EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0); });
}

TEST_F(Batch, SendsToMoreOwnersThanItHasRoomFor)
{
	constexpr size_t owners = 20, each = 40;
	std::vector<std::unique_ptr<Thread>> homes;
	std::vector<std::vector<size_t>> orders(owners);
	std::vector<struct tether *> tags;

	for (size_t i = 0; i < owners; i++)
		homes.push_back(std::make_unique<Thread>());
	for (size_t number = 0; number < each; number++)
		for (size_t i = 0; i < owners; i++)
			tags.push_back(bind_at(*homes[i], &thing_type, [&orders, i, number] { orders[i].push_back(number); }));
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(tags);
	tether_batch_end();
	for (size_t i = 0; i < owners; i++) {
		homes[i]->run([&] { EXPECT_EQ(tether_drain(0), each); });
		EXPECT_EQ(orders[i].size(), each);
		EXPECT_TRUE(std::is_sorted(orders[i].begin(), orders[i].end()));
	}
}

TEST_F(Batch, CountsEachNodeForALimit)
{
	static std::vector<size_t> told;

	told.clear();
	home.run([] {
		EXPECT_EQ(tether_set_limit(
					  10, [](void *, size_t pending) { told.push_back(pending); }, nullptr),
		          0);
	});
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(bind_many(12));
	EXPECT_EQ(told, std::vector<size_t>{});
	tether_batch_end();
	EXPECT_EQ(told, std::vector<size_t>{12});
	Note note;
	EXPECT_EQ(tether_try_post(home.owner(), &note.message), -EAGAIN);
	EXPECT_EQ(drain(), 12U);
}

TEST_F(Batch, CountsDeeperThanAHeadCan)
{
	constexpr size_t deep = 70000;

	ASSERT_EQ(tether_batch_begin(), 0);
	drop(bind_many(deep));
	tether_batch_end();
	EXPECT_EQ(pending(), deep);
	EXPECT_EQ(drain(), deep);
	EXPECT_EQ(pending(), 0U);
	expect_all_ended_at_home_in_order();
}

/* What flushes. */

TEST_F(Batch, IsFlushedOnDemand)
{
	expect_flushed_by(tether_batch_flush);
}

TEST_F(Batch, IsFlushedByAPark)
{
	expect_flushed_by([] { (void)tether_park(); });
	tether_unpark();
}

TEST_F(Batch, IsFlushedAtTheEndOfADrain)
{
	expect_flushed_by([] { tether_drain(0); });
	expect_flushed_by([] { tether_drain_for(0, 1000); });
}

TEST_F(Batch, IsFlushedByAPostToAnybody)
{
	Note note;

	expect_flushed_by([&] { EXPECT_EQ(tether_post(tether_self(), &note.message), 0); });
	EXPECT_EQ(tether_drain(0), 1U);
}

TEST_F(Batch, IsFlushedByAShutdown)
{
	std::vector<struct tether *> tags = bind_many(3);
	std::atomic<bool> done{false};
	Thread sender;

	std::thread drains([&] {
		while (!done)
			drain();
	});
	sender.run([&] {
		ASSERT_EQ(tether_batch_begin(), 0);
		drop(tags);
		EXPECT_EQ(tether_shutdown(60000), 0);
		for (const Thing &thing : things)
			EXPECT_EQ(thing.ends, 1);
		tether_batch_end();
	});
	done = true;
	drains.join();
}

TEST_F(Batch, IsFlushedByEnteringAndLeavingAnOwner)
{
	tether_owner_t logical = 0, previous = 0;

	ASSERT_EQ(tether_owner_create("strand", &logical), 0);
	expect_flushed_by([&] { previous = tether_owner_enter(logical); });
	expect_flushed_by([&] { tether_owner_leave(previous); });
	EXPECT_EQ(tether_owner_end(logical), 0);
}

TEST_F(Batch, DropsWhatIsALogicalOwnersInsideOfIt)
{
	tether_owner_t logical = 0;
	Thing thing, second;

	ASSERT_EQ(tether_owner_create("strand", &logical), 0);
	ASSERT_EQ(tether_batch_begin(), 0);
	tether_owner_t previous = tether_owner_enter(logical);
	tether_bind(&thing.tether, &thing_type);
	tether_bind(&second.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_BATCHED);
	tether_owner_leave(previous);
	EXPECT_TRUE(thing.ended_once_here());
	EXPECT_EQ(tether_drop(&second.tether), TETHER_BATCHED);
	EXPECT_EQ(tether_owner_end(logical), 0);
	EXPECT_TRUE(second.ended_once_here());
	tether_batch_end();
}

/* Where the thread was somebody else its own things were sent to it. */
TEST_F(Batch, DestroysHereWhatIsTheThreadsOwnAgain)
{
	tether_owner_t logical = 0;
	Thing sent, here;

	tether_bind(&sent.tether, &thing_type);
	tether_bind(&here.tether, &thing_type);
	ASSERT_EQ(tether_owner_create("strand", &logical), 0);
	ASSERT_EQ(tether_batch_begin(), 0);
	tether_owner_t previous = tether_owner_enter(logical);
	EXPECT_EQ(tether_drop(&sent.tether), TETHER_BATCHED);
	tether_owner_leave(previous);
	EXPECT_EQ(sent.ends, 0);
	EXPECT_EQ(tether_drop(&here.tether), TETHER_BATCHED);
	tether_batch_end();
	EXPECT_TRUE(here.ended_once_here());
	EXPECT_EQ(sent.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(sent.ended_once_here());
	EXPECT_EQ(tether_owner_end(logical), 0);
}

TEST_F(Batch, IsFlushedAtTheEndOfItsOwner)
{
	Thread sender;

	sender.run([&] {
		ASSERT_EQ(tether_batch_begin(), 0);
		drop(bind_many(3));
		tether_owner_exit();
		tether_batch_end(); /* it has ended with the owner */
	});
	EXPECT_EQ(drain(), 3U);
}

TEST_F(Batch, IsFlushedAtTheEndOfItsThread)
{
	Thing own;

	elsewhere([&] {
		ASSERT_EQ(tether_batch_begin(), 0);
		drop(bind_many(3));
		tether_bind(&own.tether, &thing_type);
		EXPECT_EQ(tether_drop(&own.tether), TETHER_BATCHED);
	});
	EXPECT_EQ(drain(), 3U);
	EXPECT_EQ(own.ends, 1);
	on_a_plain_thread([&] {
		ASSERT_EQ(tether_batch_begin(), 0);
		drop(bind_many(3));
		pthread_exit(nullptr);
	});
	EXPECT_EQ(drain(), 3U);
}

TEST_F(Batch, IsFlushedWhereItsThreadIsCancelled)
{
	std::atomic<bool> ready{false};

	EXPECT_EQ(on_a_plain_thread(
				  [&] {
					  TETHER_BATCH();
					  drop(bind_many(3));
					  ready = true;
					  for (;;)
						  pause();
				  },
				  [&](pthread_t thread) {
					  while (!ready)
						  sched_yield();
					  pthread_cancel(thread);
				  }),
	          PTHREAD_CANCELED);
	EXPECT_EQ(drain(), 3U);
}

/* At home, and inside of callbacks. */

TEST_F(Batch, WhatIsAtHomeIsDestroyedHere)
{
	constexpr size_t own = 40;
	std::deque<Thing> mine(own);

	ASSERT_EQ(tether_batch_begin(), 0);
	for (Thing &thing : mine) {
		tether_bind(&thing.tether, &thing_type);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_BATCHED);
	}
	for (size_t i = 0; i < own; i++)
		EXPECT_EQ(mine[i].ends, i < marked(own) ? 1 : 0);
	tether_batch_end();
	for (Thing &thing : mine)
		EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Batch, WhatIsNobodysOrEverybodysIsDestroyedHere)
{
	Thing unbound, shared;

	tether_bind_later(&unbound.tether, &thing_type);
	tether_bind(&shared.tether, &thing_type);
	EXPECT_EQ(tether_share(&shared.tether), 0);
	ASSERT_EQ(tether_batch_begin(), 0);
	drop({&unbound.tether, &shared.tether});
	tether_batch_end();
	EXPECT_TRUE(unbound.ended_once_here());
	EXPECT_TRUE(shared.ended_once_here());
}

TEST_F(Batch, WhatIsLentOrFollowsFindsItsWay)
{
	Thread borrower;
	struct tether *lent = bind();
	struct Parent {
		struct tether_group group;
	} parent = {{{0, 0, 0, 0}, 0, 0}};
	static const tether_type parent_type = TETHER_TYPE_RULES(Parent, group.tag, nullptr, TETHER_GROUP);
	Thing child;

	home.run([&] {
		EXPECT_EQ(tether_lend(lent, borrower.owner()), 0);
		tether_bind_group(&parent.group, &parent_type);
		EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parent.group), 0);
	});
	ASSERT_EQ(tether_batch_begin(), 0);
	drop({lent, &child.tether, &parent.group.tag});
	tether_batch_end();
	EXPECT_EQ(drain(), 2U);
	EXPECT_TRUE(child.ended_once_on(home.id()));
	borrower.run([&] { EXPECT_EQ(tether_return(lent), 0); });
	EXPECT_EQ(drain(), 1U);
	EXPECT_TRUE(things.back().ended_once_on(home.id()));
}

TEST_F(Batch, ADestructorsDropsAreCollectedToo)
{
	std::vector<struct tether *> tags = bind_many(3);
	Thing second, first([&] {
		drop(tags);
		EXPECT_EQ(tether_drop(&second.tether), TETHER_BATCHED);
	});

	tether_bind(&first.tether, &thing_type);
	tether_bind(&second.tether, &thing_type);
	elsewhere([&] { tether_drop(&first.tether); });
	ASSERT_EQ(tether_batch_begin(), 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(pending(), 3U);
	EXPECT_TRUE(second.ended_once_here());
	tether_batch_end();
	EXPECT_EQ(drain(), 3U);
}

TEST_F(Batch, MayBeOpenedInADestructorThatAFlushRuns)
{
	Thing inner, outer([&] {
		TETHER_BATCH();
		drop({&inner.tether});
		drop(bind_many(2));
	});

	tether_bind(&outer.tether, &thing_type);
	tether_bind(&inner.tether, &thing_type);
	ASSERT_EQ(tether_batch_begin(), 0);
	drop({&outer.tether});
	tether_batch_end();
	EXPECT_TRUE(outer.ended_once_here());
	EXPECT_TRUE(inner.ended_once_here());
	EXPECT_EQ(drain(), 2U);
}

TEST_F(Batch, ADestructorThatThrowsStrandsNothing)
{
	Thing throws([] { throw std::runtime_error("in a destructor"); }), next;

	tether_bind(&throws.tether, &thing_type);
	tether_bind(&next.tether, &thing_type);
	ASSERT_EQ(tether_batch_begin(), 0);
	drop({&throws.tether, &next.tether});
	drop(bind_many(3));
	EXPECT_THROW(tether_batch_end(), std::runtime_error);
	EXPECT_EQ(drain(), 3U);
	tether_drain(0);
	EXPECT_TRUE(throws.ended_once_here());
	EXPECT_TRUE(next.ended_once_here());
}

/* Misuse, and destinations that end. */

__attribute__((noinline)) enum tether_dropped drop_again(struct tether *tag)
{
	enum tether_dropped dropped = tether_drop(tag);

	__asm__ volatile("" ::: "memory"); /* no tail call */
	return dropped;
}

TEST_F(Batch, TheSecondDropIsReportedWhenItIsMarkedWithItsPlace)
{
	struct tether *tag = bind();
	std::vector<Caught> caught;

	ASSERT_EQ(tether_batch_begin(), 0);
	EXPECT_EQ(tether_drop(tag), TETHER_BATCHED);
	EXPECT_EQ(drop_again(tag), TETHER_BATCHED);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	tether_batch_end();
	caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_DOUBLE_DROP);
	EXPECT_EQ(caught[0].operation, "drop");
	EXPECT_EQ(caught[0].report.object, &things.back());
	auto into = reinterpret_cast<uintptr_t>(caught[0].report.address) - reinterpret_cast<uintptr_t>(drop_again);
	EXPECT_LT(into, 64U); /* in that function, which is small */
	EXPECT_EQ(drain(), 1U);
	EXPECT_TRUE(things.back().ended_once_on(home.id()));
}

/* Also where the one before it went, whose word need not be looked at again. */
TEST_F(Batch, WhatSomethingWroteOverIsRefused)
{
	std::vector<struct tether *> tags = bind_many(6);
	const struct tether whole = *tags[1];
	const uint64_t gone = TETHER_GONE_;
	const uint64_t over[][2] = {{whole.owner_, 0}, {0, 0}, {gone, 0}, {gone, whole.state_}, {7, whole.state_}, {gone, gone}};

	for (auto &[owner, state] : over) {
		struct tether spoilt = {owner, state, 0, 0};
		std::vector<struct tether *> two = bind_many(2);

		ASSERT_EQ(tether_batch_begin(), 0);
		drop({two[0], &spoilt, two[1], &spoilt});
		tether_batch_end();
		EXPECT_EQ(reports.take_kinds().size(), 2U) << owner << ' ' << state;
		EXPECT_EQ(spoilt.owner_, owner);
		EXPECT_EQ(spoilt.state_, state);
		EXPECT_EQ(drain(), 2U);
	}
	drop_now(tags);
	EXPECT_EQ(drain(), tags.size());
}

/* What a callback does is its own affair, as long as it returns. */
TEST_F(Batch, MayBeEndedByAReportInTheMiddleOfIt)
{
	std::vector<struct tether *> tags = bind_many(many);
	unsigned told = 0;

	ASSERT_EQ(tether_batch_begin(), 0);
	drop({tags[0], tags[0]});
	tether_set_report_callback(
		[](const struct tether_report *report, void *context) {
			EXPECT_EQ(report->kind, TETHER_DOUBLE_DROP);
			++*static_cast<unsigned *>(context);
			tether_batch_end();
		},
		&told);
	for (size_t i = 1; told == 0 && i < late + at_once - 1; i++)
		EXPECT_EQ(tether_drop(tags[i]), TETHER_BATCHED);
	EXPECT_EQ(told, 1U);
	EXPECT_EQ(pending(), late + at_once - 1);
	for (size_t i = late + at_once - 1; i < many; i++)
		EXPECT_EQ(tether_drop(tags[i]), TETHER_QUEUED);
	EXPECT_EQ(told, 1U);
	tether_set_report_callback(nullptr, nullptr);
	EXPECT_EQ(drain(), many);
	expect_all_ended_at_home_in_order();
}

TEST_F(Batch, WhatAnotherThreadHasDroppedIsReportedThereOrHere)
{
	struct tether *tag = bind();

	ASSERT_EQ(tether_batch_begin(), 0);
	EXPECT_EQ(tether_drop(tag), TETHER_BATCHED);
	elsewhere([&] { EXPECT_EQ(tether_drop(tag), TETHER_QUEUED); });
	tether_batch_end();
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
	EXPECT_EQ(drain(), 1U);
	EXPECT_TRUE(things.back().ended_once_on(home.id()));
}

TEST_F(Batch, WhatGoesToAnOwnerThatHasEndedTakesTheOrphansWayOnce)
{
	Thread ends, heir;
	thing_heir = heir.owner();
	std::vector<struct tether *> tags;

	for (size_t i = 0; i < many; i++)
		tags.push_back(bind_at(ends, &anywhere_type));
	tags.push_back(bind_at(ends));
	tags.push_back(bind_at(ends, &heir_type));
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(tags);
	pthread_t there = ends.id();
	ends.end();
	tether_batch_end();
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	EXPECT_EQ(things[many].ends, 0);
	heir.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(things[many + 1].ended_once_on(heir.id()));
	constexpr size_t sent_before = marked(many + 2) / bundle * bundle;
	for (size_t i = 0; i < many; i++)
		EXPECT_TRUE(things[i].ended_once_on(i < sent_before ? there : pthread_self()));
}

TEST_F(Batch, WhoGetsTheSlotGetsNoneOfIt)
{
	std::vector<std::unique_ptr<Thread>> later;
	auto ends = std::make_unique<Thread>();
	tether_owner_t before = ends->owner(), now = 0;
	std::vector<struct tether *> tags;

	/* Some of them are marked by then, and some are not. */
	for (size_t i = 0; i < late + bundle; i++)
		tags.push_back(bind_at(*ends, &anywhere_type));
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(std::vector<struct tether *>(tags.begin(), tags.end() - 1));
	ends.reset();
	while (((now ^ before) & 0xfffff) != 0) {
		later.push_back(std::make_unique<Thread>());
		now = later.back()->owner();
	}
	drop({tags.back()});
	tether_batch_end();
	for (const Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_here());
}

/* Signal handlers, forks, exits. */

Note *to_post;
struct tether *to_drop;
tether_owner_t to_whom;

void post_and_drop(int)
{
	EXPECT_EQ(tether_post(to_whom, &to_post->message), 0);
	EXPECT_EQ(tether_drop_later(to_drop), TETHER_QUEUED);
}

TEST_F(Batch, AHandlersPostComesBehindWhatItsThreadHasCollected)
{
	std::vector<struct tether *> tags = bind_many(3);
	size_t before = 0;
	Note note([&] { before = order.size(); });
	Thing mine;

	to_post = &note;
	to_drop = bind();
	to_whom = home.owner();
	tether_bind(&mine.tether, &thing_type);
	signal(SIGUSR1, post_and_drop);
	ASSERT_EQ(tether_batch_begin(), 0);
	drop(tags);
	EXPECT_EQ(tether_drop(&mine.tether), TETHER_BATCHED);
	raise(SIGUSR1);
	EXPECT_EQ(mine.ends, 0); /* no destructor runs in a handler */
	EXPECT_EQ(drain(), 5U);
	EXPECT_EQ(before, 3U);
	tether_batch_end();
	EXPECT_TRUE(mine.ended_once_here());
	signal(SIGUSR1, SIG_DFL);
	expect_all_ended_at_home_in_order();
}

/* What it had marked for them, and what it had not; new owners may have their slots by then. */
TEST_F(Batch, OfAChildFindsThatItsOwnersHaveGone)
{
	if (RUNNING_ON_VALGRIND)
		GTEST_SKIP() << "takes what the threads had that a fork leaves behind for leaks";
	Thread second;
	pid_t child;

	for (int new_owners : {0, 4}) {
		std::vector<struct tether *> tags;
		int status = -1;

		for (size_t i = 0; i < many; i++)
			tags.push_back(bind_at(i % 5 == 0 ? second : home, &anywhere_type));
		ASSERT_EQ(tether_batch_begin(), 0);
		drop(std::vector<struct tether *>(tags.begin(), tags.begin() + bundle + late));
		child = fork();
		for (int i = 0; child == 0 && i < new_owners; i++) {
			tether_owner_t made;
			EXPECT_EQ(tether_owner_create("the child's", &made), 0);
		}
		drop(std::vector<struct tether *>(tags.begin() + bundle + late, tags.end()));
		tether_batch_end();
		if (child == 0) {
			bool is_good = stats().pending == 0;
			for (size_t i = 0; i < many; i++)
				is_good = is_good && things[things.size() - many + i].ended_once_here();
			_exit(is_good && !HasFailure() ? 0 : 1);
		}
		EXPECT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(status, 0);
		second.run([] { tether_drain(0); });
		drain();
	}
	for (size_t i = 0; i < things.size(); i++)
		EXPECT_TRUE(things[i].ended_once_on(i % 5 == 0 ? second.id() : home.id()));
}

TEST_F(Batch, MayBeLeftOpenByWhatItsOwnerRunsLast)
{
	std::vector<struct tether *> tags = bind_many(3);

	elsewhere([&] {
		Thing last{[&] {
			ASSERT_EQ(tether_batch_begin(), 0);
			drop({tags[0]});
		}};
		Thing first{[&] {
			ASSERT_EQ(tether_batch_begin(), 0);
			drop({&last.tether, tags[1]});
		}};

		tether_bind(&first.tether, &thing_type);
		tether_bind(&last.tether, &thing_type);
		EXPECT_EQ(tether_drop_later(&first.tether), TETHER_QUEUED);
		tether_owner_exit();
		EXPECT_TRUE(first.ended_once_here() && last.ended_once_here());
		EXPECT_EQ(tether_drop(tags[2]), TETHER_QUEUED);
	});
	EXPECT_EQ(drain(), 3U);
}

} // namespace
