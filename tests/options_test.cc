/* options_test.cc - what the library is told, what it makes of it, and what it says of nonsense. Each test is
 * a process of its own, as options are read once in a process.
 * SPDX-License-Identifier: MIT */
#include "faults/child.h"
#include "support.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/stat.h>
#include <tether/options.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>

/* What the program says of itself, where a test says it. */
static std::function<const char *()> *program;

const char *tether_default_options()
{
	return program ? (*program)() : nullptr;
}

namespace
{

struct tether zero = {0, 0, 0, 0};

/* Reports of one site. */
void violate(int times = 1)
{
	for (int i = 0; i < times; i++)
		TETHER_CHECK(&zero);
}

__attribute__((noinline)) void violate_by_one_way()
{
	violate();
	asm volatile("");
}

__attribute__((noinline)) void violate_by_another()
{
	violate();
	asm volatile("");
}

Child with_environment(const char *text, const std::function<void()> &work)
{
	return in_child([&] {
		setenv("TETHER_OPTIONS", text, 1);
		tether_self();
		work();
	});
}

/* Standard error then tells all values. */
void tell_options()
{
	EXPECT_EQ(tether_set_option("help", "1"), 0);
}

/* In what tell_options() had written. */
testing::AssertionResult has_value(const Child &child, const std::string &name, const std::string &value)
{
	if (child.err.find("\n  " + name + "=" + value + "  [") != std::string::npos)
		return testing::AssertionSuccess();
	return testing::AssertionFailure() << name << "=" << value << " is not in: " << child.err;
}

size_t count_of(const std::string &text, const std::string &part)
{
	size_t count = 0;

	for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
		count++;
	return count;
}

size_t reports_in(const std::string &text)
{
	return count_of(text, "\nSUMMARY: tether: ");
}

testing::AssertionResult has(const std::string &text, const std::string &part)
{
	if (text.find(part) != std::string::npos)
		return testing::AssertionSuccess();
	return testing::AssertionFailure() << "'" << part << "' is not in: " << text;
}

/* A file that goes with the test. */
class File
{
public:
	explicit File(const std::string &text)
	{
		int fd = mkstemp(name_);

		EXPECT_GE(fd, 0);
		EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
		close(fd);
	}
	~File() { unlink(name_); }
	File(const File &) = delete;
	File &operator=(const File &) = delete;

