/* limit.cc - limits that are replaced, and owners that end, while senders exceed them: nobody is told late.
 * SPDX-License-Identifier: MIT
 *
 * What `over` is given is alive from tether_set_limit() to the return of the call that replaces it, or of the
 * owner's end; then it is marked as dead. Signals hold the senders at arbitrary instructions meanwhile. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>

#include <array>
#include <memory>

using stress::Barrier;
using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned senders = 3;
constexpr unsigned letters_per_sender = 16;

struct Context {
	std::atomic<bool> is_alive{false};
	std::atomic<unsigned> calls{0};
};

void over(void *pointer, size_t pending)
{
	Context *context = static_cast<Context *>(pointer);

	MUST(context->is_alive);
	MUST(pending > 0);
	context->calls++;
	spin(50);
	MUST(context->is_alive);
}

struct Letter {
	struct tether_message message;
	std::atomic<bool> is_idle{true};

	static void read(struct tether_message *message, enum tether_fate)
	{
		reinterpret_cast<Letter *>(message)->is_idle = true; /* its first member */
	}
};

class Office
{
public:
	void run()
	{
		std::vector<std::thread> threads;
		std::vector<pthread_t> handles;

		for (unsigned me = 0; me < senders; me++) {
			threads.emplace_back([this, me] { send(me); });
			handles.push_back(threads.back().native_handle());
		}
		{
			stress::Noise noise(handles, 50);

			for (unsigned generation = 0; generation < generations_; generation++)
				std::thread([this, generation] { receive(generation); }).join();
			is_over_ = true;
		}
		for (std::thread &thread : threads)
			thread.join();
		for (std::array<Letter, letters_per_sender> &some : letters_)
			for (Letter &letter : some)
				MUST(letter.is_idle);
		MUST(calls_ > 0);
		MUST(refused_ > 0);
	}

private:
	void send(unsigned me)
	{
		Random random(me);

		tether_self();
		for (Letter &letter : letters_[me])
			tether_message_init(&letter.message, Letter::read);
		while (!is_over_) {
			Letter &letter = letters_[me][random.below(letters_per_sender)];

			spin(random.below(200));
			if (!letter.is_idle || home_ == 0)
				continue;
			letter.is_idle = false;
			if (random.below(4)) {
				(void)tether_post(home_, &letter.message);
			} else if (int error = tether_try_post(home_, &letter.message)) {
				MUST(error == -EAGAIN || error == -ESRCH);
				refused_ += error == -EAGAIN;
				letter.is_idle = true;
			}
		}
	}

	/* A life: a few limits, each with a context of its own, the last one until the end. */
	void receive(unsigned generation)
	{
		Random random(senders + generation);
		std::array<Context, 8> contexts;

		stress::at("limits that are replaced", generation);
		home_ = tether_self();
		for (Context &context : contexts) {
			context.is_alive = true;
			MUST(tether_set_limit(1 + random.below(3), over, &context) == 0);
			if (&context != &contexts.front())
				(&context - 1)->is_alive = false;
			spin(random.below(20000));
			if (random.below(2))
				tether_drain_for(0, 1 + random.below(20));
		}
		tether_owner_exit();
		contexts.back().is_alive = false;
		spin(random.below(5000));
		for (Context &context : contexts)
			calls_ += context.calls;
	}

	const unsigned generations_ = stress::scaled(5000);
	std::atomic<tether_owner_t> home_{0};
	std::atomic<bool> is_over_{false};
	std::atomic<unsigned> refused_{0};
	unsigned calls_ = 0; /* by whoever is the owner */
	std::array<std::array<Letter, letters_per_sender>, senders> letters_;
};

TEST(Limit, NobodyIsToldLate)
{
	auto office = std::make_unique<Office>();

	office->run();
}

} // namespace
