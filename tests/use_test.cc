/* use_test.cc - what any thread may use, but never two at once.
 * SPDX-License-Identifier: MIT */
#define TETHER_CHECKS 1
#include "support.h"

#include <stdexcept>

namespace
{

class Use : public Quiet
{
protected:
	Use() { tether_bind_later(&thing.tether, &thing_type); }
	~Use() override
	{
		if (thing.ends == 0)
			tether_fini(&thing.tether);
	}

	/* Is nobody inside? Somebody who is not can enter it then. */
	void expect_free()
	{
		elsewhere([&] { TETHER_SCOPE(&thing.tether); });
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	}
	void expect_in_use()
	{
		elsewhere([&] { TETHER_SCOPE(&thing.tether); });
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	}

	Thing thing;
};

/* ---- Enter and leave ------------------------------------------------------------------------- */

TEST_F(Use, OneAfterAnotherIsNoOverlap)
{
	for (int i = 0; i < 3; i++) {
		TETHER_ENTER(&thing.tether);
		TETHER_LEAVE(&thing.tether);
		expect_free();
	}
}

TEST_F(Use, TwoAtOnceAreBothNamed)
{
	Thread other;

	tether_self_set_name("first");
	TETHER_ENTER(&thing.tether);
	other.run([&] {
		tether_self_set_name("second");
		TETHER_ENTER(&thing.tether);
	});
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_OVERLAP);
	EXPECT_EQ(caught[0].report.caller, other.owner());
	EXPECT_EQ(caught[0].report.other, tether_self());
	EXPECT_EQ(caught[0].report.owner, 0U);
	EXPECT_EQ(caught[0].operation, "enter");
	EXPECT_EQ(caught[0].type, "Thing");
	EXPECT_NE(caught[0].file.find("use_test.cc"), std::string::npos);
	EXPECT_NE(caught[0].text.find("in use by 'first'"), std::string::npos) << caught[0].text;
	EXPECT_NE(caught[0].text.find("On thread 'second'"), std::string::npos) << caught[0].text;
	other.run([&] { TETHER_LEAVE(&thing.tether); });
	TETHER_LEAVE(&thing.tether);
	tether_self_set_name(nullptr);
}

/* One from each end, so that they cross in the middle of what they do, wherever that is. */
TEST_F(Use, OfTwoThatMeetInsideExactlyOneIsTold)
{
	size_t rounds = scaled(2000);
	std::atomic<size_t> come{0}, inside{0}, gone{0};
	std::atomic<uint64_t> told{0};
	std::vector<Thing> things(256);
	auto run = [&](auto begin, auto end) {
		for (size_t i = 1; i <= rounds; i++) {
			meet(come, 2 * i);
			uint64_t before = stats(tether_self()).failed_checks;
			for (auto each = begin; each != end; ++each)
				TETHER_ENTER(&each->tether);
			told += stats(tether_self()).failed_checks - before;
			meet(inside, 2 * i);
			for (auto each = begin; each != end; ++each)
				TETHER_LEAVE(&each->tether);
			meet(gone, 2 * i);
		}
	};

	for (Thing &each : things)
		tether_bind_later(&each.tether, &thing_type);
	tether_set_level(TETHER_COUNT);
	uint64_t before = stats().failed_checks;
	std::thread other([&] { run(things.rbegin(), things.rend()); });
	run(things.begin(), things.end());
	other.join();
	EXPECT_EQ(told, rounds * things.size());
	for (Thing &each : things)
		tether_fini(&each.tether);
	EXPECT_EQ(stats().failed_checks - before, told) << "somebody left what he was not inside, or is inside still";
}

TEST_F(Use, UsersThatALockKeepsApartAreNeverReported)
{
	std::mutex mutex;
	auto run = [&] {
		for (size_t i = 0; i < scaled(100000); i++) {
			std::lock_guard<std::mutex> guard(mutex);
			TETHER_SCOPE(&thing.tether);
		}
	};
	std::thread other(run);

	run();
	other.join();
}

TEST_F(Use, AnOwnerMayEnterAgainInsideItself)
{
	TETHER_ENTER(&thing.tether);
	TETHER_ENTER(&thing.tether);
	TETHER_LEAVE(&thing.tether);
	expect_in_use();
	TETHER_LEAVE(&thing.tether);
	expect_free();
}

TEST_F(Use, DepthHasAnEndAndSaysSo)
{
	constexpr size_t limit = (1U << 20) - 1;

	for (size_t i = 0; i < limit; i++)
		TETHER_ENTER(&thing.tether);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	TETHER_ENTER(&thing.tether);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_CALL});
	for (size_t i = 0; i < limit; i++)
		TETHER_LEAVE(&thing.tether);
	expect_free();
	TETHER_LEAVE(&thing.tether); /* that of the last ENTER */
}

