/* owner_test.cc - owners: their numbers, their names, and how they end.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <fcntl.h>
#include <sched.h>

#include <algorithm>
#include <memory>
#include <set>

namespace
{

class Owner : public Quiet
{
};

/* The number that the next new owner would have been given, used up by asking. */
uint64_t next_number()
{
	uint64_t number = 0;

	elsewhere([&] { number = tether_owner_number(tether_self()); });
	return number;
}

TEST_F(Owner, SelfIsTheSameEachTime)
{
	tether_owner_t self = tether_self();

	EXPECT_NE(self, 0U);
	EXPECT_EQ(tether_self(), self);
	elsewhere([] { EXPECT_EQ(tether_self(), tether_self()); });
}

TEST_F(Owner, SelfIsNoneOfTheReservedNumbers)
{
	elsewhere([] {
		tether_owner_t self = tether_self();

		EXPECT_NE(self, 0U);
		EXPECT_NE(self, TETHER_NOBODY_);
		EXPECT_NE(self, TETHER_GONE_);
	});
}

TEST_F(Owner, EveryThreadAliveHasItsOwn)
{
	std::vector<std::unique_ptr<Thread>> threads;
	std::set<tether_owner_t> owners = {tether_self()};

	for (int i = 0; i < 200; i++) {
		threads.push_back(std::make_unique<Thread>());
		owners.insert(threads.back()->owner());
	}
	EXPECT_EQ(owners.size(), 201U);
	for (tether_owner_t owner : owners)
		EXPECT_TRUE(tether_owner_is_alive(owner));
}

TEST_F(Owner, NumbersAreNeverGivenTwiceThoughThreadsAreReused)
{
	size_t threads = std::max<size_t>(scaled(2000), 20);
	std::set<tether_owner_t> owners;
	std::set<pthread_t> pthreads;

	for (size_t i = 0; i < threads; i++)
		elsewhere([&] {
			owners.insert(tether_self());
			pthreads.insert(pthread_self());
		});
	EXPECT_EQ(owners.size(), threads);
	EXPECT_LT(pthreads.size(), threads) << "the test did not provoke what it is about";
}

TEST_F(Owner, IsAliveUntilItsThreadHasEnded)
{
	Thread thread;
	tether_owner_t owner = thread.owner();

	EXPECT_TRUE(tether_owner_is_alive(owner));
	EXPECT_TRUE(tether_owner_is_alive(tether_self()));
	thread.end();
	EXPECT_FALSE(tether_owner_is_alive(owner));
}

TEST_F(Owner, StaysEndedWhenAnotherTakesItsPlace)
{
	tether_owner_t ended = 0;
	Thread successors[70];

	elsewhere([&] { ended = tether_self(); });
	for (Thread &successor : successors) {
		EXPECT_NE(successor.owner(), ended);
		EXPECT_FALSE(tether_owner_is_alive(ended));
	}
}

TEST_F(Owner, NoNumberOfAnybodyIsAlive)
{
	tether_owner_t self = tether_self();

	EXPECT_FALSE(tether_owner_is_alive(0));
	EXPECT_FALSE(tether_owner_is_alive(TETHER_NOBODY_));
	EXPECT_FALSE(tether_owner_is_alive(TETHER_GONE_));
	for (int bit = 40; bit < 64; bit++) { /* the lower ones tell owners apart that there may have been */
		tether_owner_t stranger = self ^ UINT64_C(1) << bit;

		EXPECT_FALSE(tether_owner_is_alive(stranger)) << bit;
		EXPECT_EQ(tether_owner_number(stranger), 0U) << bit;
	}
}

TEST_F(Owner, NumbersForPeopleCountInTheOrderOfMaking)
{
	Thread first, second;
	uint64_t number = tether_owner_number(first.owner());

	EXPECT_GT(number, 0U);
	EXPECT_EQ(tether_owner_number(second.owner()), number + 1);
	EXPECT_EQ(tether_owner_number(first.owner()), number);
	EXPECT_EQ(tether_owner_number(0), 0U);
}

