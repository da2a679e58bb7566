/* enter.cc - what does it cost to enter an owner and leave it, of ten and of ten thousand, and to have them?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread for a pair of calls. Ten owners stay in the nearest cache, whatever else there is; ten
 * thousand that are entered one after another, in shuffled order, do not, and the difference is what memory costs.
 * Beside them is the least that a program does which lets one thread at a time into a fiber: a mutex and a thread-local
 * word. A second, idle thread keeps the C library from taking mutexes without atomics. */
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <pthread.h>
#include <tether/tether.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

static constexpr size_t few = 10, many = 10'000;

class Owners
{
public:
	explicit Owners(size_t count) : owners_(count)
	{
		for (tether_owner_t &owner : owners_)
			if (tether_owner_create("one of many", &owner) != 0)
				abort();
		std::shuffle(owners_.begin(), owners_.end(), std::minstd_rand{});
	}
	~Owners()
	{
		for (tether_owner_t owner : owners_)
			if (tether_owner_end(owner) != 0)
				abort();
	}
	Owners(const Owners &) = delete;
	Owners &operator=(const Owners &) = delete;

	/* Each of `count`, evenly spread over all. */
	void enter_and_leave(size_t count)
	{
		for (size_t i = 0; i < count; i++)
			tether_owner_leave(tether_owner_enter(owners_[i * (owners_.size() / count)]));
	}

private:
	std::vector<tether_owner_t> owners_;
};

static void enter(benchmark::State &state, size_t all, size_t count)
{
	Owners owners(all);

	while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(count)))
		owners.enter_and_leave(count);
}

struct fiber {
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
};
static fiber fibers[few];
static thread_local fiber *volatile current;

static void lock(benchmark::State &state)
{
	while (state.KeepRunningBatch(few))
		for (fiber &each : fibers) {
			fiber *before = current;
			pthread_mutex_lock(&each.lock);
			current = &each;
			current = before;
			pthread_mutex_unlock(&each.lock);
		}
}

/* Of new ones, before any that ended may be used again. */
static size_t bytes_each()
{
	size_t before = mallinfo2().uordblks;
	Owners owners(many);
	size_t after = mallinfo2().uordblks;

	return (after - before) / many;
}

int main(int argc, char **argv)
{
	benchmark::AddCustomContext("owner_bytes", std::to_string(bytes_each()));
	std::thread(pause).detach();
	benchmark::RegisterBenchmark("enter/mutex", lock);
	benchmark::RegisterBenchmark("enter/tether", enter, few, few);
	benchmark::RegisterBenchmark("enter/tether-10-of-10000", enter, many, few);
	benchmark::RegisterBenchmark("enter/tether-all-10000", enter, many, many);
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
