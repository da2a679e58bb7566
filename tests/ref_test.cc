/* ref_test.cc - references: who counts what, who adds up, and that the last one drops the object once, at home.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <map>

namespace
{

class Ref : public Quiet
{
};

/* An object with one reference, of whoever made it. */
struct Counted : Thing {
	struct tether_ref ref;

	explicit Counted(
		const tether_type *type = &thing_type, std::function<void()> what = [] {})
		: Thing(std::move(what))
	{
		tether_bind(&tether, type);
		tether_ref_init(&ref, &tether);
	}

	void get() { tether_ref_get(&ref); }
	void put() { tether_ref_put(&ref); }
	bool try_get() { return tether_ref_try_get(&ref); }
	uint64_t count() const { return tether_ref_count(&ref); }
};

constexpr uint64_t most = TETHER_REF_MAX_ - 1;

/* The others' count, as if so many had been taken: to get to the end of the range before the test does. */
void pretend_shared(Counted &counted, int64_t count)
{
	counted.ref.shared_ += static_cast<uint64_t>(count) << 2;
}

/* ---- At home --------------------------------------------------------------------------------- */

TEST_F(Ref, LastOfTheOwnersDestroysAtOnce)
{
	Counted counted;

	counted.get();
	counted.get();
	EXPECT_EQ(counted.count(), 3U);
	counted.put();
	counted.put();
	EXPECT_EQ(counted.ends, 0);
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
	EXPECT_EQ(counted.count(), 0U);
}

TEST_F(Ref, OfAnUnboundObjectDestroysWhereTheLastIsPut)
{
	Thing thing;
	struct tether_ref ref;

	tether_bind_later(&thing.tether, &thing_type);
	tether_ref_init(&ref, &thing.tether);
	tether_ref_put(&ref);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Ref, MayBeginAgainInTheSameMemory)
{
	Counted counted;

	for (int life = 1; life <= 3; life++) {
		elsewhere([&] { counted.put(); });
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(counted.ends, life);
		tether_bind(&counted.tether, &thing_type);
		tether_ref_init(&counted.ref, &counted.tether);
	}
	counted.put();
}

TEST_F(Ref, PutInADestructorWaitsForItsEnd)
{
	Counted inner;
	Counted outer(&thing_type, [&] {
		inner.put();
		EXPECT_EQ(inner.ends, 0);
	});

	outer.put();
	EXPECT_TRUE(inner.ended_once_here());
}

/* ---- Two counters ---------------------------------------------------------------------------- */

