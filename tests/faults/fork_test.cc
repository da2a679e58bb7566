/* fork_test.cc - what a child has of its parent's owners: the thread that forked, and who the others were.
 * SPDX-License-Identifier: MIT */
#include "../support.h"
#include "child.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <set>

/* Children start threads, which ThreadSanitizer allows where it is asked; and they cannot join those that a thread of
 * their parent had started. */
extern "C" const char *__tsan_default_options();
extern "C" const char *__tsan_default_options()
{
	return "die_after_fork=0:report_thread_leaks=0";
}

namespace
{

const tether_type both_type = TETHER_TYPE_RULES(Thing, tether, thing_destroy, TETHER_DIES_IN_CHILDREN);

bool has(const std::string &text, const std::string &part)
{
	return text.find(part) != std::string::npos;
}

/* Do it in a child, and meanwhile here. The child may not hang, and says what failed. */
void in_fork(
	const std::function<void()> &work, const std::function<void()> &meanwhile = [] {})
{
	int status = -1;

	fflush(nullptr);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		work();
		fflush(nullptr);
		_exit(testing::Test::HasFailure() ? 1 : 0);
	}
	meanwhile();
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0) << "the child";
}

/* In both processes. */
void on_both_sides(const std::function<void()> &work)
{
	in_fork(work, work);
}

/* ---- What a child says of itself ------------------------------------------------------------- */

/* These come before the others, as they begin with a process that has not used the library: it forks once more. */
TEST(ForkedChild, BeforeTheFirstUseIsAsGoodAsNew)
{
	Child child = in_child([] {
		pid_t pid = fork();

		Thing thing;
		tether_bind(&thing.tether, &thing_type);
		elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(stats().bound, 1U);
		if (pid == 0)
			exit(testing::Test::HasFailure() ? 1 : 0);
		int status = -1;
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT_EQ(status, 0);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_EQ(child.err, "");
}

/* `count` wrong uses, each told. */
void violate(int count)
{
	static Thing thing;

	tether_set_level(TETHER_WARN);
	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		for (int i = 0; i < count; i++)
			TETHER_CHECK(&thing.tether);
	});
}

/* Two reports, then a child that does as it is told, and how that one ended. */
Child after_reports(const std::function<void()> &work, int *status)
{
	int both[2];

	EXPECT_EQ(pipe(both), 0);
	Child child = in_child([&] {
		violate(2);
		pid_t pid = fork();
		if (pid == 0) {
			dprintf(STDERR_FILENO, "<child %d>\n", static_cast<int>(getpid()));
			work();
			exit(0);
		}
		EXPECT_EQ(waitpid(pid, status, 0), pid);
		EXPECT_EQ(write(both[1], status, sizeof *status), static_cast<ssize_t>(sizeof *status));
		_exit(0);
	});
	EXPECT_EQ(read(both[0], status, sizeof *status), static_cast<ssize_t>(sizeof *status));
	close(both[0]);
	close(both[1]);
	child.err.erase(0, child.err.find("<child "));
	return child;
}

TEST(ForkedChild, AtItsExitTellsWhatItReportedItself)
{
	int status = -1;

	Child child = after_reports([] {}, &status);
	EXPECT_FALSE(has(child.err, "at exit")) << child.err;

	child = after_reports([] { violate(3); }, &status);
	EXPECT_TRUE(has(child.err, "tether: at exit: 3 reports, 0 repeats, 0 suppressed, 0 leaked, 0 pending")) << child.err;
	int pid = -1;
	EXPECT_EQ(sscanf(child.err.c_str(), "<child %d>", &pid), 1);
	EXPECT_TRUE(has(child.err, "==" + std::to_string(pid) + "== tether: wrong-thread use")) << child.err;
	EXPECT_TRUE(has(child.err, "==" + std::to_string(pid) + "== tether: at exit")) << child.err;
}

TEST(ForkedChild, HasAnExitCodeForItsOwnReports)
{
	int status = -1;

	after_reports([] { EXPECT_EQ(tether_set_option("exit_code", "42"), 0); }, &status);
	EXPECT_EQ(status, 0) << "its parent's are not its own";
	after_reports(
		[] {
			EXPECT_EQ(tether_set_option("exit_code", "42"), 0);
			violate(1);
		},
		&status);
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42) << status;
}

TEST(ForkedChild, MayReportAsManyAsItsParent)
{
	int status = -1;
	Child child = after_reports(
		[] {
			EXPECT_EQ(tether_set_option("max_reports", "2"), 0);
			violate(3);
		},
		&status);

	EXPECT_TRUE(has(child.err, "at exit: 2 reports, 1 repeats")) << child.err;
}

TEST(ForkedChild, CountsTheSuppressionsThatItUsedItself)
{
	char path[] = "/tmp/tether_fork_test_XXXXXX";
	int fd = mkstemp(path), status = -1;
	const std::string line = "wrong-thread-use:Thing\n";

	ASSERT_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
	close(fd);
	Child child = in_child([&] {
		EXPECT_EQ(tether_set_option("suppressions", path), 0);
		violate(5);
		pid_t pid = fork();
		if (pid == 0) {
			dprintf(STDERR_FILENO, "<child>\n");
			violate(2);
			exit(0);
		}
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		_exit(0);
	});
	unlink(path);
	EXPECT_TRUE(has(child.err, "Matched 2 suppressions:\n  2 wrong-thread-use:Thing\n")) << child.err;
}

TEST(ForkedChild, DumpsWhoDidNotSurvive)
{
	Child child = in_child([] {
		Thread other;

		tether_self_set_name("forks");
		other.run([] { tether_self_set_name("left behind"); });
		pid_t pid = fork();
		if (pid == 0) {
			tether_dump();
			dprintf(STDERR_FILENO, "<child %d>", static_cast<int>(getpid()));
			_exit(0);
		}
		EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
	});

	EXPECT_TRUE(has(child.err, "'left behind' (owner #2), did not survive the fork\n")) << child.err;
	int pid = -1;
	EXPECT_EQ(sscanf(child.err.c_str() + child.err.find("<child"), "<child %d>", &pid), 1);
	EXPECT_TRUE(has(child.err, "'forks' (owner #1), tid " + std::to_string(pid) + ":")) << child.err;
}

class Fork : public Quiet
{
protected:
	Thread other; /* is not in the child */

	void SetUp() override
	{
		Quiet::SetUp();
		tether_self();
		other.run([] { tether_self_set_name("left behind"); });
	}

	std::unique_ptr<Thing> of_other(const tether_type *type)
	{
		auto thing = std::make_unique<Thing>();

		other.run([&] { tether_bind(&thing->tether, type); });
		return thing;
	}
	/* The parent's own is destroyed at home. */
	void drain_other()
	{
		other.run([] { tether_drain(0); });
	}
};

/* ---- What the child has ---------------------------------------------------------------------- */

