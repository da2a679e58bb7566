/* group_test.cc - objects that follow another: whose they are, where they end, and that their parent outlives them.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <memory>
#include <stdexcept>

namespace
{

/* A Thing that others may follow. */
struct Parent {
	std::atomic<int> ends{0};
	std::atomic<pthread_t> ended_on{0};
	struct tether_transfer transfer;
	struct tether_group group = {{0, 0, 0, 0}, 0, 0};
	std::function<void()> *at_end = new std::function<void()>([] {});

	Parent()
	{
		tether_transfer_init(&transfer, [](struct tether_transfer *, struct tether *, enum tether_arrival) {});
	}
	~Parent() { delete at_end; }
	Parent(const Parent &) = delete;
	Parent &operator=(const Parent &) = delete;
	bool ended_once_on(pthread_t thread) const { return ends == 1 && pthread_equal(ended_on, thread); }

	static void destroy(void *object)
	{
		Parent *parent = static_cast<Parent *>(object);

		parent->ended_on = pthread_self();
		parent->ends++;
		(*parent->at_end)();
	}
};

const tether_type parent_type = TETHER_TYPE_RULES(Parent, group.tag, Parent::destroy, TETHER_GROUP);
const tether_type anywhere_parent_type =
	TETHER_TYPE_AT("Parent", sizeof(Parent), offsetof(Parent, group), Parent::destroy, nullptr, nullptr, nullptr, TETHER_ANYWHERE,
                   TETHER_LEVEL_DEFAULT, TETHER_GROUP);
const tether_type plain_parent_type = TETHER_TYPE(Parent, group.tag, Parent::destroy);
const tether_type fixed_parent_type = TETHER_TYPE_RULES(Parent, group.tag, Parent::destroy, TETHER_GROUP | TETHER_UNSENDABLE);
const tether_type unsendable_type = TETHER_TYPE_RULES(Thing, tether, thing_destroy, TETHER_UNSENDABLE);

class Group : public Quiet
{
protected:
	void bind(const tether_type *of_parent = &parent_type, const tether_type *of_child = &thing_type)
	{
		home.run([&] {
			tether_bind_group(&parent.group, of_parent);
			ASSERT_EQ(tether_bind_to(&child.tether, of_child, &parent.group), 0);
		});
	}
	bool is_mine_on(Thread &thread, const struct tether *tag)
	{
		bool is_mine = false;

		thread.run([&] { is_mine = tether_is_mine(tag); });
		return is_mine;
	}
	void hand_off(Thread &from, Thread &to)
	{
		tether_owner_t owner = to.owner();

		from.run([&] { ASSERT_EQ(tether_hand_off(&parent.group.tag, owner, &parent.transfer), 0); });
	}
	void drain(Thread &thread)
	{
		thread.run([] { tether_drain(0); });
	}
	void drop_parent(Thread &thread)
	{
		thread.run([&] { tether_drop(&parent.group.tag); });
	}

	Parent parent;
	Thing child;
	Thread home, other, third;
};

TEST_F(Group, ChildIsItsParentsOwners)
{
	bind();
	EXPECT_TRUE(is_mine_on(home, &child.tether));
	EXPECT_FALSE(is_mine_on(other, &child.tether));
	home.run([&] {
		TETHER_CHECK(&child.tether);
		EXPECT_TRUE(TETHER_ENSURE(&child.tether));
	});
	tether_owner_t owner = home.owner();
	other.run([&] { EXPECT_FALSE(TETHER_ENSURE(&child.tether)); });
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_WRONG_THREAD);
	EXPECT_EQ(caught[0].report.owner, owner);
	EXPECT_NE(describe(&child.tether).find("follows its parent"), std::string::npos) << describe(&child.tether);
	home.run([&] {
		EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_HERE);
	});
	EXPECT_TRUE(child.ended_once_on(home.id()));
	EXPECT_TRUE(parent.ended_once_on(home.id()));
}

TEST_F(Group, HandOffOfTheParentMovesAll)
{
	bind();
	hand_off(home, other);
	EXPECT_FALSE(is_mine_on(home, &child.tether));
	EXPECT_FALSE(is_mine_on(other, &child.tether));
	other.run([&] { EXPECT_FALSE(TETHER_ENSURE(&child.tether)); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_IN_TRANSIT});
	drain(other);
	EXPECT_TRUE(is_mine_on(other, &child.tether));
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	drain(home);
	EXPECT_EQ(child.ends, 0);
	drain(other);
	EXPECT_TRUE(child.ended_once_on(other.id()));
	drop_parent(other);
	EXPECT_TRUE(parent.ended_once_on(other.id()));
}

