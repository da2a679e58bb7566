/* sink_test.cc - where reports go when that is slow, full, closed, torn down or somebody else's: no text is
 * torn, nothing hangs, nothing is lost without being counted.
 * SPDX-License-Identifier: MIT */
#include "../support.h"
#include "child.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <tether/options.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>

namespace
{

struct tether zero = {0, 0, 0, 0};

/* Objects whose owner has gone, bound deep inside calls; each thread misuses one of its own. */
struct Far {
	struct tether tether;
};
Far fars[100];
const tether_type far_type = TETHER_TYPE(Far, tether, [](void *) {});
std::atomic<int> fars_taken;
thread_local Far &far = fars[fars_taken++];

__attribute__((noinline)) void bind_deep(int depth)
{
	if (depth > 0)
		bind_deep(depth - 1);
	else
		for (Far &one : fars)
			tether_bind(&one.tether, &far_type);
	asm volatile("");
}

/* A report of more than PIPE_BUF bytes, as its stacks are deep. */
__attribute__((noinline)) void violate_deep(int depth = 70)
{
	if (depth > 0)
		violate_deep(depth - 1);
	else
		TETHER_CHECK(&far.tether);
	asm volatile("");
}

void violate()
{
	TETHER_CHECK(&zero);
}

void set(const char *name, const std::string &value)
{
	EXPECT_EQ(tether_set_option(name, value.c_str()), 0) << name << "=" << value;
}

/* Every violation is written, as soon as may be. */
void report_all()
{
	set("level", "warn");
	set("symbols", "0");
	set("exit_summary", "0");
	set("bind_stacks", "full");
	set("stack_depth", "64");
	elsewhere([] { bind_deep(70); });
}

/* How many reports a text consists of, each whole and none inside another; -1: it does not. */
int reports_in(const std::string &text)
{
	static const std::regex head("==[0-9]+== tether: .*");
	static const std::regex frame("    #([0-9]+) .*\\(.*\\)");
	std::istringstream lines(text);
	int reports = 0, frames = 0;
	bool inside = false;
	std::smatch number;

	for (std::string line; std::getline(lines, line);) {
		if (std::regex_match(line, head) != !inside)
			return -1;
		inside = line.rfind("SUMMARY: tether: ", 0) != 0;
		reports += !inside;
		if (line.rfind("    #", 0) != 0)
			frames = 0;
		else if (!std::regex_match(line, number, frame) || std::stoi(number[1]) != frames++)
			return -1;
		if (inside && line.rfind("  ", 0) != 0 && !std::regex_match(line, head))
			return -1;
	}
	return inside || (!text.empty() && text.back() != '\n') ? -1 : reports;
}

bool has(const std::string &text, const std::string &part)
{
	return text.find(part) != std::string::npos;
}

std::string content_of(const std::string &path)
{
	std::ifstream file(path);
	std::stringstream all;

	all << file.rdbuf();
	return all.str();
}

void pause_ms(long ms)
{
	struct timespec nap = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&nap, nullptr);
}

/* A folder that goes with the test. */
class Sink : public testing::Test
{
protected:
	void SetUp() override { ASSERT_NE(mkdtemp(folder_), nullptr); }
	void TearDown() override { EXPECT_EQ(system(("rm -r " + path("")).c_str()), 0); }

	std::string path(const std::string &name) const { return std::string(folder_) + "/" + name; }
	std::vector<std::string> names() const
	{
		std::vector<std::string> names;
		DIR *folder = opendir(folder_);

		for (struct dirent *entry; (entry = readdir(folder));)
			if (entry->d_name[0] != '.')
				names.emplace_back(entry->d_name);
		closedir(folder);
		return names;
	}

private:
	char folder_[32] = "/tmp/tether-XXXXXX";
};

