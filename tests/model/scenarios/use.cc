/* use.cc - objects that anybody may use, but never two at once: who overlaps is told, and nobody else.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

struct Used : Scenario<3> {
	Conn conn;
	unsigned inside = 0, near = 0; /* near: before it enters, until after it has left */
	bool was_near = false;

	void use()
	{
		if (__atomic_fetch_add(&near, 1, __ATOMIC_RELAXED) > 0)
			was_near = true;
		TETHER_ENTER(&conn.tag);
		if (__atomic_fetch_add(&inside, 1, __ATOMIC_RELAXED) > 0)
			MUST(reports() > 0);
		__atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
		TETHER_LEAVE(&conn.tag);
		__atomic_fetch_sub(&near, 1, __ATOMIC_RELAXED);
	}
	void check()
	{
		if (!was_near)
			MUST(reports() == 0);
	}
};

struct ByThree : Used {
	void prepare(unsigned me)
	{
		tether_self();
		if (me == 0)
			tether_bind_later(&conn.tag, &home_type);
	}
	void run(unsigned) { use(); }
};

/* Two use what is everybody's, one of whom shared it, and another drops it. */
struct AndDropped : Used {
	static void end(void *context)
	{
		Used *used = static_cast<Used *>(context);

		if (__atomic_load_n(&used->inside, __ATOMIC_RELAXED) > 0)
			MUST(reports() > 0);
	}
	void prepare(unsigned me)
	{
		tether_self();
		if (me > 0)
			return;
		conn.at_end = end;
		conn.context = this;
		tether_bind(&conn.tag, &home_type);
		MUST(tether_share(&conn.tag) == 0);
	}
	void run(unsigned me)
	{
		if (me != 1) {
			use();
			return;
		}
		if (__atomic_fetch_add(&near, 1, __ATOMIC_RELAXED) > 0)
			was_near = true;
		MUST(tether_drop(&conn.tag) == TETHER_HERE);
		was_near = true; /* who comes now uses what has gone, and is told */
	}
	void check()
	{
		Used::check();
		MUST(conn.ended_once_on(1));
	}
};

} // namespace

TEST(Use, OfThreeWhoOverlapOneIsTold)
{
	explore<ByThree>();
}

TEST(Use, OfWhatIsDroppedIsTold)
{
	explore<AndDropped>();
}