TEST_F(Fork, TheThreadThatForksKeepsItsNumberAndItsObjects)
{
	tether_owner_t self = tether_self();
	uint64_t number = tether_owner_number(self);
	Thing thing, unbound;

	tether_bind(&thing.tether, &thing_type);
	tether_bind_later(&unbound.tether, &thing_type);
	on_both_sides([&] {
		EXPECT_EQ(tether_self(), self);
		EXPECT_EQ(tether_owner_number(self), number);
		EXPECT_TRUE(tether_owner_is_alive(self));
		EXPECT_TRUE(tether_is_mine(&thing.tether));
		TETHER_CHECK(&thing.tether);
		EXPECT_TRUE(tether_claim(&unbound.tether));
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_TRUE(thing.ended_once_here());
		EXPECT_EQ(tether_drop(&unbound.tether), TETHER_HERE);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
}

/* As a server that loads its application and then forks its workers. */
TEST_F(Fork, PreloadedObjectsDieOnceInEachProcess)
{
	std::vector<Thing> things(100);
	auto serve = [&] {
		elsewhere([&] {
			for (size_t i = 0; i < things.size(); i += 2)
				EXPECT_EQ(tether_drop(&things[i].tether), TETHER_QUEUED);
		});
		for (size_t i = 1; i < things.size(); i += 2) {
			TETHER_CHECK(&things[i].tether);
			EXPECT_EQ(tether_drop(&things[i].tether), TETHER_HERE);
		}
		EXPECT_EQ(tether_drain(0), things.size() / 2);
		for (Thing &thing : things)
			EXPECT_TRUE(thing.ended_once_here());
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	};

	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	for (int worker = 0; worker < 4; worker++)
		in_fork(serve);
	serve();
}

TEST_F(Fork, NewOwnersOfTheChildAreNotThoseOfTheParent)
{
	tether_owner_t left_behind = other.owner();

	in_fork([&] {
		std::set<tether_owner_t> known = {tether_self(), left_behind};

		for (int i = 0; i < 200; i++)
			elsewhere([&] { EXPECT_TRUE(known.insert(tether_self()).second); });
	});
}

TEST_F(Fork, GrandchildrenKnowWhomEachForkLeftBehind)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);
	tether_owner_t self = tether_self();

	in_fork([&] {
		Thread second;
		Thing seconds;

		second.run([&] {
			tether_self_set_name("second");
			tether_bind(&seconds.tether, &thing_type);
		});
		EXPECT_FALSE(tether_is_mine(&thing->tether));
		in_fork([&] {
			EXPECT_EQ(tether_self(), self);
			EXPECT_TRUE(has(describe(&seconds.tether), "'second'")) << describe(&seconds.tether);
			EXPECT_TRUE(has(describe(&seconds.tether), "did not survive the fork")) << describe(&seconds.tether);
			EXPECT_TRUE(has(describe(&thing->tether), "'left behind'")) << describe(&thing->tether);
		});
		EXPECT_TRUE(tether_owner_is_alive(second.owner()));
	});
}

/* ---- Objects of other threads ---------------------------------------------------------------- */

TEST_F(Fork, UsingAnotherThreadsObjectTellsThatItsOwnerDidNotSurvive)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);
	tether_owner_t owner = other.owner();
	uint64_t number = tether_owner_number(owner);
	int parent = getpid();

	in_fork([&] {
		EXPECT_FALSE(tether_owner_is_alive(owner));
		EXPECT_FALSE(TETHER_ENSURE(&thing->tether));
		std::vector<Caught> caught = reports.take();

		ASSERT_EQ(caught.size(), 1U);
		const struct tether_report &report = caught[0].report;
		EXPECT_EQ(report.kind, TETHER_WRONG_THREAD);
		EXPECT_TRUE(report.owner_is_lost);
		EXPECT_FALSE(report.owner_is_alive);
		EXPECT_EQ(report.owner, owner);
		EXPECT_EQ(report.owner_number, number);
		EXPECT_EQ(caught[0].owner_name, "left behind");
		EXPECT_EQ(report.owner_tid, 0);
		EXPECT_EQ(report.pid, getpid());
		EXPECT_NE(report.pid, parent);
		EXPECT_EQ(report.caller_tid, static_cast<int>(syscall(SYS_gettid)));
		EXPECT_TRUE(has(caught[0].verdict, "'left behind', which did not survive the fork")) << caught[0].verdict;
		EXPECT_TRUE(has(caught[0].advice, "after the fork")) << caught[0].advice;
		EXPECT_TRUE(has(caught[0].text, "): did not survive the fork\n")) << caught[0].text;
		EXPECT_TRUE(has(describe(&thing->tether), "did not survive the fork")) << describe(&thing->tether);
	});
	EXPECT_FALSE(TETHER_ENSURE(&thing->tether));
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_FALSE(caught[0].report.owner_is_lost) << "in the parent it lives";
	EXPECT_FALSE(has(caught[0].text, "the fork"));
}

std::string json_of_last_report;

TEST_F(Fork, JsonSaysThatTheOwnerIsLost)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);

	in_fork([&] {
		tether_set_report_callback(
			[](const struct tether_report *report, void *) {
				char line[1 << 16];
				ASSERT_LT(tether_report_json(report, line, sizeof line), sizeof line);
				json_of_last_report = line;
			},
			nullptr);
		TETHER_CHECK(&thing->tether);
		EXPECT_TRUE(has(json_of_last_report, "\"alive\":false")) << json_of_last_report;
		EXPECT_TRUE(has(json_of_last_report, "\"lost_in_fork\":true")) << json_of_last_report;
	});
}

TEST_F(Fork, WhoDidNotSurviveIsKnownWhenItsSlotIsUsedAgain)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);

	in_fork([&] {
		std::vector<std::unique_ptr<Thread>> threads;

		for (int i = 0; i < 100; i++) {
			threads.push_back(std::make_unique<Thread>());
			threads.back()->owner();
		}
		EXPECT_TRUE(has(describe(&thing->tether), "'left behind'")) << describe(&thing->tether);
		EXPECT_TRUE(has(describe(&thing->tether), "did not survive the fork")) << describe(&thing->tether);
	});
}

TEST_F(Fork, AnOwnerThatHadEndedBeforeHasJustExited)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);

	other.end();
	in_fork([&] {
		EXPECT_TRUE(has(describe(&thing->tether), "exited")) << describe(&thing->tether);
		EXPECT_FALSE(has(describe(&thing->tether), "the fork")) << describe(&thing->tether);
	});
}

TEST_F(Fork, DroppingAnotherThreadsObjectDoesWhatItsTypeSaysOfOrphans)
{
	std::unique_ptr<Thing> leaked = of_other(&thing_type), anywhere = of_other(&anywhere_type), inherited = of_other(&heir_type),
						   both = of_other(&both_type);

	thing_heir = tether_self();
	in_fork([&] {
		EXPECT_EQ(tether_drop(&leaked->tether), TETHER_ORPHANED);
		EXPECT_EQ(leaked->ends, 0);
		std::vector<Caught> caught = reports.take();
		ASSERT_EQ(caught.size(), 1U);
		EXPECT_EQ(caught[0].report.kind, TETHER_LEAKED);
		EXPECT_TRUE(caught[0].report.owner_is_lost);
		EXPECT_EQ(tether_drop(&anywhere->tether), TETHER_ORPHANED);
		EXPECT_TRUE(anywhere->ended_once_here());
		EXPECT_EQ(tether_drop(&inherited->tether), TETHER_ORPHANED);
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_TRUE(inherited->ended_once_here());
		EXPECT_EQ(tether_drop(&both->tether), TETHER_ORPHANED);
		EXPECT_EQ(both->ends, 0) << "that is for what was pending";
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
		EXPECT_EQ(stats().leaked, 2U);
		EXPECT_EQ(stats().pending, 0U);
		expect_balanced(stats());
	});
	for (Thing *thing : {leaked.get(), anywhere.get(), inherited.get(), both.get()})
		EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	drain_other();
	EXPECT_TRUE(leaked->ended_once_on(other.id()));
}

