/* move_test.cc - objects that change hands: hand-off, give, unbind, lend, share.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <tuple>

namespace
{

const tether_type unsendable_type = TETHER_TYPE_RULES(Thing, tether, thing_destroy, TETHER_UNSENDABLE);
const tether_type homing_type = TETHER_TYPE_RULES(Thing, tether, thing_destroy, TETHER_DIES_AT_HOME);

/* A hand-off that tells how it ended. */
struct Journey {
	struct tether_transfer transfer;
	std::atomic<int> arrivals{0};
	std::atomic<enum tether_arrival> arrival{TETHER_RECEIVED};
	std::atomic<pthread_t> arrived_on{0};
	bool was_mine = false;
	std::function<void(struct tether *)> at_arrival = [](struct tether *) {};

	Journey() { tether_transfer_init(&transfer, arrived); }

	static void arrived(struct tether_transfer *transfer, struct tether *tag, enum tether_arrival how)
	{
		Journey *journey = reinterpret_cast<Journey *>(transfer); /* its first member */

		journey->arrival = how;
		journey->arrived_on = pthread_self();
		journey->arrivals++;
		if (how == TETHER_RECEIVED || how == TETHER_CAME_BACK)
			journey->was_mine = tether_is_mine(tag);
		journey->at_arrival(tag);
	}
	bool ended_once(enum tether_arrival how, pthread_t thread) const
	{
		return arrivals == 1 && arrival == how && pthread_equal(arrived_on, thread);
	}
};

class Moves : public Quiet
{
protected:
	void bind_at_home(const tether_type *type = &thing_type)
	{
		home.run([&] { tether_bind(&thing.tether, type); });
	}
	bool is_mine_on(Thread &thread)
	{
		bool is_mine = false;

		thread.run([&] { is_mine = tether_is_mine(&thing.tether); });
		return is_mine;
	}
	int hand_off(tether_owner_t to)
	{
		int error = 1;

		home.run([&] { error = tether_hand_off(&thing.tether, to, &journey.transfer); });
		return error;
	}
	void drain(Thread &thread)
	{
		thread.run([] { tether_drain(0); });
	}

	Thing thing;
	Journey journey;
	Thread home, other, third;
};

class HandOff : public Moves
{
};

TEST_F(HandOff, MakesTheReceiverTheOwner)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	EXPECT_EQ(journey.arrivals, 0);
	EXPECT_FALSE(is_mine_on(home));
	EXPECT_FALSE(is_mine_on(other));
	drain(other);
	EXPECT_TRUE(journey.ended_once(TETHER_RECEIVED, other.id()));
	EXPECT_TRUE(journey.was_mine);
	EXPECT_TRUE(is_mine_on(other));
	EXPECT_FALSE(is_mine_on(home));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	drain(home);
	EXPECT_EQ(thing.ends, 0);
	drain(other);
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(HandOff, ToItselfComesByItsInbox)
{
	bind_at_home();
	EXPECT_EQ(hand_off(home.owner()), 0);
	EXPECT_FALSE(is_mine_on(home));
	drain(home);
	EXPECT_TRUE(journey.ended_once(TETHER_RECEIVED, home.id()));
	EXPECT_TRUE(is_mine_on(home));
	home.run([&] { tether_drop(&thing.tether); });
	EXPECT_TRUE(thing.ended_once_on(home.id()));
}

TEST_F(HandOff, KeepsTheOrderOfWhatItsSenderSends)
{
	std::vector<int> order;
	Thing before([&] { order.push_back(1); });
	Note after([&] { order.push_back(3); });
	tether_owner_t to = other.owner();

	other.run([&] { tether_bind(&before.tether, &thing_type); });
	bind_at_home();
	journey.at_arrival = [&](struct tether *) { order.push_back(2); };
	home.run([&] {
		tether_drop(&before.tether);
		EXPECT_EQ(tether_hand_off(&thing.tether, to, &journey.transfer), 0);
		EXPECT_EQ(tether_post(to, &after.message), 0);
	});
	drain(other);
	EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
	other.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, TouchedOnItsWayTellsWhoSentItToWhom)
{
	tether_owner_t from = home.owner(), to = other.owner();

	bind_at_home();
	EXPECT_EQ(hand_off(to), 0);
	home.run([&] { EXPECT_FALSE(TETHER_ENSURE(&thing.tether)); });
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_IN_TRANSIT);
	EXPECT_EQ(caught[0].report.owner, from);
	EXPECT_EQ(caught[0].report.other, to);
	EXPECT_EQ(caught[0].report.other_number, tether_owner_number(to));
	EXPECT_NE(caught[0].text.find("It is on its way to '"), std::string::npos) << caught[0].text;
	drain(other);
	other.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, DroppedOnItsWayEndsWhereItArrives)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	third.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	EXPECT_EQ(thing.ends, 0);
	int ends_at_arrival = -1;
	journey.at_arrival = [&](struct tether *) { ends_at_arrival = thing.ends; };
	drain(other);
	EXPECT_TRUE(journey.ended_once(TETHER_ENDED_AWAY, other.id()));
	EXPECT_EQ(ends_at_arrival, 0) << "the transfer may lie in the object";
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(HandOff, DroppedTwiceOnItsWayIsReported)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
	drain(other);
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

