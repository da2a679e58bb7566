/* pace.cc - what the drivers share that pace threads of their own: cores, clocks, a team, rounds, results.
 * SPDX-License-Identifier: MIT */
#include "pace.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

static double clock_ns(clockid_t clock)
{
	timespec now;

	clock_gettime(clock, &now);
	return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double cpu_ns()
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

double wall_ns()
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* As they were when the process began. */
static const std::vector<int> &cores()
{
	static const std::vector<int> allowed = [] {
		std::vector<int> found;
		cpu_set_t set;

		sched_getaffinity(0, sizeof(set), &set);
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &set))
				found.push_back(i);
		return found;
	}();
	return allowed;
}

size_t core_count()
{
	return cores().size();
}

void pin_to(size_t position)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cores()[position % core_count()], &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* ---- The team -------------------------------------------------------------------------------- */

static void sleep_while(std::atomic<uint32_t> &word, uint32_t is)
{
	while (word.load(std::memory_order_acquire) == is)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, is, nullptr, nullptr, 0);
}

static void wake_all(std::atomic<uint32_t> &word)
{
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

Team::Team(size_t size, void (*begin)()) : members_(size)
{
	core_count(); /* before anybody is pinned */
	for (size_t i = 0; i < size; i++)
		members_[i].thread = std::thread(&Team::live, this, &members_[i], i, begin);
}

Team::~Team()
{
	go(members_.size(), nullptr);
	for (member &each : members_)
		each.thread.join();
}

void Team::line_up()
{
	missing_.fetch_sub(1, std::memory_order_acq_rel);
	while (missing_.load(std::memory_order_acquire))
		sched_yield();
}

void Team::live(member *self, size_t number, void (*begin)())
{
	pin_to(number + 1);
	if (begin)
		begin();
	for (uint32_t turn = 0;; turn++) {
		sleep_while(self->turns, turn);
		line_up();
		if (!work_)
			return;
		work_(number);
		if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1)
			wake_all(working_);
	}
}

void Team::go(size_t count, const std::function<void(size_t)> &work)
{
	work_ = work;
	working_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
	missing_.store(static_cast<uint32_t>(count) + 1, std::memory_order_relaxed);
	for (size_t i = 0; i < count; i++) {
		members_[i].turns.fetch_add(1, std::memory_order_release);
		wake_all(members_[i].turns);
	}
	line_up();
}

void Team::wait()
{
	while (uint32_t left = working_.load(std::memory_order_acquire))
		sleep_while(working_, left);
}

void Team::run(size_t count, const std::function<void(size_t)> &work)
{
	go(count, work);
	wait();
}

/* ---- Rounds ------------------------------------------------------------------------------------ */

static constexpr uint32_t trips = 300;
static constexpr double most_ns = 1e6; /* a hundred times what it takes: one of the two is not there */
alignas(64) static std::atomic<uint32_t> line;
alignas(64) static std::atomic<bool> given_up;

static void send_back(size_t)
{
	for (uint32_t i = 1; i < 2 * trips; i += 2) {
		while (line.load(std::memory_order_acquire) != i)
			if (given_up.load(std::memory_order_relaxed))
				return;
		line.store(i + 1, std::memory_order_release);
	}
}

static bool send(double end_ns)
{
	for (uint32_t i = 1, tries = 1; i < 2 * trips; i += 2) {
		line.store(i, std::memory_order_release);
		for (; line.load(std::memory_order_acquire) != i + 1; tries++)
			if (tries % 1024 == 0 && wall_ns() > end_ns)
				return false;
	}
	return true;
}

core_pair look_at_cores()
{
	static Team other(1);

	if (core_count() < 2)
		return {0, 0};
	line.store(0, std::memory_order_relaxed);
	given_up.store(false, std::memory_order_relaxed);
	other.go(1, send_back);
	const double wall = wall_ns(), cpu = cpu_ns();
	const bool all = send(wall + most_ns);
	const double took_ns = wall_ns() - wall, had_ns = cpu_ns() - cpu;
	given_up.store(!all, std::memory_order_relaxed);
	other.wait();
	return {took_ns / trips, all ? had_ns / took_ns : 0};
}

/* Without the closing brace. */
static void print_open(const result &what)
{
	printf("{\"figure\": \"%s\", \"subject\": \"%s\", \"producers\": %zu, \"size\": %zu, \"value\": %.4f, \"unit\": \"%s\"",
	       what.figure.c_str(), what.subject.c_str(), what.producers, what.size, what.value, what.unit);
}

void print(const result &what)
{
	print_open(what);
	printf("}\n");
}

void print(const result &what, const core_pair &before, const core_pair &after)
{
	print_open(what);
	printf(", \"line_ns\": [%.1f, %.1f], \"busy\": %.2f}\n", before.line_ns, after.line_ns, std::min(before.busy, after.busy));
}

void print_skipped(const char *figure, const char *why)
{
	printf("{\"figure\": \"%s\", \"skipped\": \"%s\"}\n", figure, why);
}

void measure(const std::function<std::vector<result>()> &what)
{
	const core_pair before = look_at_cores();
	const std::vector<result> results = what();
	const core_pair after = look_at_cores();

	for (const result &each : results)
		print(each, before, after);
}

arguments::arguments(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--rounds=", 9) == 0)
			rounds = strtoul(argv[i] + 9, nullptr, 10);
		else if (strncmp(argv[i], "--seconds=", 10) == 0)
			seconds = strtod(argv[i] + 10, nullptr);
		else if (strcmp(argv[i], "--quick") == 0)
			quick = true;
		else if (strncmp(argv[i], "--subject=", 10) == 0)
			subject = argv[i] + 10;
		else {
			fprintf(stderr, "usage: %s [--rounds=N] [--seconds=N] [--quick] [--subject=NAME]\n", argv[0]);
			exit(2);
		}
	}
}

Rounds::Rounds(const arguments &wanted, double share) : rounds_(wanted.rounds), end_ns_(wall_ns() + wanted.seconds * share * 1e9)
{
}

bool Rounds::next()
{
	if (begun_ > 0 && (begun_ == rounds_ || wall_ns() > end_ns_))
		return false;
	begun_++;
	return true;
}
