/* exit_test.cc - exit(): the calling thread's inbox is drained, what is left of others is said once.
 * SPDX-License-Identifier: MIT */
#include "../support.h"
#include "child.h"

#include <sched.h>

#include <cstring>
#include <memory>

namespace
{

/* Objects that outlive main, as exit() runs no destructor of what is on the stack. */
Thing *new_thing(std::function<void()> at_end = [] {})
{
	static std::vector<std::unique_ptr<Thing>> kept;

	kept.push_back(std::make_unique<Thing>(std::move(at_end)));
	return kept.back().get();
}

void say(const char *text)
{
	EXPECT_EQ(write(STDERR_FILENO, text, strlen(text)), static_cast<ssize_t>(strlen(text)));
}

size_t count_of(const std::string &text, const std::string &part)
{
	size_t count = 0;

	for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
		count++;
	return count;
}

TEST(ExitOf, AProcessThatNeverUsedItSaysNothing)
{
	Child child = in_child([] {});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(child.err, "");
}

TEST(ExitOf, ACleanProcessSaysNothing)
{
	Child child = in_child([] {
		Thing *thing = new_thing();

		tether_bind(&thing->tether, &thing_type);
		elsewhere([&] { EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED); });
		EXPECT_EQ(tether_drain(0), 1U);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(child.err, "");
}

TEST(ExitOf, AThreadDrainsItsInbox)
{
	Child child = in_child([] {
		Thing *thing = new_thing([] { say("destroyed\n"); });

		tether_bind(&thing->tether, &thing_type);
		elsewhere([&] { EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED); });
		exit(7);
	});

	EXPECT_TRUE(child.exited_with(7));
	EXPECT_EQ(child.err, "destroyed\n");
}

TEST(ExitOf, AThreadFlushesItsBatch)
{
	Child child = in_child([] {
		Thing *mine = new_thing([] { say("destroyed\n"); });
		auto *other = new Thread; /* it still lives at the exit */
		Thing *its = new_thing();

		other->run([&] { tether_bind(&its->tether, &thing_type); });
		tether_bind(&mine->tether, &thing_type);
		EXPECT_EQ(tether_batch_begin(), 0);
		EXPECT_EQ(tether_drop(&its->tether), TETHER_BATCHED);
		EXPECT_EQ(tether_drop(&mine->tether), TETHER_BATCHED);
		exit(7);
	});

	EXPECT_TRUE(child.exited_with(7));
	EXPECT_EQ(child.err.find("destroyed\n"), 0U) << child.err;
	EXPECT_NE(child.err.find("1 pending"), std::string::npos) << child.err;
}

TEST(ExitOf, AThreadDrainsWhatItIsInsideOf)
{
	Child child = in_child([] {
		Thing *mine = new_thing([] { say("the thread's\n"); }), *its = new_thing([] { say("the fiber's\n"); });
		tether_owner_t fiber;

		tether_bind(&mine->tether, &thing_type);
		EXPECT_EQ(tether_owner_create("the fiber", &fiber), 0);
		EXPECT_NE(tether_owner_enter(fiber), 0U);
		tether_bind(&its->tether, &thing_type);
		elsewhere([&] {
			EXPECT_EQ(tether_drop(&mine->tether), TETHER_QUEUED);
			EXPECT_EQ(tether_drop(&its->tether), TETHER_QUEUED);
		});
		exit(7);
	});

	EXPECT_TRUE(child.exited_with(7));
	EXPECT_EQ(child.err, "the fiber's\nthe thread's\n");
}

TEST(ExitOf, AThreadDrainsItsInboxUnlessToldNotTo)
{
	Child child = in_child([] {
		Thing *thing = new_thing([] { say("destroyed\n"); });

		EXPECT_EQ(tether_set_option("exit_drain", "0"), 0);
		tether_bind(&thing->tether, &thing_type);
		EXPECT_EQ(tether_drop_later(&thing->tether), TETHER_QUEUED);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(child.err.find("destroyed\n"), std::string::npos) << child.err;
	EXPECT_NE(child.err.find("1 pending"), std::string::npos) << child.err;
}

/* Some are in the inbox and some were taken. Only the queues know them: what the test keeps looks like no address. */
TEST(ExitOf, AProcessLeaksNothingThatIsPending)
{
	if (!UNDER_ASAN)
		GTEST_SKIP() << "it is LeakSanitizer that would say so";
	Child child = in_child([] {
		std::atomic<bool> is_ready{false};

		EXPECT_EQ(tether_set_option("exit_drain", "0"), 0);
		std::thread([&] {
			std::vector<uintptr_t> hidden;
			auto drop_50 = [&] {
				for (int i = 0; i < 50; i++) {
					EXPECT_EQ(tether_drop(&reinterpret_cast<Thing *>(~hidden.back())->tether), TETHER_QUEUED);
					hidden.pop_back();
				}
			};

			for (int i = 0; i < 100; i++) {
				Thing *thing = new Thing;
				tether_bind(&thing->tether, &thing_type);
				hidden.push_back(~reinterpret_cast<uintptr_t>(thing));
			}
			elsewhere(drop_50);
			EXPECT_EQ(tether_drain(10), 10U);
			elsewhere(drop_50);
			is_ready = true;
			for (;;)
				pause();
		}).detach();
		while (!is_ready)
			sched_yield();
	});

	EXPECT_NE(child.err.find("90 pending"), std::string::npos) << child.err;
	EXPECT_EQ(child.err.find("LeakSanitizer"), std::string::npos) << child.err;
}

/* A thread that holds `things` as its own, and does not end before the process does. */
void keep_busy(std::vector<Thing *> things)
{
	static std::atomic<bool> bound;

	bound = false;
	std::thread([things] {
		tether_self_set_name("busy elsewhere");
		for (Thing *thing : things)
			tether_bind(&thing->tether, &thing_type);
		bound = true;
		for (;;)
			pause();
	}).detach();
	while (!bound)
		sched_yield();
}

TEST(ExitOf, AProcessSaysOnceWhatIsPendingForOthers)
{
	Child child = in_child([] {
		Thing *first = new_thing([] { say("destroyed\n"); }), *second = new_thing([] { say("destroyed\n"); });

		keep_busy({first, second});
		EXPECT_EQ(tether_drop(&first->tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&second->tether), TETHER_QUEUED);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(child.err.rfind("==", 0), 0U);
	EXPECT_EQ(count_of(child.err, "tether: at exit"), 1U) << child.err;
	EXPECT_NE(child.err.find("2 pending"), std::string::npos) << child.err;
	EXPECT_NE(child.err.find("busy elsewhere"), std::string::npos) << child.err;
	EXPECT_EQ(child.err.find("destroyed\n"), std::string::npos) << "only their own thread may";
}

TEST(ExitOf, AProcessSaysWhatWasLeakedAndReported)
{
	Child child = in_child([] {
		Thing *thing = new_thing(), *checked = new_thing();

		elsewhere([&] { tether_bind(&thing->tether, &thing_type); });
		EXPECT_EQ(tether_drop(&thing->tether), TETHER_ORPHANED);
		tether_bind(&checked->tether, &thing_type);
		elsewhere([&] {
			for (int i = 0; i < 5; i++)
				TETHER_CHECK(&checked->tether);
		});
		Thing *ended = new_thing();
		tether_bind(&ended->tether, &anywhere_type);
		tether_fini(&ended->tether);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_NE(child.err.find("at exit: 2 reports, 4 repeats, 0 suppressed, 1 leaked, 0 pending"), std::string::npos) << child.err;
	EXPECT_EQ(count_of(child.err, "bound but never destroyed: objects of the type Thing"), 1U)
		<< "of two types of that name one has never seen an object end\n"
		<< child.err;
}

TEST(ExitOf, AProcessFromAnotherThreadDrainsThatThread)
{
	Child child = in_child([] {
		Thing *mains = new_thing([] { say("main's\n"); }), *others = new_thing([] { say("the other's\n"); });

		tether_bind(&mains->tether, &thing_type);
		elsewhere([&] {
			tether_self_set_name("exits");
			tether_bind(&others->tether, &thing_type);
			EXPECT_EQ(tether_drop_later(&others->tether), TETHER_QUEUED);
			EXPECT_EQ(tether_drop(&mains->tether), TETHER_QUEUED);
			exit(5);
		});
	});

	EXPECT_TRUE(child.exited_with(5));
	EXPECT_EQ(child.err.rfind("the other's\n", 0), 0U) << child.err;
	EXPECT_EQ(child.err.find("main's\n"), std::string::npos) << child.err;
	EXPECT_NE(child.err.find("1 pending"), std::string::npos) << child.err;
}

TEST(ExitOf, AProcessFromADestructorEnds)
{
	for (bool in_a_drain : {false, true}) {
		Child child = in_child([=] {
			Thing *thing = new_thing([] { exit(6); }), *next = new_thing();

			tether_bind(&thing->tether, &thing_type);
			tether_bind(&next->tether, &thing_type);
			EXPECT_EQ(tether_drop_later(&next->tether), TETHER_QUEUED);
			if (!in_a_drain)
				tether_drop(&thing->tether);
			tether_drop_later(&thing->tether);
			tether_drain(0);
		});

		EXPECT_TRUE(child.exited_with(6)) << child.err;
	}
}

TEST(ExitOf, AProcessWithoutItsHandlersSaysNothing)
{
	Child child = in_child([] {
		Thing *thing = new_thing();

		keep_busy({thing});
		EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
		_exit(3);
	});

	EXPECT_TRUE(child.exited_with(3));
	EXPECT_EQ(child.err, "");
}

} // namespace
