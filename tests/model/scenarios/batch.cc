/* batch.cc - what is collected is published while its owner takes, sleeps or ends.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

constexpr int count = 3;

/* Drop all of them into the thread's batch, and end that. */
template <size_t n>
void end_with(Conn (&conn)[n])
{
	for (Conn &one : conn)
		MUST(tether_drop(&one.tag) == TETHER_BATCHED);
	tether_batch_end();
}

/* Thread 1 has a batch, thread 2 sends one by one, to one owner who takes meanwhile. */
struct Order : Scenario<3> {
	tether_owner_t home;
	Conn conn[count], other;
	Note note;

	void prepare(unsigned me)
	{
		if (me == 1)
			MUST(tether_batch_begin() == 0);
		if (me > 0)
			return;
		home = tether_self();
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
		tether_bind(&other.tag, &home_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			tether_drain(1);
			tether_drain(0);
			break;
		case 1:
			MUST(tether_drop(&conn[0].tag) == TETHER_BATCHED);
			MUST(tether_drop(&conn[1].tag) == TETHER_BATCHED);
			MUST(tether_post(home, &note.message) == 0);
			MUST(tether_drop(&conn[2].tag) == TETHER_BATCHED);
			tether_batch_end();
			break;
		default:
			MUST(tether_drop(&other.tag) == TETHER_QUEUED);
		}
	}
	void check()
	{
		for (const Conn &one : conn)
			MUST(one.ended_once_on(0));
		MUST(other.ended_once_on(0) && note.ran_once_on(0));
		MUST(conn[0].order < conn[1].order && conn[1].order < note.order && note.order < conn[2].order);
	}
};

/* An owner that parks is woken by a bundle once. */
struct Sleep : Scenario<2> {
	Conn conn[count];
	int wakes = 0, sleeps = 0, handled = 0;

	static void wake(void *context) { __atomic_fetch_add(&static_cast<Sleep *>(context)->wakes, 1, __ATOMIC_RELAXED); }
	void prepare(unsigned me)
	{
		if (me == 1)
			MUST(tether_batch_begin() == 0);
		if (me > 0)
			return;
		MUST(tether_set_wake(wake, this) == 0);
		(void)tether_park();
		tether_unpark();
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 1) {
			end_with(conn);
			return;
		}
		while (handled < count) {
			if (tether_park()) {
				sleeps++;
				wait_until([this] { return wakes == sleeps; });
			}
			tether_unpark();
			handled += (int)tether_drain(0);
		}
	}
	void check()
	{
		for (const Conn &one : conn)
			MUST(one.ended_once_on(0));
		MUST(wakes == sleeps && sleeps <= 1); /* all came at once */
	}
};

/* An owner ends while what goes to it is collected, marked or published. */
struct Exit : Scenario<3> {
	Conn conn[2], other;

	void prepare(unsigned me)
	{
		if (me == 1)
			MUST(tether_batch_begin() == 0);
		if (me > 0)
			return;
		tether_self();
		for (Conn &one : conn)
			tether_bind(&one.tag, &anywhere_type);
		tether_bind(&other.tag, &anywhere_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			tether_owner_exit();
			break;
		case 1:
			end_with(conn);
			break;
		default:
			(void)tether_drop(&other.tag);
		}
	}
	void check()
	{
		for (const Conn &one : conn)
			MUST(one.ended_once_on(conn[0].ended_on) && one.ended_on != 2);
		MUST(other.ended_once_on(0) || other.ended_once_on(2));
		MUST(conn[0].order < conn[1].order);
	}
};

/* What is collected by one is dropped by another. */
struct Twice : Scenario<3> {
	Conn conn;

	void prepare(unsigned me)
	{
		if (me == 1)
			MUST(tether_batch_begin() == 0);
		if (me == 0)
			tether_bind(&conn.tag, &home_type);
	}
	void run(unsigned me)
	{
		if (me == 0)
			tether_drain(0);
		else
			(void)tether_drop(&conn.tag);
		if (me == 1)
			tether_batch_end();
	}
	void check()
	{
		MUST(conn.ended_once_on(0));
		MUST(reports() == 1);
	}
};

/* The second of what is to go to one owner is handed to another, and may be that one's with the same word again. */
struct Handed : Scenario<3> {
	tether_owner_t owner[3];
	Conn conn[2];
	Journey journey;
	int sent;

	void prepare(unsigned me)
	{
		travels = true;
		owner[me] = tether_self();
		if (me == 1)
			MUST(tether_batch_begin() == 0);
		for (int i = 0; me == 0 && i < 2; i++)
			tether_bind(&conn[i].tag, &home_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			sent = tether_hand_off(&conn[1].tag, owner[2], &journey.transfer);
			break;
		case 1:
			end_with(conn);
			break;
		default:
			tether_drain(0);
		}
	}
	void check()
	{
		MUST(conn[0].ended_once_on(0));
		MUST(conn[1].ended_once_on(sent == 0 ? 2 : 0));
		MUST(journey.arrivals == (sent == 0) && reports() == (sent != 0));
	}
};

/* A handler interrupts who collects, and publishes: wherever it comes, nothing is lost, and the order stays. */
struct Handled : Scenario<2> {
	static constexpr int interrupted = 1;

	tether_owner_t home;
	Conn conn[count], mine, by_handler;
	Note note;
	bool has_come = false;

	void prepare(unsigned me)
	{
		if (me == 1) {
			MUST(tether_batch_begin() == 0);
			tether_bind(&mine.tag, &home_type);
			return;
		}
		home = tether_self();
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
		tether_bind(&by_handler.tag, &home_type);
	}
	void handle()
	{
		has_come = true;
		MUST(tether_drop_later(&by_handler.tag) == TETHER_QUEUED);
		MUST(tether_post(home, &note.message) == 0);
	}
	void run(unsigned me)
	{
		if (me == 0) {
			tether_drain(0);
			return;
		}
		for (Conn &one : conn)
			MUST(tether_drop(&one.tag) == TETHER_BATCHED);
		MUST(tether_drop(&mine.tag) == TETHER_BATCHED);
		tether_batch_end();
		MUST(mine.ended_once_on(1));
	}
	void check()
	{
		for (const Conn &one : conn)
			MUST(one.ended_once_on(0));
		MUST(conn[0].order < conn[1].order && conn[1].order < conn[2].order);
		if (has_come)
			MUST(by_handler.ended_once_on(0) && note.ran_once_on(0) && by_handler.order < note.order);
		MUST(reports() == 0);
	}
};

} // namespace

TEST(Batch, IsWholeWhereverAHandlerComes)
{
	explore<Handled>();
}

TEST(Batch, ArrivesInTheOrderOfItsSender)
{
	explore<Order>();
}

TEST(Batch, WakesAnOwnerThatSleepsOnce)
{
	explore<Sleep>();
}

TEST(Batch, ToAnOwnerThatEndsIsRunOnce)
{
	explore<Exit>();
}

TEST(Batch, OfWhatIsHandedOffMeanwhileEndsWhereItIs)
{
	explore<Handed>();
}

TEST(Batch, DroppedByAnotherMeanwhileEndsOnce)
{
	explore<Twice>();
}
