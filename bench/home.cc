/* home.cc - what does it cost to own an object that never leaves its thread?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread per object, for objects that its nearest cache holds: making it the
 * thread's own and destroying it there, beside the least that code without tags does. */
#include <benchmark/benchmark.h>
#include <tether/tether.h>

struct object {
	tether tag;
	uint64_t value;
};

static object objects[256];
static uint64_t destroyed_sum;

static void destroy(void *dead)
{
	destroyed_sum += static_cast<object *>(dead)->value;
}

static const tether_type object_type = TETHER_TYPE(object, tag, destroy);
static void (*volatile destroy_elsewhere)(void *) = destroy; /* volatile: the compiler may not inline what it points to */

static void drop_pointer(object *dead)
{
	dead->tag = {1, 2, 3, 4};
	benchmark::ClobberMemory();
	destroy_elsewhere(dead);
}

static void drop_tether(object *dead)
{
	tether_bind(&dead->tag, &object_type);
	tether_drop(&dead->tag);
}

template <void (*act)(object *)>
static void time_objects(benchmark::State &state)
{
	while (state.KeepRunningBatch(std::size(objects)))
		for (object &each : objects)
			act(&each);
}

BENCHMARK(time_objects<drop_pointer>)->Name("home/floor");
BENCHMARK(time_objects<drop_tether>)->Name("home/tether");
BENCHMARK_MAIN();
