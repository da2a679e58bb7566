/* tag_test.cc - tags: binding, claiming, checking and ending them, and every state they can be found in.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <cstring>
#include <memory>
#include <tuple>

namespace
{

class Tag : public Quiet
{
};

TEST_F(Tag, IsThirtyTwoBytesAndZeroWhenNeverBound)
{
	static struct tether tag;

	static_assert(sizeof(struct tether) == 32, "four words, in every build");
	EXPECT_FALSE(TETHER_ENSURE(&tag));
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NEVER_BOUND});
}

TEST_F(Tag, BoundIsMineHereAndNowhereElse)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	TETHER_CHECK(&thing.tether);
	EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
	EXPECT_TRUE(tether_is_mine(&thing.tether));
	elsewhere([&] { EXPECT_FALSE(tether_is_mine(&thing.tether)); });
	tether_fini(&thing.tether);
}

TEST_F(Tag, CheckReportsWithoutStopping)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		TETHER_CHECK(&thing.tether);
		TETHER_CHECK(&thing.tether);
	});
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_WRONG_THREAD, TETHER_WRONG_THREAD}));
	tether_fini(&thing.tether);
}

TEST_F(Tag, CheckNeverChangesTheOwner)
{
	Thing thing, unbound;

	tether_bind(&thing.tether, &thing_type);
	tether_bind_later(&unbound.tether, &thing_type);
	elsewhere([&] {
		TETHER_CHECK(&thing.tether);
		TETHER_CHECK(&unbound.tether);
		EXPECT_FALSE(tether_is_mine(&unbound.tether));
	});
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_WRONG_THREAD, TETHER_UNCLAIMED}));
	EXPECT_TRUE(tether_is_mine(&thing.tether));
	EXPECT_TRUE(tether_claim(&unbound.tether));
	tether_fini(&thing.tether);
	tether_fini(&unbound.tether);
}

TEST_F(Tag, MacrosEvaluateTheirArgumentOnce)
{
	Thing thing;
	int evaluated = 0;
	auto tag = [&] {
		evaluated++;
		return &thing.tether;
	};

	tether_bind(&thing.tether, &thing_type);
	TETHER_CHECK(tag());
	EXPECT_EQ(evaluated, 1);
	EXPECT_TRUE(TETHER_ENSURE(tag()));
	EXPECT_EQ(evaluated, 2);
	tether_fini(&thing.tether);
}

/* Binding and claiming. */

TEST_F(Tag, BindOverwritesWhatTheTagHeld)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		tether_bind(&thing.tether, &anywhere_type);
		EXPECT_TRUE(tether_is_mine(&thing.tether));
	});
	EXPECT_FALSE(tether_is_mine(&thing.tether));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	EXPECT_TRUE(thing.ended_once_here()) << "the second type's policy counts";
}

TEST_F(Tag, IsClaimedByOneOfTwoThreads)
{
	size_t rounds = scaled(20000);
	std::vector<Thing> things(rounds);
	std::atomic<size_t> arrived{0}, claimed{0};
	auto claim_each = [&](size_t me) {
		for (size_t round = 0; round < rounds; round++) {
			struct tether *tag = &things[round].tether;

			meet(arrived, 2 * (round + 1), me * (round % 64));
			if (!tether_claim(tag))
				continue;
			EXPECT_EQ(tether_drop(tag), TETHER_HERE); /* at once, while the other still looks at it */
			EXPECT_TRUE(things[round].ended_once_here());
			claimed++;
		}
	};

	for (Thing &thing : things)
		tether_bind_later(&thing.tether, &thing_type);
	std::thread one(claim_each, 0), two(claim_each, 1);
	one.join();
	two.join();
	EXPECT_EQ(claimed, rounds);
	/* The other came second, and is told nothing; or so late that it is told of the drop. */
	for (enum tether_kind kind : reports.take_kinds())
		ASSERT_EQ(kind, TETHER_USE_AFTER_DROP);
}