	const char *name() const { return name_; }

private:
	char name_[32] = "/tmp/tether-XXXXXX";
};

/* ---- Values ----------------------------------------------------------------------------------- */

TEST(Options, HaveDefaults)
{
	const std::vector<std::pair<const char *, const char *>> known = {
		{"level", "once"},   {"abort", "0"},         {"exit_code", "0"},    {"log_path", ""},       {"format", "text"},
		{"color", "auto"},   {"suppressions", ""},   {"dedup", "site"},     {"max_reports", "0"},   {"history", "0"},
		{"symbols", "1"},    {"bind_stacks", "off"}, {"stack_depth", "16"}, {"queue_warn", "0"},    {"exit_summary", "1"},
		{"exit_drain", "1"}, {"stall_ms", "10000"},  {"help", "1"},         {"script_places", "1"}, {"linger_us", "50"}};
	Child child = in_child(tell_options);

	EXPECT_TRUE(child.exited_with(0));
	for (auto [name, value] : known)
		EXPECT_TRUE(has_value(child, name, value));
	EXPECT_EQ(count_of(child.err, "default "), known.size()) << "there are others";
}

TEST(Options, AreTakenFromTheEnvironment)
{
	Child child = with_environment("level=warn:abort=off:exit_code=7:format=both:color=never:dedup=stack:max_reports=3:"
	                               "bind_stacks=fast:stack_depth=64:history=yes:symbols=false:stall_ms=0:queue_warn=2147483647:"
	                               "exit_summary=no:exit_drain=0:script_places=0:linger_us=1000:help=true",
	                               [] {});

	EXPECT_TRUE(child.exited_with(0)) << "7 is for reports";
	for (auto [name, value] : std::vector<std::pair<const char *, const char *>>{{"level", "warn"},
	                                                                             {"abort", "0"},
	                                                                             {"exit_code", "7"},
	                                                                             {"format", "both"},
	                                                                             {"color", "never"},
	                                                                             {"dedup", "stack"},
	                                                                             {"max_reports", "3"},
	                                                                             {"bind_stacks", "fast"},
	                                                                             {"stack_depth", "64"},
	                                                                             {"history", "1"},
	                                                                             {"symbols", "0"},
	                                                                             {"stall_ms", "0"},
	                                                                             {"queue_warn", "2147483647"},
	                                                                             {"exit_summary", "0"},
	                                                                             {"script_places", "0"},
	                                                                             {"exit_drain", "0"},
	                                                                             {"linger_us", "1000"},
	                                                                             {"help", "1"}})
		EXPECT_TRUE(has_value(child, name, value));
	EXPECT_EQ(child.err.find("tether: TETHER_OPTIONS"), std::string::npos) << "nothing is wrong";
}

TEST(Options, AreSeparatedByColonsCommasAndSpace)
{
	Child child = with_environment(" :history=1,,stack_depth=3 \t dedup=none\nabort=1::help=1, ", [] {});

	EXPECT_TRUE(has_value(child, "history", "1"));
	EXPECT_TRUE(has_value(child, "stack_depth", "3"));
	EXPECT_TRUE(has_value(child, "dedup", "none"));
	EXPECT_TRUE(has_value(child, "abort", "1"));
	EXPECT_EQ(child.err.find("TETHER_OPTIONS:"), std::string::npos);
}

TEST(Options, MayBeQuoted)
{
	File one("#\n");
	std::string text = std::string("suppressions='") + one.name() + "' history=\"1\",stack_depth='8':help=1";
	Child child = with_environment(text.c_str(), [] {});

	EXPECT_TRUE(has_value(child, "suppressions", one.name()));
	EXPECT_TRUE(has_value(child, "history", "1"));
	EXPECT_TRUE(has_value(child, "stack_depth", "8"));
}

TEST(Options, TheLastOfTwoHolds)
{
	Child child = with_environment("history=1:stack_depth=3:history=0:help=1", [] {});

	EXPECT_TRUE(has_value(child, "history", "0"));
}

TEST(Options, AreSetByACall)
{
	Child child = in_child([] {
		errno = 4242;
		EXPECT_EQ(tether_set_option("history", "on"), 0);
		EXPECT_EQ(tether_set_option("stack_depth", "1"), 0);
		EXPECT_EQ(tether_set_option("level", "count"), 0);
		EXPECT_EQ(errno, 4242);
		violate();
		tell_options();
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has_value(child, "history", "1"));
	EXPECT_TRUE(has_value(child, "stack_depth", "1"));
	EXPECT_EQ(reports_in(child.err), 0U);
}

/* ---- Who wins ---------------------------------------------------------------------------------- */

TEST(Options, OfTheProgramAreWeakerThanTheEnvironmentAndACall)
{
	std::function<const char *()> says = [] { return "history=1:stack_depth=4:stall_ms=4:queue_warn=4"; };

	program = &says;
	Child child = with_environment("stack_depth=5:stall_ms=5", [] {
		EXPECT_EQ(tether_set_option("stall_ms", "6"), 0);
		tell_options();
	});
	program = nullptr;

	EXPECT_TRUE(has_value(child, "history", "1"));
	EXPECT_TRUE(has_value(child, "queue_warn", "4"));
	EXPECT_TRUE(has_value(child, "stack_depth", "5"));
	EXPECT_TRUE(has_value(child, "stall_ms", "6"));
}

TEST(Options, ALevelSetByACallIsNotOverwrittenByTheEnvironment)
{
	Child child = in_child([] {
		setenv("TETHER_OPTIONS", "level=abort", 1);
		tether_set_level(TETHER_WARN);
		violate(2);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(reports_in(child.err), 2U);
}

TEST(Options, TheProgramsOwnFunctionMayUseTheLibrary)
{
	Child child = in_child([] {
		static int calls;
		std::function<const char *()> says = [] {
			Thing thing;

			calls++;
			EXPECT_EQ(tether_set_option("stack_depth", "9"), 0);
			tether_bind(&thing.tether, &thing_type);
			TETHER_CHECK(&thing.tether);
			tether_fini(&thing.tether);
			violate();
			return "stack_depth=7:history=1";
		};

		program = &says;
		tether_self();
		tell_options();
		program = nullptr;
		EXPECT_EQ(calls, 1);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(reports_in(child.err), 1U);
	EXPECT_TRUE(has_value(child, "stack_depth", "9")) << "a call wins, even there";
	EXPECT_TRUE(has_value(child, "history", "1"));
}

TEST(Options, TheProgramsOwnFunctionMayWaitForAThreadThatUsesTheLibrary)
{
	Child child = in_child([] {
		std::function<const char *()> says = [] {
			elsewhere([] { EXPECT_EQ(tether_set_option("stack_depth", "9"), 0); });
			return "history=1";
		};

		program = &says;
		tether_self();
		tell_options();
		program = nullptr;
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "another thread is still reading the options"));
	EXPECT_TRUE(has_value(child, "stack_depth", "9"));
	EXPECT_TRUE(has_value(child, "history", "1"));
}

TEST(Options, AFileThatTheEnvironmentReplacesIsNotOpened)
{
	File theirs("");
	std::string name = std::string(theirs.name()) + ".program";
	std::string text = "log_path=" + name;
	std::function<const char *()> says = [&] { return text.c_str(); };

	program = &says;
	Child child = with_environment((std::string("log_path=") + theirs.name()).c_str(), tell_options);
	program = nullptr;

	EXPECT_TRUE(has_value(child, "log_path", theirs.name()));
	EXPECT_EQ(access(name.c_str(), F_OK), -1);
}

/* ---- Nonsense ---------------------------------------------------------------------------------- */

TEST(Options, UnknownOnesAreNamedWithTheNearest)
{
	Child child = with_environment("histroy=1:HISTORY=1:max-reports=1:stack=1:colour=never:zyx=1", [] {});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "tether: TETHER_OPTIONS: no option 'histroy': did you mean 'history'?\n"));
	EXPECT_TRUE(has(child.err, "no option 'HISTORY': did you mean 'history'?\n"));
	EXPECT_TRUE(has(child.err, "no option 'max-reports': did you mean 'max_reports'?\n"));
	EXPECT_TRUE(has(child.err, "no option 'stack': did you mean 'stack_depth'?\n"));
	EXPECT_TRUE(has(child.err, "no option 'colour': did you mean 'color'?\n"));
	EXPECT_TRUE(has(child.err, "no option 'zyx'; help=1 lists them\n"));
}

TEST(Options, BadValuesAreNamedWithWhatIsGood)
{
	Child child = with_environment("level=wran:history=2:stack_depth=65:stack_depth=0:exit_code=-1:stall_ms=10s:queue_warn=:"
	                               "max_reports=99999999999999999999999999:dedup=sites",
	                               tell_options);

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "level='wran' is none of count, once, warn, abort: did you mean 'warn'?\n"));
	EXPECT_TRUE(has(child.err, "history='2' is none of 0, 1, off, on, no, yes, false, true"));
	EXPECT_TRUE(has(child.err, "stack_depth='65' is none of the numbers from 1 to 64\n"));
	EXPECT_TRUE(has(child.err, "stack_depth='0' is none of the numbers from 1 to 64\n"));
	EXPECT_TRUE(has(child.err, "exit_code='-1' is none of the numbers from 0 to 255\n"));
	EXPECT_TRUE(has(child.err, "stall_ms='10s' is none of the numbers from 0 to 2147483647\n"));
	EXPECT_TRUE(has(child.err, "queue_warn='' is none of the numbers from 0 to 2147483647\n"));
	EXPECT_TRUE(has(child.err, "max_reports='99999999999999999999999999' is none of"));
	EXPECT_TRUE(has(child.err, "dedup='sites' is none of site, stack, none: did you mean 'site'?\n"));
	EXPECT_TRUE(has_value(child, "level", "once"));
	EXPECT_TRUE(has_value(child, "stack_depth", "16"));
	EXPECT_TRUE(has_value(child, "stall_ms", "10000"));
}

TEST(Options, WhatIsNoAssignmentIsSaid)
{
	Child child = with_environment("history:=1:stack_depth='3'4:dedup='none", tell_options);

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "'history' has no value: write NAME=VALUE\n"));
	EXPECT_TRUE(has(child.err, "no option ''; help=1 lists them\n"));
	EXPECT_TRUE(has(child.err, "'stack_depth': something follows the quote that ends its value\n"));
	EXPECT_TRUE(has(child.err, "'dedup': its value begins with a quote that has no end\n"));
	EXPECT_TRUE(has_value(child, "stack_depth", "16"));
	EXPECT_TRUE(has_value(child, "dedup", "site"));
}

