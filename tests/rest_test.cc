/* rest_test.cc - owners that end while what they run goes on sending: they come to rest, or are named and cut off.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <memory>

namespace
{

constexpr uint64_t too_many = 100000;

/* Counts its calls, and goes on. */
struct Letter {
	struct tether_message message;
	tether_owner_t to = 0;
	uint64_t calls = 0, posts = 0;
	uint64_t stop_at = UINT64_MAX;
	uint64_t enter_at = 0; /* at this call it enters `strange`, and does not leave */
	tether_owner_t strange = 0;

	Letter() { tether_message_init(&message, post_again); }
	void post()
	{
		posts++;
		int error = tether_post(to, &message);
		EXPECT_TRUE(error == 0 || error == -ESRCH);
	}

	static void post_again(struct tether_message *message, enum tether_fate)
	{
		Letter *letter = reinterpret_cast<Letter *>(message); /* its first member */

		if (++letter->calls < letter->stop_at)
			letter->post();
		if (letter->calls == letter->enter_at)
			tether_owner_enter(letter->strange);
	}
};

/* As long as it may, its destructor makes it anew and drops it. */
struct Weed {
	struct tether tag = {0, 0, 0, 0};
	const tether_type *type = nullptr;
	uint64_t ends = 0;
	std::atomic<bool> may_grow{true};

	void grow()
	{
		tether_bind(&tag, type);
		EXPECT_NE(tether_drop(&tag), TETHER_REFUSED);
	}
};

void weed_destroy(void *object)
{
	Weed *weed = static_cast<Weed *>(object);

	weed->ends++;
	if (weed->may_grow)
		weed->grow();
}

tether_owner_t heir;
const tether_type weed_type = TETHER_TYPE_POLICY(Weed, tag, weed_destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);
const tether_type heirloom_type = TETHER_TYPE_HEIR(Weed, tag, weed_destroy, &heir, TETHER_LEVEL_DEFAULT);

class Rest : public Quiet
{
protected:
	void SetUp() override
	{
		Quiet::SetUp();
		before = stats();
	}

	/* The one report, and how many were leaked after it. */
	Caught take_restless(uint64_t leaked)
	{
		std::vector<Caught> caught = reports.take();

		EXPECT_EQ(caught.size(), 1 + leaked);
		for (size_t i = 1; i < caught.size(); i++)
			EXPECT_EQ(caught[i].report.kind, TETHER_LEAKED) << caught[i].text;
		EXPECT_EQ(since(before).leaked, leaked);
		caught.resize(1);
		EXPECT_EQ(caught[0].report.kind, TETHER_RESTLESS) << caught[0].text;
		return caught[0];
	}

	struct tether_counters before = {};
	Thread thread;
};

TEST_F(Rest, MessageThatPostsItselfForEverIsNamedAndCutOff)
{
	Letter letter;

	letter.to = thread.owner();
	thread.run([&] {
		tether_self_set_name("restless");
		letter.post();
		tether_owner_exit();
	});
	EXPECT_GT(letter.calls, too_many);
	EXPECT_EQ(letter.calls + 1, letter.posts) << "the last one was leaked";
	EXPECT_FALSE(tether_owner_is_alive(letter.to));

	Caught caught = take_restless(1);

	EXPECT_EQ(caught.report.owner, letter.to);
	EXPECT_EQ(caught.report.other, letter.to) << "it does so itself";
	EXPECT_NE(caught.verdict.find("'restless' last ran the message function"), std::string::npos) << caught.verdict;
	EXPECT_NE(caught.text.find("kept busy by 'restless'"), std::string::npos) << caught.text;

	/* What was leaked may be used again. */
	letter.to = tether_self();
	letter.stop_at = 0;
	letter.post();
	EXPECT_EQ(tether_drain(0), 1U);
}

/* How often each of two was called, of which the first ends astray in that call. */
std::pair<uint64_t, uint64_t> calls_of_two(tether_owner_t strange, uint64_t enter_at)
{
	Letter letters[2];

	elsewhere([&] {
		for (Letter &letter : letters) {
			letter.to = tether_self();
			letter.strange = strange;
			letter.post();
		}
		letters[0].enter_at = enter_at;
		tether_owner_exit();
	});
	return {letters[0].calls, letters[1].calls};
}

TEST_F(Rest, WhatIsThereWhenItIsCutOffIsRunThoughACallbackGoesAstray)
{
	tether_owner_t strange = 0;

	ASSERT_EQ(tether_owner_create("strange", &strange), 0);

	std::pair<uint64_t, uint64_t> calls = calls_of_two(strange, 0);

	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_RESTLESS, TETHER_LEAKED, TETHER_LEAKED}));
	EXPECT_EQ(calls_of_two(strange, calls.first), calls);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_RESTLESS, TETHER_BAD_CALL, TETHER_LEAKED, TETHER_LEAKED}));
	EXPECT_EQ(tether_owner_end(strange), 0);
}