TEST_F(Tag, StaticInitialiserIsUnboundAndCanBeClaimedFirst)
{
	struct Cache {
		int entries;
		struct tether tether;
	};
	static int destroyed;
	static const tether_type cache_type = TETHER_TYPE(Cache, tether, [](void *) { destroyed++; });
	static Cache cache = {3, TETHER_INIT(cache_type)};

	EXPECT_FALSE(TETHER_ENSURE(&cache.tether));
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_UNCLAIMED});
	EXPECT_TRUE(tether_claim(&cache.tether));
	EXPECT_TRUE(TETHER_ENSURE(&cache.tether));
	EXPECT_EQ(tether_drop(&cache.tether), TETHER_HERE);
	EXPECT_EQ(destroyed, 1);
}

TEST_F(Tag, StaticInitialiserCanBeDroppedBeforeItsTypeWasEverBound)
{
	static int destroyed;
	struct Cache {
		struct tether tether;
	};
	static const tether_type cache_type = TETHER_TYPE(Cache, tether, [](void *) { destroyed++; });
	static Cache cache = {TETHER_INIT(cache_type)};

	EXPECT_EQ(tether_drop(&cache.tether), TETHER_HERE);
	EXPECT_EQ(destroyed, 1);
}

/* Types. */

TEST_F(Tag, WhatIsNoTypeIsReportedAndTheTagLeftZero)
{
	alignas(64) static const char garbage[128] = "not a type at all";
	static const tether_type zero = {};
	static const tether_type good = TETHER_TYPE(Thing, tether, thing_destroy);
	const void *misaligned = reinterpret_cast<const char *>(&good) + 8;
	const void *none[] = {nullptr, garbage, &zero, misaligned};

	for (const void *type : none) {
		struct tether tag, zeroes = {0, 0, 0, 0};

		memset(&tag, 0x77, sizeof tag);
		tether_bind(&tag, static_cast<const tether_type *>(type));
		EXPECT_EQ(memcmp(&tag, &zeroes, sizeof tag), 0);
		memset(&tag, 0x77, sizeof tag);
		tether_bind_later(&tag, static_cast<const tether_type *>(type));
		EXPECT_EQ(memcmp(&tag, &zeroes, sizeof tag), 0);
		EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_BAD_TYPE, TETHER_BAD_TYPE}));
		EXPECT_EQ(tether_drop(&tag), TETHER_REFUSED);
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NEVER_BOUND});
	}
}

TEST_F(Tag, TypeMayGiveItsDestructorAContext)
{
	struct Pooled {
		int number;
		struct tether tether;
	};
	static std::vector<std::pair<int, void *>> ended;
	static int pool;
	static const tether_type pooled_type = TETHER_TYPE_AT(
		"Pooled", sizeof(Pooled), offsetof(Pooled, tether), nullptr,
		[](void *object, void *context) { ended.emplace_back(static_cast<Pooled *>(object)->number, context); }, &pool, nullptr,
		TETHER_LEAK, TETHER_LEVEL_DEFAULT, TETHER_NO_RULES);
	Pooled pooled = {17, {0, 0, 0, 0}};

	tether_bind(&pooled.tether, &pooled_type);
	EXPECT_EQ(tether_drop(&pooled.tether), TETHER_HERE);
	EXPECT_EQ(ended, (std::vector<std::pair<int, void *>>{{17, &pool}}));
}

