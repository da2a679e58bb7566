/* group.cc - a parent moves, is dropped, and its owner ends, while its children are dropped.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

struct Parent {
	Conn conn; /* its tag is not used */
	struct tether_group group;
};

void parent_destroy(void *object)
{
	Parent *parent = static_cast<Parent *>(object);

	parent->conn.ended_on = model_thread();
	parent->conn.ends++;
	parent->conn.order = ++base->ended;
}

const struct tether_type home_parent = TETHER_TYPE_AT("Parent", sizeof(Parent), offsetof(Parent, group.tag), parent_destroy, NULL,
                                                      NULL, NULL, TETHER_LEAK, TETHER_COUNT, TETHER_GROUP);
const struct tether_type anywhere_parent = TETHER_TYPE_AT("Parent", sizeof(Parent), offsetof(Parent, group.tag), parent_destroy,
                                                          NULL, NULL, NULL, TETHER_ANYWHERE, TETHER_COUNT, TETHER_GROUP);

/* Thread 0's, with two children. */
struct Family : Scenario<3> {
	tether_owner_t owner[3];
	Parent parent;
	Conn child[2];

	void make(unsigned me, const struct tether_type *parent_type, const struct tether_type *child_type)
	{
		owner[me] = tether_self();
		if (me > 0)
			return;
		tether_bind_group(&parent.group, parent_type);
		for (Conn &one : child)
			MUST(tether_bind_to(&one.tag, child_type, &parent.group) == 0);
	}
	void check_order()
	{
		MUST(child[0].ends == 1 && child[1].ends == 1);
		MUST(parent.conn.ends == 1);
		MUST(child[0].order < parent.conn.order && child[1].order < parent.conn.order);
	}
};

/* All are dropped at once, by others and by the owner. */
struct AllDropped : Family {
	void prepare(unsigned me) { make(me, &home_parent, &home_type); }
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			MUST(tether_drop(&child[0].tag) != TETHER_REFUSED);
			tether_drain(0);
			break;
		case 1:
			MUST(tether_drop(&child[1].tag) == TETHER_QUEUED);
			break;
		default:
			MUST(tether_drop(&parent.group.tag) == TETHER_QUEUED);
		}
	}
	void check()
	{
		check_order();
		MUST(child[0].ended_on == 0 && child[1].ended_on == 0 && parent.conn.ended_on == 0);
		MUST(reports() == 0);
	}
};

/* The parent moves while its children are dropped, and is dropped where it arrived, or on its way. */
template <bool on_its_way>
struct Moves : Family {
	Journey journey;
	int sent;
	enum tether_dropped dropped = TETHER_REFUSED;

	void prepare(unsigned me)
	{
		travels = true;
		make(me, &home_parent, &home_type);
	}
	void drop() { dropped = tether_drop(&parent.group.tag); }
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			sent = tether_hand_off(&parent.group.tag, owner[1], &journey.transfer);
			if (on_its_way)
				drop();
			tether_drain(0);
			break;
		case 1:
			tether_drain(0);
			break;
		default:
			MUST(tether_drop(&child[0].tag) == TETHER_QUEUED);
			MUST(tether_drop(&child[1].tag) == TETHER_QUEUED);
		}
	}
	void finish(unsigned me)
	{
		tether_drain(0);
		if (me == 1 && dropped == TETHER_REFUSED)
			drop();
	}
	void check()
	{
		check_order();
		MUST(sent == 0 && reports() == 0);
		MUST(parent.conn.ended_on == 1);
		if (on_its_way)
			MUST(journey.ended_once(TETHER_RECEIVED, 1) || journey.ended_once(TETHER_ENDED_AWAY, 1));
		else
			MUST(journey.ended_once(TETHER_RECEIVED, 1) && journey.was_mine);
	}
};

/* The owner of all ends. */
struct OwnerEnds : Family {
	void prepare(unsigned me) { make(me, &anywhere_parent, &anywhere_type); }
	void run(unsigned me)
	{
		if (me == 0) {
			tether_owner_exit();
			return;
		}
		MUST(tether_drop(&child[me - 1].tag) != TETHER_REFUSED);
		if (me == 2)
			MUST(tether_drop(&parent.group.tag) != TETHER_REFUSED);
	}
	void check()
	{
		check_order();
		MUST(reports() == 0);
	}
};

/* The parent is on its way to an owner that ends. */
struct ReceiverEnds : Family {
	Journey journey;
	int sent;
	bool is_dropped = false;

	void prepare(unsigned me)
	{
		travels = true;
		make(me, &anywhere_parent, &anywhere_type);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			sent = tether_hand_off(&parent.group.tag, owner[1], &journey.transfer);
			tether_drain(0);
			break;
		case 1:
			tether_drain(0);
			tether_owner_exit();
			break;
		default:
			MUST(tether_drop(&child[0].tag) != TETHER_REFUSED);
			MUST(tether_drop(&child[1].tag) != TETHER_REFUSED);
		}
	}
	void finish(unsigned me)
	{
		tether_drain(0);
		if (me == 0 && !is_dropped)
			MUST(tether_drop(&parent.group.tag) != TETHER_REFUSED);
		is_dropped = true;
	}
	void check()
	{
		check_order();
		MUST(reports() == 0);
	}
};

} // namespace

TEST(Group, ParentEndsAfterItsChildrenWhoeverDropsThem)
{
	explore<AllDropped>();
}

TEST(Group, ChildrenFollowAParentThatMoves)
{
	explore<Moves<false>>();
}

TEST(Group, ChildrenFollowAParentThatIsDroppedOnItsWay)
{
	explore<Moves<true>>();
}

TEST(Group, OfAnOwnerThatEndsEndsOnceAndInOrder)
{
	explore<OwnerEnds>();
}

TEST(Group, OnItsWayToAnOwnerThatEndsEndsOnceAndInOrder)
{
	explore<ReceiverEnds>();
}
