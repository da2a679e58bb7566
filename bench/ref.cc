/* ref.cc - what does it cost to take a reference and to put it back?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread for one get and one put, on objects that its nearest cache holds: `ref.home` on the
 * thread that made the count, `ref` on another, while the one that made it lives and holds a reference; alone, and
 * `ref.two`, two threads at once on one object. The atomic count is what C programs write: add 1 relaxed, take 1 away with
 * acquire and release. */
#include <benchmark/benchmark.h>
#include <semaphore.h>
#include <tether/tether.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>

static constexpr size_t object_count = 64;

struct object {
	tether tag;
	tether_ref ref;
	std::atomic<uint64_t> count{1};
	std::shared_ptr<uint64_t> shared = std::make_shared<uint64_t>(1);
};

static object ours[object_count], theirs[object_count];

/* Its first reference is never put. */
static void destroy(void *)
{
	abort();
}

static const tether_type object_type =
	TETHER_TYPE_AT("object", 0, 0, destroy, nullptr, nullptr, nullptr, TETHER_LEAK, TETHER_LEVEL_DEFAULT, TETHER_NO_RULES);

static void count_tether(object *each)
{
	tether_ref_get(&each->ref);
	benchmark::ClobberMemory(); /* its user does something in between */
	tether_ref_put(&each->ref);
}

static void count_atomic(object *each)
{
	each->count.fetch_add(1, std::memory_order_relaxed);
	benchmark::ClobberMemory();
	if (each->count.fetch_sub(1, std::memory_order_acq_rel) == 1)
		destroy(each);
}

static void count_shared_ptr(object *each)
{
	std::shared_ptr<uint64_t> copy = each->shared;

	benchmark::DoNotOptimize(copy);
}

template <void (*count)(object *), object *objects>
static void time_all(benchmark::State &state)
{
	while (state.KeepRunningBatch(object_count))
		for (size_t i = 0; i < object_count; i++)
			count(&objects[i]);
}

template <void (*count)(object *)>
static void time_one(benchmark::State &state)
{
	for (auto _ : state)
		count(&theirs[0]);
}

template <void (*count)(object *)>
static void add(const std::string &subject)
{
	benchmark::RegisterBenchmark(("ref.home/" + subject).c_str(), time_all<count, ours>);
	benchmark::RegisterBenchmark(("ref/" + subject).c_str(), time_all<count, theirs>);
	benchmark::RegisterBenchmark(("ref.two/" + subject).c_str(), time_one<count>)->Threads(2);
}

static void make(object *objects)
{
	for (size_t i = 0; i < object_count; i++) {
		tether_bind(&objects[i].tag, &object_type);
		tether_ref_init(&objects[i].ref, &objects[i].tag);
	}
}

/* The other thread also keeps the C++ library from counting without atomics, as it does in a program of one. */
static void make_theirs()
{
	static sem_t made;

	sem_init(&made, 0, 0);
	std::thread([] {
		make(theirs);
		sem_post(&made);
		pause();
	}).detach();
	sem_wait(&made);
}

int main(int argc, char **argv)
{
	make(ours);
	make_theirs();
	add<count_tether>("tether");
	add<count_atomic>("atomic-count");
	add<count_shared_ptr>("shared_ptr");
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