TEST_F(Use, DescribeSaysWhoIsInside)
{
	EXPECT_EQ(describe(&thing.tether).find("in use"), std::string::npos);
	tether_self_set_name("first");
	TETHER_ENTER(&thing.tether);
	EXPECT_NE(describe(&thing.tether).find("in use by 'first'"), std::string::npos) << describe(&thing.tether);
	TETHER_LEAVE(&thing.tether);
	tether_self_set_name(nullptr);
}

TEST_F(Use, StaticObjectsNeedNoBind)
{
	static const struct tether_type unseen = TETHER_TYPE(Thing, tether, nullptr);
	static struct tether tag = TETHER_INIT(unseen);
	Thread other;

	TETHER_ENTER(&tag);
	other.run([&] { TETHER_SCOPE(&tag); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	TETHER_LEAVE(&tag);
	tether_fini(&tag);
}

TEST_F(Use, AThreadBecomesAnOwnerByIt)
{
	elsewhere([&] {
		TETHER_ENTER(&thing.tether);
		EXPECT_TRUE(tether_owner_is_alive(tether_self_));
		TETHER_LEAVE(&thing.tether);
	});
}

/* ---- Scopes ---------------------------------------------------------------------------------- */

TEST_F(Use, AScopeEndsWithItsBlock)
{
	{
		TETHER_SCOPE(&thing.tether);
		expect_in_use();
	}
	expect_free();
}

TEST_F(Use, AScopeEndsByReturnAndByException)
{
	auto returns = [&](bool early) {
		TETHER_SCOPE(&thing.tether);
		if (early)
			return;
		throw std::runtime_error("late");
	};

	returns(true);
	expect_free();
	EXPECT_THROW(returns(false), std::runtime_error);
	expect_free();
}

TEST_F(Use, ScopesOfOneLineAreTwo)
{
	Thing second;

	tether_bind_later(&second.tether, &thing_type);
	{
		/* clang-format off */
		TETHER_SCOPE(&thing.tether); TETHER_SCOPE(&second.tether);
		/* clang-format on */
		expect_in_use();
		elsewhere([&] { TETHER_SCOPE(&second.tether); });
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	}
	expect_free();
	tether_fini(&second.tether);
}

/* ---- Wrong leaves ---------------------------------------------------------------------------- */

TEST_F(Use, LeaveWithoutEnterIsReported)
{
	TETHER_LEAVE(&thing.tether);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_BAD_CALL);
	EXPECT_EQ(caught[0].operation, "leave");
	EXPECT_NE(caught[0].advice.find("TETHER_ENTER"), std::string::npos);
}

TEST_F(Use, LeaveByAnotherIsReportedAndIgnored)
{
	TETHER_ENTER(&thing.tether);
	elsewhere([&] { TETHER_LEAVE(&thing.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_CALL});
	expect_in_use();
	TETHER_LEAVE(&thing.tether);
}

TEST_F(Use, LeaveOfWhatWasRefusedIsSilentAlsoWhenNobodyIsInsideAnyMore)
{
	Thread other;

	TETHER_ENTER(&thing.tether);
	other.run([&] { TETHER_ENTER(&thing.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	TETHER_LEAVE(&thing.tether);
	other.run([&] { TETHER_LEAVE(&thing.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	other.run([&] { TETHER_LEAVE(&thing.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_CALL}) << "one too many";
}

/* ---- Whose the object is --------------------------------------------------------------------- */

TEST_F(Use, BoundObjectsAreTheirOwnersToEnter)
{
	Thread other;

	EXPECT_TRUE(tether_claim(&thing.tether));
	other.run([&] { TETHER_SCOPE(&thing.tether); });
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_WRONG_THREAD);
	EXPECT_NE(caught[0].file.find("use_test.cc"), std::string::npos);
	TETHER_ENTER(&thing.tether);
	TETHER_LEAVE(&thing.tether);
}

TEST_F(Use, AClaimInsideChangesNothing)
{
	TETHER_ENTER(&thing.tether);
	EXPECT_TRUE(tether_claim(&thing.tether));
	TETHER_LEAVE(&thing.tether);
	TETHER_LEAVE(&thing.tether);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_BAD_CALL});
}

TEST_F(Use, WhatIsNoLiveObjectIsReportedOnce)
{
	struct tether zero = {0, 0, 0, 0}, garbage = {1, 2, 3, 4};

	{
		TETHER_SCOPE(&zero);
	}
	{
		TETHER_SCOPE(&garbage);
	}
	tether_fini(&thing.tether);
	{
		TETHER_SCOPE(&thing.tether);
	}
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_NEVER_BOUND, TETHER_OVERWRITTEN, TETHER_USE_AFTER_DROP}));
	EXPECT_EQ(zero.hint_, 0U);
	EXPECT_EQ(garbage.hint_, 4U);
	tether_bind_later(&thing.tether, &thing_type);
}

TEST_F(Use, WhatWasOverwrittenInsideIsReportedAtTheEnd)
{
	struct tether tag = {0, 0, 0, 0};

	tether_bind_later(&tag, &thing_type);
	TETHER_ENTER(&tag);
	tag.state_ = 0x12345;
	TETHER_LEAVE(&tag);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERWRITTEN});
}

TEST_F(Use, WhoEndedInsideIsReportedOnceToTheNext)
{
	tether_owner_t gone = 0;

	elsewhere([&] {
		gone = tether_self();
		TETHER_ENTER(&thing.tether);
	});
	TETHER_ENTER(&thing.tether);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_OVERLAP);
	EXPECT_EQ(caught[0].report.other, gone);
	expect_in_use();
	TETHER_LEAVE(&thing.tether);
	expect_free();
}