TEST_F(Fork, AMessageToALostOwnerComesBack)
{
	tether_owner_t lost = other.owner();

	in_fork([&] {
		Note note;

		EXPECT_EQ(tether_post(lost, &note.message), -ESRCH);
		EXPECT_TRUE(note.came_back_once_to(pthread_self()));
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
}

/* ---- Logical owners -------------------------------------------------------------------------- */

tether_owner_t make_owner(const char *name)
{
	tether_owner_t owner = 0;

	EXPECT_EQ(tether_owner_create(name, &owner), 0);
	return owner;
}

TEST_F(Fork, LogicalOwnersThatNobodyIsInsideOfLiveOn)
{
	tether_owner_t fiber = make_owner("fiber");
	Thing thing, pending;

	tether_owner_t before = tether_owner_enter(fiber);
	for (Thing *one : {&thing, &pending})
		tether_bind(&one->tether, &thing_type);
	tether_owner_leave(before);
	EXPECT_EQ(tether_drop(&pending.tether), TETHER_QUEUED);
	on_both_sides([&] {
		EXPECT_TRUE(tether_owner_is_alive(fiber));
		EXPECT_EQ(stats(fiber).pending, 1U);
		elsewhere([&] {
			tether_owner_t outside = tether_owner_enter(fiber);
			TETHER_CHECK(&thing.tether);
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
			EXPECT_EQ(tether_drain(0), 1U);
			tether_owner_leave(outside);
		});
		EXPECT_EQ(thing.ends + pending.ends, 2);
		EXPECT_EQ(tether_owner_end(fiber), 0);
	});
}

TEST_F(Fork, AThreadThatForksInsideAnOwnerStaysInsideAndItsOwnLivesToo)
{
	tether_owner_t self = tether_self(), outer = make_owner("outer"), inner = make_owner("inner");
	Thing own, inners;

	tether_bind(&own.tether, &thing_type);
	tether_owner_t first = tether_owner_enter(outer), second = tether_owner_enter(inner);
	tether_bind(&inners.tether, &thing_type);
	on_both_sides([&] {
		EXPECT_EQ(tether_self(), inner);
		for (tether_owner_t owner : {self, outer, inner})
			EXPECT_TRUE(tether_owner_is_alive(owner));
		EXPECT_EQ(tether_drop(&inners.tether), TETHER_HERE);
		tether_owner_leave(second);
		EXPECT_EQ(tether_self(), outer);
		tether_owner_leave(first);
		EXPECT_EQ(tether_self(), self);
		EXPECT_EQ(tether_drop(&own.tether), TETHER_HERE);
		EXPECT_EQ(tether_owner_end(inner) + tether_owner_end(outer), 0);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
}

TEST_F(Fork, AnOwnerThatAnotherThreadIsInsideOfIsLost)
{
	tether_owner_t fiber = make_owner("fiber"), before = 0;
	Thing thing;

	other.run([&] {
		before = tether_owner_enter(fiber);
		tether_bind(&thing.tether, &thing_type);
	});
	in_fork([&] {
		EXPECT_FALSE(tether_owner_is_alive(fiber));
		EXPECT_TRUE(has(describe(&thing.tether), "'fiber'")) << describe(&thing.tether);
		EXPECT_TRUE(has(describe(&thing.tether), "did not survive the fork")) << describe(&thing.tether);
		EXPECT_EQ(tether_owner_enter(fiber), 0U);
		EXPECT_EQ(tether_owner_end(fiber), -ESRCH);
		EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_BAD_OWNER, TETHER_BAD_OWNER}));
	});
	other.run([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		tether_owner_leave(before);
	});
	EXPECT_EQ(tether_owner_end(fiber), 0);
}

TEST_F(Fork, ALimitHoldsInTheChildThoughASenderWasInItsCallback)
{
	static std::atomic<int> told;
	static std::atomic<bool> may_return;
	Thing things[4];

	told = 0;
	may_return = false;
	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_set_limit(
				  1,
				  [](void *, size_t) {
					  told++;
					  while (!may_return)
						  sched_yield();
				  },
				  nullptr),
	          0);
	std::thread sender([&] {
		tether_drop(&things[0].tether);
		tether_drop(&things[1].tether); /* stays in the callback */
	});
	while (told == 0)
		sched_yield();
	in_fork([&] {
		may_return = true;
		EXPECT_EQ(tether_drain(0), 2U);
		elsewhere([&] {
			tether_drop(&things[2].tether);
			tether_drop(&things[3].tether);
		});
		EXPECT_EQ(told, 2);
		EXPECT_EQ(tether_drain(0), 2U);
		EXPECT_EQ(tether_set_limit(0, nullptr, nullptr), 0) << "it waits for nobody who is not there";
	});
	may_return = true;
	sender.join();
	EXPECT_EQ(tether_drain(0), 2U);
	EXPECT_EQ(tether_set_limit(0, nullptr, nullptr), 0);
	for (int i : {2, 3})
		tether_fini(&things[i].tether);
}

/* ---- What was pending ------------------------------------------------------------------------ */