TEST(Options, TheRestHolds)
{
	Child child = with_environment("nonsense,stack_depth=999:history=1:=:=:stack_depth=x:dedup=none", tell_options);

	EXPECT_TRUE(has_value(child, "history", "1"));
	EXPECT_TRUE(has_value(child, "dedup", "none"));
}

TEST(Options, TextsOfAllKindsDoNoHarm)
{
	std::string many;

	for (int i = 0; i < 2000; i++)
		many += "a" + std::to_string(i) + "=1:";
	for (const std::string &text :
	     {std::string(100000, 'a'), std::string(100000, '='), std::string(100000, ':'), std::string(100000, '\''),
	      "history=" + std::string(100000, '1'), "log_path=" + std::string(100000, '/'), "suppressions=" + std::string(5000, 'x'),
	      many, std::string("\x01\x02\x1b[31m\x7f\xff=\x1b]0;title\x07"), std::string("level=\x1b[2J"),
	      std::string("log_path='%"), std::string("log_path=/tmp/%"), std::string("log_path=%n%s%n"), std::string("\"="),
	      std::string("='")}) {
		Child child = with_environment(text.c_str(), [] {});

		EXPECT_TRUE(child.exited_with(0)) << text.substr(0, 100);
		EXPECT_LT(child.err.size(), 8192U) << text.substr(0, 100);
		for (char byte : child.err)
			EXPECT_TRUE(byte == '\n' || (byte >= ' ' && byte <= '~')) << text.substr(0, 100);
	}
}

