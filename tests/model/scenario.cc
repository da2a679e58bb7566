/* scenario.cc - objects of scenarios, the books that must balance, and what is explored of each.
 * SPDX-License-Identifier: MIT
 *
 *     MODEL_PREEMPTIONS=3      all schedules with at most so many preemptions
 *     MODEL_RANDOM=50000       schedules beyond, of each scenario; divided by TETHER_TEST_SCALE
 *     MODEL_SEED=1
 *     MODEL_REPLAY='0x14 1x7'  this schedule only, with its steps; choose the scenario by --gtest_filter */
#include "scenario.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

Base *base;

namespace
{

uint64_t number(const char *name, uint64_t otherwise)
{
	const char *told = getenv(name);

	return told && *told ? strtoull(told, nullptr, 10) : otherwise;
}

struct Total : testing::Environment {
	uint64_t exhaustive = 0, random = 0;

	void SetUp() override { model_start("libtether_model.so"); }
	void TearDown() override { printf("%" PRIu64 " schedules in all, and %" PRIu64 " at random\n", exhaustive, random); }
};
Total *total = static_cast<Total *>(testing::AddGlobalTestEnvironment(new Total));

int count_end()
{
	base->ended++;
	return model_thread();
}

struct tether_counters stats(tether_owner_t owner)
{
	struct tether_counters counters = {};

	MUST(tether_stats(owner, &counters) == 0);
	return counters;
}

} // namespace

void conn_destroy(void *object)
{
	Conn *conn = static_cast<Conn *>(object);

	MUST(tether_is_mine(&conn->tag));
	conn->ended_on = count_end();
	conn->ends++;
	conn->order = base->ended;
	if (conn->at_end)
		conn->at_end(conn->context);
}

void Note::called(struct tether_message *message, enum tether_fate fate)
{
	Note *note = reinterpret_cast<Note *>(message); /* its first member */

	note->called_on = count_end();
	note->calls++;
	note->order = base->ended;
	note->fate = fate;
}

void Journey::arrived(struct tether_transfer *transfer, struct tether *tag, enum tether_arrival how)
{
	Journey *journey = reinterpret_cast<Journey *>(transfer); /* its first member */

	journey->arrivals++;
	journey->arrived_on = model_thread();
	journey->how = how;
	if (how == TETHER_RECEIVED || how == TETHER_CAME_BACK)
		journey->was_mine = tether_is_mine(tag);
	if (journey->at_arrival)
		journey->at_arrival(journey->context);
}

const struct tether_type home_type = TETHER_TYPE_POLICY(Conn, tag, conn_destroy, TETHER_LEAK, TETHER_COUNT);
const struct tether_type anywhere_type = TETHER_TYPE_POLICY(Conn, tag, conn_destroy, TETHER_ANYWHERE, TETHER_COUNT);

uint64_t reports(tether_owner_t owner)
{
	return stats(owner).failed_checks;
}

/* The steps of a failure; what comes of them is known. */
static void show(const struct model_scenario *scenario, const char *schedule)
{
	static struct model_result again;
	struct model_options options = {0, 0, 0, schedule};

	model_explore(scenario, &options, &again);
}

void check_books()
{
	struct tether_counters counters = stats(0);

	MUST(counters.pending == 0);
	MUST(counters.sent == counters.queued);
	MUST(counters.queued == counters.run_home + counters.orphaned);
	MUST(counters.leaked <= counters.orphaned);
	MUST(base->travels || base->ended == counters.dropped_here + counters.run_home + counters.orphaned - counters.leaked);
}

void explore(struct model_scenario *scenario, unsigned preemptions)
{
	const testing::TestInfo *test = testing::UnitTest::GetInstance()->current_test_info();
	std::string name = std::string(test->test_suite_name()) + "." + test->name();
	uint64_t scale = number("TETHER_TEST_SCALE", 1);
	const char *replay = getenv("MODEL_REPLAY");
	struct model_options options = {static_cast<unsigned>(number("MODEL_PREEMPTIONS", preemptions)),
	                                number("MODEL_RANDOM", 50000) / (scale ? scale : 1), number("MODEL_SEED", 1),
	                                replay && *replay ? replay : nullptr};
	static struct model_result result;

	scenario->name = name.c_str();
	model_explore(scenario, &options, &result);
	total->exhaustive += result.exhaustive;
	total->random += result.random;
	if (result.has_failed && !options.replay)
		show(scenario, result.schedule);
	if (result.has_failed)
		ADD_FAILURE() << result.why << "\nMODEL_REPLAY='" << result.schedule << "' --gtest_filter=" << name;
	else if (!options.replay)
		printf("%s: all %" PRIu64 " schedules with at most %u preemptions at %u shared words; %" PRIu64
		       " at random, seed %" PRIu64 "\n",
		       name.c_str(), result.exhaustive, options.preemptions, result.words, result.random, options.seed);
}
