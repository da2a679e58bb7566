/* drop.cc - an object is dropped twice, or dropped and ended: one wins, the other is told.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Two others drop it, at once, or its owner and two others. */
template <bool owner_too>
struct Twice : Scenario<3> {
	Conn conn, other[2];
	enum tether_dropped dropped[3] = {TETHER_REFUSED, TETHER_REFUSED, TETHER_REFUSED};

	void prepare(unsigned me)
	{
		tether_self();
		if (me > 0)
			return;
		tether_bind(&conn.tag, &home_type);
		for (Conn &one : other)
			tether_bind(&one.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me > 0 || owner_too)
			dropped[me] = me == 1 ? tether_drop_later(&conn.tag) : tether_drop(&conn.tag);
		if (me > 0)
			MUST(tether_drop(&other[me - 1].tag) == TETHER_QUEUED);
		else
			tether_drain(0);
	}
	void check()
	{
		int refused = 0;

		for (enum tether_dropped one : dropped)
			refused += one == TETHER_REFUSED;
		MUST(refused == 2);
		MUST(reports() == (owner_too ? 2 : 1));
		MUST(conn.ended_once_on(0));
		MUST(other[0].ended_once_on(0) && other[1].ended_once_on(0));
	}
};

/* Its owner ends the tag while another drops the object. */
struct AndFini : Scenario<2> {
	Conn conn;
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
			tether_fini(&conn.tag);
			tether_drain(0);
		} else {
			dropped = tether_drop(&conn.tag);
		}
	}
	void check()
	{
		MUST(reports() == 1);
		MUST(dropped == TETHER_QUEUED ? conn.ended_once_on(0) : dropped == TETHER_REFUSED && conn.ends == 0);
	}
};

} // namespace

TEST(Drop, OneOfTwoDropsWins)
{
	explore<Twice<false>>();
}

TEST(Drop, OneOfThreeDropsWins)
{
	explore<Twice<true>>();
}

TEST(Drop, OfWhatItsOwnerEndsWinsOrIsRefused)
{
	explore<AndFini>();
}
