/* slot.cc - an owner ends, and another gets its slot, while a third still sends to the first.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

struct Reuse : Scenario<3> {
	tether_owner_t first, second;

	/* Thread 1 sends. */
	void take_over(unsigned me)
	{
		if (me == 0)
			tether_owner_exit();
		if (me != 2)
			return;
		second = tether_self();
		tether_drain(0);
	}
	void check() { MUST(first != second && second != 0); }
};

struct Drops : Reuse {
	Conn home, anywhere;
	enum tether_dropped dropped[2];

	void prepare(unsigned me)
	{
		if (me == 1)
			tether_self();
		if (me > 0)
			return;
		first = tether_self();
		tether_bind(&home.tag, &home_type);
		tether_bind(&anywhere.tag, &anywhere_type);
	}
	void run(unsigned me)
	{
		take_over(me);
		if (me != 1)
			return;
		dropped[0] = tether_drop(&anywhere.tag);
		dropped[1] = tether_drop(&home.tag);
	}
	void check()
	{
		Reuse::check();
		/* By whoever found out: its owner, who sent it, or who has the slot now. */
		MUST(anywhere.ends == 1);
		MUST(dropped[0] == TETHER_QUEUED ? anywhere.ended_on != 1 : anywhere.ended_on == 1);
		MUST(home.was_leaked() || (home.ended_once_on(0) && dropped[1] == TETHER_QUEUED));
		MUST(reports() == home.was_leaked());
	}
};

struct Posts : Reuse {
	Note note[2];
	int posted[2];

	void prepare(unsigned me)
	{
		if (me == 1)
			tether_self();
		if (me == 0)
			first = tether_self();
	}
	void run(unsigned me)
	{
		take_over(me);
		for (int i = 0; me == 1 && i < 2; i++)
			posted[i] = tether_post(first, &note[i].message);
	}
	void check()
	{
		Reuse::check();
		for (int i = 0; i < 2; i++) {
			if (posted[i] == 0)
				MUST(note[i].ran_once_on(0) || note[i].came_back_once_to(2));
			else
				MUST(posted[i] == -ESRCH && note[i].came_back_once_to(1));
		}
	}
};

/* One ends and two begin: no number is given out twice. */
struct Numbers : Scenario<3> {
	tether_owner_t number[3];

	void prepare(unsigned me)
	{
		if (me == 0)
			number[me] = tether_self();
	}
	void run(unsigned me)
	{
		if (me == 0)
			tether_owner_exit();
		else
			number[me] = tether_self();
	}
	void finish(unsigned me) { MUST(tether_owner_is_alive(number[me]) == (me != 0) && tether_self() == number[me]); }
	void check()
	{
		MUST(number[1] != 0 && number[2] != 0);
		MUST(number[0] != number[1] && number[0] != number[2] && number[1] != number[2]);
	}
};

} // namespace

TEST(Slot, StrayDropsGoTheOrphansWay)
{
	explore<Drops>();
}

TEST(Slot, StrayMessagesAreToldSo)
{
	explore<Posts>();
}

TEST(Slot, NoNumberIsGivenOutTwice)
{
	explore<Numbers>();
}