TEST_F(Tag, TypeMayHaveNothingToDestroy)
{
	struct Plain {
		int number;
		struct tether tether;
	};
	static const tether_type plain_type = TETHER_TYPE(Plain, tether, nullptr);
	Plain plain = {3, {0, 0, 0, 0}};

	tether_bind(&plain.tether, &plain_type);
	elsewhere([&] { EXPECT_EQ(tether_drop(&plain.tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(plain.number, 3);
	EXPECT_FALSE(TETHER_ENSURE(&plain.tether));
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_USE_AFTER_DROP});
}

TEST_F(Tag, MayLieInACxxClass)
{
	struct Base {
		virtual ~Base() = default;
		virtual int number() const = 0;
	};
	struct Derived : Base {
		explicit Derived(int *destroyed) : destroyed_(destroyed) {}
		~Derived() override { ++*destroyed_; }
		int number() const override { return 5; }
		int *destroyed_;
		struct tether tether = {0, 0, 0, 0};
	};
	static size_t offset;
	static const tether_type *type;
	int destroyed = 0;
	Derived *object = new Derived(&destroyed);

	offset = static_cast<size_t>(reinterpret_cast<char *>(&object->tether) - reinterpret_cast<char *>(object));
	static const tether_type derived_type = TETHER_TYPE_AT(
		"Derived", sizeof(Derived), offset, [](void *derived) { delete static_cast<Derived *>(derived); }, nullptr, nullptr,
		nullptr, TETHER_LEAK, TETHER_WARN, TETHER_NO_RULES);
	type = &derived_type;
	tether_bind(&object->tether, type);
	elsewhere([&] { EXPECT_EQ(tether_drop(&object->tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(destroyed, 1);
}

/* fini. */

TEST_F(Tag, FiniEndsItWithoutItsDestructor)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	tether_fini(&thing.tether);
	EXPECT_EQ(thing.ends, 0);
	EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_USE_AFTER_DROP});
	tether_bind(&thing.tether, &thing_type);
	EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
	tether_fini(&thing.tether);
}

TEST_F(Tag, FiniOfAnothersIsReportedAndDone)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] { tether_fini(&thing.tether); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	EXPECT_FALSE(tether_is_mine(&thing.tether));
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_DOUBLE_DROP});
}

TEST_F(Tag, FiniLeavesWhatIsOnItsWayHomeAlone)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		tether_fini(&thing.tether);
		EXPECT_EQ(reports.take_kinds().size(), 1U);
	});
	tether_fini(&thing.tether);
	EXPECT_EQ(reports.take_kinds().size(), 1U);
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_TRUE(thing.ended_once_here());
}

/* A pool: the destructor keeps the memory and gives it out again, at once. */

TEST_F(Tag, DestructorMayEndItAndBindItAgain)
{
	Thing thing([&] {
		tether_fini(&thing.tether);
		tether_bind(&thing.tether, &thing_type);
	});

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_TRUE(TETHER_ENSURE(&thing.tether)) << "destroyed again after its new life had begun";
	elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
	EXPECT_EQ(tether_drain(0), 1U);
	EXPECT_EQ(thing.ends, 2);
	EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
	tether_fini(&thing.tether);
}

TEST_F(Tag, DestructorMayGiveItAWholeNewLife)
{
	Thing thing([&] {
		tether_fini(&thing.tether);
		tether_bind(&thing.tether, &thing_type);
		tether_fini(&thing.tether);
	});

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	EXPECT_FALSE(TETHER_ENSURE(&thing.tether)) << "its second life was ended as well";
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_USE_AFTER_DROP});
}

TEST_F(Tag, DestructorMayEndItForAnotherThreadToUse)
{
	Thread other;
	Thing thing([&] {
		tether_fini(&thing.tether);
		other.run([&] { tether_bind(&thing.tether, &thing_type); });
		EXPECT_FALSE(tether_is_mine(&thing.tether)) << "it is another thread's by now";
	});

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	other.run([&] {
		EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
		tether_fini(&thing.tether);
	});
}

TEST_F(Tag, DestructorMayKeepTheMemoryWithoutAWord)
{
	Thing thing;

	for (int life = 0; life < 3; life++) {
		tether_bind(&thing.tether, &thing_type);
		EXPECT_TRUE(TETHER_ENSURE(&thing.tether));
		elsewhere([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED); });
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_FALSE(TETHER_ENSURE(&thing.tether));
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_USE_AFTER_DROP});
	}
	EXPECT_EQ(thing.ends, 3);
}

TEST_F(Tag, DestructorMayLetAnotherThreadBindTheMemoryBeforeItReturns)
{
	Thread other;
	Thing thing([&] { other.run([&] { tether_bind(&thing.tether, &thing_type); }); });

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
	other.run([&] {
		EXPECT_TRUE(TETHER_ENSURE(&thing.tether)) << "the end of its old life reached into the new one";
		tether_fini(&thing.tether);
	});
}