/* As callbacks written in C++ may throw. */
TEST_F(HandOff, DroppedOnItsWayEndsThoughTheArrivalThrows)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	journey.at_arrival = [](struct tether *) { throw std::runtime_error("arrived"); };
	other.run([] { EXPECT_THROW(tether_drain(0), std::runtime_error); });
	EXPECT_TRUE(journey.ended_once(TETHER_ENDED_AWAY, other.id()));
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(HandOff, OfAnOrphanAppliesItsPolicyThoughTheArrivalThrows)
{
	bind_at_home(&anywhere_type);
	EXPECT_EQ(hand_off(other.owner()), 0);
	home.end();
	journey.at_arrival = [](struct tether *) { throw std::runtime_error("stranded"); };
	other.run([] { EXPECT_THROW(tether_owner_exit(), std::runtime_error); });
	EXPECT_TRUE(journey.ended_once(TETHER_STRANDED, other.id()));
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(HandOff, ToWhoHasGoneLeavesItWithTheSender)
{
	tether_owner_t to = other.owner();

	bind_at_home();
	other.end();
	EXPECT_EQ(hand_off(to), -ESRCH);
	EXPECT_EQ(journey.arrivals, 0);
	EXPECT_TRUE(is_mine_on(home));
	EXPECT_EQ(hand_off(third.owner()), 0) << "the transfer is free again";
	drain(third);
	third.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, ReceiverThatEndsSendsItBack)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	other.end();
	EXPECT_EQ(journey.arrivals, 0);
	drain(home);
	EXPECT_TRUE(journey.ended_once(TETHER_CAME_BACK, home.id()));
	EXPECT_TRUE(journey.was_mine);
	home.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

TEST_F(HandOff, DroppedOnItsWayBackEndsAtTheSender)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	other.end();
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	drain(home);
	EXPECT_TRUE(journey.ended_once(TETHER_ENDED_AWAY, home.id()));
	EXPECT_TRUE(thing.ended_once_on(home.id()));
}

TEST_F(HandOff, WhoseSenderAndReceiverHaveGoneIsAnOrphan)
{
	bind_at_home(&anywhere_type);
	EXPECT_EQ(hand_off(other.owner()), 0);
	home.end();
	pthread_t finder = other.id();
	int ends_at_arrival = -1;
	journey.at_arrival = [&](struct tether *) { ends_at_arrival = thing.ends; };
	other.end();
	EXPECT_TRUE(journey.ended_once(TETHER_STRANDED, finder));
	EXPECT_EQ(ends_at_arrival, 0);
	EXPECT_TRUE(thing.ended_once_on(finder));
}

TEST_F(HandOff, OrphanOfALeakingTypeIsReported)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	home.end();
	other.end();
	EXPECT_EQ(journey.arrival, TETHER_STRANDED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	EXPECT_EQ(thing.ends, 0);
}

TEST_F(HandOff, OrphanGoesToTheHeir)
{
	thing_heir = third.owner();
	bind_at_home(&heir_type);
	EXPECT_EQ(hand_off(other.owner()), 0);
	home.end();
	other.end();
	EXPECT_EQ(journey.arrivals, 1);
	drain(third);
	EXPECT_TRUE(thing.ended_once_on(third.id()));
}