TEST_F(Fork, WhatWasPendingForOthersIsForgottenInTheChild)
{
	std::unique_ptr<Thing> things[3] = {of_other(&thing_type), of_other(&anywhere_type), of_other(&thing_type)};
	Note note;

	for (auto &thing : things)
		EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(other.owner(), &note.message), 0);
	other.run([] { EXPECT_EQ(tether_drain(1), 1U); }); /* the rest is taken, and not run */
	in_fork([&] {
		Thread next;

		EXPECT_EQ(stats().pending, 0U);
		next.run([] {
			tether_self();
			EXPECT_EQ(tether_drain(0), 0U) << "whoever gets the slot";
		});
		EXPECT_EQ(tether_drain(0), 0U);
		EXPECT_EQ(things[0]->ends, 1) << "before the fork";
		EXPECT_EQ(things[1]->ends + things[2]->ends + note.calls, 0);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	drain_other();
	for (auto &thing : things)
		EXPECT_TRUE(thing->ended_once_on(other.id()));
	EXPECT_TRUE(note.ran_once_on(other.id()));
}

TEST_F(Fork, TheBatchOfTheThreadThatForksIsFlushedInBoth)
{
	Thing mine, theirs;
	Thread home;

	home.run([&] { tether_bind(&theirs.tether, &anywhere_type); });
	tether_bind(&mine.tether, &thing_type);
	ASSERT_EQ(tether_batch_begin(), 0);
	EXPECT_EQ(tether_drop(&theirs.tether), TETHER_BATCHED);
	EXPECT_EQ(tether_drop(&mine.tether), TETHER_BATCHED);
	in_fork(
		[&] {
			tether_batch_end();
			EXPECT_TRUE(mine.ended_once_here());
			EXPECT_TRUE(theirs.ended_once_here()); /* an orphan in this process */
		},
		[&] {
			tether_batch_end();
			EXPECT_TRUE(mine.ended_once_here());
			home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
			EXPECT_TRUE(theirs.ended_once_on(home.id()));
		});
}

TEST_F(Fork, TheBatchOfAnotherThreadIsLostInTheChild)
{
	constexpr size_t count = 40; /* marked ones and others */
	std::vector<Thing> things(count);
	Thread sender;

	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	sender.run([&] {
		ASSERT_EQ(tether_batch_begin(), 0);
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_BATCHED);
	});
	in_fork(
		[&] {
			/* The slot of the sender, and what it had collected there, is somebody else's now. */
			for (int i = 0; i < 3; i++)
				elsewhere([] {
					EXPECT_EQ(tether_batch_begin(), 0);
					tether_batch_end();
				});
			EXPECT_EQ(tether_drain(0), 0U);
		},
		[&] {
			sender.run([] { tether_batch_end(); });
			EXPECT_EQ(tether_drain(0), count);
		});
}

TEST_F(Fork, WhatDiesInChildrenIsDestroyedInBoth)
{
	std::vector<std::unique_ptr<Thing>> things;
	std::string order;
	Note note;

	for (char name : {'a', 'b', 'c', 'd'}) {
		things.push_back(of_other(&both_type));
		*things.back()->at_end = [&, name] { order += name; };
	}
	std::unique_ptr<Thing> forgotten = of_other(&thing_type);
	other.run([&] { /* into `later`: the thread is inside a destructor when its process is forked */
					Thing outer([&] {
						EXPECT_EQ(tether_drop(&things[0]->tether), TETHER_QUEUED);
						elsewhere([&] {
							for (size_t i = 1; i < things.size(); i++)
								EXPECT_EQ(tether_drop(&things[i]->tether), TETHER_QUEUED);
							EXPECT_EQ(tether_drop(&forgotten->tether), TETHER_QUEUED);
							tether_self();
							in_fork([&] {
								EXPECT_EQ(order, "") << "not in the fork itself";
								EXPECT_EQ(stats(tether_self()).pending, 4U);
								EXPECT_TRUE(is_readable(tether_fd()));
								EXPECT_EQ(tether_drain(0), 4U);
								EXPECT_EQ(order, "abcd");
								for (auto &thing : things)
									EXPECT_TRUE(thing->ended_once_here());
								EXPECT_EQ(forgotten->ends, 0);
								EXPECT_EQ(stats().orphaned, 4U);
								EXPECT_EQ(stats().pending, 0U);
								expect_balanced(stats());
								EXPECT_EQ(reports.take_kinds(), Kinds{});
							});
						});
					});

					tether_bind(&outer.tether, &thing_type);
					EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
	});
	drain_other();
	EXPECT_EQ(order, "abcd");
	EXPECT_TRUE(things[3]->ended_once_on(other.id()));
}

TEST_F(Fork, WhatDiesInChildrenWaitsForTheFirstOwnerIfTheThreadThatForkedHasNone)
{
	std::unique_ptr<Thing> thing = of_other(&both_type);

	EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	elsewhere([&] {
		in_fork([&] {
			EXPECT_EQ(stats().pending, 1U);
			EXPECT_EQ(tether_drain(0), 0U);
			in_fork([&] { /* it is handed on */
						  tether_self();
						  EXPECT_EQ(tether_drain(0), 1U);
						  EXPECT_TRUE(thing->ended_once_here());
						  EXPECT_EQ(stats().pending, 0U);
						  EXPECT_EQ(stats().sent, stats().queued);
						  expect_balanced(stats(tether_self()));
			});
			Thread first;
			EXPECT_EQ(stats(first.owner()).pending, 1U);
			first.run([] { EXPECT_EQ(tether_drain(0), 1U); });
			EXPECT_TRUE(thing->ended_once_on(first.id()));
		});
	});
	drain_other();
	EXPECT_TRUE(thing->ended_once_on(other.id()));
}

TEST_F(Fork, WhatWaitsForTheFirstOwnerIsDrainedByAShutdown)
{
	std::unique_ptr<Thing> thing = of_other(&both_type);

	EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	elsewhere([&] {
		in_fork([&] {
			EXPECT_EQ(tether_shutdown(0), 0);
			EXPECT_TRUE(thing->ended_once_here());
			EXPECT_EQ(stats().pending, 0U);
		});
	});
	drain_other();
}

struct Family {
	struct tether_group group;
	int ends = 0;
};
const tether_type family_type = TETHER_TYPE_RULES(
	Family, group.tag, [](void *family) { static_cast<Family *>(family)->ends++; }, TETHER_GROUP);

/* What carries a thing to another owner, and how it arrived. */
struct Transfer {
	struct tether_transfer transfer;
	std::vector<enum tether_arrival> arrivals;

	Transfer() { tether_transfer_init(&transfer, arrived); }
	static void arrived(struct tether_transfer *transfer, struct tether *, enum tether_arrival arrival)
	{
		reinterpret_cast<Transfer *>(transfer)->arrivals.push_back(arrival);
	}
};

TEST_F(Fork, WhatWasOnItsWayToALostOwnerComesBack)
{
	Thing thing;
	Transfer way;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_hand_off(&thing.tether, other.owner(), &way.transfer), 0);
	in_fork([&] {
		EXPECT_FALSE(tether_is_mine(&thing.tether));
		EXPECT_TRUE(is_readable(tether_fd()));
		EXPECT_EQ(tether_drain(0), 2U) << "nobody has it; then it is back";
		EXPECT_EQ(way.arrivals, std::vector<enum tether_arrival>{TETHER_CAME_BACK});
		TETHER_CHECK(&thing.tether);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_EQ(stats().sent, stats().queued);
		expect_balanced(stats());
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	drain_other();
	EXPECT_EQ(way.arrivals, std::vector<enum tether_arrival>{TETHER_RECEIVED});
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	drain_other();
}

TEST_F(Fork, WhatALostOwnerHadSentArrives)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);
	tether_owner_t self = tether_self();
	Transfer way;

	other.run([&] { EXPECT_EQ(tether_hand_off(&thing->tether, self, &way.transfer), 0); });
	on_both_sides([&] {
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(way.arrivals, std::vector<enum tether_arrival>{TETHER_RECEIVED});
		EXPECT_EQ(tether_drop(&thing->tether), TETHER_HERE);
	});
}

