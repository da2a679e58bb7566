/* unchecked_test.cc - with checks off TETHER_CHECK vanishes, and everything else stays as it is.
 * SPDX-License-Identifier: MIT */
#define TETHER_CHECKS 0
#include "support.h"

namespace
{

class Unchecked : public Quiet
{
};

TEST_F(Unchecked, CheckNeitherReportsNorEvaluatesItsArgument)
{
	Thing thing;
	int evaluated = 0;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] { TETHER_CHECK((evaluated++, &thing.tether)); });
	EXPECT_EQ(evaluated, 0);
	tether_fini(&thing.tether);
}

TEST_F(Unchecked, UseNeitherReportsNorEvaluatesItsArgument)
{
	Thing thing;
	int evaluated = 0;

	tether_bind_later(&thing.tether, &thing_type);
	TETHER_ENTER((evaluated++, &thing.tether));
	TETHER_LEAVE((evaluated++, &thing.tether));
	TETHER_LEAVE((evaluated++, &thing.tether));
	TETHER_SCOPE((evaluated++, &thing.tether));
	EXPECT_EQ(evaluated, 0);
	EXPECT_EQ(thing.tether.hint_, 0U);
	tether_fini(&thing.tether);
}

TEST_F(Unchecked, EnsureAndIsMineAnswerAsEver)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
	EXPECT_TRUE(tether_is_mine(&thing.tether));
	elsewhere([&] {
		EXPECT_FALSE(tether_is_mine(&thing.tether));
		EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
	});
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	tether_fini(&thing.tether);
}

TEST_F(Unchecked, OwnershipIsTheSame)
{
	Thing thing;

	static_assert(sizeof(struct tether) == 32, "the layout of a checked build");
	tether_bind_later(&thing.tether, &thing_type);
	EXPECT_FALSE(tether_is_mine(&thing.tether));
	EXPECT_TRUE(tether_claim(&thing.tether));
	elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

} // namespace
