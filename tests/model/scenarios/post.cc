/* post.cc - one message is posted by several, and again as soon as it was called.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* As many calls as posts were taken, whoever made them. */
template <bool owner_ends>
struct OneMessage : Scenario<3> {
	tether_owner_t home;
	Note note;
	unsigned accepted[3] = {}, refused[3] = {};

	void prepare(unsigned me)
	{
		tether_owner_t self = tether_self();

		if (me == 0)
			home = self;
	}
	void post(unsigned me)
	{
		if (tether_post(home, &note.message) == -EALREADY)
			refused[me]++;
		else
			accepted[me]++;
	}
	void run(unsigned me)
	{
		if (me == 0) {
			tether_drain(0);
			if (owner_ends)
				tether_owner_exit();
			return;
		}
		post(me);
		post(me);
	}
	void check()
	{
		MUST((unsigned)note.calls == accepted[1] + accepted[2]);
		MUST(reports() == refused[1] + refused[2]);
	}
};

} // namespace

TEST(Post, OfOneMessageByTwoIsCalledAsOftenAsAccepted)
{
	explore<OneMessage<false>>();
}

TEST(Post, OfOneMessageToAnOwnerThatEndsIsCalledAsOftenAsAccepted)
{
	explore<OneMessage<true>>();
}
