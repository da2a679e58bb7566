/* fd.cc - what does it cost that descriptors have owners?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread for each number, of 4096 that are nobody's in the kernel: no system call is made, as the
 * program has a close() of its own. The floor is a table of owners and one atomic operation on it, which is the least that
 * tells two who close one number apart; it knows nothing of a number's lives. */
#include <benchmark/benchmark.h>
#include <sys/syscall.h>
#include <tether/tether.h>

#include <unistd.h>

#include <cstdlib>
#include <utility>

static constexpr int count = 4096, first = 1 << 24; /* beyond what the kernel gives out */
static int closes;
static tether_owner_t other;

/* The library's close(), too. */
extern "C" int close(int fd)
{
	if (fd < first)
		return static_cast<int>(syscall(SYS_close, fd));
	closes++;
	return 0;
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

struct Table {
	struct alignas(64) {
		tether_owner_t owner;
	} entries[count];

	void adopt(int i) { must(__atomic_exchange_n(&entries[i].owner, tether_self(), __ATOMIC_ACQ_REL) == 0); }
	void end(int i) { must(__atomic_exchange_n(&entries[i].owner, 0, __ATOMIC_ACQ_REL) != 0 && close(first + i) == 0); }
	void exchange(int i, tether_owner_t from, tether_owner_t to)
	{
		must(__atomic_compare_exchange_n(&entries[i].owner, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	}
};
static Table table;

struct Tether {
	static void adopt(int i) { must(tether_fd_adopt(first + i, tether_self(), nullptr) == 0); }
	static void end(int i) { must(tether_fd_close(first + i, 0) == 0); }
	static void exchange(int i, tether_owner_t from, tether_owner_t to) { must(tether_fd_exchange(first + i, from, to) == 0); }
};
static Tether tether_;

template <typename Act>
static void each(Act act)
{
	for (int i = 0; i < count; i++)
		act(i);
}

/* What only leads back to where the next turn begins is not measured. */
template <typename Act>
static void back(benchmark::State &state, Act act)
{
	state.PauseTiming();
	each(act);
	state.ResumeTiming();
}

template <auto *numbers>
static void adopt(benchmark::State &state)
{
	while (state.KeepRunningBatch(count)) {
		each([](int i) { numbers->adopt(i); });
		back(state, [](int i) { numbers->end(i); });
	}
}

template <auto *numbers>
static void end(benchmark::State &state)
{
	int before = closes, turns = 0;

	for (; state.KeepRunningBatch(count); turns++) {
		back(state, [](int i) { numbers->adopt(i); });
		each([](int i) { numbers->end(i); });
	}
	must(closes - before == turns * count);
}

template <auto *numbers>
static void exchange(benchmark::State &state)
{
	tether_owner_t from = tether_self(), to = other;

	each([](int i) { numbers->adopt(i); });
	while (state.KeepRunningBatch(count)) {
		each([from, to](int i) { numbers->exchange(i, from, to); });
		std::swap(from, to);
	}
	if (from == other)
		each([from, to](int i) { numbers->exchange(i, from, to); });
	each([](int i) { numbers->end(i); });
}

/* The cheapest close() there is: of a number that is not open. */
static void system_call(benchmark::State &state)
{
	for (auto _ : state)
		must(syscall(SYS_close, first) == -1);
}

BENCHMARK(adopt<&table>)->Name("fd.adopt/floor");
BENCHMARK(adopt<&tether_>)->Name("fd.adopt/tether");
BENCHMARK(end<&table>)->Name("fd.close/floor");
BENCHMARK(end<&tether_>)->Name("fd.close/tether");
BENCHMARK(system_call)->Name("fd.close/system-call");
BENCHMARK(exchange<&table>)->Name("fd.exchange/floor");
BENCHMARK(exchange<&tether_>)->Name("fd.exchange/tether");

int main(int argc, char **argv)
{
	must(tether_owner_create("other", &other) == 0);
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
	return tether_owner_end(other) != 0;
}