TEST_F(Fork, WhatWasLentToALostOwnerIsHome)
{
	Thing kept, dropped;

	for (Thing *thing : {&kept, &dropped}) {
		tether_bind(&thing->tether, &thing_type);
		EXPECT_EQ(tether_lend(&thing->tether, other.owner()), 0);
	}
	EXPECT_EQ(tether_drop(&dropped.tether), TETHER_QUEUED);
	in_fork([&] {
		EXPECT_TRUE(tether_is_mine(&kept.tether));
		EXPECT_EQ(tether_drop(&kept.tether), TETHER_HERE);
		EXPECT_EQ(dropped.ends, 0);
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_TRUE(dropped.ended_once_here());
		EXPECT_EQ(stats().sent, stats().queued);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	other.run([&] {
		EXPECT_EQ(tether_return(&kept.tether), 0);
		EXPECT_EQ(tether_return(&dropped.tether), 0);
	});
	EXPECT_EQ(tether_drop(&kept.tether), TETHER_HERE);
	EXPECT_EQ(tether_drain(0), 1U);
}

TEST_F(Fork, WhatALostOwnerHadLentIsReturnedToNobody)
{
	std::unique_ptr<Thing> thing = of_other(&anywhere_type);
	tether_owner_t self = tether_self();

	other.run([&] { EXPECT_EQ(tether_lend(&thing->tether, self), 0); });
	in_fork([&] {
		TETHER_CHECK(&thing->tether);
		EXPECT_EQ(tether_return(&thing->tether), 0);
		EXPECT_FALSE(tether_is_mine(&thing->tether));
		EXPECT_EQ(tether_drop(&thing->tether), TETHER_ORPHANED);
		EXPECT_TRUE(thing->ended_once_here());
	});
	EXPECT_EQ(tether_return(&thing->tether), 0);
	EXPECT_EQ(tether_drop(&thing->tether), TETHER_QUEUED);
	drain_other();
}

TEST_F(Fork, AParentThatWaitsForItsChildrenGoesOnWaiting)
{
	Family family;
	Thing child;

	tether_bind_group(&family.group, &family_type);
	EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &family.group), 0);
	EXPECT_EQ(tether_drop(&family.group.tag), TETHER_QUEUED);
	on_both_sides([&] {
		EXPECT_EQ(stats(tether_self()).pending, 0U) << "it waits in no inbox";
		EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
		EXPECT_EQ(family.ends, 1);
		EXPECT_EQ(stats().pending, 0U);
		EXPECT_EQ(stats().sent, stats().queued);
		expect_balanced(stats());
	});
}

struct Counted {
	struct tether_ref ref = {};
	Thing thing;
};

/* Its owner had counted what we put, and was asked to add up. */
TEST_F(Fork, ReferencesThatALostOwnerHadCountedAreAddedUp)
{
	Counted counted;

	other.run([&] {
		tether_bind(&counted.thing.tether, &anywhere_type);
		tether_ref_init(&counted.ref, &counted.thing.tether);
		tether_ref_get(&counted.ref); /* both are ours from now on */
	});
	tether_ref_put(&counted.ref);
	in_fork([&] {
		tether_ref_put(&counted.ref);
		EXPECT_EQ(counted.thing.ends, 0);
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_TRUE(counted.thing.ended_once_here());
		EXPECT_EQ(stats().sent, stats().queued);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	tether_ref_put(&counted.ref);
	in_fork([&] {
		EXPECT_EQ(tether_drain(0), 0U) << "there is no reference left: that is the parent's to end";
		EXPECT_EQ(counted.thing.ends, 0);
	});
	drain_other();
	EXPECT_TRUE(counted.thing.ended_once_on(other.id()));
}

/* A child's drop found the owner that its parent had then; the parent is ours now. */
TEST_F(Fork, WhatFollowsOursIsOursThoughItWaitsForALostOwner)
{
	Family family;
	Thing child;
	Transfer way;
	tether_owner_t self = tether_self();

	other.run([&] {
		tether_bind_group(&family.group, &family_type);
		EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &family.group), 0);
	});
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	other.run([&] { EXPECT_EQ(tether_hand_off(&family.group.tag, self, &way.transfer), 0); });
	EXPECT_EQ(tether_drain(0), 1U);
	in_fork([&] {
		EXPECT_EQ(tether_drop(&family.group.tag), TETHER_QUEUED) << "its child comes first";
		EXPECT_EQ(family.ends, 0);
		tether_drain(0);
		EXPECT_TRUE(child.ended_once_here());
		EXPECT_EQ(family.ends, 1);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	drain_other();
	tether_drain(0);
	EXPECT_TRUE(child.ended_once_here());
	EXPECT_EQ(tether_drop(&family.group.tag), TETHER_HERE);
}

/* Its parent has left the owner that it waits for, and has not arrived. */
TEST_F(Fork, WhatFollowsOneThatIsOnItsWayToUsArrivesWithIt)
{
	Family family;
	Thing children[2];
	Transfer way;
	tether_owner_t self = tether_self();

	other.run([&] {
		tether_bind_group(&family.group, &family_type);
		EXPECT_EQ(tether_bind_to(&children[0].tether, &both_type, &family.group), 0);
		EXPECT_EQ(tether_bind_to(&children[1].tether, &thing_type, &family.group), 0);
	});
	for (Thing &child : children)
		EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	other.run([&] { EXPECT_EQ(tether_hand_off(&family.group.tag, self, &way.transfer), 0); });
	in_fork([&] {
		tether_drain(0);
		EXPECT_EQ(way.arrivals, std::vector<enum tether_arrival>{TETHER_RECEIVED});
		EXPECT_TRUE(children[0].ended_once_here() && children[1].ended_once_here());
		EXPECT_EQ(tether_drop(&family.group.tag), TETHER_HERE);
		expect_balanced(stats());
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	drain_other();
	tether_drain(0);
	EXPECT_TRUE(children[0].ended_once_here() && children[1].ended_once_here());
	EXPECT_EQ(tether_drop(&family.group.tag), TETHER_HERE);
}

TEST_F(Fork, WhatIsPendingForTheThreadThatForksIsHandledInBoth)
{
	int fd = tether_fd();
	Thing things[4];
	Note note;

	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	other.run([&] {
		for (Thing &thing : things)
			EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(things[0].tether.owner_ & ~(UINT64_C(1) << 63), &note.message), 0);
	});
	EXPECT_EQ(tether_drain(2), 2U);
	on_both_sides([&] {
		EXPECT_EQ(stats(tether_self()).pending, 3U);
		EXPECT_TRUE(is_readable(fd)) << "a drain has left something over";
		EXPECT_EQ(tether_drain(0), 3U);
		EXPECT_FALSE(is_readable(fd));
		for (Thing &thing : things)
			EXPECT_TRUE(thing.ended_once_here());
		EXPECT_TRUE(note.ran_once_on(pthread_self()));
	});
}

TEST_F(Fork, CountersBeginAnew)
{
	Thing dropped, pending[3];
	std::unique_ptr<Thing> of_others = of_other(&thing_type);

	tether_bind(&dropped.tether, &thing_type);
	EXPECT_EQ(tether_drop(&dropped.tether), TETHER_HERE);
	EXPECT_FALSE(TETHER_ENSURE(&of_others->tether));
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	for (Thing &thing : pending)
		tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		for (Thing &thing : pending)
			tether_drop(&thing.tether);
	});
	EXPECT_EQ(tether_drain(1), 1U);
	EXPECT_EQ(tether_drop(&of_others->tether), TETHER_QUEUED);
	in_fork([&] {
		struct tether_counters all = stats(), mine = stats(tether_self());

		for (const struct tether_counters &one : {all, mine}) {
			EXPECT_EQ(one.bound + one.failed_checks + one.dropped_here + one.run_home + one.orphaned + one.leaked, 0U);
			EXPECT_EQ(one.wakeups, 0U);
			EXPECT_EQ(one.pending, 2U);
			EXPECT_EQ(one.queued, 2U);
			EXPECT_EQ(one.sent, 2U);
		}
		EXPECT_EQ(tether_drain(0), 2U);
		EXPECT_EQ(stats().run_home, 2U);
		EXPECT_EQ(stats().sent, stats().queued);
		expect_balanced(stats());
	});
	EXPECT_EQ(tether_drain(0), 2U);
	drain_other();
}

/* ---- Waking ---------------------------------------------------------------------------------- */

/* A drop from another thread of this process wakes this process. */
void expect_to_be_woken(int fd)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_FALSE(is_readable(fd));
	elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	EXPECT_TRUE(is_readable(fd));
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_FALSE(is_readable(fd));
}

