/* mutual_exit_test.cc - owners that end together, each with drops pending for all the others.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <memory>

namespace
{

class MutualExit : public Quiet
{
protected:
	static constexpr size_t threads = 8, each = 60, half = each / 2;

	std::vector<std::unique_ptr<Thing>> things[threads];

	/* Every thread drops some of everybody's first half, and then they all end at once.
	 * Returns how many were destroyed. */
	size_t end_together(const tether_type *type, const std::function<void(size_t, size_t)> &at_end)
	{
		std::atomic<size_t> bound{0}, dropped{0};
		std::vector<std::thread> running;
		size_t ended = 0;

		for (size_t me = 0; me < threads; me++) {
			things[me].clear();
			for (size_t i = 0; i < each; i++)
				things[me].push_back(std::make_unique<Thing>([=] { at_end(me, i); }));
		}
		for (size_t me = 0; me < threads; me++)
			running.emplace_back([&, me] {
				for (std::unique_ptr<Thing> &thing : things[me])
					tether_bind(&thing->tether, type);
				meet(bound, threads);
				for (size_t i = me; i < half; i += threads)
					for (std::vector<std::unique_ptr<Thing>> &some : things)
						EXPECT_NE(tether_drop(&some[i]->tether), TETHER_REFUSED);
				meet(dropped, threads);
			});
		for (std::thread &thread : running)
			thread.join();
		for (std::vector<std::unique_ptr<Thing>> &some : things)
			for (std::unique_ptr<Thing> &thing : some) {
				EXPECT_LE(thing->ends, 1);
				ended += static_cast<size_t>(thing->ends);
			}
		return ended;
	}
	/* For the destructor of each in the first half: drops one of a neighbour's second half, while that
	 * neighbour is alive, ending, or gone. */
	void drop_a_neighbours(size_t me, size_t i)
	{
		if (i < half) {
			EXPECT_NE(tether_drop(&things[(me + 1) % threads][i + half]->tether), TETHER_REFUSED);
		}
	}
};

TEST_F(MutualExit, RunsEveryDropThatCameBeforeTheFirstEnd)
{
	for (int round = 0; round < 20; round++)
		EXPECT_EQ(end_together(&thing_type, [](size_t, size_t) {}), threads * half);
}

TEST_F(MutualExit, RunsWhatDestructorsStillDropForOneAnother)
{
	for (int round = 0; round < 20; round++)
		EXPECT_EQ(end_together(&anywhere_type, [this](size_t me, size_t i) { drop_a_neighbours(me, i); }), threads * each);
}

TEST_F(MutualExit, LeaksAndCountsWhatCameTooLate)
{
	tether_set_level(TETHER_COUNT);
	for (int round = 0; round < 20; round++) {
		struct tether_counters before = stats();
		size_t ended = end_together(&thing_type, [this](size_t me, size_t i) { drop_a_neighbours(me, i); });

		EXPECT_EQ(ended + since(before).leaked, threads * each);
	}
}

} // namespace
