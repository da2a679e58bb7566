/* sparse.cc - what does it cost to release an object now and then to an owner that sleeps?
 * SPDX-License-Identifier: MIT
 *
 * One producer releases an object every 20 us; the owner runs its loop and sleeps in it when there is nothing.
 *
 *   sparse.writes_per_1000   system calls of the producer that write, per 1000 objects, by the kernel's count
 *   sparse.cpu               the owner's CPU time per object, and what the producer spends in its push
 *   sparse.latency           from before the push until the destructor runs: the median
 *   sparse.latency_p99       of a hundred, the slowest but one */
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "objects.h"

static constexpr double gap_ns = 20'000;
static constexpr size_t heap_size = 1 << 13;

static std::vector<double> latencies_ns; /* owner only */

void object_destroy(void *dead)
{
	latencies_ns.push_back(wall_ns() - static_cast<double>(static_cast<object *>(dead)->pushed_ns));
}

/* Calls of write() and its like by the calling thread; below 0: the kernel does not say. */
static double writes()
{
	const std::unique_ptr<FILE, int (*)(FILE *)> io(fopen("/proc/thread-self/io", "r"), fclose);
	char line[128];
	double count = -1;

	while (io && fgets(line, sizeof(line), io.get()))
		if (sscanf(line, "syscw: %lf", &count) == 1)
			break;
	return count;
}

/* What the producer found. */
struct produced {
	double push_ns = 0, writes = 0;
};

static void produce(const drop_peer *peer, const std::vector<object *> &objects, produced *found)
{
	std::vector<share> shares;
	double next_ns = wall_ns();

	for (size_t i = 0; i < objects.size(); i++)
		shares.push_back({const_cast<object **>(&objects[i]), 1, i, true});
	found->writes = -writes();
	for (const share &each : shares) {
		double now_ns = wall_ns();
		for (next_ns += gap_ns; now_ns < next_ns; now_ns = wall_ns())
			;
		(*each.objects)->pushed_ns = static_cast<uint64_t>(now_ns);
		peer->push(&each);
		found->push_ns += wall_ns() - now_ns;
	}
	found->writes += writes();
}

static double percentile(double share)
{
	auto place = latencies_ns.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(latencies_ns.size() - 1));

	std::nth_element(latencies_ns.begin(), place, latencies_ns.end());
	return *place;
}

static std::vector<result> time_peer(const drop_peer *peer, Team *team, const Heap &heap, size_t pushes)
{
	std::vector<object *> objects = heap.any(pushes);
	const auto count = static_cast<double>(pushes);
	const std::string subject = peer->subject;
	produced found;

	peer->revive(objects.data(), objects.size());
	latencies_ns.clear();
	team->go(1, [&](size_t) { produce(peer, objects, &found); });
	const double cpu = cpu_ns();
	while (latencies_ns.size() < pushes)
		peer->turn();
	const double owner_ns = cpu_ns() - cpu;
	team->wait();

	std::vector<result> results = {{"sparse.cpu", subject, 1, pushes, (owner_ns + found.push_ns) / count},
	                               {"sparse.latency", subject, 1, pushes, percentile(0.5) / 1e3, "us"},
	                               {"sparse.latency_p99", subject, 1, pushes, percentile(0.99) / 1e3, "us"}};
	if (writes() >= 0)
		results.push_back({"sparse.writes_per_1000", subject, 1, pushes, found.writes * 1000 / count, "writes"});
	return results;
}

int main(int argc, char **argv)
{
	const arguments wanted(argc, argv);
	const Heap heap(heap_size);
	Team stranger(1), owner(1, [] { tether_self(); });

	pin_to(0);
	latencies_ns.reserve(heap_size);
	const std::vector<const drop_peer *> peers = drop_peers(wanted, heap_size);
	if (writes() < 0)
		print_skipped("sparse.writes_per_1000", "the kernel does not count what tasks write");
	for (Rounds rounds(wanted); rounds.next();)
		for (const drop_peer *peer : peers)
			if (peer->turn && (peer->kinds & WHOLE))
				measure([&] { return time_peer(peer, peer->by_owners ? &owner : &stranger, heap, wanted.quick ? 1000 : 5000); });
}
