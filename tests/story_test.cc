/* story_test.cc - what a report knows beyond the violation itself, and wherever it is made.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <csignal>
#include <cstring>

namespace
{

/* What the stacks of a report say, beyond its callback: functions by their names, as far as they are known. */
struct Stacks {
	struct tether_report report;
	std::vector<std::string> at, bound, made;
	std::string first_file, summary, suppression;
	int first_line = 0;
};

std::vector<std::string> functions(const struct tether_stack &stack)
{
	std::vector<std::string> names;

	for (size_t i = 0; i < stack.count; i++)
		names.emplace_back(stack.frames[i].function ? stack.frames[i].function : "");
	return names;
}

class Story : public Quiet
{
protected:
	void SetUp() override
	{
		Quiet::SetUp();
		tether_set_report_callback(keep, this);
	}
	void TearDown() override
	{
		EXPECT_EQ(tether_set_option("bind_stacks", "off"), 0);
		Quiet::TearDown();
	}
	static void keep(const struct tether_report *report, void *context)
	{
		Story *self = static_cast<Story *>(context);
		Stacks one = {*report, functions(report->at), functions(report->bound),    functions(report->owner_made),
		              "",      report->summary,       text_of(report->suppression)};

		if (report->at.count > 0) {
			one.first_file = text_of(report->at.frames[0].file);
			one.first_line = report->at.frames[0].line;
		}
		self->stories.push_back(one);
	}
	Stacks take_one()
	{
		EXPECT_EQ(stories.size(), 1U);
		stories.resize(1);
		return std::exchange(stories, {})[0];
	}

	std::vector<Stacks> stories;
};

/* The destructor that somebody calls by hand, and what it calls. */

struct Held {
	struct tether tether = {0, 0, 0, 0};
	Held *other = nullptr;
};

extern "C" {
__attribute__((noinline)) void held_close(Held *held)
{
	TETHER_CHECK(&held->tether);
	asm volatile("");
}

__attribute__((noinline)) void held_destroy(void *object)
{
	Held *held = static_cast<Held *>(object);

	held_close(held);
	if (held->other)
		held_close(held->other);
	asm volatile("");
}
}

const tether_type held_type = TETHER_TYPE(Held, tether, held_destroy);

TEST_F(Story, DestructorThatIsCalledByHandIsAWrongThreadDrop)
{
	Held held;
	Thread home;

	home.run([&] { tether_bind(&held.tether, &held_type); });
	held_destroy(&held);
	EXPECT_EQ(take_one().report.kind, TETHER_WRONG_THREAD_DROP);
	held_close(&held);
	EXPECT_EQ(take_one().report.kind, TETHER_WRONG_THREAD) << "closing is not destroying";
	home.run([&] { tether_fini(&held.tether); });
}

TEST_F(Story, DestructorThatTheLibraryCallsIsNone)
{
	Held mine, others;
	Thread home;

	home.run([&] { tether_bind(&others.tether, &held_type); });
	tether_bind(&mine.tether, &held_type);
	mine.other = &others;
	EXPECT_EQ(tether_drop(&mine.tether), TETHER_HERE);
	EXPECT_EQ(take_one().report.kind, TETHER_WRONG_THREAD) << "a destructor of the same type runs, but of another object";
	home.run([&] { tether_fini(&others.tether); });
}

/* Where a check is. */

int checked_line;

__attribute__((noinline)) void check_last(const struct tether *tag)
{
	checked_line = __LINE__ + 1;
	TETHER_CHECK(tag);
}

TEST_F(Story, CheckThatIsAFunctionsLastCallIsNamedAllTheSame)
{
	struct tether zero = {0, 0, 0, 0};

	check_last(&zero);

	Stacks story = take_one();

	EXPECT_NE(story.first_file.find("story_test.cc"), std::string::npos) << story.first_file;
	EXPECT_EQ(story.first_line, checked_line);
	EXPECT_NE(story.at[0].find("check_last"), std::string::npos) << story.at[0];
	EXPECT_NE(story.summary.find("story_test.cc:" + std::to_string(checked_line) + " in "), std::string::npos) << story.summary;
	EXPECT_NE(story.suppression.find("never-bound:"), std::string::npos) << story.suppression;
}

