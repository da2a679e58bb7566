/* stress.cc - the seed, the scale, a watchdog, barriers and noise for the stress programs.
 * SPDX-License-Identifier: MIT
 *
 * Usage: PROGRAM [--seed=NUMBER] [googletest's options]. TETHER_SEED is another way to give the seed,
 * TETHER_TEST_SCALE says how much to do (percent), TETHER_TEST_LIMIT_S how long one test may take. */
#include "stress.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

namespace
{

uint64_t seed;
std::atomic<const char *> place{"start"};
std::atomic<uint64_t> place_round{0};
std::atomic<int64_t> deadline_ms{0};

uint64_t mix(uint64_t x) /* splitmix64 */
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

unsigned environment(const char *name, unsigned otherwise)
{
	const char *value = getenv(name);
	unsigned long number = value ? strtoul(value, nullptr, 10) : 0;

	return number > 0 && number <= UINT32_MAX ? static_cast<unsigned>(number) : otherwise;
}

int64_t now_ms()
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

[[noreturn]] void give_up(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s (seed %" PRIu64 ", %s, round %" PRIu64 ")\n", file, line, what, seed, place.load(),
	        place_round.load());
	_exit(1);
}

void watch()
{
	for (;;) {
		int64_t limit_ms = deadline_ms;

		if (limit_ms < 0)
			return;
		if (limit_ms > 0 && now_ms() > limit_ms)
			give_up(__FILE__, __LINE__, "the watchdog: this test takes too long");
		stress::doze(20000);
	}
}

/* Each test has its time. */
class Restart : public testing::EmptyTestEventListener
{
	void OnTestStart(const testing::TestInfo &test) override
	{
		stress::at(test.name(), 0);
		deadline_ms = now_ms() + int64_t{1000} * environment("TETHER_TEST_LIMIT_S", SANITIZED ? 480 : 120);
	}
};

/* No library call but raw system calls: what it interrupts may be in any state. */
void disturb(int)
{
	static std::atomic<uint64_t> calls{0};
	uint64_t number = mix(seed + calls.fetch_add(1, std::memory_order_relaxed));
	int error = errno;

	if (number % 4 == 0)
		stress::spin(static_cast<unsigned>(number >> 8) % 2000);
	else
		stress::doze(static_cast<unsigned>(number >> 8) % 250);
	errno = error;
}

uint64_t choose_seed(int argc, char **argv)
{
	struct timespec now;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--seed=", 7) == 0)
			return strtoull(argv[i] + 7, nullptr, 10);
	}
	if (getenv("TETHER_SEED"))
		return strtoull(getenv("TETHER_SEED"), nullptr, 10);
	clock_gettime(CLOCK_REALTIME, &now);
	return mix(static_cast<uint64_t>(now.tv_sec) * 1000000000U + static_cast<uint64_t>(now.tv_nsec)) % 1000000000U;
}

} // namespace

namespace stress
{

unsigned scaled(unsigned count)
{
	uint64_t part = uint64_t{count} * environment("TETHER_TEST_SCALE", SANITIZED ? 15 : 100) / 100;

	return part > 0 ? static_cast<unsigned>(part) : 1;
}

void at(const char *what, uint64_t round)
{
	place.store(what, std::memory_order_relaxed);
	place_round.store(round, std::memory_order_relaxed);
}

void fail(const char *file, int line, const char *condition)
{
	give_up(file, line, condition);
}

Random::Random(uint64_t stream) : state_(mix(seed) ^ mix(stream + 1))
{
}

uint64_t Random::next()
{
	state_ += UINT64_C(0x9e3779b97f4a7c15);
	return mix(state_);
}

void spin(unsigned turns)
{
	while (turns--)
		__asm__ volatile("" ::: "memory");
}

void doze(unsigned microseconds)
{
	struct timespec time = {0, static_cast<long>(microseconds) * 1000};

	syscall(SYS_nanosleep, &time, nullptr);
}

void Barrier::wait()
{
	unsigned phase = phase_.load(std::memory_order_relaxed);

	if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
		arrived_.store(0, std::memory_order_relaxed);
		phase_.store(phase + 1, std::memory_order_release);
	} else {
		wait_until([&] { return phase_.load(std::memory_order_acquire) != phase; });
	}
}

Noise::Noise(std::vector<pthread_t> threads, unsigned pause_us) : threads_(std::move(threads)), pause_us_(pause_us)
{
	struct sigaction action = {};

	action.sa_handler = disturb;
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, nullptr);
	maker_ = std::thread([this] { make(); });
}

Noise::~Noise()
{
	stop_ = true;
	maker_.join();
}

void Noise::make()
{
	Random random(1000);

	prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds; it would be 50 microseconds */
	while (!stop_) {
		pthread_kill(threads_[random.below(static_cast<unsigned>(threads_.size()))], SIGUSR1);
		doze(random.below(2 * pause_us_));
	}
}

bool is_readable(int fd, int timeout_ms)
{
	struct pollfd ready = {fd, POLLIN, 0};
	int64_t until_ms = now_ms() + timeout_ms;
	int result;

	do {
		result = poll(&ready, 1, timeout_ms);
		if (timeout_ms > 0)
			timeout_ms = static_cast<int>(std::max<int64_t>(until_ms - now_ms(), 0));
	} while (result < 0 && errno == EINTR);
	return result == 1;
}

} // namespace stress

int main(int argc, char **argv)
{
	testing::InitGoogleTest(&argc, argv);
	testing::UnitTest::GetInstance()->listeners().Append(new Restart);
	seed = choose_seed(argc, argv);
	printf("seed %" PRIu64 "\n", seed);
	fflush(stdout);

	std::thread watchdog(watch);
	int result = RUN_ALL_TESTS();

	deadline_ms = -1;
	watchdog.join();
	return result;
}
