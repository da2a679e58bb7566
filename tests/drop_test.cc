/* drop_test.cc - drops and messages: where they run, in which order, and what becomes of orphans.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <sys/mman.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace
{

class Drop : public Quiet
{
};

TEST_F(Drop, FromItsOwnThreadRunsAtOnce)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Drop, FromAnotherThreadRunsOnTheOwner)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		tether_self();
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	});
	EXPECT_EQ(thing.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Drop, FromAThreadWithoutOwnerRunsOnTheOwner)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

/* An object on a page of its own, which goes with it. */
struct Page {
	struct tether tether;

	static void destroy(void *page) { munmap(page, static_cast<size_t>(sysconf(_SC_PAGESIZE))); }
	static Page *make();
};

const tether_type page_type = TETHER_TYPE(Page, tether, Page::destroy);

Page *Page::make()
{
	size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
	void *page = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_NE(page, MAP_FAILED);
	tether_bind(&static_cast<Page *>(page)->tether, &page_type);
	return static_cast<Page *>(page);
}

/* Each hint of the second half names an object of the first, whose memory has gone by then. */
TEST_F(Drop, HintsOfMemoryThatHasGoneDoNoHarm)
{
	constexpr size_t ahead = 32;
	std::vector<Page *> pages;
	std::vector<uint64_t> gone;
	Thread sender;

	sender.owner();
	for (int round = 0; round < 3; round++) {
		pages.clear();
		for (size_t i = 0; i < ahead; i++)
			pages.push_back(Page::make());
		sender.run([&] {
			for (Page *page : pages)
				EXPECT_EQ(tether_drop(&page->tether), TETHER_QUEUED);
		});
		for (size_t i = 0; i < ahead && round > 0; i++)
			EXPECT_EQ(~pages[i]->tether.hint_, gone[i]);
		gone.clear();
		for (Page *page : pages)
			gone.push_back(reinterpret_cast<uintptr_t>(page));
		EXPECT_EQ(tether_drain(0), ahead);
	}
}

TEST_F(Drop, LaterAtHomeWaitsForTheDrainBehindWhatCameBefore)
{
	std::string order;
	Thing first([&] { order += "1"; }), second([&] { order += "2"; }), third([&] { order += "3"; });

	for (Thing *thing : {&first, &second, &third})
		tether_bind(&thing->tether, &thing_type);
	elsewhere([&] { EXPECT_EQ(tether_drop(&first.tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_drop_later(&second.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop_later(&third.tether), TETHER_QUEUED);
	EXPECT_EQ(order, "");
	EXPECT_EQ(tether_drain(0), 3U);
	EXPECT_EQ(order, "123");
}

TEST_F(Drop, OfAnUnboundObjectRunsHere)
{
	Thing here, elsewhere_too;

	tether_bind_later(&here.tether, &thing_type);
	tether_bind_later(&elsewhere_too.tether, &thing_type);
	EXPECT_EQ(tether_drop(&here.tether), TETHER_HERE);
	EXPECT_TRUE(here.ended_once_here());
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&elsewhere_too.tether), TETHER_HERE);
		EXPECT_TRUE(elsewhere_too.ended_once_here());
	});
}

