/* report_test.cc - reports: what they say, who hears of them, how often, and that each is one write.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <sched.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdio>
#include <sstream>

namespace
{

class Report : public Quiet
{
protected:
	Caught take_one()
	{
		std::vector<Caught> caught = reports.take();

		EXPECT_EQ(caught.size(), 1U);
		caught.resize(1);
		return caught[0];
	}
};

std::string in_hex(const void *address)
{
	std::ostringstream out;

	out << address;
	return out.str();
}

TEST_F(Report, OfACheckTellsTheWholeStory)
{
	Thread home, other;
	Thing thing;
	int line = 0;

	home.run([&] {
		tether_self_set_name("the home");
		tether_bind(&thing.tether, &thing_type);
	});
	other.run([&] {
		tether_self_set_name("the other");
		line = __LINE__ + 1;
		TETHER_CHECK(&thing.tether);
	});

	Caught caught = take_one();
	const struct tether_report &report = caught.report;

	EXPECT_EQ(report.kind, TETHER_WRONG_THREAD);
	EXPECT_EQ(report.level, TETHER_WARN);
	EXPECT_EQ(caught.operation, "check");
	EXPECT_EQ(report.object, &thing);
	EXPECT_EQ(caught.type, "Thing");
	EXPECT_EQ(report.owner, home.owner());
	EXPECT_EQ(report.owner_number, tether_owner_number(home.owner()));
	EXPECT_EQ(caught.owner_name, "the home");
	EXPECT_TRUE(report.owner_is_alive);
	EXPECT_EQ(report.caller, other.owner());
	EXPECT_EQ(report.caller_number, tether_owner_number(other.owner()));
	EXPECT_EQ(caught.caller_name, "the other");
	EXPECT_EQ(caught.file, __FILE__);
	EXPECT_EQ(report.line, line);
	EXPECT_EQ(caught.function, "operator()");
	EXPECT_NE(report.address, nullptr);
	home.run([&] { tether_fini(&thing.tether); });
}

TEST_F(Report, OfAFunctionNamesItAndWhereItWasCalled)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);

	Caught caught = take_one();

	EXPECT_EQ(caught.report.kind, TETHER_DOUBLE_DROP);
	EXPECT_EQ(caught.operation, "drop");
	EXPECT_EQ(caught.report.object, &thing);
	EXPECT_EQ(caught.type, "Thing");
	EXPECT_EQ(caught.report.owner, tether_self()) << "it was ours";
	EXPECT_EQ(caught.report.caller, tether_self());
	EXPECT_EQ(caught.report.file, nullptr);
	EXPECT_NE(caught.report.address, nullptr);
}

TEST_F(Report, OfAPendingDropNamesTheOwnerThatItIsPendingFor)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	});

	Caught caught = take_one();

	EXPECT_EQ(caught.report.owner, tether_self());
	EXPECT_TRUE(caught.report.owner_is_alive);
	EXPECT_EQ(tether_drain(0), 1U);
}

TEST_F(Report, OfEachFunctionNamesThatFunction)
{
	struct tether zero = {0, 0, 0, 0};
	std::vector<std::pair<const char *, std::function<void()>>> calls = {
		{"check", [&] { TETHER_CHECK(&zero); }},
		{"check", [&] { EXPECT_FALSE(TETHER_ENSURE(&zero)); }},
		{"claim", [&] { EXPECT_FALSE(tether_claim(&zero)); }},
		{"drop", [&] { EXPECT_EQ(tether_drop(&zero), TETHER_REFUSED); }},
		{"drop_later", [&] { EXPECT_EQ(tether_drop_later(&zero), TETHER_REFUSED); }},
		{"fini", [&] { tether_fini(&zero); }},
	};

	for (auto &[name, call] : calls) {
		call();

		Caught caught = take_one();

		EXPECT_EQ(caught.report.kind, TETHER_NEVER_BOUND);
		EXPECT_NE(caught.operation.find(name), std::string::npos) << caught.operation;
		EXPECT_EQ(caught.report.object, &zero) << "without a type, the tag is all there is";
		EXPECT_EQ(caught.report.type, nullptr);
		EXPECT_EQ(caught.report.owner, 0U);
		EXPECT_EQ(caught.report.owner_number, 0U);
		EXPECT_EQ(caught.report.owner_name, nullptr);
		EXPECT_FALSE(caught.report.owner_is_alive);
	}
}

TEST_F(Report, WithoutAnObjectHasNone)
{
	Note note;

	EXPECT_EQ(tether_post(0, &note.message), -EINVAL);

	Caught caught = take_one();

	EXPECT_EQ(caught.report.kind, TETHER_BAD_OWNER);
	EXPECT_NE(caught.operation.find("post"), std::string::npos);
	EXPECT_EQ(caught.report.object, nullptr);
	EXPECT_EQ(caught.report.type, nullptr);
}

TEST_F(Report, TextIsWholeAndNamesEverything)
{
	Thread home, other;
	Thing thing;
	tether_owner_t owner = home.owner();
	int line = 0;

	home.run([&] {
		tether_self_set_name("the home");
		tether_bind(&thing.tether, &anywhere_type);
	});
	for (const char *state : {"alive", "exited"}) {
		other.run([&] {
			tether_self_set_name("the other");
			line = __LINE__ + 1;
			TETHER_CHECK(&thing.tether);
		});

		Caught caught = take_one();
		std::string pid = std::to_string(getpid());

		EXPECT_EQ(caught.text.rfind("==" + pid + "== tether: ", 0), 0U) << caught.text;
		EXPECT_EQ(caught.text.back(), '\n');
		EXPECT_EQ(caught.text.size(), caught.report.text_bytes);
		EXPECT_EQ(caught.text.find('\0'), std::string::npos);
		for (const std::string &part :
		     {std::string("check"), std::string("Thing"), in_hex(&thing), std::string("the home"),
		      "#" + std::to_string(tether_owner_number(owner)), std::string(state), std::string("the other"),
		      "#" + std::to_string(tether_owner_number(other.owner())), "report_test.cc:" + std::to_string(line)})
			EXPECT_NE(caught.text.find(part), std::string::npos) << part << " is missing in\n" << caught.text;
		home.end();
	}
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
}

TEST_F(Report, TextOfAnyLengthIsCutAndEnds)
{
	static const std::string name(5000, 'x');
	static const tether_type long_type = TETHER_TYPE_AT(name.c_str(), sizeof(Thing), offsetof(Thing, tether), thing_destroy,
	                                                    nullptr, nullptr, nullptr, TETHER_LEAK, TETHER_WARN, TETHER_NO_RULES);
	Thing thing;

	tether_bind(&thing.tether, &long_type);
	elsewhere([&] { TETHER_CHECK(&thing.tether); });

	Caught caught = take_one();

	EXPECT_EQ(caught.type, name);
	EXPECT_EQ(caught.text.size(), caught.report.text_bytes);
	EXPECT_EQ(caught.text.back(), '\n');
	tether_fini(&thing.tether);
}

/* The callback. */

