/* loop_test.cc - an owner's loop: draining, its descriptor, its wake-up, parking.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <memory>

namespace
{

/* A loop at home, in a thread of its own, as how it is woken is chosen for good. */
class Loop : public Quiet
{
protected:
	Thread home;

	std::unique_ptr<Thing> bound_at_home(std::function<void()> at_end = [] {})
	{
		auto thing = std::make_unique<Thing>(std::move(at_end));

		home.run([&] { tether_bind(&thing->tether, &thing_type); });
		return thing;
	}
	size_t drain(size_t max_nodes)
	{
		size_t handled = 0;

		home.run([&] { handled = tether_drain(max_nodes); });
		return handled;
	}
	bool park()
	{
		bool may_sleep = false;

		home.run([&] { may_sleep = tether_park(); });
		return may_sleep;
	}
	void unpark() { home.run(tether_unpark); }
	int fd()
	{
		int result = -1;

		home.run([&] { result = tether_fd(); });
		return result;
	}
	uint64_t wakeups() { return stats(home.owner()).wakeups; }
};

/* Draining. */

class Drain : public Loop
{
};

TEST_F(Drain, OfNothingIsNothing)
{
	EXPECT_EQ(tether_drain(0), 0U);
	EXPECT_EQ(tether_drain(5), 0U);
	elsewhere([] { EXPECT_EQ(tether_drain(0), 0U); });
	EXPECT_EQ(drain(0), 0U);
}

TEST_F(Drain, HandlesUpToItsBudgetAndLeavesTheRestFirstInLine)
{
	std::string order;
	std::vector<std::unique_ptr<Thing>> things;
	Note note([&] { order += "n"; });

	for (char name : {'a', 'b', 'c', 'd'})
		things.push_back(bound_at_home([&order, name] { order += name; }));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(tether_drop(&things[i]->tether), TETHER_QUEUED);
	EXPECT_EQ(drain(2), 2U);
	EXPECT_EQ(order, "ab");
	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(tether_drop(&things[3]->tether), TETHER_QUEUED);
	EXPECT_EQ(drain(2), 2U);
	EXPECT_EQ(order, "abcn");
	EXPECT_EQ(drain(2), 1U);
	EXPECT_EQ(order, "abcnd");
	EXPECT_EQ(drain(2), 0U);
}

TEST_F(Drain, CountsWhatDestructorsDropAgainstItsBudget)
{
	std::string order;
	auto last = bound_at_home([&] { order += "3"; });
	auto middle = bound_at_home([&] {
		order += "2";
		EXPECT_EQ(tether_drop(&last->tether), TETHER_QUEUED);
	});
	auto first = bound_at_home([&] {
		order += "1";
		EXPECT_EQ(tether_drop(&middle->tether), TETHER_QUEUED);
	});

	EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
	EXPECT_EQ(drain(2), 2U);
	EXPECT_EQ(order, "12");
	EXPECT_EQ(drain(0), 1U);
	EXPECT_EQ(order, "123");
}

TEST_F(Drain, WithoutBudgetAlsoHandlesWhatArrivesMeanwhile)
{
	auto late = bound_at_home();
	auto first = bound_at_home([&] { elsewhere([&] { EXPECT_EQ(tether_drop(&late->tether), TETHER_QUEUED); }); });

	EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
	EXPECT_EQ(drain(0), 2U);
	EXPECT_EQ(late->ends, 1);
}

