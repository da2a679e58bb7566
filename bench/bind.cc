/* bind.cc - what does it cost to note where an object is bound, and what does a report cost?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread per object or report, at the bottom of a stack of known depth. The objects
 * are few enough to stay in the nearest cache, and their stack has been seen before, as it is in a program that
 * has run for a while. Reports are written to /dev/null. */
#include <benchmark/benchmark.h>
#include <tether/tether.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

struct object {
	tether tag;
	uint64_t value;
};

static object objects[256];
static object foreign; /* another thread's, which lives as long as we do */

static void destroy(void *)
{
}

static const tether_type object_type = TETHER_TYPE(object, tag, destroy);

static void set(const char *option, const char *value)
{
	if (tether_set_option(option, value) != 0)
		abort();
}

/* Call `act` below that many frames of ours. */
__attribute__((noinline)) static void below(int frames, void (*act)(benchmark::State &), benchmark::State &state)
{
	if (frames > 0)
		below(frames - 1, act, state);
	else
		act(state);
	benchmark::ClobberMemory(); /* no jump, and so a frame */
}

static void store_three(benchmark::State &state)
{
	while (state.KeepRunningBatch(std::size(objects)))
		for (object &each : objects) {
			each.tag.owner_ = 1;
			each.tag.state_ = 2;
			each.tag.next_ = 3;
			benchmark::ClobberMemory();
		}
}

static void bind(benchmark::State &state)
{
	while (state.KeepRunningBatch(std::size(objects)))
		for (object &each : objects)
			tether_bind(&each.tag, &object_type);
}

static void violate(benchmark::State &state)
{
	for (auto _ : state)
		benchmark::DoNotOptimize(TETHER_ENSURE(&foreign.tag));
}

static void time_bind(benchmark::State &state, const char *stacks)
{
	set("bind_stacks", stacks);
	below(16, bind, state);
	set("bind_stacks", "off");
}

static void time_report(benchmark::State &state, tether_level level)
{
	tether_set_level(level);
	below(16, violate, state);
}

static void make_foreign_object()
{
	std::thread([] {
		tether_bind(&foreign.tag, &object_type);
		foreign.value = 1;
		pause();
	}).detach();
	while (__atomic_load_n(&foreign.value, __ATOMIC_RELAXED) == 0)
		std::this_thread::yield();
}

int main(int argc, char **argv)
{
	set("log_path", "/dev/null");
	set("stack_depth", "16");
	set("bind_stacks", "fast");
	make_foreign_object();
	tether_load_symbols();
	benchmark::RegisterBenchmark("bind/floor", store_three);
	benchmark::RegisterBenchmark("bind/tether", time_bind, "off");
	benchmark::RegisterBenchmark("bind/tether-stacks", time_bind, "fast");
	benchmark::RegisterBenchmark("bind/tether-stacks-full", time_bind, "full");
	benchmark::RegisterBenchmark("report/tether", time_report, TETHER_WARN);
	benchmark::RegisterBenchmark("report/tether-again", time_report, TETHER_WARN_ONCE);
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
