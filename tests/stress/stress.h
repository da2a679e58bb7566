/* stress.h - what the stress programs share: the seed, the scale, a watchdog, barriers and noise.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_TESTS_STRESS_H
#define TETHER_TESTS_STRESS_H

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace stress
{

/* How often to do what is done `count` times at 100 %: TETHER_TEST_SCALE, or less under a sanitizer. */
unsigned scaled(unsigned count);

/* Where this test is; the watchdog and a failure print it. */
void at(const char *what, uint64_t round);

/* Print what did not hold, the seed and the place, and end the process: the other threads depend on
 * what has just been found broken. */
[[noreturn]] void fail(const char *file, int line, const char *condition);

#define MUST(condition) ((condition) ? (void)0 : stress::fail(__FILE__, __LINE__, #condition))

/* Numbers that depend on the seed and the stream alone: one stream per thread. */
class Random
{
public:
	explicit Random(uint64_t stream);
	uint64_t next();
	/* 0 ... limit - 1 */
	unsigned below(unsigned limit) { return static_cast<unsigned>(next() % limit); }

private:
	uint64_t state_;
};

/* Be busy for some nanoseconds a turn. */
void spin(unsigned turns);

/* Sleep without being a cancellation point. */
void doze(unsigned microseconds);

/* Waits by spinning for a short while, so that all leave it at nearly the same time. */
class Barrier
{
public:
	explicit Barrier(unsigned threads) : threads_(threads) {}
	void wait();

private:
	const unsigned threads_;
	std::atomic<unsigned> arrived_{0};
	std::atomic<unsigned> phase_{0};
};

/* Spins, then yields, until it holds. */
template <typename Condition>
void wait_until(Condition condition)
{
	for (unsigned turn = 0; !condition(); turn++) {
		if (turn < 100)
			spin(1);
		else
			std::this_thread::yield();
	}
}

/* As long as it lives, signals hit the threads at arbitrary instructions, and their handler spins
 * or dozes: the one way to hold a thread between two instructions of the library. End it
 * before the threads are joined. */
class Noise
{
public:
	/* `pause_us`: the mean time between two signals. */
	Noise(std::vector<pthread_t> threads, unsigned pause_us);
	~Noise();
	Noise(const Noise &) = delete;
	Noise &operator=(const Noise &) = delete;

private:
	void make();

	const std::vector<pthread_t> threads_;
	const unsigned pause_us_;
	std::atomic<bool> stop_{false};
	std::thread maker_;
};

/* Is there something to read within that time? Interrupted, it goes on. */
bool is_readable(int fd, int timeout_ms);

} // namespace stress

#endif