TEST_F(Ref, LastOfTheOthersGoesHome)
{
	Counted counted;

	elsewhere([&] { counted.get(); });
	counted.put();
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(counted.count(), 1U);
	elsewhere([&] { counted.put(); });
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U) << "the drop alone: nobody had to add up";
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, LastOfTheOwnersComesAfterTheOthers)
{
	Counted counted;

	elsewhere([&] {
		counted.get();
		counted.get();
		counted.put();
		counted.put();
	});
	EXPECT_EQ(counted.count(), 1U);
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, OnlyOneGivenAwayIsDestroyedByTheNextDrain)
{
	Counted counted;

	elsewhere([&] { counted.put(); });
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, ManyGivenAwayAreAddedUpOnce)
{
	Counted counted;

	counted.get();
	counted.get();
	counted.get();
	for (int i = 0; i < 3; i++)
		elsewhere([&] { counted.put(); });
	EXPECT_EQ(counted.count(), 1U);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(counted.count(), 1U);
	elsewhere([&] { counted.put(); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, OwnerCountsWithTheOthersOnceAllIsAddedUp)
{
	Counted counted;

	counted.get();
	elsewhere([&] { counted.put(); });
	EXPECT_EQ(tether_drain(0), 1U);
	counted.get();
	elsewhere([&] { counted.get(); });
	EXPECT_EQ(counted.count(), 3U);
	counted.put();
	counted.put();
	EXPECT_EQ(counted.ends, 0);
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, OwnersLastWhileItIsAskedToAddUpWaitsForTheDrain)
{
	Counted counted;

	counted.get();
	elsewhere([&] {
		counted.put();
		counted.get(); /* shown it by the owner, which still holds one */
	});
	counted.put();
	EXPECT_EQ(counted.count(), 1U);
	counted.put(); /* the one that the other took */
	EXPECT_EQ(counted.ends, 0) << "a message on its way holds it";
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, LastPutWhileTheOwnerIsAskedToAddUpIsLeftToIt)
{
	Counted counted;

	counted.get();
	elsewhere([&] {
		counted.put();
		counted.get();
	});
	counted.put();
	elsewhere([&] { counted.put(); });
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, CountsAboveZeroWithoutTheOwner)
{
	Counted counted;

	elsewhere([&] {
		for (int i = 0; i < 1000; i++)
			counted.get();
		for (int i = 0; i < 1000; i++)
			counted.put();
	});
	EXPECT_EQ(tether_drain(0), 0U);
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

/* Who counts cheaply does not change with the tag's owner. */
TEST_F(Ref, AddedUpByItsOwnerIsDestroyedOnTheTags)
{
	Thread loop;
	Thing thing;
	struct tether_ref ref;

	tether_bind_later(&thing.tether, &thing_type);
	tether_ref_init(&ref, &thing.tether);
	loop.run([&] {
		EXPECT_TRUE(tether_claim(&thing.tether));
		tether_ref_put(&ref);
	});
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(thing.ends, 0);
	loop.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(thing.ended_once_on(loop.id()));
}

TEST_F(Ref, GivenAwayMeanwhileIsCountedAsBeforeAndDestroyedWhereItIs)
{
	Thread loop;
	Counted counted;

	counted.get();
	EXPECT_EQ(tether_give(&counted.tether, tether_self(), loop.owner()), 0);
	counted.put();
	EXPECT_EQ(counted.ref.local_, 1U);
	loop.run([&] { counted.put(); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(counted.ends, 0);
	loop.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(counted.ended_once_on(loop.id()));
}

TEST_F(Ref, CountedByOneOwnerIsDestroyedOnTheTags)
{
	Thread loop;
	Thing thing;
	struct tether_ref ref;

	loop.run([&] { tether_bind(&thing.tether, &thing_type); });
	tether_ref_init(&ref, &thing.tether);
	tether_ref_get(&ref);
	tether_ref_put(&ref);
	tether_ref_put(&ref);
	EXPECT_EQ(thing.ends, 0);
	loop.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(thing.ended_once_on(loop.id()));
}

/* ---- Try ------------------------------------------------------------------------------------- */

TEST_F(Ref, TryTakesOneWhileThereIsOne)
{
	Counted counted;

	EXPECT_TRUE(counted.try_get());
	elsewhere([&] { EXPECT_TRUE(counted.try_get()); });
	EXPECT_EQ(counted.count(), 3U);
	counted.put();
	counted.put();
	EXPECT_TRUE(counted.try_get());
	counted.put();
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, TryFailsOnceTheLastHasGone)
{
	Thread home;
	Counted *counted = nullptr;
	bool in_destructor = true;

	home.run([&] { counted = new Counted(&thing_type, [&] { in_destructor = counted->try_get(); }); });
	home.run([&] {
		elsewhere([&] { counted->get(); });
		counted->put();
	});
	counted->put();
	EXPECT_FALSE(counted->try_get()) << "it is on its way home";
	home.run([&] { EXPECT_FALSE(counted->try_get()); });
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_FALSE(in_destructor);
	EXPECT_TRUE(counted->ended_once_on(home.id()));
	delete counted;
}

TEST_F(Ref, TryBeforeTheOwnerHasAddedUpKeepsTheObject)
{
	Counted counted;

	elsewhere([&] {
		counted.put();
		EXPECT_TRUE(counted.try_get());
	});
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(counted.count(), 1U);
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, OwnersTryBeforeItHasAddedUpKeepsTheObject)
{
	Counted counted;

	elsewhere([&] { counted.put(); });
	EXPECT_TRUE(counted.try_get());
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(counted.ends, 0);
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

/* The shape that try_get is for: entries hold no reference, and their object takes them out when it ends. */
struct Entry {
	size_t key;
	std::atomic<bool> is_alive{true};
	struct tether tether;
	struct tether_ref ref;
};

struct Cache {
	std::mutex lock;
	std::map<size_t, Entry *> entries;
	size_t made = 0, ended = 0; /* under the lock */
} cache;

void entry_destroy(void *object)
{
	Entry *entry = static_cast<Entry *>(object);
	std::lock_guard<std::mutex> guard(cache.lock);
	auto mine = cache.entries.find(entry->key);

	if (mine != cache.entries.end() && mine->second == entry)
		cache.entries.erase(mine);
	cache.ended++;
	entry->is_alive = false;
	delete entry;
}

const tether_type entry_type = TETHER_TYPE_POLICY(Entry, tether, entry_destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);

Entry *look_up(size_t key)
{
	std::lock_guard<std::mutex> guard(cache.lock);
	auto found = cache.entries.find(key);

	if (found != cache.entries.end() && tether_ref_try_get(&found->second->ref))
		return found->second;
	Entry *entry = new Entry;
	entry->key = key;
	tether_bind(&entry->tether, &entry_type);
	tether_ref_init(&entry->ref, &entry->tether);
	cache.entries[key] = entry;
	cache.made++;
	return entry;
}

TEST_F(Ref, WeakCacheNeverShowsWhatHasGone)
{
	std::vector<std::thread> threads;

	for (size_t me = 0; me < 3; me++)
		threads.emplace_back([me] {
			for (size_t i = 0; i < scaled(30000); i++) {
				Entry *entry = look_up((i * 7 + me) % 4);

				EXPECT_TRUE(entry->is_alive);
				tether_ref_put(&entry->ref);
				if (i % 16 == 0)
					tether_drain(0);
			}
		});
	for (std::thread &thread : threads)
		thread.join();
	tether_drain(0);
	EXPECT_GE(cache.made, 4U);
	EXPECT_EQ(cache.made, cache.ended);
	EXPECT_TRUE(cache.entries.empty());
}

/* ---- An owner that ends ---------------------------------------------------------------------- */

TEST_F(Ref, OfAnOwnerThatHasGoneIsAddedUpByWhoPuts)
{
	Counted *counted = nullptr;

	elsewhere([&] {
		counted = new Counted(&anywhere_type);
		counted->get();
	});
	EXPECT_EQ(counted->count(), 2U);
	counted->get();
	counted->put();
	counted->put();
	EXPECT_EQ(counted->count(), 1U);
	EXPECT_EQ(counted->ends, 0);
	counted->put();
	EXPECT_TRUE(counted->ended_once_here());
	delete counted;
}

TEST_F(Ref, OfAnOwnerWhoseSlotHasAnotherIsAddedUpByWhoPuts)
{
	Counted *counted = nullptr;

	elsewhere([&] { counted = new Counted(&anywhere_type); });
	/* A slot is used again after all others. */
	for (int i = 0; i < 200; i++)
		elsewhere([] { tether_self(); });
	counted->put();
	EXPECT_TRUE(counted->ended_once_here());
	delete counted;
}

TEST_F(Ref, OfAnOwnerThatHasGoneIsDestroyedOnTheTags)
{
	Thread home;
	Thing thing;
	struct tether_ref ref;

	home.run([&] { tether_bind(&thing.tether, &thing_type); });
	elsewhere([&] { tether_ref_init(&ref, &thing.tether); });
	tether_ref_put(&ref);
	EXPECT_EQ(thing.ends, 0);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(thing.ended_once_on(home.id()));
}

TEST_F(Ref, OfAnOwnerThatHasGonePutInADestructorIsDestroyedAfterIt)
{
	Counted *inner = nullptr;
	Counted outer(&thing_type, [&] {
		inner->put();
		EXPECT_EQ(inner->ends, 0);
	});

	elsewhere([&] { inner = new Counted(&anywhere_type); });
	outer.put();
	EXPECT_TRUE(inner->ended_once_here());
	delete inner;
}

TEST_F(Ref, OrphanIsTreatedAsItsTypeSays)
{
	Counted *counted = nullptr;

	elsewhere([&] { counted = new Counted(&thing_type); });
	counted->put();
	EXPECT_EQ(counted->ends, 0);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	delete counted;
}

TEST_F(Ref, OwnerThatEndsAddsUpWhatItWasAskedTo)
{
	Thread home;
	Counted *counted = nullptr;

	home.run([&] { counted = new Counted; });
	counted->put();
	EXPECT_EQ(counted->ends, 0);
	home.end();
	EXPECT_TRUE(counted->ended_once_on(home.id()));
	delete counted;
}

/* A message that posts itself again outlives the close of the inbox, which it sees by the result. */
TEST_F(Ref, PutWhileTheOwnerEndsIsAddedUpByWhoPuts)
{
	elsewhere([] {
		Counted counted(&anywhere_type);
		tether_owner_t self = tether_self();
		Note note([&] {
			if (note.fate == TETHER_RUN && tether_post(self, &note.message) == -ESRCH)
				elsewhere([&] {
					counted.put();
					EXPECT_TRUE(counted.ended_once_here());
				});
		});

		EXPECT_EQ(tether_post(self, &note.message), 0);
		tether_owner_exit();
		EXPECT_EQ(note.fate, TETHER_UNDELIVERED);
		EXPECT_EQ(counted.ends, 1);
	});
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_RESTLESS}) << "a note that posts itself until the inbox is closed";
}

TEST_F(Ref, OwnerThatHasEndedCountsWithTheOthers)
{
	elsewhere([] {
		Counted counted;

		counted.get();
		tether_owner_exit();
		counted.get();
		EXPECT_EQ(counted.count(), 3U);
		elsewhere([&] { counted.put(); });
		counted.put();
		EXPECT_TRUE(counted.try_get());
		counted.put();
		EXPECT_EQ(counted.ends, 0);
		counted.put();
		EXPECT_TRUE(counted.ended_once_here());
	});
}

TEST_F(Ref, MadeWithoutAnOwnerCountsAsTheOthersDo)
{
	Thing thing;

	elsewhere([&] {
		struct tether_ref ref;

		tether_self();
		tether_owner_exit();
		tether_bind(&thing.tether, &thing_type);
		tether_ref_init(&ref, &thing.tether);
		tether_ref_get(&ref);
		EXPECT_TRUE(tether_ref_try_get(&ref));
		EXPECT_EQ(tether_ref_count(&ref), 3U);
		tether_ref_put(&ref);
		tether_ref_put(&ref);
		EXPECT_EQ(thing.ends, 0);
		tether_ref_put(&ref);
		EXPECT_TRUE(thing.ended_once_here());
	});
}

TEST_F(Ref, ThreadsWithoutAnOwnerMayCount)
{
	Counted counted;

	elsewhere([&] {
		counted.get();
		EXPECT_TRUE(counted.try_get());
		counted.put();
		counted.put();
		counted.put();
	});
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(counted.ended_once_here());
}

/* ---- Fork ------------------------------------------------------------------------------------ */

TEST_F(Ref, ForkingThreadGoesOnCountingInTheChild)
{
	Counted counted;

	counted.get();
	pid_t child = fork();
	if (child == 0) {
		counted.get();
		counted.put();
		counted.put();
		counted.put();
		_exit(counted.ended_once_here() && counted.ref.shared_ == 2 ? 0 : 1);
	}
	int status = -1;
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(counted.count(), 2U);
	counted.put();
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

/* ---- Misuse ---------------------------------------------------------------------------------- */

TEST_F(Ref, OfZeroesIsReported)
{
	struct tether_ref ref = {};
	auto misuse = [&] {
		tether_ref_get(&ref);
		EXPECT_FALSE(tether_ref_try_get(&ref));
		tether_ref_put(&ref);
		EXPECT_EQ(reports.take_kinds(), Kinds(3, TETHER_BAD_COUNT));
		EXPECT_EQ(tether_ref_count(&ref), 0U);
	};

	misuse();
	elsewhere(misuse);
}

TEST_F(Ref, PutTooOftenIsReportedAndDestroysNothingTwice)
{
	Counted counted;

	counted.put();
	counted.put();
	elsewhere([&] { counted.put(); });
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 2U);
	for (const Caught &one : caught) {
		EXPECT_EQ(one.report.kind, TETHER_BAD_COUNT);
		EXPECT_EQ(one.report.object, static_cast<Thing *>(&counted));
		EXPECT_EQ(one.operation, "ref_put");
		EXPECT_EQ(one.type, "Thing");
	}
	EXPECT_TRUE(counted.ended_once_here());
	EXPECT_EQ(counted.count(), 0U);
}

TEST_F(Ref, OwnersPutTooOftenWhileItIsAskedToAddUpIsReported)
{
	Counted counted;

	elsewhere([&] { counted.put(); });
	counted.put();
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_COUNT});
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, OthersPutTooOftenIsFoundWhenTheOwnerAddsUp)
{
	Counted counted;

	elsewhere([&] {
		counted.put();
		counted.put();
		counted.put();
	});
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_COUNT});
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, GetOfWhatHasEndedIsReported)
{
	Counted counted;

	counted.put();
	counted.get();
	elsewhere([&] { counted.get(); });
	EXPECT_EQ(reports.take_kinds(), Kinds(2, TETHER_BAD_COUNT));
	EXPECT_FALSE(counted.try_get());
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, ObjectThatWasDroppedDirectlyIsADoubleDrop)
{
	Counted counted;

	EXPECT_EQ(tether_drop(&counted.tether), TETHER_HERE);
	counted.put();
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
	EXPECT_EQ(counted.ends, 1);
}

