/* rounds.cc - one push per producer and round, against an owner that goes to sleep: no wake-up is
 * lost, and none is made that nobody sleeps for.
 * SPDX-License-Identifier: MIT
 *
 * All leave a barrier at once; each producer drops one object while the owner arms, sleeps, wakes and
 * takes. The next round comes when all is handled, so a lost wake-up is not repaired by later pushes:
 * bursts hide it, a round finds it. The owner sleeps for at most two seconds and then asks whether a
 * drop that has returned is still waiting; so a slow machine is no failure, and a lost wake-up always is. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>
#include <time.h>

#include <array>

using stress::Barrier;
using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned producers = 3;
constexpr unsigned jitter = 3000; /* turns: about a microsecond */
constexpr int patience_ms = 2000;

thread_local unsigned handled; /* by the owner */

struct Object {
	unsigned round; /* written by the producer before its drop */
	struct tether tag;
};

struct Game {
	explicit Game(unsigned count) : rounds(count) {}

	const unsigned rounds;
	unsigned due = 0;              /* drops of this and the earlier rounds; owner only */
	std::atomic<unsigned> sent{0}; /* drops that have returned */
	std::atomic<bool> is_over{false};
	Barrier gate{producers + 1};
	std::array<Object, producers> objects;
};

void object_destroy(void *pointer)
{
	Object *object = static_cast<Object *>(pointer);

	MUST(tether_is_mine(&object->tag));
	MUST(object->round == handled / producers);
	handled++;
}

const struct tether_type object_type = TETHER_TYPE(Object, tag, object_destroy);

void produce(Game &game, unsigned me)
{
	Random random(me + 1);

	for (unsigned round = 0; round < game.rounds; round++) {
		Object &object = game.objects[me];

		game.gate.wait();
		spin(random.below(jitter));
		object.round = round;
		MUST(tether_drop(&object.tag) == TETHER_QUEUED);
		game.sent.fetch_add(1, std::memory_order_release);
		game.gate.wait();
	}
}

/* Blocks until `is_woken(timeout_ms)`. */
template <typename IsWoken>
void sleep(const Game &game, IsWoken is_woken)
{
	while (!is_woken(patience_ms)) {
		/* A drop that has returned has made its wake-up; the order of these two matters. */
		bool something_waits = game.sent.load(std::memory_order_acquire) > handled;
		bool wake_up_is_lost = something_waits && !is_woken(0);

		MUST(!wake_up_is_lost);
	}
}

/* For an owner that does not sleep: once all drops have returned, one drain has to find them. */
template <typename Turn>
void turn_without_sleep(const Game &game, Turn turn)
{
	bool all_are_sent = game.sent.load(std::memory_order_acquire) == game.due;

	turn();
	if (all_are_sent) {
		tether_drain(0);
		MUST(handled == game.due);
	}
}

/* From the first park on nothing is armed while the owner is awake. */
void park_once()
{
	tether_park();
	tether_unpark();
}

/* Sleeps each time that it may, until it is woken: so there is one wake-up for each sleep. */
class Parked
{
public:
	void begin() { park_once(); }
	void turn(const Game &game)
	{
		bool may_sleep = tether_park();

		if (may_sleep) {
			sleep(game, [this](int timeout_ms) { return stress::is_readable(fd_, timeout_ms); });
			sleeps_++;
		}
		tether_unpark();
		MUST(tether_drain(0) > 0 || !may_sleep);
	}
	void check(uint64_t wakeups) const { MUST(wakeups == sleeps_); }

private:
	const int fd_ = tether_fd();
	uint64_t sleeps_ = 0;
};

/* Only looks at its descriptor, and drains a little at a time: so some wake-ups come when it is awake
 * again, but never more than it has parked, and never fewer than it has seen. */
class Impatient
{
public:
	void begin() { park_once(); }
	void turn(const Game &game)
	{
		turn_without_sleep(game, [this] { look(); });
	}
	void check(uint64_t wakeups) const
	{
		MUST(wakeups <= parks_);
		MUST(wakeups >= seen_);
	}

private:
	void look()
	{
		if (tether_park()) {
			parks_++;
			spin(random_.below(jitter));
			seen_ += stress::is_readable(fd_, 0);
		}
		tether_unpark();
		tether_drain(random_.below(3));
	}

	const int fd_ = tether_fd();
	Random random_{100};
	uint64_t parks_ = 0;
	uint64_t seen_ = 0;
};

/* Never parks: its descriptor is in a poll set, and each drain arms. It signals itself where it cannot
 * arm, as something came after its drain. */
class LevelTriggered
{
public:
	void begin() {}
	void turn(const Game &game)
	{
		sleep(game, [this](int timeout_ms) { return stress::is_readable(fd_, timeout_ms); });
		sleeps_++;
		MUST(tether_drain(0) > 0);
	}
	void check(uint64_t wakeups) const { MUST(wakeups <= sleeps_); }

private:
	const int fd_ = tether_fd();
	uint64_t sleeps_ = 0;
};

/* Likewise, but what it leaves undone has to keep the descriptor readable. */
class LittleByLittle
{
public:
	void begin() {}
	void turn(const Game &game)
	{
		sleep(game, [this](int timeout_ms) { return stress::is_readable(fd_, timeout_ms); });
		sleeps_++;
		tether_drain(1);
	}
	void check(uint64_t wakeups) const { MUST(wakeups <= sleeps_); }

private:
	const int fd_ = tether_fd();
	uint64_t sleeps_ = 0;
};