TEST_F(Drop, LaterOfAnUnboundObjectWaitsForTheNextDrainHere)
{
	Thing here, without_owner;

	tether_bind_later(&here.tether, &thing_type);
	tether_bind_later(&without_owner.tether, &thing_type);
	EXPECT_EQ(tether_drop_later(&here.tether), TETHER_QUEUED);
	EXPECT_EQ(here.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(here.ended_once_here());
	elsewhere([&] {
		EXPECT_EQ(tether_drop_later(&without_owner.tether), TETHER_HERE) << "there is no queue";
		EXPECT_TRUE(without_owner.ended_once_here());
	});
}

TEST_F(Drop, DestructorMayFreeTheMemory)
{
	struct Heap {
		int *content = new int[10];
		struct tether tether = {0, 0, 0, 0};
		~Heap() { delete[] content; }
	};
	static int freed;
	auto destroy = [](void *heap) {
		freed++;
		delete static_cast<Heap *>(heap);
	};
	static const tether_type heap_type = TETHER_TYPE_POLICY(Heap, tether, destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);
	Heap *here = new Heap, *home = new Heap, *later = new Heap, *unbound = new Heap, *orphan = new Heap, *inbox = new Heap;

	for (Heap *heap : {here, home, later})
		tether_bind(&heap->tether, &heap_type);
	tether_bind_later(&unbound->tether, &heap_type);
	elsewhere([&] {
		tether_bind(&orphan->tether, &heap_type);
		tether_bind(&inbox->tether, &heap_type);
		tether_drop_later(&inbox->tether);
		EXPECT_EQ(tether_drop(&home->tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&unbound->tether), TETHER_HERE);
	});
	EXPECT_EQ(tether_drop(&here->tether), TETHER_HERE);
	EXPECT_EQ(tether_drop_later(&later->tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&orphan->tether), TETHER_ORPHANED);
	EXPECT_EQ(tether_drain(0), 2U);
	EXPECT_EQ(freed, 6);
}

/* Dropping twice. */

TEST_F(Drop, TwiceIsReportedAndRunsOnce)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
		EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_REFUSED);
	});
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take_kinds(), Kinds(4, TETHER_DOUBLE_DROP));
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Drop, ByTwoThreadsAtOnceIsWonByOne)
{
	size_t rounds = scaled(20000);
	std::vector<Thing> things(rounds);
	std::atomic<size_t> arrived{0}, queued{0}, refused{0};
	auto drop_each = [&](size_t me) {
		for (size_t round = 0; round < rounds; round++) {
			meet(arrived, 2 * (round + 1), me * (round % 64));
			(tether_drop(&things[round].tether) == TETHER_QUEUED ? queued : refused)++;
		}
	};

	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	std::thread one(drop_each, 0), two(drop_each, 1);
	one.join();
	two.join();
	EXPECT_EQ(queued, rounds);
	EXPECT_EQ(refused, rounds);
	EXPECT_EQ(tether_drain(0), rounds);
	for (Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_here());
	EXPECT_EQ(reports.take_kinds(), Kinds(rounds, TETHER_DOUBLE_DROP));
}

/* Order. */

TEST_F(Drop, KeepsEachSendersOrderMessagesIncluded)
{
	constexpr size_t senders = 3, each = 300;
	struct Sender {
		std::vector<size_t> order;
		std::vector<std::unique_ptr<Thing>> things;
		std::vector<std::unique_ptr<Note>> notes;
	};
	Sender all[senders];
	std::vector<std::thread> threads;
	tether_owner_t home = tether_self();

	for (Sender &sender : all)
		for (size_t i = 0; i < each; i++) {
			auto seen = [&sender, i] { sender.order.push_back(i); };

			sender.things.push_back(std::make_unique<Thing>(seen));
			sender.notes.push_back(std::make_unique<Note>(seen));
			tether_bind(&sender.things.back()->tether, &thing_type);
		}
	for (Sender &sender : all)
		threads.emplace_back([&sender, home] {
			for (size_t i = 0; i < each; i++)
				if (i % 3 == 0)
					EXPECT_EQ(tether_drop(&sender.things[i]->tether), TETHER_QUEUED);
				else if (i % 3 == 1)
					EXPECT_EQ(tether_post(home, &sender.notes[i]->message), 0);
				else
					EXPECT_EQ(tether_drop_later(&sender.things[i]->tether), TETHER_QUEUED);
		});
	size_t handled = 0;
	while (handled < senders * each)
		handled += tether_drain(7);
	for (std::thread &thread : threads)
		thread.join();
	for (Sender &sender : all) {
		ASSERT_EQ(sender.order.size(), each);
		for (size_t i = 0; i < each; i++)
			EXPECT_EQ(sender.order[i], i);
		for (size_t i = 1; i < each; i += 3)
			tether_fini(&sender.things[i]->tether);
	}
}

TEST_F(Drop, ToOneselfKeepsTheOrderToo)
{
	std::string order;
	Thing first([&] { order += "1"; }), third([&] { order += "3"; });
	Note second([&] { order += "2"; });

	tether_bind(&first.tether, &thing_type);
	tether_bind(&third.tether, &thing_type);
	EXPECT_EQ(tether_drop_later(&first.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(tether_self(), &second.message), 0);
	EXPECT_EQ(tether_drop_later(&third.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drain(0), 3U);
	EXPECT_EQ(order, "123");
}

/* Inside a destructor. */

class InADestructor : public Quiet
{
protected:
	std::string order;
	Thing inner{[this] { order += "inner "; }};
	Thing outer{[this] {
		order += "outer{ ";
		inside();
		order += "} ";
	}};
	std::function<void()> inside;
	Thread gone;

	void drop_outer(const char *expected)
	{
		tether_bind(&outer.tether, &thing_type);
		EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
		EXPECT_EQ(order, expected);
		EXPECT_TRUE(outer.ended_once_here());
	}
};

TEST_F(InADestructor, ADropRunsWhenItHasReturned)
{
	tether_bind(&inner.tether, &thing_type);
	inside = [&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); };
	drop_outer("outer{ } inner ");
}

TEST_F(InADestructor, ADropOfTheUnboundRunsWhenItHasReturned)
{
	tether_bind_later(&inner.tether, &thing_type);
	inside = [&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); };
	drop_outer("outer{ } inner ");
}

