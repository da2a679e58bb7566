/* fork.cc - forks at any moment of other threads' work: each child goes on with what is its own, and waits for nobody.
 * SPDX-License-Identifier: MIT
 *
 * Threads bind, send, post, drain, begin and end at full speed. The main thread forks, and each child does real work:
 * it handles what was pending, starts threads that become owners, is woken by them, and its books balance. */
#include "../support.h"
#include "stress.h"

#include <array>

using stress::wait_until;

/* Children start threads, which ThreadSanitizer allows where it is asked; and they cannot join those that a thread of
 * their parent had started. */
extern "C" const char *__tsan_default_options();
extern "C" const char *__tsan_default_options()
{
	return "die_after_fork=0:report_thread_leaks=0";
}

namespace
{

/* Sanitizers do not mend their own books in a child, where threads began and ended at the fork. */
constexpr bool threads_may_come_and_go = !UNDER_ASAN && !UNDER_TSAN;

unsigned forks(unsigned count)
{
	return stress::scaled(UNDER_ASAN || UNDER_TSAN ? count / 3 : count);
}

/* From a pool, as no thread may be inside of malloc when a sanitized process forks. */
struct Ball {
	std::atomic<bool> is_alive{false};
	struct tether tag = {0, 0, 0, 0};
};

void ball_destroy(void *object)
{
	MUST(static_cast<Ball *>(object)->is_alive.exchange(false));
}

const tether_type ball_type = TETHER_TYPE(Ball, tag, ball_destroy);
const tether_type both_type = TETHER_TYPE_RULES(Ball, tag, ball_destroy, TETHER_DIES_IN_CHILDREN);

/* A pool that one thread binds from and another drops. */
class Court
{
public:
	/* By the owner: bind those that are not in play. */
	void serve(const tether_type *type)
	{
		for (Ball &ball : balls_) {
			if (to_drop_)
				return;
			if (ball.is_alive)
				continue;
			tether_bind(&ball.tag, type);
			ball.is_alive = true;
			to_drop_ = &ball;
			return;
		}
	}
	/* By the other one. */
	void drop()
	{
		Ball *ball = to_drop_.exchange(nullptr);

		if (ball)
			tether_drop(&ball->tag);
	}
	static inline std::atomic<bool> is_over{false};

private:
	std::array<Ball, 64> balls_;
	std::atomic<Ball *> to_drop_{nullptr};
};

/* Owners that send to each other, one of them with a descriptor. */
class Load
{
public:
	Load()
	{
		Court::is_over = false;
		threads_.emplace_back([this] { play(left_, right_, &ball_type); });
		threads_.emplace_back([this] { play(right_, left_, &both_type); });
		wait_until([this] { return playing_ == 2; });
	}
	~Load()
	{
		Court::is_over = true;
		for (std::thread &thread : threads_)
			thread.join();
		tether_drain(0);
	}
	Load(const Load &) = delete;
	Load &operator=(const Load &) = delete;

	Court mains; /* served by the main thread, dropped by the others */
	std::atomic<tether_owner_t> someone{0};
	const struct tether *not_mine() const { return &kept_.tag; } /* all the time, and in one state */

private:
	void play(Court &own, Court &others, const tether_type *type)
	{
		MUST(tether_fd() >= 0);
		if (&own == &left_)
			tether_bind(&kept_.tag, type);
		someone = tether_self();
		own.serve(type);
		playing_++;
		for (unsigned turn = 0; !Court::is_over; turn++) {
			own.serve(type);
			others.drop();
			mains.drop();
			tether_drain(turn % 3);
			if (turn % 32 == 0)
				stress::doze(50);
		}
		playing_--;
		wait_until([this] { return playing_ == 0; }); /* then nobody sends to who has ended */
		if (&own == &left_)
			tether_fini(&kept_.tag);
	}

	Court left_, right_;
	Ball kept_;
	std::atomic<int> playing_{0};
	std::vector<std::thread> threads_;
};

void must_balance()
{
	struct tether_counters all = stats();

	MUST(all.sent == all.queued);
	MUST(all.queued == all.run_home + all.orphaned + all.pending);
}

/* Another thread, an owner itself, drops what is ours, and we are woken. */
void be_woken(int fd)
{
	std::array<Ball, 8> balls;

	for (Ball &ball : balls) {
		ball.is_alive = true;
		tether_bind(&ball.tag, &ball_type);
	}
	elsewhere([&] {
		MUST(tether_self() != 0);
		for (Ball &ball : balls)
			MUST(tether_drop(&ball.tag) == TETHER_QUEUED);
	});
	MUST(stress::is_readable(fd, 10000));
	MUST(tether_drain(0) == balls.size());
	for (Ball &ball : balls)
		MUST(!ball.is_alive);
	MUST(!stress::is_readable(fd, 0));
}

/* Fork, and see the child through. */
void in_fork(const std::function<void()> &work)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60);
		work();
		_exit(0);
	}
	MUST(pid > 0);
	while (waitpid(pid, &status, 0) != pid)
		MUST(errno == EINTR);
	MUST(status == 0);
}

bool is_told;

void expect_lost(const struct tether_report *report, void *)
{
	is_told = report->owner_is_lost;
}

TEST(Fork, ChildrenGoOnWhileAllOthersAreGone)
{
	tether_owner_t self = tether_self();
	int fd = tether_fd();
	Load load;

	for (unsigned round = 0; round < forks(10000); round++) {
		stress::at("fork", round);
		load.mains.serve(&ball_type);
		tether_drain(round % 5);
		in_fork([&] {
			struct tether_counters at_first = stats();

			MUST(tether_self() == self && tether_fd() == fd);
			MUST(!tether_owner_is_alive(load.someone));
			must_balance();
			MUST(tether_drain(0) == at_first.pending);
			MUST(stats().pending == 0);
			must_balance();
			be_woken(fd);
			if (round % 16 == 0) {
				tether_set_report_callback(expect_lost, nullptr);
				MUST(!TETHER_ENSURE(load.not_mine()) && is_told);
			}
			tether_owner_exit();
			must_balance();
		});
	}
}

/* What takes a lock, over and over. */
void take_locks(const std::atomic<bool> &is_over)
{
	while (!is_over) {
		if (threads_may_come_and_go)
			elsewhere([] { MUST(tether_self() != 0); });
		stats();
		tether_set_report_callback(nullptr, nullptr);
		tether_set_option("max_reports", "0");
	}
}

TEST(Fork, NoChildWaitsForAThreadThatIsGone)
{
	std::atomic<bool> is_over{false};
	std::vector<std::thread> threads;

	for (int i = 0; i < 3; i++)
		threads.emplace_back([&] { take_locks(is_over); });
	for (unsigned round = 0; round < forks(1500); round++) {
		stress::at("fork", round);
		in_fork([] {
			for (int i = 0; i < 3; i++)
				elsewhere([] { MUST(tether_self() != 0); });
			must_balance();
			tether_set_report_callback(nullptr, nullptr);
			MUST(tether_set_option("max_reports", "1") == 0);
		});
	}
	is_over = true;
	for (std::thread &thread : threads)
		thread.join();
}

TEST(Fork, WakeUpsStayInTheirProcess)
{
	int fd = tether_fd();

	for (unsigned round = 0; round < forks(600); round++) {
		stress::at("wake", round);
		pid_t pid = fork();

		if (pid == 0)
			alarm(60);
		for (int i = 0; i < 4; i++)
			be_woken(fd);
		if (pid == 0)
			_exit(0);
		int status = -1;
		MUST(waitpid(pid, &status, 0) == pid);
		MUST(status == 0);
	}
}

} // namespace
