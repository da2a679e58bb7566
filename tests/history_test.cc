/* history_test.cc - what reports tell of what happened to an object, if history is kept.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <sys/time.h>

#include <csignal>
#include <deque>

namespace
{

struct Event {
	enum tether_event_kind kind;
	tether_owner_t by;
	int by_tid;
	std::string name;
	uint64_t ago_ns;
	uintptr_t at; /* 0: not known */
	std::string function;
};

/* What one report told. */
struct Told {
	enum tether_kind kind;
	std::vector<Event> history;
	uint64_t forgotten;
	std::string text;
};

class History : public Quiet
{
protected:
	void SetUp() override
	{
		Quiet::SetUp();
		ASSERT_EQ(tether_set_option("history", "1"), 0);
		tether_self_set_name("the test");
	}
	void TearDown() override
	{
		EXPECT_EQ(tether_set_option("history", "0"), 0);
		tether_self_set_name(nullptr);
		Quiet::TearDown();
	}

	static void keep(const struct tether_report *report, void *context)
	{
		Told *told = static_cast<Told *>(context);

		*told = {report->kind, {}, report->history_forgotten, std::string(report->text, report->text_bytes)};
		for (size_t i = 0; i < report->history_count; i++) {
			const struct tether_event *event = &report->history[i];
			const struct tether_frame *frame = event->at.count ? event->at.frames : nullptr;
			while (frame && frame->is_inlined)
				frame++;
			told->history.push_back({event->kind, event->by, event->by_tid, text_of(event->by_name), event->ago_ns,
			                         frame ? reinterpret_cast<uintptr_t>(frame->address) : 0,
			                         frame ? text_of(frame->function) : "(null)"});
		}
	}
	/* What a report tells when a thread uses it that may not. */
	Told told_elsewhere(const struct tether *tag)
	{
		Told told = {TETHER_BAD_CALL, {}, 0, ""};

		tether_set_report_callback(keep, &told);
		elsewhere([&] { TETHER_CHECK(tag); });
		tether_set_report_callback(nullptr, nullptr);
		return told;
	}

	using EventKinds = std::vector<enum tether_event_kind>;
	static EventKinds kinds_of(const Told &told)
	{
		EventKinds kinds;

		for (const Event &event : told.history)
			kinds.push_back(event.kind);
		return kinds;
	}

	Thing thing;
};

/* Functions that are called at a known place, and do not end in a jump. */
#define KEEPS_ITS_FRAME __attribute__((noinline))

KEEPS_ITS_FRAME void prepare(Thing *thing)
{
	tether_bind_later(&thing->tether, &thing_type);
	__asm__ volatile("");
}

KEEPS_ITS_FRAME void claim(Thing *thing)
{
	EXPECT_TRUE(tether_claim(&thing->tether));
	__asm__ volatile("");
}

KEEPS_ITS_FRAME enum tether_dropped drop(Thing *thing)
{
	enum tether_dropped dropped = tether_drop(&thing->tether);

	__asm__ volatile("");
	return dropped;
}

void expect_at(const Event &event, uintptr_t function, const char *name)
{
	EXPECT_GT(event.at, function) << name;
	EXPECT_LT(event.at, function + 4096) << name;
	if (event.function != "(null)") {
		EXPECT_NE(event.function.find(name), std::string::npos) << event.function;
	}
}

TEST_F(History, TellsWhoDidWhatAndWhereNewestFirst)
{
	Thread other;

	other.run([] { tether_self_set_name("the other"); });
	prepare(&thing);
	other.run([&] { claim(&thing); });
	EXPECT_EQ(drop(&thing), TETHER_QUEUED);
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });

	Told told = told_elsewhere(&thing.tether);

	EXPECT_EQ(told.kind, TETHER_USE_AFTER_DROP);
	ASSERT_EQ(kinds_of(told),
	          (EventKinds{TETHER_EVENT_DESTROYED, TETHER_EVENT_DROPPED, TETHER_EVENT_CLAIMED, TETHER_EVENT_PREPARED}));
	EXPECT_EQ(told.forgotten, 0U);
	EXPECT_EQ(told.history[0].by, other.owner());
	EXPECT_EQ(told.history[0].name, "the other");
	EXPECT_EQ(told.history[1].by, tether_self());
	EXPECT_EQ(told.history[1].name, "the test");
	expect_at(told.history[1], reinterpret_cast<uintptr_t>(drop), "drop");
	EXPECT_EQ(told.history[2].by, other.owner());
	expect_at(told.history[2], reinterpret_cast<uintptr_t>(claim), "claim");
	EXPECT_EQ(told.history[3].by, tether_self());
	expect_at(told.history[3], reinterpret_cast<uintptr_t>(prepare), "prepare");
	for (size_t i = 1; i < told.history.size(); i++)
		EXPECT_LE(told.history[i - 1].ago_ns, told.history[i].ago_ns);
	EXPECT_LT(told.history[3].ago_ns, UINT64_C(3600000000000));
}

