/* support.h - what the tests share: objects that tell how they ended, other threads, caught reports.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_TESTS_SUPPORT_H
#define TETHER_TESTS_SUPPORT_H

#include <tether/tether.h>

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN true
#elif defined(__has_feature)
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define UNDER_TSAN false
#endif

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN true
#elif defined(__has_feature)
#define UNDER_ASAN __has_feature(address_sanitizer)
#else
#define UNDER_ASAN false
#endif

inline std::string describe(const struct tether *tag)
{
	char line[512];

	tether_describe(tag, line, sizeof line);
	return line;
}

/* Is this the label of the object? */
inline bool shows(const struct tether *tag, const std::string &label)
{
	return describe(tag).find('"' + label + '"') != std::string::npos;
}

/* Big counts are divided by TETHER_TEST_SCALE, or by what the tool that we run under costs. */
inline size_t scaled(size_t count)
{
	const char *told = getenv("TETHER_TEST_SCALE");
	size_t divisor = UNDER_TSAN || UNDER_ASAN ? 100 : 1;

	if (RUNNING_ON_VALGRIND)
		divisor = 1000;
	if (told && atol(told) > 0)
		divisor = static_cast<size_t>(atol(told));
	return count / divisor ? count / divisor : 1;
}

/* An object that tells how often and where it ended, and does what a test wants at its end. */
struct Thing {
	std::atomic<int> ends{0};
	std::atomic<pthread_t> ended_on{0};
	std::function<void()> *at_end;
	struct tether tether = {0, 0, 0, 0};

	explicit Thing(std::function<void()> what = [] {}) : at_end(new std::function<void()>(std::move(what))) {}
	Thing(const Thing &) = delete;
	Thing &operator=(const Thing &) = delete;
	~Thing() { delete at_end; }

	bool ended_once_on(pthread_t thread) const { return ends == 1 && pthread_equal(ended_on, thread); }
	bool ended_once_here() const { return ended_once_on(pthread_self()); }
};

inline void thing_destroy(void *object)
{
	Thing *thing = static_cast<Thing *>(object);

	thing->ended_on = pthread_self();
	thing->ends++;
	(*thing->at_end)();
}

inline tether_owner_t thing_heir;
inline const tether_type thing_type = TETHER_TYPE(Thing, tether, thing_destroy);
inline const tether_type anywhere_type = TETHER_TYPE_POLICY(Thing, tether, thing_destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);
inline const tether_type heir_type = TETHER_TYPE_HEIR(Thing, tether, thing_destroy, &thing_heir, TETHER_LEVEL_DEFAULT);

/* A message that tells what became of it, and does what a test wants when it is called. */
struct Note {
	struct tether_message message;
	std::atomic<int> calls{0};
	std::atomic<enum tether_fate> fate{TETHER_RUN};
	std::atomic<pthread_t> called_on{0};
	std::function<void()> *at_call;

	explicit Note(std::function<void()> what = [] {}) : at_call(new std::function<void()>(std::move(what)))
	{
		tether_message_init(&message, called);
	}
	Note(const Note &) = delete;
	Note &operator=(const Note &) = delete;
	~Note() { delete at_call; }

	static void called(struct tether_message *message, enum tether_fate fate)
	{
		Note *note = reinterpret_cast<Note *>(message); /* its first member */

		note->fate = fate;
		note->called_on = pthread_self();
		note->calls++;
		(*note->at_call)();
	}

	bool ran_once_on(pthread_t thread) const { return calls == 1 && fate == TETHER_RUN && pthread_equal(called_on, thread); }
	bool came_back_once_to(pthread_t thread) const
	{
		return calls == 1 && fate == TETHER_UNDELIVERED && pthread_equal(called_on, thread);
	}
};

/* Another thread, which does as it is told and then waits. */
class Thread
{
public:
	Thread()
	{
		sem_init(&told_, 0, 0);
		sem_init(&done_, 0, 0);
		pthread_create(&thread_, nullptr, serve, this);
	}
	~Thread()
	{
		end();
		sem_destroy(&told_);
		sem_destroy(&done_);
	}
	Thread(const Thread &) = delete;
	Thread &operator=(const Thread &) = delete;

	/* Do it there; it is done on return. */
	void run(std::function<void()> work)
	{
		work_ = std::move(work);
		sem_post(&told_);
		sem_wait(&done_);
	}
	/* Its owner, made now if it had none. */
	tether_owner_t owner()
	{
		tether_owner_t self = 0;

		run([&] { self = tether_self(); });
		return self;
	}
	pthread_t id() const { return thread_; }
	void end()
	{
		if (ended_)
			return;
		ended_ = true;
		work_ = nullptr;
		sem_post(&told_);
		pthread_join(thread_, nullptr);
	}

private:
	static void *serve(void *arg)
	{
		Thread *self = static_cast<Thread *>(arg);

		for (;;) {
			while (sem_wait(&self->told_) != 0)
				;
			if (!self->work_)
				return nullptr;
			self->work_();
			sem_post(&self->done_);
		}
	}

	pthread_t thread_;
	sem_t told_;
	sem_t done_;
	std::function<void()> work_;
	bool ended_ = false;
};

/* Do it on a thread of its own, which has no owner before and has ended on return. */
inline void elsewhere(std::function<void()> work)
{
	std::thread(std::move(work)).join();
}

/* Wait until `all` have come to this line, counted from the first round on; without a system call where
 * they run side by side, so that they leave together. Who is to leave a little later says by how much. */