TEST_F(Drain, InsideADestructorAMessageOrADrainDoesNothing)
{
	Note waiting;
	auto drains_nothing = [] { EXPECT_EQ(tether_drain(0), 0U); };
	auto destructor = bound_at_home(drains_nothing), at_home = bound_at_home(drains_nothing);
	Note message(drains_nothing);
	tether_owner_t owner = home.owner();

	EXPECT_EQ(tether_drop(&destructor->tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(owner, &message.message), 0);
	EXPECT_EQ(tether_post(owner, &waiting.message), 0);
	home.run([&] { EXPECT_EQ(tether_drop(&at_home->tether), TETHER_HERE); });
	EXPECT_EQ(waiting.calls, 0);
	EXPECT_EQ(drain(0), 3U);
	EXPECT_EQ(destructor->ends + at_home->ends + message.calls + waiting.calls, 4);
}

TEST_F(Drain, InsideAMessageThatComesBackDoesNothing)
{
	size_t handled = 1;
	Note waiting;
	Note back([&] { handled = tether_drain(0); });

	EXPECT_EQ(tether_post(tether_self(), &waiting.message), 0);
	EXPECT_EQ(tether_post(0, &back.message), -EINVAL);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
	EXPECT_EQ(handled, 0U);
	EXPECT_EQ(tether_drain(0), 1U);
}

TEST_F(Drain, OfMoreThanTheInboxCountsLosesNothing)
{
	size_t count = 70000; /* the number in its head ends at 65,535 */
	std::vector<Note> notes(count);
	tether_owner_t owner = home.owner();

	for (Note &note : notes)
		EXPECT_EQ(tether_post(owner, &note.message), 0);
	EXPECT_EQ(stats(owner).pending, count);
	EXPECT_EQ(stats(owner).queued, count);
	EXPECT_EQ(drain(100), 100U);
	EXPECT_EQ(stats(owner).pending, count - 100);
	EXPECT_EQ(drain(0), count - 100);
	EXPECT_EQ(stats(owner).pending, 0U);
	EXPECT_EQ(stats(owner).queued, count);
	EXPECT_EQ(stats(owner).run_home, count);
	for (Note &note : notes)
		EXPECT_EQ(note.calls, 1);
}

/* Draining for a while. */

class DrainFor : public Loop
{
protected:
	/* Messages that take so long each. */
	void post(size_t count, std::chrono::microseconds each)
	{
		for (size_t i = 0; i < count; i++) {
			notes.push_back(std::make_unique<Note>([=] { std::this_thread::sleep_for(each); }));
			EXPECT_EQ(tether_post(home.owner(), &notes.back()->message), 0);
		}
	}
	size_t drain_for(size_t max_nodes, uint64_t max_us)
	{
		size_t handled = 0;

		home.run([&] { handled = tether_drain_for(max_nodes, max_us); });
		return handled;
	}

	std::vector<std::unique_ptr<Note>> notes;
};

TEST_F(DrainFor, OfNothingIsNothing)
{
	EXPECT_EQ(tether_drain_for(0, 0), 0U);
	EXPECT_EQ(tether_drain_for(5, 5), 0U);
	elsewhere([] { EXPECT_EQ(tether_drain_for(0, 1), 0U); });
}

TEST_F(DrainFor, WithoutLimitsHandlesAll)
{
	post(10, std::chrono::microseconds(0));
	EXPECT_EQ(drain_for(0, 0), 10U);
	post(10, std::chrono::microseconds(0));
	EXPECT_EQ(drain_for(0, UINT64_MAX), 10U);
}

TEST_F(DrainFor, EndsWithItsNodes)
{
	post(10, std::chrono::microseconds(0));
	EXPECT_EQ(drain_for(3, 0), 3U);
	EXPECT_EQ(drain_for(3, UINT64_MAX / 1000), 3U);
	EXPECT_EQ(drain_for(100, UINT64_C(3600000000)), 4U);
}

TEST_F(DrainFor, EndsWithItsTimeAndHandlesOneAtLeast)
{
	post(5, std::chrono::microseconds(2000));
	EXPECT_EQ(drain_for(0, 1), 1U) << "the first takes all the time there is";
	EXPECT_EQ(drain_for(4, 1000), 1U);
	EXPECT_LE(drain_for(0, 3000), 2U);

	uint64_t left = stats(home.owner()).pending;

	EXPECT_GE(left, 1U);
	EXPECT_EQ(drain(0), left);
}

TEST_F(DrainFor, LeavesItsDescriptorReadableForTheRest)
{
	int descriptor = fd();

	post(3, std::chrono::microseconds(0));
	EXPECT_EQ(drain_for(2, 0), 2U);
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(drain_for(2, 0), 1U);
	EXPECT_FALSE(is_readable(descriptor));
}

TEST_F(DrainFor, InsideAMessageDoesNothing)
{
	Note outer([] { EXPECT_EQ(tether_drain_for(0, 0), 0U); }), waiting;

	EXPECT_EQ(tether_post(home.owner(), &outer.message), 0);
	EXPECT_EQ(tether_post(home.owner(), &waiting.message), 0);
	EXPECT_EQ(drain(1), 1U);
	EXPECT_EQ(waiting.calls, 0);
	EXPECT_EQ(drain(0), 1U);
}

/* The descriptor. */

class Descriptor : public Loop
{
};

TEST_F(Descriptor, IsTheSameEachTimeAndEachOwnersOwn)
{
	Thread other;
	int others = -1;

	EXPECT_GE(fd(), 0);
	EXPECT_EQ(fd(), fd());
	other.run([&] { others = tether_fd(); });
	EXPECT_GE(others, 0);
	EXPECT_NE(others, fd());
}

TEST_F(Descriptor, DoesNotSurviveAnExec)
{
	EXPECT_TRUE(fcntl(fd(), F_GETFD) & FD_CLOEXEC);
}

TEST_F(Descriptor, IsReadableWhileThereIsSomethingToDrain)
{
	int descriptor = fd();
	auto first = bound_at_home(), second = bound_at_home();

	EXPECT_FALSE(is_readable(descriptor));
	EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(tether_drop(&second->tether), TETHER_QUEUED);
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(drain(1), 1U);
	EXPECT_TRUE(is_readable(descriptor)) << "one is left over";
	EXPECT_EQ(drain(1), 1U);
	EXPECT_FALSE(is_readable(descriptor));
	EXPECT_EQ(drain(1), 0U);
	EXPECT_FALSE(is_readable(descriptor));
}

TEST_F(Descriptor, IsReadableForWhatCameBeforeIt)
{
	auto thing = bound_at_home();

	EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	EXPECT_TRUE(is_readable(fd()));
	EXPECT_EQ(drain(0), 1U);
	EXPECT_FALSE(is_readable(fd()));
}

TEST_F(Descriptor, IsReadableForWhatItsOwnerSendsItself)
{
	int descriptor = fd();
	auto thing = bound_at_home();
	Note note;

	home.run([&] { EXPECT_EQ(tether_drop_later(&thing->tether), TETHER_QUEUED); });
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(drain(0), 1U);
	home.run([&] { EXPECT_EQ(tether_post(tether_self(), &note.message), 0); });
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(drain(0), 1U);
	EXPECT_FALSE(is_readable(descriptor));
}

TEST_F(Descriptor, IsReadableForWhatADestructorLeftOver)
{
	int descriptor = fd();
	auto last = bound_at_home();
	auto first = bound_at_home([&] { EXPECT_EQ(tether_drop(&last->tether), TETHER_QUEUED); });

	EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
	EXPECT_EQ(drain(1), 1U);
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(drain(0), 1U);
	EXPECT_FALSE(is_readable(descriptor));
}

TEST_F(Descriptor, MadeInsideADrainIsReadableForTheRest)
{
	int descriptor = -1;
	auto first = bound_at_home([&] { descriptor = tether_fd(); }), second = bound_at_home();

	EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&second->tether), TETHER_QUEUED);
	EXPECT_EQ(drain(1), 1U);
	EXPECT_TRUE(is_readable(descriptor));
	EXPECT_EQ(drain(0), 1U);
	EXPECT_FALSE(is_readable(descriptor));
}