TEST_F(History, AStealThatLostIsNotInIt)
{
	Thread other;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_give(&thing.tether, other.owner(), other.owner()), -EAGAIN);

	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), EventKinds{TETHER_EVENT_BOUND});
	EXPECT_EQ(tether_give(&thing.tether, tether_self(), other.owner()), 0);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), (EventKinds{TETHER_EVENT_HANDED_OFF, TETHER_EVENT_BOUND}));
	other.run([&] { tether_fini(&thing.tether); });
}

TEST_F(History, IsInTheText)
{
	tether_bind(&thing.tether, &thing_type);
	tether_fini(&thing.tether);

	std::string text = told_elsewhere(&thing.tether).text;
	size_t history = text.find("History, newest first:"), ended = text.find("ended", history),
		   bound = text.find("bound", history);

	EXPECT_NE(history, std::string::npos) << text;
	EXPECT_NE(bound, std::string::npos) << text;
	EXPECT_LT(ended, bound) << text;
	EXPECT_NE(text.find("'the test'", history), std::string::npos) << text;
}

TEST_F(History, OfAnEndedObject)
{
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), EventKinds{TETHER_EVENT_BOUND});
	tether_fini(&thing.tether);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), (EventKinds{TETHER_EVENT_ENDED, TETHER_EVENT_BOUND}));
}

TEST_F(History, StartsAnewInMemoryThatIsUsedAgain)
{
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)),
	          (EventKinds{TETHER_EVENT_DESTROYED, TETHER_EVENT_DROPPED, TETHER_EVENT_BOUND}));
	tether_bind_later(&thing.tether, &thing_type);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), EventKinds{TETHER_EVENT_PREPARED});
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), EventKinds{TETHER_EVENT_BOUND});
	tether_fini(&thing.tether);
}

TEST_F(History, ThreadWithoutAnOwnerIsToldByItsNumber)
{
	int tid = 0;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		tid = gettid();
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	});

	Told told = told_elsewhere(&thing.tether);

	ASSERT_EQ(kinds_of(told), (EventKinds{TETHER_EVENT_DROPPED, TETHER_EVENT_BOUND}));
	EXPECT_EQ(told.history[0].by, 0U);
	EXPECT_EQ(told.history[0].by_tid, tid);
	EXPECT_EQ(told.history[1].by_tid, 0);
	EXPECT_NE(told.text.find("thread " + std::to_string(tid) + ", which had no owner"), std::string::npos) << told.text;
	EXPECT_EQ(tether_drain(0), 1U);
}

TEST_F(History, NamesThreadsThatHaveGone)
{
	elsewhere([&] {
		tether_self_set_name("long gone");
		tether_bind(&thing.tether, &anywhere_type);
	});

	Told told = told_elsewhere(&thing.tether);

	ASSERT_EQ(kinds_of(told), EventKinds{TETHER_EVENT_BOUND});
	EXPECT_EQ(told.history[0].name, "long gone");
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
}

TEST_F(History, OfAnObjectThatWasBoundBeforeItWasKeptHasTheRest)
{
	Thread other;

	ASSERT_EQ(tether_set_option("history", "0"), 0);
	other.run([&] { tether_bind(&thing.tether, &thing_type); });
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), EventKinds{});
	ASSERT_EQ(tether_set_option("history", "1"), 0);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), EventKinds{TETHER_EVENT_DROPPED});
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });
}

/* Of those that come in one go, too, and of what a batch has collected. */
TEST_F(History, BeginsInTheMiddleOfADrain)
{
	Thing things[4];

	*things[1].at_end = [] { EXPECT_EQ(tether_set_option("history", "1"), 0); };
	ASSERT_EQ(tether_set_option("history", "0"), 0);
	for (Thing &one : things)
		tether_bind(&one.tether, &thing_type);
	elsewhere([&] {
		ASSERT_EQ(tether_batch_begin(), 0);
		for (Thing &one : things)
			EXPECT_EQ(tether_drop(&one.tether), TETHER_BATCHED);
		tether_batch_end();
	});
	EXPECT_EQ(tether_drain(0), 4U);
	EXPECT_EQ(kinds_of(told_elsewhere(&things[1].tether)), EventKinds{});
	EXPECT_EQ(kinds_of(told_elsewhere(&things[2].tether)), EventKinds{TETHER_EVENT_DESTROYED});
	EXPECT_EQ(kinds_of(told_elsewhere(&things[3].tether)), EventKinds{TETHER_EVENT_DESTROYED});
}