TEST_F(Fork, ParentAndChildAreWokenByTheirOwnOnly)
{
	int fd = tether_fd(), turns[2], done[2];
	char byte = 0;

	ASSERT_EQ(pipe(turns) + pipe(done), 0);
	in_fork(
		[&] {
			EXPECT_EQ(tether_fd(), fd);
			EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
			EXPECT_EQ(read(turns[0], &byte, 1), 1);
			EXPECT_FALSE(is_readable(fd)) << "that was for the parent";
			expect_to_be_woken(fd);
			Thing thing;
			tether_bind(&thing.tether, &thing_type);
			elsewhere([&] { tether_drop(&thing.tether); });
			EXPECT_EQ(write(done[1], &byte, 1), 1);
			EXPECT_EQ(read(turns[0], &byte, 1), 1);
			EXPECT_TRUE(is_readable(fd)) << "the parent has cleared its own only";
			EXPECT_EQ(tether_drain(0), 1U);
		},
		[&] {
			Thing thing;
			tether_bind(&thing.tether, &thing_type);
			elsewhere([&] { tether_drop(&thing.tether); });
			EXPECT_EQ(write(turns[1], &byte, 1), 1);
			EXPECT_EQ(read(done[0], &byte, 1), 1);
			EXPECT_TRUE(is_readable(fd)) << "the child has cleared its own only";
			EXPECT_EQ(tether_drain(0), 1U);
			EXPECT_FALSE(is_readable(fd));
			EXPECT_EQ(write(turns[1], &byte, 1), 1);
		});
	for (int end : {turns[0], turns[1], done[0], done[1]})
		close(end);
	expect_to_be_woken(fd);
}

TEST_F(Fork, AnOwnerThatWasWokenIsWokenInBoth)
{
	int fd = tether_fd();
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] { tether_drop(&thing.tether); });
	on_both_sides([&] {
		EXPECT_TRUE(is_readable(fd));
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_FALSE(is_readable(fd));
		expect_to_be_woken(fd);
	});
}

TEST_F(Fork, AParkedOwnerThatWasWokenIsWokenInBoth)
{
	elsewhere([&] { /* how an owner is woken stays so for its life */
					int fd = tether_fd();
					Thing thing, later;

					tether_bind(&thing.tether, &thing_type);
					tether_bind(&later.tether, &thing_type);
					EXPECT_TRUE(tether_park());
					in_fork([&] {
						elsewhere([&] { tether_drop(&thing.tether); });
						EXPECT_TRUE(is_readable(fd)) << "still parked";
						tether_unpark();
						EXPECT_EQ(tether_drain(0), 1U);
					});
					elsewhere([&] { tether_drop(&thing.tether); });
					on_both_sides([&] {
						EXPECT_TRUE(is_readable(fd));
						tether_unpark();
						EXPECT_EQ(tether_drain(0), 1U);
						EXPECT_TRUE(tether_park());
						EXPECT_FALSE(is_readable(fd));
						elsewhere([&] { tether_drop(&later.tether); });
						EXPECT_TRUE(is_readable(fd));
						tether_unpark();
						EXPECT_EQ(tether_drain(0), 1U);
					});
	});
}

TEST_F(Fork, AWakeOfTheProgramIsCalledByTheNextSender)
{
	elsewhere([&] { /* how an owner is woken stays so for its life */
					std::atomic<int> wakes{0};
					Thing pending, next;

					tether_bind(&pending.tether, &thing_type);
					tether_bind(&next.tether, &thing_type);
					EXPECT_EQ(tether_set_wake([](void *count) { ++*static_cast<std::atomic<int> *>(count); }, &wakes), 0);
					elsewhere([&] { tether_drop(&pending.tether); });
					EXPECT_EQ(wakes, 1);
					on_both_sides([&] {
						EXPECT_EQ(wakes, 1) << "the fork itself calls nothing of the program";
						EXPECT_EQ(tether_drain(0), 1U);
						elsewhere([&] { tether_drop(&next.tether); });
						EXPECT_EQ(wakes, 2);
						EXPECT_EQ(tether_drain(0), 1U);
						EXPECT_EQ(tether_set_wake(nullptr, nullptr), 0) << "it waits for nobody who is not there";
					});
	});
}

TEST_F(Fork, AnEndedOwnerLeavesInTheChildToo)
{
	tether_fd();
	Thing thing;
	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] { tether_drop(&thing.tether); });
	in_fork([&] {
		tether_owner_exit();
		EXPECT_TRUE(thing.ended_once_here());
		EXPECT_EQ(stats().pending, 0U);
		expect_balanced(stats());
	});
	EXPECT_EQ(tether_drain(0), 1U);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

std::set<int> open_descriptors()
{
	std::set<int> all;
	DIR *directory = opendir("/proc/self/fd");

	while (struct dirent *entry = readdir(directory))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory))
			all.insert(atoi(entry->d_name));
	closedir(directory);
	return all;
}

TEST_F(Fork, DescriptorsOfLostOwnersAreClosed)
{
	int mine = tether_fd(), others = -1;
	std::set<int> without = open_descriptors();

	other.run([&] { others = tether_fd(); });
	std::set<int> with = open_descriptors();
	in_fork([&] {
		EXPECT_EQ(open_descriptors(), without);
		EXPECT_EQ(fcntl(mine, F_GETFD), FD_CLOEXEC);
		EXPECT_EQ(fcntl(others, F_GETFD), -1);
	});
	EXPECT_EQ(open_descriptors(), with);
}