TEST_F(Owner, IsNotMadeByLookingOn)
{
	Thread home;
	Thing mine, unbound, dropped, dropped_later;
	Note note;
	tether_owner_t owner = home.owner();
	uint64_t before;

	home.run([&] {
		tether_bind(&mine.tether, &thing_type);
		tether_bind(&dropped.tether, &thing_type);
		tether_bind(&dropped_later.tether, &thing_type);
	});
	before = next_number();
	elsewhere([&] {
		struct tether_counters counters;

		EXPECT_FALSE(tether_is_mine(&mine.tether));
		EXPECT_TRUE(tether_owner_is_alive(owner));
		EXPECT_NE(tether_owner_number(owner), 0U);
		EXPECT_EQ(tether_stats(owner, &counters), 0);
		EXPECT_EQ(tether_stats(0, &counters), 0);
		tether_bind_later(&unbound.tether, &thing_type);
		EXPECT_EQ(tether_drop(&unbound.tether), TETHER_HERE);
		EXPECT_EQ(tether_drop(&dropped.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop_later(&dropped_later.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(owner, &note.message), 0);
		tether_owner_exit();
	});
	EXPECT_EQ(next_number(), before + 1);
	home.run([] { EXPECT_EQ(tether_drain(0), 3U); });
	home.run([&] { tether_fini(&mine.tether); });
}

TEST_F(Owner, IsMadeByAFailedCheck)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		EXPECT_FALSE(TETHER_ENSURE(&thing.tether));

		std::vector<Caught> caught = reports.take();

		ASSERT_EQ(caught.size(), 1U);
		EXPECT_EQ(caught[0].report.caller, tether_self());
	});
	tether_fini(&thing.tether);
}

/* Names, as a report shows them. */

class OwnerName : public Quiet
{
protected:
	std::string name_in_reports()
	{
		Thing thing;

		tether_bind_later(&thing.tether, &thing_type);
		EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
		tether_fini(&thing.tether);

		std::vector<Caught> caught = reports.take();

		return caught.size() == 1 ? caught[0].caller_name : "no report";
	}
};

TEST_F(OwnerName, IsTheThreadsNameUntilTold)
{
	elsewhere([this] {
		pthread_setname_np(pthread_self(), "loop-7");
		EXPECT_EQ(name_in_reports(), "loop-7");
		tether_self_set_name("accepts on 8080");
		EXPECT_EQ(name_in_reports(), "accepts on 8080");
		tether_self_set_name("");
		EXPECT_EQ(name_in_reports(), "");
	});
}

TEST_F(OwnerName, NullTakesTheThreadsNameOfNow)
{
	elsewhere([this] {
		tether_self_set_name("other");
		pthread_setname_np(pthread_self(), "renamed");
		tether_self_set_name(nullptr);
		EXPECT_EQ(name_in_reports(), "renamed");
	});
}

TEST_F(OwnerName, KeepsThirtyOneBytes)
{
	elsewhere([this] {
		tether_self_set_name("0123456789012345678901234567890");
		EXPECT_EQ(name_in_reports(), "0123456789012345678901234567890");
		tether_self_set_name("01234567890123456789012345678901");
		EXPECT_EQ(name_in_reports(), "0123456789012345678901234567890");
	});
}

TEST_F(OwnerName, MayBeSetBeforeAnythingElseAndMakesTheOwner)
{
	elsewhere([this] {
		tether_self_set_name("first");
		EXPECT_NE(tether_self_, TETHER_NOBODY_);
		EXPECT_EQ(name_in_reports(), "first");
	});
}

TEST_F(OwnerName, OutlivesTheOwnerInReports)
{
	Thing thing;
	tether_owner_t ended = 0;

	elsewhere([&] {
		tether_self_set_name("gone but not forgotten");
		ended = tether_self();
		tether_bind(&thing.tether, &anywhere_type);
	});
	EXPECT_FALSE(TETHER_ENSURE(&thing.tether));

	std::vector<Caught> caught = reports.take();

	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].owner_name, "gone but not forgotten");
	EXPECT_EQ(caught[0].report.owner, ended);
	EXPECT_EQ(caught[0].report.owner_number, tether_owner_number(ended));
	EXPECT_FALSE(caught[0].report.owner_is_alive);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
}

/* The end, called for. */

class OwnerExit : public Quiet
{
protected:
	Thread thread;
};

TEST_F(OwnerExit, RunsWhatWaitsInTheInbox)
{
	Thing things[3];
	Note note;

	thread.run([&] {
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	});
	for (Thing &thing : things)
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(thread.owner(), &note.message), 0);
	thread.run([] { tether_owner_exit(); });
	for (Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_on(thread.id()));
	EXPECT_TRUE(note.ran_once_on(thread.id()));
}