TEST_F(Group, GiveAndShareOfTheParentMoveAll)
{
	tether_owner_t from = home.owner(), to = other.owner();

	bind();
	home.run([&] { ASSERT_EQ(tether_give(&parent.group.tag, from, to), 0); });
	EXPECT_TRUE(is_mine_on(other, &child.tether));
	other.run([&] { ASSERT_EQ(tether_share(&parent.group.tag), 0); });
	EXPECT_TRUE(is_mine_on(third, &child.tether));
	third.run([&] { EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED); });
	drain(other);
	EXPECT_TRUE(child.ended_once_on(other.id())) << "the count is its owner's";
	drop_parent(third);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, LentParentsChildrenAreTheBorrowers)
{
	tether_owner_t to = other.owner();

	bind();
	home.run([&] { ASSERT_EQ(tether_lend(&parent.group.tag, to), 0); });
	EXPECT_TRUE(is_mine_on(other, &child.tether));
	EXPECT_FALSE(is_mine_on(home, &child.tether));
	Thing second;
	other.run([&] {
		ASSERT_EQ(tether_bind_to(&second.tether, &thing_type, &parent.group), 0);
		EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
		ASSERT_EQ(tether_return(&parent.group.tag), 0);
	});
	EXPECT_TRUE(is_mine_on(home, &second.tether));
	home.run([&] { EXPECT_EQ(tether_drop(&second.tether), TETHER_HERE); });
	drop_parent(home);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, ChildQueuedAtTheOldHomeIsSentOn)
{
	bind();
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	hand_off(home, other);
	drain(other);
	EXPECT_EQ(child.ends, 0);
	drain(home);
	EXPECT_EQ(child.ends, 0) << "its parent is another's now";
	drain(other);
	EXPECT_TRUE(child.ended_once_on(other.id()));
	drop_parent(other);
}

TEST_F(Group, ChildDroppedWhileItsParentIsOnItsWayWaitsForIt)
{
	Thing second;

	bind();
	home.run([&] { ASSERT_EQ(tether_bind_to(&second.tether, &thing_type, &parent.group), 0); });
	std::vector<int> order;
	*child.at_end = [&] { order.push_back(1); };
	*second.at_end = [&] { order.push_back(2); };
	hand_off(home, other);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&second.tether), TETHER_QUEUED);
	drain(home);
	EXPECT_EQ(child.ends, 0);
	drain(other);
	EXPECT_TRUE(child.ended_once_on(other.id()));
	EXPECT_EQ(order, (std::vector<int>{1, 2}));
	drop_parent(other);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, QueuedAtTheOldHomeWhileItsParentTravelsWaitsToo)
{
	bind();
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	hand_off(home, other);
	drain(home);
	EXPECT_EQ(child.ends, 0);
	drain(other);
	EXPECT_TRUE(child.ended_once_on(other.id()));
	drop_parent(other);
}

TEST_F(Group, ParentThatComesBackBringsItsChildren)
{
	bind();
	hand_off(home, other);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	other.end();
	drain(home);
	EXPECT_TRUE(child.ended_once_on(home.id()));
	drop_parent(home);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, DroppedParentEndsAfterItsLastChild)
{
	Thing second;

	bind();
	home.run([&] {
		ASSERT_EQ(tether_bind_to(&second.tether, &thing_type, &parent.group), 0);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
	});
	drain(home);
	EXPECT_EQ(parent.ends, 0);
	third.run([&] { EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED); });
	drain(home);
	EXPECT_EQ(parent.ends, 0);
	EXPECT_TRUE(is_mine_on(home, &second.tether)) << "it lives on";
	EXPECT_FALSE(is_mine_on(third, &second.tether));
	bool may_use_parent = false;
	*second.at_end = [&] { may_use_parent = TETHER_ENSURE(&parent.group.tag) && parent.ends == 0; };
	third.run([&] { EXPECT_EQ(tether_drop(&second.tether), TETHER_QUEUED); });
	drain(home);
	EXPECT_TRUE(may_use_parent);
	EXPECT_TRUE(parent.ended_once_on(home.id()));
	EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_REFUSED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
}