TEST_F(Report, CallbackRunsOnTheThreadThatWasCaughtWithCancellationDisabled)
{
	struct Seen {
		pthread_t thread = 0;
		int cancel_state = -1;
	} seen;
	Thing thing;

	tether_set_report_callback(
		[](const struct tether_report *, void *context) {
			Seen *self = static_cast<Seen *>(context);

			self->thread = pthread_self();
			pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &self->cancel_state);
			pthread_setcancelstate(self->cancel_state, nullptr);
		},
		&seen);
	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		int state = -1;

		TETHER_CHECK(&thing.tether);
		EXPECT_TRUE(pthread_equal(seen.thread, pthread_self()));
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
		EXPECT_EQ(state, PTHREAD_CANCEL_ENABLE);
	});
	EXPECT_EQ(seen.cancel_state, PTHREAD_CANCEL_DISABLE);
	tether_fini(&thing.tether);
}

TEST_F(Report, CallbackMayUseTheLibraryAndWhatItReportsIsOnlyCounted)
{
	static int calls;
	static Thing *mine, *anothers;
	Thread home;
	Thing thing, own;
	struct tether_counters before = stats();

	calls = 0;
	mine = &own;
	anothers = &thing;
	home.run([&] { tether_bind(&thing.tether, &thing_type); });
	tether_bind(&own.tether, &thing_type);
	tether_set_report_callback(
		[](const struct tether_report *, void *) {
			calls++;
			TETHER_CHECK(&anothers->tether);
			EXPECT_GT(stats().failed_checks, 0U);
			EXPECT_TRUE(tether_owner_is_alive(tether_self()));
			EXPECT_EQ(tether_drop(&mine->tether), TETHER_HERE);
			tether_set_level(TETHER_WARN);
			tether_set_report_callback(nullptr, nullptr);
		},
		nullptr);
	TETHER_CHECK(&thing.tether);
	EXPECT_EQ(calls, 1);
	EXPECT_EQ(own.ends, 1);
	EXPECT_EQ(since(before).failed_checks, 2U);
	home.run([&] { tether_fini(&thing.tether); });
}

