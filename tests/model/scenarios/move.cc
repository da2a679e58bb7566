/* move.cc - an object is left, given, shared, and claimed or dropped meanwhile.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Its owner leaves it, two want it. */
struct Unbound : Scenario<3> {
	Conn conn;
	bool has_claimed[3];

	void prepare(unsigned me)
	{
		tether_self();
		if (me == 0)
			tether_bind(&conn.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 0)
			MUST(tether_unbind(&conn.tag) == 0);
		has_claimed[me] = tether_claim(&conn.tag);
	}
	void finish(unsigned me) { MUST(tether_is_mine(&conn.tag) == has_claimed[me]); }
	void check()
	{
		MUST(has_claimed[0] + has_claimed[1] + has_claimed[2] <= 1);
		MUST(reports() == 0);
	}
};

/* Its owner leaves it, one claims it, and one drops it. */
struct UnboundAndDropped : Scenario<3> {
	Conn conn;
	int unbound;
	bool has_claimed;
	enum tether_dropped dropped;

	void prepare(unsigned me)
	{
		tether_self();
		if (me == 0)
			tether_bind(&conn.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 0) {
			unbound = tether_unbind(&conn.tag);
			tether_drain(0);
		} else if (me == 1) {
			has_claimed = tether_claim(&conn.tag);
		} else {
			dropped = tether_drop(&conn.tag);
		}
	}
	void check()
	{
		MUST(dropped != TETHER_REFUSED);
		MUST(conn.ends == 1);
		if (has_claimed)
			MUST(conn.ended_on == 1);
	}
};

/* Two take it from its owner, who drops it. */
struct Given : Scenario<3> {
	tether_owner_t owner[3];
	Conn conn;
	int given[3];
	enum tether_dropped dropped;

	void prepare(unsigned me)
	{
		owner[me] = tether_self();
		if (me == 0)
			tether_bind(&conn.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 0)
			dropped = tether_drop(&conn.tag);
		else
			given[me] = tether_give(&conn.tag, owner[0], owner[me]);
	}
	void check()
	{
		MUST(dropped != TETHER_REFUSED);
		MUST((given[1] == 0) + (given[2] == 0) <= 1);
		MUST(conn.ends == 1);
	}
};

/* Everybody's, while one looks and another drops it. */
struct Shared : Scenario<3> {
	Conn conn;
	int shared;
	bool was_mine[2];
	enum tether_dropped dropped;

	void prepare(unsigned me)
	{
		tether_self();
		if (me == 0)
			tether_bind(&conn.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 0) {
			shared = tether_share(&conn.tag);
			tether_drain(0);
		} else if (me == 1) {
			was_mine[0] = tether_is_mine(&conn.tag);
			was_mine[1] = tether_is_mine(&conn.tag);
		} else {
			dropped = tether_drop(&conn.tag);
		}
	}
	void check()
	{
		MUST(dropped != TETHER_REFUSED && conn.ends == 1);
		MUST(conn.ended_on == (dropped == TETHER_HERE ? 2 : 0));
		MUST(reports() == (shared != 0));
	}
};

} // namespace

TEST(Move, WhatIsUnboundIsClaimedByOne)
{
	explore<Unbound>();
}

TEST(Move, WhatIsUnboundAndDroppedEndsOnce)
{
	explore<UnboundAndDropped>();
}

TEST(Move, OneOfTwoWhoTakeItGetsIt)
{
	explore<Given>();
}

TEST(Move, WhatIsSharedIsDroppedOnce)
{
	explore<Shared>();
}