TEST_F(HandOff, SenderThatHasGoneIsNotMissed)
{
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	home.end();
	drain(other);
	EXPECT_TRUE(journey.ended_once(TETHER_RECEIVED, other.id()));
	other.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

TEST_F(HandOff, GoesOnFromWithinItsArrival)
{
	tether_owner_t last = third.owner();

	bind_at_home();
	journey.at_arrival = [&](struct tether *tag) {
		if (tether_self() != last) {
			EXPECT_EQ(tether_hand_off(tag, last, &journey.transfer), 0);
		}
	};
	EXPECT_EQ(hand_off(other.owner()), 0);
	drain(other);
	drain(third);
	EXPECT_EQ(journey.arrivals, 2);
	EXPECT_TRUE(is_mine_on(third));
	third.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, TransferInTheObjectMayEndWithIt)
{
	struct Conn {
		struct tether tether;
		struct tether_transfer transfer;
		std::atomic<int> *ends;
	};
	static const tether_type conn_type = TETHER_TYPE(Conn, tether, [](void *object) {
		Conn *conn = static_cast<Conn *>(object);
		++*conn->ends;
		delete conn;
	});
	std::atomic<int> ends{0};
	tether_owner_t to = other.owner();

	home.run([&] {
		Conn *conn = new Conn{};
		conn->ends = &ends;
		tether_bind(&conn->tether, &conn_type);
		tether_transfer_init(&conn->transfer, [](struct tether_transfer *, struct tether *tag, enum tether_arrival how) {
			EXPECT_EQ(how, TETHER_RECEIVED);
			EXPECT_EQ(tether_drop(tag), TETHER_HERE);
		});
		EXPECT_EQ(tether_hand_off(&conn->tether, to, &conn->transfer), 0);
	});
	drain(other);
	EXPECT_EQ(ends, 1);
}

TEST_F(HandOff, TransferThatIsOnItsWayIsRefused)
{
	Thing second;
	tether_owner_t to = other.owner();

	bind_at_home();
	EXPECT_EQ(hand_off(to), 0);
	home.run([&] {
		tether_bind(&second.tether, &thing_type);
		EXPECT_EQ(tether_hand_off(&second.tether, to, &journey.transfer), -EALREADY);
		EXPECT_TRUE(tether_is_mine(&second.tether));
		tether_drop(&second.tether);
	});
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_POST});
	drain(other);
	EXPECT_EQ(journey.arrivals, 1);
	other.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, ToWhatIsNoOwnerIsReported)
{
	bind_at_home();
	EXPECT_EQ(hand_off(12345), -EINVAL);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
	EXPECT_TRUE(is_mine_on(home));
	home.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, IsInTheHistory)
{
	tether_set_option("history", "1");
	bind_at_home();
	EXPECT_EQ(hand_off(other.owner()), 0);
	drain(other);
	std::vector<enum tether_event_kind> kinds;
	tether_set_report_callback(
		[](const struct tether_report *report, void *context) {
			for (size_t i = 0; i < report->history_count; i++)
				static_cast<decltype(kinds) *>(context)->push_back(report->history[i].kind);
		},
		&kinds);
	home.run([&] { EXPECT_FALSE(TETHER_ENSURE(&thing.tether)); });
	tether_set_report_callback(nullptr, nullptr);
	EXPECT_EQ(kinds, (decltype(kinds){TETHER_EVENT_RECEIVED, TETHER_EVENT_HANDED_OFF, TETHER_EVENT_BOUND}));
	tether_set_option("history", "0");
	other.run([&] { tether_drop(&thing.tether); });
}

TEST_F(HandOff, CountersAgreeWhateverItsEnd)
{
	tether_owner_t to = other.owner();

	bind_at_home();
	EXPECT_EQ(hand_off(to), 0);
	third.run([&] { tether_drop(&thing.tether); });
	drain(other);
	Thing again;
	home.run([&] {
		tether_bind(&again.tether, &anywhere_type);
		EXPECT_EQ(tether_hand_off(&again.tether, to, &journey.transfer), 0);
	});
	home.end();
	other.end();
	struct tether_counters total = stats();
	EXPECT_EQ(total.pending, 0U);
	EXPECT_EQ(total.queued, total.run_home + total.orphaned);
	EXPECT_EQ(total.sent, total.queued);
}

/* ---- give ------------------------------------------------------------------------------------ */

class Give : public Moves
{
};

