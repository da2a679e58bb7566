/* exit.cc - owners end while others send to them.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Sent home, or found to be an orphan: what the drop said is what became of it. */
void check_drop(const Conn &conn, enum tether_dropped dropped, bool anywhere, int home, int dropper)
{
	if (dropped == TETHER_QUEUED)
		MUST(conn.ended_once_on(home));
	else if (anywhere)
		MUST(dropped == TETHER_ORPHANED && conn.ended_once_on(dropper));
	else
		MUST(dropped == TETHER_ORPHANED && conn.was_leaked());
}

void check_post(const Note &note, int error, int home, int poster)
{
	if (error == 0)
		MUST(note.ran_once_on(home));
	else
		MUST(error == -ESRCH && note.came_back_once_to(poster));
}

/* An owner ends, by a call or with its thread. */
template <bool with_its_thread>
struct Exit : Scenario<3> {
	tether_owner_t home;
	Conn conn[3];
	Note note;
	enum tether_dropped dropped[3];
	int posted;

	void prepare(unsigned me)
	{
		if (me == 1)
			tether_self();
		if (me > 0)
			return;
		home = tether_self();
		tether_bind(&conn[0].tag, &home_type);
		tether_bind(&conn[1].tag, &anywhere_type);
		tether_bind(&conn[2].tag, &anywhere_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			if (with_its_thread)
				model_thread_exit();
			else
				tether_owner_exit();
			MUST(!tether_owner_is_alive(home));
			break;
		case 1:
			dropped[0] = tether_drop(&conn[0].tag);
			posted = tether_post(home, &note.message);
			break;
		default:
			dropped[1] = tether_drop(&conn[1].tag);
			dropped[2] = tether_drop(&conn[2].tag);
		}
	}
	void check()
	{
		check_drop(conn[0], dropped[0], false, 0, 1);
		check_post(note, posted, 0, 1);
		check_drop(conn[1], dropped[1], true, 0, 2);
		check_drop(conn[2], dropped[2], true, 0, 2);
		MUST(reports() == conn[0].was_leaked());
	}
};

/* A wake-up on its way is waited for, and comes before the descriptor is closed. */
struct DescriptorIsClosed : Scenario<3> {
	Conn conn[2];

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		for (Conn &one : conn)
			tether_bind(&one.tag, &anywhere_type);
		tether_fd();
	}
	void run(unsigned me)
	{
		if (me == 0)
			tether_owner_exit();
		else
			(void)tether_drop(&conn[me - 1].tag);
	}
	void check()
	{
		for (int i = 0; i < 2; i++)
			MUST(conn[i].ended_once_on(0) || conn[i].ended_once_on(i + 1));
	}
};

/* Two end at once, and send to each other, from their destructors too. */
struct Mutual : Scenario<2> {
	tether_owner_t owner[2];
	Conn first[2], second[2]; /* [whose] */
	Note note[2];             /* [who posts] */
	enum tether_dropped dropped[2];
	int posted[2];

	static void drop_second(void *conn)
	{
		enum tether_dropped dropped = tether_drop(&static_cast<Conn *>(conn)->tag);

		MUST(dropped == TETHER_QUEUED);
	}
	void prepare(unsigned me)
	{
		owner[me] = tether_self();
		tether_bind(&first[me].tag, &anywhere_type);
		tether_bind(&second[me].tag, &anywhere_type);
		first[me].at_end = drop_second;
		first[me].context = &second[1 - me];
	}
	void run(unsigned me)
	{
		dropped[me] = tether_drop(&first[1 - me].tag);
		posted[me] = tether_post(owner[1 - me], &note[me].message);
		tether_owner_exit();
	}
	void check()
	{
		for (int me = 0; me < 2; me++) {
			check_drop(first[1 - me], dropped[me], true, 1 - me, me);
			check_post(note[me], posted[me], 1 - me, me);
			MUST(second[me].ends == 1);
		}
	}
};

/* An orphan goes to its heir, who may end as well. */
struct Heir : Scenario<3> {
	tether_owner_t sender;
	Conn conn[2];
	enum tether_dropped dropped[2];
	static tether_owner_t heir;
	static const struct tether_type type;

	void prepare(unsigned me)
	{
		tether_owner_t self = tether_self();

		for (Conn &one : conn)
			if (me == 0)
				tether_bind(&one.tag, &type);
		if (me == 1)
			sender = self;
		if (me == 2)
			__atomic_store_n(&heir, self, __ATOMIC_RELEASE);
	}
	void run(unsigned me)
	{
		if (me == 0)
			tether_owner_exit();
		for (int i = 0; me == 1 && i < 2; i++)
			dropped[i] = tether_drop(&conn[i].tag);
		if (me == 2) {
			tether_drain(0);
			tether_owner_exit();
		}
	}
	void check()
	{
		uint64_t leaked = 0;

		for (int i = 0; i < 2; i++) {
			leaked += conn[i].was_leaked();
			MUST(conn[i].was_leaked() || conn[i].ended_once_on(dropped[i] == TETHER_QUEUED ? 0 : 2));
		}
		/* What the heir gets is not an orphan again: who finds that it has gone leaks it. */
		MUST(reports(sender) == leaked && reports() == leaked);
	}
};
tether_owner_t Heir::heir;
const struct tether_type Heir::type = TETHER_TYPE_HEIR(Conn, tag, conn_destroy, &heir, TETHER_COUNT);

} // namespace

TEST(Exit, WhatIsSentToAnOwnerThatEndsHasOneFate)
{
	explore<Exit<false>>();
}

TEST(Exit, WhatIsSentToAThreadThatEndsHasOneFate)
{
	explore<Exit<true>>();
}

TEST(Exit, DescriptorIsClosedAfterTheLastWakeUp)
{
	explore<DescriptorIsClosed>();
}

TEST(Exit, TwoOwnersThatSendToEachOtherEnd)
{
	explore<Mutual>();
}

TEST(Exit, OrphansGoToTheirHeirOrAreLeaked)
{
	explore<Heir>();
}
