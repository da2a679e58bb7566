/* fork.cc - a thread forks while others are in the middle of something: what is its own is whole in the child.
 * SPDX-License-Identifier: MIT
 *
 * Thread 0 forks. What another thread had not begun at that moment, or had done, is there; what it was just at may be
 * lost, and is never done twice. */
#include "../scenario.h"

namespace
{

const struct tether_type dying_type = TETHER_TYPE_AT("Conn", sizeof(Conn), offsetof(Conn, tag), conn_destroy, NULL, NULL, NULL,
                                                     TETHER_LEAK, TETHER_COUNT, TETHER_DIES_IN_CHILDREN);

/* How far a thread has got with something. */
enum progress { BEFORE, INSIDE, AFTER };

struct Forks : Scenario<3> {
	tether_owner_t owner[3];
	enum progress progress[3] = {};

	void make(unsigned me) { owner[me] = tether_self(); }
	template <typename Work>
	void at(unsigned me, Work work)
	{
		__atomic_store_n(&progress[me], INSIDE, __ATOMIC_RELAXED); /* a point: the fork may come between two of these */
		work();
		__atomic_store_n(&progress[me], AFTER, __ATOMIC_RELAXED);
	}
	/* In the child: what may have been dropped already, by who was so far with that. */
	static void drop_here(Conn *conn, enum progress progress)
	{
		enum tether_dropped dropped = TETHER_REFUSED;
		int ends = conn->ends;

		if (ends == 0)
			dropped = tether_drop(&conn->tag);
		MUST(dropped != TETHER_HERE || progress != AFTER);
		MUST(dropped == TETHER_HERE || progress != BEFORE);
		MUST(conn->ended_once_on(0) || (progress == INSIDE && conn->ends == 0));
	}
	/* The child's thread is as good as any: it binds, sends, drains, has other owners, and ends. */
	void live_on()
	{
		Conn conn[2];
		Note note;
		tether_owner_t made;

		MUST(tether_self() == owner[0]);
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
		MUST(tether_drop(&conn[0].tag) == TETHER_HERE);
		MUST(tether_drop_later(&conn[1].tag) == TETHER_QUEUED);
		MUST(tether_post(owner[0], &note.message) == 0);
		MUST(tether_drain(0) == 2);
		MUST(conn[1].ended_once_on(0) && note.ran_once_on(0));
		for (int i = 0; i < 3; i++) {
			MUST(tether_owner_create("the child's", &made) == 0);
			MUST(made != owner[0] && made != owner[1] && made != owner[2]);
			tether_owner_t before = tether_owner_enter(made);
			MUST(before == owner[0] && tether_drain(0) == 0);
			tether_owner_leave(before);
			MUST(tether_owner_end(made) == 0);
		}
		MUST(!tether_owner_is_alive(owner[1]) && !tether_owner_is_alive(owner[2]));
		tether_owner_exit();
		MUST(!tether_owner_is_alive(owner[0]));
	}
};

/* Others send to it. It has a descriptor. */
struct Sends : Forks {
	Conn conn[2];
	Note note;
	int fd;

	void prepare(unsigned me)
	{
		make(me);
		if (me > 0)
			return;
		for (Conn &one : conn)
			tether_bind(&one.tag, &home_type);
		fd = tether_fd();
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			fork_to(this);
			tether_drain(0);
			break;
		case 1:
			at(1, [this] { MUST(tether_drop(&conn[0].tag) == TETHER_QUEUED); });
			break;
		default:
			at(2, [this] { MUST(tether_post(owner[0], &note.message) == 0); });
		}
	}
	void child()
	{
		bool is_readable = model_fd_is_readable(fd);
		size_t drained = tether_drain(0);

		MUST(drained == 0 || is_readable);
		MUST(!model_fd_is_readable(fd) && tether_fd() == fd);
		drop_here(&conn[0], progress[1]);
		MUST(note.ran_once_on(0) || (progress[2] != AFTER && note.calls == 0));
		MUST(tether_drop(&conn[1].tag) == TETHER_HERE);
		live_on();
	}
	void check() { MUST(conn[0].ended_once_on(0) && note.ran_once_on(0)); }
};

