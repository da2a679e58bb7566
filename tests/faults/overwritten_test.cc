/* overwritten_test.cc - tags of zeroes, of garbage, and half written over: each is told, none is followed.
 * SPDX-License-Identifier: MIT
 *
 * TETHER_TEST_SEED=N repeats a run. */
#include "../support.h"

#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <random>

namespace
{

class Overwritten : public Quiet
{
protected:
	std::mt19937_64 random;

	void SetUp() override
	{
		const char *told = getenv("TETHER_TEST_SEED");
		uint64_t seed = told ? strtoull(told, nullptr, 0) : std::random_device()();

		Quiet::SetUp();
		random.seed(seed);
		RecordProperty("seed", std::to_string(seed));
		printf("TETHER_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
	}

	/* Every operation on it is told, and none of them touches it. */
	void expect_told(struct tether *tag, enum tether_kind kind)
	{
		struct tether before = *tag;

		EXPECT_FALSE(tether_is_mine(tag));
		TETHER_CHECK(tag);
		EXPECT_FALSE(TETHER_ENSURE(tag));
		EXPECT_FALSE(tether_claim(tag));
		EXPECT_EQ(tether_drop(tag), TETHER_REFUSED);
		EXPECT_EQ(tether_drop_later(tag), TETHER_REFUSED);
		tether_fini(tag);
		EXPECT_EQ(reports.take_kinds(), Kinds(6, kind));
		EXPECT_EQ(memcmp(&before, tag, sizeof before), 0);
	}
	struct tether random_tag() { return {random(), random(), random(), random()}; }
};

TEST_F(Overwritten, TagOfZeroesIsTold)
{
	struct tether zero = {0, 0, 0, 0};

	expect_told(&zero, TETHER_NEVER_BOUND);
}

TEST_F(Overwritten, TagOfRandomBytesIsTold)
{
	for (size_t i = 0; i < scaled(10000); i++) {
		struct tether tag = random_tag();

		expect_told(&tag, TETHER_OVERWRITTEN);
		if (HasFailure())
			FAIL() << std::hex << tag.owner_ << " " << tag.state_ << " " << tag.next_ << " " << tag.hint_;
	}
}

TEST_F(Overwritten, TagOfEqualBytesIsTold)
{
	for (int byte = 1; byte < 256; byte++) {
		struct tether tag;

		memset(&tag, byte, sizeof tag);
		expect_told(&tag, TETHER_OVERWRITTEN);
	}
}

/* Bytes that look like a tag: its magic, a state, and an address where no type is. */
TEST_F(Overwritten, TagThatPointsToNoTypeIsTold)
{
	alignas(64) static char global[64];
	alignas(64) static const char constant[64] = "";
	alignas(64) char local[64] = "";
	std::unique_ptr<tether_type> heap(new tether_type());
	void *closed = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const void *addresses[] = {nullptr,
	                           global,
	                           constant,
	                           local,
	                           heap.get(),
	                           closed,
	                           reinterpret_cast<void *>(64),
	                           reinterpret_cast<void *>(UINT64_C(0x00007fffffffffc0)),
	                           reinterpret_cast<void *>(UINT64_C(0x0000ffffffffffc0))};
	tether_owner_t self = tether_self();

	for (const void *address : addresses)
		for (uint64_t low = 1; low < 64; low++)
			for (tether_owner_t owner : {tether_owner_t{0}, self ^ 1}) {
				uint64_t state = reinterpret_cast<uintptr_t>(address) | TETHER_STATE_MAGIC_ | low;
				struct tether tag = {owner, state, 0, 0};

				expect_told(&tag, TETHER_OVERWRITTEN);
				if (HasFailure())
					FAIL() << address << " state " << low << " owner " << owner;
			}
	munmap(closed, 4096);
}

/* A neighbour wrote a few bytes too many. What is left may be a tag all the same: then its destructor
 * runs, where it should or where it was told; but nothing crashes and nothing runs twice. */

struct Victim {
	int ends = 0;
	struct tether tether = {0, 0, 0, 0};
};

void victim_destroy(void *object)
{
	static_cast<Victim *>(object)->ends++;
}

const tether_type victim_type = TETHER_TYPE_POLICY(Victim, tether, victim_destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);

void use(struct tether *tag, unsigned operation)
{
	switch (operation % 7) {
	case 0:
		TETHER_CHECK(tag);
		break;
	case 1:
		(void)TETHER_ENSURE(tag);
		break;
	case 2:
		(void)tether_is_mine(tag);
		break;
	case 3:
		(void)tether_claim(tag);
		break;
	case 4:
		(void)tether_drop(tag);
		break;
	case 5:
		(void)tether_drop_later(tag);
		break;
	default:
		tether_fini(tag);
	}
}

TEST_F(Overwritten, TagWrittenOverInPartCrashesNothing)
{
	std::vector<Victim> victims(scaled(10000));
	Thread home;

	home.run([&] {
		for (Victim &victim : victims)
			tether_bind(&victim.tether, &victim_type);
	});
	for (Victim &victim : victims) {
		unsigned char *bytes = reinterpret_cast<unsigned char *>(&victim.tether);
		size_t from = random() % sizeof victim.tether, count = 1 + random() % 12;

		for (size_t i = from; i < std::min(from + count, sizeof victim.tether); i++)
			bytes[i] = static_cast<unsigned char>(random());
		for (int i = 0; i < 3; i++) {
			unsigned operation = static_cast<unsigned>(random());

			if (random() % 2)
				home.run([&] { use(&victim.tether, operation); });
			else
				use(&victim.tether, operation);
		}
	}
	home.run([] { tether_drain(0); });
	tether_drain(0);
	for (Victim &victim : victims)
		EXPECT_LE(victim.ends, 1);
	EXPECT_GT(reports.take().size(), victims.size() / 4);
}

/* The words that say where to go, one at a time, whole. */

TEST_F(Overwritten, OwnerWrittenOverIsTold)
{
	for (int i = 0; i < 1000; i++) {
		Victim victim;

		tether_bind(&victim.tether, &victim_type);
		victim.tether.owner_ = random();
		EXPECT_FALSE(TETHER_ENSURE(&victim.tether));
		EXPECT_EQ(tether_drop(&victim.tether), TETHER_REFUSED);
		EXPECT_EQ(reports.take().size(), 2U);
		EXPECT_EQ(victim.ends, 0);
	}
}

TEST_F(Overwritten, StateWrittenOverIsTold)
{
	for (int i = 0; i < 1000; i++) {
		Victim victim;

		tether_bind(&victim.tether, &victim_type);
		victim.tether.state_ = random();
		EXPECT_EQ(tether_drop(&victim.tether), TETHER_REFUSED);
		elsewhere([&] { EXPECT_FALSE(TETHER_ENSURE(&victim.tether)); });
		EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_OVERWRITTEN, TETHER_OVERWRITTEN}));
		EXPECT_EQ(victim.ends, 0);
	}
}