/* Times. */

TEST_F(Story, TellsWhenItWasBoundWhereStacksAreKept)
{
	Thing with, without;
	Thread home;

	home.run([&] { tether_bind(&without.tether, &thing_type); });
	ASSERT_EQ(tether_set_option("bind_stacks", "fast"), 0);
	home.run([&] { tether_bind(&with.tether, &thing_type); });
	TETHER_CHECK(&without.tether);
	TETHER_CHECK(&with.tether);
	ASSERT_EQ(stories.size(), 2U);
	EXPECT_EQ(stories[0].report.bound_ns, UINT64_MAX) << "no clock is read";
	EXPECT_GT(stories[0].bound.size(), 0U) << "but the caller is known";
	EXPECT_LT(stories[1].report.bound_ns, UINT64_C(60000000000));
	EXPECT_GT(stories[1].bound.size(), 0U);
	EXPECT_GT(stories[1].made.size(), 0U);
	home.run([&] {
		tether_fini(&with.tether);
		tether_fini(&without.tether);
	});
}

TEST_F(Story, TellsThreadsByTheKernelsNumbers)
{
	Thing thing;
	Thread home;
	pid_t home_tid = 0;

	home.run([&] {
		home_tid = gettid();
		tether_bind(&thing.tether, &thing_type);
	});
	TETHER_CHECK(&thing.tether);

	Stacks story = take_one();

	EXPECT_EQ(story.report.pid, getpid());
	EXPECT_EQ(story.report.caller_tid, gettid());
	EXPECT_EQ(story.report.owner_tid, home_tid);
	EXPECT_EQ(story.report.object_bytes, sizeof(Thing));
	home.run([&] { tether_fini(&thing.tether); });
}

/* What strangers may have written. */

TEST_F(Story, NamesWriteNoLinesOfTheirOwn)
{
	Thing thing;
	Thread home;
	static std::string text;

	home.run([&] {
		tether_self_set_name("x\nSUMMARY: \033[2J");
		tether_bind(&thing.tether, &thing_type);
		EXPECT_EQ(tether_set_label(&thing.tether, "y\nSUMMARY: \033[2J"), 0);
	});
	tether_set_report_callback([](const struct tether_report *report, void *) { text = report->text; }, nullptr);
	TETHER_CHECK(&thing.tether);
	EXPECT_NE(text.find("x?SUMMARY: ?[2J"), std::string::npos) << text;
	EXPECT_NE(text.find("y?SUMMARY: ?[2J"), std::string::npos) << text;
	EXPECT_EQ(text.find('\033'), std::string::npos);
	EXPECT_EQ(text.find("\nSUMMARY: ?"), std::string::npos);
	home.run([&] { tether_fini(&thing.tether); });
}

/* A suppression is of a way, not of a site. */

extern "C" {
__attribute__((noinline)) void story_write(const struct tether *tag)
{
	TETHER_CHECK(tag);
	asm volatile("");
}
__attribute__((noinline)) void story_legacy(const struct tether *tag)
{
	story_write(tag);
	asm volatile("");
}
__attribute__((noinline)) void story_new(const struct tether *tag)
{
	story_write(tag);
	asm volatile("");
}
}

TEST_F(Story, SuppressedWayHidesNoOtherToTheSameSite)
{
	struct tether zero = {0, 0, 0, 0};
	char name[] = "/tmp/tether-story-XXXXXX";
	int fd = mkstemp(name);

	ASSERT_GE(fd, 0);
	ASSERT_GT(dprintf(fd, "never-bound:^story_legacy$\n"), 0);
	close(fd);
	ASSERT_EQ(tether_set_option("suppressions", name), 0);
	tether_set_level(TETHER_WARN_ONCE);
	story_legacy(&zero);
	if (!stories.empty() && stories[0].at[0] == "story_write" && stories[0].at.size() > 1 && stories[0].at[1] != "story_legacy") {
		stories.clear();
		ASSERT_EQ(tether_set_option("suppressions", ""), 0);
		unlink(name);
		GTEST_SKIP() << "the library knows no names";
	}
	EXPECT_EQ(stories.size(), 0U) << "it is suppressed";
	for (int i = 0; i < 2; i++)
		story_new(&zero);
	EXPECT_EQ(take_one().report.kind, TETHER_NEVER_BOUND);
	EXPECT_EQ(tether_set_option("suppressions", ""), 0);
	unlink(name);
}