TEST_F(Report, CallbackAndItsContextAreChangedTogether)
{
	static std::atomic<size_t> mixed;
	std::atomic<bool> stop{false};
	Thing thing;
	int one = 1, two = 2;
	auto set_one = [&] {
		tether_set_report_callback(
			[](const struct tether_report *, void *context) { mixed += *static_cast<int *>(context) != 1; }, &one);
	};
	auto set_two = [&] {
		tether_set_report_callback(
			[](const struct tether_report *, void *context) { mixed += *static_cast<int *>(context) != 2; }, &two);
	};

	mixed = 0;
	tether_bind(&thing.tether, &thing_type);
	set_one();
	std::thread changer([&] {
		while (!stop) {
			set_two();
			set_one();
			sched_yield(); /* a reader that never finds it at rest writes to standard error instead */
		}
	});
	elsewhere([&] {
		for (size_t i = 0; i < scaled(20000); i++)
			TETHER_CHECK(&thing.tether);
	});
	stop = true;
	changer.join();
	EXPECT_EQ(mixed, 0U);
	tether_fini(&thing.tether);
}

/* Levels. */

class Level : public Report
{
protected:
	Thing thing;

	void SetUp() override
	{
		Report::SetUp();
		tether_bind(&thing.tether, &thing_type);
	}
	void TearDown() override
	{
		tether_fini(&thing.tether);
		Report::TearDown();
	}
	static void touch(struct tether *tag) { TETHER_CHECK(tag); /* one site, whoever comes by */ }
	size_t reports_of(std::function<void()> work)
	{
		elsewhere(std::move(work));
		return reports.take().size();
	}
};

TEST_F(Level, CountPrintsNothing)
{
	struct tether_counters before = stats();

	tether_set_level(TETHER_COUNT);
	EXPECT_EQ(reports_of([&] { touch(&thing.tether); }), 0U);
	EXPECT_EQ(since(before).failed_checks, 1U);
}

TEST_F(Level, WarnPrintsEveryOne)
{
	tether_set_level(TETHER_WARN);
	EXPECT_EQ(reports_of([&] {
				  for (int i = 0; i < 3; i++)
					  touch(&thing.tether);
			  }),
	          3U);
}

TEST_F(Level, OnceIsOncePerKindSiteAndType)
{
	struct tether_counters before = stats();
	static const tether_type other_type = TETHER_TYPE(Thing, tether, thing_destroy);
	Thing another, of_other_type, unbound;
	auto touch_here = [](struct tether *tag) { TETHER_CHECK(tag); };

	tether_set_level(TETHER_WARN_ONCE);
	tether_bind(&another.tether, &thing_type);
	tether_bind(&of_other_type.tether, &other_type);
	tether_bind_later(&unbound.tether, &thing_type);
	EXPECT_EQ(reports_of([&] { touch_here(&thing.tether); }), 1U);
	EXPECT_EQ(reports_of([&] { touch_here(&thing.tether); }), 0U) << "another thread does not make it another violation";
	EXPECT_EQ(reports_of([&] { touch_here(&another.tether); }), 0U) << "nor does another object of the type";
	EXPECT_EQ(reports_of([&] { touch_here(&of_other_type.tether); }), 1U) << "another type does";
	EXPECT_EQ(reports_of([&] { touch_here(&unbound.tether); }), 1U) << "another kind does";
	EXPECT_EQ(reports_of([&] { TETHER_CHECK(&thing.tether); }), 1U) << "another site does";
	EXPECT_EQ(since(before).failed_checks, 6U) << "all are counted";
	for (Thing *each : {&another, &of_other_type, &unbound})
		tether_fini(&each->tether);
}