TEST_F(InADestructor, ADropOfAnOrphanRunsWhenItHasReturned)
{
	gone.run([&] { tether_bind(&inner.tether, &anywhere_type); });
	gone.end();
	inside = [&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); };
	drop_outer("outer{ } inner ");
}

TEST_F(InADestructor, ALaterDropWaitsForTheDrain)
{
	tether_bind(&inner.tether, &thing_type);
	inside = [&] { EXPECT_EQ(tether_drop_later(&inner.tether), TETHER_QUEUED); };
	drop_outer("outer{ } ");
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(order, "outer{ } inner ");
}

TEST_F(InADestructor, AForeignObjectGoesHome)
{
	gone.run([&] { tether_bind(&inner.tether, &thing_type); });
	inside = [&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); };
	drop_outer("outer{ } ");
	gone.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(inner.ended_once_on(gone.id()));
}

TEST_F(InADestructor, APostedMessageComesWithTheNextDrain)
{
	Note note([&] { order += "note "; });

	inside = [&] { EXPECT_EQ(tether_post(tether_self(), &note.message), 0); };
	drop_outer("outer{ } ");
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(order, "outer{ } note ");
}

TEST_F(InADestructor, ADrainDoesNothing)
{
	tether_bind(&inner.tether, &thing_type);
	elsewhere([&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); });
	inside = [] { EXPECT_EQ(tether_drain(0), 0U); };
	drop_outer("outer{ } ");
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(order, "outer{ } inner ");
}

TEST_F(InADestructor, ItsObjectIsMineUntilItReturns)
{
	inside = [&] {
		TETHER_CHECK(&outer.tether);
		EXPECT_TRUE(TETHER_ENSURE(&outer.tether));
		EXPECT_TRUE(tether_is_mine(&outer.tether));
	};
	drop_outer("outer{ } ");
	EXPECT_FALSE(tether_is_mine(&outer.tether));
}

TEST_F(InADestructor, ADropWorksOnAThreadWithoutOwner)
{
	tether_bind_later(&inner.tether, &thing_type);
	tether_bind_later(&outer.tether, &thing_type);
	inside = [&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); };
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
		EXPECT_EQ(order, "outer{ } inner ");
	});
}

TEST_F(InADestructor, AThreadMayGetItsOwner)
{
	Thing before([this] { order += "before "; }), after([this] { order += "after "; });

	for (Thing *thing : {&outer, &before, &after})
		tether_bind_later(&thing->tether, &thing_type);
	inside = [&] {
		EXPECT_EQ(tether_drop(&before.tether), TETHER_QUEUED);
		tether_bind(&inner.tether, &thing_type);
		EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&after.tether), TETHER_QUEUED);
		EXPECT_TRUE(TETHER_ENSURE(&outer.tether)) << "it is still being destroyed here";
		EXPECT_EQ(tether_drain(0), 0U);
		tether_owner_exit();
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_CALL});
	};
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
		EXPECT_EQ(order, "outer{ } before inner after ");
	});
}

TEST_F(InADestructor, ADropInItsOwnDropChainIsStillQueued)
{
	Thing last([this] { order += "last "; });

	*inner.at_end = [&] {
		order += "inner{ ";
		EXPECT_EQ(tether_drop(&last.tether), TETHER_QUEUED);
		order += "} ";
	};
	tether_bind(&inner.tether, &thing_type);
	tether_bind(&last.tether, &thing_type);
	inside = [&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); };
	drop_outer("outer{ } inner{ } last ");
}

TEST_F(InADestructor, ADropAfterTheEndOfItsOwnTagIsStillQueued)
{
	tether_bind(&inner.tether, &thing_type);
	inside = [&] {
		tether_fini(&outer.tether);
		EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 0U);
	};
	drop_outer("outer{ } inner ");
}

