/* leaving_test.cc - threads that leave by pthread_exit or cancellation with drops pending: nothing is
 * stranded and nothing runs twice, wherever they leave from.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <sched.h>

namespace
{

/* Things of a thread that is about to leave. */
class Leaving : public Quiet
{
protected:
	static constexpr size_t count = 6;
	Thing things[count];
	Note note;
	pthread_t left = 0;
	tether_owner_t owner = 0;

	void bind_all()
	{
		left = pthread_self();
		owner = tether_self();
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
	}
	void drop_all()
	{
		elsewhere([this] {
			for (Thing &thing : things)
				EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
			EXPECT_EQ(tether_post(owner, &note.message), 0);
		});
	}
	void leave_in_the_destructor_of(size_t i)
	{
		*things[i].at_end = [] { pthread_exit(nullptr); };
	}
	void expect_all_ended()
	{
		for (Thing &thing : things)
			EXPECT_TRUE(thing.ended_once_on(left)) << &thing - things << " ended " << thing.ends << " times";
		EXPECT_TRUE(note.ran_once_on(left));
		EXPECT_FALSE(tether_owner_is_alive(owner));
	}
};

/* By pthread_exit. */

class Exit : public Leaving
{
protected:
	static constexpr const char *forgotten = "ThreadSanitizer forgets a thread that leaves while it is ending";
};

TEST_F(Exit, WithDropsPendingRunsThem)
{
	on_a_plain_thread([this] {
		bind_all();
		drop_all();
		pthread_exit(nullptr);
	});
	expect_all_ended();
}

