/* stats_test.cc - counters: exact at quiet points, for each owner and in total.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <sched.h>

#include <memory>

namespace
{

class Stats : public Quiet
{
protected:
	Thread home, sender;

	/* What each of these owners, and everybody together, did in the meantime. */
	struct Counted {
		struct tether_counters home, sender, total;
	};
	Counted count(std::function<void()> work)
	{
		struct tether_counters home_before = stats(home.owner()), sender_before = stats(sender.owner()), before = stats();

		work();

		Counted counted = {since(home_before, home.owner()), since(sender_before, sender.owner()), since(before)};

		expect_balanced(counted.home);
		expect_balanced(counted.sender);
		expect_balanced(counted.total);
		return counted;
	}
};

TEST_F(Stats, OfWhatIsNoOwnerAreRefused)
{
	struct tether_counters counters;
	tether_owner_t ended = home.owner();

	home.end();
	for (tether_owner_t none : {ended, TETHER_NOBODY_, TETHER_GONE_, tether_self() + 1}) {
		counters.bound = 77;
		EXPECT_EQ(tether_stats(none, &counters), -ESRCH);
		EXPECT_EQ(counters.bound, 0U);
	}
}

TEST_F(Stats, CountWhatIsBoundAndClaimed)
{
	Thing bound, claimed, unclaimed;

	Counted counted = count([&] {
		tether_bind_later(&claimed.tether, &thing_type);
		tether_bind_later(&unclaimed.tether, &thing_type);
		home.run([&] {
			tether_bind(&bound.tether, &thing_type);
			EXPECT_TRUE(tether_claim(&claimed.tether));
			EXPECT_TRUE(tether_claim(&claimed.tether));
		});
		sender.run([&] { EXPECT_FALSE(tether_claim(&claimed.tether)); });
	});

	EXPECT_EQ(counted.home.bound, 2U);
	EXPECT_EQ(counted.sender.bound, 0U);
	EXPECT_EQ(counted.total.bound, 2U);
}

TEST_F(Stats, CountViolationsForWhoCausedThemPrintedOrNot)
{
	Thing thing;
	Note note;

	home.run([&] { tether_bind(&thing.tether, &thing_type); });
	Counted counted = count([&] {
		for (enum tether_level level : {TETHER_COUNT, TETHER_WARN_ONCE, TETHER_WARN}) {
			tether_set_level(level);
			for (int i = 0; i < 3; i++)
				sender.run([&] { TETHER_CHECK(&thing.tether); });
		}
		sender.run([&] { EXPECT_EQ(tether_post(0, &note.message), -EINVAL); });
	});

	EXPECT_EQ(counted.sender.failed_checks, 10U);
	EXPECT_EQ(counted.home.failed_checks, 0U);
	EXPECT_EQ(counted.total.failed_checks, 10U);
	EXPECT_EQ(reports.take_kinds().size(), 0U + 1U + 3U + 1U);
}

TEST_F(Stats, CountADropAtHome)
{
	Thing thing;

	Counted counted = count([&] {
		home.run([&] {
			tether_bind(&thing.tether, &thing_type);
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		});
	});

	EXPECT_EQ(counted.home.dropped_here, 1U);
	EXPECT_EQ(counted.home.sent, 0U);
	EXPECT_EQ(counted.home.queued, 0U);
	EXPECT_EQ(counted.total.dropped_here, 1U);
}

TEST_F(Stats, CountADropInADestructorAsQueued)
{
	Thing inner;
	Thing outer([&] { EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED); });

	Counted counted = count([&] {
		home.run([&] {
			tether_bind(&inner.tether, &thing_type);
			tether_bind(&outer.tether, &thing_type);
			EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
		});
	});

	EXPECT_EQ(counted.home.dropped_here, 1U);
	EXPECT_EQ(counted.home.sent, 1U);
	EXPECT_EQ(counted.home.queued, 1U);
	EXPECT_EQ(counted.home.run_home, 1U);
}

