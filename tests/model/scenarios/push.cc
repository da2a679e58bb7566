/* push.cc - threads send to one owner, who takes meanwhile.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Thread 1 is an owner itself, thread 2 is nobody. */
struct Drops : Scenario<3> {
	Conn conn[2][2];

	void prepare(unsigned me)
	{
		if (me == 1)
			tether_self();
		if (me == 0)
			for (auto &sent : conn)
				for (Conn &one : sent)
					tether_bind(&one.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 0) {
			tether_drain(1);
			tether_drain(0);
			return;
		}
		for (Conn &one : conn[me - 1])
			MUST(tether_drop(&one.tag) == TETHER_QUEUED);
	}
	void check()
	{
		for (const auto &sent : conn) {
			MUST(sent[0].ended_once_on(0));
			MUST(sent[1].ended_once_on(0));
			MUST(sent[0].order < sent[1].order);
		}
	}
};

/* Drops and messages in one order. */
struct Mixed : Scenario<3> {
	tether_owner_t home;
	Conn conn[2];
	Note note[2];

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		home = tether_self();
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			tether_drain(0);
			tether_drain(0);
			break;
		case 1:
			MUST(tether_drop_later(&conn[0].tag) == TETHER_QUEUED);
			MUST(tether_post(home, &note[0].message) == 0);
			break;
		default:
			MUST(tether_post(home, &note[1].message) == 0);
			MUST(tether_drop(&conn[1].tag) == TETHER_QUEUED);
		}
	}
	void check()
	{
		for (int i = 0; i < 2; i++)
			MUST(conn[i].ended_once_on(0) && note[i].ran_once_on(0));
		MUST(conn[0].order < note[0].order);
		MUST(note[1].order < conn[1].order);
	}
};

/* What an object drops when it ends, here and abroad. */
struct Chain : Scenario<2> {
	Conn first[2], second[2]; /* [whose] */

	static void drop_both(void *context)
	{
		Chain *chain = static_cast<Chain *>(context);

		for (Conn &one : chain->second)
			MUST(tether_drop(&one.tag) == TETHER_QUEUED);
	}
	void prepare(unsigned me)
	{
		if (me == 0) {
			first[0].at_end = drop_both;
			first[0].context = this;
		}
		tether_bind(&first[me].tag, &home_type);
		tether_bind(&second[me].tag, &home_type);
	}
	void run(unsigned me)
	{
		MUST(tether_drop(&first[1 - me].tag) == TETHER_QUEUED);
		tether_drain(0);
	}
	void check()
	{
		for (int i = 0; i < 2; i++)
			MUST(first[i].ended_once_on(i) && second[i].ended_once_on(i));
	}
};

} // namespace

TEST(Push, DropsArriveInTheOrderOfEachSender)
{
	explore<Drops>();
}

TEST(Push, DropsAndMessagesShareOneOrder)
{
	explore<Mixed>();
}

TEST(Push, WhatADestructorDropsGoesHome)
{
	explore<Chain>();
}