TEST_F(InADestructor, TheSecondDropOfItselfIsRefused)
{
	inside = [&] { EXPECT_EQ(tether_drop(&outer.tether), TETHER_REFUSED); };
	drop_outer("outer{ } ");
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
}

TEST_F(Drop, InsideAMessageRunsAtOnce)
{
	Thing thing;
	Note note([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_TRUE(thing.ended_once_here());
	});

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(note.calls, 1);
}

/* Chains: each destructor drops the next, on a stack that has room for one. */

struct Link {
	struct tether tether;
};

class Chain : public Quiet
{
protected:
	static void link_destroy(void *object)
	{
		Link *link = static_cast<Link *>(object);

		ended_count++;
		if (link + 1 < end_of_chain)
			last_drop = tether_drop(&link[1].tether);
	}
	static inline size_t ended_count;
	static inline Link *end_of_chain;
	static inline enum tether_dropped last_drop;
	static inline tether_owner_t chain_heir;
	static inline const tether_type link_type = TETHER_TYPE(Link, tether, link_destroy);
	static inline const tether_type anywhere_link_type =
		TETHER_TYPE_POLICY(Link, tether, link_destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);
	static inline const tether_type heir_link_type =
		TETHER_TYPE_HEIR(Link, tether, link_destroy, &chain_heir, TETHER_LEVEL_DEFAULT);

	size_t length = scaled(10000000);
	std::unique_ptr<Link[]> links{new Link[length]};

	void SetUp() override
	{
		Quiet::SetUp();
		ended_count = 0;
		end_of_chain = links.get() + length;
	}
	void bind_all(const tether_type *type)
	{
		for (size_t i = 0; i < length; i++)
			tether_bind(&links[i].tether, type);
	}
};

TEST_F(Chain, AtHomeTakesConstantStack)
{
	on_a_small_stack([&] {
		bind_all(&link_type);
		EXPECT_EQ(tether_drop(&links[0].tether), TETHER_HERE);
		EXPECT_EQ(ended_count, length);
	});
}

TEST_F(Chain, InADrainTakesConstantStackAndIsCounted)
{
	on_a_small_stack([&] {
		bind_all(&link_type);
		elsewhere([&] { EXPECT_EQ(tether_drop(&links[0].tether), TETHER_QUEUED); });
		EXPECT_EQ(tether_drain(0), length);
		EXPECT_EQ(ended_count, length);
	});
}

TEST_F(Chain, AtThreadExitTakesConstantStack)
{
	on_a_small_stack([&] {
		bind_all(&link_type);
		tether_drop_later(&links[0].tether);
	});
	EXPECT_EQ(ended_count, length);
}

TEST_F(Chain, OfTheUnboundTakesConstantStack)
{
	for (size_t i = 0; i < length; i++)
		tether_bind_later(&links[i].tether, &link_type);
	on_a_small_stack([&] { EXPECT_EQ(tether_drop(&links[0].tether), TETHER_HERE); });
	EXPECT_EQ(ended_count, length);
}

TEST_F(Chain, OfOrphansForAnywhereTakesConstantStack)
{
	elsewhere([&] { bind_all(&anywhere_link_type); });
	on_a_small_stack([&] { EXPECT_EQ(tether_drop(&links[0].tether), TETHER_ORPHANED); });
	EXPECT_EQ(ended_count, length);
}

TEST_F(Chain, OfOrphansForAnHeirTakesConstantStack)
{
	elsewhere([&] { bind_all(&heir_link_type); });
	on_a_small_stack([&] {
		chain_heir = tether_self();
		elsewhere([&] { EXPECT_EQ(tether_drop(&links[0].tether), TETHER_ORPHANED); });
		tether_drain(0);
		EXPECT_EQ(ended_count, length);
	});
}

TEST_F(Chain, StopsAtAnOrphanThatIsLeaked)
{
	on_a_small_stack([&] {
		Thing first([&] { EXPECT_EQ(tether_drop(&links[0].tether), TETHER_ORPHANED); });

		elsewhere([&] { bind_all(&link_type); });
		tether_bind(&first.tether, &thing_type);
		EXPECT_EQ(tether_drop(&first.tether), TETHER_HERE);
		EXPECT_EQ(first.ends, 1);
	});
	EXPECT_EQ(ended_count, 0U);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
}