TEST_F(Group, DroppedParentIsNotTouched)
{
	bind();
	home.run([&] {
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
		EXPECT_FALSE(TETHER_ENSURE(&parent.group.tag));
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_USE_AFTER_DROP});
		Thing late;
		EXPECT_EQ(tether_bind_to(&late.tether, &thing_type, &parent.group), -EINVAL);
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_USE_AFTER_DROP});
		EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
	});
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, ParentMayEndInsideItsDestructorsCaller)
{
	bind();
	Thing outer([&] {
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
		EXPECT_EQ(parent.ends, 0);
	});
	home.run([&] {
		tether_bind(&outer.tether, &thing_type);
		EXPECT_EQ(tether_drop(&outer.tether), TETHER_HERE);
	});
	EXPECT_EQ(child.ends, 1);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, ChildMayBeAParent)
{
	Parent middle;
	std::vector<int> order;
	*parent.at_end = [&] { order.push_back(3); };
	*middle.at_end = [&] { order.push_back(2); };
	*child.at_end = [&] { order.push_back(1); };

	home.run([&] {
		tether_bind_group(&parent.group, &parent_type);
		middle.group.children_ = 0;
		tether_bind_group(&middle.group, &parent_type);
		ASSERT_EQ(tether_bind_to(&middle.group.tag, &parent_type, &parent.group), 0);
		ASSERT_EQ(tether_bind_to(&child.tether, &thing_type, &middle.group), 0);
	});
	hand_off(home, other);
	drain(other);
	EXPECT_TRUE(is_mine_on(other, &child.tether));
	EXPECT_TRUE(is_mine_on(other, &middle.group.tag));
	other.run([&] {
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
		EXPECT_EQ(tether_drop(&middle.group.tag), TETHER_QUEUED);
	});
	EXPECT_TRUE(order.empty());
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	drain(other);
	EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(Group, LongLineOfParentsTakesConstantStack)
{
	const size_t n = scaled(100000);
	std::vector<std::unique_ptr<Parent>> line;

	for (size_t i = 0; i < n; i++)
		line.push_back(std::make_unique<Parent>());
	on_a_small_stack([&] {
		tether_bind_group(&line[0]->group, &parent_type);
		for (size_t i = 1; i < n; i++) {
			tether_bind_group(&line[i]->group, &parent_type);
			ASSERT_EQ(tether_bind_to(&line[i]->group.tag, &parent_type, &line[0]->group), 0);
		}
		for (size_t i = 0; i < n; i++)
			tether_drop(&line[i]->group.tag);
	});
	for (auto &one : line) {
		ASSERT_EQ(one->ends, 1);
	}
}

TEST_F(Group, OrphanedChildrenLetTheirParentGo)
{
	bind(&anywhere_parent_type, &anywhere_type);
	home.end();
	EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
	EXPECT_EQ(parent.ends, 0);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_ORPHANED);
	EXPECT_TRUE(child.ended_once_here());
	EXPECT_TRUE(parent.ended_once_on(pthread_self()));
}

TEST_F(Group, LeakedChildDoesNotKeepItsParent)
{
	bind(&anywhere_parent_type, &thing_type);
	home.end();
	EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_ORPHANED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	EXPECT_EQ(child.ends, 0);
	EXPECT_EQ(parent.ends, 1);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_REFUSED) << "and it is not asked for its parent";
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
}

TEST_F(Group, HeirsChildEndsAtTheHeir)
{
	thing_heir = third.owner();
	bind(&anywhere_parent_type, &heir_type);
	home.end();
	EXPECT_EQ(tether_drop(&child.tether), TETHER_ORPHANED);
	drain(third);
	EXPECT_TRUE(child.ended_once_on(third.id()));
	EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_ORPHANED);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, StrandedParentTakesItsWaitingChildrenAlong)
{
	bind(&anywhere_parent_type, &anywhere_type);
	hand_off(home, other);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	home.end();
	other.end();
	EXPECT_EQ(child.ends, 1);
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, ChildsDestructorThatDoesNotReturnStillLeaves)
{
	*child.at_end = [] { pthread_exit(nullptr); };
	on_a_plain_thread([&] {
		tether_bind_group(&parent.group, &parent_type);
		EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parent.group), 0);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
		tether_drop(&child.tether);
	});
	EXPECT_EQ(child.ends, 1);
	EXPECT_EQ(parent.ends, 1);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

