/* explorer_test.cc - the explorer itself: how many schedules there are, and what it finds in them.
 * SPDX-License-Identifier: MIT */
#include <gtest/gtest.h>

#include <new>

#include "points.h"

namespace
{

/* Two threads that take `steps` each on one word. */
struct State {
	unsigned count = 0, sum = 0;
	pthread_mutex_t lock[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
};

void write_twice(void *context, unsigned me)
{
	State *state = static_cast<State *>(context);

	__atomic_store_n(&state->count, me, __ATOMIC_RELAXED);
	__atomic_store_n(&state->count, me, __ATOMIC_RELAXED);
}

/* An update that two may lose. */
void add_carelessly(void *context, unsigned)
{
	State *state = static_cast<State *>(context);

	__atomic_store_n(&state->sum, __atomic_load_n(&state->sum, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

void add_under_a_lock(void *context, unsigned me)
{
	State *state = static_cast<State *>(context);

	model_mutex_lock(&state->lock[0]);
	add_carelessly(context, me);
	model_mutex_unlock(&state->lock[0]);
}

void lock_crosswise(void *context, unsigned me)
{
	State *state = static_cast<State *>(context);

	model_mutex_lock(&state->lock[me]);
	model_mutex_lock(&state->lock[1 - me]);
	state->sum++;
	model_mutex_unlock(&state->lock[1 - me]);
	model_mutex_unlock(&state->lock[me]);
}

void wait_for_the_other(void *context, unsigned me)
{
	State *state = static_cast<State *>(context);

	if (me == 1)
		__atomic_store_n(&state->count, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&state->count, __ATOMIC_RELAXED) == 0)
		;
	__atomic_fetch_add(&state->sum, 1, __ATOMIC_RELAXED);
}

unsigned seen; /* by children and handlers; not of the world: no child writes there */

/* Nobody else touches the word that one counts in. */
void count_to_three(void *context, unsigned me)
{
	State *state = static_cast<State *>(context);

	for (unsigned i = 1; me == 1 && i <= 3; i++)
		__atomic_store_n(&state->count, i, __ATOMIC_RELAXED);
}

/* What the child writes is its own. */
void fork_beside_who_counts(void *context, unsigned me)
{
	count_to_three(context, me);
	if (me == 1)
		return;
	model_fork(
		[](void *child) {
			seen |= 1U << static_cast<State *>(child)->count;
			static_cast<State *>(child)->sum = 1;
		},
		context);
}

void fork_and_wait(void *context, unsigned me)
{
	State *state = static_cast<State *>(context);

	if (me == 0) {
		model_fork([](void *child) { model_mutex_lock(&static_cast<State *>(child)->lock[0]); }, context);
		return;
	}
	model_mutex_lock(&state->lock[0]);
	__atomic_store_n(&state->count, 1, __ATOMIC_RELAXED);
	model_mutex_unlock(&state->lock[0]);
}

void wait_for_nobody(void *context, unsigned)
{
	State *state = static_cast<State *>(context);

	while (__atomic_load_n(&state->count, __ATOMIC_RELAXED) == 0)
		;
}

struct model_result explore(void (*run)(void *context, unsigned thread), unsigned preemptions, uint64_t random = 0,
                            const char *replay = nullptr, int interrupted = MODEL_NOBODY)
{
	static struct model_result result;
	struct model_scenario scenario = {};
	struct model_options options = {preemptions, random, 1, replay};

	scenario.name = "Explorer";
	scenario.threads = 2;
	scenario.bytes = sizeof(State);
	scenario.make = [](void *state) { new (state) State; };
	scenario.prepare = [](void *, unsigned) {};
	scenario.run = run;
	scenario.interrupted = interrupted;
	scenario.handle = [](void *context) { seen |= 1U << static_cast<State *>(context)->count; };
	scenario.finish = [](void *, unsigned) {};
	scenario.check = [](void *context) {
		if (static_cast<State *>(context)->sum == 1)
			model_fail(__FILE__, __LINE__, "an update is lost");
	};
	model_explore(&scenario, &options, &result);
	return result;
}

} // namespace

TEST(Explorer, RunsEverySchedule)
{
	/* AABB BBAA; ABBA BAAB; ABAB BABA */
	EXPECT_EQ(explore(write_twice, 0).exhaustive, 2U);
	EXPECT_EQ(explore(write_twice, 1).exhaustive, 4U);
	EXPECT_EQ(explore(write_twice, 2).exhaustive, 6U);
	EXPECT_EQ(explore(write_twice, 3).exhaustive, 6U);
}

TEST(Explorer, FindsALostUpdateWithOnePreemption)
{
	EXPECT_FALSE(explore(add_under_a_lock, 3).has_failed);
	struct model_result found = explore(add_carelessly, 1);
	EXPECT_TRUE(found.has_failed);
	EXPECT_STREQ(found.schedule, "0x1 1x2 0x1");
}

TEST(Explorer, FindsItAtRandom)
{
	EXPECT_EQ(explore(write_twice, 0, 100).random, 100U);
	EXPECT_FALSE(explore(add_carelessly, 0, 0).has_failed);
	EXPECT_TRUE(explore(add_carelessly, 0, 100).has_failed);
}

TEST(Explorer, ReplaysAFailure)
{
	EXPECT_TRUE(explore(add_carelessly, 0, 0, "0x1 1x2 0x1").has_failed);
	EXPECT_FALSE(explore(add_carelessly, 0, 0, "0x2 1x2").has_failed);
	EXPECT_STREQ(explore(add_carelessly, 0, 0, "no schedule").why, "'no schedule' is no schedule");
}

TEST(Explorer, FindsADeadlock)
{
	EXPECT_FALSE(explore(lock_crosswise, 0).has_failed);
	EXPECT_TRUE(explore(lock_crosswise, 1).has_failed);
}

TEST(Explorer, KnowsAThreadThatSpins)
{
	EXPECT_FALSE(explore(wait_for_the_other, 3).has_failed);
	EXPECT_TRUE(explore(wait_for_nobody, 3).has_failed);
}

TEST(Explorer, ForksAtEveryPoint)
{
	seen = 0;
	EXPECT_FALSE(explore(fork_beside_who_counts, 1).has_failed);
	EXPECT_EQ(seen, 0xfU) << "after 0 to 3 steps of the other";
}

TEST(Explorer, InterruptsAtEveryPoint)
{
	seen = 0;
	EXPECT_FALSE(explore(count_to_three, 1, 0, nullptr, 1).has_failed);
	EXPECT_EQ(seen, 0x7U) << "before each of its steps";
}

TEST(Explorer, FindsAChildThatWaits)
{
	EXPECT_FALSE(explore(fork_and_wait, 0).has_failed);
	EXPECT_TRUE(explore(fork_and_wait, 1).has_failed);
}