TEST_F(Exit, FromADestructorInADrainRunsTheRest)
{
	leave_in_the_destructor_of(2);
	on_a_plain_thread([this] {
		bind_all();
		drop_all();
		tether_drain(0);
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Exit, FromEveryDestructorRunsThemAll)
{
	if (UNDER_TSAN)
		GTEST_SKIP() << forgotten;
	for (size_t i = 0; i < count; i++)
		leave_in_the_destructor_of(i);
	on_a_plain_thread([this] {
		bind_all();
		drop_all();
		tether_drain(0);
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Exit, FromAMessageRunsTheRest)
{
	*note.at_call = [this] {
		EXPECT_EQ(tether_drop_later(&things[count - 1].tether), TETHER_QUEUED);
		pthread_exit(nullptr);
	};
	on_a_plain_thread([this] {
		bind_all();
		EXPECT_EQ(tether_post(owner, &note.message), 0);
		for (size_t i = 0; i < count - 1; i++)
			EXPECT_EQ(tether_drop_later(&things[i].tether), TETHER_QUEUED);
		tether_drain(0);
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Exit, FromADestructorInADropRunsWhatItDropped)
{
	*things[0].at_end = [this] {
		for (size_t i = 1; i < count; i++)
			EXPECT_EQ(tether_drop(&things[i].tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(owner, &note.message), 0);
		pthread_exit(nullptr);
	};
	on_a_plain_thread([this] {
		bind_all();
		tether_drop(&things[0].tether);
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Exit, FromADestructorInOwnerExitRunsTheRest)
{
	leave_in_the_destructor_of(3);
	on_a_plain_thread([this] {
		bind_all();
		drop_all();
		tether_owner_exit();
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Exit, FromADestructorAtThreadExitRunsTheRest)
{
	if (UNDER_TSAN)
		GTEST_SKIP() << forgotten;
	leave_in_the_destructor_of(1);
	on_a_plain_thread([this] {
		bind_all();
		drop_all();
	});
	expect_all_ended();
}

TEST_F(Exit, FromADestructorOnAThreadWithoutOwnerRunsWhatItDropped)
{
	for (Thing &thing : things)
		tether_bind_later(&thing.tether, &thing_type);
	*things[0].at_end = [this] {
		for (size_t i = 1; i < count; i++)
			EXPECT_EQ(tether_drop(&things[i].tether), TETHER_QUEUED);
		pthread_exit(nullptr);
	};
	on_a_plain_thread([this] {
		left = pthread_self();
		tether_drop(&things[0].tether);
		ADD_FAILURE();
	});
	for (Thing &thing : things)
		EXPECT_TRUE(thing.ended_once_on(left));
}

/* By cancellation. */

class Cancel : public Leaving
{
protected:
	sem_t ready, go;

	Cancel()
	{
		sem_init(&ready, 0, 0);
		sem_init(&go, 0, 0);
	}
	~Cancel() override
	{
		sem_destroy(&ready);
		sem_destroy(&go);
	}
	/* Do it, be cancelled when ready, and go on. */
	void cancelled(std::function<void()> work)
	{
		void *result = on_a_plain_thread(std::move(work), [this](pthread_t thread) {
			while (sem_wait(&ready) != 0)
				;
			pthread_cancel(thread);
			sem_post(&go);
		});

		EXPECT_EQ(result, PTHREAD_CANCELED);
	}
	void wait_and_offer_to_leave()
	{
		sem_post(&ready);
		while (sem_wait(&go) != 0)
			;
		pthread_testcancel();
	}
	void drain_then_leave()
	{
		bind_all();
		drop_all();
		EXPECT_EQ(tether_drain(0), count + 1);
		pthread_testcancel();
		ADD_FAILURE();
	}
};

TEST_F(Cancel, WithDropsPendingRunsThem)
{
	cancelled([this] {
		bind_all();
		drop_all();
		sem_post(&ready);
		for (;;)
			pause();
	});
	expect_all_ended();
}

TEST_F(Cancel, InADestructorOfADrainComesAfterTheDrain)
{
	*things[2].at_end = [this] { wait_and_offer_to_leave(); };
	cancelled([this] { drain_then_leave(); });
	expect_all_ended();
}

TEST_F(Cancel, InAMessageComesAfterTheDrain)
{
	*note.at_call = [this] { wait_and_offer_to_leave(); };
	cancelled([this] { drain_then_leave(); });
	expect_all_ended();
}

TEST_F(Cancel, InADestructorOfADropComesAfterTheDrop)
{
	*things[2].at_end = [this] { wait_and_offer_to_leave(); };
	cancelled([this] {
		bind_all();
		EXPECT_EQ(tether_post(owner, &note.message), 0);
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		pthread_testcancel();
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Cancel, InADestructorThatAllowsItRunsTheRestAtThreadExit)
{
	*things[2].at_end = [this] {
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
		wait_and_offer_to_leave();
	};
	cancelled([this] {
		bind_all();
		drop_all();
		tether_drain(0);
		ADD_FAILURE();
	});
	expect_all_ended();
}

TEST_F(Cancel, OfASenderLosesNoDropAndNoWakeUp)
{
	elsewhere([] {
		int fd = tether_fd();

		for (size_t round = 0; round < scaled(200); round++) {
			std::vector<Thing> sent(500);
			std::atomic<size_t> dropped{0};
			size_t handled = 0;

			for (Thing &thing : sent)
				tether_bind(&thing.tether, &thing_type);
			on_a_plain_thread(
				[&] {
					for (Thing &thing : sent) {
						tether_drop(&thing.tether);
						dropped++;
						pthread_testcancel();
					}
				},
				[&](pthread_t sender) {
					while (dropped < round % 50)
						handled += tether_drain(round % 4);
					pthread_cancel(sender);
				});
			EXPECT_EQ(is_readable(fd), handled < dropped);
			handled += tether_drain(0);
			EXPECT_EQ(handled, dropped);
			for (size_t i = 0; i < sent.size(); i++) {
				EXPECT_EQ(sent[i].ends, i < handled ? 1 : 0);
				if (i >= handled)
					tether_fini(&sent[i].tether);
			}
		}
	});
}

} // namespace