/* Another drains what was sent to it, and ends or goes on. Only what its type wants is destroyed in its place, by the
 * child's owner or the first that it has. */
template <bool owner_ends, bool has_owner>
struct Drains : Forks {
	Conn dying[2], home;
	Note note;

	void prepare(unsigned me)
	{
		if (has_owner || me > 0)
			make(me);
		if (me == 1) {
			tether_bind(&home.tag, &home_type);
			for (Conn &one : dying)
				tether_bind(&one.tag, &dying_type);
		}
		if (me < 2)
			return;
		MUST(tether_drop(&home.tag) == TETHER_QUEUED);
		MUST(tether_drop(&dying[0].tag) == TETHER_QUEUED);
		MUST(tether_post(owner[1], &note.message) == 0);
		if (!owner_ends)
			MUST(tether_drop(&dying[1].tag) == TETHER_QUEUED);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			fork_to(this);
			break;
		case 1:
			at(1, [] {
				if (owner_ends)
					tether_owner_exit();
				else
					tether_drain(2);
			});
			if (!owner_ends)
				at(2, [] { tether_drain(0); });
			break;
		default:
			if (owner_ends)
				(void)tether_drop(&dying[1].tag);
		}
	}
	void check_dying(const Conn &conn, int ends, enum progress progress)
	{
		MUST(progress != BEFORE || ends == 0);
		MUST(progress != AFTER || ends == 1);
		MUST(conn.ends == 1 || (progress == INSIDE && conn.ends == 0));
		MUST(conn.ends == ends || conn.ended_on == 0);
	}
	void child()
	{
		owner[0] = tether_self();
		int of_home = home.ends, of_note = note.calls, of_dying[2] = {dying[0].ends, dying[1].ends};

		tether_drain(0);
		MUST(home.ends == of_home && note.calls == of_note);
		check_dying(dying[0], of_dying[0], progress[1]);
		if (!owner_ends)
			check_dying(dying[1], of_dying[1], progress[1] == AFTER ? progress[2] : progress[1] == INSIDE ? INSIDE : BEFORE);
		else
			MUST(dying[1].ends <= 1);
		live_on();
	}
	void check()
	{
		MUST(home.ended_once_on(1) && note.ran_once_on(1) && dying[0].ended_once_on(1));
		MUST(dying[1].ended_once_on(1) || (owner_ends && dying[1].was_leaked()));
	}
};

/* One object is on its way to another, who takes it and sends one of its own. */
struct HandsOff : Forks {
	Conn mine, its;
	Journey there, back;

	void prepare(unsigned me)
	{
		travels = true;
		make(me);
		if (me == 1)
			tether_bind(&its.tag, &home_type);
	}
	void send(Conn *conn, unsigned to, Journey *journey)
	{
		MUST(tether_hand_off(&conn->tag, owner[to], &journey->transfer) == 0);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			tether_bind(&mine.tag, &home_type);
			send(&mine, 1, &there);
			fork_to(this);
			break;
		case 1:
			at(1, [] { tether_drain(0); });
			at(2, [this] { send(&its, 0, &back); });
			break;
		default:
			break;
		}
	}
	void child()
	{
		bool had_arrived = there.arrivals == 1;

		tether_drain(0);
		MUST(there.arrivals <= 1 && back.arrivals <= 1);
		if (progress[1] == BEFORE)
			MUST(there.ended_once(TETHER_CAME_BACK, 0));
		if (had_arrived || there.arrivals == 0)
			MUST(progress[1] != BEFORE && !tether_is_mine(&mine.tag));
		else
			MUST(there.was_mine && tether_drop(&mine.tag) == TETHER_HERE);
		MUST(mine.ends == (there.ended_once(TETHER_CAME_BACK, 0) ? 1 : 0));
		if (progress[2] == AFTER)
			MUST(back.ended_once(TETHER_RECEIVED, 0));
		if (back.arrivals == 1)
			MUST(back.was_mine && tether_drop(&its.tag) == TETHER_HERE && its.ended_once_on(0));
		live_on();
	}
	void finish(unsigned) { tether_drain(0); }
	void check()
	{
		MUST(there.arrivals == 1 && back.arrivals == 1);
		MUST(reports() == 0);
	}
};

