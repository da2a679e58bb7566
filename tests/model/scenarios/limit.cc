/* limit.cc - an owner limits what may be pending: who exceeds it is told of, who only tries is refused, and nothing is lost.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* What is called with the limit, and must not be called once that was replaced. */
struct Over {
	unsigned calls = 0;
	bool is_gone = false;

	static void call(void *context, size_t pending)
	{
		Over *over = static_cast<Over *>(context);

		MUST(!__atomic_load_n(&over->is_gone, __ATOMIC_RELAXED));
		MUST(pending > 1);
		__atomic_fetch_add(&over->calls, 1, __ATOMIC_RELAXED);
	}
	void end() { __atomic_store_n(&is_gone, true, __ATOMIC_RELAXED); }
};

/* Thread 0 drains; the others only try. */
template <unsigned senders, unsigned limit, unsigned each>
struct Tries : Scenario<senders + 1> {
	static constexpr int most = limit + senders - 1;
	tether_owner_t home;
	Note note[senders][each];
	int posted[senders][each];
	int accepted = 0;
	unsigned drains = 0; /* begun or ended: odd while the owner is inside */

	void prepare(unsigned me)
	{
		tether_owner_t self = tether_self();

		if (me > 0)
			return;
		home = self;
		MUST(tether_set_limit(limit, nullptr, nullptr) == 0);
	}
	/* At least. */
	int pending() const
	{
		int calls = 0;

		for (const auto &sent : note)
			for (const Note &one : sent)
				calls += one.calls;
		return accepted - calls;
	}
	void run(unsigned me)
	{
		if (me == 0) {
			drains++;
			tether_drain(0);
			drains++;
			return;
		}
		for (unsigned i = 0; i < each; i++) {
			unsigned before = drains;
			int error = posted[me - 1][i] = tether_try_post(home, &note[me - 1][i].message);
			accepted += error == 0;
			bool is_quiet = drains == before && drains % 2 == 0;
			MUST(error == 0 || error == -EAGAIN);
			MUST(error == 0 || !is_quiet || senders > 1 || pending() == (int)limit);
			MUST(pending() <= (drains % 2 == 0 ? most : 2 * most + 1)); /* one is about to be called */
		}
	}
	void check()
	{
		MUST(accepted > 0);
		for (unsigned sender = 0; sender < senders; sender++)
			for (unsigned i = 0; i < each; i++)
				MUST(posted[sender][i] ? note[sender][i].calls == 0 : note[sender][i].ran_once_on(0));
	}
};

/* They exceed it, while the owner drains or not; and once more, when all is quiet. */
template <bool drains>
struct Exceed : Scenario<3> {
	Conn conn[2][3];
	Over over;
	unsigned rounds = 0;

	void prepare(unsigned me)
	{
		tether_self();
		if (me > 0)
			return;
		for (auto &sent : conn)
			for (Conn &one : sent)
				tether_bind(&one.tag, &home_type);
		MUST(tether_set_limit(1, Over::call, &over) == 0);
	}
	void send(unsigned me, unsigned first, unsigned end)
	{
		for (unsigned i = first; i < end; i++)
			MUST(tether_drop(&conn[me - 1][i].tag) == TETHER_QUEUED);
	}
	void run(unsigned me)
	{
		if (me > 0)
			send(me, 0, me);
		else if (drains)
			tether_drain(0);
	}
	static uint64_t pending()
	{
		struct tether_counters counters;

		MUST(tether_stats(0, &counters) == 0);
		return counters.pending;
	}
	void finish(unsigned me)
	{
		unsigned before = over.calls;

		if (rounds == 0)
			MUST(drains || before == 1 || before == 2);
		if (me == 0) {
			if (pending() > 0)
				tether_drain(0);
			rounds++;
		} else if (rounds == 1) {
			send(me, me, 3); /* by the first the limit is exceeded, by the other two times that */
			MUST(over.calls - before == 1);
		}
	}
	void check()
	{
		for (const auto &sent : conn)
			for (const Conn &one : sent)
				MUST(one.ended_once_on(0));
	}
};

/* It is replaced, and its context ends. */
struct Replaces : Scenario<3> {
	Conn conn[2];
	Over over[2];

	void prepare(unsigned me)
	{
		tether_self();
		if (me > 0)
			return;
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
		MUST(tether_set_limit(1, Over::call, &over[0]) == 0);
	}
	void run(unsigned me)
	{
		if (me > 0) {
			MUST(tether_drop(&conn[me - 1].tag) == TETHER_QUEUED);
			return;
		}
		MUST(tether_set_limit(1, Over::call, &over[1]) == 0);
		over[0].end();
		tether_drain(0);
		MUST(tether_set_limit(0, nullptr, nullptr) == 0);
		over[1].end();
	}
	void check()
	{
		for (const Conn &one : conn)
			MUST(one.ended_once_on(0));
	}
};

} // namespace

TEST(Limit, WhoTriesIsRefusedAtIt)
{
	explore<Tries<1, 2, 6>>();
}

TEST(Limit, TwoWhoTryMayBothFindTheLastPlace)
{
	explore<Tries<2, 1, 2>>();
}

TEST(Limit, WhoExceedsItTellsOnce)
{
	explore<Exceed<false>>();
}

TEST(Limit, WhoExceedsItAgainTellsAgain)
{
	explore<Exceed<true>>();
}

TEST(Limit, ReplacedOneIsNeverToldLate)
{
	explore<Replaces>();
}
