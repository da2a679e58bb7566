/* fd.cc - descriptors are adopted, exchanged and closed by several, while their numbers are used again.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* A number as one life of it was opened, and what it was adopted as. */
struct File {
	int fd = -1;
	unsigned file = 0;
	uint64_t id = 0;
	int adopted = 1;

	void open()
	{
		fd = model_open();
		file = model_files(fd) - 1;
	}
	void adopt(tether_owner_t owner)
	{
		adopted = tether_fd_adopt(fd, owner, nullptr);
		id = tether_fd_id(fd);
	}
	void open_and_adopt()
	{
		open();
		adopt(tether_self());
		MUST(adopted == 0);
	}
	int close() const { return tether_fd_close(fd, id); }
	int closed_by() const { return model_closed_by(fd, file); }
	bool is_open() const { return closed_by() == MODEL_NOBODY; }
};

/* Thread 0 has one. What is closed counts as an object that ended. */
template <unsigned count>
struct Files : Scenario<count> {
	tether_owner_t owner[count];
	File first;

	void prepare(unsigned me)
	{
		owner[me] = tether_self();
		if (me == 0)
			first.open_and_adopt();
	}
	void check_closes(unsigned closes)
	{
		MUST(model_bad_closes() == 0);
		this->ended = closes;
	}
};

/* Who has closed a number finds it closed, before anybody is given it: all go well, also the first of all to adopt. */
struct UsedAgain : Scenario<2> {
	/* The type of all descriptors is known, by one that is far away. */
	void prepare(unsigned me) { MUST(tether_fd_adopt(10000 + (int)me, tether_self(), nullptr) == 0); }
	void run(unsigned me)
	{
		for (int i = me == 0 ? 2 : 1; i > 0; i--) {
			File file;
			file.open_and_adopt();
			MUST(tether_fd_owner(file.fd) == tether_self());
			MUST(file.close() == 0 && file.closed_by() == (int)me);
		}
	}
	void check()
	{
		ended = 3;
		MUST(reports() == 0 && model_bad_closes() == 0);
	}
};

/* Two close one life, and a third is given its number. */
struct ClosedByTwo : Files<3> {
	File next;
	int closed[2];

	void run(unsigned me)
	{
		if (me < 2)
			closed[me] = first.close();
		else
			next.open_and_adopt();
	}
	void finish(unsigned me)
	{
		tether_drain(0);
		if (me != 2 || tether_fd_owner(next.fd) == 0)
			return;
		MUST(next.is_open() && tether_fd_id(next.fd) == next.id && tether_fd_owner(next.fd) == owner[2]);
		MUST(next.close() == 0 && next.closed_by() == 2);
	}
	void check()
	{
		MUST(closed[0] == 0 ? closed[1] == -EBADF : closed[0] == -EBADF && closed[1] == -EINPROGRESS);
		MUST(reports() == (closed[0] == 0 ? 1 : 2));
		MUST(first.closed_by() == 0 && !next.is_open());
		check_closes(2);
	}
};

/* Two take it from its owner, who closes it. */
struct Taken : Files<3> {
	int taken[3];
	int closed;

	void run(unsigned me)
	{
		if (me == 0)
			closed = first.close();
		else
			taken[me] = tether_fd_exchange(first.fd, owner[0], owner[me]);
	}
	void check()
	{
		int to = taken[1] == 0 ? 1 : 2;

		MUST(taken[1] != 0 || taken[2] != 0);
		MUST(closed == 0 || (closed == -EINPROGRESS && taken[to] == 0));
		MUST(first.closed_by() == (closed == 0 ? 0 : to));
		check_closes(1);
	}
};

/* Its owner leaves it, and one takes it from nobody. */
struct Leaves : Files<3> {
	int left, taken;

	void leave_or_take(unsigned me)
	{
		if (me == 0)
			left = tether_fd_exchange(first.fd, owner[0], 0);
		else
			taken = tether_fd_exchange(first.fd, 0, owner[1]);
	}
};

/* And one takes it from its owner. */
struct Left : Leaves {
	int given;

	void run(unsigned me)
	{
		if (me < 2)
			leave_or_take(me);
		else
			given = tether_fd_exchange(first.fd, owner[0], owner[2]);
	}
	void check()
	{
		MUST(left != 0 || given != 0);
		MUST(taken != 0 || left == 0);
		MUST(tether_fd_owner(first.fd) == (given == 0 ? owner[2] : taken == 0 ? owner[1] : left == 0 ? 0 : owner[0]));
		check_closes(0);
	}
};

/* And one closes it, whosever it is. */
struct LeftAndClosed : Leaves {
	int closed;

	void run(unsigned me)
	{
		if (me < 2)
			leave_or_take(me);
		else
			closed = first.close();
	}
	void check()
	{
		MUST(closed == 0 ? first.closed_by() == 2 : closed == -EINPROGRESS && first.closed_by() < 2);
		MUST(first.closed_by() != 1 || taken == 0);
		check_closes(1);
	}
};