TEST_F(Stats, CountADropThatGoesHome)
{
	Thing things[3];
	Note note;
	tether_owner_t to = home.owner();

	home.run([&] {
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	});
	Counted sent = count([&] {
		sender.run([&] {
			for (Thing &thing : things)
				EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
			EXPECT_EQ(tether_post(to, &note.message), 0);
			EXPECT_EQ(tether_drop(&things[0].tether), TETHER_REFUSED);
		});
	});

	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
	EXPECT_EQ(sent.sender.sent, 4U);
	EXPECT_EQ(sent.sender.queued, 0U);
	EXPECT_EQ(sent.home.queued, 4U);
	EXPECT_EQ(sent.home.pending, 4U);
	EXPECT_EQ(sent.home.run_home, 0U);
	EXPECT_EQ(sent.total.pending, 4U);

	Counted run = count([&] { home.run([] { EXPECT_EQ(tether_drain(3), 3U); }); });

	EXPECT_EQ(run.home.run_home, 3U);
	EXPECT_EQ(stats(to).pending, 1U);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_EQ(stats(to).pending, 0U);
	EXPECT_EQ(stats(to).dropped_here, 0U);
}

TEST_F(Stats, CountALaterDropAtHomeAsQueued)
{
	Thing thing;

	Counted counted = count([&] {
		home.run([&] {
			tether_bind(&thing.tether, &thing_type);
			EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
			EXPECT_EQ(stats(tether_self()).pending, 1U);
			EXPECT_EQ(tether_drain(0), 1U);
		});
	});

	EXPECT_EQ(counted.home.sent, 1U);
	EXPECT_EQ(counted.home.queued, 1U);
	EXPECT_EQ(counted.home.run_home, 1U);
	EXPECT_EQ(counted.home.dropped_here, 0U);
}

TEST_F(Stats, CountAnOrphanForWhoFoundIt)
{
	Thing leaked, anywhere;
	Note note;
	tether_owner_t ended = 0;

	elsewhere([&] {
		ended = tether_self();
		tether_bind(&leaked.tether, &thing_type);
		tether_bind(&anywhere.tether, &anywhere_type);
	});
	Counted counted = count([&] {
		sender.run([&] {
			EXPECT_EQ(tether_drop(&leaked.tether), TETHER_ORPHANED);
			EXPECT_EQ(tether_drop(&anywhere.tether), TETHER_ORPHANED);
			EXPECT_EQ(tether_post(ended, &note.message), -ESRCH);
		});
	});

	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	EXPECT_EQ(counted.sender.sent, 3U);
	EXPECT_EQ(counted.sender.queued, 3U);
	EXPECT_EQ(counted.sender.orphaned, 3U);
	EXPECT_EQ(counted.sender.leaked, 1U);
	EXPECT_EQ(counted.sender.run_home, 0U);
	EXPECT_EQ(counted.sender.dropped_here, 0U);
	EXPECT_EQ(counted.total.orphaned, 3U);
	EXPECT_EQ(counted.total.leaked, 1U);
}

TEST_F(Stats, CountAnOrphanInADestructorOnce)
{
	Thing orphan;
	Thing outer([&] { EXPECT_EQ(tether_drop(&orphan.tether), TETHER_QUEUED); });

	elsewhere([&] { tether_bind(&orphan.tether, &anywhere_type); });
	Counted counted = count([&] {
		home.run([&] {
			tether_bind(&outer.tether, &thing_type);
			EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
		});
	});

	EXPECT_EQ(counted.home.sent, 1U);
	EXPECT_EQ(counted.home.queued, 1U);
	EXPECT_EQ(counted.home.orphaned, 1U);
	EXPECT_EQ(counted.home.leaked, 0U);
	EXPECT_EQ(counted.home.dropped_here, 1U);
}

TEST_F(Stats, CountWhatAnHeirReceivesAtTheHeir)
{
	Thing thing;

	thing_heir = home.owner();
	elsewhere([&] { tether_bind(&thing.tether, &heir_type); });
	Counted counted = count([&] {
		sender.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED); });
		home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	});

	EXPECT_EQ(counted.sender.sent, 1U);
	EXPECT_EQ(counted.sender.queued, 0U);
	EXPECT_EQ(counted.home.queued, 1U);
	EXPECT_EQ(counted.home.run_home, 1U);
	EXPECT_EQ(counted.total.orphaned, 0U);
}

