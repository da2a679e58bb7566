/* ref.cc - references are taken and put by several, and their owner ends: the last put drops the object, once.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

#include <cstring>

namespace
{

/* Thread 0 counts without atomics. */
struct Counted : Scenario<3> {
	Conn conn;
	struct tether_ref ref;
	unsigned holders; /* references that somebody has */

	/* Whoever still touched the count would find that. */
	static void end(void *context)
	{
		Counted *counted = static_cast<Counted *>(context);

		MUST(counted->holders == 0);
		memset(&counted->ref, 0xdd, sizeof counted->ref);
	}
	void make(unsigned me, const struct tether_type *type, unsigned references)
	{
		tether_self();
		if (me > 0)
			return;
		conn.at_end = end;
		conn.context = this;
		tether_bind(&conn.tag, type);
		tether_ref_init(&ref, &conn.tag);
		for (holders = 1; holders < references; holders++)
			tether_ref_get(&ref);
	}
	void get()
	{
		tether_ref_get(&ref);
		holders++;
	}
	void put()
	{
		holders--;
		tether_ref_put(&ref);
	}
	void check() { MUST(conn.ends == 1 && reports() == 0); }
};

/* Each has one, that it counted itself or was given, takes another, and puts both. */
template <bool is_given>
struct Puts : Counted {
	void prepare(unsigned me)
	{
		travels = true;
		make(me, &home_type, is_given ? 3 : 1);
		if (me > 0 && !is_given)
			get();
	}
	void run(unsigned me)
	{
		get();
		put();
		put();
		if (me == 0)
			tether_drain(0);
	}
	void check()
	{
		Counted::check();
		MUST(conn.ended_on == 0);
	}
};

/* The owner has given away all that it counted, and two others put it. */
struct GivenAway : Counted {
	void prepare(unsigned me)
	{
		travels = true;
		make(me, &home_type, 2);
	}
	void run(unsigned me)
	{
		if (me == 0)
			tether_drain(0);
		else
			put();
	}
	void check()
	{
		Counted::check();
		MUST(conn.ended_on == 0);
	}
};

/* One puts the last, another tries to get it back. Its memory is the cache's. */
struct Tries : Counted {
	bool has_got;

	void prepare(unsigned me)
	{
		travels = true;
		make(me, &home_type, 1);
		conn.at_end = [](void *context) { MUST(static_cast<Counted *>(context)->holders == 0); };
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			tether_drain(0);
			break;
		case 1:
			put();
			break;
		default:
			has_got = tether_ref_try_get(&ref);
			if (!has_got)
				return;
			holders++;
			put();
		}
	}
	void check()
	{
		Counted::check();
		MUST(conn.ended_on == 0);
	}
};

/* Its owner ends while two others put what it had counted; or it has one more itself. */
template <unsigned references>
struct OwnerEnds : Counted {
	void prepare(unsigned me)
	{
		travels = true;
		make(me, &anywhere_type, references);
	}
	void run(unsigned me)
	{
		if (me > 0) {
			put();
			return;
		}
		if (references == 3)
			put();
		tether_owner_exit();
	}
};

/* Another owner gets its slot, and finds what was on its way. */
struct SlotIsReused : Counted {
	void prepare(unsigned me)
	{
		travels = true;
		if (me < 2)
			make(me, &anywhere_type, 1);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			tether_owner_exit();
			break;
		case 1:
			put();
			break;
		default:
			tether_self();
			tether_drain(0);
		}
	}
};

} // namespace

TEST(Ref, LastOfManyPutsDropsItAtHome)
{
	explore<Puts<false>>();
}

TEST(Ref, LastOfManyThatItsOwnerCountedDropsItAtHome)
{
	explore<Puts<true>>();
}

TEST(Ref, WhatItsOwnerGaveAwayIsDroppedAtHome)
{
	explore<GivenAway>();
}

TEST(Ref, TriedWhileItIsPutIsGotOrHasGone)
{
	explore<Tries>();
}

TEST(Ref, OfAnOwnerThatEndsIsDroppedOnce)
{
	explore<OwnerEnds<2>>();
}

TEST(Ref, OfAnOwnerThatPutsAndEndsIsDroppedOnce)
{
	explore<OwnerEnds<3>>();
}

TEST(Ref, AddedUpByTheNextOwnerOfASlotIsDroppedOnce)
{
	explore<SlotIsReused>();
}