TEST_F(Ref, OfAnotherCopysOwnerIsReportedAndLeftAlone)
{
	Counted counted;

	counted.ref.biased_ ^= UINT64_C(1) << 62;
	counted.put();
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OTHER_COPY});
	EXPECT_EQ(counted.count(), 1U);
	counted.ref.biased_ ^= UINT64_C(1) << 62;
	counted.put();
	EXPECT_TRUE(counted.ended_once_here());
}

TEST_F(Ref, OwnersThatOverflowsIsReportedAndStays)
{
	Counted counted;

	counted.ref.local_ = most - 1;
	counted.get();
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	counted.get();
	EXPECT_TRUE(counted.try_get());
	EXPECT_EQ(reports.take_kinds(), Kinds(2, TETHER_BAD_COUNT));
	for (int i = 0; i < 3; i++)
		counted.put();
	elsewhere([&] { counted.put(); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_COUNT}) << "when all is added up";
	EXPECT_GE(counted.count(), most);
	counted.put();
	EXPECT_GE(counted.count(), most);
	EXPECT_EQ(counted.ends, 0);
}

TEST_F(Ref, OthersThatOverflowsIsReportedAndStays)
{
	Counted counted;

	pretend_shared(counted, most - 1);
	elsewhere([&] {
		counted.get();
		EXPECT_EQ(reports.take_kinds(), Kinds{});
		counted.get();
		EXPECT_TRUE(counted.try_get());
		EXPECT_EQ(reports.take_kinds(), Kinds(2, TETHER_BAD_COUNT));
		for (int i = 0; i < 5; i++)
			counted.put();
	});
	counted.put();
	EXPECT_GT(counted.count(), most);
	EXPECT_EQ(counted.ends, 0);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
}