TEST_F(Give, ChangesTheOwnerAtOnce)
{
	tether_owner_t from = home.owner(), to = other.owner();

	bind_at_home();
	home.run([&] { EXPECT_EQ(tether_give(&thing.tether, from, to), 0); });
	EXPECT_TRUE(is_mine_on(other));
	EXPECT_FALSE(is_mine_on(home));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	drain(other);
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(Give, StealsFromAnother)
{
	tether_owner_t from = home.owner();

	bind_at_home();
	other.run([&] { EXPECT_EQ(tether_give(&thing.tether, from, tether_self()), 0); });
	third.run([&] { EXPECT_EQ(tether_give(&thing.tether, from, tether_self()), -EAGAIN); });
	EXPECT_TRUE(is_mine_on(other));
	other.run([&] { tether_drop(&thing.tether); });
}

TEST_F(Give, OneOfManyThievesWins)
{
	const size_t rounds = scaled(2000), thieves = 3;
	tether_owner_t from = tether_self();

	for (size_t round = 0; round < rounds; round++) {
		Thing stolen;
		std::atomic<size_t> arrived{0};
		std::atomic<int> winners{0};
		std::vector<std::thread> threads;

		tether_bind(&stolen.tether, &thing_type);
		for (size_t i = 0; i < thieves; i++)
			threads.emplace_back([&] {
				tether_owner_t self = tether_self();
				meet(arrived, thieves);
				if (tether_give(&stolen.tether, from, self) == 0) {
					winners++;
					EXPECT_EQ(tether_drop(&stolen.tether), TETHER_HERE);
				}
			});
		for (std::thread &thread : threads)
			thread.join();
		ASSERT_EQ(winners, 1);
		ASSERT_EQ(stolen.ends, 1);
		/* A thief that is late finds it dropped, or a dead owner's. */
		for (enum tether_kind kind : reports.take_kinds()) {
			ASSERT_EQ(kind, TETHER_USE_AFTER_DROP);
		}
	}
}

TEST_F(Give, ToWhoHasGoneChangesNothing)
{
	tether_owner_t from = home.owner(), to = other.owner();

	bind_at_home();
	other.end();
	home.run([&] { EXPECT_EQ(tether_give(&thing.tether, from, to), -ESRCH); });
	EXPECT_TRUE(is_mine_on(home));
	home.run([&] { tether_drop(&thing.tether); });
}

/* ---- unbind ---------------------------------------------------------------------------------- */

class Unbind : public Moves
{
};

TEST_F(Unbind, LeavesItToWhoClaimsIt)
{
	bind_at_home();
	home.run([&] { EXPECT_EQ(tether_unbind(&thing.tether), 0); });
	EXPECT_FALSE(is_mine_on(home));
	other.run([&] { EXPECT_TRUE(tether_claim(&thing.tether)); });
	home.run([&] { EXPECT_FALSE(tether_claim(&thing.tether)); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	drain(other);
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(Unbind, DroppedByAnyoneEndsThere)
{
	bind_at_home();
	home.run([&] { EXPECT_EQ(tether_unbind(&thing.tether), 0); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Unbind, OneOfManyClaimsWins)
{
	const size_t rounds = scaled(2000);

	for (size_t round = 0; round < rounds; round++) {
		Thing left;
		std::atomic<size_t> arrived{0};
		std::atomic<int> winners{0};
		std::vector<std::thread> threads;

		tether_bind(&left.tether, &thing_type);
		for (int i = 0; i < 2; i++)
			threads.emplace_back([&] {
				(void)tether_self();
				meet(arrived, 3);
				if (tether_claim(&left.tether)) {
					winners++;
					EXPECT_EQ(tether_drop(&left.tether), TETHER_HERE);
				}
			});
		meet(arrived, 3);
		ASSERT_EQ(tether_unbind(&left.tether), 0);
		for (std::thread &thread : threads)
			thread.join();
		if (winners == 0) {
			ASSERT_TRUE(tether_claim(&left.tether)) << "both came too early";
			tether_drop(&left.tether);
		} else {
			ASSERT_EQ(winners, 1);
		}
		ASSERT_EQ(left.ends, 1);
		for (enum tether_kind kind : reports.take_kinds()) {
			ASSERT_EQ(kind, TETHER_USE_AFTER_DROP) << "a claim that came after the drop";
		}
	}
}

/* ---- lend ------------------------------------------------------------------------------------ */

class Lend : public Moves
{
protected:
	void lend_to_other()
	{
		tether_owner_t to = other.owner();

		bind_at_home();
		home.run([&] { ASSERT_EQ(tether_lend(&thing.tether, to), 0); });
	}
	void give_back()
	{
		other.run([&] { EXPECT_EQ(tether_return(&thing.tether), 0); });
	}
};

TEST_F(Lend, BorrowerPassesAndLenderDoesNotUntilItReturns)
{
	lend_to_other();
	EXPECT_TRUE(is_mine_on(other));
	EXPECT_FALSE(is_mine_on(home));
	EXPECT_FALSE(is_mine_on(third));
	give_back();
	EXPECT_FALSE(is_mine_on(other));
	EXPECT_TRUE(is_mine_on(home));
	home.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

TEST_F(Lend, LendersUseTellsWhoHasIt)
{
	tether_owner_t borrower = other.owner(), lender = home.owner();

	lend_to_other();
	home.run([&] { EXPECT_FALSE(TETHER_ENSURE(&thing.tether)); });
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_LENT_USE);
	EXPECT_EQ(caught[0].report.owner, lender);
	EXPECT_EQ(caught[0].report.other, borrower);
	third.run([&] { EXPECT_FALSE(TETHER_ENSURE(&thing.tether)); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	give_back();
	home.run([&] { tether_drop(&thing.tether); });
}

TEST_F(Lend, DroppedMeanwhileEndsAtHomeAfterTheReturn)
{
	for (Thread *dropper : {&home, &other, &third}) {
		Thing lent;
		tether_owner_t to = other.owner();

		home.run([&] {
			tether_bind(&lent.tether, &thing_type);
			ASSERT_EQ(tether_lend(&lent.tether, to), 0);
		});
		dropper->run([&] { EXPECT_EQ(tether_drop(&lent.tether), TETHER_QUEUED); });
		drain(home);
		EXPECT_EQ(lent.ends, 0);
		other.run([&] {
			EXPECT_TRUE(tether_is_mine(&lent.tether)) << "it is still on loan";
			EXPECT_EQ(tether_return(&lent.tether), 0);
		});
		EXPECT_EQ(lent.ends, 0);
		drain(home);
		EXPECT_TRUE(lent.ended_once_on(home.id()));
	}
}

TEST_F(Lend, BorrowerThatEndsIsReportedAndItGoesHome)
{
	tether_owner_t lender = home.owner(), borrower = other.owner();

	lend_to_other();
	other.end();
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_NOT_RETURNED);
	EXPECT_EQ(caught[0].report.owner, lender);
	EXPECT_EQ(caught[0].report.other, borrower);
	EXPECT_TRUE(is_mine_on(home));
	home.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
}

TEST_F(Lend, BorrowerThatEndsSendsHomeWhatWasDropped)
{
	lend_to_other();
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	other.end();
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NOT_RETURNED});
	drain(home);
	EXPECT_TRUE(thing.ended_once_on(home.id()));
}

TEST_F(Lend, LenderThatEndsMakesItAnOrphan)
{
	tether_owner_t to = other.owner();

	home.run([&] {
		tether_bind(&thing.tether, &anywhere_type);
		ASSERT_EQ(tether_lend(&thing.tether, to), 0);
	});
	home.end();
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(thing.ends, 0);
	give_back();
	EXPECT_TRUE(thing.ended_once_on(other.id()));
}

TEST_F(Lend, ManyLoansComeBackInAnyOrder)
{
	const size_t n = 100;
	std::vector<std::unique_ptr<Thing>> things;
	tether_owner_t to = other.owner();

	for (size_t i = 0; i < n; i++)
		things.push_back(std::make_unique<Thing>());
	home.run([&] {
		for (auto &one : things) {
			tether_bind(&one->tether, &thing_type);
			ASSERT_EQ(tether_lend(&one->tether, to), 0);
		}
	});
	other.run([&] {
		for (size_t i = 0; i < n; i++)
			if (i % 3 == 1) {
				ASSERT_EQ(tether_return(&things[(i * 37) % n]->tether), 0);
			}
	});
	other.end();
	EXPECT_EQ(reports.take_kinds().size(), n - n / 3);
	home.run([&] {
		for (auto &one : things) {
			EXPECT_EQ(tether_drop(&one->tether), TETHER_HERE);
		}
	});
}

TEST_F(Lend, OnlyTheBorrowerReturns)
{
	lend_to_other();
	home.run([&] { EXPECT_EQ(tether_return(&thing.tether), -EINVAL); });
	third.run([&] { EXPECT_EQ(tether_return(&thing.tether), -EINVAL); });
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_LENT_USE, TETHER_WRONG_THREAD}));
	give_back();
	other.run([&] { EXPECT_EQ(tether_return(&thing.tether), -EINVAL); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	home.run([&] {
		EXPECT_EQ(tether_return(&thing.tether), -EINVAL) << "it is not lent";
		tether_drop(&thing.tether);
	});
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_MOVE});
}

TEST_F(Lend, ToWhoHasGoneOrToItselfIsRefused)
{
	tether_owner_t gone = other.owner();

	bind_at_home();
	other.end();
	home.run([&] {
		EXPECT_EQ(tether_lend(&thing.tether, gone), -ESRCH);
		EXPECT_EQ(tether_lend(&thing.tether, tether_self()), -EINVAL);
		EXPECT_EQ(tether_lend(&thing.tether, 12345), -EINVAL);
		EXPECT_TRUE(tether_is_mine(&thing.tether));
		tether_drop(&thing.tether);
	});
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_BAD_MOVE, TETHER_BAD_OWNER}));
}

