/* shutdown_test.cc - draining everybody before the program ends, and what is said of the rest.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <deque>
#include <map>
#include <memory>

namespace
{

constexpr unsigned patience_ms = 60000;

struct Other {
	struct tether tether = {0, 0, 0, 0};
};
void other_destroy(void *)
{
}
const tether_type other_type = TETHER_TYPE(Other, tether, other_destroy);

/* What one owner has left, by type; "?": what it has taken already. */
using Left = std::map<std::string, uint64_t>;

class Shutdown : public Quiet
{
protected:
	/* Catches the report while its rows live. */
	void SetUp() override
	{
		Quiet::SetUp();
		tether_set_report_callback(caught, this);
	}

	Left left_of(tether_owner_t owner) const
	{
		auto found = left_.find(owner);

		return found == left_.end() ? Left{} : found->second;
	}
	std::vector<enum tether_kind> take_kinds() { return std::exchange(kinds_, {}); }

	std::string text, verdict, doing, json;
	uint64_t left_more = 0;

private:
	static void caught(const struct tether_report *report, void *context)
	{
		Shutdown *self = static_cast<Shutdown *>(context);
		std::vector<char> line(1 << 16);

		self->kinds_.push_back(report->kind);
		self->text.assign(report->text, report->text_bytes);
		self->verdict = report->verdict;
		EXPECT_LT(tether_report_json(report, line.data(), line.size()), line.size());
		self->json = line.data();
		self->left_.clear();
		self->left_more = report->left_more;
		for (size_t i = 0; i < report->left_count; i++) {
			const struct tether_left &left = report->left[i];

			EXPECT_EQ(left.owner_number, tether_owner_number(left.owner));
			self->left_[left.owner][left.type ? left.type : "?"] += left.count;
			self->doing = text_of(left.owner_doing);
		}
	}

	std::vector<enum tether_kind> kinds_;
	std::map<tether_owner_t, Left> left_;
};

/* A loop that sleeps until there is something to drain. */
class Loop
{
public:
	Loop() : thread_([this] { run(); })
	{
		while (owner == 0)
			sched_yield();
	}
	~Loop()
	{
		is_over_ = true;
		tether_post(owner, &last_.message);
		thread_.join();
	}
	Loop(const Loop &) = delete;
	Loop &operator=(const Loop &) = delete;

	std::atomic<tether_owner_t> owner{0};

private:
	void run()
	{
		struct pollfd ready = {tether_fd(), POLLIN, 0};

		owner = tether_self();
		while (!is_over_) {
			poll(&ready, 1, tether_park() ? -1 : 0);
			tether_unpark();
			tether_drain(0);
		}
	}

	std::atomic<bool> is_over_{false};
	Note last_;
	std::thread thread_;
};

TEST_F(Shutdown, OfNothingSucceeds)
{
	EXPECT_EQ(tether_shutdown(0), 0);
	elsewhere([] { EXPECT_EQ(tether_shutdown(patience_ms), 0); });
}

TEST_F(Shutdown, DrainsTheCallerHere)
{
	Thing thing;
	Note note;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_shutdown(patience_ms), 0);
	EXPECT_TRUE(thing.ended_once_here());
	EXPECT_TRUE(note.ran_once_on(pthread_self()));
}

TEST_F(Shutdown, OfNoTimeStillDrainsTheCaller)
{
	Note notes[5];

	for (Note &note : notes)
		EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_shutdown(0), 0);
	for (Note &note : notes)
		EXPECT_EQ(note.calls, 1);
}

TEST_F(Shutdown, DrainsLogicalOwners)
{
	Thread thread;
	tether_owner_t entered, free, busy;
	Note mine, in_entered, in_free, in_busy;

	EXPECT_EQ(tether_owner_create("entered", &entered), 0);
	EXPECT_EQ(tether_owner_create("free", &free), 0);
	EXPECT_EQ(tether_owner_create("busy", &busy), 0);
	EXPECT_EQ(tether_post(tether_self(), &mine.message), 0);
	EXPECT_EQ(tether_post(entered, &in_entered.message), 0);
	EXPECT_EQ(tether_post(free, &in_free.message), 0);
	EXPECT_EQ(tether_post(busy, &in_busy.message), 0);
	tether_owner_t thread_own = 0;
	thread.run([&] { thread_own = tether_owner_enter(busy); });
	tether_owner_t own = tether_owner_enter(entered);
	EXPECT_EQ(tether_shutdown(1), -ETIMEDOUT);
	EXPECT_EQ(take_kinds(), Kinds{TETHER_LEFT_OVER});
	EXPECT_EQ(left_of(busy), (Left{{"message", 1}}));
	EXPECT_EQ(tether_self(), entered);
	for (Note *note : {&mine, &in_entered, &in_free})
		EXPECT_TRUE(note->ran_once_on(pthread_self()));
	thread.run([&] { tether_owner_leave(thread_own); });
	EXPECT_EQ(tether_shutdown(patience_ms), 0);
	EXPECT_TRUE(in_busy.ran_once_on(pthread_self()));
	tether_owner_leave(own);
	for (tether_owner_t owner : {entered, free, busy})
		EXPECT_EQ(tether_owner_end(owner), 0);
}