TEST_F(History, BeginsInTheMiddleOfABatch)
{
	constexpr size_t count = 60;
	std::deque<Thing> things(count);
	Thread other;

	ASSERT_EQ(tether_set_option("history", "0"), 0);
	other.run([&] {
		for (Thing &one : things)
			tether_bind(&one.tether, &thing_type);
	});
	ASSERT_EQ(tether_batch_begin(), 0);
	for (Thing &one : things)
		EXPECT_EQ(tether_drop(&one.tether), TETHER_BATCHED);
	ASSERT_EQ(tether_set_option("history", "1"), 0);
	tether_batch_end();
	EXPECT_EQ(kinds_of(told_elsewhere(&things.front().tether)), EventKinds{}) << "it was marked before";
	EXPECT_EQ(kinds_of(told_elsewhere(&things.back().tether)), EventKinds{TETHER_EVENT_DROPPED});
	other.run([&] { EXPECT_EQ(tether_drain(0), things.size()); });
}

TEST_F(History, OfThePredecessorIsNotToldOfAnObjectThatWasBoundUnseen)
{
	tether_bind(&thing.tether, &thing_type);
	tether_fini(&thing.tether);
	ASSERT_EQ(tether_set_option("history", "0"), 0);
	tether_bind(&thing.tether, &thing_type);
	ASSERT_EQ(tether_set_option("history", "1"), 0);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(kinds_of(told_elsewhere(&thing.tether)), (EventKinds{TETHER_EVENT_DESTROYED, TETHER_EVENT_DROPPED}));
}

TEST_F(History, IsNotToldUnlessItIsKept)
{
	Thing other;

	tether_bind(&thing.tether, &thing_type);
	ASSERT_EQ(tether_set_option("history", "0"), 0);
	tether_bind(&other.tether, &thing_type);
	for (const Thing *one : {&thing, &other}) {
		Told told = told_elsewhere(&one->tether);
		EXPECT_EQ(kinds_of(told), EventKinds{});
		EXPECT_EQ(told.text.find("History, newest"), std::string::npos) << told.text;
	}
	tether_fini(&thing.tether);
	tether_fini(&other.tether);
}

TEST_F(History, OfManyObjectsAtOnce)
{
	std::deque<Thing> things(scaled(20000));

	for (Thing &one : things)
		tether_bind(&one.tether, &thing_type);
	for (size_t i = 0; i < things.size(); i += 2)
		tether_fini(&things[i].tether);
	for (size_t i = 0; i < things.size(); i += things.size() / 20) {
		EventKinds expected = {TETHER_EVENT_BOUND};
		if (i % 2 == 0)
			expected.insert(expected.begin(), TETHER_EVENT_ENDED);
		EXPECT_EQ(kinds_of(told_elsewhere(&things[i].tether)), expected) << i;
	}
	for (size_t i = 1; i < things.size(); i += 2)
		tether_fini(&things[i].tether);
}

/* More threads than processors: who holds what another one needs may have been preempted. Nothing is lost. */
TEST_F(History, FromManyThreadsAtOnceIsWhole)
{
	const size_t threads = 8, turns = scaled(20000);
	std::vector<std::vector<struct tether>> tags(threads, std::vector<struct tether>(32));
	std::vector<std::thread> all;

	for (std::vector<struct tether> &mine : tags)
		all.emplace_back([&mine, turns] {
			for (size_t i = 0; i < turns; i++) {
				tether_bind_later(&mine[i % mine.size()], &anywhere_type);
				EXPECT_TRUE(tether_claim(&mine[i % mine.size()]));
			}
		});
	for (std::thread &thread : all)
		thread.join();
	for (std::vector<struct tether> &mine : tags)
		for (size_t i = 0; i < mine.size() && i < turns; i++)
			EXPECT_EQ(kinds_of(told_elsewhere(&mine[i])), (EventKinds{TETHER_EVENT_CLAIMED, TETHER_EVENT_PREPARED}));
}

std::deque<Thing> *handled;
std::atomic<size_t> next_handled;

/* Whatever the handler interrupts, it does not wait for it. */
TEST_F(History, InASignalHandlerThatInterruptsIt)
{
	std::deque<Thing> things(scaled(20000));
	struct sigaction action = {};
	struct itimerval often = {{0, 100}, {0, 100}}, never = {};
	size_t at_home = 0;

	for (Thing &one : things)
		tether_bind(&one.tether, &thing_type);
	handled = &things;
	next_handled = 0;
	action.sa_handler = [](int) {
		size_t next = next_handled;
		if (next < handled->size()) {
			next_handled = next + 1;
			EXPECT_EQ(tether_drop_later(&(*handled)[next].tether), TETHER_QUEUED);
		}
	};
	action.sa_flags = SA_RESTART;
	ASSERT_EQ(sigaction(SIGALRM, &action, nullptr), 0);
	ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
	while (at_home < 10 * things.size() || next_handled == 0) {
		Thing one;
		tether_bind(&one.tether, &thing_type);
		EXPECT_EQ(tether_drop(&one.tether), TETHER_HERE);
		at_home++;
	}
	ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
	signal(SIGALRM, SIG_IGN); /* the last one may be on its way yet */
	EXPECT_EQ(tether_drain(0), next_handled);
	for (size_t i = next_handled; i < things.size(); i++)
		tether_fini(&things[i].tether);
}

} // namespace