TEST_F(Descriptor, TurnsOverManyTimes)
{
	int descriptor = fd();
	Note note;
	tether_owner_t owner = home.owner();
	uint64_t before = wakeups();

	for (int turn = 1; turn <= 500; turn++) {
		ASSERT_EQ(tether_post(owner, &note.message), 0);
		ASSERT_TRUE(is_readable(descriptor));
		ASSERT_EQ(drain(0), 1U);
		ASSERT_FALSE(is_readable(descriptor));
	}
	EXPECT_EQ(wakeups(), before + 500);
}

TEST_F(Descriptor, IsSignalledOncePerDrain)
{
	Note notes[3];

	EXPECT_GE(fd(), 0);
	for (Note &note : notes)
		EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(wakeups(), 1U);
	EXPECT_EQ(drain(0), 3U);
	EXPECT_EQ(wakeups(), 1U);
}

TEST_F(Descriptor, ExcludesAWakeOfOnesOwn)
{
	EXPECT_GE(fd(), 0);
	home.run([] { EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), -EBUSY); });
}

/* A wake-up of one's own. */

class Wake : public Loop
{
protected:
	std::atomic<int> calls{0};
	std::atomic<pthread_t> called_on{0};

	int set_wake(void (*wake)(void *))
	{
		int result = -1;

		home.run([&] { result = tether_set_wake(wake, this); });
		return result;
	}
	static void count(void *context)
	{
		Wake *self = static_cast<Wake *>(context);

		self->called_on = pthread_self();
		self->calls++;
	}
	void TearDown() override
	{
		EXPECT_EQ(set_wake(nullptr), 0); /* before `this` goes */
		Loop::TearDown();
	}
};

