/* race.cc - threads that drop or claim one object at the same time: exactly one of them wins, and the
 * object is destroyed once.
 * SPDX-License-Identifier: MIT */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>

using stress::Barrier;
using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned contenders = 3;
constexpr unsigned jitter = 300; /* turns: what they race for takes some nanoseconds */

struct Prize {
	unsigned destroyed; /* written by its destructor */
	struct tether tag;
};

void prize_destroy(void *pointer)
{
	static_cast<Prize *>(pointer)->destroyed++;
}

const struct tether_type prize_type = TETHER_TYPE_POLICY(Prize, tag, prize_destroy, TETHER_ANYWHERE, TETHER_WARN);
const struct tether_type static_type = TETHER_TYPE_POLICY(Prize, tag, prize_destroy, TETHER_ANYWHERE, TETHER_WARN);

/* Counts reports by what they tell. */
class Reports
{
public:
	Reports() { tether_set_report_callback(count, this); }
	~Reports() { tether_set_report_callback(nullptr, nullptr); }
	Reports(const Reports &) = delete;
	Reports &operator=(const Reports &) = delete;

	unsigned of(enum tether_kind kind) const { return counts_[kind]; }
	unsigned of_any_kind() const
	{
		unsigned sum = 0;

		for (const std::atomic<unsigned> &one : counts_)
			sum += one;
		return sum;
	}

private:
	static void count(const struct tether_report *report, void *context)
	{
		static_cast<Reports *>(context)->counts_[report->kind]++;
	}

	std::array<std::atomic<unsigned>, TETHER_FOREIGN_DROP + 1> counts_{};
};

/* All contenders and the referee leave a barrier at once; the referee prepares and judges. */
class Contest
{
public:
	Contest(unsigned rounds, std::function<void(unsigned me)> contend)
		: rounds_(stress::scaled(rounds)), contend_(std::move(contend))
	{
		for (unsigned me = 0; me < contenders; me++)
			threads_.emplace_back([this, me] { take_part(me); });
	}
	void run(const std::function<void()> &prepare, const std::function<void()> &watch, const std::function<void()> &judge)
	{
		for (unsigned round = 0; round < rounds_; round++) {
			stress::at("a race for one object", round);
			prepare();
			gate_.wait();
			watch();
			gate_.wait();
			judge();
		}
		for (std::thread &thread : threads_)
			thread.join();
	}

private:
	void take_part(unsigned me)
	{
		Random random(me);

		for (unsigned round = 0; round < rounds_; round++) {
			gate_.wait();
			spin(random.below(jitter));
			contend_(me);
			gate_.wait();
		}
	}

	const unsigned rounds_;
	const std::function<void(unsigned)> contend_;
	Barrier gate_{contenders + 1};
	std::vector<std::thread> threads_;
};

void nothing()
{
}

/* ---- Drops ----------------------------------------------------------------------------------- */

/* All drop it; it ends once, with `result` for the winner and a report for each of the others. */
void drop_together(const std::function<void(Prize &)> &prepare, const std::function<void()> &watch, enum tether_dropped result)
{
	Reports reports;
	Prize prize;
	std::array<enum tether_dropped, contenders> results;
	unsigned double_drops = 0;
	Contest contest(40000, [&](unsigned me) { results[me] = tether_drop(&prize.tag); });

	contest.run(
		[&] {
			prize.destroyed = 0;
			prepare(prize);
		},
		watch,
		[&] {
			tether_drain(contenders); /* a node that is linked twice is a list without an end */
			MUST(std::count(results.begin(), results.end(), result) == 1);
			MUST(std::count(results.begin(), results.end(), TETHER_REFUSED) == contenders - 1);
			MUST(prize.destroyed == 1);
			double_drops += contenders - 1;
			MUST(reports.of(TETHER_DOUBLE_DROP) == double_drops);
			MUST(reports.of_any_kind() == double_drops);
		});
}

void bind_here(Prize &prize)
{
	tether_bind(&prize.tag, &prize_type);
}

TEST(Race, OneOfManyDropsWins)
{
	drop_together(bind_here, nothing, TETHER_QUEUED);
}

