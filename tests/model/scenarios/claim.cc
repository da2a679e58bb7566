/* claim.cc - an object that is nobody's is claimed, dropped and used by several at once.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Who wins may use it, and then drops it; the others hold what they were told. */
struct Claims : Scenario<3> {
	Conn conn;
	bool has_won[3];

	void prepare(unsigned me)
	{
		if (me == 0)
			tether_bind_later(&conn.tag, &home_type);
		tether_self();
	}
	void run(unsigned me)
	{
		has_won[me] = tether_claim(&conn.tag);
		MUST(tether_is_mine(&conn.tag) == has_won[me]);
	}
	void finish(unsigned me) { MUST(tether_is_mine(&conn.tag) == has_won[me]); }
	void check()
	{
		MUST(has_won[0] + has_won[1] + has_won[2] == 1);
		MUST(reports() == 0);
	}
};

/* One claims, one drops, and one claims and drops: it ends once, on who had it last. */
struct ClaimsAndDrops : Scenario<3> {
	Conn conn;
	bool has_claimed[3] = {};
	enum tether_dropped dropped[3] = {TETHER_REFUSED, TETHER_REFUSED, TETHER_REFUSED};

	void prepare(unsigned me)
	{
		if (me == 0)
			tether_bind_later(&conn.tag, &home_type);
		tether_self();
	}
	void run(unsigned me)
	{
		if (me != 1)
			has_claimed[me] = tether_claim(&conn.tag);
		if (me != 0)
			dropped[me] = tether_drop(&conn.tag);
	}
	void check()
	{
		int refused = 0;

		for (enum tether_dropped one : dropped)
			refused += one == TETHER_REFUSED;
		MUST(refused == 2);
		MUST(has_claimed[0] + has_claimed[2] <= 1);
		MUST(conn.ends == 1);
		if (has_claimed[0] || has_claimed[2])
			MUST(conn.ended_on == (has_claimed[0] ? 0 : 2));
	}
};

/* Two drop what a third claims: its claim ends what came too early. */
struct DropsOfWhatIsClaimed : Scenario<3> {
	Conn conn;
	bool has_claimed;
	enum tether_dropped dropped[2];

	void prepare(unsigned me)
	{
		if (me == 0)
			tether_bind_later(&conn.tag, &home_type);
		tether_self();
	}
	void run(unsigned me)
	{
		if (me == 0)
			has_claimed = tether_claim(&conn.tag);
		else
			dropped[me - 1] = me == 1 ? tether_drop(&conn.tag) : tether_drop_later(&conn.tag);
	}
	void check()
	{
		MUST((dropped[0] == TETHER_REFUSED) != (dropped[1] == TETHER_REFUSED));
		MUST(conn.ends == 1);
		if (has_claimed)
			MUST(conn.ended_on == 0);
	}
};

} // namespace

TEST(Claim, OneOfThreeWins)
{
	explore<Claims>();
}

TEST(Claim, AndDropsEndItOnceWhereItWasLast)
{
	explore<ClaimsAndDrops>();
}

TEST(Claim, FinishesADropThatCameInBetween)
{
	explore<DropsOfWhatIsClaimed>();
}