TEST(Options, ACallIsToldWhatIsWrong)
{
	Child child = in_child([] {
		errno = 4242;
		EXPECT_EQ(tether_set_option("histroy", "1"), -EINVAL);
		EXPECT_EQ(tether_set_option("history", "maybe"), -EINVAL);
		EXPECT_EQ(tether_set_option(nullptr, "1"), -EINVAL);
		EXPECT_EQ(tether_set_option("history", nullptr), -EINVAL);
		EXPECT_EQ(tether_set_option("", ""), -EINVAL);
		EXPECT_EQ(tether_set_option("suppressions", "/does/not/exist"), -ENOENT);
		EXPECT_EQ(tether_set_option("log_path", "/tmp/%d"), -EINVAL);
		EXPECT_EQ(tether_set_option("log_path", std::string(5000, 'x').c_str()), -ENAMETOOLONG);
		EXPECT_EQ(errno, 4242);
		tell_options();
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "tether: tether_set_option(): no option 'histroy': did you mean 'history'?\n"));
	EXPECT_TRUE(has(child.err, "tether: suppressions='/does/not/exist': No such file or directory; not used\n"));
	EXPECT_TRUE(has(child.err, "tether: log_path='/tmp/%d': what follows a % must be p or %; reports go to standard error\n"));
	EXPECT_TRUE(has_value(child, "history", "0"));
	EXPECT_TRUE(has_value(child, "suppressions", ""));
	EXPECT_TRUE(has_value(child, "log_path", ""));
}

