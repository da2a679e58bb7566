/* fork.cc - what does the library add to a fork?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the parent and of a child that ends at once, for a pair of fork and waitpid: by _Fork(), which calls no
 * handlers, and by fork(), which calls the library's, in a process with one owner that has a descriptor, and with a
 * thousand logical owners besides. */
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tether/tether.h>

#include <unistd.h>

#include <cstdlib>
#include <vector>

static double seconds(const timeval &time)
{
	return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

/* Of this process, and of its children that were waited for. */
static double cpu_seconds()
{
	double sum = 0;

	for (auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
		rusage usage{};
		if (getrusage(who, &usage) != 0)
			abort();
		sum += seconds(usage.ru_utime) + seconds(usage.ru_stime);
	}
	return sum;
}

static void fork_and_wait(benchmark::State &state, pid_t (*fork_)(), size_t logical)
{
	std::vector<tether_owner_t> owners(logical);
	int fd = tether_fd();

	if (fd < 0)
		abort();
	for (tether_owner_t &owner : owners)
		if (tether_owner_create("one of many", &owner) != 0)
			abort();
	for (auto _ : state) {
		double before = cpu_seconds();
		pid_t child = fork_();
		if (child == 0)
			_exit(0);
		if (child < 0 || waitpid(child, nullptr, 0) != child)
			abort();
		state.SetIterationTime(cpu_seconds() - before);
	}
	for (tether_owner_t owner : owners)
		if (tether_owner_end(owner) != 0)
			abort();
}

int main(int argc, char **argv)
{
	benchmark::RegisterBenchmark("fork/floor", fork_and_wait, _Fork, 0)->UseManualTime();
	benchmark::RegisterBenchmark("fork/tether", fork_and_wait, fork, 0)->UseManualTime();
	benchmark::RegisterBenchmark("fork/tether-1000-owners", fork_and_wait, fork, 1000)->UseManualTime();
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
