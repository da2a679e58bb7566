/* scale.cc - does it cost more where there is more of it?
 * SPDX-License-Identifier: MIT
 *
 *   scale.check    checks of all of 1000 .. 10,000,000 tags, in the order in which they lie; floor: reading a word of each
 *   scale.drop     1000 whole drops from another thread, of that many live objects, as in drop.cc; floor: as there
 *   scale.owners   drops from another thread, each for one of 1 .. 10,000 owners in turn, the producer's side; floor: the
 *                  mark, and an atomic addition on a line of each owner
 *
 * The floors have the same caches to miss: what grows in them is the memory's, and what grows beside them is ours. */
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "objects.h"

static constexpr size_t drops = 1000, checks = 200'000;
static const std::string ours = "tether";

static uint64_t destroyed_sum; /* owner only */

void object_destroy(void *dead)
{
	destroyed_sum += static_cast<object *>(dead)->value;
}

static const tether_type object_type = TETHER_TYPE(object, tether, object_destroy);

/* ---- Tags -------------------------------------------------------------------------------------- */

/* A heap for each subject, as live objects are of one kind. */
struct population {
	const drop_peer *peer;
	std::unique_ptr<Heap> heap;
};

static population populate(const drop_peer *peer, size_t size)
{
	population made{peer, std::make_unique<Heap>(size)};
	std::vector<object *> all = made.heap->any(size);

	peer->revive(all.data(), all.size());
	return made;
}

/* Nothing is carried over from one to the next. */
static result time_checks(const population &of)
{
	const size_t size = of.heap->size(), rounds = std::max<size_t>(1, checks / size);
	const bool is_ours = of.peer->subject == ours;
	const double start = cpu_ns();

	for (size_t round = 0; round < rounds; round++)
		for (object *each = of.heap->begin(); each != of.heap->begin() + size; each++) {
			if (is_ours)
				TETHER_CHECK(&each->tether);
			else
				(void)__atomic_load_n(&each->tag.owner, __ATOMIC_RELAXED);
			__asm__ volatile("" : : : "memory");
		}
	return {"scale.check", of.peer->subject, 0, size, (cpu_ns() - start) / static_cast<double>(rounds * size)};
}

/* Others in each turn, so that they are as cold as the rest. */
static std::vector<result> time_drops(const population &of, Team *team, size_t turn)
{
	std::vector<object *> objects = of.heap->any(drops, turn);
	const std::vector<share> shares = shares_of(objects, 1, true);
	double took_ns = 0;

	team->run(1, [&](size_t) {
		const double start = cpu_ns();
		of.peer->push(&shares[0]);
		took_ns = cpu_ns() - start;
	});
	const double start = cpu_ns();
	of.peer->drain();
	took_ns += cpu_ns() - start;
	of.peer->revive(objects.data(), objects.size());
	return {{"scale.drop", of.peer->subject, 1, of.heap->size(), took_ns / drops}};
}

static void time_tags(Rounds rounds, const std::vector<const drop_peer *> &peers, Team *team, size_t size)
{
	std::vector<population> all;

	for (const drop_peer *peer : peers)
		if ((peer->kinds & WHOLE) && (peer->subject == ours || peer->subject == std::string("floor")))
			all.push_back(populate(peer, size));
	while (rounds.next())
		for (const population &each : all) {
			print(time_checks(each));
			measure([&] { return time_drops(each, team, rounds.number()); });
		}
	for (const population &each : all)
		if (each.peer->subject == ours)
			for (object *one : each.heap->any(size))
				tether_fini(&one->tether);
}

/* ---- Owners ------------------------------------------------------------------------------------ */

struct alignas(64) counter {
	std::atomic<uint64_t> pushed{0};
};

class Owners
{
public:
	explicit Owners(size_t count) : owners_(count), counters_(count)
	{
		for (tether_owner_t &each : owners_)
			if (tether_owner_create("one of many", &each) != 0)
				abort();
	}
	~Owners()
	{
		for (tether_owner_t each : owners_)
			if (tether_owner_end(each) != 0)
				abort();
	}
	Owners(const Owners &) = delete;
	Owners &operator=(const Owners &) = delete;

	/* In turn: the producer goes through the owners as often as there are objects for it. */
	void bind(const std::vector<object *> &objects)
	{
		for (size_t owner = 0; owner < owners_.size(); owner++) {
			const tether_owner_t previous = tether_owner_enter(owners_[owner]);
			for (size_t i = owner; i < objects.size(); i += owners_.size())
				tether_bind(&objects[i]->tether, &object_type);
			tether_owner_leave(previous);
		}
	}
	void drain()
	{
		for (tether_owner_t each : owners_) {
			const tether_owner_t previous = tether_owner_enter(each);
			tether_drain(0);
			tether_owner_leave(previous);
		}
	}
	void count(size_t i) { counters_[i % counters_.size()].pushed.fetch_add(1, std::memory_order_acq_rel); }
	size_t size() const { return owners_.size(); }

private:
	std::vector<tether_owner_t> owners_;
	std::vector<counter> counters_;
};

static std::vector<result> time_owners(Owners *owners, Team *team, std::vector<object *> objects, bool is_ours)
{
	double took_ns = 0;

	if (is_ours)
		owners->bind(objects);
	else
		objects_revive(objects.data(), objects.size());
	team->run(1, [&](size_t) {
		const double start = cpu_ns();
		for (size_t i = 0; i < objects.size(); i++)
			if (is_ours)
				tether_drop(&objects[i]->tether);
			else if (object_mark(objects[i]))
				owners->count(i);
		took_ns = cpu_ns() - start;
	});
	if (is_ours)
		owners->drain();
	return {{"scale.owners", is_ours ? ours : "floor", 1, owners->size(), took_ns / static_cast<double>(objects.size())}};
}

/* Two heaps and what points into them, in half of what is free. */
static size_t most_tags()
{
	const auto free_bytes = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));

	return free_bytes / 4 / (sizeof(object) + 2 * sizeof(object *));
}

int main(int argc, char **argv)
{
	const arguments wanted(argc, argv);
	const size_t most = std::min<size_t>(wanted.quick ? 1'000'000 : 10'000'000, most_tags());
	Team team(1, [] { tether_self(); });

	pin_to(0);
	const std::vector<const drop_peer *> peers = drop_peers(wanted, drops);
	for (size_t size = 1000; size <= most; size *= 10)
		time_tags(Rounds(wanted, 0.15), peers, &team, size);
	const Heap heap(10'000);
	for (size_t size = 1; size <= 10'000; size *= 10) {
		Owners owners(size);
		for (Rounds rounds(wanted, 0.05); rounds.next();)
			for (bool is_ours : {false, true})
				if (wanted.wants(is_ours ? ours : "floor"))
					measure([&] { return time_owners(&owners, &team, heap.any(heap.size()), is_ours); });
	}
}