TEST_F(Tag, NoFunctionTouchesErrno)
{
	Thread home;
	Thing things[6];

	tether_bind_later(&things[0].tether, &thing_type);
	home.run([&] { tether_bind(&things[1].tether, &thing_type); });
	tether_bind(&things[2].tether, &thing_type);
	tether_drop(&things[2].tether);
	home.run([&] { tether_bind(&things[3].tether, &thing_type); });
	tether_drop(&things[3].tether);
	memset(&things[4].tether, 0x5a, sizeof things[4].tether);
	elsewhere([&] {
		errno = 4242;
		for (Thing &thing : things) {
			TETHER_CHECK(&thing.tether);
			(void)TETHER_ENSURE(&thing.tether);
			(void)tether_is_mine(&thing.tether);
			(void)tether_claim(&thing.tether);
			(void)tether_drop(&thing.tether);
			(void)tether_drop_later(&thing.tether);
			tether_fini(&thing.tether);
			EXPECT_EQ(errno, 4242);
		}
		tether_bind(&things[4].tether, nullptr);
		tether_bind(&things[5].tether, &thing_type);
		tether_bind_later(&things[5].tether, &thing_type);
		EXPECT_EQ(errno, 4242);
	});
	home.run([] { tether_drain(0); });
	reports.take();
}

/* The table of states: what each operation says and does to a tag in each state, to its owner and to
 * another thread, with and without an owner of its own. */

enum State { ZERO, OVERWRITTEN, UNBOUND, BOUND, PENDING, DESTROYING, DEAD };
enum Operation { CHECK, IS_MINE, CLAIM, BIND, DROP, DROP_LATER, FINI };
enum Caller { HOME, OTHER, NOBODY };

const char *const state_names[] = {"Zero", "Overwritten", "Unbound", "Bound", "Pending", "Destroying", "Dead"};
const char *const operation_names[] = {"Check", "IsMine", "Claim", "Bind", "Drop", "DropLater", "Fini"};
const char *const caller_names[] = {"Home", "AnotherOwner", "AThreadWithoutOwner"};

/* What an operation answered, and what it reported. */
struct Answer {
	int result; /* false, true or an enum tether_dropped; DONE where there is none */
	int kind;   /* an enum tether_kind, or SILENT */
};
constexpr int DONE = -1, SILENT = -1;

