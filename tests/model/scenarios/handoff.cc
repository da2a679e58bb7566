/* handoff.cc - an object is handed off, dropped, and its owners end.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Thread 0 has it, and sends it to thread 1. */
struct Handed : Scenario<3> {
	tether_owner_t owner[3];
	Conn conn;
	Journey journey;
	int sent;
	enum tether_dropped dropped;

	void make(unsigned me, const struct tether_type *type)
	{
		travels = true;
		owner[me] = tether_self();
		if (me == 0)
			tether_bind(&conn.tag, type);
	}
	void send() { sent = tether_hand_off(&conn.tag, owner[1], &journey.transfer); }
	void drop() { dropped = tether_drop(&conn.tag); }
	/* A hand-off that did not happen has no end. */
	void check_refusal()
	{
		MUST(sent == -EINVAL && journey.arrivals == 0);
		MUST(dropped != TETHER_REFUSED);
	}
};

/* A drop by a third. */
struct Dropped : Handed {
	void prepare(unsigned me) { make(me, &home_type); }
	void run(unsigned me)
	{
		if (me == 0)
			send();
		else if (me == 2)
			drop();
		if (me < 2)
			tether_drain(0);
	}
	void check()
	{
		MUST(dropped == TETHER_QUEUED);
		if (sent == 0) {
			MUST(journey.ended_once(TETHER_RECEIVED, 1) || journey.ended_once(TETHER_ENDED_AWAY, 1));
			MUST(conn.ended_once_on(1));
		} else {
			check_refusal();
			MUST(conn.ended_once_on(0));
		}
		MUST(reports() == (sent != 0));
	}
};

/* Its receiver ends. */
template <bool is_dropped>
struct ReceiverEnds : Handed {
	bool is_ending = false;

	static void arrive(void *context)
	{
		ReceiverEnds *ends = static_cast<ReceiverEnds *>(context);

		MUST(ends->journey.how != TETHER_RECEIVED || !ends->is_ending);
	}
	void prepare(unsigned me)
	{
		make(me, &home_type);
		journey.at_arrival = arrive;
		journey.context = this;
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			send();
			tether_drain(0);
			break;
		case 1:
			tether_drain(0);
			is_ending = true;
			tether_owner_exit();
			break;
		default:
			if (is_dropped)
				drop();
		}
	}
	void finish(unsigned me)
	{
		if (me == 0)
			tether_drain(0);
		if (me == 0 && !is_dropped)
			MUST(tether_is_mine(&conn.tag) == !journey.ended_once(TETHER_RECEIVED, 1));
	}
	void check()
	{
		if (sent == 0)
			MUST(journey.arrivals == 1 && journey.how != TETHER_STRANDED);
		else
			MUST(journey.arrivals == 0);
		if (!is_dropped)
			MUST(conn.ends == 0 && reports() == 0 && (sent != 0 || journey.was_mine));
		else if (journey.ended_once(TETHER_RECEIVED, 1) && dropped == TETHER_ORPHANED)
			MUST(conn.was_leaked());
		else
			MUST(conn.ends == 1 && conn.ended_on < 2);
	}
};

/* Both end. */
struct BothEnd : Handed {
	void prepare(unsigned me) { make(me, &anywhere_type); }
	void run(unsigned me)
	{
		if (me == 2) {
			drop();
			return;
		}
		if (me == 0)
			send();
		tether_owner_exit();
	}
	void check()
	{
		if (sent == 0)
			MUST(journey.arrivals == 1);
		else
			MUST(journey.arrivals == 0);
		MUST(conn.ends == 1);
	}
};

/* From 0 to 1, and at once back, dropped by a third. */
struct ThereAndBack : Handed {
	int sent_back = 1;
	Journey second;

	static void send_back(void *context)
	{
		ThereAndBack *back = static_cast<ThereAndBack *>(context);

		if (back->journey.how == TETHER_RECEIVED)
			back->sent_back = tether_hand_off(&back->conn.tag, back->owner[0], &back->second.transfer);
	}
	void prepare(unsigned me)
	{
		make(me, &home_type);
		journey.at_arrival = send_back;
		journey.context = this;
	}
	void run(unsigned me)
	{
		if (me == 2) {
			drop();
			return;
		}
		if (me == 0)
			send();
		tether_drain(0);
	}
	void check()
	{
		MUST(dropped == TETHER_QUEUED);
		MUST(sent == 0 ? journey.arrivals == 1 : journey.arrivals == 0);
		MUST(sent_back == 0 ? second.arrivals == 1 : second.arrivals == 0);
		MUST(conn.ends == 1 && conn.ended_on < 2);
	}
};

/* From 0 to 1, and at once on to 2, dropped by who had it first. */
struct TwoLegs : Handed {
	int sent_on = 1;
	Journey second;

	static void send_on(void *context)
	{
		TwoLegs *legs = static_cast<TwoLegs *>(context);

		if (legs->journey.how == TETHER_RECEIVED)
			legs->sent_on = tether_hand_off(&legs->conn.tag, legs->owner[2], &legs->second.transfer);
	}
	void prepare(unsigned me)
	{
		make(me, &home_type);
		journey.at_arrival = send_on;
		journey.context = this;
	}
	void run(unsigned me)
	{
		if (me > 0) {
			tether_drain(0);
			return;
		}
		send();
		drop();
	}
	void check()
	{
		MUST(sent == 0 && dropped == TETHER_QUEUED && journey.arrivals == 1);
		if (sent_on == 0)
			MUST(second.arrivals == 1 && second.arrived_on == 2 && conn.ended_once_on(2));
		else
			MUST(second.arrivals == 0 && conn.ended_once_on(1));
	}
};

} // namespace

TEST(HandOff, DroppedMeanwhileEndsOnceWhereItIs)
{
	explore<Dropped>();
}

TEST(HandOff, ToAnOwnerThatEndsArrivesOrComesBack)
{
	explore<ReceiverEnds<false>>();
}

TEST(HandOff, DroppedOnItsWayToAnOwnerThatEndsHasOneEnd)
{
	explore<ReceiverEnds<true>>();
}

TEST(HandOff, BetweenTwoThatEndTakesTheOrphansWayOnce)
{
	explore<BothEnd>();
}

TEST(HandOff, ThereAndBackIsDroppedOnce)
{
	explore<ThereAndBack>();
}

TEST(HandOff, InTwoLegsIsFollowedByItsDrop)
{
	explore<TwoLegs>();
}