TEST(Options, AreSetByManyThreadsWhileOthersReport)
{
	Child child = in_child([] {
		std::atomic<bool> done{false};
		std::vector<std::thread> threads;
		Reports reports;

		for (int i = 0; i < 2; i++)
			threads.emplace_back([&done] {
				while (!done)
					violate();
			});
		for (int i = 0; i < 2; i++)
			threads.emplace_back([] {
				for (size_t n = 0; n < 200; n++) {
					EXPECT_EQ(tether_set_option("history", n % 2 ? "1" : "0"), 0);
					EXPECT_EQ(tether_set_option("level", n % 2 ? "warn" : "once"), 0);
					EXPECT_EQ(tether_set_option("bind_stacks", n % 2 ? "fast" : "off"), 0);
				}
			});
		for (size_t i = 2; i < threads.size(); i++)
			threads[i].join();
		done = true;
		threads[0].join();
		threads[1].join();
		tell_options();
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has_value(child, "history", "1"));
	EXPECT_TRUE(has_value(child, "level", "warn"));
}

/* ---- What they do ------------------------------------------------------------------------------ */

TEST(Options, ExitCodeIsTheStatusOfAProcessThatReported)
{
	EXPECT_TRUE(with_environment("exit_code=66", [] { violate(); }).exited_with(66));
	EXPECT_TRUE(with_environment("exit_code=66", [] {}).exited_with(0));
	EXPECT_TRUE(with_environment("exit_code=0", [] { violate(); }).exited_with(0));
}

TEST(Options, AbortEndsTheProcessAfterTheFirstReport)
{
	for (const char *text : {"abort=1", "level=abort"}) {
		Child child = with_environment(text, [] { violate(2); });

		EXPECT_TRUE(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT) << text;
		EXPECT_EQ(reports_in(child.err), 1U) << text;
	}
}

TEST(Options, MaxReportsLeavesTheRestToTheCounters)
{
	Child child = with_environment("level=warn:max_reports=2", [] {
		violate(5);
		EXPECT_EQ(stats().failed_checks, 5U);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(reports_in(child.err), 2U) << child.err;
}

TEST(Options, DedupSaysWhatIsTheSame)
{
	auto violate_by_both = [] {
		static volatile int twice = 2; /* else the compiler makes two sites of each */

		for (int i = 0; i < twice; i++) {
			violate_by_one_way();
			violate_by_another();
		}
	};

	EXPECT_EQ(reports_in(with_environment("dedup=site", violate_by_both).err), 1U);
	EXPECT_EQ(reports_in(with_environment("dedup=stack", violate_by_both).err), 2U);
	EXPECT_EQ(reports_in(with_environment("dedup=none", violate_by_both).err), 4U);
}

TEST(Options, FormatIsTextJsonOrBoth)
{
	auto lines_of_json = [](const Child &child) {
		std::istringstream lines(child.err);
		size_t count = 0;

		for (std::string line; std::getline(lines, line);)
			count += line.size() > 2 && line.front() == '{' && line.back() == '}';
		return count;
	};
	Child text = with_environment("exit_summary=0", [] { violate(); });
	Child json = with_environment("exit_summary=0:format=jsonl", [] { violate(); });
	Child both = with_environment("exit_summary=0:format=both", [] { violate(); });

	EXPECT_EQ(lines_of_json(text), 0U);
	EXPECT_EQ(reports_in(text.err), 1U);
	EXPECT_EQ(lines_of_json(json), 1U) << json.err;
	EXPECT_EQ(count_of(json.err, "\n"), 1U) << json.err;
	EXPECT_EQ(lines_of_json(both), 1U) << both.err;
	EXPECT_EQ(reports_in(both.err), 1U);
}

TEST(Options, ExitSummaryCanBeLeftOut)
{
	EXPECT_TRUE(has(with_environment("", [] { violate(); }).err, "at exit: 1 reports"));
	EXPECT_EQ(with_environment("exit_summary=0", [] { violate(); }).err.find("at exit"), std::string::npos);
}

/* A container may have none. */
bool has_terminals()
{
	int master, slave;

	if (openpty(&master, &slave, nullptr, nullptr, nullptr) != 0)
		return false;
	close(master);
	close(slave);
	return true;
}

/* What a terminal is sent. */
std::string on_a_terminal(const char *options, const char *name, const char *value)
{
	std::string text;
	char buffer[4096];
	ssize_t got;
	int master, slave;

	EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setenv("TETHER_OPTIONS", options, 1);
		setenv("TERM", "xterm", 1);
		unsetenv("NO_COLOR");
		setenv(name, value, 1);
		dup2(slave, STDERR_FILENO);
		violate();
		exit(0);
	}
	close(slave);
	while ((got = read(master, buffer, sizeof buffer)) > 0) /* EIO when the child has gone */
		text.append(buffer, static_cast<size_t>(got));
	close(master);
	EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
	return text;
}

TEST(Options, ColorsAreForTerminals)
{
	const char escape = '\033';

	EXPECT_EQ(with_environment("", [] { violate(); }).err.find(escape), std::string::npos);
	EXPECT_NE(with_environment("color=always", [] { violate(); }).err.find(escape), std::string::npos);
	if (!has_terminals())
		GTEST_SKIP() << "no pseudo-terminals";
	EXPECT_NE(on_a_terminal("", "TERM", "xterm").find(escape), std::string::npos);
	EXPECT_EQ(on_a_terminal("", "TERM", "dumb").find(escape), std::string::npos);
	EXPECT_EQ(on_a_terminal("", "NO_COLOR", "1").find(escape), std::string::npos);
	EXPECT_EQ(on_a_terminal("color=never", "TERM", "xterm").find(escape), std::string::npos);
}

/* ---- Suppressions ------------------------------------------------------------------------------ */

/* Is a wrong-thread use of a Thing, by a function of this file, suppressed by this text? */
bool is_suppressed(const std::string &text)
{
	File file(text);
	Thing thing;
	Reports reports;
	struct tether_counters before = stats();

	EXPECT_EQ(tether_set_option("suppressions", file.name()), 0);
	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] { TETHER_CHECK(&thing.tether); });
	tether_fini(&thing.tether);
	EXPECT_EQ(since(before).failed_checks, 1U) << "it is counted in any case";
	return reports.take().empty();
}