/* Orphans. */

class Orphan : public Quiet
{
protected:
	Thing thing;
	tether_owner_t ended = 0;

	void bind_and_end(const tether_type *type)
	{
		elsewhere([&] {
			ended = tether_self();
			tether_bind(&thing.tether, type);
		});
	}
	void expect_leaked()
	{
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);

		std::vector<Caught> caught = reports.take();

		ASSERT_EQ(caught.size(), 1U);
		EXPECT_EQ(caught[0].report.kind, TETHER_LEAKED);
		EXPECT_EQ(caught[0].report.owner, ended);
		EXPECT_FALSE(caught[0].report.owner_is_alive);
		tether_drain(0);
		EXPECT_EQ(thing.ends, 0);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED) << "it was dropped";
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
	}
};

TEST_F(Orphan, IsLeakedAndReportedUnlessItsTypeSaysOtherwise)
{
	bind_and_end(&thing_type);
	expect_leaked();
}

TEST_F(Orphan, ForAnywhereRunsWhereItIsDropped)
{
	bind_and_end(&anywhere_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Orphan, ForAnywhereWaitsForTheNextDrainWhenDroppedLater)
{
	bind_and_end(&anywhere_type);
	EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(thing.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Orphan, ForAnywhereHasNoQueueOnAThreadWithoutOwner)
{
	bind_and_end(&anywhere_type);
	elsewhere([&] {
		EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_ORPHANED);
		EXPECT_TRUE(thing.ended_once_here());
	});
}

TEST_F(Orphan, ForAnywhereRunsOnAThreadWithoutOwner)
{
	bind_and_end(&anywhere_type);
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
		EXPECT_TRUE(thing.ended_once_here());
	});
}