/* ---- share ----------------------------------------------------------------------------------- */

class Share : public Moves
{
};

TEST_F(Share, EveryThreadPassesTheCheck)
{
	bind_at_home();
	home.run([&] { EXPECT_EQ(tether_share(&thing.tether), 0); });
	for (Thread *thread : {&home, &other, &third})
		thread->run([&] {
			TETHER_CHECK(&thing.tether);
			EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
			EXPECT_TRUE(tether_is_mine(&thing.tether));
		});
	elsewhere([&] { EXPECT_TRUE(tether_is_mine(&thing.tether)) << "no owner is needed"; });
	other.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
	EXPECT_TRUE(thing.ended_once_on(other.id()));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
}

TEST_F(Share, DiesAtHomeIfItsTypeSaysSo)
{
	bind_at_home(&homing_type);
	home.run([&] { EXPECT_EQ(tether_share(&thing.tether), 0); });
	other.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	EXPECT_EQ(thing.ends, 0);
	drain(home);
	EXPECT_TRUE(thing.ended_once_on(home.id()));
}

TEST_F(Share, OutlivesItsOwner)
{
	bind_at_home();
	home.run([&] { EXPECT_EQ(tether_share(&thing.tether), 0); });
	home.end();
	EXPECT_TRUE(is_mine_on(other));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
}