/* Its owner ends, one closes it, and one takes it. */
struct OwnerEnds : Files<3> {
	int closed, taken;

	void run(unsigned me)
	{
		if (me == 0)
			tether_owner_exit();
		else if (me == 1)
			closed = first.close();
		else
			taken = tether_fd_exchange(first.fd, owner[0], owner[2]);
	}
	void check()
	{
		MUST(closed == 0 || closed == -EINPROGRESS);
		MUST(first.closed_by() != (closed == 0 ? 0 : 1));
		MUST(first.closed_by() != 2 || taken == 0);
		check_closes(1);
	}
};

/* It was closed behind our back. Another is given its number, and adopts that while its owner closes it, or leaves it. */
template <bool closes>
struct Behind : Files<3> {
	File next;
	int ended_life = 1;

	void prepare(unsigned me)
	{
		Files::prepare(me);
		if (me == 2) {
			MUST(model_close(first.fd) == 0);
			next.open();
		}
	}
	void run(unsigned me)
	{
		if (me == 0)
			ended_life = closes ? first.close() : tether_fd_exchange(first.fd, owner[0], 0);
		else if (me == 1)
			(void)tether_fd_exchange(first.fd, owner[0], owner[1]);
		else
			next.adopt(owner[2]);
	}
	void check()
	{
		bool is_open = next.is_open();

		MUST(next.adopted == 0 || next.adopted == -EBUSY);
		MUST(is_open || (closes && (ended_life == 0 || ended_life == -EINPROGRESS)));
		MUST(is_open || next.adopted != 0 || reports(owner[2]) == 0); /* then it was closed before */
		if (is_open && next.adopted == 0)
			MUST(tether_fd_owner(next.fd) == owner[2] && tether_fd_id(next.fd) == next.id);
		check_closes(!is_open);
	}
};

/* No file is there, and so no close can be said to have gone well. */
struct Error : Files<2> {
	int closed[2];

	void prepare(unsigned me)
	{
		Files::prepare(me);
		if (me == 0)
			MUST(model_close(first.fd) == 0);
	}
	void run(unsigned me)
	{
		if (me == 1)
			(void)tether_fd_exchange(first.fd, owner[0], owner[1]);
		closed[me] = first.close();
	}
	void check()
	{
		MUST(closed[0] == -EBADF || closed[0] == -EINPROGRESS);
		MUST(closed[1] == -EBADF || closed[1] == -EINPROGRESS);
		MUST(model_bad_closes() == 1);
		ended = 1;
	}
};

/* Others adopt and close while one forks: the child may have both numbers, whatever they were at. */
struct Forks : Files<3> {
	File next;
	int closed = 1;

	void prepare(unsigned me)
	{
		Files::prepare(me);
		if (me == 2)
			next.open();
	}
	void child()
	{
		if (tether_fd_owner(first.fd) != 0)
			MUST(first.close() == 0);
		next.adopt(tether_self());
		MUST(next.adopted == 0);
		MUST(next.close() == 0 && next.closed_by() == 1);
		ended = (first.closed_by() == 1) + 1;
	}
	void run(unsigned me)
	{
		if (me == 0)
			closed = first.close();
		else if (me == 1)
			fork_to(this);
		else
			next.adopt(owner[2]);
	}
	void check()
	{
		MUST(closed == 0 && next.adopted == 0 && next.is_open() && reports() == 0);
		check_closes(1);
	}
};

} // namespace

TEST(Fd, NumberIsUsedAgainByWhoeverIsGivenIt)
{
	explore<UsedAgain>();
}

TEST(Fd, StaleCloseDoesNotCloseTheNumbersNextLife)
{
	explore<ClosedByTwo>();
}

TEST(Fd, OfTwoWhoTakeItOneGetsItAndItIsClosedOnce)
{
	explore<Taken>();
}

TEST(Fd, IsTakenFromNobodyOrFromItsOwner)
{
	explore<Left>();
}

TEST(Fd, WhatIsLeftAndClosedIsClosedOnce)
{
	explore<LeftAndClosed>();
}

TEST(Fd, OfAnOwnerThatEndsIsClosedOnce)
{
	explore<OwnerEnds>();
}

TEST(Fd, AdoptedAgainIsNotClosedByWhoeverHadIt)
{
	explore<Behind<true>>();
}

TEST(Fd, AdoptedAgainIsNotTakenByWhoeverHadIt)
{
	explore<Behind<false>>();
}

TEST(Fd, WhatTheKernelSaysIsToldToWhoClosesIt)
{
	explore<Error>();
}

TEST(Fd, ChildMayHaveWhatOthersWereAt)
{
	explore<Forks>();
}
