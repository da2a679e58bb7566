/* first_use_test.cc - functions are named for the first time when that cannot be done, or by many threads at once.
 * SPDX-License-Identifier: MIT
 *
 * Each test is a process that has made no report before. HAS_NAMES: the library is built with libbacktrace. */
#include "../support.h"

#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "child.h"

namespace
{

struct Object {
	struct tether tether = {0, 0, 0, 0};
};
const tether_type object_type = TETHER_TYPE(Object, tether, nullptr);
Object object; /* nobody's */

/* What a report tells of the function below. */
struct Seen {
	bool has_name = false, has_offset = false;
	std::string cut;
};
thread_local Seen *seen;

void see(const struct tether_report *report, void *)
{
	const struct tether_stack &at = report->at;

	for (size_t i = 0; i < at.count; i++) {
		const struct tether_frame &frame = at.frames[i];

		if (!frame.address) /* what the check says of itself */
			continue;
		seen->has_offset |= frame.module && frame.offset > 0;
		seen->has_name |= frame.function && strstr(frame.function, "guilty_function");
	}
	seen->cut = at.cut ? at.cut : "";
}

__attribute__((noinline)) void guilty_function()
{
	(void)TETHER_ENSURE(&object.tether);
	__asm__ volatile("" ::: "memory");
}

Seen report_here()
{
	Seen result;

	seen = &result;
	guilty_function();
	return result;
}

void expect_named(const Seen &result)
{
	EXPECT_TRUE(result.has_name);
	EXPECT_TRUE(result.has_offset);
	EXPECT_EQ(result.cut, "");
}

/* In a process that is as good as new. */
void as_first_use(const std::function<void()> &work)
{
	Child child = in_child([&] {
		tether_bind_later(&object.tether, &object_type);
		tether_set_level(TETHER_WARN);
		tether_set_report_callback(see, nullptr);
		work();
	});

	EXPECT_TRUE(child.exited_with(0)) << child.status << '\n' << child.err;
}

void limit_descriptors(rlim_t limit)
{
	struct rlimit now;

	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &now), 0);
	now.rlim_cur = limit;
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
}

class FirstUse : public testing::Test
{
protected:
	void SetUp() override
	{
#if !HAS_NAMES
		GTEST_SKIP() << "the library is built without names";
#endif
	}
};

/* Those whose names are not libbacktrace's business. */
class FirstUseOfOurs : public FirstUse
{
protected:
	void SetUp() override
	{
		FirstUse::SetUp();
		if (UNDER_TSAN || UNDER_ASAN)
			GTEST_SKIP() << "the sanitizer finds the names";
	}
};

TEST_F(FirstUse, ByEightThreadsAtOnceNamesThemOrSaysWhyNot)
{
	as_first_use([] {
		std::atomic<size_t> arrived{0}, named{0};
		std::vector<std::thread> threads;

		for (int i = 0; i < 8; i++)
			threads.emplace_back([&] {
				meet(arrived, 8);
				Seen result = report_here();

				EXPECT_TRUE(result.has_offset);
				EXPECT_EQ(result.has_name, result.cut.find("names are missing") == std::string::npos) << result.cut;
				named += result.has_name;
			});
		for (std::thread &thread : threads)
			thread.join();
		EXPECT_GE(named, 1U);
		expect_named(report_here());
	});
}

TEST_F(FirstUse, InASignalHandlerFindsNames)
{
	as_first_use([] {
		static Seen result;

		(void)tether_self(); /* handlers may check on threads that have an owner */
		signal(SIGUSR1, [](int) {
			seen = &result;
			guilty_function();
		});
		raise(SIGUSR1);
		expect_named(result);
	});
}

TEST_F(FirstUse, OfAThreadThatIsBeingCancelledEnds)
{
	as_first_use([] {
		static Seen result;

		void *ended = on_a_plain_thread([] {
			pthread_cancel(pthread_self());
			seen = &result;
			guilty_function();
			pthread_testcancel();
		});
		EXPECT_EQ(ended, PTHREAD_CANCELED);
		expect_named(result);
		expect_named(report_here());
	});
}

TEST_F(FirstUse, LeavesErrnoAlone)
{
	as_first_use([] {
		errno = 77;
		expect_named(report_here());
		EXPECT_EQ(errno, 77);
		tether_load_symbols();
		EXPECT_EQ(errno, 77);
	});
}

TEST_F(FirstUse, InAForkedChildFindsNames)
{
	as_first_use([] {
		int status = 0;

		expect_named(report_here());
		pid_t child = fork();
		if (child == 0)
			_exit(report_here().has_name ? 0 : 1);
		EXPECT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(status, 0);
	});
}

TEST_F(FirstUseOfOurs, WithoutAFileDescriptorSaysSoAndTriesAgain)
{
	as_first_use([] {
		limit_descriptors(0);
		Seen result = report_here();
		limit_descriptors(64);
		EXPECT_FALSE(result.has_name);
		EXPECT_TRUE(result.has_offset);
		EXPECT_EQ(result.cut, "names are missing: no file descriptor was free");
		expect_named(report_here());
	});
}

TEST_F(FirstUseOfOurs, WasMadeByTetherLoadSymbols)
{
	as_first_use([] {
		tether_load_symbols();
		limit_descriptors(0);
		Seen result = report_here();
		limit_descriptors(64);
		expect_named(result);
	});
}

} // namespace
