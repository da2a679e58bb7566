/* check.cc - what does a check cost, and what do other people's cost?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of the calling thread per check, the loop around it included: take the empty loop's time
 * away. Run it through bench/run, which interleaves the subjects in random order. */
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "peers/check.h"

static check_peer *peers;

void check_peer_add(check_peer *peer)
{
	peer->next = peers;
	peers = peer;
}

void check_peer_failed(void)
{
	abort();
}

static void time_check(benchmark::State &state, const check_peer *peer)
{
	constexpr int64_t batch = 10000; /* long enough that a call of the loop costs nothing per check */

	while (state.KeepRunningBatch(batch))
		peer->loop(batch);
}

/* A program of one thread has no use for these checks, and its C library takes mutexes without atomics. */
static void become_multithreaded()
{
	std::thread([] { pause(); }).detach();
}

int main(int argc, char **argv)
{
	become_multithreaded();
	benchmark::AddCustomContext("compiler", BENCH_COMPILER);
	for (check_peer *peer = peers; peer; peer = peer->next)
		benchmark::RegisterBenchmark(("check/" + std::string(peer->subject)).c_str(), time_check, peer);
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	benchmark::RunSpecifiedBenchmarks();
}
