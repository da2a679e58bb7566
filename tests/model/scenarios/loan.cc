/* loan.cc - an object is lent, returned, dropped, and its borrower or its lender ends.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Thread 0 lends it to thread 1; thread 2 drops it. */
struct Lent : Scenario<3> {
	tether_owner_t owner[3];
	Conn conn;
	int lent, returned = 1;
	bool has_lent = false;
	enum tether_dropped dropped;

	void make(unsigned me, const struct tether_type *type)
	{
		owner[me] = tether_self();
		if (me == 0)
			tether_bind(&conn.tag, type);
	}
	void lend()
	{
		lent = tether_lend(&conn.tag, owner[1]);
		has_lent = true;
	}
	void give_back()
	{
		wait_until([this] { return has_lent; });
		if (lent == 0)
			returned = tether_return(&conn.tag);
	}
	void drop() { dropped = tether_drop(&conn.tag); }
};

struct DroppedMeanwhile : Lent {
	void prepare(unsigned me) { make(me, &home_type); }
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			lend();
			tether_drain(0);
			break;
		case 1:
			give_back();
			break;
		default:
			drop();
		}
	}
	void check()
	{
		MUST(lent == 0 ? returned == 0 : lent == -EINVAL);
		MUST(dropped == TETHER_QUEUED && conn.ended_once_on(0));
		MUST(reports() == (lent != 0));
	}
};

template <bool is_dropped>
struct BorrowerEnds : Lent {
	void prepare(unsigned me) { make(me, &home_type); }
	void run(unsigned me)
	{
		if (me == 0) {
			lend();
			tether_drain(0);
		}
		if (me == 1)
			tether_owner_exit();
		if (me == 2 && is_dropped)
			drop();
	}
	void finish(unsigned me)
	{
		if (me == 0)
			tether_drain(0);
		if (me == 0 && !is_dropped)
			MUST(tether_is_mine(&conn.tag));
	}
	void check()
	{
		if (is_dropped)
			MUST(dropped == TETHER_QUEUED && conn.ended_once_on(0) && lent != 1);
		else
			MUST((lent == 0 || lent == -ESRCH) && reports() == (lent == 0));
	}
};

struct LenderEnds : Lent {
	void prepare(unsigned me) { make(me, &anywhere_type); }
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			lend();
			tether_owner_exit();
			break;
		case 1:
			give_back();
			break;
		default:
			drop();
		}
	}
	void check()
	{
		MUST(lent == 0 ? returned == 0 : lent == -EINVAL);
		MUST(dropped != TETHER_REFUSED && conn.ends == 1);
	}
};

} // namespace

TEST(Loan, DroppedMeanwhileEndsAtHome)
{
	explore<DroppedMeanwhile>();
}

TEST(Loan, ComesHomeFromABorrowerThatEnds)
{
	explore<BorrowerEnds<false>>();
}

TEST(Loan, DroppedComesHomeFromABorrowerThatEnds)
{
	explore<BorrowerEnds<true>>();
}

TEST(Loan, OfALenderThatEndsTakesTheOrphansWayOnce)
{
	explore<LenderEnds>();
}