TEST_F(Group, ChildIsNotMovedByItself)
{
	tether_owner_t to = other.owner();

	bind();
	home.run([&] {
		EXPECT_EQ(tether_hand_off(&child.tether, to, &parent.transfer), -EINVAL);
		EXPECT_EQ(tether_unbind(&child.tether), -EINVAL);
		EXPECT_EQ(tether_lend(&child.tether, to), -EINVAL);
		EXPECT_EQ(tether_share(&child.tether), -EINVAL);
		EXPECT_EQ(reports.take_kinds(), Kinds(4, TETHER_BAD_MOVE));
		tether_drop(&child.tether);
		tether_drop(&parent.group.tag);
	});
}

TEST_F(Group, ParentWithChildrenIsNotLeftAlone)
{
	bind();
	home.run([&] {
		EXPECT_EQ(tether_unbind(&parent.group.tag), -EINVAL);
		tether_fini(&parent.group.tag);
		EXPECT_EQ(reports.take_kinds(), Kinds(2, TETHER_HAS_CHILDREN));
		EXPECT_TRUE(tether_is_mine(&parent.group.tag));
		tether_fini(&child.tether);
		EXPECT_EQ(tether_unbind(&parent.group.tag), 0);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_HERE);
	});
	EXPECT_EQ(child.ends, 0);
}

TEST_F(Group, EndedChildLetsItsDroppedParentGo)
{
	bind();
	home.run([&] {
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
		tether_fini(&child.tether);
	});
	EXPECT_EQ(parent.ends, 1);
}

TEST_F(Group, OnlyTheOwnerBindsToIt)
{
	Thing second;

	bind();
	other.run([&] { EXPECT_EQ(tether_bind_to(&second.tether, &thing_type, &parent.group), -EINVAL); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	EXPECT_EQ(second.tether.state_, 0U);
	home.run([&] { ASSERT_EQ(tether_share(&parent.group.tag), 0); });
	other.run([&] { EXPECT_EQ(tether_bind_to(&second.tether, &thing_type, &parent.group), -EINVAL); });
	EXPECT_EQ(reports.take_kinds().size(), 1U) << "its count has one writer";
	home.run([&] {
		tether_drop(&child.tether);
		tether_drop(&parent.group.tag);
	});
}

TEST_F(Group, PlainTagIsNoParent)
{
	home.run([&] {
		tether_bind(&parent.group.tag, &plain_parent_type);
		EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parent.group), -EINVAL);
		tether_fini(&parent.group.tag);
		tether_bind(&parent.group.tag, &parent_type); /* not by tether_bind_group() */
		EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parent.group), -EINVAL);
		EXPECT_EQ(reports.take_kinds(), Kinds(2, TETHER_BAD_MOVE));
		tether_fini(&parent.group.tag);
	});
}

TEST_F(Group, UnsendableFollowsOnlyTheUnsendable)
{
	home.run([&] {
		tether_bind_group(&parent.group, &parent_type);
		EXPECT_EQ(tether_bind_to(&child.tether, &unsendable_type, &parent.group), -EINVAL);
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_UNSENDABLE_MOVED});
		tether_fini(&parent.group.tag);
		tether_bind_group(&parent.group, &fixed_parent_type);
		EXPECT_EQ(tether_bind_to(&child.tether, &unsendable_type, &parent.group), 0);
		tether_drop(&child.tether);
		tether_drop(&parent.group.tag);
	});
}

TEST_F(Group, OverwrittenParentAddressIsNotFollowed)
{
	bind();
	uint64_t hint = child.tether.hint_;
	child.tether.hint_ = 0x41414141;
	home.run([&] { EXPECT_FALSE(TETHER_ENSURE(&child.tether)); });
	EXPECT_EQ(tether_drop(&child.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_OVERWRITTEN, TETHER_OVERWRITTEN}));
	child.tether.hint_ = hint;
	home.run([&] {
		tether_drop(&child.tether);
		tether_drop(&parent.group.tag);
	});
}

/* ---- Under load ------------------------------------------------------------------------------ */

std::atomic<int> hops;
tether_owner_t ids[3];