TEST_F(Wake, IsCalledByTheSenderOncePerDrain)
{
	auto first = bound_at_home(), second = bound_at_home(), third = bound_at_home();

	EXPECT_EQ(set_wake(count), 0);
	EXPECT_EQ(calls, 0);
	EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
	EXPECT_EQ(calls, 1);
	EXPECT_TRUE(pthread_equal(called_on, pthread_self()));
	EXPECT_EQ(tether_drop(&second->tether), TETHER_QUEUED);
	EXPECT_EQ(calls, 1);
	EXPECT_EQ(drain(0), 2U);
	EXPECT_EQ(calls, 1);
	EXPECT_EQ(tether_drop(&third->tether), TETHER_QUEUED);
	EXPECT_EQ(calls, 2);
	EXPECT_EQ(wakeups(), 2U);
	EXPECT_EQ(drain(0), 1U);
}

TEST_F(Wake, IsCalledAgainForWhatABudgetLeft)
{
	Note notes[2];

	EXPECT_EQ(set_wake(count), 0);
	for (Note &note : notes)
		EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(calls, 1);
	EXPECT_EQ(drain(1), 1U);
	EXPECT_EQ(calls, 2);
	EXPECT_EQ(drain(1), 1U);
	EXPECT_EQ(calls, 2);
}

TEST_F(Wake, IsCalledForWhatCameBeforeIt)
{
	Note note;

	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(set_wake(count), 0);
	EXPECT_EQ(calls, 1);
	EXPECT_EQ(drain(0), 1U);
}

TEST_F(Wake, RunsWithCancellationDisabled)
{
	static int state;
	Note note;

	state = -1;
	EXPECT_EQ(set_wake([](void *) {
				  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
				  pthread_setcancelstate(state, nullptr);
			  }),
	          0);
	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(state, PTHREAD_CANCEL_DISABLE);
	EXPECT_EQ(drain(0), 1U);
}

TEST_F(Wake, IsNotCalledAfterItWasSetToNull)
{
	Note notes[2];

	EXPECT_EQ(set_wake(count), 0);
	EXPECT_EQ(tether_post(home.owner(), &notes[0].message), 0);
	EXPECT_EQ(set_wake(nullptr), 0);
	EXPECT_EQ(tether_post(home.owner(), &notes[1].message), 0);
	EXPECT_EQ(drain(1), 1U);
	EXPECT_FALSE(park());
	EXPECT_EQ(drain(0), 1U);
	EXPECT_EQ(calls, 1);
}

TEST_F(Wake, SettingItToNullWaitsForOneOnItsWay)
{
	static std::atomic<bool> began, ended;
	Note note;
	tether_owner_t owner = home.owner();

	began = ended = false;
	EXPECT_EQ(set_wake([](void *) {
				  began = true;
				  for (int i = 0; i < 1000; i++)
					  sched_yield();
				  ended = true;
			  }),
	          0);
	std::thread sender([&] { EXPECT_EQ(tether_post(owner, &note.message), 0); });
	while (!began)
		sched_yield();
	EXPECT_EQ(set_wake(nullptr), 0);
	EXPECT_TRUE(ended);
	sender.join();
	EXPECT_EQ(drain(0), 1U);
}

TEST_F(Wake, MayBeReplacedByAnotherOrByTheDescriptor)
{
	static int others;
	Note notes[2];

	others = 0;
	EXPECT_EQ(set_wake(count), 0);
	EXPECT_EQ(fd(), -EBUSY);
	EXPECT_EQ(set_wake([](void *) { others++; }), 0);
	EXPECT_EQ(tether_post(home.owner(), &notes[0].message), 0);
	EXPECT_EQ(calls, 0);
	EXPECT_EQ(others, 1);
	EXPECT_EQ(set_wake(nullptr), 0);
	home.run([&] {
		int descriptor = tether_fd();

		EXPECT_GE(descriptor, 0);
		EXPECT_TRUE(is_readable(descriptor));
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_FALSE(is_readable(descriptor));
		tether_owner_exit();
	});
	EXPECT_EQ(others, 1);
	home.end();
	home.~Thread();
	new (&home) Thread; /* for TearDown */
}

/* Parking. */

class Park : public Loop
{
};

