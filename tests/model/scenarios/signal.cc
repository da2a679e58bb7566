/* signal.cc - a signal's handler drops and posts, wherever it interrupts its thread: nothing is lost, nothing twice.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Thread 0 has objects, and a handler that drops one of them later and posts. */
struct Handles : Scenario<2> {
	tether_owner_t home;
	Conn conn[3], by_handler;
	Note note;
	bool has_come = false;
	enum tether_dropped dropped = TETHER_REFUSED;
	int posted = 1;

	void make(unsigned me, const struct tether_type *type)
	{
		tether_owner_t self = tether_self();

		if (me > 0)
			return;
		home = self;
		for (Conn &one : conn)
			tether_bind(&one.tag, type);
		tether_bind(&by_handler.tag, type);
	}
	void handle()
	{
		has_come = true;
		dropped = tether_drop_later(&by_handler.tag);
		posted = tether_post(home, &note.message);
	}
	/* What was sent, and how many it was. */
	void check_handled()
	{
		if (has_come) {
			MUST(dropped == TETHER_QUEUED && by_handler.ended_once_on(0));
			MUST(posted == 0 && note.ran_once_on(0));
			MUST(by_handler.order < note.order);
		}
		MUST(reports() == 0);
	}
};

/* It interrupts who sends. */
struct Sends : Handles {
	static constexpr int interrupted = 1;

	void prepare(unsigned me) { make(me, &home_type); }
	void run(unsigned me)
	{
		if (me == 0) {
			tether_drain(0);
			return;
		}
		MUST(tether_drop(&conn[0].tag) == TETHER_QUEUED);
		MUST(tether_drop_later(&conn[1].tag) == TETHER_QUEUED);
	}
	void check()
	{
		check_handled();
		MUST(conn[0].ended_once_on(0) && conn[1].ended_once_on(0));
		MUST(conn[0].order < conn[1].order);
	}
};

/* It interrupts who drains, and drops at home what drops another. */
struct Drains : Handles {
	static constexpr int interrupted = 0;

	static void drop_last(void *context) { MUST(tether_drop(&static_cast<Drains *>(context)->conn[2].tag) == TETHER_QUEUED); }
	void prepare(unsigned me)
	{
		make(me, &home_type);
		conn[1].at_end = drop_last;
		conn[1].context = this;
	}
	void run(unsigned me)
	{
		if (me > 0) {
			MUST(tether_drop(&conn[0].tag) == TETHER_QUEUED);
			return;
		}
		MUST(tether_drop(&conn[1].tag) == TETHER_HERE);
		tether_drain(0);
	}
	void check()
	{
		check_handled();
		for (const Conn &one : conn)
			MUST(one.ended_once_on(0));
	}
};

/* It interrupts who parks, and wakes it. */
struct Parks : Handles {
	static constexpr int interrupted = 0;
	unsigned calls = 0, sleeps = 0;

	static void wake(void *context) { __atomic_fetch_add(&static_cast<Parks *>(context)->calls, 1, __ATOMIC_RELAXED); }
	void prepare(unsigned me)
	{
		make(me, &home_type);
		if (me > 0)
			return;
		MUST(tether_set_wake(wake, this) == 0);
		(void)tether_park();
		tether_unpark();
	}
	bool has_all() const { return conn[0].ends == 1 && conn[1].ends == 1 && (!has_come || note.calls == 1); }
	void run(unsigned me)
	{
		for (int i = 0; me == 1 && i < 2; i++)
			MUST(tether_drop(&conn[i].tag) == TETHER_QUEUED);
		while (me == 0 && !has_all()) {
			if (tether_park()) {
				sleeps++;
				wait_until([this] { return calls == sleeps; });
			}
			tether_unpark();
			tether_drain(0);
		}
	}
	void check()
	{
		check_handled();
		MUST(conn[0].ended_once_on(0) && conn[1].ended_once_on(0));
		MUST(calls == sleeps);
	}
};

/* It interrupts an owner that ends: what it sends then has one fate. */
struct Ends : Handles {
	static constexpr int interrupted = 0;

	void prepare(unsigned me) { make(me, &anywhere_type); }
	void run(unsigned me)
	{
		if (me > 0) {
			(void)tether_drop(&conn[0].tag);
			return;
		}
		tether_owner_exit();
		/* The next owner on this thread, or in this slot, is another. */
		MUST(!has_come || (by_handler.ends == 1 && note.calls == 1));
	}
	void check()
	{
		MUST(reports() == 0 && conn[0].ends == 1);
		if (!has_come)
			return;
		MUST(dropped != TETHER_REFUSED && by_handler.ended_once_on(0));
		MUST(posted == 0 ? note.ran_once_on(0) : posted == -ESRCH && note.came_back_once_to(0));
	}
};

/* It interrupts who hands an object off, or gets it. */
template <int who>
struct HandsOff : Handles {
	static constexpr int interrupted = who;
	tether_owner_t owner[2];
	Journey journey;

	void prepare(unsigned me)
	{
		travels = true;
		make(me, &home_type);
		owner[me] = tether_self();
	}
	void run(unsigned me)
	{
		if (me == 0)
			MUST(tether_hand_off(&conn[0].tag, owner[1], &journey.transfer) == 0);
		tether_drain(0);
	}
	void check()
	{
		check_handled();
		MUST(journey.ended_once(TETHER_RECEIVED, 1) && journey.was_mine);
	}
};

} // namespace

TEST(Signal, InterruptsWhoSends)
{
	explore<Sends>();
}

TEST(Signal, InterruptsWhoDrains)
{
	explore<Drains>();
}

TEST(Signal, InterruptsWhoParksAndWakesIt)
{
	explore<Parks>();
}

TEST(Signal, InterruptsAnOwnerThatEnds)
{
	explore<Ends>();
}

TEST(Signal, InterruptsWhoHandsOff)
{
	explore<HandsOff<0>>();
}

TEST(Signal, InterruptsWhoReceives)
{
	explore<HandsOff<1>>();
}