TEST_F(Orphan, ForItsHeirRunsThere)
{
	Thread heir;

	thing_heir = heir.owner();
	bind_and_end(&heir_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	EXPECT_EQ(thing.ends, 0);
	heir.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(thing.ended_once_on(heir.id()));
}

TEST_F(Orphan, ForAnHeirThatDropsItRunsThereToo)
{
	thing_heir = tether_self();
	bind_and_end(&heir_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	tether_drain(0);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Orphan, ForAnHeirThatEndsRunsAtItsEnd)
{
	Thread heir;
	pthread_t id = heir.id();

	thing_heir = heir.owner();
	bind_and_end(&heir_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	heir.end();
	EXPECT_TRUE(thing.ended_once_on(id));
}

TEST_F(Orphan, ForAnHeirThatHasGoneIsLeaked)
{
	elsewhere([] { thing_heir = tether_self(); });
	bind_and_end(&heir_type);
	expect_leaked();
}

TEST_F(Orphan, WithoutAnHeirIsLeaked)
{
	thing_heir = 0;
	bind_and_end(&heir_type);
	expect_leaked();
}

TEST_F(Orphan, WhoseHeirIsItsOwnOwnerIsLeaked)
{
	bind_and_end(&heir_type);
	thing_heir = ended;
	expect_leaked();
}

TEST_F(Orphan, MayBeReachedByTheChecksOfNobody)
{
	bind_and_end(&anywhere_type);
	EXPECT_FALSE(TETHER_ENSURE(&thing.tether));

	std::vector<Caught> caught = reports.take();

	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_WRONG_THREAD);
	EXPECT_FALSE(caught[0].report.owner_is_alive);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
}

/* Signal handlers. */

struct InHandler {
	Thing thing;
	Note note;
	tether_owner_t owner = tether_self();
	bool is_mine = false, ensured = false;
	enum tether_dropped dropped = TETHER_REFUSED;
	int posted = -1;
};

TEST_F(Drop, LaterAndPostMayComeFromASignalHandler)
{
	static InHandler *work;
	InHandler in_handler;
	struct sigaction action = {}, before;

	work = &in_handler;
	tether_bind(&in_handler.thing.tether, &thing_type);
	action.sa_handler = [](int) {
		TETHER_CHECK(&work->thing.tether);
		work->ensured = TETHER_ENSURE(&work->thing.tether);
		work->is_mine = tether_is_mine(&work->thing.tether);
		work->dropped = tether_drop_later(&work->thing.tether);
		work->posted = tether_post(work->owner, &work->note.message);
	};
	sigaction(SIGUSR1, &action, &before);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &before, nullptr);
	EXPECT_TRUE(in_handler.ensured && in_handler.is_mine);
	EXPECT_EQ(in_handler.dropped, TETHER_QUEUED);
	EXPECT_EQ(in_handler.posted, 0);
	EXPECT_EQ(tether_drain(0), 2U);
	EXPECT_TRUE(in_handler.thing.ended_once_here());
	EXPECT_TRUE(in_handler.note.ran_once_on(pthread_self()));
}

/* Exceptions, as destructors written in C++ may throw them. */

class Thrown : public Quiet
{
protected:
	struct Oops : std::runtime_error {
		Oops() : std::runtime_error("thrown by a destructor") {}
	};
	Thing thrower{[] { throw Oops(); }};
	Thing others[2];
	Note note;

	void bind_all()
	{
		tether_bind(&thrower.tether, &thing_type);
		for (Thing &other : others)
			tether_bind(&other.tether, &thing_type);
	}
};

TEST_F(Thrown, ThroughADrainLosesNothing)
{
	tether_owner_t self = tether_self();

	bind_all();
	elsewhere([&] {
		tether_drop(&thrower.tether);
		tether_drop(&others[0].tether);
		tether_drop(&others[1].tether);
		tether_post(self, &note.message);
	});
	EXPECT_THROW(tether_drain(0), Oops);
	EXPECT_FALSE(tether_is_mine(&thrower.tether));
	EXPECT_EQ(tether_drain(0), 3U);
	EXPECT_TRUE(others[0].ended_once_here() && others[1].ended_once_here());
	EXPECT_TRUE(note.ran_once_on(pthread_self()));
	EXPECT_EQ(thrower.ends, 1);
}

TEST_F(Thrown, ThroughADropLosesNothing)
{
	*thrower.at_end = [&] {
		EXPECT_EQ(tether_drop(&others[0].tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&others[1].tether), TETHER_QUEUED);
		throw Oops();
	};
	bind_all();
	EXPECT_THROW(tether_drop(&thrower.tether), Oops);
	EXPECT_EQ(thrower.ends, 1);
	EXPECT_EQ(tether_drain(0), 2U);
	EXPECT_TRUE(others[0].ended_once_here() && others[1].ended_once_here());
}

TEST_F(Thrown, ThroughAMessageLosesNothing)
{
	Note throwing([] { throw Oops(); });

	bind_all();
	EXPECT_EQ(tether_post(tether_self(), &throwing.message), 0);
	tether_drop_later(&others[0].tether);
	EXPECT_THROW(tether_drain(0), Oops);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(others[0].ended_once_here());
	EXPECT_EQ(throwing.calls, 1);
	tether_fini(&others[1].tether);
	tether_fini(&thrower.tether);
}

TEST_F(Thrown, OnAThreadWithoutOwnerStillRunsWhatWasDropped)
{
	*thrower.at_end = [&] {
		EXPECT_EQ(tether_drop(&others[0].tether), TETHER_QUEUED);
		throw Oops();
	};
	tether_bind_later(&thrower.tether, &thing_type);
	tether_bind_later(&others[0].tether, &thing_type);
	elsewhere([&] {
		EXPECT_THROW(tether_drop(&thrower.tether), Oops);
		EXPECT_TRUE(others[0].ended_once_here());
	});
}

TEST_F(Thrown, OnAThreadThatBecameAnOwnerMeanwhileStillRunsWhatWasDropped)
{
	*thrower.at_end = [&] {
		EXPECT_EQ(tether_drop(&others[0].tether), TETHER_QUEUED);
		tether_bind(&others[1].tether, &thing_type);
		EXPECT_EQ(tether_drop(&others[1].tether), TETHER_QUEUED);
		throw Oops();
	};
	tether_bind_later(&thrower.tether, &thing_type);
	tether_bind_later(&others[0].tether, &thing_type);
	elsewhere([&] {
		EXPECT_THROW(tether_drop(&thrower.tether), Oops);
		EXPECT_TRUE(others[0].ended_once_here() && others[1].ended_once_here());
	});
}

TEST_F(Thrown, KeepsTheDescriptorReadableForTheRest)
{
	elsewhere([&] {
		int fd = tether_fd();

		bind_all();
		elsewhere([&] {
			tether_drop(&thrower.tether);
			tether_drop(&others[0].tether);
		});
		EXPECT_TRUE(is_readable(fd));
		EXPECT_THROW(tether_drain(0), Oops);
		EXPECT_TRUE(is_readable(fd));
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_FALSE(is_readable(fd));
		tether_fini(&others[1].tether);
	});
}

TEST_F(Thrown, LeavesCancellationAsItWas)
{
	int state = -1;

	bind_all();
	EXPECT_THROW(tether_drop(&thrower.tether), Oops);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	EXPECT_EQ(state, PTHREAD_CANCEL_ENABLE);
	for (Thing &other : others)
		tether_fini(&other.tether);
}

/* Of many that are alike the later ones are asked less: what such a one does at its end is no less provided for. */
class Alike : public Quiet
{
protected:
	/* To this thread, in one drain. */
	void send(const tether_type *type = &thing_type)
	{
		for (Thing &thing : things)
			tether_bind(&thing.tether, type);
		elsewhere([&] {
			for (Thing &thing : things)
				EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		});
	}
	void expect_all_ended_once_on(pthread_t thread)
	{
		for (const Thing &thing : things)
			EXPECT_TRUE(thing.ended_once_on(thread));
	}

	Thing things[4];
};

TEST_F(Alike, OneThatThrowsStrandsNothing)
{
	*things[2].at_end = [] { throw std::runtime_error("the third"); };
	send();
	EXPECT_THROW(tether_drain(0), std::runtime_error);
	EXPECT_EQ(things[2].ends, 1);
	EXPECT_EQ(things[3].ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	expect_all_ended_once_on(pthread_self());
}

TEST_F(Alike, OneThatEndsItsThreadStrandsNothing)
{
	pthread_t thread;

	*things[2].at_end = [] { pthread_exit(nullptr); };
	on_a_plain_thread(
		[&] {
			send();
			tether_drain(0);
		},
		[&](pthread_t its) { thread = its; });
	expect_all_ended_once_on(thread);
}

TEST_F(Alike, OneIsAtItsEndAsAnyOther)
{
	Thing mine;

	*things[2].at_end = [&] {
		EXPECT_TRUE(tether_is_mine(&things[2].tether));
		EXPECT_FALSE(tether_is_mine(&things[3].tether));
		EXPECT_EQ(tether_drop(&things[2].tether), TETHER_REFUSED);
		EXPECT_EQ(tether_drop(&mine.tether), TETHER_QUEUED);
		EXPECT_EQ(mine.ends, 0);
		EXPECT_EQ(tether_drain(0), 0U);
		tether_owner_exit();
	};
	*things[3].at_end = [&] { EXPECT_EQ(mine.ends, 1); };
	tether_bind(&mine.tether, &thing_type);
	send();
	EXPECT_EQ(tether_drain(0), 5U);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_DOUBLE_DROP, TETHER_BAD_CALL}));
	EXPECT_FALSE(tether_is_mine(&things[2].tether));
	expect_all_ended_once_on(pthread_self());
}