TEST_F(Stats, CountWhatThreadsWithoutOwnerDoInTheTotal)
{
	Thing thing, unbound;
	tether_owner_t to = home.owner();
	Note note;

	home.run([&] { tether_bind(&thing.tether, &thing_type); });
	tether_bind_later(&unbound.tether, &thing_type);
	Counted counted = count([&] {
		elsewhere([&] {
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
			EXPECT_EQ(tether_drop(&unbound.tether), TETHER_HERE);
			EXPECT_EQ(tether_post(to, &note.message), 0);
			EXPECT_EQ(tether_self_, TETHER_NOBODY_);
		});
		home.run([] { EXPECT_EQ(tether_drain(0), 2U); });
	});

	EXPECT_EQ(counted.total.sent, 2U);
	EXPECT_EQ(counted.total.dropped_here, 1U);
	EXPECT_EQ(counted.total.run_home, 2U);
	EXPECT_EQ(counted.home.run_home, 2U);
}

TEST_F(Stats, OfTheEndedStayInTheTotal)
{
	Thing here, waiting;
	Note note;
	struct tether_counters before = stats(), counted;

	{
		Thread ending;

		ending.run([&] {
			EXPECT_GE(tether_fd(), 0);
			tether_bind(&here.tether, &thing_type);
			tether_bind(&waiting.tether, &thing_type);
			EXPECT_EQ(tether_drop(&here.tether), TETHER_HERE);
		});
		EXPECT_EQ(tether_drop(&waiting.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(ending.owner(), &note.message), 0);
	}
	counted = since(before);
	EXPECT_EQ(counted.bound, 2U);
	EXPECT_EQ(counted.dropped_here, 1U);
	EXPECT_EQ(counted.sent, 2U);
	EXPECT_EQ(counted.queued, 2U);
	EXPECT_EQ(counted.run_home, 2U);
	EXPECT_EQ(counted.pending, 0U);
	EXPECT_EQ(counted.wakeups, 1U);
}

TEST_F(Stats, OfANewOwnerStartAtZeroThoughItsPlaceWasUsed)
{
	for (int i = 0; i < 70; i++)
		elsewhere([] {
			struct tether_counters counters = stats(tether_self());
			Thing thing;

			EXPECT_EQ(counters.bound + counters.sent + counters.queued + counters.dropped_here + counters.wakeups, 0U);
			tether_bind(&thing.tether, &thing_type);
			EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
			EXPECT_EQ(tether_drain(0), 1U);
		});
}

/* Everybody drops and posts to everybody, while owners come and go; then it is quiet. */
TEST_F(Stats, BalanceAfterAStorm)
{
	constexpr size_t generations = 4, threads = 3;
	size_t each = scaled(3000);
	std::atomic<size_t> ended{0};
	struct tether_counters before = stats(), counted;

	for (size_t generation = 0; generation < generations; generation++) {
		std::vector<std::unique_ptr<Thing>> things[threads];
		std::atomic<size_t> bound{0};
		std::vector<std::thread> storm;

		for (size_t me = 0; me < threads; me++)
			storm.emplace_back([&, me] {
				for (size_t i = 0; i < each; i++) {
					things[me].push_back(std::make_unique<Thing>([&] { ended++; }));
					tether_bind(&things[me].back()->tether, &anywhere_type);
				}
				bound++;
				while (bound < threads)
					sched_yield();
				for (size_t i = me; i < each; i += threads)
					for (std::vector<std::unique_ptr<Thing>> &some : things) {
						EXPECT_NE(tether_drop(&some[i]->tether), TETHER_REFUSED);
						tether_drain(2);
					}
			});
		for (std::thread &thread : storm)
			thread.join();
	}
	counted = since(before);
	expect_balanced(counted);
	EXPECT_EQ(counted.pending, 0U);
	EXPECT_EQ(counted.sent, counted.queued);
	EXPECT_EQ(counted.bound, generations * threads * each);
	EXPECT_EQ(counted.dropped_here + counted.run_home + counted.orphaned, generations * threads * each);
	EXPECT_EQ(ended, generations * threads * each);
}

TEST_F(Stats, NoFunctionTouchesErrno)
{
	struct tether_counters counters;

	errno = 4242;
	EXPECT_EQ(tether_stats(0, &counters), 0);
	EXPECT_EQ(tether_stats(tether_self(), &counters), 0);
	EXPECT_EQ(tether_stats(12345, &counters), -ESRCH);
	EXPECT_EQ(errno, 4242);
}

} // namespace