/* No more than are open now. */
void allow_descriptors(rlim_t count)
{
	struct rlimit limit;

	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = count;
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST_F(Fork, ADescriptorIsReplacedThoughNoneIsLeft)
{
	int fd = tether_fd();

	in_fork([&] { /* for its limit */
				  int last;

				  allow_descriptors(64);
				  while ((last = dup(0)) >= 0)
					  ;
				  in_fork(
					  [&] {
						  EXPECT_EQ(reports.take_kinds(), Kinds{});
						  EXPECT_EQ(tether_fd(), fd);
						  expect_to_be_woken(fd);
						  EXPECT_EQ(dup(0), -1) << "there is still none";
					  },
					  [&] { EXPECT_FALSE(is_readable(fd)); });
				  expect_to_be_woken(fd);
	});
}

TEST_F(Fork, ThatThereIsNoDescriptorIsReportedAndDrainingOnEachTurnWorks)
{
	int fd = tether_fd();
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	in_fork([&] {
		allow_descriptors(0);
		in_fork([&] {
			std::vector<Caught> caught = reports.take();

			ASSERT_EQ(caught.size(), 1U);
			EXPECT_EQ(caught[0].report.kind, TETHER_NO_WAKE);
			EXPECT_EQ(caught[0].operation, "fork");
			EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "not the parent's";
			elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
			EXPECT_EQ(tether_drain(0), 1U);
			allow_descriptors(64);
			expect_to_be_woken(tether_fd());
		});
		in_fork([&] {
			EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_WAKE});
			EXPECT_FALSE(tether_park()) << "nothing would wake it";
		});
	});
	tether_fini(&thing.tether);
}

/* What a program finds open that is started so. */
enum class Start { fork_exec, vfork_exec, spawn };

std::string found_open(Start start)
{
	char *const arguments[] = {const_cast<char *>("ls"), const_cast<char *>("/proc/self/fd"), nullptr};
	std::string text;
	char buffer[512];
	ssize_t got;
	int ends[2];
	pid_t pid = -1;

	EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	if (start == Start::spawn) {
		EXPECT_EQ(posix_spawn(&pid, "/bin/ls", &actions, nullptr, arguments, environ), 0);
	} else {
		pid = start == Start::fork_exec ? fork() : vfork();
		if (pid == 0) {
			dup2(ends[1], STDOUT_FILENO);
			execv("/bin/ls", arguments);
			_exit(127);
		}
	}
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	while ((got = read(ends[0], buffer, sizeof buffer)) > 0)
		text.append(buffer, static_cast<size_t>(got));
	close(ends[0]);
	EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
	return text;
}

TEST_F(Fork, ProgramsThatAreStartedInheritNoDescriptor)
{
	for (Start start : {Start::fork_exec, Start::vfork_exec, Start::spawn}) {
		Thread another;
		std::string before = found_open(start);

		another.run([] { EXPECT_GE(tether_fd(), 0); });
		EXPECT_GE(tether_fd(), 0);
		EXPECT_EQ(found_open(start), before);
		in_fork([&] { EXPECT_EQ(found_open(start), before) << "what a child opened in their place"; });
	}
}

TEST_F(Fork, VforkLeavesTheParentAsItIs)
{
	int fd = tether_fd();
	tether_owner_t lives = other.owner();
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
	EXPECT_TRUE(tether_owner_is_alive(lives));
	expect_to_be_woken(fd);
}

/* ---- Where it is called ---------------------------------------------------------------------- */

TEST_F(Fork, InADestructorBothGoOn)
{
	Thing inner, next, *outer;
	int fd = tether_fd();
	pid_t pid = -1;
	Thing forks([&] {
		EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED);
		TETHER_CHECK(&outer->tether);
		fflush(nullptr);
		pid = fork();
		TETHER_CHECK(&outer->tether);
	});

	outer = &forks;
	for (Thing *thing : {&inner, &next, outer})
		tether_bind(&thing->tether, &thing_type);
	elsewhere([&] {
		tether_drop(&forks.tether);
		tether_drop(&next.tether);
	});
	EXPECT_EQ(tether_drain(0), 3U);
	EXPECT_TRUE(inner.ended_once_here());
	EXPECT_TRUE(next.ended_once_here());
	EXPECT_FALSE(is_readable(fd));
	EXPECT_EQ(stats().pending, 0U);
	if (pid == 0) {
		EXPECT_EQ(stats().run_home, 2U) << "what came after the fork";
		EXPECT_EQ(stats().sent, stats().queued);
		expect_balanced(stats(tether_self()));
		expect_to_be_woken(fd);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
		fflush(nullptr);
		_exit(HasFailure() ? 1 : 0);
	}
	int status = -1;
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

TEST_F(Fork, InADestructorOnAThreadWithoutAnOwnerBothGoOn)
{
	Thing inner;
	Thing forks([&] {
		EXPECT_EQ(tether_drop(&inner.tether), TETHER_QUEUED);
		in_fork([&] {
			EXPECT_EQ(stats().pending, 1U);
			EXPECT_EQ(stats().sent, stats().queued);
		});
	});

	tether_bind_later(&inner.tether, &thing_type);
	tether_bind_later(&forks.tether, &thing_type);
	elsewhere([&] { EXPECT_EQ(tether_drop(&forks.tether), TETHER_HERE); });
	EXPECT_EQ(inner.ends, 1);
}

TEST_F(Fork, InAMessageBothGoOn)
{
	Thing thing;
	Note note([&] {
		on_both_sides([&] {
			EXPECT_EQ(stats(tether_self()).pending, 1U);
			EXPECT_EQ(tether_drain(0), 0U) << "a drain inside a drain does nothing";
		});
	});

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drain(0), 2U);
}

TEST_F(Fork, InAReportCallbackTheChildReports)
{
	std::unique_ptr<Thing> thing = of_other(&thing_type);
	static std::function<void()> at_report;

	at_report = [&] {
		in_fork([&] {
			tether_set_report_callback([](const struct tether_report *, void *) {}, nullptr);
			TETHER_CHECK(&thing->tether);
			EXPECT_EQ(stats().failed_checks, 1U);
		});
	};
	tether_set_report_callback([](const struct tether_report *, void *) { at_report(); }, nullptr);
	EXPECT_FALSE(TETHER_ENSURE(&thing->tether));
	tether_set_report_callback(nullptr, nullptr);
}

TEST_F(Fork, FromAThreadWithoutAnOwnerLosesAll)
{
	std::unique_ptr<Thing> others = of_other(&thing_type);
	tether_owner_t mains = tether_self();
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		in_fork([&] {
			EXPECT_FALSE(tether_owner_is_alive(mains));
			EXPECT_TRUE(has(describe(&thing.tether), "did not survive the fork"));
			EXPECT_TRUE(has(describe(&others->tether), "did not survive the fork"));
			EXPECT_NE(tether_self(), mains);
			EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
			EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
		});
	});
	tether_fini(&thing.tether);
}

TEST_F(Fork, OnAnotherThreadThanTheFirstItIsThatOneWhichLives)
{
	std::unique_ptr<Thing> others = of_other(&thing_type);
	tether_owner_t mains = tether_self();

	other.run([&] {
		in_fork([&] {
			EXPECT_TRUE(tether_is_mine(&others->tether));
			EXPECT_FALSE(tether_owner_is_alive(mains));
			expect_to_be_woken(tether_fd());
			EXPECT_EQ(tether_drop(&others->tether), TETHER_HERE);
		});
	});
}