TEST_F(Use, WhoEndedInsideIsKnownAfterItsSlotWasUsedAgain)
{
	tether_owner_t gone = 0, later = 0;

	elsewhere([&] {
		gone = tether_self();
		TETHER_ENTER(&thing.tether);
	});
	for (int i = 0; i < 10000 && (later & 0xfffff) != (gone & 0xfffff); i++)
		elsewhere([&] { later = tether_self(); });
	ASSERT_EQ(later & 0xfffff, gone & 0xfffff);
	TETHER_ENTER(&thing.tether);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.other, gone);
	TETHER_LEAVE(&thing.tether);
}

TEST_F(Use, WhatIsInUseStaysWhoseItIs)
{
	Thread other;
	tether_transfer transfer;

	tether_transfer_init(&transfer, nullptr);
	TETHER_ENTER(&thing.tether);
	other.run([&] { EXPECT_FALSE(tether_claim(&thing.tether)); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	EXPECT_TRUE(tether_claim(&thing.tether));
	EXPECT_EQ(tether_hand_off(&thing.tether, other.owner(), &transfer), -EINVAL);
	EXPECT_EQ(tether_lend(&thing.tether, other.owner()), -EINVAL);
	EXPECT_EQ(tether_unbind(&thing.tether), -EINVAL);
	EXPECT_EQ(tether_share(&thing.tether), -EINVAL);
	EXPECT_EQ(tether_give(&thing.tether, tether_self(), other.owner()), -EINVAL);
	for (const Caught &one : reports.take()) {
		EXPECT_EQ(one.report.kind, TETHER_OVERLAP);
		EXPECT_EQ(one.report.other, tether_self());
		EXPECT_NE(one.advice.find("leave it before"), std::string::npos) << one.advice;
	}
	EXPECT_TRUE(tether_is_mine(&thing.tether));
	TETHER_LEAVE(&thing.tether);
	EXPECT_EQ(tether_unbind(&thing.tether), 0);
}

TEST_F(Use, SharedObjectsAreOpenToAllButNotAtOnce)
{
	Thread other;

	EXPECT_TRUE(tether_claim(&thing.tether));
	EXPECT_EQ(tether_share(&thing.tether), 0);
	other.run([&] { TETHER_ENTER(&thing.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	expect_in_use();
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	other.run([&] { TETHER_LEAVE(&thing.tether); });
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Use, LentObjectsAreOnlyChecked)
{
	Thread other;

	EXPECT_TRUE(tether_claim(&thing.tether));
	EXPECT_EQ(tether_lend(&thing.tether, other.owner()), 0);
	other.run([&] {
		TETHER_SCOPE(&thing.tether);
		EXPECT_EQ(reports.take_kinds(), Kinds{});
	});
	{
		TETHER_SCOPE(&thing.tether);
	}
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LENT_USE});
	other.run([&] { EXPECT_EQ(tether_return(&thing.tether), 0); });
	TETHER_ENTER(&thing.tether);
	TETHER_LEAVE(&thing.tether);
}

TEST_F(Use, ChildrenAreOnlyChecked)
{
	static const struct tether_type parent_type = TETHER_TYPE_AT("parent", sizeof(tether_group), 0, nullptr, nullptr, nullptr,
	                                                             nullptr, TETHER_LEAK, TETHER_LEVEL_DEFAULT, TETHER_GROUP);
	struct tether_group parent;
	Thing child;

	tether_bind_group(&parent, &parent_type);
	EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parent), 0);
	{
		TETHER_SCOPE(&child.tether);
		TETHER_SCOPE(&child.tether);
	}
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	elsewhere([&] { TETHER_SCOPE(&child.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
	tether_fini(&parent.tag);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

TEST_F(Use, DropOfWhatAnotherIsInsideIsReportedAndDone)
{
	Thread other;

	other.run([&] { TETHER_ENTER(&thing.tether); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_OVERLAP);
	EXPECT_EQ(caught[0].report.other, other.owner());
	EXPECT_EQ(caught[0].report.caller, tether_self());
	EXPECT_EQ(caught[0].operation, "drop");
	EXPECT_TRUE(thing.ended_once_here());
	other.run([&] { TETHER_LEAVE(&thing.tether); });
}

TEST_F(Use, DropLaterOfWhatAnotherIsInsideIsReportedToo)
{
	Thread other;

	other.run([&] { TETHER_ENTER(&thing.tether); });
	tether_self();
	EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_OVERLAP});
	other.run([&] { TETHER_LEAVE(&thing.tether); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Use, DropInsideOnesOwnScopeIsReported)
{
	for (bool bound : {false, true}) {
		Thing own;

		tether_bind_later(&own.tether, &thing_type);
		EXPECT_TRUE(!bound || tether_claim(&own.tether));
		{
			TETHER_SCOPE(&own.tether);
			EXPECT_EQ(tether_drop(&own.tether), TETHER_HERE);
			std::vector<Caught> caught = reports.take();
			ASSERT_EQ(caught.size(), 1U);
			EXPECT_EQ(caught[0].report.kind, TETHER_OVERLAP);
			EXPECT_EQ(caught[0].report.other, tether_self());
			EXPECT_NE(caught[0].advice.find("leave it before"), std::string::npos);
		}
		EXPECT_TRUE(own.ended_once_here());
	}
}

TEST_F(Use, DropLaterOfOnesOwnObjectIsRightInside)
{
	EXPECT_TRUE(tether_claim(&thing.tether));
	{
		TETHER_SCOPE(&thing.tether);
		EXPECT_EQ(tether_drop_later(&thing.tether), TETHER_QUEUED);
	}
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Use, OthersMayDropWhatItsOwnerIsInside)
{
	EXPECT_TRUE(tether_claim(&thing.tether));
	{
		TETHER_SCOPE(&thing.tether);
		elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	}
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

TEST_F(Use, FiniInsideIsReported)
{
	Thread other;

	other.run([&] { TETHER_ENTER(&thing.tether); });
	tether_fini(&thing.tether);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_OVERLAP);
	EXPECT_EQ(caught[0].operation, "fini");
	other.run([&] { TETHER_LEAVE(&thing.tether); });
	tether_bind_later(&thing.tether, &thing_type);
}

TEST_F(Use, ADestructorMayEnterItsObject)
{
	int entered = 0;
	Thing own([&] {
		TETHER_SCOPE(&own.tether);
		entered++;
	});

	tether_bind(&own.tether, &thing_type);
	EXPECT_EQ(tether_drop(&own.tether), TETHER_HERE);
	EXPECT_EQ(entered, 1);
}

/* Whoever is second is told: the one that enters, or the one that drops. */
TEST_F(Use, OfAnEntryAndADropThatRaceOneIsTold)
{
	size_t rounds = scaled(1000);
	std::atomic<size_t> come{0}, inside{0}, gone{0};
	std::vector<Thing> things(256);
	std::vector<uint64_t> told_enter(things.size()), told_drop(things.size());
	auto count = [](auto act) {
		uint64_t before = stats(tether_self()).failed_checks;
		act();
		return stats(tether_self()).failed_checks - before;
	};

	tether_set_level(TETHER_COUNT);
	std::thread other([&] {
		for (size_t i = 1; i <= rounds; i++) {
			meet(come, 2 * i);
			for (size_t k = things.size(); k-- > 0;)
				told_enter[k] = count([&] { TETHER_ENTER(&things[k].tether); });
			meet(inside, 2 * i);
			for (Thing &each : things)
				TETHER_LEAVE(&each.tether);
			meet(gone, 2 * i);
		}
	});
	for (size_t i = 1; i <= rounds; i++) {
		for (Thing &each : things)
			tether_bind_later(&each.tether, &thing_type);
		meet(come, 2 * i);
		for (size_t k = 0; k < things.size(); k++)
			told_drop[k] = count([&] { tether_drop(&things[k].tether); });
		meet(inside, 2 * i);
		meet(gone, 2 * i);
		for (size_t k = 0; k < things.size(); k++)
			EXPECT_GE(told_enter[k] + told_drop[k], 1U);
	}
	other.join();
}

} // namespace
