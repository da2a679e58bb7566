/* shutdown.cc - one thread looks at what is pending for an owner, as tether_shutdown() does when its time is over,
 * while the owner takes it: nobody follows a link of what has been run.
 * SPDX-License-Identifier: MIT
 *
 * A message that is run fills itself with what is no address. Signals hold the looker at arbitrary instructions. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned letters_per_round = 3000;

unsigned handled; /* by the owner */

void scribble(struct tether_message *message, enum tether_fate fate)
{
	MUST(fate == TETHER_RUN);
	handled++;
	memset(message, 0x11, sizeof *message);
}

class Post
{
public:
	void run()
	{
		std::thread looker([this] { look(); });
		{
			stress::Noise noise({looker.native_handle()}, 100);

			for (unsigned round = 0; round < rounds_; round++) {
				stress::at("an owner that is looked at", round);
				take(round);
			}
			is_over_ = true;
		}
		looker.join();
		MUST(looks_ > 0);
	}

private:
	void look()
	{
		while (!is_over_) {
			int error = tether_shutdown(0);

			MUST(error == 0 || error == -ETIMEDOUT);
			looks_ += error != 0;
		}
	}

	void send()
	{
		for (struct tether_message &letter : *letters_) {
			tether_message_init(&letter, scribble);
			MUST(tether_post(owner_, &letter) == 0);
		}
	}

	void take(unsigned round)
	{
		Random random(round);
		std::thread sender([this] { send(); });

		handled = 0;
		while (handled < letters_per_round) {
			spin(random.below(200000));
			(void)tether_drain(0);
		}
		sender.join();
	}

	const unsigned rounds_ = stress::scaled(1000);
	const tether_owner_t owner_ = tether_self();
	std::atomic<bool> is_over_{false};
	unsigned looks_ = 0; /* that found something; by the looker */
	std::unique_ptr<std::array<struct tether_message, letters_per_round>> letters_ =
		std::make_unique<std::array<struct tether_message, letters_per_round>>();
};

TEST(Shutdown, LooksAtNothingThatIsRun)
{
	tether_set_level(TETHER_COUNT);
	Post().run();
}

} // namespace
