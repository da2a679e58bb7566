/* pace.h - what the drivers share that pace threads of their own: cores, clocks, a team, rounds, results.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

double cpu_ns();  /* of the calling thread */
double wall_ns(); /* since some fixed moment */

size_t core_count();          /* that this process may use */
void pin_to(size_t position); /* the calling thread, to that core of those; modulo their number */

/* Producers: thread i sits on core i + 1, as the owner, who calls, sits on core 0, and sleeps between two runs. */
class Team
{
public:
	/* `begin` is called once by each of its threads. */
	explicit Team(size_t size, void (*begin)() = nullptr);
	~Team();
	Team(const Team &) = delete;
	Team &operator=(const Team &) = delete;

	/* The first `count` threads call work(i), all from the same moment on, at which `go` returns. */
	void go(size_t count, const std::function<void(size_t)> &work);
	void wait(); /* until they have returned */
	void run(size_t count, const std::function<void(size_t)> &work);

private:
	struct member {
		std::atomic<uint32_t> turns{0}; /* how often it was called; it sleeps on this */
		std::thread thread;
	};
	void live(member *self, size_t number, void (*begin)());
	void line_up();

	std::function<void(size_t)> work_; /* none: the end */
	std::atomic<uint32_t> working_{0}; /* who has not returned yet; the owner sleeps on it */
	std::atomic<uint32_t> missing_{0}; /* who has not lined up yet */
	std::deque<member> members_;
};

/* How the owner's core and the first producer's are just now: they send a line to and fro. */
struct core_pair {
	double line_ns; /* what it takes there and back */
	double busy;    /* how much of that time the owner's thread had its core */
};
core_pair look_at_cores();

/* One measurement, as a line of JSON for bench/run. `size` is what the figure says it is, or 0. */
struct result {
	std::string figure, subject;
	size_t producers = 0, size = 0;
	double value = 0;
	const char *unit = "ns";
};
void print(const result &what); /* of one thread: whatever the other core does */
void print(const result &what, const core_pair &before, const core_pair &after);
void print_skipped(const char *figure, const char *why);

/* `what` returns results, which are printed with how the cores were before and after. */
void measure(const std::function<std::vector<result>()> &what);

/* The command line of all drivers: [--rounds=N] [--seconds=N] [--quick] [--subject=NAME] */
struct arguments {
	size_t rounds = 25;
	double seconds = 60; /* no round begins later */
	bool quick = false;  /* less of everything but subjects */
	std::string subject;

	arguments(int argc, char **argv);
	bool wants(const std::string &name) const { return subject.empty() || subject == name; }
};

/* for (Rounds rounds(wanted); rounds.next();): one at least. A program that has several such loops gives each a share of its time. */
class Rounds
{
public:
	explicit Rounds(const arguments &wanted, double share = 1);
	bool next();
	size_t number() const { return begun_ - 1; }

private:
	const size_t rounds_;
	const double end_ns_;
	size_t begun_ = 0;
};

#endif