/* A loop's own wake-up: a condition variable. */
class Bell
{
public:
	Bell() { MUST(tether_set_wake(ring, this) == 0); }
	~Bell()
	{
		tether_set_wake(nullptr, nullptr);
		pthread_cond_destroy(&rung_);
		pthread_mutex_destroy(&lock_);
	}
	Bell(const Bell &) = delete;
	Bell &operator=(const Bell &) = delete;

	bool wait(int timeout_ms)
	{
		struct timespec until;
		int error = 0;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += timeout_ms / 1000;
		pthread_mutex_lock(&lock_);
		while (!is_rung_ && error == 0)
			error = pthread_cond_timedwait(&rung_, &lock_, &until);
		bool woken = is_rung_;
		is_rung_ = false;
		pthread_mutex_unlock(&lock_);
		return woken;
	}
	uint64_t rings()
	{
		pthread_mutex_lock(&lock_);
		uint64_t count = rings_;
		pthread_mutex_unlock(&lock_);
		return count;
	}

private:
	static void ring(void *context)
	{
		Bell *bell = static_cast<Bell *>(context);

		pthread_mutex_lock(&bell->lock_);
		bell->is_rung_ = true;
		bell->rings_++;
		pthread_cond_signal(&bell->rung_);
		pthread_mutex_unlock(&bell->lock_);
	}

	pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t rung_ = PTHREAD_COND_INITIALIZER;
	bool is_rung_ = false;
	uint64_t rings_ = 0;
};

class ParkedOnABell
{
public:
	void begin() { park_once(); }
	void turn(const Game &game)
	{
		bool may_sleep = tether_park();

		if (may_sleep) {
			sleep(game, [this](int timeout_ms) { return bell_.wait(timeout_ms); });
			sleeps_++;
		}
		tether_unpark();
		MUST(tether_drain(0) > 0 || !may_sleep);
	}
	void check(uint64_t wakeups)
	{
		MUST(wakeups == sleeps_);
		MUST(bell_.rings() == sleeps_);
	}

private:
	Bell bell_;
	uint64_t sleeps_ = 0;
};

/* Its loop is made and destroyed at each turn: no wake-up may come late. */
class Replaced
{
public:
	void begin() {}
	void turn(const Game &game)
	{
		turn_without_sleep(game, [this] { make_and_destroy_a_loop(); });
	}
	void check(uint64_t wakeups) const { MUST(wakeups <= parks_); }

private:
	void make_and_destroy_a_loop()
	{
		loop_ = (loop_ + 1) % alive_.size();
		alive_[loop_] = true;
		MUST(tether_set_wake(wake, &alive_[loop_]) == 0);
		if (tether_park()) {
			parks_++;
			spin(random_.below(jitter));
		}
		tether_unpark();
		tether_drain(0);
		MUST(tether_set_wake(nullptr, nullptr) == 0);
		alive_[loop_] = false;
	}

	static void wake(void *context)
	{
		std::atomic<bool> *loop_is_alive = static_cast<std::atomic<bool> *>(context);

		MUST(*loop_is_alive);
		std::this_thread::yield(); /* a slow one: it has to end in its loop's time as well */
		MUST(*loop_is_alive);
	}

	std::array<std::atomic<bool>, 64> alive_{};
	size_t loop_ = 0;
	Random random_{100};
	uint64_t parks_ = 0;
};

template <typename Way>
void own(Game &game)
{
	const tether_owner_t self = tether_self();
	Random random(0);
	Way way;

	way.begin();

	for (unsigned round = 0; round < game.rounds; round++) {
		struct tether_counters counters;

		stress::at("barrier rounds", round);
		for (Object &object : game.objects)
			tether_bind(&object.tag, &object_type);
		game.due += producers;
		game.gate.wait();
		spin(random.below(jitter));
		while (handled < game.due) {
			unsigned before = handled;

			way.turn(game);
			if (handled == before)
				std::this_thread::yield();
		}
		game.gate.wait();

		MUST(handled == game.due);
		MUST(tether_stats(self, &counters) == 0);
		MUST(counters.queued == game.due && counters.run_home == game.due && counters.pending == 0);
		way.check(counters.wakeups);
	}
	game.is_over = true;
}

template <typename Way>
void play(unsigned rounds)
{
	Game game(stress::scaled(rounds));
	std::vector<std::thread> threads;
	std::vector<pthread_t> handles;

	threads.emplace_back([&] { own<Way>(game); });
	for (unsigned me = 0; me < producers; me++)
		threads.emplace_back([&, me] { produce(game, me); });
	for (std::thread &thread : threads)
		handles.push_back(thread.native_handle());
	{
		stress::Noise noise(handles, 500);

		while (!game.is_over)
			stress::doze(1000);
	}
	for (std::thread &thread : threads)
		thread.join();
}

TEST(Rounds, ParkedOwnerGetsOneWakeUpPerSleep)
{
	play<Parked>(40000);
}

TEST(Rounds, OwnerThatOnlyLooksLosesNothing)
{
	play<Impatient>(40000);
}

TEST(Rounds, DescriptorIsReadableWheneverSomethingWaits)
{
	play<LevelTriggered>(40000);
}

TEST(Rounds, DescriptorStaysReadableWhileSomethingIsLeft)
{
	play<LittleByLittle>(40000);
}

TEST(Rounds, OwnWakeUpIsCalledOncePerSleep)
{
	play<ParkedOnABell>(40000);
}

TEST(Rounds, ReplacedWakeUpIsNeverCalledLate)
{
	play<Replaced>(40000);
}

} // namespace
