/* drop.cc - what does it cost to release an object on a thread that does not own it?
 * SPDX-License-Identifier: MIT
 *
 * In phases. First the producers, each on a core of its own, start together and push 4000 objects each;
 * then, when all have finished, the owner drains what has come. Its time is the CPU time of all the threads
 * that pushed plus the CPU time of the drain, per object. Phases, because a drain that runs while others push
 * spends its time on waiting for them, the more the faster it is, and on a machine with two cores it also takes
 * one away from them; for that see stream.cc.
 *
 * `queue`: the queue alone, as its authors ship it. `drop`: each object is marked before it is queued, by a CAS
 * that only one thread can win. Each is measured at 1, 2, 4 ... producers, and with a backlog of 32,000 objects.
 *
 * The objects take a cache line each and lie anywhere in 4 MiB, more than a core's own cache; they are pushed in an order
 * that has nothing to do with where they lie, the same for all subjects, as that is how objects die. Before each phase the
 * owner makes all of them anew; that is not timed. A checksum sees that each was destroyed once. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "objects.h"

static constexpr size_t pushes = 4000, backlog = 32000; /* by each producer */
static constexpr size_t heap_size = 1 << 16;

struct setting {
	size_t producers, pushes;
	int kind;
	size_t phases;
};

static uint64_t destroyed_sum; /* owner only */

void object_destroy(void *dead)
{
	destroyed_sum += static_cast<object *>(dead)->value;
}

static void check_destroyed(const drop_peer *peer, uint64_t expected_sum)
{
	if (peer->silent || destroyed_sum == expected_sum)
		return;
	fprintf(stderr, "drop: %s: not every object was destroyed once\n", peer->subject);
	exit(1);
}

/* CPU time per object: of the producers, and of the owner. */
struct phase_ns {
	double push, drain;
};

static phase_ns time_phase(const drop_peer *peer, Team *team, std::vector<object *> objects, size_t producers, bool marks)
{
	const auto count = static_cast<double>(objects.size());
	std::vector<double> push_ns(producers);
	phase_ns took{0, 0};

	uint64_t expected_sum = 0;
	for (const object *each : objects)
		expected_sum += each->value;
	peer->revive(objects.data(), objects.size());
	destroyed_sum = 0;
	const std::vector<share> shares = shares_of(objects, producers, marks);
	team->run(producers, [&](size_t i) {
		const double start = cpu_ns();
		peer->push(&shares[i]);
		push_ns[i] = cpu_ns() - start;
	});
	const double start = cpu_ns();
	peer->drain();
	took.drain = (cpu_ns() - start) / count;
	for (double each : push_ns)
		took.push += each / count;
	check_destroyed(peer, expected_sum);
	return took;
}

/* The median of each part and of their sum, of several phases. */
static std::vector<result> time_peer(const drop_peer *peer, Team *team, const Heap &heap, const setting &how)
{
	const std::string figure = how.kind == WHOLE ? "drop" : "queue";
	const std::vector<object *> order = heap.any(how.producers * how.pushes);
	std::vector<double> push, drain, sum;

	for (size_t i = 0; i < how.phases; i++) {
		phase_ns took = time_phase(peer, team, order, how.producers, how.kind == WHOLE);
		push.push_back(took.push);
		drain.push_back(took.drain);
		sum.push_back(took.push + took.drain);
	}
	return {{figure + ".push", peer->subject, how.producers, how.pushes, median(push)},
	        {figure + ".drain", peer->subject, how.producers, how.pushes, median(drain)},
	        {figure + ".sum", peer->subject, how.producers, how.pushes, median(sum)}};
}

static std::vector<setting> settings_of(const arguments &wanted)
{
	const size_t most = std::max<size_t>(4, core_count());
	std::vector<setting> settings;

	for (int kind : {BARE, WHOLE}) {
		for (size_t producers = 1; producers <= most; producers *= 2)
			settings.push_back({producers, pushes, kind, wanted.quick ? size_t{3} : size_t{7}});
		settings.push_back({1, backlog, kind, 1});
	}
	return settings;
}

int main(int argc, char **argv)
{
	const arguments wanted(argc, argv);
	const std::vector<setting> settings = settings_of(wanted);
	const size_t producers = std::max<size_t>(4, core_count());
	const Heap heap(std::max(heap_size, producers * pushes));
	Team strangers(producers), owners(producers, [] { tether_self(); });

	pin_to(0);
	const std::vector<const drop_peer *> peers = drop_peers(wanted, heap.size());
	auto time = [&](const drop_peer *peer, const setting &how) {
		return time_peer(peer, peer->by_owners ? &owners : &strangers, heap, how);
	};
	for (const drop_peer *peer : peers) /* their first time is another one */
		time(peer, {1, pushes, peer->kinds & WHOLE, 1});
	for (Rounds rounds(wanted); rounds.next();)
		for (const setting &each : settings)
			for (const drop_peer *peer : peers)
				if ((peer->kinds & each.kind) && (!peer->needs_cores || each.producers <= core_count()))
					measure([&] { return time(peer, each); });
}