const Answer answers[7][7][2] = {
	/* ZERO */
	{
		{{false, TETHER_NEVER_BOUND}, {false, TETHER_NEVER_BOUND}},                   /* check */
		{{false, SILENT}, {false, SILENT}},                                           /* is_mine */
		{{false, TETHER_NEVER_BOUND}, {false, TETHER_NEVER_BOUND}},                   /* claim */
		{{DONE, SILENT}, {DONE, SILENT}},                                             /* bind */
		{{TETHER_REFUSED, TETHER_NEVER_BOUND}, {TETHER_REFUSED, TETHER_NEVER_BOUND}}, /* drop */
		{{TETHER_REFUSED, TETHER_NEVER_BOUND}, {TETHER_REFUSED, TETHER_NEVER_BOUND}}, /* drop_later */
		{{DONE, TETHER_NEVER_BOUND}, {DONE, TETHER_NEVER_BOUND}},                     /* fini */
	},
	/* OVERWRITTEN */
	{
		{{false, TETHER_OVERWRITTEN}, {false, TETHER_OVERWRITTEN}},
		{{false, SILENT}, {false, SILENT}},
		{{false, TETHER_OVERWRITTEN}, {false, TETHER_OVERWRITTEN}},
		{{DONE, SILENT}, {DONE, SILENT}},
		{{TETHER_REFUSED, TETHER_OVERWRITTEN}, {TETHER_REFUSED, TETHER_OVERWRITTEN}},
		{{TETHER_REFUSED, TETHER_OVERWRITTEN}, {TETHER_REFUSED, TETHER_OVERWRITTEN}},
		{{DONE, TETHER_OVERWRITTEN}, {DONE, TETHER_OVERWRITTEN}},
	},
	/* UNBOUND */
	{
		{{false, TETHER_UNCLAIMED}, {false, TETHER_UNCLAIMED}},
		{{false, SILENT}, {false, SILENT}},
		{{true, SILENT}, {true, SILENT}},
		{{DONE, SILENT}, {DONE, SILENT}},
		{{TETHER_HERE, SILENT}, {TETHER_HERE, SILENT}},
		{{TETHER_QUEUED, SILENT}, {TETHER_QUEUED, SILENT}}, /* HERE on a thread without owner */
		{{DONE, SILENT}, {DONE, SILENT}},
	},
	/* BOUND */
	{
		{{true, SILENT}, {false, TETHER_WRONG_THREAD}},
		{{true, SILENT}, {false, SILENT}},
		{{true, SILENT}, {false, SILENT}},
		{{DONE, SILENT}, {DONE, SILENT}},
		{{TETHER_HERE, SILENT}, {TETHER_QUEUED, SILENT}},
		{{TETHER_QUEUED, SILENT}, {TETHER_QUEUED, SILENT}},
		{{DONE, SILENT}, {DONE, TETHER_WRONG_THREAD}},
	},
	/* PENDING */
	{
		{{false, TETHER_USE_AFTER_DROP}, {false, TETHER_USE_AFTER_DROP}},
		{{false, SILENT}, {false, SILENT}},
		{{false, TETHER_USE_AFTER_DROP}, {false, TETHER_USE_AFTER_DROP}},
		{},
		{{TETHER_REFUSED, TETHER_DOUBLE_DROP}, {TETHER_REFUSED, TETHER_DOUBLE_DROP}},
		{{TETHER_REFUSED, TETHER_DOUBLE_DROP}, {TETHER_REFUSED, TETHER_DOUBLE_DROP}},
		{{DONE, TETHER_USE_AFTER_DROP}, {DONE, TETHER_USE_AFTER_DROP}},
	},
	/* DESTROYING */
	{
		{{true, SILENT}, {false, TETHER_USE_AFTER_DROP}},
		{{true, SILENT}, {false, SILENT}},
		{{false, TETHER_USE_AFTER_DROP}, {false, TETHER_USE_AFTER_DROP}},
		{},
		{{TETHER_REFUSED, TETHER_DOUBLE_DROP}, {TETHER_REFUSED, TETHER_DOUBLE_DROP}},
		{{TETHER_REFUSED, TETHER_DOUBLE_DROP}, {TETHER_REFUSED, TETHER_DOUBLE_DROP}},
		{{DONE, SILENT}, {}},
	},
	/* DEAD */
	{
		{{false, TETHER_USE_AFTER_DROP}, {false, TETHER_USE_AFTER_DROP}},
		{{false, SILENT}, {false, SILENT}},
		{{false, TETHER_USE_AFTER_DROP}, {false, TETHER_USE_AFTER_DROP}},
		{{DONE, SILENT}, {DONE, SILENT}},
		{{TETHER_REFUSED, TETHER_DOUBLE_DROP}, {TETHER_REFUSED, TETHER_DOUBLE_DROP}},
		{{TETHER_REFUSED, TETHER_DOUBLE_DROP}, {TETHER_REFUSED, TETHER_DOUBLE_DROP}},
		{{DONE, TETHER_USE_AFTER_DROP}, {DONE, TETHER_USE_AFTER_DROP}},
	},
};

