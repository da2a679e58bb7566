/* drop.cc - what does it cost to release an object on a thread that does not own it?
 * SPDX-License-Identifier: MIT
 *
 * A round has two phases. First the producers, each on a core of its own, start together and push
 * their share of the objects; then, when all have finished, the owner drains what has come. The
 * time of a round is the CPU time of all the threads that pushed plus the CPU time of the drain, per
 * object. Phases, because a drain that runs while others push spends its time on waiting for them,
 * the more the faster it is, and on a machine with two cores it also takes one away from them.
 *
 * The objects take a cache line each. The producers go through them in shuffled order, the same for
 * all subjects, as objects die in an order that has nothing to do with where they lie. Between rounds
 * the owner makes all of them anew; that is not timed. A checksum sees that each was destroyed once. */
#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "peers/drop.h"

static constexpr size_t object_count = 1 << 16; /* 4 MiB: more than a core's own cache */
static constexpr size_t max_producers = 2;

static drop_peer *peers;
static object *objects;
static std::vector<object *> shuffled;
static uint64_t destroyed_sum; /* owner only */

void drop_peer_add(drop_peer *peer)
{
	peer->next = peers;
	peers = peer;
}

void object_destroy(void *dead)
{
	destroyed_sum += static_cast<object *>(dead)->value;
}

void object_revive(object *dead)
{
	dead->tag.owner = 1;
	dead->tag.next = nullptr;
	dead->tag.hint = 0;
	__atomic_store_n(&dead->tag.state, STATE_ALIVE, __ATOMIC_RELEASE);
}

static double thread_cpu_s()
{
	timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/* The owner is number 0. Where there are too few cores some share one. */
static void pin_to_core(size_t number)
{
	static const std::vector<int> cores = [] {
		std::vector<int> allowed;
		cpu_set_t set;

		sched_getaffinity(0, sizeof(set), &set);
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &set))
				allowed.push_back(i);
		return allowed;
	}();
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cores[number % cores.size()], &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void produce(const drop_peer *peer, size_t number, size_t producers, std::atomic<size_t> *missing, double *cpu_s)
{
	const size_t share = object_count / producers;

	pin_to_core(number + 1);
	if (peer->start)
		peer->start();
	missing->fetch_sub(1, std::memory_order_acq_rel);
	while (missing->load(std::memory_order_acquire))
		std::this_thread::yield();

	const double start_s = thread_cpu_s();
	peer->push(&shuffled[number * share], share);
	*cpu_s = thread_cpu_s() - start_s;
}

static double push_all(const drop_peer *peer, size_t producers)
{
	std::atomic<size_t> missing{producers};
	std::vector<double> cpu_s(producers);
	std::vector<std::thread> threads;
	double sum_s = 0;

	for (size_t i = 0; i < producers; i++)
		threads.emplace_back(produce, peer, i, producers, &missing, &cpu_s[i]);
	for (size_t i = 0; i < producers; i++) {
		threads[i].join();
		sum_s += cpu_s[i];
	}
	return sum_s;
}

static double drain_all(const drop_peer *peer)
{
	const double start_s = thread_cpu_s();

	peer->drain();
	return thread_cpu_s() - start_s;
}

static void time_drop(benchmark::State &state, const drop_peer *peer, size_t producers)
{
	constexpr uint64_t expected_sum = object_count * (object_count - 1) / 2;
	double push_s = 0, drain_s = 0;

	for (auto _ : state) {
		for (size_t i = 0; i < object_count; i++)
			peer->revive(&objects[i]);
		destroyed_sum = 0;
		push_s = push_all(peer, producers) / object_count;
		drain_s = drain_all(peer) / object_count;
		state.SetIterationTime(push_s + drain_s);
		if (destroyed_sum != expected_sum)
			state.SkipWithError("not every object was destroyed once");
	}
	state.counters["push_ns"] = push_s * 1e9;
	state.counters["drain_ns"] = drain_s * 1e9;
}

/* Small pages, so that every run of the program sees the same memory. */
static void make_objects()
{
	void *arena = mmap(nullptr, object_count * sizeof(object), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (arena == MAP_FAILED)
		abort();
	madvise(arena, object_count * sizeof(object), MADV_NOHUGEPAGE);
	objects = static_cast<object *>(arena);
	for (size_t i = 0; i < object_count; i++) {
		objects[i].value = i;
		shuffled.push_back(&objects[i]);
	}
	std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(1));
}

static std::string name(const drop_peer *peer, size_t producers)
{
	return "drop/" + std::string(peer->subject) + "/" + std::to_string(producers);
}

int main(int argc, char **argv)
{
	make_objects();
	pin_to_core(0);
	for (drop_peer *peer = peers; peer; peer = peer->next) {
		peer->init();
		for (size_t producers = 1; producers <= max_producers; producers++)
			benchmark::RegisterBenchmark(name(peer, producers).c_str(), time_drop, peer, producers)
				->Iterations(1)
				->UseManualTime();
	}
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