TEST_F(Shutdown, WaitsForLoopsThatSendToOneAnother)
{
	Loop loops[2];
	Note back, hop, there;

	*there.at_call = [&] { EXPECT_EQ(tether_post(loops[1].owner, &hop.message), 0); };
	*hop.at_call = [&] { EXPECT_EQ(tether_post(loops[0].owner, &back.message), 0); };
	for (int round = 1; round <= 200; round++) {
		ASSERT_EQ(tether_post(loops[0].owner, &there.message), 0);
		ASSERT_EQ(tether_shutdown(patience_ms), 0);
		ASSERT_EQ(there.calls + hop.calls + back.calls, 3 * round);
	}
}

TEST_F(Shutdown, WaitsForWhatIsRunning)
{
	std::atomic<bool> is_in{false};
	bool has_returned = false;
	Loop loop;
	Note slow([&] {
		is_in = true;
		for (int i = 0; i < 1000; i++)
			sched_yield();
		has_returned = true;
	});

	EXPECT_EQ(tether_post(loop.owner, &slow.message), 0);
	while (!is_in)
		sched_yield();
	EXPECT_EQ(tether_shutdown(patience_ms), 0);
	EXPECT_TRUE(has_returned);
}

TEST_F(Shutdown, SaysWhatIsLeftByOwnerAndType)
{
	Thread stuck, idle;
	Thing things[3];
	Other others[2];
	Note note;

	stuck.run([&] {
		tether_self_set_name("stuck");
		for (Thing &thing : things)
			tether_bind(&thing.tether, &thing_type);
		for (Other &other : others)
			tether_bind(&other.tether, &other_type);
	});
	for (Thing &thing : things)
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	for (Other &other : others)
		EXPECT_EQ(tether_drop(&other.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_post(idle.owner(), &note.message), 0);

	EXPECT_EQ(tether_shutdown(1), -ETIMEDOUT);
	EXPECT_EQ(take_kinds(), Kinds{TETHER_LEFT_OVER});
	EXPECT_EQ(left_of(stuck.owner()), (Left{{"Thing", 3}, {"Other", 2}}));
	EXPECT_EQ(left_of(idle.owner()), (Left{{"message", 1}}));
	EXPECT_EQ(left_more, 0U);
	EXPECT_NE(verdict.find("6 pending for 2 owners"), std::string::npos) << verdict;
	EXPECT_NE(text.find("Left for 'stuck' (owner #"), std::string::npos) << text;
	EXPECT_NE(text.find("3 Thing"), std::string::npos) << text;
	EXPECT_NE(text.find("2 Other"), std::string::npos) << text;
	EXPECT_EQ(text.find("shutdown.c"), std::string::npos) << text;
	EXPECT_NE(json.find("{\"count\":3,\"type\":\"Thing\",\"owner\":{\"id\":\"0x"), std::string::npos) << json;

	/* It has only been looked at. */
	stuck.run([] { EXPECT_EQ(tether_drain(0), 5U); });
	idle.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_TRUE(things[0].ended_once_on(stuck.id()));
	EXPECT_EQ(tether_shutdown(0), 0);
}

TEST_F(Shutdown, SaysWhatAnOwnerIsStuckIn)
{
	std::atomic<bool> is_in{false}, may_go{false};
	Thread stuck;
	Note block([&] {
		is_in = true;
		while (!may_go)
			sched_yield();
	});
	std::deque<Note> behind(4);

	EXPECT_EQ(tether_post(stuck.owner(), &block.message), 0);
	for (Note &note : behind)
		EXPECT_EQ(tether_post(stuck.owner(), &note.message), 0);
	tether_owner_t owner = stuck.owner();
	std::thread helper([&] { stuck.run([] { EXPECT_EQ(tether_drain(0), 6U); }); });
	while (!is_in)
		sched_yield();
	behind.emplace_back();
	EXPECT_EQ(tether_post(owner, &behind.back().message), 0);

	EXPECT_EQ(tether_shutdown(1), -ETIMEDOUT);
	EXPECT_EQ(take_kinds(), Kinds{TETHER_LEFT_OVER});
	EXPECT_EQ(left_of(owner), (Left{{"message", 1}, {"?", 4}}));
	EXPECT_EQ(doing.find("is in the message function"), 0U) << doing;
	may_go = true;
	helper.join();
	EXPECT_EQ(tether_shutdown(patience_ms), 0);
}

TEST_F(Shutdown, EndsInTimeThoughTheCallerSendsToItself)
{
	Note restless;
	bool may_go_on = true;

	*restless.at_call = [&] {
		if (may_go_on) {
			EXPECT_EQ(tether_post(tether_self(), &restless.message), 0);
		}
	};
	EXPECT_EQ(tether_post(tether_self(), &restless.message), 0);
	EXPECT_EQ(tether_shutdown(20), -ETIMEDOUT);
	EXPECT_EQ(take_kinds(), Kinds{TETHER_LEFT_OVER});
	EXPECT_EQ(left_of(tether_self()), (Left{{"message", 1}}));
	may_go_on = false;
	EXPECT_EQ(tether_shutdown(patience_ms), 0);
}

TEST_F(Shutdown, CountsWhatHasNoRow)
{
	std::deque<Thread> threads(70);
	std::deque<Note> notes(70);

	for (size_t i = 0; i < threads.size(); i++)
		EXPECT_EQ(tether_post(threads[i].owner(), &notes[i].message), 0);
	EXPECT_EQ(tether_shutdown(0), -ETIMEDOUT);
	EXPECT_EQ(take_kinds(), Kinds{TETHER_LEFT_OVER});
	EXPECT_EQ(left_more, 6U);
	EXPECT_NE(verdict.find("70 pending for 64 owners and more"), std::string::npos) << verdict;
	for (Thread &thread : threads)
		thread.run([] { EXPECT_EQ(tether_drain(0), 1U); });
}

TEST_F(Shutdown, FromADestructorOrAMessageIsReported)
{
	auto is_refused = [&] {
		EXPECT_EQ(tether_shutdown(0), -EPERM);
		EXPECT_EQ(take_kinds(), Kinds{TETHER_BAD_CALL});
	};
	Thing thing(is_refused);
	Note note(is_refused);

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(tether_post(tether_self(), &note.message), 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(thing.ends + note.calls, 2);
}

TEST_F(Shutdown, DoesNotTouchErrno)
{
	Thread stuck;
	Note note;

	EXPECT_EQ(tether_post(stuck.owner(), &note.message), 0);
	errno = 4242;
	EXPECT_EQ(tether_shutdown(1), -ETIMEDOUT);
	EXPECT_EQ(errno, 4242);
	EXPECT_EQ(take_kinds(), Kinds{TETHER_LEFT_OVER});
	stuck.run([] { EXPECT_EQ(tether_drain(0), 1U); });
}

/* Lookers beside owners that take, end, and run what is looked at: everything is run once and in order. */
TEST_F(Shutdown, LooksWhileOwnersTakeAndEnd)
{
	size_t rounds = std::max<size_t>(scaled(60), 10);
	std::atomic<bool> is_over{false};
	std::thread looker([&] {
		while (!is_over) {
			int error = tether_shutdown(0);
			EXPECT_TRUE(error == 0 || error == -ETIMEDOUT);
		}
	});

	for (size_t round = 0; round < rounds; round++) {
		constexpr int count = 500;
		std::atomic<int> next{0};
		std::atomic<tether_owner_t> owner{0};
		std::deque<Note> notes;

		for (int i = 0; i < count; i++)
			notes.emplace_back([&, i] { EXPECT_EQ(next++, i); });
		std::thread home([&] {
			owner = tether_self();
			while (next < count / 2)
				tether_drain(10);
		});
		while (owner == 0)
			sched_yield();
		for (Note &note : notes)
			(void)tether_post(owner, &note.message);
		home.join();
		for (Note &note : notes)
			EXPECT_EQ(note.calls, 1);
	}
	is_over = true;
	looker.join();
	for (enum tether_kind kind : take_kinds())
		EXPECT_EQ(kind, TETHER_LEFT_OVER);
}

} // namespace