TEST(Suppressions, AreOfAKindAndAGlob)
{
	Child child = in_child([] {
		tether_set_level(TETHER_WARN);
		for (const char *text : {
				 "wrong-thread-use:Thing",
				 "wrong-thread-use:Thin",
				 "wrong-thread-use:hin",
				 "wrong-thread-use:^Thing$",
				 "wrong-thread-use:^T*g$",
				 "wrong-thread-use:T*i*g",
				 "wrong-thread-use:*",
				 "*:*",
				 "*:^Thing",
				 "*:hing$",
				 "*:options_test.cc",
				 "*:operator()",
				 "*:*options*test*",
				 "  wrong-thread-use : Thing  \r\n",
				 "# a comment\n\n  # another\r\n\r\nwrong-thread-use:Thing\r\n",
				 "double-drop:*\nleaked:*\nwrong-thread-use:Thing",
				 "\xef\xbb\xbfwrong-thread-use:Thing\n",
			 })
			EXPECT_TRUE(is_suppressed(text)) << text;
		for (const char *text : {
				 "",
				 "# wrong-thread-use:Thing",
				 "double-drop:Thing",
				 "wrong-thread-use:Thinge",
				 "wrong-thread-use:^hing",
				 "wrong-thread-use:^Thin$",
				 "wrong-thread-use:Thi$",
				 "wrong-thread-use:g*T*T*g",
				 "wrong-thread-use:thing",
				 "wrong-thread-use:^Thing$*nothing",
			 })
			EXPECT_FALSE(is_suppressed(text)) << text;
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(child.err.find("tether: /tmp"), std::string::npos) << child.err;
}

TEST(Suppressions, AreCountedAndSaidAtExit)
{
	File file("never-bound:options_test*\ndouble-drop:*\n");
	Child child = with_environment((std::string("suppressions=") + file.name()).c_str(), [] { violate(3); });

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(reports_in(child.err), 0U);
	EXPECT_TRUE(has(child.err, "Matched 3 suppressions:\n  3 never-bound:options_test*\n")) << "repeats are counted, too";
	EXPECT_EQ(child.err.find("double-drop"), std::string::npos) << "it was not used";
}

TEST(Suppressions, BadLinesAreNamedAndTheOthersHold)
{
	File file("# fine\nnever-bond:*\nnonsense\nrace:*\nleaked:\n:x\nnever-bound:*\n");
	std::string name = file.name();
	Child child = with_environment(("suppressions=" + name).c_str(), [] { violate(); });

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "tether: " + name + ":2: 'never-bond' is no kind of report: did you mean 'never-bound'?\n"));
	EXPECT_TRUE(has(child.err, "tether: " + name + ":3: 'nonsense' is not of the form kind:glob\n"));
	EXPECT_TRUE(has(child.err, "tether: " + name + ":4: 'race' is no kind of report: use * or one of wrong-thread-use, "));
	EXPECT_TRUE(has(child.err, "tether: " + name + ":5: 'leaked:' is not of the form kind:glob\n"));
	EXPECT_TRUE(has(child.err, "tether: " + name + ":6: '' is no kind of report"));
	EXPECT_EQ(reports_in(child.err), 0U);
}