/* A pipe in place of standard error. */
class Pipe
{
public:
	explicit Pipe(int flags = 0)
	{
		EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
		EXPECT_EQ(fcntl(ends_[1], F_SETFL, flags), 0);
		saved_ = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
		dup2(ends_[1], STDERR_FILENO);
		close(ends_[1]);
	}
	~Pipe() { close_reader(); }
	Pipe(const Pipe &) = delete;
	Pipe &operator=(const Pipe &) = delete;

	/* Standard error is what it was. */
	void take_away()
	{
		dup2(saved_, STDERR_FILENO);
		close(saved_);
	}
	static bool is_full()
	{
		struct pollfd room = {STDERR_FILENO, POLLOUT, 0};

		return poll(&room, 1, 0) == 0;
	}
	int held() const /* bytes that nobody has read yet */
	{
		int bytes = -1;

		EXPECT_EQ(ioctl(ends_[0], FIONREAD, &bytes), 0);
		return bytes;
	}
	void read_some()
	{
		char page[4096];

		EXPECT_EQ(read(ends_[0], page, sizeof page), static_cast<ssize_t>(sizeof page));
	}
	/* Until nobody can write to it any more; slowly at first. */
	std::string read_all()
	{
		char buffer[1000];
		std::string text;
		ssize_t got;
		int naps = 100;

		while ((got = read(ends_[0], buffer, sizeof buffer)) > 0) {
			text.append(buffer, static_cast<size_t>(got));
			if (naps-- > 0)
				pause_ms(1);
		}
		return text;
	}
	void fill()
	{
		int flags = fcntl(STDERR_FILENO, F_GETFL);
		char line[] = "...............\n";

		fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
		while (write(STDERR_FILENO, line, sizeof line - 1) > 0)
			;
		fcntl(STDERR_FILENO, F_SETFL, flags);
	}
	void close_reader()
	{
		if (ends_[0] >= 0)
			close(ends_[0]);
		ends_[0] = -1;
	}

private:
	int ends_[2];
	int saved_;
};

/* ---- Many at once ------------------------------------------------------------------------------- */