std::atomic<int> interrupted{0};

TEST_F(Fork, InASignalHandlerThatInterruptedTheProgramsOwnCode)
{
	std::unique_ptr<Thing> others = of_other(&thing_type);
	static const struct tether *touched;

	touched = &others->tether;
	interrupted = 0;
	signal(SIGUSR2, [](int) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(tether_is_mine(touched) || tether_owner_is_alive(touched->owner_) ? 1 : 0);
		int status = -1;
		waitpid(pid, &status, 0);
		interrupted = status == 0 ? 1 : 2;
	});
	raise(SIGUSR2);
	signal(SIGUSR2, SIG_DFL);
	EXPECT_EQ(interrupted, 1);
}

TEST_F(Fork, TheSignalMaskIsAsItWas)
{
	sigset_t before;

	pthread_sigmask(SIG_SETMASK, nullptr, &before);
	sigaddset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
	on_both_sides([&] {
		sigset_t after;

		pthread_sigmask(SIG_SETMASK, nullptr, &after);
		for (int number = 1; number < NSIG; number++)
			EXPECT_EQ(sigismember(&before, number), sigismember(&after, number)) << number;
	});
	sigdelset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/* The program's own handlers are younger than the library's. */
struct Handlers {
	static inline bool are_on;
	static inline tether_owner_t left_behind;
	static inline struct tether_counters before, parent, child;
	static inline bool was_alive, is_alive;

	static void prepare()
	{
		if (!are_on)
			return;
		tether_stats(0, &before);
		was_alive = tether_owner_is_alive(left_behind);
	}
	static void in_parent()
	{
		if (are_on)
			tether_stats(0, &parent);
	}
	static void in_child()
	{
		if (!are_on)
			return;
		tether_stats(0, &child);
		is_alive = tether_owner_is_alive(left_behind);
	}
};

TEST_F(Fork, HandlersOfTheProgramMayUseTheLibrary)
{
	ASSERT_EQ(pthread_atfork(Handlers::prepare, Handlers::in_parent, Handlers::in_child), 0);
	Handlers::are_on = true;
	Handlers::left_behind = other.owner();
	Thing thing;
	tether_bind(&thing.tether, &thing_type);
	in_fork([&] {
		EXPECT_TRUE(Handlers::was_alive);
		EXPECT_FALSE(Handlers::is_alive) << "theirs runs when all is in order";
		EXPECT_GE(Handlers::before.bound, 1U);
		EXPECT_EQ(Handlers::child.bound, 0U);
	});
	EXPECT_EQ(Handlers::parent.bound, Handlers::before.bound);
	Handlers::are_on = false;
	tether_fini(&thing.tether);
}

TEST_F(Fork, ErrnoIsAsItWas)
{
	errno = 4242;
	pid_t pid = fork();
	int error = errno;
	if (pid == 0)
		_exit(error == 4242 ? 0 : 1);
	int status = -1;
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

/* ---- While others are at work ---------------------------------------------------------------- */

/* Fork this often while other threads do it over and over; then do it in each child as well. */
void fork_while(
	const std::function<void()> &others, const std::function<void()> &in_each_child, size_t times,
	const std::function<void()> &before_each = [] {})
{
	std::atomic<bool> stop{false};
	std::atomic<int> begun{0};
	std::vector<std::thread> threads;

	for (int i = 0; i < 2; i++)
		threads.emplace_back([&] {
			for (begun++; !stop;)
				others();
		});
	while (begun < 2) /* AddressSanitizer makes a thread ready under its allocator's locks, which a fork leaves held */
		sched_yield();
	for (size_t i = 0; i < times && !testing::Test::HasFailure(); i++) {
		before_each();
		in_fork(in_each_child);
	}
	stop = true;
	for (std::thread &thread : threads)
		thread.join();
}

TEST_F(Fork, WhileOthersSetTheCallbackLeavesItFree)
{
	auto set = [] { tether_set_report_callback([](const struct tether_report *, void *) {}, nullptr); };

	fork_while(
		set,
		[&] {
			set();
			Thing thing;
			tether_bind(&thing.tether, &thing_type);
			elsewhere([&] { TETHER_CHECK(&thing.tether); }); /* a torn pair would be written, and read as none */
			EXPECT_EQ(stats().failed_checks, 1U);
		},
		scaled(8000) / 100 + 10);
	tether_set_report_callback(nullptr, nullptr);
}

TEST_F(Fork, WhileOthersBindTheirFirstObjectsOfATypeLeavesTypesFree)
{
	static std::vector<tether_type> types(6000, thing_type), own(8, thing_type);
	static std::atomic<size_t> next, limit;
	auto bind = [](const tether_type *type) {
		struct tether tag;

		tether_bind_later(&tag, type);
		EXPECT_TRUE(tether_claim(&tag));
		tether_fini(&tag);
	};

	next = limit = 0;
	fork_while(
		[&] {
			size_t i = next;
			if (i < limit && next.compare_exchange_strong(i, i + 1))
				bind(&types[i]);
		},
		[&] {
			for (const tether_type &type : own)
				bind(&type);
		},
		100, [] { limit += 60; });
}

TEST_F(Fork, WhileOthersMatchSuppressionsLeavesThemReplaceable)
{
	char path[] = "/tmp/tether_fork_test_XXXXXX";
	int fd = mkstemp(path);
	std::string lines;

	for (int i = 0; i < 1000; i++)
		lines += "never-bound:nobody_is_called_so\n";
	ASSERT_EQ(write(fd, lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
	close(fd);
	EXPECT_EQ(tether_set_option("suppressions", path), 0);
	tether_set_report_callback([](const struct tether_report *, void *) {}, nullptr);
	fork_while(
		[] {
			struct tether none = {0, 0, 0, 0};
			TETHER_CHECK(&none);
		},
		[&] {
			for (int i = 0; i < 10; i++)
				EXPECT_EQ(tether_set_option("suppressions", path), 0) << "each needs a place";
		},
		scaled(3000) / 100 + 10);
	tether_set_report_callback(nullptr, nullptr);
	EXPECT_EQ(tether_set_option("suppressions", ""), 0);
	unlink(path);
}

TEST_F(Fork, WhileOthersUseTheLibraryForTheFirstTimeStartsItOnce)
{
	for (size_t i = 0; i < scaled(3000) / 100 + 5; i++) {
		Child child = in_child([] {
			std::atomic<bool> runs{false}, may_end{false};
			std::thread first([&] {
				runs = true;
				tether_self();
				while (!may_end)
					sched_yield();
			});
			while (!runs)
				;
			pid_t pid = fork();
			if (pid == 0) {
				alarm(60);
				violate(1);
				exit(0);
			}
			may_end = true;
			first.join();
			EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
		});
		size_t summaries = 0;

		for (size_t at = child.err.find("at exit"); at != std::string::npos; at = child.err.find("at exit", at + 1))
			summaries++;
		ASSERT_EQ(summaries, 1U) << child.err;
	}
}

} // namespace