TEST(Suppressions, KnowAllKinds)
{
	std::string lines;
	int kind = 0;

	for (std::string name; (name = tether_kind_name(static_cast<enum tether_kind>(kind))) != "unknown"; kind++)
		lines += name + ":*\n";
	EXPECT_GE(kind, TETHER_FOREIGN_DROP);
	File file(lines.c_str());
	Child child = with_environment((std::string("suppressions=") + file.name()).c_str(), [] { violate(); });

	EXPECT_EQ(child.err.find("no kind of report"), std::string::npos) << child.err;
	EXPECT_EQ(reports_in(child.err), 0U);
}

TEST(Suppressions, CanBeTakenBack)
{
	File file("*:*\n");
	Child child = with_environment((std::string("level=warn:suppressions=") + file.name()).c_str(), [] {
		violate();
		EXPECT_EQ(tether_set_option("suppressions", ""), 0);
		violate();
	});

	EXPECT_EQ(reports_in(child.err), 1U);
}

TEST(Suppressions, AreReplacedWhileOthersReport)
{
	File one("never-bound:options_test*\n"), other("never-bound:*\nleaked:*\n");
	Child child = with_environment("level=warn", [&] {
		std::atomic<bool> done{false};
		Reports reports;

		EXPECT_EQ(tether_set_option("suppressions", one.name()), 0);
		std::thread reporter([&] {
			while (!done)
				violate();
		});
		for (size_t i = 0; i < 100; i++)
			EXPECT_EQ(tether_set_option("suppressions", i % 2 ? one.name() : other.name()), 0);
		done = true;
		reporter.join();
		EXPECT_EQ(reports.take().size(), 0U);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

} // namespace