TEST_F(Ref, BothTogetherThatOverflowIsReportedWhenAddedUp)
{
	Counted counted;

	counted.get();
	elsewhere([&] { counted.put(); });
	counted.ref.local_ = most;
	pretend_shared(counted, most);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_COUNT});
	counted.put();
	EXPECT_GT(counted.count(), most);
	EXPECT_EQ(counted.ends, 0);
}

/* ---- What is reported of the last put -------------------------------------------------------- */

TEST_F(Ref, LastPutIsToldOfWithItsOwnLine)
{
	Counted mine;

	tether_drop(&mine.tether);
	mine.put();

	std::vector<Caught> caught = reports.take();

	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_DOUBLE_DROP);
	EXPECT_EQ(caught[0].text.find("ref.c"), std::string::npos) << caught[0].text;
}

TEST_F(Ref, LastPutOfAnOrphanIsToldOfWithItsOwnLine)
{
	Thread home;
	Thing thing;
	struct tether_ref ref;

	home.run([&] {
		tether_bind(&thing.tether, &thing_type);
		tether_ref_init(&ref, &thing.tether);
	});
	home.end();
	tether_ref_put(&ref);

	std::vector<Caught> caught = reports.take();

	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_LEAKED);
	EXPECT_EQ(caught[0].text.find("drop.c"), std::string::npos) << caught[0].text;
	EXPECT_EQ(caught[0].text.find("ref.c"), std::string::npos) << caught[0].text;
}

} // namespace