inline void meet(std::atomic<size_t> &arrived, size_t all, size_t later = 0)
{
	arrived++;
	for (int spins = 0; arrived < all; spins++)
		if (spins > 2000)
			sched_yield();
	for (volatile size_t i = 0; i < later; i = i + 1)
		;
}

inline void *run_function(void *arg)
{
	(*static_cast<std::function<void()> *>(arg))();
	return nullptr;
}

/* Likewise, on a small stack: room for what one destructor needs, not for thousands within each other. */
inline void on_a_small_stack(std::function<void()> work)
{
	size_t stack_bytes = (UNDER_TSAN || UNDER_ASAN ? 1024 * 1024 : 64 * 1024) + static_cast<size_t>(PTHREAD_STACK_MIN);
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	ASSERT_EQ(pthread_attr_setstacksize(&attr, stack_bytes), 0);
	ASSERT_EQ(pthread_create(&thread, &attr, run_function, &work), 0);
	pthread_join(thread, nullptr);
	pthread_attr_destroy(&attr);
}

/* Likewise on a thread that may leave by pthread_exit, or be cancelled by `meanwhile`, which runs here.
 * Returns what pthread_join says. */
inline void *on_a_plain_thread(
	std::function<void()> work, const std::function<void(pthread_t)> &meanwhile = [](pthread_t) {})
{
	pthread_t thread;
	void *result = nullptr;

	EXPECT_EQ(pthread_create(&thread, nullptr, run_function, &work), 0);
	meanwhile(thread);
	EXPECT_EQ(pthread_join(thread, &result), 0);
	return result;
}

/* One report, kept beyond its callback. */
struct Caught {
	struct tether_report report; /* its strings have gone: see below */
	std::string operation, type, owner_name, caller_name, file, function, text, verdict, advice, summary, doing;
};

inline std::string text_of(const char *text)
{
	return text ? text : "(null)";
}

/* Catches every report for as long as it lives. */
class Reports
{
public:
	Reports() { tether_set_report_callback(caught, this); }
	~Reports() { tether_set_report_callback(nullptr, nullptr); }
	Reports(const Reports &) = delete;
	Reports &operator=(const Reports &) = delete;

	/* What was reported since the last call. */
	std::vector<Caught> take()
	{
		std::lock_guard<std::mutex> guard(mutex_);

		return std::exchange(caught_, {});
	}
	std::vector<enum tether_kind> take_kinds()
	{
		std::vector<enum tether_kind> kinds;

		for (const Caught &one : take())
			kinds.push_back(one.report.kind);
		return kinds;
	}

private:
	static void caught(const struct tether_report *r, void *context)
	{
		Reports *self = static_cast<Reports *>(context);
		std::lock_guard<std::mutex> guard(self->mutex_);

		self->caught_.push_back({*r, text_of(r->operation), text_of(r->type), text_of(r->owner_name), text_of(r->caller_name),
		                         text_of(r->file), text_of(r->function), std::string(r->text, r->text_bytes), text_of(r->verdict),
		                         text_of(r->advice), text_of(r->summary), text_of(r->owner_doing)});
	}

	std::mutex mutex_;
	std::vector<Caught> caught_;
};

using Kinds = std::vector<enum tether_kind>;

inline void PrintTo(enum tether_kind kind, std::ostream *out)
{
	*out << tether_kind_name(kind);
}

inline void PrintTo(enum tether_dropped dropped, std::ostream *out)
{
	static const char *const names[] = {"HERE", "QUEUED", "BATCHED", "ORPHANED", "REFUSED"};

	*out << (static_cast<size_t>(dropped) < 5 ? names[dropped] : "?");
}

inline struct tether_counters stats(tether_owner_t owner = 0)
{
	struct tether_counters counters = {};

	EXPECT_EQ(tether_stats(owner, &counters), 0);
	return counters;
}

inline void expect_balanced(const struct tether_counters &counters)
{
	EXPECT_EQ(counters.queued, counters.run_home + counters.orphaned + counters.pending);
	EXPECT_LE(counters.leaked, counters.orphaned);
}

inline bool is_readable(int fd)
{
	struct pollfd ready = {fd, POLLIN, 0};

	return poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN);
}

/* What was counted since `before`. */
inline struct tether_counters since(const struct tether_counters &before, tether_owner_t owner = 0)
{
	struct tether_counters now = stats(owner);

	return {now.bound - before.bound,
	        now.failed_checks - before.failed_checks,
	        now.dropped_here - before.dropped_here,
	        now.sent - before.sent,
	        now.queued - before.queued,
	        now.run_home - before.run_home,
	        now.orphaned - before.orphaned,
	        now.leaked - before.leaked,
	        now.pending - before.pending,
	        now.wakeups - before.wakeups};
}

/* Every test starts and ends quiet: whatever was reported was expected, and the books balance. */
class Quiet : public testing::Test
{
protected:
	void SetUp() override
	{
		tether_set_level(TETHER_WARN);
		EXPECT_EQ(tether_set_option("stall_ms", "0"), 0); /* a busy machine stalls everybody */
		before_ = stats();
	}
	void TearDown() override
	{
		struct tether_counters counted = since(before_);

		EXPECT_EQ(reports.take_kinds(), Kinds{}) << "a report that the test did not take";
		expect_balanced(counted);
		EXPECT_EQ(counted.pending, 0U) << "a drop or a message that nobody has handled";
		tether_set_level(TETHER_LEVEL_DEFAULT);
	}

	Reports reports;

private:
	struct tether_counters before_ = {};
};

#endif