/* From one to the next, six times. */
void hop(struct tether_transfer *transfer, struct tether *tag, enum tether_arrival how)
{
	ASSERT_EQ(how, TETHER_RECEIVED);
	if (++hops < 6) {
		ASSERT_EQ(tether_hand_off(tag, ids[hops % 3], transfer), 0);
	}
}

TEST_F(Group, MovesAndDropsAtOnceLoseNothing)
{
	const size_t rounds = scaled(3000), children = 4;
	Thread owners[3];

	for (int i = 0; i < 3; i++)
		ids[i] = owners[i].owner();
	for (size_t round = 0; round < rounds; round++) {
		Parent conn;
		std::vector<std::unique_ptr<Thing>> things;
		std::atomic<size_t> arrived{0};

		hops = 0;
		tether_transfer_init(&conn.transfer, hop);
		for (size_t i = 0; i < children; i++)
			things.push_back(std::make_unique<Thing>());
		owners[0].run([&] {
			tether_bind_group(&conn.group, &parent_type);
			for (auto &one : things) {
				ASSERT_EQ(tether_bind_to(&one->tether, &thing_type, &conn.group), 0);
			}
			ASSERT_EQ(tether_hand_off(&conn.group.tag, ids[0], &conn.transfer), 0);
		});
		std::thread dropper([&] {
			meet(arrived, 2, round % 64);
			for (auto &one : things)
				tether_drop(&one->tether);
		});
		meet(arrived, 2);
		while (hops < 6)
			for (Thread &owner : owners)
				owner.run([] { tether_drain(0); });
		dropper.join();
		tether_drop(&conn.group.tag);
		for (int i = 0; i < 3; i++)
			for (Thread &owner : owners)
				owner.run([] { tether_drain(0); });
		ASSERT_EQ(conn.ends, 1);
		for (auto &one : things) {
			ASSERT_TRUE(one->ended_once_on(conn.ended_on)) << "round " << round;
		}
	}
}

/* As destructors written in C++ may throw. */
TEST_F(Group, StrandedLosesNobodyThoughAChildThrows)
{
	Thing second;

	*child.at_end = [] { throw std::runtime_error("from a child"); };
	bind(&anywhere_parent_type, &anywhere_type);
	home.run([&] { ASSERT_EQ(tether_bind_to(&second.tether, &anywhere_type, &parent.group), 0); });
	hand_off(home, other);
	EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED);
	EXPECT_EQ(tether_drop(&second.tether), TETHER_QUEUED);
	home.end();
	other.run([] { EXPECT_THROW(tether_owner_exit(), std::runtime_error); });
	EXPECT_TRUE(child.ended_once_on(other.id()));
	EXPECT_TRUE(second.ended_once_on(other.id()));
	EXPECT_TRUE(parent.ended_once_on(other.id()));
}

/* What a connection does that goes to the idle ones when its last stream has gone. The new owner counts children before
 * that stream's destructor has returned. */
TEST_F(Group, MovedByTheDestructorOfAChildCountsEachOnce)
{
	std::atomic<size_t> round{0}, moved{0};
	size_t rounds = scaled(20000);
	tether_owner_t here = tether_self();
	Parent parents[2];

	std::thread mover([&] {
		for (size_t i = 0; i < rounds; i++) {
			Parent &mine = parents[i % 2];
			Thing stream([&] {
				ASSERT_EQ(tether_hand_off(&mine.group.tag, here, &mine.transfer), 0);
				for (volatile size_t spins = 0; spins < i % 1000; spins = spins + 1)
					;
			});

			tether_bind_group(&mine.group, &parent_type);
			ASSERT_EQ(tether_bind_to(&stream.tether, &thing_type, &mine.group), 0);
			ASSERT_EQ(tether_drop(&stream.tether), TETHER_HERE);
			for (moved = i + 1; round <= i;)
				sched_yield();
		}
	});
	for (; round < rounds; round++) {
		struct tether_group *group = &parents[round % 2].group;
		Thing streams[30];

		while (tether_drain(1) == 0)
			;
		for (Thing &stream : streams)
			ASSERT_EQ(tether_bind_to(&stream.tether, &thing_type, group), 0);
		for (Thing &stream : streams)
			ASSERT_EQ(tether_drop(&stream.tether), TETHER_HERE);
		while (moved <= round)
			sched_yield();
		EXPECT_EQ(tether_drop(&group->tag), TETHER_HERE) << "it has no children left";
	}
	mover.join();
}

