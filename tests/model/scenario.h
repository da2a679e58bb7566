/* scenario.h - what scenarios share: objects and messages that tell how they ended, and what must hold after any schedule.
 * SPDX-License-Identifier: MIT
 *
 * A scenario is a structure of plain data: it lies in the world, so whatever it remembers is wound back. Its
 * threads prepare in turn, run side by side, and finish in turn, until all is handled; then nobody checks.
 *
 *     struct Pushes : Scenario<3> { void run(unsigned me); ... };
 *     TEST(Push, ...) { explore<Pushes>(); }
 *
 * What threads share beyond the library's own is read and written by __atomic_load_n and __atomic_store_n, which are
 * points here. */
#ifndef TETHER_MODEL_SCENARIO_H
#define TETHER_MODEL_SCENARIO_H

#include <gtest/gtest.h>

#include <new>
#include <string>
#include <type_traits>

#include "points.h"

#include <tether/tether.h>

#define MUST(condition) ((condition) ? (void)0 : model_fail(__FILE__, __LINE__, #condition))

/* Wait, with no turn of one's own meanwhile, until it holds. */
template <typename Condition>
void wait_until(Condition condition)
{
	model_wait([](void *context) { return (*static_cast<Condition *>(context))(); }, &condition);
}

struct Conn {
	int ends = 0;
	int ended_on = MODEL_NOBODY;
	unsigned order = 0; /* of all that ended or were called, from 1 */
	void (*at_end)(void *context) = nullptr;
	void *context = nullptr;
	struct tether tag = {0, 0, 0, 0};

	bool ended_once_on(int thread) const { return ends == 1 && ended_on == thread; }
	bool was_leaked() const { return ends == 0; }
};

struct Note {
	struct tether_message message = {{0, 0, 0, 0}, called};
	int calls = 0;
	int called_on = MODEL_NOBODY;
	unsigned order = 0;
	enum tether_fate fate = TETHER_RUN;

	static void called(struct tether_message *message, enum tether_fate fate);
	bool ran_once_on(int thread) const { return calls == 1 && fate == TETHER_RUN && called_on == thread; }
	bool came_back_once_to(int thread) const { return calls == 1 && fate == TETHER_UNDELIVERED && called_on == thread; }
};

/* A hand-off. */
struct Journey {
	struct tether_transfer transfer;
	int arrivals = 0;
	int arrived_on = MODEL_NOBODY;
	bool was_mine = false;
	enum tether_arrival how = TETHER_RECEIVED;
	void (*at_arrival)(void *context) = nullptr;
	void *context = nullptr;

	Journey() { tether_transfer_init(&transfer, arrived); }
	static void arrived(struct tether_transfer *transfer, struct tether *tag, enum tether_arrival how);
	bool ended_once(enum tether_arrival arrival, int thread) const
	{
		return arrivals == 1 && how == arrival && arrived_on == thread;
	}
};

void conn_destroy(void *object);

extern const struct tether_type home_type;     /* an orphan is leaked */
extern const struct tether_type anywhere_type; /* it is destroyed where it is found */

/* What was reported, on an owner's thread or (0) on all; it is counted, and not printed. */
uint64_t reports(tether_owner_t owner = 0);

struct Base {
	unsigned ended = 0;   /* objects, and messages called */
	bool travels = false; /* hand-offs are on their way as messages, and count where they stop */

	static constexpr unsigned preemptions = 3;       /* at most; fewer where it would take minutes */
	static constexpr int interrupted = MODEL_NOBODY; /* a thread, to which a signal may come, whose handler is handle() */

	void handle() {}
	void prepare(unsigned) {}
	void finish(unsigned) { tether_drain(0); }
	void check() {}
};

template <unsigned count>
struct Scenario : Base {
	static constexpr unsigned threads = count;
};

extern Base *base; /* the scenario that is explored */

/* What holds for the whole library, after any schedule in which all has been handled. */
void check_books();

/* The calling thread forks. The child does what the scenario has it do, child(), and then its books must balance. */
template <typename S>
void fork_to(S *scenario)
{
	model_fork(
		[](void *s) {
			base->ended = 0; /* as the counters */
			static_cast<S *>(s)->child();
			check_books();
		},
		scenario);
}

void explore(struct model_scenario *scenario, unsigned preemptions);

template <typename S>
void explore()
{
	static_assert(std::is_trivially_destructible_v<S>, "a scenario's memory is wound back, and nothing else");
	struct model_scenario scenario = {};

	scenario.threads = S::threads;
	scenario.bytes = sizeof(S);
	scenario.make = [](void *s) { base = new (s) S; };
	scenario.prepare = [](void *s, unsigned me) {
		tether_set_level(TETHER_COUNT);
		static_cast<S *>(s)->prepare(me);
	};
	scenario.run = [](void *s, unsigned me) { static_cast<S *>(s)->run(me); };
	scenario.interrupted = S::interrupted;
	scenario.handle = [](void *s) { static_cast<S *>(s)->handle(); };
	scenario.finish = [](void *s, unsigned me) { static_cast<S *>(s)->finish(me); };
	scenario.check = [](void *s) {
		static_cast<S *>(s)->check();
		check_books();
	};
	explore(&scenario, S::preemptions);
}

#endif
