/* busy_destructor_test.cc - destructors that drop, post, drain, block, and meet each other.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <sched.h>

#include <memory>

namespace
{

/* Two owners, and a thing of one whose destructor does what a test wants. */
class BusyDestructor : public Quiet
{
protected:
	Thread home, other;
	Thing busy;

	void busy_does(std::function<void()> what)
	{
		*busy.at_end = std::move(what);
		home.run([this] { tether_bind(&busy.tether, &thing_type); });
		EXPECT_EQ(tether_drop(&busy.tether), TETHER_QUEUED);
	}
	void bind_at(Thread &where, std::vector<Thing> &things)
	{
		where.run([&] {
			for (Thing &thing : things)
				tether_bind(&thing.tether, &thing_type);
		});
	}
	void expect_ended_on(const std::vector<Thing> &things, const Thread &where)
	{
		for (const Thing &thing : things)
			EXPECT_TRUE(thing.ended_once_on(where.id()));
	}
};

TEST_F(BusyDestructor, DropsHundredsAtHome)
{
	std::vector<Thing> things(500);

	bind_at(home, things);
	busy_does([&] {
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		for (Thing &thing : things)
			EXPECT_EQ(thing.ends, 0);
	});
	home.run([&] { EXPECT_EQ(tether_drain(0), 1 + things.size()); });
	expect_ended_on(things, home);
}

TEST_F(BusyDestructor, DropsHundredsElsewhere)
{
	std::vector<Thing> things(500);

	bind_at(other, things);
	busy_does([&] {
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	});
	home.run([&] { EXPECT_EQ(tether_drain(0), 1U); });
	other.run([&] { EXPECT_EQ(tether_drain(0), things.size()); });
	expect_ended_on(things, other);
}

TEST_F(BusyDestructor, PostsToEverybody)
{
	Note to_self, to_other, to_nobody;
	tether_owner_t others = other.owner();

	busy_does([&] {
		EXPECT_EQ(tether_post(tether_self(), &to_self.message), 0);
		EXPECT_EQ(tether_post(others, &to_other.message), 0);
		EXPECT_EQ(tether_post(0, &to_nobody.message), -EINVAL);
		EXPECT_EQ(to_self.calls + to_nobody.calls, 0);
	});
	home.run([] { EXPECT_EQ(tether_drain(0), 3U); });
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(to_self.ran_once_on(home.id()));
	EXPECT_TRUE(to_other.ran_once_on(other.id()));
	EXPECT_TRUE(to_nobody.came_back_once_to(home.id()));
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
}

TEST_F(BusyDestructor, DrainsInVain)
{
	std::vector<Thing> things(3);

	bind_at(home, things);
	busy_does([&] {
		EXPECT_EQ(tether_drain(0), 0U);
		EXPECT_EQ(tether_drop(&things[0].tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop_later(&things[1].tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 0U);
	});
	EXPECT_EQ(tether_drop(&things[2].tether), TETHER_QUEUED);
	home.run([&] { EXPECT_EQ(tether_drain(0), 4U); });
	expect_ended_on(things, home);
}

TEST_F(BusyDestructor, BlocksUntilAnotherThreadHasDroppedMoreForIt)
{
	std::vector<Thing> things(100);

	bind_at(home, things);
	busy_does([&] {
		elsewhere([&] {
			for (Thing &thing : things)
				EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		});
	});
	home.run([&] { EXPECT_EQ(tether_drain(0), 1 + things.size()); });
	expect_ended_on(things, home);
}

/* Each waits in its destructor until the other is in its own, and has dropped for it. */
TEST_F(BusyDestructor, MeetsAnotherThatDropsForIt)
{
	std::vector<Thing> of_home(10), of_other(10);
	std::atomic<int> met{0};
	auto drop_and_meet = [&](std::vector<Thing> &others) {
		for (Thing &thing : others)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		met++;
		while (met < 2)
			sched_yield();
	};
	Thing busy_too([&] { drop_and_meet(of_home); });

	bind_at(home, of_home);
	bind_at(other, of_other);
	busy_does([&] { drop_and_meet(of_other); });
	other.run([&] { tether_bind(&busy_too.tether, &thing_type); });
	EXPECT_EQ(tether_drop(&busy_too.tether), TETHER_QUEUED);
	std::thread at_home([&] { home.run([] { tether_drain(0); }); });
	other.run([] { tether_drain(0); });
	at_home.join();
	home.run([] { tether_drain(0); });
	other.run([] { tether_drain(0); });
	expect_ended_on(of_home, home);
	expect_ended_on(of_other, other);
}

TEST_F(BusyDestructor, BindsAndDropsNewOnesWithoutEnd)
{
	size_t count = 0, lives = scaled(100000);
	struct Phoenix {
		std::function<void()> *again;
		struct tether tether;
	};
	static const tether_type phoenix_type =
		TETHER_TYPE(Phoenix, tether, [](void *phoenix) { (*static_cast<Phoenix *>(phoenix)->again)(); });
	std::function<void()> again;
	Phoenix two[2] = {{&again, {0, 0, 0, 0}}, {&again, {0, 0, 0, 0}}};

	again = [&] {
		Phoenix *next = &two[++count % 2];

		if (count == lives)
			return;
		tether_bind(&next->tether, &phoenix_type);
		EXPECT_EQ(tether_drop(&next->tether), TETHER_QUEUED);
	};
	on_a_small_stack([&] {
		tether_bind(&two[0].tether, &phoenix_type);
		EXPECT_EQ(tether_drop(&two[0].tether), TETHER_HERE);
	});
	EXPECT_EQ(count, lives);
}

TEST_F(BusyDestructor, StartsAndJoinsThreadsThatEndTheirOwners)
{
	busy_does([] {
		elsewhere([] {
			Thing thing;

			tether_bind(&thing.tether, &thing_type);
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
			tether_owner_exit();
		});
	});
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_EQ(busy.ends, 1);
}

TEST_F(BusyDestructor, AsksForTheDescriptorAndTheWake)
{
	int fd = -1;

	busy_does([&] {
		EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), 0);
		EXPECT_EQ(tether_fd(), -EBUSY);
		EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0);
		fd = tether_fd();
	});
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_GE(fd, 0);
	EXPECT_FALSE(is_readable(fd));
}

TEST_F(BusyDestructor, ParksWhileMoreWaits)
{
	Note waiting;
	bool may_sleep = true;

	home.run([] { EXPECT_GE(tether_fd(), 0); });
	busy_does([&] {
		may_sleep = tether_park();
		tether_unpark();
	});
	EXPECT_EQ(tether_post(home.owner(), &waiting.message), 0);
	home.run([] { EXPECT_EQ(tether_drain(0), 2U); });
	EXPECT_FALSE(may_sleep);
	EXPECT_EQ(waiting.calls, 1);
}

} // namespace
