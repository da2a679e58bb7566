/* volume.cc - millions of drops from everywhere to everywhere: each destructor runs once and on its
 * owner, and the books balance.
 * SPDX-License-Identifier: MIT */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>

#include <array>
#include <memory>

using stress::Random;

namespace
{

thread_local tether_owner_t self; /* as the thread itself knows it; 0: no owner */

struct tether_counters totals()
{
	struct tether_counters counters;

	MUST(tether_stats(0, &counters) == 0);
	MUST(counters.pending == 0);
	MUST(counters.queued == counters.run_home + counters.orphaned);
	MUST(counters.sent == counters.queued);
	return counters;
}

/* ---- Crates that go round -------------------------------------------------------------------- */

/* Each worker fills crates with objects and posts them to another worker, which drops what is in
 * them; when all have come home and are destroyed, the crate is filled again. Some of the objects drop
 * others when they are destroyed: their neighbour, or a stamp that belongs to the other worker. */

constexpr unsigned workers = 3;
constexpr unsigned crates_per_worker = 12;
constexpr unsigned goods_per_crate = 256;

struct Worker;

struct Stamp {
	Worker *home;
	struct tether tag;
};

struct Good {
	struct Crate *crate;
	Good *neighbour;     /* dropped by this one's destructor, at home */
	Stamp *stamp;        /* likewise, elsewhere */
	unsigned dropped_by; /* written before the drop */
	bool is_alive;
	struct tether tag;
};

struct Crate {
	struct tether_message message;
	Worker *home;
	unsigned alive; /* its owner only */
	std::array<Good, goods_per_crate> goods;
};

struct Worker {
	unsigned number;
	std::atomic<tether_owner_t> owner;
	uint64_t filled;    /* goods; the worker only */
	uint64_t destroyed; /* goods; the worker only */
	uint64_t sent;      /* drops of what is another's; the worker only */
	unsigned away;      /* crates and stamps; the worker only */
	struct tether_message goodbye;
	Random random{0};
	std::array<Crate, crates_per_worker> crates;
};

std::array<Worker, workers> *all_workers;
std::atomic<unsigned> working;
thread_local Worker *me;
uint64_t goods_per_worker;

void stamp_destroy(void *pointer)
{
	std::unique_ptr<Stamp> stamp(static_cast<Stamp *>(pointer));

	MUST(stamp->home == me && tether_is_mine(&stamp->tag));
	me->away--;
}

/* The neighbour of the good before it. */
bool is_a_neighbour(ptrdiff_t place)
{
	return place % 32 == 6;
}

const struct tether_type stamp_type = TETHER_TYPE(Stamp, tag, stamp_destroy);

void fill(Crate &crate);

void good_destroy(void *pointer)
{
	Good *good = static_cast<Good *>(pointer);
	Crate *crate = good->crate;

	MUST(crate->home == me && tether_is_mine(&good->tag));
	MUST(good->is_alive);
	MUST((good->dropped_by == me->number) == is_a_neighbour(good - crate->goods.data()));
	good->is_alive = false;
	if (good->neighbour) {
		good->neighbour->dropped_by = me->number;
		MUST(tether_drop(&good->neighbour->tag) == TETHER_QUEUED);
	}
	if (good->stamp) {
		MUST(tether_drop(&good->stamp->tag) == TETHER_QUEUED);
		me->sent++;
	}
	me->destroyed++;
	if (--crate->alive == 0) {
		me->away--;
		if (me->filled < goods_per_worker)
			fill(*crate);
	}
}

const struct tether_type good_type = TETHER_TYPE(Good, tag, good_destroy);

void fill(Crate &crate)
{
	unsigned other = (me->number + 1 + me->random.below(workers - 1)) % workers;

	for (unsigned i = 0; i < goods_per_crate; i++) {
		Good &good = crate.goods[i];

		good.crate = &crate;
		good.neighbour = is_a_neighbour(i + 1) ? &crate.goods[i + 1] : nullptr;
		good.stamp = nullptr;
		good.is_alive = true;
		tether_bind(&good.tag, &good_type);
	}
	crate.alive = goods_per_crate;
	me->filled += goods_per_crate;
	me->away++;
	MUST(tether_post((*all_workers)[other].owner, &crate.message) == 0);
}

/* At the worker that the crate was sent to. */
void unpack(struct tether_message *message, enum tether_fate fate)
{
	Crate *crate = reinterpret_cast<Crate *>(message); /* its first member */
	Stamp *stamp = new Stamp;
	bool later = me->random.below(2);

	MUST(fate == TETHER_RUN && crate->home != me);
	stamp->home = me;
	tether_bind(&stamp->tag, &stamp_type);
	me->away++;
	crate->goods[0].stamp = stamp;
	/* The last drop may be the last that we see of the crate. */
	for (unsigned i = 0; i < goods_per_crate; i++) {
		Good &good = crate->goods[i];

		if (is_a_neighbour(i))
			continue; /* the one before it will drop it */
		good.dropped_by = me->number;
		me->sent++;
		MUST((later ? tether_drop_later(&good.tag) : tether_drop(&good.tag)) == TETHER_QUEUED);
	}
}

void goodbye(struct tether_message *, enum tether_fate fate)
{
	MUST(fate == TETHER_RUN);
}

/* Until everything of everyone has come home. The last to finish wakes the others. */
void work()
{
	const int fd = tether_fd();
	bool is_done = false;

	for (Crate &crate : me->crates)
		fill(crate);
	while (working > 0) {
		if (!is_done && me->away == 0 && me->filled >= goods_per_worker) {
			is_done = true;
			if (--working == 0)
				for (Worker &other : *all_workers)
					MUST(tether_post(other.owner, &other.goodbye) == 0);
		}
		if (tether_park())
			stress::is_readable(fd, -1);
		tether_unpark();
		tether_drain(me->random.below(4) * 100);
		stress::at("crates that go round", me->destroyed);
	}
}

TEST(Volume, ObjectsComeHomeFromEverywhere)
{
	auto everyone = std::make_unique<std::array<Worker, workers>>();
	stress::Barrier gate(workers);
	std::vector<std::thread> threads;
	uint64_t expected = workers; /* their goodbyes */
	uint64_t foreign = 0;
	struct tether_counters before = totals();

	all_workers = everyone.get();
	working = workers;
	goods_per_worker = stress::scaled(8000000);
	for (unsigned number = 0; number < workers; number++) {
		threads.emplace_back([&, number] {
			me = &(*everyone)[number];
			me->number = number;
			me->owner = tether_self();
			me->random = Random(number);
			tether_message_init(&me->goodbye, goodbye);
			for (Crate &crate : me->crates) {
				tether_message_init(&crate.message, unpack);
				crate.home = me;
			}
			gate.wait();
			work();
			gate.wait(); /* goodbyes are posted by the last one */
		});
	}
	for (std::thread &thread : threads)
		thread.join();
	for (Worker &worker : *everyone) {
		MUST(worker.destroyed == worker.filled);
		expected += worker.filled + 2 * worker.filled / goods_per_crate; /* the crate, and its stamp */
		foreign += worker.sent;
	}
	struct tether_counters after = totals();
	MUST(after.run_home - before.run_home == expected);
	MUST(after.orphaned == before.orphaned);
	printf("%llu drops from elsewhere\n", static_cast<unsigned long long>(foreign));
}

/* ---- Orphans --------------------------------------------------------------------------------- */

constexpr unsigned droppers = 2;
constexpr unsigned orphans_per_dropper = 3000;

struct Orphan {
	enum tether_orphan policy;
	unsigned destroyed;
	Orphan *next; /* dropped by its destructor */
	struct tether tag;
};

tether_owner_t heir;

void orphan_destroy(void *pointer)
{
	Orphan *orphan = static_cast<Orphan *>(pointer);

	MUST(orphan->policy != TETHER_LEAK);
	MUST(orphan->policy == TETHER_ANYWHERE || self == heir);
	MUST(++orphan->destroyed == 1);
	if (orphan->next)
		MUST(tether_drop(&orphan->next->tag) <= TETHER_ORPHANED);
}

const struct tether_type orphan_types[] = {
	TETHER_TYPE_POLICY(Orphan, tag, orphan_destroy, TETHER_LEAK, TETHER_COUNT),
	TETHER_TYPE_POLICY(Orphan, tag, orphan_destroy, TETHER_ANYWHERE, TETHER_COUNT),
	TETHER_TYPE_HEIR(Orphan, tag, orphan_destroy, &heir, TETHER_COUNT),
};

/* Every seventh is dropped by the one before. */
void bind_orphans(std::vector<Orphan> &orphans)
{
	for (size_t i = 0; i < orphans.size(); i++) {
		orphans[i].policy = orphan_types[i % 3].orphan;
		orphans[i].destroyed = 0;
		orphans[i].next = i % 7 == 5 && i % 3 != TETHER_LEAK ? &orphans[i + 1] : nullptr;
		tether_bind(&orphans[i].tag, &orphan_types[i % 3]);
	}
}

void drop_orphans(std::vector<Orphan> &orphans)
{
	for (size_t i = 0; i < orphans.size(); i++) {
		bool another_does = i > 0 && orphans[i - 1].next;

		if (!another_does)
			MUST(tether_drop(&orphans[i].tag) <= TETHER_ORPHANED);
	}
}

TEST(Volume, OrphansGoWhereTheirTypeSays)
{
	const unsigned rounds = stress::scaled(200);
	struct tether_counters before = totals();
	uint64_t dropped = 0, leaked = 0;

	self = heir = tether_self();
	for (unsigned round = 0; round < rounds; round++) {
		std::array<std::vector<Orphan>, droppers> orphans;
		std::vector<std::thread> threads;

		stress::at("orphans", round);
		for (std::vector<Orphan> &share : orphans)
			share.resize(orphans_per_dropper);
		std::thread([&] {
			for (std::vector<Orphan> &share : orphans)
				bind_orphans(share);
		}).join();
		for (std::vector<Orphan> &share : orphans)
			threads.emplace_back([&share] { drop_orphans(share); });
		for (std::thread &thread : threads)
			thread.join();
		tether_drain(0);
		for (const std::vector<Orphan> &share : orphans) {
			for (const Orphan &orphan : share) {
				MUST(orphan.destroyed == (orphan.policy == TETHER_LEAK ? 0 : 1));
				leaked += orphan.destroyed == 0;
				dropped++;
			}
		}
	}
	struct tether_counters after = totals();
	MUST(after.leaked - before.leaked == leaked);
	MUST(after.queued - before.queued == dropped);
}

} // namespace