/* Its thread goes on with what is its own, while others find its orphans. */
TEST_F(Group, OfAnOwnerThatHasEndedCountsEachOnce)
{
	std::vector<std::unique_ptr<Thing>> orphans(scaled(20000));
	std::atomic<size_t> ready{0};

	std::thread ended([&] {
		tether_bind_group(&parent.group, &parent_type);
		for (std::unique_ptr<Thing> &orphan : orphans) {
			orphan = std::make_unique<Thing>();
			ASSERT_EQ(tether_bind_to(&orphan->tether, &anywhere_type, &parent.group), 0);
		}
		tether_owner_exit();
		meet(ready, 2);
		for (size_t i = 0; i < orphans.size(); i++) {
			EXPECT_EQ(tether_bind_to(&child.tether, &thing_type, &parent.group), 0);
			EXPECT_EQ(tether_drop(&child.tether), TETHER_HERE);
		}
		meet(ready, 4);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_HERE) << "it has no children left";
	});
	meet(ready, 2);
	for (std::unique_ptr<Thing> &orphan : orphans)
		EXPECT_EQ(tether_drop(&orphan->tether), TETHER_ORPHANED);
	meet(ready, 4);
	ended.join();
}

/* It may be a signal handler that finds out, where no destructor may run. */
TEST_F(Group, LastChildThatIsDroppedForLaterAndLeakedHasItsParentRunByTheNextDrain)
{
	tether_self();
	bind(&anywhere_parent_type, &thing_type);
	home.end();
	EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED);
	EXPECT_EQ(tether_drop_later(&child.tether), TETHER_ORPHANED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LEAKED});
	EXPECT_EQ(parent.ends, 0);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(parent.ended_once_on(pthread_self()));
}

TEST_F(Group, SharedAndDroppedElsewhereWaitsAtHomeForItsChildren)
{
	bind();
	home.run([&] { EXPECT_EQ(tether_share(&parent.group.tag), 0); });
	elsewhere([&] { EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_QUEUED); });
	drain(home);
	EXPECT_EQ(parent.ends, 0);
	elsewhere([&] { EXPECT_EQ(tether_drop(&child.tether), TETHER_QUEUED) << "its owner lives"; });
	drain(home);
	EXPECT_TRUE(child.ended_once_on(home.id()));
	EXPECT_TRUE(parent.ended_once_on(home.id()));
}

TEST_F(Group, SharedAndDroppedElsewhereEndsOnceThoughItsChildrenLeaveMeanwhile)
{
	std::atomic<size_t> begun{0}, ended{0};
	size_t rounds = scaled(20000);
	std::unique_ptr<Parent> shared;

	std::thread dropper([&] {
		for (size_t i = 1; i <= rounds; i++) {
			meet(begun, 2 * i, i % 500);
			tether_drop(&shared->group.tag);
			meet(ended, 2 * i);
		}
	});
	for (size_t i = 1; i <= rounds; i++) {
		Thing streams[20];

		shared = std::make_unique<Parent>();
		tether_bind_group(&shared->group, &parent_type);
		for (Thing &stream : streams)
			EXPECT_EQ(tether_bind_to(&stream.tether, &thing_type, &shared->group), 0);
		EXPECT_EQ(tether_share(&shared->group.tag), 0);
		meet(begun, 2 * i);
		for (Thing &stream : streams)
			tether_drop(&stream.tether);
		meet(ended, 2 * i);
		tether_drain(0);
		EXPECT_EQ(shared->ends, 1);
		for (Thing &stream : streams)
			EXPECT_EQ(stream.ends, 1);
	}
	dropper.join();
}

/* Nobody can follow it; what lies where a group counts is not looked at. */
TEST_F(Group, BoundAsAPlainTagIsDestroyedAsOne)
{
	parent.group.children_ = 7;
	parent.group.waiting_ = 7;
	home.run([&] { tether_bind(&parent.group.tag, &parent_type); });
	hand_off(home, other);
	drain(other);
	other.run([&] { EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_HERE); });
	parent.group.children_ = 7;
	parent.group.waiting_ = 7;
	home.run([&] {
		tether_bind(&parent.group.tag, &parent_type);
		EXPECT_EQ(tether_drop(&parent.group.tag), TETHER_HERE);
	});
}

} // namespace