TEST_F(Rest, AThreadThatJustEndsIsCutOffToo)
{
	Letter letter;

	elsewhere([&] {
		letter.to = tether_self();
		letter.post();
	});
	EXPECT_GT(letter.calls, too_many);
	take_restless(1);
}

TEST_F(Rest, ObjectThatMakesItselfAnewForEverIsNamedAndCutOff)
{
	Weed weed;

	weed.type = &weed_type;
	thread.run([&] {
		tether_bind(&weed.tag, &weed_type);
		EXPECT_EQ(tether_drop_later(&weed.tag), TETHER_QUEUED);
		tether_owner_exit();
	});
	EXPECT_GT(weed.ends, too_many);

	Caught caught = take_restless(1);

	EXPECT_NE(caught.verdict.find("last destroyed a Weed"), std::string::npos) << caught.verdict;
}

TEST_F(Rest, WhatHasAnHeirGoesThereAndIsNotLost)
{
	Weed weed;

	heir = tether_self();
	weed.type = &heirloom_type;
	thread.run([&] {
		tether_bind(&weed.tag, &heirloom_type);
		EXPECT_EQ(tether_drop_later(&weed.tag), TETHER_QUEUED);
		tether_owner_exit();
	});
	take_restless(0);
	uint64_t ends = weed.ends;
	weed.may_grow = false;
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(weed.ends, ends + 1);
}

TEST_F(Rest, OwnersThatAnswerEachOtherForEverEnd)
{
	Thread other;
	Letter there, back;

	there.to = other.owner();
	back.to = thread.owner();
	thread.run([&] { there.post(); });
	other.run([&] { back.post(); });
	thread.end();
	other.end();
	EXPECT_GT(there.calls + back.calls, too_many);
	EXPECT_EQ(there.calls + back.calls + since(before).leaked, there.posts + back.posts);
	for (const Caught &caught : reports.take())
		EXPECT_TRUE(caught.report.kind == TETHER_RESTLESS || caught.report.kind == TETHER_LEAKED) << caught.text;
}

TEST_F(Rest, AnswersThatComeToAnEndAreAllGiven)
{
	Letter letters[100];

	thread.run([&] {
		for (Letter &letter : letters) {
			letter.to = tether_self();
			letter.stop_at = 500;
			letter.post();
		}
		tether_owner_exit();
	});
	for (Letter &letter : letters)
		EXPECT_EQ(letter.calls, 500U);
}

TEST_F(Rest, WhatWasPendingIsNoUnrest)
{
	std::vector<Note> notes(scaled(3 * too_many));

	for (Note &note : notes)
		ASSERT_EQ(tether_post(thread.owner(), &note.message), 0);
	thread.run([] { tether_owner_exit(); });
	for (Note &note : notes)
		ASSERT_EQ(note.calls, 1);
}

/* Another thread keeps it busy: that is said. */
class Flood
{
public:
	Flood(tether_owner_t to) : to_(to), letters_(batch * 4)
	{
		for (Drop &drop : letters_) {
			drop.flood = this;
			tether_message_init(&drop.message, fall);
		}
	}
	/* Until the owner has gone. */
	void send()
	{
		for (size_t sent = 0;; sent++) {
			Drop &drop = letters_[sent % letters_.size()];
			while (!drop.is_idle || sent >= fallen_ + 3 * batch)
				if (!tether_owner_is_alive(to_))
					return;
				else
					sched_yield();
			drop.is_idle = false;
			if (tether_post(to_, &drop.message) != 0)
				return;
			sent_ = sent + 1;
		}
	}
	void await_first() const
	{
		while (sent_ < batch)
			sched_yield();
	}

private:
	struct Drop {
		struct tether_message message;
		Flood *flood;
		std::atomic<bool> is_idle{true};
	};
	static constexpr size_t batch = 1000;

	/* Now and then the owner waits, so that there always is more. */
	static void fall(struct tether_message *message, enum tether_fate fate)
	{
		Drop *drop = reinterpret_cast<Drop *>(message); /* its first member */
		Flood *flood = drop->flood;

		drop->is_idle = true;
		size_t fallen = ++flood->fallen_;
		while (fate == TETHER_RUN && tether_owner_is_alive(flood->to_) && flood->sent_ <= fallen)
			sched_yield();
	}

	const tether_owner_t to_;
	std::atomic<size_t> sent_{0}, fallen_{0};
	std::vector<Drop> letters_;
};

TEST_F(Rest, WhoSendsForEverIsNamed)
{
	tether_owner_t owner = thread.owner(), sender = 0;
	Flood flood(owner);
	std::thread rain([&] {
		sender = tether_self();
		flood.send();
	});

	flood.await_first();
	thread.run([] { tether_owner_exit(); });
	rain.join();

	Caught caught = take_restless(0);

	EXPECT_EQ(caught.report.owner, owner);
	EXPECT_EQ(caught.report.other, sender);
}

} // namespace