TEST_F(Sink, ReportsOfManyThreadsAreWholeThoughTheReaderIsSlow)
{
	const int threads = 64;
	const int each = static_cast<int>(scaled(800) / 50 + 4); /* half of them longer than PIPE_BUF */
	std::string text;
	Child child = in_child([&] {
		report_all();

		struct tether_counters before = stats();
		Pipe pipe;
		std::thread reader([&] { text = pipe.read_all(); });
		std::vector<std::thread> all;

		for (int i = 0; i < threads; i++)
			all.emplace_back([each] {
				for (int n = 0; n < each; n++)
					n % 2 ? violate_deep() : violate();
			});
		for (std::thread &one : all)
			one.join();
		pipe.take_away();
		reader.join();
		EXPECT_EQ(since(before).failed_checks, static_cast<uint64_t>(threads * each));
		EXPECT_EQ(reports_in(text), threads * each) << text.substr(0, 20000);
		EXPECT_GT(text.size(), static_cast<size_t>(threads * each / 2 * PIPE_BUF)) << "they are long";
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

TEST_F(Sink, AReaderThatComesLateMissesNothing)
{
	std::string text;
	Child child = in_child([&] {
		report_all();

		Pipe pipe(O_NONBLOCK);
		std::thread reader([&] {
			while (!pipe.is_full())
				pause_ms(1);
			text = pipe.read_all();
		});

		for (int i = 0; i < 40; i++)
			violate_deep(); /* more than a pipe takes */
		pipe.take_away();
		reader.join();
		EXPECT_EQ(reports_in(text), 40);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

TEST_F(Sink, AReaderThatNeverComesIsNotWaitedForTwice)
{
	Child child = in_child([&] {
		report_all();
		set("exit_summary", "1");

		Pipe pipe(O_NONBLOCK);

		for (int i = 0; i < 60; i++)
			violate_deep(); /* at 2 s each, far beyond the test's time */
		pipe.take_away();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_TRUE(has(child.err, "at exit: 60 reports"));
	EXPECT_TRUE(std::regex_search(child.err, std::regex("could not be written: [1-9]"))) << child.err;
}

TEST_F(Sink, WhatFollowsATornTextHasALineOfItsOwn)
{
	std::string text;
	Child child = in_child([&] {
		report_all();

		Pipe pipe(O_NONBLOCK);

		pipe.fill();
		pipe.read_some(); /* room for a part of it */
		violate_deep();

		std::thread reader([&] { text = pipe.read_all(); });

		while (pipe.held() > 30000)
			pause_ms(1);
		violate();
		pipe.take_away();
		reader.join();

		size_t last = text.rfind("\n==");

		ASSERT_NE(last, std::string::npos);
		EXPECT_EQ(reports_in(text.substr(last + 1)), 1) << text.substr(last);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

/* ---- Descriptors that take nothing ------------------------------------------------------------------ */

volatile sig_atomic_t signals;

void count_signal(int)
{
	signals = signals + 1;
}

TEST_F(Sink, APipeThatNobodyReadsEndsNoProgram)
{
	Child child = in_child([] {
		sigset_t before, after, pending;

		report_all();
		set("exit_summary", "1");
		sigemptyset(&before);
		sigaddset(&before, SIGUSR1);
		pthread_sigmask(SIG_SETMASK, &before, nullptr);

		Pipe pipe;

		pipe.close_reader();
		errno = 4242;
		violate();
		violate_deep();
		EXPECT_EQ(errno, 4242);
		pipe.take_away();
		pthread_sigmask(SIG_SETMASK, nullptr, &after);
		EXPECT_TRUE(sigismember(&after, SIGUSR1));
		EXPECT_FALSE(sigismember(&after, SIGPIPE));
		sigpending(&pending);
		EXPECT_FALSE(sigismember(&pending, SIGPIPE));
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_TRUE(has(child.err, "could not be written: 2 texts")) << child.err;
}

TEST_F(Sink, ASignalThatWasPendingBeforeStaysSo)
{
	Child child = in_child([] {
		sigset_t pipe_only, pending;

		report_all();
		signals = 0;
		signal(SIGPIPE, count_signal);
		sigemptyset(&pipe_only);
		sigaddset(&pipe_only, SIGPIPE);
		pthread_sigmask(SIG_BLOCK, &pipe_only, nullptr);
		pthread_kill(pthread_self(), SIGPIPE);

		Pipe pipe;

		pipe.close_reader();
		violate();
		pipe.take_away();
		sigpending(&pending);
		EXPECT_TRUE(sigismember(&pending, SIGPIPE));
		pthread_sigmask(SIG_UNBLOCK, &pipe_only, nullptr);
		EXPECT_EQ(signals, 1);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

TEST_F(Sink, AFullDiskBehindStandardErrorIsCounted)
{
	Child child = in_child([] {
		int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
		int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

		report_all();
		set("exit_summary", "1");
		dup2(full, STDERR_FILENO);
		violate();
		violate();
		dup2(saved, STDERR_FILENO);
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_TRUE(has(child.err, "could not be written: 2 texts")) << child.err;
}

/* ---- Whoever has the turn --------------------------------------------------------------------------- */

TEST_F(Sink, AHandlerMayReportWhateverItInterrupted)
{
	std::string text;
	Child child = in_child([&] {
		const int times = static_cast<int>(scaled(20000) / 100 + 10);

		report_all();
		signal(SIGUSR1, [](int) { violate(); });

		struct tether_counters before = stats();
		Pipe pipe;
		std::thread reader([&] { text = pipe.read_all(); });
		std::atomic<bool> done{false};
		std::atomic<uint64_t> deep{0};
		std::thread reporter([&] {
			tether_self(); /* a handler makes no owner */
			while (!done) {
				violate_deep();
				deep++;
			}
		});

		while (deep == 0)
			sched_yield();
		for (int i = 0; i < times; i++) {
			pthread_kill(reporter.native_handle(), SIGUSR1);
			pause_ms(1);
		}
		done = true;
		reporter.join();
		pipe.take_away();
		reader.join();
		EXPECT_GT(since(before).failed_checks, deep) << "some of the signals were not merged";
		EXPECT_GE(reports_in(text), static_cast<int>(deep));
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

TEST_F(Sink, AThreadThatIsCancelledCutsNoReport)
{
	std::string text;
	Child child = in_child([&] {
		report_all();

		Pipe pipe;
		std::thread reader([&] { text = pipe.read_all(); });

		for (int i = 0; i < 10; i++)
			on_a_plain_thread(
				[] {
					for (;;) {
						violate_deep();
						pthread_testcancel();
					}
				},
				[](pthread_t thread) {
					pause_ms(3);
					pthread_cancel(thread);
				});
		violate();
		pipe.take_away();
		reader.join();
		EXPECT_GT(reports_in(text), 1);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

TEST_F(Sink, AChildOfAReportingProcessReports)
{
	Child child = in_child([&] {
		report_all();

		Pipe pipe;
		std::string text;
		std::thread reader([&] { text = pipe.read_all(); });
		std::atomic<bool> done{false};
		std::vector<std::thread> reporters;

		for (int i = 0; i < 4; i++)
			reporters.emplace_back([&] {
				while (!done)
					violate_deep();
			});
		for (int i = 0; i < 20; i++) {
			int status = -1;
			pid_t pid = fork();

			if (pid == 0) {
				alarm(60);
				violate();
				violate();
				_exit(0);
			}
			EXPECT_EQ(waitpid(pid, &status, 0), pid);
			EXPECT_EQ(status, 0) << "14: it found something locked by a thread that it has not";
		}
		done = true;
		for (std::thread &reporter : reporters)
			reporter.join();
		pipe.take_away();
		reader.join();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
}

/* A thread that waits inside a write to a pipe that nobody reads. */
std::thread stuck_reporter(Pipe &pipe)
{
	pipe.fill();

	int all = pipe.held();

	pipe.read_some(); /* its first page finds room: then it is inside */

	std::thread stuck([] { violate_deep(); });

	while (pipe.held() < all)
		pause_ms(1);
	return stuck;
}

TEST_F(Sink, AThreadThatIsStuckHoldsUpTheOthersForAWhileOnly)
{
	Child child = in_child([] {
		report_all();
		set("exit_summary", "1");

		Pipe pipe;
		std::thread stuck = stuck_reporter(pipe);

		pipe.take_away();
		violate(); /* 5 s */
		pipe.close_reader();
		stuck.join();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_TRUE(has(child.err, "SUMMARY: tether: "));
	EXPECT_TRUE(has(child.err, "written out of turn: 1 texts")) << child.err;
}

TEST_F(Sink, AThreadThatEndedInsideAWriteHoldsUpNobody)
{
	if (UNDER_TSAN || UNDER_ASAN)
		GTEST_SKIP() << "a thread that leaves by a system call is not for sanitizers";

	Child child = in_child([] {
		report_all();
		set("exit_summary", "1");
		signal(SIGUSR1, [](int) { syscall(SYS_exit, 0); });

		Pipe pipe;
		std::thread stuck = stuck_reporter(pipe);

		pthread_kill(stuck.native_handle(), SIGUSR1);
		stuck.join();
		pipe.take_away();
		violate();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_TRUE(has(child.err, "SUMMARY: tether: "));
	EXPECT_FALSE(has(child.err, "out of turn")) << child.err;
}

/* ---- The log ---------------------------------------------------------------------------------------- */

TEST_F(Sink, ALogTakesThePlaceOfStandardError)
{
	Child child = in_child([&] {
		report_all();
		set("log_path", path("a/b/c/%p%%.log"));
		EXPECT_TRUE(has(content_of(path("a/b/c/" + std::to_string(getpid()) + "%.log")), "")) << "it is made at once";
		violate();
		violate_deep();
		EXPECT_EQ(reports_in(content_of(path("a/b/c/" + std::to_string(getpid()) + "%.log"))), 2);
		set("log_path", "");
		violate();
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(reports_in(child.err), 1) << child.err;
}

TEST_F(Sink, ALogIsAppendedTo)
{
	for (int i = 0; i < 2; i++)
		EXPECT_TRUE(in_child([&] {
						report_all();
						set("log_path", path("log"));
						violate();
					}).exited_with(0));
	EXPECT_EQ(reports_in(content_of(path("log"))), 2);
}

TEST_F(Sink, AChildHasALogOfItsOwnWhereItsNameSaysSo)
{
	pid_t ids[2] = {-1, -1};
	Child child = in_child([&] {
		report_all();
		ASSERT_EQ(chdir(path("").c_str()), 0);
		set("log_path", "log.%p");
		ASSERT_EQ(chdir("/"), 0);
		violate();
		ids[0] = getpid();
		ids[1] = fork();
		if (ids[1] == 0) {
			violate();
			violate();
			_exit(0);
		}
		EXPECT_EQ(waitpid(ids[1], nullptr, 0), ids[1]);
		violate();
		EXPECT_EQ(reports_in(content_of(path("log." + std::to_string(ids[0])))), 2);
		EXPECT_EQ(reports_in(content_of(path("log." + std::to_string(ids[1])))), 2);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_EQ(names().size(), 2U);
	EXPECT_EQ(child.err, "");
}

TEST_F(Sink, AChildSharesALogThatNamesNoProcess)
{
	Child child = in_child([&] {
		report_all();
		set("log_path", path("log"));

		pid_t pid = fork();

		violate();
		if (pid == 0)
			_exit(0);
		EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_EQ(reports_in(content_of(path("log"))), 2);
}

TEST_F(Sink, AProgramThatClosesEverythingGetsNoReportIntoItsOwnFiles)
{
	Child child = in_child([&] {
		report_all();
		set("log_path", path("log"));
		violate();
		for (int fd = 3; fd < 100; fd++)
			close(fd);
		for (int i = 0; i < 20; i++)
			EXPECT_GE(open(path("its own").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), 3);
		violate();
		violate();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_EQ(content_of(path("its own")), "");
	EXPECT_EQ(reports_in(content_of(path("log"))), 3) << "it was opened again";
	EXPECT_EQ(child.err, "");
}

TEST_F(Sink, ALogIsNeverADescriptorThatThePrintfsOfTheProgramWriteTo)
{
	Child child = in_child([&] {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		report_all();
		set("log_path", path("log"));
		for (int fd = 0; fd < 3; fd++)
			EXPECT_EQ(fcntl(fd, F_GETFD), -1) << fd;
		violate();
	});

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(reports_in(content_of(path("log"))), 1);
}

TEST_F(Sink, ALogThatCannotBeOpenedIsSaidAndNothingChanges)
{
	Child child = in_child([&] {
		report_all();
		set("log_path", path("good"));
		EXPECT_EQ(tether_set_option("log_path", path("").c_str()), -EISDIR);
		EXPECT_EQ(tether_set_option("log_path", path("good/bad").c_str()), -ENOTDIR);
		EXPECT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
		EXPECT_EQ(tether_set_option("log_path", path("fifo").c_str()), -ENXIO) << "nobody reads it";
		violate();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_EQ(reports_in(content_of(path("good"))), 1);
	EXPECT_TRUE(has(child.err, "tether: log_path='" + path("good/bad") + "': Not a directory; the log stays what it was\n"))
		<< child.err;
}

TEST_F(Sink, ALogOfTheEnvironmentThatCannotBeOpenedIsSaidAndStandardErrorIsUsed)
{
	Child child = in_child([&] {
		setenv("TETHER_OPTIONS", ("exit_summary=0:log_path=" + path("")).c_str(), 1);
		violate();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_EQ(child.err.rfind("tether: log_path='" + path("") + "': Is a directory; reports go to standard error\n", 0), 0U);
	EXPECT_EQ(reports_in(child.err.substr(child.err.find("\n==") + 1)), 1);
}

TEST_F(Sink, WhatAFullDiskDoesNotTakeGoesToStandardError)
{
	Child child = in_child([&] {
		report_all();
		set("exit_summary", "1");
		set("log_path", "/dev/full");
		violate();
		violate();
		EXPECT_EQ(tether_set_option("log_path", ""), 0);
	});
	std::string warning = "tether: log_path='/dev/full': No space left on device; what it does not take goes to standard error\n";

	EXPECT_TRUE(child.exited_with(0));
	EXPECT_EQ(child.err.rfind(warning, 0), 0U) << child.err;
	EXPECT_EQ(child.err.find(warning, 1), std::string::npos) << "one warning is enough";
	EXPECT_TRUE(has(child.err, "at exit: 2 reports"));
	EXPECT_FALSE(has(child.err, "could not be written")) << child.err;
	EXPECT_FALSE(has(child.err, "out of turn")) << "the warning is written by who has the turn";
}

TEST_F(Sink, ALogThatMayNotGrowEndsNoProgram)
{
	Child child = in_child([&] {
		struct rlimit size = {0, RLIM_INFINITY};

		report_all();
		set("log_path", path("log"));
		violate_deep();
		size.rlim_cur = content_of(path("log")).size() + 1000;
		EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &size), 0);
		violate_deep(); /* SIGXFSZ */
		size.rlim_cur = RLIM_INFINITY;
		EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &size), 0);
		violate();
	});
	std::string log = content_of(path("log"));

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_TRUE(has(child.err, "File too large")) << child.err;
	EXPECT_EQ(reports_in(child.err.substr(child.err.find('\n') + 1)), 1) << "the one that was cut there is whole here";
	EXPECT_EQ(reports_in(log.substr(log.rfind("\n==") + 1)), 1) << "and the next one is whole in the log";
}

/* ---- Suppressions that cannot be read ---------------------------------------------------------------- */

TEST_F(Sink, SuppressionsThatCannotBeReadAreSaidAndNotUsed)
{
	std::ofstream(path("binary")) << std::string("never-bound:*\n\0\n", 16);
	std::ofstream(path("huge")) << std::string((1 << 20) + 1, '#');
	std::ofstream(path("large")) << std::string((1 << 20) - 20, '#') << "\nnever-bound:*\n";
	EXPECT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);

	Child child = in_child([&] {
		report_all();
		EXPECT_EQ(tether_set_option("suppressions", path("none").c_str()), -ENOENT);
		EXPECT_EQ(tether_set_option("suppressions", path("").c_str()), -EISDIR);
		EXPECT_EQ(tether_set_option("suppressions", path("fifo").c_str()), -EINVAL);
		EXPECT_EQ(tether_set_option("suppressions", path("binary").c_str()), -EILSEQ);
		EXPECT_EQ(tether_set_option("suppressions", path("huge").c_str()), -EFBIG);
		violate();
		EXPECT_EQ(tether_set_option("suppressions", path("large").c_str()), 0);
		violate();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.err;
	EXPECT_TRUE(has(child.err, "tether: suppressions='" + path("fifo") + "': not a regular file; not used\n"));
	EXPECT_TRUE(has(child.err, "tether: suppressions='" + path("huge") + "': larger than 1 MiB; not used\n"));
	EXPECT_EQ(reports_in(child.err.substr(child.err.find("\n==") + 1)), 1) << child.err;
}

} // namespace