TEST_F(Level, OnceIsOncePerCallSiteOfAFunction)
{
	static const tether_type once_type = TETHER_TYPE_POLICY(Thing, tether, thing_destroy, TETHER_LEAK, TETHER_WARN_ONCE);
	Thing dropped;

	tether_bind(&dropped.tether, &once_type);
	EXPECT_EQ(tether_drop(&dropped.tether), TETHER_HERE);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(tether_drop(&dropped.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take().size(), 1U);
	EXPECT_EQ(tether_drop(&dropped.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take().size(), 1U);
}

TEST_F(Level, DefaultIsOnce)
{
	tether_set_level(TETHER_COUNT);
	tether_set_level(TETHER_LEVEL_DEFAULT);
	EXPECT_EQ(reports_of([&] {
				  for (int i = 0; i < 3; i++)
					  TETHER_CHECK(&thing.tether);
			  }),
	          1U);
}

TEST_F(Level, OfATypeComesBeforeTheDefault)
{
	static const tether_type loud_type = TETHER_TYPE_POLICY(Thing, tether, thing_destroy, TETHER_LEAK, TETHER_WARN);
	static const tether_type quiet_type = TETHER_TYPE_POLICY(Thing, tether, thing_destroy, TETHER_LEAK, TETHER_COUNT);
	Thing loud, quiet;

	tether_bind(&loud.tether, &loud_type);
	tether_bind(&quiet.tether, &quiet_type);
	tether_set_level(TETHER_COUNT);
	EXPECT_EQ(reports_of([&] { touch(&loud.tether); }), 1U);
	tether_set_level(TETHER_WARN);
	EXPECT_EQ(reports_of([&] { touch(&quiet.tether); }), 0U);
	tether_fini(&loud.tether);
	tether_fini(&quiet.tether);
}

TEST_F(Level, InAReportIsTheOneThatCounted)
{
	tether_set_level(TETHER_WARN_ONCE);
	elsewhere([&] { TETHER_CHECK(&thing.tether); });
	EXPECT_EQ(take_one().report.level, TETHER_WARN_ONCE);
}

/* These run before the others, while there is one thread, as they fork. */

void check_a_fatal_type()
{
	static const tether_type fatal_type = TETHER_TYPE_POLICY(Thing, tether, thing_destroy, TETHER_LEAK, TETHER_ABORT);
	Thing thing;

	tether_bind_later(&thing.tether, &fatal_type);
	TETHER_CHECK(&thing.tether);
	_exit(0);
}

void check_with_a_fatal_default()
{
	struct tether zero = {0, 0, 0, 0};

	tether_set_level(TETHER_ABORT);
	tether_set_report_callback(
		[](const struct tether_report *report, void *) {
			if (report->level == TETHER_ABORT)
				fputs("heard of it\n", stderr);
		},
		nullptr);
	TETHER_CHECK(&zero);
	_exit(0);
}

TEST(LevelDeathTest, AbortReportsThenAborts)
{
	EXPECT_EXIT(check_a_fatal_type(), testing::KilledBySignal(SIGABRT), "tether: use of what nobody owns: Thing");
}

TEST(LevelDeathTest, AbortTellsTheCallbackFirst)
{
	EXPECT_EXIT(check_with_a_fatal_default(), testing::KilledBySignal(SIGABRT), "heard of it");
}

/* What is written. */

/* Standard error as a socket that keeps writes apart. */
class StandardError
{
public:
	StandardError() : saved_(dup(STDERR_FILENO))
	{
		EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_), 0);
		dup2(ends_[1], STDERR_FILENO);
	}
	~StandardError()
	{
		dup2(saved_, STDERR_FILENO);
		close(saved_);
		close(ends_[0]);
		close(ends_[1]);
	}
	std::vector<std::string> writes()
	{
		std::vector<std::string> all;
		char buffer[8192];
		ssize_t got;

		while ((got = recv(ends_[0], buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
			all.emplace_back(buffer, static_cast<size_t>(got));
		return all;
	}

private:
	int saved_;
	int ends_[2] = {-1, -1};
};

TEST_F(Report, IsOneWriteToStandardError)
{
	Thing thing;
	std::vector<std::string> writes;

	tether_bind(&thing.tether, &thing_type);
	tether_set_report_callback(nullptr, nullptr);
	{
		StandardError captured;

		elsewhere([&] {
			TETHER_CHECK(&thing.tether);
			TETHER_CHECK(&thing.tether);
		});
		writes = captured.writes();
	}
	ASSERT_EQ(writes.size(), 2U);
	for (const std::string &text : writes) {
		EXPECT_EQ(text.rfind("==" + std::to_string(getpid()) + "== tether: wrong-thread use: Thing", 0), 0U) << text;
		EXPECT_EQ(text.back(), '\n');
	}
	tether_fini(&thing.tether);
}

TEST_F(Report, IsNotWrittenWhereACallbackHeardOfIt)
{
	Thing thing;
	std::vector<std::string> writes;

	tether_bind(&thing.tether, &thing_type);
	{
		StandardError captured;

		elsewhere([&] { TETHER_CHECK(&thing.tether); });
		writes = captured.writes();
	}
	EXPECT_EQ(writes, std::vector<std::string>{});
	EXPECT_EQ(reports.take().size(), 1U);
	tether_fini(&thing.tether);
}

TEST_F(Report, TouchesNoErrno)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		errno = 4242;
		TETHER_CHECK(&thing.tether);
		tether_set_report_callback([](const struct tether_report *, void *) { errno = 17; }, nullptr);
		TETHER_CHECK(&thing.tether);
		tether_set_report_callback(nullptr, nullptr);
		tether_set_level(TETHER_WARN);
		EXPECT_EQ(errno, 4242);
	});
	reports.take();
	tether_fini(&thing.tether);
}

} // namespace