/* ---- Refusals: each move in each state that forbids it ---------------------------------------- */

enum Move { HAND_OFF, GIVE, UNBIND, LEND, SHARE };
enum Held { ZEROED, UNBOUND, FOREIGN, TRANSIT, LENT, BORROWED, SHARED, FOLLOWS, UNSENDABLE, LENT_DROPPED, PENDING, DEAD };

class Refusal : public Moves, public testing::WithParamInterface<std::tuple<Move, Held>>
{
protected:
	struct Family {
		struct tether_group group = {{0, 0, 0, 0}, 0, 0};
		static void destroy(void *) {}
	};

	/* `home` is who will try to move it. */
	void bring_to(Held held)
	{
		static const tether_type family_type = TETHER_TYPE_RULES(Family, group.tag, Family::destroy, TETHER_GROUP);
		tether_owner_t here = home.owner(), there = other.owner();

		if (held == UNBOUND)
			tether_bind_later(&thing.tether, &thing_type);
		else if (held == FOREIGN || held == BORROWED)
			other.run([&] { tether_bind(&thing.tether, &thing_type); });
		else if (held == FOLLOWS)
			home.run([&] {
				tether_bind_group(&family.group, &family_type);
				ASSERT_EQ(tether_bind_to(&thing.tether, &thing_type, &family.group), 0);
			});
		else if (held != ZEROED)
			bind_at_home(held == UNSENDABLE ? &unsendable_type : &thing_type);
		if (held == BORROWED)
			other.run([&] { ASSERT_EQ(tether_lend(&thing.tether, here), 0); });
		home.run([&] {
			if (held == TRANSIT) {
				ASSERT_EQ(tether_hand_off(&thing.tether, there, &other_journey.transfer), 0);
			}
			if (held == LENT || held == LENT_DROPPED) {
				ASSERT_EQ(tether_lend(&thing.tether, there), 0);
			}
			if (held == SHARED) {
				ASSERT_EQ(tether_share(&thing.tether), 0);
			}
			if (held == DEAD) {
				ASSERT_EQ(tether_drop(&thing.tether), TETHER_HERE);
			}
		});
		if (held == LENT_DROPPED || held == PENDING) {
			ASSERT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		}
	}
	int perform(Move move)
	{
		switch (move) {
		case HAND_OFF:
			return tether_hand_off(&thing.tether, third_owner, &journey.transfer);
		case GIVE:
			return tether_give(&thing.tether, tether_self(), third_owner);
		case UNBIND:
			return tether_unbind(&thing.tether);
		case LEND:
			return tether_lend(&thing.tether, third_owner);
		case SHARE:
			return tether_share(&thing.tether);
		}
		return 0;
	}
	static enum tether_kind expected(Held held)
	{
		switch (held) {
		case ZEROED:
			return TETHER_NEVER_BOUND;
		case UNBOUND:
			return TETHER_UNCLAIMED;
		case FOREIGN:
			return TETHER_WRONG_THREAD;
		case TRANSIT:
			return TETHER_IN_TRANSIT;
		case LENT:
			return TETHER_LENT_USE;
		case BORROWED:
		case SHARED:
		case FOLLOWS:
			return TETHER_BAD_MOVE;
		case UNSENDABLE:
			return TETHER_UNSENDABLE_MOVED;
		case LENT_DROPPED:
		case PENDING:
		case DEAD:
			return TETHER_USE_AFTER_DROP;
		}
		return TETHER_BAD_CALL;
	}
	void clean_up(Held held)
	{
		if (held == LENT || held == LENT_DROPPED)
			other.run([&] { EXPECT_EQ(tether_return(&thing.tether), 0); });
		if (held == BORROWED)
			home.run([&] { EXPECT_EQ(tether_return(&thing.tether), 0); });
		if (held != ZEROED && held != LENT_DROPPED && held != PENDING && held != DEAD)
			tether_drop(&thing.tether);
		drain(home);
		drain(other);
		if (held == FOLLOWS)
			home.run([&] { tether_drop(&family.group.tag); });
	}