TEST_F(OwnerExit, RunsWhatDestructorsStillDropAndPost)
{
	Note note;
	Thing last([&] { EXPECT_EQ(tether_post(tether_self(), &note.message), 0); });
	Thing first([&] { EXPECT_EQ(tether_drop(&last.tether), TETHER_QUEUED); });

	thread.run([&] {
		tether_bind(&first.tether, &thing_type);
		tether_bind(&last.tether, &thing_type);
	});
	EXPECT_EQ(tether_drop(&first.tether), TETHER_QUEUED);
	thread.run([] { tether_owner_exit(); });
	EXPECT_TRUE(first.ended_once_on(thread.id()));
	EXPECT_TRUE(last.ended_once_on(thread.id()));
	EXPECT_TRUE(note.ran_once_on(thread.id()));
}

TEST_F(OwnerExit, LaterDropsTakeTheOrphanPath)
{
	Thing leaked, anywhere;
	Note note;
	tether_owner_t owner = thread.owner();

	thread.run([&] {
		tether_bind(&leaked.tether, &thing_type);
		tether_bind(&anywhere.tether, &anywhere_type);
		tether_owner_exit();
	});
	EXPECT_FALSE(tether_owner_is_alive(owner));
	EXPECT_EQ(tether_drop(&leaked.tether), TETHER_ORPHANED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	EXPECT_EQ(leaked.ends, 0);
	EXPECT_EQ(tether_drop(&anywhere.tether), TETHER_ORPHANED);
	EXPECT_TRUE(anywhere.ended_once_here());
	EXPECT_EQ(tether_post(owner, &note.message), -ESRCH);
	EXPECT_TRUE(note.came_back_once_to(pthread_self()));
}

TEST_F(OwnerExit, ItsThreadStillDestroysItsOwn)
{
	Thing thing, later;

	thread.run([&] {
		tether_owner_t self = tether_self();

		tether_bind(&thing.tether, &thing_type);
		tether_bind(&later.tether, &thing_type);
		tether_owner_exit();
		EXPECT_EQ(tether_self(), self);
		EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
		EXPECT_TRUE(tether_is_mine(&thing.tether));
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_TRUE(thing.ended_once_here());
		tether_drop_later(&later.tether);
		EXPECT_TRUE(later.ended_once_here());
	});
}

TEST_F(OwnerExit, ItsThreadMayStillBindAndClaim)
{
	Thing bound, claimed;

	tether_bind_later(&claimed.tether, &thing_type);
	thread.run([&] {
		tether_self();
		tether_owner_exit();
		tether_bind(&bound.tether, &thing_type);
		EXPECT_TRUE(tether_claim(&claimed.tether));
		for (Thing *thing : {&bound, &claimed}) {
			EXPECT_TRUE(TETHER_ENSURE(&thing->tether));
			EXPECT_EQ(tether_drop(&thing->tether), TETHER_HERE);
			EXPECT_TRUE(thing->ended_once_here());
		}
	});
}

TEST_F(OwnerExit, ItsThreadMayStillPostAndMessagesToItselfComeBack)
{
	Note to_main, to_itself;
	tether_owner_t main_owner = tether_self();

	thread.run([&] {
		tether_owner_t self = tether_self();

		tether_owner_exit();
		EXPECT_EQ(tether_post(main_owner, &to_main.message), 0);
		EXPECT_EQ(tether_post(self, &to_itself.message), -ESRCH);
	});
	EXPECT_TRUE(to_itself.came_back_once_to(thread.id()));
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(to_main.ran_once_on(pthread_self()));
}

TEST_F(OwnerExit, LeavesNothingToDrainOrToWaitFor)
{
	thread.run([] {
		EXPECT_GE(tether_fd(), 0);
		tether_owner_exit();
		EXPECT_EQ(tether_drain(0), 0U);
		EXPECT_EQ(tether_fd(), -ESRCH);
		EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), -ESRCH);
		EXPECT_FALSE(tether_park());
		tether_unpark();
	});
}