TEST_F(Park, IsFalseWithoutAWayToBeWoken)
{
	home.owner();
	EXPECT_FALSE(park());
	unpark();
	elsewhere([] {
		EXPECT_FALSE(tether_park());
		tether_unpark();
	});
}

TEST_F(Park, IsFalseWhileSomethingWaits)
{
	Note notes[2];

	EXPECT_GE(fd(), 0);
	for (Note &note : notes)
		EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_FALSE(park());
	unpark();
	EXPECT_EQ(drain(1), 1U);
	EXPECT_FALSE(park()) << "taken from the inbox, and not done";
	unpark();
	EXPECT_EQ(drain(1), 1U);
	EXPECT_TRUE(park());
	unpark();
}

TEST_F(Park, GivesExactlyOneWakeUp)
{
	int descriptor = fd();
	Note notes[3];
	uint64_t before = wakeups();

	for (uint64_t turn = 1; turn <= 100; turn++) {
		ASSERT_TRUE(park());
		ASSERT_FALSE(is_readable(descriptor));
		for (Note &note : notes)
			ASSERT_EQ(tether_post(home.owner(), &note.message), 0);
		ASSERT_TRUE(is_readable(descriptor));
		ASSERT_EQ(wakeups(), before + turn);
		unpark();
		ASSERT_EQ(drain(0), 3U);
		ASSERT_EQ(wakeups(), before + turn);
	}
}

TEST_F(Park, GivesNoWakeUpToALoopThatIsAwake)
{
	int descriptor = fd();
	Note notes[4];

	EXPECT_TRUE(park());
	unpark();
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(tether_post(home.owner(), &notes[i].message), 0);
	EXPECT_EQ(drain(0), 2U);
	for (int i = 2; i < 4; i++)
		EXPECT_EQ(tether_post(home.owner(), &notes[i].message), 0);
	EXPECT_EQ(wakeups(), 0U);
	EXPECT_FALSE(park());
	unpark();
	EXPECT_EQ(drain(0), 2U);
	EXPECT_TRUE(park());
	EXPECT_FALSE(is_readable(descriptor));
	unpark();
	EXPECT_EQ(wakeups(), 0U);
}

TEST_F(Park, ForATimeSleepsUnarmedOnceAfterADrain)
{
	int descriptor = fd();
	Note notes[3];
	int64_t us = 0;
	auto park_for = [&](int64_t timeout_us) {
		home.run([&] { us = tether_park_for(timeout_us); });
		return us;
	};

	ASSERT_EQ(tether_set_option("linger_us", "70"), 0);
	EXPECT_EQ(park_for(-1), -1) << "nothing was drained before";
	EXPECT_EQ(tether_post(home.owner(), &notes[0].message), 0);
	EXPECT_EQ(wakeups(), 1U);
	EXPECT_EQ(park_for(-1), 0);
	unpark();
	EXPECT_EQ(drain(0), 1U);
	EXPECT_EQ(park_for(-1), 70);
	EXPECT_EQ(tether_post(home.owner(), &notes[1].message), 0);
	EXPECT_EQ(wakeups(), 1U) << "it will look by itself";
	EXPECT_FALSE(is_readable(descriptor));
	unpark();
	EXPECT_EQ(drain(0), 1U);
	EXPECT_EQ(park_for(20), 20) << "no longer than the loop wants";
	unpark();
	EXPECT_EQ(drain(0), 0U);
	EXPECT_EQ(park_for(5000), 5000) << "and now it is armed";
	EXPECT_EQ(tether_post(home.owner(), &notes[2].message), 0);
	EXPECT_EQ(wakeups(), 2U);
	EXPECT_TRUE(is_readable(descriptor));
	unpark();
	EXPECT_EQ(drain(0), 1U);
	ASSERT_EQ(tether_set_option("linger_us", "0"), 0);
	EXPECT_EQ(park_for(-1), -1);
	unpark();
	ASSERT_EQ(tether_set_option("linger_us", "50"), 0);
}

TEST_F(Park, ForATimeLingersSeldomWhereItBringsNothing)
{
	unsigned lingered = 0;
	auto lingers = [&] {
		int64_t us = 0;
		home.run([&] { us = tether_park_for(-1); });
		unpark();
		return us > 0;
	};
	auto take = [&] {
		Note note;
		ASSERT_EQ(tether_post(home.owner(), &note.message), 0);
		ASSERT_EQ(drain(0), 1U);
	};

	fd();
	for (int i = 0; i < 200; i++) {
		take();
		if (lingers()) {
			lingered++;
			EXPECT_FALSE(lingers()) << "it brought nothing";
		}
	}
	EXPECT_GT(lingered, 2U);
	EXPECT_LT(lingered, 20U);
	do
		take();
	while (!lingers());
	for (int i = 0; i < 100; i++) {
		take();
		EXPECT_TRUE(lingers()) << "the last one brought something";
	}
}