TEST_F(Alike, OneMayUseItsMemoryAgain)
{
	*things[1].at_end = [&] {
		if (things[1].ends > 3)
			return;
		tether_fini(&things[1].tether);
		tether_bind(&things[1].tether, things[1].ends < 3 ? &thing_type : &anywhere_type);
		EXPECT_EQ(tether_drop(&things[1].tether), TETHER_QUEUED);
	};
	send();
	EXPECT_EQ(tether_drain(0), 7U);
	EXPECT_EQ(things[1].ends, 4);
	EXPECT_TRUE(things[2].ended_once_here() && things[3].ended_once_here());
}

TEST_F(Alike, OneThatHasChildrenWaitsForThem)
{
	struct Parent {
		struct tether_group group = {{0, 0, 0, 0}, 0, 0};
	} parents[3];
	static int ended;
	static const tether_type parent_type = TETHER_TYPE_RULES(
		Parent, group.tag, [](void *) { ended++; }, TETHER_GROUP);
	Thing child;

	ended = 0;
	for (Parent &parent : parents)
		tether_bind_group(&parent.group, &parent_type);
	EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parents[1].group), 0);
	elsewhere([&] {
		for (Parent &parent : parents)
			EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
	});
	EXPECT_EQ(tether_drain(0), 3U);
	EXPECT_EQ(ended, 2);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
	EXPECT_EQ(ended, 3);
}

