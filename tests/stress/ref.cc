/* ref.cc - references that are taken, passed on and put by several threads while their owner counts, drains or ends: each
 * object ends once, after the last reference, and nobody miscounts.
 * SPDX-License-Identifier: MIT
 *
 * Who holds what is written down in plain integers, each by its holder alone: the destructor adds them up, so
 * ThreadSanitizer sees whether all that a holder did comes before the end. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <functional>
#include <numeric>

using stress::Barrier;
using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned holders = 3;
constexpr unsigned owner = holders; /* and who comes after it: its place in `held` */
constexpr unsigned jitter = 100;    /* turns: what they race for takes some nanoseconds */

std::atomic<unsigned> reported;

void on_report(const struct tether_report *report, void *)
{
	reported++;
	fwrite(report->text, 1, report->text_bytes, stderr);
}

struct Object {
	std::array<int, holders + 1> held;
	std::array<std::atomic<unsigned>, holders> passed; /* to this holder, not taken yet */
	unsigned destroyed;
	pthread_t destroyed_on;
	struct tether tag;
	struct tether_ref ref;
};

void object_destroy(void *pointer)
{
	Object *object = static_cast<Object *>(pointer);

	MUST(std::accumulate(object->held.begin(), object->held.end(), 0) == 0);
	MUST(!tether_ref_try_get(&object->ref));
	MUST(++object->destroyed == 1);
	object->destroyed_on = pthread_self();
}

const struct tether_type object_type = TETHER_TYPE_POLICY(Object, tag, object_destroy, TETHER_ANYWHERE, TETHER_WARN);

void get(Object &object, unsigned me)
{
	tether_ref_get(&object.ref);
	object.held[me]++;
}

void put(Object &object, unsigned me)
{
	object.held[me]--;
	tether_ref_put(&object.ref);
}

/* The memory stays, as if a cache held its lock. */
bool try_get(Object &object, unsigned me)
{
	if (!tether_ref_try_get(&object.ref))
		return false;
	object.held[me]++;
	return true;
}

void pass(Object &object, unsigned me, unsigned to)
{
	object.held[me]--;
	object.passed[to].fetch_add(1, std::memory_order_release);
}

void take_passed(Object &object, unsigned me, unsigned from)
{
	object.held[me] += static_cast<int>(object.passed[from].exchange(0, std::memory_order_acquire));
}

/* The owner makes it, counts one reference for each of the others and up to two for itself. */
void make(Object &object, Random &random)
{
	tether_ref_init(&object.ref, &object.tag);
	object.held = {1, 1, 1, static_cast<int>(random.below(3))};
	for (int all = std::accumulate(object.held.begin(), object.held.end(), 0); all > 1; all--)
		tether_ref_get(&object.ref);
}

/* Take, put and pass at random, as long as there is something in hand; then put the rest, and try once more. */
void hold(Object &object, unsigned me, Random &random)
{
	for (unsigned steps = random.below(8); steps > 0 && object.held[me] > 0; steps--) {
		spin(random.below(jitter));
		switch (random.below(4)) {
		case 0:
			get(object, me);
			break;
		case 1:
			put(object, me);
			break;
		case 2:
			pass(object, me, random.below(holders));
			break;
		default:
			take_passed(object, me, random.below(holders));
		}
	}
	while (object.held[me] > 0)
		put(object, me);
	if (random.below(2) && try_get(object, me))
		put(object, me);
}

/* The holders play the same round with ever new objects; the referee calls it, and judges. */
class Game
{
public:
	explicit Game(unsigned rounds) : rounds_(stress::scaled(rounds))
	{
		reported = 0;
		tether_set_report_callback(on_report, nullptr);
	}
	~Game() { tether_set_report_callback(nullptr, nullptr); }
	Game(const Game &) = delete;
	Game &operator=(const Game &) = delete;

	/* `play` is the owner's part: it makes the object, waits at the gate with the holders, and lets go of its own. */
	void run(const char *what, const std::function<void(Game &game, Random &random)> &play)
	{
		std::vector<std::thread> threads;
		std::vector<pthread_t> handles;
		Random random(holders);

		for (unsigned me = 0; me < holders; me++) {
			threads.emplace_back([this, me] { take_part(me); });
			handles.push_back(threads.back().native_handle());
		}
		{
			stress::Noise noise(handles, 100);

			for (round = 0; round < rounds_; round++) {
				stress::at(what, round);
				object.destroyed = 0;
				play(*this, random);
				gate.wait();
				judge();
			}
		}
		for (std::thread &thread : threads)
			thread.join();
	}

	unsigned round;
	bool ends_here; /* on the referee's thread; else wherever the last is put */
	Object object{};
	Barrier gate{holders + 1};

private:
	void take_part(unsigned me)
	{
		Random random(me);

		for (unsigned i = 0; i < rounds_; i++) {
			gate.wait();
			hold(object, me, random);
			gate.wait();
		}
	}

	void judge()
	{
		for (unsigned from = 0; from < holders; from++)
			take_passed(object, owner, from);
		while (object.held[owner] > 0)
			put(object, owner);
		tether_drain(0);
		MUST(object.destroyed == 1);
		MUST(!ends_here || pthread_equal(object.destroyed_on, pthread_self()));
		MUST(tether_ref_count(&object.ref) == 0);
		MUST(reported == 0);
	}

	const unsigned rounds_;
};

TEST(Ref, LastPutEndsTheObjectAtHome)
{
	Game game(30000);

	game.ends_here = true;
	game.run("an owner that counts and drains", [](Game &here, Random &random) {
		tether_bind(&here.object.tag, &object_type);
		make(here.object, random);
		here.gate.wait();
		hold(here.object, owner, random);
		for (unsigned turns = random.below(10); turns > 0; turns--) {
			spin(random.below(jitter));
			tether_drain(1);
		}
	});
}

/* All that the owner counted is given away, and comes back at once. */
TEST(Ref, PutsBelowZeroAskTheOwnerOnce)
{
	Game game(30000);

	game.ends_here = true;
	game.run("puts below zero", [](Game &here, Random &random) {
		tether_bind(&here.object.tag, &object_type);
		tether_ref_init(&here.object.ref, &here.object.tag);
		here.object.held = {1, 1, 1, 0};
		tether_ref_get(&here.object.ref);
		tether_ref_get(&here.object.ref);
		here.gate.wait();
		for (unsigned turns = random.below(20); turns > 0; turns--)
			tether_drain(0);
	});
}

/* The owner goes on counting after its end, until its thread ends too. */
TEST(Ref, OwnerMayEndBetweenAnyTwoCounts)
{
	Game game(6000);

	game.run("an owner that ends", [](Game &here, Random &random) {
		here.ends_here = random.below(2);
		if (here.ends_here)
			tether_bind(&here.object.tag, &object_type);
		std::thread([&] {
			tether_self();
			if (!here.ends_here)
				tether_bind(&here.object.tag, &object_type);
			make(here.object, random);
			here.gate.wait();
			spin(random.below(10 * jitter));
			if (here.object.held[owner] > 0 && random.below(2)) {
				put(here.object, owner);
			}
			if (random.below(4))
				tether_owner_exit();
			hold(here.object, owner, random);
		}).join();
	});
}

} // namespace