TEST_F(Park, ForATimeIsNoneWithoutAWayToBeWoken)
{
	elsewhere([] {
		EXPECT_EQ(tether_park_for(-1), 0);
		tether_self();
		EXPECT_EQ(tether_park_for(-1), 0);
		tether_unpark();
	});
}

TEST_F(Park, WorksWithAWakeOfOnesOwn)
{
	static std::atomic<int> calls;
	Note notes[3];

	calls = 0;
	home.run([] { EXPECT_EQ(tether_set_wake([](void *) { calls++; }, nullptr), 0); });
	EXPECT_TRUE(park());
	EXPECT_EQ(tether_post(home.owner(), &notes[0].message), 0);
	EXPECT_EQ(tether_post(home.owner(), &notes[1].message), 0);
	EXPECT_EQ(calls, 1);
	unpark();
	EXPECT_EQ(drain(0), 2U);
	EXPECT_EQ(tether_post(home.owner(), &notes[2].message), 0);
	EXPECT_EQ(calls, 1);
	EXPECT_FALSE(park());
	unpark();
	EXPECT_EQ(drain(0), 1U);
	EXPECT_TRUE(park());
	unpark();
	EXPECT_EQ(calls, 1);
}

TEST_F(Park, TwiceIsOnce)
{
	Note note;

	EXPECT_GE(fd(), 0);
	EXPECT_TRUE(park());
	EXPECT_TRUE(park());
	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(wakeups(), 1U);
	unpark();
	unpark();
	EXPECT_EQ(drain(0), 1U);
}

TEST_F(Park, TheQuietLoopMissesNothing)
{
	constexpr int senders = 2;
	size_t each = scaled(2000);
	tether_owner_t owner = home.owner();
	std::atomic<size_t> handled{0};
	std::vector<std::thread> threads;
	std::vector<Note> notes(senders * each);

	for (int sender = 0; sender < senders; sender++)
		threads.emplace_back([&, sender] {
			for (size_t i = 0; i < each; i++) {
				EXPECT_EQ(tether_post(owner, &notes[sender * each + i].message), 0);
				if (i % 16 == 0)
					sched_yield();
			}
		});
	home.run([&] {
		struct pollfd ready = {tether_fd(), POLLIN, 0};

		while (handled < senders * each) {
			bool may_sleep = tether_park();

			poll(&ready, 1, may_sleep ? -1 : 0);
			tether_unpark();
			handled += tether_drain(0);
		}
	});
	for (std::thread &thread : threads)
		thread.join();
	for (Note &note : notes)
		EXPECT_EQ(note.calls, 1);
}

TEST_F(Loop, NamesHowItIsWoken)
{
	home.run([] {
		struct stat status;

		EXPECT_STREQ(tether_wake_name(), "none") << "nobody has asked yet";
		EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), 0);
		EXPECT_STREQ(tether_wake_name(), "own");
		EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0);
		EXPECT_STREQ(tether_wake_name(), "none");
		ASSERT_EQ(fstat(tether_fd(), &status), 0);
		EXPECT_STREQ(tether_wake_name(), S_ISFIFO(status.st_mode) ? "pipe" : "eventfd");
	});
	elsewhere([] { EXPECT_STREQ(tether_wake_name(), "none") << "it has no owner"; });
}

TEST_F(Loop, NoFunctionTouchesErrno)
{
	Note note;

	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	home.run([] {
		int descriptor;

		errno = 4242;
		EXPECT_EQ(tether_drain(1), 1U);
		EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), 0);
		EXPECT_EQ(tether_fd(), -EBUSY);
		EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0);
		descriptor = tether_fd();
		EXPECT_EQ(errno, 4242);
		EXPECT_FALSE(is_readable(descriptor));
		errno = 4242;
		EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), -EBUSY);
		EXPECT_TRUE(tether_park());
		tether_unpark();
		tether_drain(0);
		tether_owner_exit();
		EXPECT_EQ(tether_fd(), -ESRCH);
		EXPECT_EQ(errno, 4242);
	});
}

} // namespace