/* Another is inside of a logical owner, or has left it. */
struct Enters : Forks {
	tether_owner_t strand;
	Conn conn;

	void prepare(unsigned me)
	{
		make(me);
		if (me == 0) {
			MUST(tether_owner_create("strand", &strand) == 0);
			tether_owner_t before = tether_owner_enter(strand);
			tether_bind(&conn.tag, &dying_type);
			tether_owner_leave(before);
		} else if (me == 2) {
			MUST(tether_drop(&conn.tag) == TETHER_QUEUED);
		}
	}
	void run(unsigned me)
	{
		if (me == 0)
			fork_to(this);
		if (me != 1)
			return;
		at(1, [this] {
			tether_owner_t before = tether_owner_enter(strand);
			at(2, [] { tether_drain(0); });
			tether_owner_leave(before);
		});
	}
	void child()
	{
		int ends = conn.ends;
		tether_owner_t before = tether_owner_enter(strand);

		MUST(before != 0 || progress[1] == INSIDE);
		MUST(before == owner[0] || reports() == 1);
		MUST(before != 0 || !tether_owner_is_alive(strand));
		tether_drain(0);
		tether_owner_leave(before);
		if (before)
			MUST(tether_owner_end(strand) == 0);
		tether_drain(0); /* what its type wants, of a strand that is lost */
		MUST(conn.ends == 1 || progress[2] == INSIDE);
		MUST(conn.ends == ends || (ends == 0 && conn.ended_on == 0));
		live_on();
	}
	void check() { MUST(conn.ended_once_on(1) && reports() == 0); }
};

/* What it lent comes home, dropped or not. */
struct Lent : Forks {
	Conn conn;
	bool has_lent = false;

	void prepare(unsigned me)
	{
		make(me);
		if (me == 0)
			tether_bind(&conn.tag, &home_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			MUST(tether_lend(&conn.tag, owner[1]) == 0);
			has_lent = true;
			fork_to(this);
			tether_drain(0);
			break;
		case 1:
			wait_until([this] { return has_lent; });
			at(1, [this] { MUST(tether_return(&conn.tag) == 0); });
			break;
		default:
			wait_until([this] { return has_lent; });
			at(2, [this] { MUST(tether_drop(&conn.tag) == TETHER_QUEUED); });
		}
	}
	void child()
	{
		tether_drain(0);
		/* Just being returned it may be nobody's for ever. */
		if (progress[1] != INSIDE || conn.ends > 0)
			drop_here(&conn, progress[2]);
		live_on();
	}
	void check() { MUST(conn.ended_once_on(0) && reports() == 0); }
};

} // namespace

TEST(Fork, WhatOthersSendIsThereOrWasNotSent)
{
	explore<Sends>();
}

TEST(Fork, WhatAnotherWasAboutToRunIsDestroyedOnceIfItsTypeSaysSo)
{
	explore<Drains<false, true>>();
}

TEST(Fork, WhatAnotherWasAboutToRunWaitsForTheFirstOwner)
{
	explore<Drains<false, false>>();
}

TEST(Fork, WhatIsSentToAnOwnerThatEndsIsDestroyedOnceOrForgotten)
{
	explore<Drains<true, true>>();
}

TEST(Fork, WhatIsOnItsWayArrivesOrComesBack)
{
	explore<HandsOff>();
}

TEST(Fork, LogicalOwnerThatNobodyIsInsideLivesOn)
{
	explore<Enters>();
}

TEST(Fork, WhatIsLentComesHome)
{
	explore<Lent>();
}
