/* stream.cc - what does it cost to release objects to an owner that destroys them meanwhile?
 * SPDX-License-Identifier: MIT
 *
 * Producers push 32,768 objects each, as fast as they can, while the owner runs its loop, and sleeps in it when there
 * is nothing. `stream` is the CPU time of all threads per object, `stream.wall` the time on the wall until the last
 * one was destroyed. All subjects mark. Only those take part that can wake a loop. */
#include "objects.h"

static constexpr size_t pushes = 1 << 15, most_producers = 2;

static size_t destroyed; /* owner only */

void object_destroy(void *dead)
{
	destroyed += static_cast<object *>(dead)->value != UINT64_MAX; /* as destructors do, it reads the object */
}

static std::vector<result> time_peer(const drop_peer *peer, Team *team, const Heap &heap, size_t producers)
{
	std::vector<object *> objects = heap.any(producers * pushes);
	const auto count = static_cast<double>(objects.size());
	std::vector<double> push_ns(producers);
	double sum_ns = 0;

	peer->revive(objects.data(), objects.size());
	const std::vector<share> shares = shares_of(objects, producers, true);
	destroyed = 0;
	team->go(producers, [&](size_t i) {
		const double start = cpu_ns();
		peer->push(&shares[i]);
		push_ns[i] = cpu_ns() - start;
	});
	const double wall = wall_ns(), cpu = cpu_ns();
	while (destroyed < objects.size())
		peer->turn();
	const double took_ns = wall_ns() - wall;
	sum_ns = cpu_ns() - cpu;
	team->wait();
	for (double each : push_ns)
		sum_ns += each;
	return {{"stream", peer->subject, producers, pushes, sum_ns / count},
	        {"stream.wall", peer->subject, producers, pushes, took_ns / count}};
}

int main(int argc, char **argv)
{
	const arguments wanted(argc, argv);
	const Heap heap(most_producers * pushes);
	Team strangers(most_producers), owners(most_producers, [] { tether_self(); });

	pin_to(0);
	const std::vector<const drop_peer *> peers = drop_peers(wanted, heap.size());
	for (Rounds rounds(wanted); rounds.next();)
		for (size_t producers = 1; producers <= most_producers; producers++)
			for (const drop_peer *peer : peers)
				if (peer->turn && (peer->kinds & WHOLE))
					measure([&] { return time_peer(peer, peer->by_owners ? &owners : &strangers, heap, producers); });
}