TEST_F(Overwritten, WordsThatOnlyTheDroppedUseHarmNothing)
{
	for (int i = 0; i < 1000; i++) {
		Victim victim;

		tether_bind(&victim.tether, &victim_type);
		victim.tether.next_ = random();
		victim.tether.hint_ = random();
		EXPECT_TRUE(TETHER_ENSURE(&victim.tether));
		EXPECT_EQ(tether_drop_later(&victim.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_drain(0), 1U);
		EXPECT_EQ(victim.ends, 1);
	}
}

/* Used after its drop: see the table in tag_test.cc; here many at once, from both sides. */
TEST_F(Overwritten, UseAfterDropIsToldUntilTheMemoryIsUsedAgain)
{
	Thread home;
	Thing thing;
	auto use_after_drop = [&] {
		for (unsigned operation = 0; operation < 6; operation++)
			use(&thing.tether, operation);
	};
	Kinds told = {TETHER_USE_AFTER_DROP, TETHER_USE_AFTER_DROP, TETHER_USE_AFTER_DROP, TETHER_DOUBLE_DROP, TETHER_DOUBLE_DROP};

	home.run([&] { tether_bind(&thing.tether, &thing_type); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	for (bool drained : {false, true}) {
		use_after_drop();
		EXPECT_EQ(reports.take_kinds(), told);
		home.run(use_after_drop);
		EXPECT_EQ(reports.take_kinds(), told);
		if (!drained)
			home.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	}
	EXPECT_TRUE(thing.ended_once_on(home.id()));
	home.run([&] {
		tether_bind(&thing.tether, &thing_type);
		use(&thing.tether, 0);
		tether_fini(&thing.tether);
	});
}

} // namespace
