/* use.cc - what does it cost to see that two do not use an object at once?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread for one entering and leaving, while nobody else comes, beside what says no to the
 * second one. Through a pointer that the compiler cannot see through, as functions are given their objects. */
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <tether/tether.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

struct object {
	tether tag;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	char flag = 0;
	uint64_t value = 0;
};

static const tether_type object_type = TETHER_TYPE(object, tag, nullptr);

static void use_tether(object *used)
{
	TETHER_SCOPE(&used->tag);
	used->value++;
}

static void use_mutex(object *used)
{
	if (pthread_mutex_trylock(&used->mutex) != 0)
		abort();
	used->value++;
	pthread_mutex_unlock(&used->mutex);
}

static void use_flag(object *used)
{
	if (__atomic_test_and_set(&used->flag, __ATOMIC_ACQUIRE))
		abort();
	used->value++;
	__atomic_clear(&used->flag, __ATOMIC_RELEASE);
}

/* `inside`: in a scope already. */
template <void (*use)(object *), bool is_bound = false, bool inside = false>
static void time_use(benchmark::State &state)
{
	static object used;

	tether_bind_later(&used.tag, &object_type);
	if (is_bound && !tether_claim(&used.tag))
		abort();
	if (inside)
		TETHER_ENTER(&used.tag);
	for (auto _ : state) {
		object *each = &used;
		benchmark::DoNotOptimize(each);
		use(each);
		benchmark::ClobberMemory();
	}
	if (inside)
		TETHER_LEAVE(&used.tag);
	tether_fini(&used.tag);
}

BENCHMARK(time_use<use_tether>)->Name("use/tether");
BENCHMARK(time_use<use_tether, true>)->Name("use/tether-bound");
BENCHMARK(time_use<use_tether, false, true>)->Name("use/tether-inside");
BENCHMARK(time_use<use_mutex>)->Name("use/mutex");
BENCHMARK(time_use<use_flag>)->Name("use/atomic-flag");

int main(int argc, char **argv)
{
	std::thread([] { pause(); }).detach(); /* with one thread alone, mutexes do without atomics */
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