TEST(Race, OneOfManyDropsWinsWhileTheOwnerDrains)
{
	drop_together(
		bind_here, [] { stress::wait_until([] { return tether_drain(0) == 1; }); }, TETHER_QUEUED);
}

TEST(Race, OneOfManyDropsOfAnOrphanWins)
{
	drop_together([](Prize &prize) { std::thread([&] { bind_here(prize); }).join(); }, nothing, TETHER_ORPHANED);
}

TEST(Race, OneOfManyDropsOfAnUnboundObjectWins)
{
	drop_together([](Prize &prize) { prize.tag = TETHER_INIT(static_type); }, nothing, TETHER_HERE);
}

TEST(Race, DropAtHomeIsOneOfMany)
{
	Reports reports;
	Prize prize;
	std::array<enum tether_dropped, contenders> results;
	enum tether_dropped at_home;
	unsigned double_drops = 0;
	Random random(contenders);
	Contest contest(40000, [&](unsigned me) { results[me] = tether_drop(&prize.tag); });

	contest.run(
		[&] {
			prize.destroyed = 0;
			bind_here(prize);
		},
		[&] {
			spin(random.below(jitter));
			at_home = tether_drop(&prize.tag);
		},
		[&] {
			tether_drain(0);
			unsigned elsewhere = static_cast<unsigned>(std::count(results.begin(), results.end(), TETHER_QUEUED));
			MUST(at_home == TETHER_HERE || at_home == TETHER_REFUSED);
			MUST(elsewhere + (at_home == TETHER_HERE) == 1);
			MUST(std::count(results.begin(), results.end(), TETHER_REFUSED) == contenders - elsewhere);
			MUST(prize.destroyed == 1);
			double_drops += contenders;
			MUST(reports.of(TETHER_DOUBLE_DROP) == double_drops);
			MUST(reports.of_any_kind() == double_drops);
		});
}

/* ---- Claims ---------------------------------------------------------------------------------- */

TEST(Race, OneOfManyClaimsWins)
{
	Reports reports;
	Prize prize;
	std::array<bool, contenders> is_mine;
	std::array<enum tether_dropped, contenders> results;
	Barrier all_claimed(contenders);
	Contest contest(40000, [&](unsigned me) {
		is_mine[me] = tether_claim(&prize.tag);
		MUST(tether_is_mine(&prize.tag) == is_mine[me]);
		all_claimed.wait();
		results[me] = is_mine[me] ? tether_drop(&prize.tag) : TETHER_REFUSED;
	});

	contest.run(
		[&] {
			prize.destroyed = 0;
			tether_bind_later(&prize.tag, &prize_type);
		},
		nothing,
		[&] {
			MUST(std::count(is_mine.begin(), is_mine.end(), true) == 1);
			MUST(std::count(results.begin(), results.end(), TETHER_HERE) == 1);
			MUST(prize.destroyed == 1);
			MUST(reports.of_any_kind() == 0);
		});
}

/* One drops while the others claim: it ends once, at whoever got it. A claim that comes too late says so. */
TEST(Race, DropDuringAClaimIsNotLost)
{
	Reports reports;
	Prize prize;
	std::array<bool, contenders> is_mine{};
	enum tether_dropped dropped;
	unsigned late = 0;
	Barrier dropped_or_claimed(contenders);
	Contest contest(40000, [&](unsigned me) {
		if (me == 0)
			dropped = tether_drop(&prize.tag);
		else
			is_mine[me] = tether_claim(&prize.tag);
		dropped_or_claimed.wait();
		tether_drain(0);
	});

	contest.run(
		[&] {
			prize.destroyed = 0;
			tether_bind_later(&prize.tag, &prize_type);
		},
		nothing,
		[&] {
			MUST(dropped == TETHER_HERE || dropped == TETHER_QUEUED);
			MUST(std::count(is_mine.begin(), is_mine.end(), true) <= (dropped == TETHER_QUEUED));
			MUST(prize.destroyed == 1);
			late += contenders - 1;
			MUST(reports.of(TETHER_USE_AFTER_DROP) == reports.of_any_kind());
			MUST(reports.of_any_kind() <= late);
		});
}

} // namespace