/* Places where little is left. */

const struct tether *handled;

void check_in_a_handler(int)
{
	errno = 4242;
	TETHER_CHECK(handled);
	EXPECT_EQ(errno, 4242);
}

/* What needs more stack than there is crashes. */
void on_a_signal_stack(size_t bytes, const std::function<void()> &work)
{
	const size_t page = 4096;
	char *memory = static_cast<char *>(mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	stack_t stack = {}, old_stack;
	struct sigaction action = {}, old;

	ASSERT_NE(memory, MAP_FAILED);
	ASSERT_EQ(mprotect(memory, page, PROT_NONE), 0);
	stack.ss_sp = memory + page;
	stack.ss_size = bytes;
	ASSERT_EQ(sigaltstack(&stack, &old_stack), 0);
	action.sa_handler = check_in_a_handler;
	action.sa_flags = SA_ONSTACK;
	ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
	work();
	sigaction(SIGUSR1, &old, nullptr);
	sigaltstack(&old_stack, nullptr);
	munmap(memory, bytes + page);
}

struct Short {
	enum tether_kind kind;
	std::string text;
	size_t frames;
};

TEST_F(Story, IsShortOnTheSmallestSignalStackAndWholeOnALarger)
{
	struct tether zero = {0, 0, 0, 0};
	const size_t smallest = sizeof(ucontext_t) > 4096 ? 16384 : 8192; /* as SIGSTKSZ was when it was a constant */
	static Short heard;                                               /* a small callback: it is on that stack, too */

	if (UNDER_TSAN || UNDER_ASAN || RUNNING_ON_VALGRIND)
		GTEST_SKIP() << "takes more stack than a signal's";
	tether_self();
	handled = &zero;
	heard.text.reserve(65536);
	tether_set_report_callback(
		[](const struct tether_report *report, void *) {
			heard.kind = report->kind;
			heard.frames = report->at.count;
			heard.text.assign(report->text, report->text_bytes);
		},
		nullptr);
	on_a_signal_stack(smallest, [] { raise(SIGUSR1); });
	EXPECT_EQ(heard.kind, TETHER_NEVER_BOUND);
	EXPECT_EQ(heard.frames, 0U);
	EXPECT_NE(heard.text.find("story_test.cc:"), std::string::npos) << heard.text;
	EXPECT_NE(heard.text.find("the stack is too small"), std::string::npos) << heard.text;
	on_a_signal_stack(32768, [] { raise(SIGUSR1); });
	EXPECT_EQ(heard.kind, TETHER_NEVER_BOUND);
	EXPECT_GT(heard.frames, 0U);
}

struct AtThreadExit {
	const struct tether *tag = nullptr;
	~AtThreadExit()
	{
		if (tag)
			TETHER_CHECK(tag);
	}
};
thread_local AtThreadExit at_thread_exit;

void check_in_a_key_destructor(void *tag)
{
	TETHER_CHECK(static_cast<const struct tether *>(tag));
}

TEST_F(Story, IsToldWhileTheThreadExits)
{
	pthread_key_t key;
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	ASSERT_EQ(pthread_key_create(&key, check_in_a_key_destructor), 0);
	elsewhere([&] {
		tether_self_set_name("the leaving");
		at_thread_exit.tag = &thing.tether;
		pthread_setspecific(key, &thing.tether);
	});
	ASSERT_EQ(stories.size(), 2U);
	for (const Stacks &story : stories) {
		EXPECT_EQ(story.report.kind, TETHER_WRONG_THREAD);
		EXPECT_EQ(story.report.owner, tether_self());
		EXPECT_NE(story.report.caller, 0U);
	}
	pthread_key_delete(key);
	tether_fini(&thing.tether);
}

} // namespace