/* A stray, an orphan and messages in between. */
TEST_F(Alike, OneOfAnotherOwnerIsNotTakenForOneAtHome)
{
	Thing child, left[2];
	struct Parent {
		struct tether_group group = {{0, 0, 0, 0}, 0, 0};
	} parent;
	static const tether_type parent_type = TETHER_TYPE_RULES(Parent, group.tag, nullptr, TETHER_GROUP);
	Thread other, heir;
	Note note;

	thing_heir = heir.owner();
	for (Thing &thing : left)
		other.run([&] { tether_bind(&thing.tether, &heir_type); });
	other.end();
	tether_bind_group(&parent.group, &parent_type);
	EXPECT_EQ(tether_bind_to(&child.tether, &heir_type, &parent.group), 0);
	heir.run([&] {
		for (Thing &thing : things)
			tether_bind(&thing.tether, &heir_type);
	});
	EXPECT_EQ(tether_drop(&things[0].tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&things[1].tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&left[0].tether), TETHER_ORPHANED);
	EXPECT_EQ(tether_post(heir.owner(), &note.message), 0);
	EXPECT_EQ(tether_drop(&things[2].tether), TETHER_QUEUED);
	EXPECT_EQ(tether_give(&parent.group.tag, tether_self(), heir.owner()), 0);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&left[1].tether), TETHER_ORPHANED);
	EXPECT_EQ(tether_drop(&things[3].tether), TETHER_QUEUED);
	heir.run([&] {
		EXPECT_EQ(tether_drain(0), 8U);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_HERE);
	});
	expect_all_ended_once_on(heir.id());
	EXPECT_TRUE(child.ended_once_on(heir.id()));
	EXPECT_TRUE(left[0].ended_once_on(heir.id()) && left[1].ended_once_on(heir.id()));
	EXPECT_TRUE(note.ran_once_on(heir.id()));
}

TEST_F(Alike, OneMayForkAndBothGoOn)
{
	pid_t child = -1;

	*things[2].at_end = [&] { child = fork(); };
	send();
	EXPECT_EQ(tether_drain(0), 4U);
	bool have_all_ended = true;
	for (const Thing &thing : things)
		have_all_ended = have_all_ended && thing.ended_once_here();
	if (child == 0)
		_exit(have_all_ended && stats(tether_self()).pending == 0 ? 0 : 1);
	int status = -1;
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_TRUE(have_all_ended);
}

TEST_F(Drop, RunsDestructorsAndMessagesWithCancellationDisabled)
{
	std::vector<int> states;
	auto note_state = [&] {
		int state = -1;

		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		pthread_setcancelstate(state, nullptr);
		states.push_back(state);
	};
	Thing here(note_state), home(note_state), unbound(note_state);
	Note note(note_state), back(note_state);

	tether_bind(&here.tether, &thing_type);
	tether_bind(&home.tether, &thing_type);
	tether_bind_later(&unbound.tether, &thing_type);
	tether_drop(&here.tether);
	tether_drop_later(&home.tether);
	tether_drop(&unbound.tether);
	tether_post(tether_self(), &note.message);
	tether_drain(0);
	tether_post(0, &back.message);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
	EXPECT_EQ(states, std::vector<int>(5, PTHREAD_CANCEL_DISABLE));
	note_state();
	EXPECT_EQ(states.back(), PTHREAD_CANCEL_ENABLE);
}

TEST_F(Drop, NoFunctionTouchesErrno)
{
	Thread home, ended;
	Thing things[6];
	Note notes[4];
	tether_owner_t owner = home.owner(), gone = ended.owner();

	home.run([&] {
		tether_bind(&things[0].tether, &thing_type);
		tether_bind(&things[1].tether, &thing_type);
		EXPECT_GE(tether_fd(), 0);
	});
	ended.run([&] {
		tether_bind(&things[2].tether, &thing_type);
		tether_bind(&things[3].tether, &anywhere_type);
	});
	ended.end();
	tether_bind(&things[4].tether, &thing_type);
	tether_bind_later(&things[5].tether, &thing_type);
	errno = 4242;
	for (Thing &thing : things) {
		tether_drop(&thing.tether);
		tether_drop_later(&thing.tether);
		EXPECT_EQ(errno, 4242);
	}
	for (tether_owner_t to : {owner, gone, tether_self(), tether_owner_t{0}})
		for (Note &note : notes) {
			tether_post(to, &note.message);
			EXPECT_EQ(errno, 4242);
		}
	home.run([] {
		errno = 4242;
		tether_drain(0);
		EXPECT_EQ(errno, 4242);
	});
	tether_drain(0);
	reports.take();
}

} // namespace
