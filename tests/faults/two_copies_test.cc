/* two_copies_test.cc - two static copies of the library in one process: neither takes the other's
 * objects for its own, each says so, and the copy that made an object can still use it.
 * SPDX-License-Identifier: MIT */
#include "copy.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

namespace
{

using Kinds = std::vector<enum tether_kind>;

Kinds told;

const copy *load(const char *path)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	EXPECT_NE(module, nullptr) << dlerror();
	return module ? static_cast<const copy *>(dlsym(module, "copy")) : nullptr;
}

class TwoCopies : public testing::Test
{
protected:
	static inline const copy *a, *b;

	static void SetUpTestSuite()
	{
		a = load(COPY_A);
		b = load(COPY_B);
		for (const copy *each : {a, b}) {
			ASSERT_NE(each, nullptr);
			each->set_level(TETHER_WARN);
			each->set_report_callback([](const struct tether_report *report, void *) { told.push_back(report->kind); }, nullptr);
		}
		ASSERT_NE(a->bind, b->bind) << "the two modules share one copy";
	}
	static Kinds take() { return std::exchange(told, {}); }

	/* The other copy is asked for everything: told each time, and the tag stays as it is. */
	void expect_strange(struct tether *tag)
	{
		struct tether before = *tag;

		EXPECT_FALSE(b->is_mine(tag));
		EXPECT_FALSE(b->ensure(tag));
		EXPECT_FALSE(b->claim(tag));
		EXPECT_EQ(b->drop(tag), TETHER_REFUSED);
		EXPECT_EQ(b->drop_later(tag), TETHER_REFUSED);
		b->fini(tag);
		EXPECT_EQ(take(), Kinds(5, TETHER_OTHER_COPY));
		EXPECT_EQ(memcmp(&before, tag, sizeof before), 0);
	}
	void TearDown() override { EXPECT_EQ(take(), Kinds{}); }
};

TEST_F(TwoCopies, HaveOwnersOfTheirOwn)
{
	EXPECT_NE(a->self(), b->self());
	std::thread([] { EXPECT_NE(a->self(), b->self()); }).join();
}

TEST_F(TwoCopies, DoNotTakeEachOthersObjects)
{
	struct tether tag;
	int destroyed = *a->destroyed;

	b->self();
	a->bind(&tag, a->type);
	expect_strange(&tag);
	EXPECT_TRUE(a->ensure(&tag));
	EXPECT_EQ(a->drop(&tag), TETHER_HERE);
	EXPECT_EQ(*a->destroyed, destroyed + 1);
}

TEST_F(TwoCopies, DoNotTakeEachOthersObjectsOfATypeThatBothUse)
{
	struct tether tag, other;
	int destroyed = *a->destroyed;

	b->bind(&other, a->type);
	a->bind(&tag, a->type);
	expect_strange(&tag);
	EXPECT_TRUE(a->ensure(&tag));
	EXPECT_EQ(a->drop(&tag), TETHER_HERE);
	EXPECT_EQ(b->drop(&other), TETHER_HERE);
	EXPECT_EQ(*a->destroyed, destroyed + 2);
}

TEST_F(TwoCopies, DoNotTouchWhatIsOnItsWayInTheOther)
{
	struct tether tag;
	int destroyed = *a->destroyed;

	a->bind(&tag, a->type);
	std::thread([&] { EXPECT_EQ(a->drop(&tag), TETHER_QUEUED); }).join();
	EXPECT_EQ(b->drop(&tag), TETHER_REFUSED);
	b->fini(&tag);
	EXPECT_EQ(take().size(), 2U);
	EXPECT_EQ(b->drain(0), 0U);
	EXPECT_EQ(a->drain(0), 1U);
	EXPECT_EQ(*a->destroyed, destroyed + 1);
}

TEST_F(TwoCopies, DoNotPostToEachOthersOwners)
{
	static int undelivered;
	struct tether_message message =
		TETHER_MESSAGE_INIT([](struct tether_message *, enum tether_fate fate) { undelivered += fate == TETHER_UNDELIVERED; });

	undelivered = 0;
	EXPECT_EQ(b->post(a->self(), &message), -EINVAL);
	EXPECT_EQ(undelivered, 1);
	EXPECT_EQ(take(), Kinds{TETHER_BAD_OWNER});
}

TEST_F(TwoCopies, DoNotPostAMessageThatIsOnItsWayInTheOther)
{
	static int calls;
	struct tether_message message = TETHER_MESSAGE_INIT([](struct tether_message *, enum tether_fate) { calls++; });
	int result;

	calls = 0;
	EXPECT_EQ(a->post(a->self(), &message), 0);
	result = b->post(b->self(), &message);
	EXPECT_EQ(result, -EALREADY);
	EXPECT_EQ(take().size(), 1U);
	EXPECT_EQ(b->drain(0), 0U);
	EXPECT_EQ(a->drain(0), 1U);
	EXPECT_EQ(calls, 1);
}

TEST_F(TwoCopies, MayPassOnWhatNobodyOwns)
{
	struct tether tag;
	int destroyed = *a->destroyed;

	a->bind_later(&tag, a->type);
	EXPECT_TRUE(b->claim(&tag));
	EXPECT_TRUE(b->ensure(&tag));
	EXPECT_FALSE(a->ensure(&tag));
	EXPECT_EQ(take(), Kinds{TETHER_OTHER_COPY});
	EXPECT_EQ(b->drop(&tag), TETHER_HERE);
	EXPECT_EQ(*a->destroyed, destroyed + 1);
}

TEST_F(TwoCopies, EndTheirOwnersAtThreadExitEach)
{
	struct tether in_a, in_b;
	int destroyed_a = *a->destroyed, destroyed_b = *b->destroyed;

	std::thread([&] {
		a->bind(&in_a, a->type);
		b->bind(&in_b, b->type);
		EXPECT_EQ(a->drop_later(&in_a), TETHER_QUEUED);
		EXPECT_EQ(b->drop_later(&in_b), TETHER_QUEUED);
	}).join();
	EXPECT_EQ(*a->destroyed, destroyed_a + 1);
	EXPECT_EQ(*b->destroyed, destroyed_b + 1);
}

} // namespace
