/* message_test.cc - messages: posted, run at home, or brought back.
 * SPDX-License-Identifier: MIT */
#include "support.h"

namespace
{

class Message : public Quiet
{
};

TEST_F(Message, RunsOnTheOwnerItWasPostedTo)
{
	Thread home;
	Note note;

	EXPECT_EQ(tether_post(home.owner(), &note.message), 0);
	EXPECT_EQ(note.calls, 0);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(note.ran_once_on(home.id()));
}

TEST_F(Message, StaticInitialiserIsReadyToPost)
{
	static int calls;
	static struct tether_message message =
		TETHER_MESSAGE_INIT([](struct tether_message *, enum tether_fate fate) { calls += fate == TETHER_RUN; });

	EXPECT_EQ(tether_post(tether_self(), &message), 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(calls, 1);
}

TEST_F(Message, ComesBackWhenTheOwnerHasGone)
{
	tether_owner_t ended = 0;
	Note note;

	elsewhere([&] { ended = tether_self(); });
	EXPECT_EQ(tether_post(ended, &note.message), -ESRCH);
	EXPECT_TRUE(note.came_back_once_to(pthread_self()));
}

TEST_F(Message, ComesBackFromWhatIsNoOwner)
{
	for (tether_owner_t none : {tether_owner_t{0}, TETHER_NOBODY_, TETHER_GONE_, tether_self() ^ UINT64_C(1) << 62}) {
		Note note;

		EXPECT_EQ(tether_post(none, &note.message), -EINVAL);
		EXPECT_TRUE(note.came_back_once_to(pthread_self()));
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
	}
}

TEST_F(Message, ComesBackWithTheNextDrainInsideADestructorOrAMessage)
{
	tether_owner_t ended = 0;
	Note from_destructor, from_message, from_itself;
	Thing thing([&] {
		EXPECT_EQ(tether_post(ended, &from_destructor.message), -ESRCH);
		EXPECT_EQ(from_destructor.calls, 0);
	});
	Note note([&] {
		EXPECT_EQ(tether_post(ended, &from_message.message), -ESRCH);
		EXPECT_EQ(from_message.calls, 0);
	});

	elsewhere([&] { ended = tether_self(); });
	*from_itself.at_call = [&] {
		if (from_itself.calls < 3) {
			EXPECT_EQ(tether_post(ended, &from_itself.message), -ESRCH);
		}
	};
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(from_destructor.calls, 0);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_post(ended, &from_itself.message), -ESRCH);
	EXPECT_EQ(from_itself.calls, 1) << "it does not nest";
	tether_drain(0);
	EXPECT_TRUE(from_destructor.came_back_once_to(pthread_self()));
	EXPECT_TRUE(from_message.came_back_once_to(pthread_self()));
	EXPECT_EQ(from_itself.calls, 3);
}

TEST_F(Message, ComesBackToADestructorOnAThreadWithoutOwnerWhenThatHasReturned)
{
	tether_owner_t ended = 0;
	Note note;
	Thing thing([&] {
		EXPECT_EQ(tether_post(ended, &note.message), -ESRCH);
		EXPECT_EQ(note.calls, 0);
	});

	elsewhere([&] { ended = tether_self(); });
	tether_bind_later(&thing.tether, &thing_type);
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_TRUE(note.came_back_once_to(pthread_self()));
	});
}

TEST_F(Message, OnItsWayKeepsItsFate)
{
	Thread home;
	Note note;
	tether_owner_t owner = home.owner();

	EXPECT_EQ(tether_post(owner, &note.message), 0);
	EXPECT_EQ(tether_post(owner, &note.message), -EALREADY);
	EXPECT_EQ(tether_post(tether_self(), &note.message), -EALREADY);
	EXPECT_EQ(tether_post(0, &note.message), -EALREADY);
	EXPECT_EQ(reports.take_kinds(), Kinds(3, TETHER_DOUBLE_POST));
	EXPECT_EQ(note.calls, 0);
	EXPECT_EQ(tether_drain(0), 0U);
	home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(note.ran_once_on(home.id()));
}

TEST_F(Message, MayBePostedAgainByItsFunction)
{
	Thread home;
	tether_owner_t owner = home.owner();
	Note note([&] {
		if (note.calls < 3) {
			EXPECT_EQ(tether_post(owner, &note.message), 0);
		}
	});

	EXPECT_EQ(tether_post(owner, &note.message), 0);
	home.run([] { EXPECT_EQ(tether_drain(0), 3U); });
	EXPECT_EQ(note.calls, 3);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(note.calls, 4);
}

TEST_F(Message, MayTravelOnToAnotherOwner)
{
	Thread first, second;
	tether_owner_t next = second.owner();
	Note note([&] {
		if (note.calls == 1) {
			EXPECT_EQ(tether_post(next, &note.message), 0);
		}
	});

	EXPECT_EQ(tether_post(first.owner(), &note.message), 0);
	first.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	second.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_EQ(note.calls, 2);
	EXPECT_TRUE(pthread_equal(note.called_on, second.id()));
}

TEST_F(Message, MayBeFreedByItsFunction)
{
	Note *home = new Note, *back = new Note;

	*home->at_call = [home] { delete home; };
	*back->at_call = [back] { delete back; };
	EXPECT_EQ(tether_post(tether_self(), &home->message), 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(tether_post(0, &back->message), -EINVAL);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
}

TEST_F(Message, FromAThreadWithoutOwnerArrives)
{
	Note note;
	tether_owner_t self = tether_self();

	elsewhere([&] { EXPECT_EQ(tether_post(self, &note.message), 0); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(note.ran_once_on(pthread_self()));
}

TEST_F(Message, ThatThrowsOnItsWayBackLeavesCancellationAsItWas)
{
	struct Oops {
	};
	Note note([] { throw Oops(); });
	int state = -1;

	EXPECT_THROW(tether_post(0, &note.message), Oops);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_OWNER});
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	EXPECT_EQ(state, PTHREAD_CANCEL_ENABLE);
	EXPECT_EQ(note.calls, 1);
}

} // namespace