TEST_F(OwnerExit, TwiceIsOnce)
{
	Thing thing;

	thread.run([&] {
		tether_bind(&thing.tether, &thing_type);
		tether_owner_exit();
		tether_owner_exit();
	});
	thread.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

TEST_F(OwnerExit, FromADestructorOrAMessageIsReportedAndNothingHappens)
{
	auto exit_is_refused = [&] {
		tether_owner_exit();
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_CALL});
		EXPECT_TRUE(tether_owner_is_alive(tether_self()));
	};
	Thing here(exit_is_refused), home(exit_is_refused);
	Note note(exit_is_refused);

	thread.run([&] {
		tether_bind(&here.tether, &thing_type);
		EXPECT_EQ(tether_drop(&here.tether), TETHER_HERE);
		tether_bind(&home.tether, &thing_type);
	});
	EXPECT_EQ(tether_drop(&home.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(thread.owner(), &note.message), 0);
	thread.run([] { EXPECT_EQ(tether_drain(0), 2U); });
	EXPECT_EQ(here.ends + home.ends + note.calls, 3);
}

TEST_F(OwnerExit, ClosesTheDescriptor)
{
	int fd = -1;

	thread.run([&] {
		fd = tether_fd();
		EXPECT_GE(fcntl(fd, F_GETFD), 0);
		tether_owner_exit();
	});
	EXPECT_EQ(fcntl(fd, F_GETFD), -1);
}

/* A wake-up that takes its time, and says when it is under way and when it has ended. */
struct SlowWake {
	std::atomic<bool> began{false}, ended{false};

	static void wake(void *context)
	{
		SlowWake *self = static_cast<SlowWake *>(context);

		self->began = true;
		for (int i = 0; i < 1000; i++)
			sched_yield();
		self->ended = true;
	}
};