	Journey other_journey;
	Family family;
	tether_owner_t third_owner = third.owner();
};

TEST_P(Refusal, IsReportedAndChangesNothing)
{
	Move move = std::get<0>(GetParam());
	Held held = std::get<1>(GetParam());
	struct tether before;
	int result = 1;

	bring_to(held);
	memcpy(&before, &thing.tether, sizeof before);
	home.run([&] { result = perform(move); });
	if (move == GIVE && held == FOREIGN) {
		EXPECT_EQ(result, -EAGAIN) << "thieves may race";
	} else {
		EXPECT_EQ(result, -EINVAL);
		EXPECT_EQ(reports.take_kinds(), Kinds{expected(held)});
	}
	EXPECT_EQ(memcmp(&before, &thing.tether, sizeof before), 0);
	EXPECT_EQ(journey.arrivals, 0);
	clean_up(held);
	EXPECT_EQ(thing.ends, held == ZEROED ? 0 : 1);
}

std::string refusal_name(const testing::TestParamInfo<std::tuple<Move, Held>> &info)
{
	static const char *const moves[] = {"HandOff", "Give", "Unbind", "Lend", "Share"};
	static const char *const states[] = {"Zeroed", "Unbound", "Foreign",          "InTransit",      "Lent",    "Borrowed",
	                                     "Shared", "Child",   "OfUnsendableType", "LentAndDropped", "Dropped", "Destroyed"};
	auto [move, held] = info.param;

	return std::string(moves[move]) + "OfWhatIs" + states[held];
}

INSTANTIATE_TEST_SUITE_P(Moves, Refusal,
                         testing::Combine(testing::Values(HAND_OFF, GIVE, UNBIND, LEND, SHARE),
                                          testing::Values(ZEROED, UNBOUND, FOREIGN, TRANSIT, LENT, BORROWED, SHARED, FOLLOWS,
                                                          UNSENDABLE, LENT_DROPPED, PENDING, DEAD)),
                         refusal_name);

} // namespace