class TagTable : public Quiet, public testing::WithParamInterface<std::tuple<State, Operation, Caller>>
{
protected:
	int perform(Operation operation)
	{
		struct tether *tag = &thing.tether;

		switch (operation) {
		case CHECK:
			return TETHER_ENSURE(tag);
		case IS_MINE:
			return tether_is_mine(tag);
		case CLAIM:
			return tether_claim(tag);
		case BIND:
			tether_bind(tag, &thing_type);
			EXPECT_TRUE(tether_is_mine(tag));
			return DONE;
		case DROP:
			return tether_drop(tag);
		case DROP_LATER:
			return tether_drop_later(tag);
		case FINI:
			tether_fini(tag);
			return DONE;
		}
		return DONE;
	}
	void perform_as(Caller caller, Operation operation)
	{
		auto work = [this, operation] { result = perform(operation); };

		if (caller == OTHER)
			other.run(work);
		else if (caller == NOBODY)
			elsewhere(work);
		else if (GetParam() == std::make_tuple(DESTROYING, operation, caller))
			work(); /* home is in the destructor that calls us */
		else
			home.run(work);
	}
	void bring_to(State state)
	{
		switch (state) {
		case ZERO:
			break;
		case OVERWRITTEN:
			memset(&thing.tether, 0x5a, sizeof thing.tether);
			break;
		case UNBOUND:
			tether_bind_later(&thing.tether, &thing_type);
			break;
		case BOUND:
		case PENDING:
		case DESTROYING:
		case DEAD:
			home.run([&] { tether_bind(&thing.tether, &thing_type); });
			if (state == PENDING) {
				EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
			} else if (state == DEAD) {
				home.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
			}
		}
	}

	Thread home, other;
	int result = DONE;
	std::function<void()> in_destructor = [] {};
	Thing thing{[this] { in_destructor(); }};
};

TEST_P(TagTable, AnswersAsItShould)
{
	auto [state, operation, caller] = GetParam();
	const Answer &answer = answers[state][operation][caller == HOME ? 0 : 1];
	bool refuses_to_touch = state <= OVERWRITTEN && operation != BIND;
	bool ends = state >= PENDING || (state >= UNBOUND && (operation == DROP || operation == DROP_LATER));
	struct tether before;

	home.owner();
	other.owner();
	bring_to(state);
	memcpy(&before, &thing.tether, sizeof before);
	if (state == DESTROYING) {
		in_destructor = [this, who = caller, what = operation] { perform_as(who, what); };
		home.run([&] { EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE); });
	} else {
		perform_as(caller, operation);
	}
	if (state == UNBOUND && operation == DROP_LATER && caller == NOBODY)
		EXPECT_EQ(result, TETHER_HERE) << "it has no queue";
	else
		EXPECT_EQ(result, answer.result);
	EXPECT_EQ(reports.take_kinds(), answer.kind == SILENT ? Kinds{} : Kinds{static_cast<enum tether_kind>(answer.kind)});
	if (refuses_to_touch) {
		EXPECT_EQ(memcmp(&before, &thing.tether, sizeof before), 0);
	}
	home.run([] { tether_drain(0); });
	other.run([] { tether_drain(0); });
	EXPECT_EQ(thing.ends, ends ? 1 : 0);
}

std::vector<std::tuple<State, Operation, Caller>> whole_table()
{
	std::vector<std::tuple<State, Operation, Caller>> all;

	for (State state : {ZERO, OVERWRITTEN, UNBOUND, BOUND, PENDING, DESTROYING, DEAD})
		for (Operation operation : {CHECK, IS_MINE, CLAIM, BIND, DROP, DROP_LATER, FINI})
			for (Caller caller : {HOME, OTHER, NOBODY}) {
				/* Binding is for memory that nobody else can reach, and the end of a tag in its
				 * destructor is for that destructor. */
				bool forbidden = (operation == BIND && (state == PENDING || state == DESTROYING)) ||
				                 (operation == FINI && state == DESTROYING && caller != HOME);

				if (!forbidden)
					all.emplace_back(state, operation, caller);
			}
	return all;
}

std::string table_name(const testing::TestParamInfo<std::tuple<State, Operation, Caller>> &info)
{
	auto [state, operation, caller] = info.param;

	return std::string(state_names[state]) + operation_names[operation] + "By" + caller_names[caller];
}

INSTANTIATE_TEST_SUITE_P(Tag, TagTable, testing::ValuesIn(whole_table()), table_name);

} // namespace