TEST_F(OwnerExit, WaitsForAWakeUpOnItsWay)
{
	SlowWake slow;
	Thing thing;

	thread.run([&] {
		EXPECT_EQ(tether_set_wake(SlowWake::wake, &slow), 0);
		tether_bind(&thing.tether, &thing_type);
		EXPECT_TRUE(tether_park());
	});
	std::thread sender([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	while (!slow.began)
		sched_yield();
	thread.run([&] {
		tether_owner_exit();
		EXPECT_TRUE(slow.ended);
	});
	sender.join();
	EXPECT_TRUE(thing.ended_once_on(thread.id()));
}

/* The end, by itself. */

TEST_F(OwnerExit, ThreadExitRunsWhatWaitsInTheInbox)
{
	Thing thing;
	Note note;
	pthread_t home = thread.id();

	thread.run([&] { tether_bind(&thing.tether, &thing_type); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(thread.owner(), &note.message), 0);
	thread.end();
	EXPECT_TRUE(thing.ended_once_on(home));
	EXPECT_TRUE(note.ran_once_on(home));
}

/* In the last round of all ThreadSanitizer has forgotten the thread: nothing that it instruments may run. */
constexpr int last_round = PTHREAD_DESTRUCTOR_ITERATIONS - (UNDER_TSAN ? 1 : 0);

/* A key whose destructor comes after the library's in each round, and comes back in all of them. */
struct Round {
	pthread_key_t key = 0;
	int rounds = 0;
	tether_owner_t owner = 0;
	std::function<void(Round &)> work;

	static void destructor(void *arg)
	{
		Round *self = static_cast<Round *>(arg);

		self->rounds++;
		if (self->rounds < last_round)
			pthread_setspecific(self->key, self);
		self->work(*self);
	}
	void run()
	{
		tether_self(); /* the library's key is made first */
		ASSERT_EQ(pthread_key_create(&key, destructor), 0);
		elsewhere([this] {
			owner = tether_self();
			pthread_setspecific(key, this);
		});
		pthread_key_delete(key);
		EXPECT_EQ(rounds, last_round);
	}
};

TEST_F(OwnerExit, ComesInTheLastRoundOfThreadDestructors)
{
	std::vector<bool> alive;
	Round round;

	round.work = [&](Round &self) { alive.push_back(tether_owner_is_alive(self.owner)); };
	round.run();
	for (int i = 0; i < last_round; i++)
		EXPECT_EQ(alive[i], i < last_round - 1) << "in round " << i + 1;
}

TEST_F(OwnerExit, LaterThreadDestructorsMayUseTheirObjects)
{
	Thing things[last_round], late[last_round];
	Thing foreign;
	Round round;

	tether_bind(&foreign.tether, &thing_type);
	round.work = [&](Round &self) {
		Thing &thing = things[self.rounds - 1];

		EXPECT_EQ(tether_self(), self.owner);
		tether_bind(&thing.tether, &thing_type);
		EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_TRUE(thing.ended_once_here());
		tether_bind(&late[self.rounds - 1].tether, &thing_type);
		tether_drop_later(&late[self.rounds - 1].tether);
		EXPECT_FALSE(TETHER_ENSURE(&foreign.tether));
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
		tether_self_set_name("at its end");
		tether_drain(0);
	};
	round.run();
	for (Thing &thing : late)
		EXPECT_EQ(thing.ends, 1);
	tether_fini(&foreign.tether);
}

TEST_F(OwnerExit, LaterThreadDestructorsMayDropOthersObjects)
{
	Thing things[last_round];
	Note notes[last_round];
	tether_owner_t self = tether_self();
	Round round;

	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	round.work = [&](Round &at) {
		EXPECT_EQ(tether_drop(&things[at.rounds - 1].tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(self, &notes[at.rounds - 1].message), 0);
	};
	round.run();
	EXPECT_EQ(tether_drain(0), size_t{2} * last_round);
	for (Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(OwnerExit, OfAThreadThatMeetsTheLibraryInItsDestructorsComesAtTheNextChance)
{
	if (UNDER_TSAN || UNDER_ASAN || RUNNING_ON_VALGRIND)
		GTEST_SKIP() << "glibc never frees what it allocates for a thread that is ending, and TSan forgets that thread";

	Round round;

	for (int first = 1; first <= last_round; first++) {
		Thing thing;

		round.rounds = 0;
		round.work = [&](Round &at) {
			if (at.rounds < first)
				return;
			at.owner = tether_self();
			tether_bind(&thing.tether, &thing_type);
			EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		};
		ASSERT_EQ(pthread_key_create(&round.key, Round::destructor), 0);
		elsewhere([&] { pthread_setspecific(round.key, &round); });
		pthread_key_delete(round.key);
		EXPECT_EQ(thing.ends, last_round - first + 1);
		EXPECT_EQ(tether_owner_is_alive(round.owner), first == last_round) << "one made in the very last has no end";
	}
}

/* The number of an owner that has ended, and its slot, which another owner has taken. */

TEST_F(OwnerExit, NothingForItReachesTheOwnerThatTookItsPlace)
{
	constexpr int successor_count = 70; /* more than fit beside those alive without reuse */
	Thing things[4];
	Note note;
	Thread successors[successor_count];
	tether_owner_t ended = thread.owner();

	thread.run([&] {
		tether_bind(&things[0].tether, &thing_type);
		tether_bind(&things[1].tether, &anywhere_type);
		tether_bind(&things[2].tether, &thing_type);
		tether_bind(&things[3].tether, &anywhere_type);
	});
	thread.end();
	for (Thread &successor : successors)
		successor.owner();
	EXPECT_EQ(tether_drop(&things[0].tether), TETHER_ORPHANED);
	EXPECT_EQ(tether_drop(&things[1].tether), TETHER_ORPHANED);
	EXPECT_EQ(tether_drop_later(&things[2].tether), TETHER_ORPHANED);
	EXPECT_EQ(tether_drop_later(&things[3].tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drain(0), 1U) << "what runs anywhere waited here";
	EXPECT_EQ(tether_post(ended, &note.message), -ESRCH);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_LEAKED, TETHER_LEAKED}));
	EXPECT_TRUE(things[1].ended_once_here());
	EXPECT_TRUE(things[3].ended_once_here());
	EXPECT_TRUE(note.came_back_once_to(pthread_self()));
	for (Thread &successor : successors) {
		successor.run([] { EXPECT_EQ(tether_drain(0), 0U); });
		EXPECT_EQ(stats(successor.owner()).queued, 0U);
	}
}

TEST_F(OwnerExit, ItsObjectsPassNobodysCheck)
{
	Thing thing;
	Thread successors[70];

	thread.run([&] { tether_bind(&thing.tether, &thing_type); });
	thread.end();
	for (Thread &successor : successors)
		successor.run([&] {
			tether_self();
			EXPECT_FALSE(tether_is_mine(&thing.tether));
			EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
			EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
		});
}

TEST_F(Owner, NoFunctionTouchesErrno)
{
	elsewhere([] {
		errno = 4242;
		tether_owner_is_alive(0);
		tether_owner_number(12345);
		tether_self();
		tether_self_set_name("name");
		tether_self_set_name(nullptr);
		tether_owner_is_alive(tether_self());
		tether_owner_number(tether_self());
		tether_owner_exit();
		tether_owner_exit();
		EXPECT_EQ(errno, 4242);
	});
}

} // namespace
