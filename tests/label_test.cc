/* label_test.cc - labels: where they are shown, how they are cut, how long they last, who may set them.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <sys/mman.h>

#include <cstring>
#include <deque>

namespace
{

class Label : public Quiet
{
protected:
	static bool shows_none(const struct tether *tag) { return describe(tag).find('"') == std::string::npos; }

	/* What a report says of the label and what it prints, when the object is used on a thread that may not. */
	struct Told {
		std::string label, text;
	};
	Told told_elsewhere(const struct tether *tag)
	{
		Told told;

		tether_set_report_callback(
			[](const struct tether_report *report, void *context) {
				*static_cast<Told *>(context) = {text_of(report->label), std::string(report->text, report->text_bytes)};
			},
			&told);
		elsewhere([&] { TETHER_CHECK(tag); });
		tether_set_report_callback(nullptr, nullptr);
		return told;
	}

	Thing thing;
};

TEST_F(Label, IsShownInReportsAndDescriptions)
{
	tether_bind(&thing.tether, &thing_type);
	EXPECT_TRUE(shows_none(&thing.tether));
	EXPECT_EQ(told_elsewhere(&thing.tether).label, "(null)");
	EXPECT_EQ(tether_set_label(&thing.tether, "10.0.0.7:52114"), 0);
	EXPECT_TRUE(shows(&thing.tether, "10.0.0.7:52114"));

	Told told = told_elsewhere(&thing.tether);

	EXPECT_EQ(told.label, "10.0.0.7:52114");
	EXPECT_NE(told.text.find("Thing \"10.0.0.7:52114\""), std::string::npos) << told.text;
	tether_fini(&thing.tether);
}

TEST_F(Label, IsCopied)
{
	char label[] = "first";

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_set_label(&thing.tether, label), 0);
	strcpy(label, "other");
	EXPECT_TRUE(shows(&thing.tether, "first"));
	tether_fini(&thing.tether);
}

TEST_F(Label, IsReplaced)
{
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_set_label(&thing.tether, "a longer one"), 0);
	EXPECT_EQ(tether_set_label(&thing.tether, "short"), 0);
	EXPECT_TRUE(shows(&thing.tether, "short"));
	EXPECT_EQ(told_elsewhere(&thing.tether).label, "short");
	tether_fini(&thing.tether);
}

TEST_F(Label, IsTakenAway)
{
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_set_label(&thing.tether, nullptr), 0);
	for (const char *nothing : {static_cast<const char *>(nullptr), ""}) {
		EXPECT_EQ(tether_set_label(&thing.tether, "something"), 0);
		EXPECT_TRUE(shows(&thing.tether, "something"));
		EXPECT_EQ(tether_set_label(&thing.tether, nothing), 0);
		EXPECT_TRUE(shows_none(&thing.tether));
		EXPECT_EQ(told_elsewhere(&thing.tether).label, "(null)");
	}
	tether_fini(&thing.tether);
}

TEST_F(Label, KeepsTheFirst47Bytes)
{
	const std::string fits(47, 'x');

	tether_bind(&thing.tether, &thing_type);
	for (const std::string &label : {fits, fits + "y", fits + std::string(1000, 'y')}) {
		EXPECT_EQ(tether_set_label(&thing.tether, label.c_str()), 0);
		EXPECT_EQ(told_elsewhere(&thing.tether).label, fits);
	}
	tether_fini(&thing.tether);
}

TEST_F(Label, IsNotCutInsideACharacter)
{
	const std::vector<std::string> characters = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

	tether_bind(&thing.tether, &thing_type);
	for (const std::string &character : characters)
		for (size_t before = 40; before <= 47; before++) {
			const std::string start(before, 'x');
			bool fits = before + character.size() <= 47;
			EXPECT_EQ(tether_set_label(&thing.tether, (start + character + "and more").c_str()), 0);
			std::string rest = fits ? character + std::string("and more").substr(0, 47 - before - character.size()) : "";
			EXPECT_EQ(told_elsewhere(&thing.tether).label, start + rest);
		}
	/* Not UTF-8: cut where the room ends. */
	const std::string stray(100, '\x80');
	EXPECT_EQ(tether_set_label(&thing.tether, stray.c_str()), 0);
	EXPECT_EQ(told_elsewhere(&thing.tether).label, stray.substr(0, 47));
	tether_fini(&thing.tether);
}

TEST_F(Label, WritesNoLinesOfItsOwn)
{
	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_set_label(&thing.tether, "GET /\nERROR: \033[2J\x7f"), 0);
	EXPECT_EQ(told_elsewhere(&thing.tether).label, "GET /?ERROR: ?[2J?");
	tether_fini(&thing.tether);
}

TEST_F(Label, IsForWhoeverMayUseTheObject)
{
	static struct Family {
		struct tether_group group;
	} family;
	static const tether_type family_type = TETHER_TYPE_AT("family", sizeof family, offsetof(Family, group.tag), nullptr, nullptr,
	                                                      nullptr, nullptr, TETHER_LEAK, TETHER_LEVEL_DEFAULT, TETHER_GROUP);
	Thing shared, lent;
	Thread other;

	tether_bind_group(&family.group, &family_type);
	ASSERT_EQ(tether_bind_to(&thing.tether, &thing_type, &family.group), 0);
	EXPECT_EQ(tether_set_label(&thing.tether, "a child"), 0);
	EXPECT_TRUE(shows(&thing.tether, "a child"));
	tether_bind(&shared.tether, &thing_type);
	ASSERT_EQ(tether_share(&shared.tether), 0);
	other.run([&] { EXPECT_EQ(tether_set_label(&shared.tether, "everybody's"), 0); });
	EXPECT_TRUE(shows(&shared.tether, "everybody's"));
	tether_bind(&lent.tether, &thing_type);
	ASSERT_EQ(tether_lend(&lent.tether, other.owner()), 0);
	EXPECT_EQ(tether_set_label(&lent.tether, "the lender's"), -EINVAL);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_LENT_USE});
	other.run([&] {
		EXPECT_EQ(tether_set_label(&lent.tether, "the borrower's"), 0);
		EXPECT_EQ(tether_return(&lent.tether), 0);
	});
	EXPECT_TRUE(shows(&lent.tether, "the borrower's"));
	for (Thing *one : {&thing, &shared, &lent})
		EXPECT_EQ(tether_drop(&one->tether), TETHER_HERE);
	EXPECT_EQ(tether_drop(&family.group.tag), TETHER_HERE);
}

TEST_F(Label, StaysForAUseAfterTheEnd)
{
	Thread other;
	Thing ended;

	tether_bind(&ended.tether, &thing_type);
	EXPECT_EQ(tether_set_label(&ended.tether, "ended"), 0);
	tether_fini(&ended.tether);
	EXPECT_EQ(told_elsewhere(&ended.tether).label, "ended");

	other.run([&] {
		tether_bind(&thing.tether, &thing_type);
		EXPECT_EQ(tether_set_label(&thing.tether, "dropped"), 0);
	});
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(told_elsewhere(&thing.tether).label, "dropped");
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_EQ(told_elsewhere(&thing.tether).label, "dropped");
}

TEST_F(Label, IsGoneWhenItsMemoryIsUsedAgain)
{
	for (const char *history : {"0", "1"}) {
		EXPECT_EQ(tether_set_option("history", history), 0);
		for (bool later : {false, true}) {
			tether_bind(&thing.tether, &thing_type);
			EXPECT_EQ(tether_set_label(&thing.tether, "the first"), 0);
			tether_fini(&thing.tether);
			(later ? tether_bind_later : tether_bind)(&thing.tether, &thing_type);
			EXPECT_TRUE(shows_none(&thing.tether));
			EXPECT_EQ(told_elsewhere(&thing.tether).label, "(null)");
			EXPECT_EQ(tether_set_label(&thing.tether, "the second"), 0);
			EXPECT_EQ(told_elsewhere(&thing.tether).label, "the second");
			tether_fini(&thing.tether);
		}
	}
	EXPECT_EQ(tether_set_option("history", "0"), 0);
}

TEST_F(Label, OfAnUnboundObjectMayBeSetByAnyoneAndStays)
{
	tether_bind_later(&thing.tether, &thing_type);
	elsewhere([&] { EXPECT_EQ(tether_set_label(&thing.tether, "anyone's"), 0); });
	EXPECT_TRUE(shows(&thing.tether, "anyone's"));
	EXPECT_TRUE(tether_claim(&thing.tether));
	EXPECT_TRUE(shows(&thing.tether, "anyone's"));
	tether_fini(&thing.tether);
}

TEST_F(Label, IsRefusedForWhatIsNotALiveObjectOfTheCaller)
{
	struct tether zero = {0, 0, 0, 0}, garbage = {7, 0x123456789abcdef0, 1, 2};
	Thread other;
	Thing ended;

	other.run([&] { tether_bind(&thing.tether, &thing_type); });
	tether_bind(&ended.tether, &thing_type);
	tether_fini(&ended.tether);
	for (struct tether *tag : {&thing.tether, &ended.tether, &zero, &garbage})
		EXPECT_EQ(tether_set_label(tag, "no"), -EINVAL);

	std::vector<Caught> caught = reports.take();
	const Kinds kinds = {TETHER_WRONG_THREAD, TETHER_USE_AFTER_DROP, TETHER_NEVER_BOUND, TETHER_OVERWRITTEN};

	ASSERT_EQ(caught.size(), kinds.size());
	for (size_t i = 0; i < kinds.size(); i++) {
		EXPECT_EQ(caught[i].report.kind, kinds[i]);
		EXPECT_EQ(caught[i].operation, "set_label");
	}
	EXPECT_TRUE(shows_none(&thing.tether));
	other.run([&] { tether_fini(&thing.tether); });
}

TEST_F(Label, OfManyObjectsAtOnce)
{
	std::deque<Thing> things(scaled(20000));

	for (size_t i = 0; i < things.size(); i++) {
		tether_bind(&things[i].tether, &thing_type);
		ASSERT_EQ(tether_set_label(&things[i].tether, ("number " + std::to_string(i)).c_str()), 0);
	}
	for (size_t i = 0; i < things.size(); i++) {
		ASSERT_TRUE(shows(&things[i].tether, "number " + std::to_string(i))) << i;
		tether_fini(&things[i].tether);
	}
}

/* Places of the dead are used again: far more objects than there are places, few of them alive. */
TEST_F(Label, OfMoreObjectsThanThereIsRoomForOneAfterTheOther)
{
	std::vector<struct tether> tags(scaled(2500000));

	for (struct tether &tag : tags) {
		tether_bind(&tag, &thing_type);
		ASSERT_EQ(tether_set_label(&tag, "one of many"), 0);
		tether_fini(&tag);
	}
	EXPECT_TRUE(shows(&tags.back(), "one of many"));
}

TEST_F(Label, FromManyThreadsAtOnce)
{
	const size_t threads = 4, turns = scaled(20000);
	std::vector<std::thread> all;

	for (size_t t = 0; t < threads; t++)
		all.emplace_back([=] {
			std::vector<struct tether> tags(64);

			for (size_t i = 0; i < turns; i++) {
				struct tether *tag = &tags[i % tags.size()];
				const std::string label = std::to_string(t) + "/" + std::to_string(i);
				tether_bind(tag, &thing_type);
				ASSERT_EQ(tether_set_label(tag, label.c_str()), 0);
				ASSERT_TRUE(shows(tag, label)) << label;
				tether_fini(tag);
			}
		});
	for (std::thread &thread : all)
		thread.join();
}

/* Does the kernel keep its word? Emulators of one do not. */
bool wipes_on_fork()
{
	int *word = static_cast<int *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	int status = -1;

	EXPECT_NE(word, MAP_FAILED);
	(void)madvise(word, 4096, MADV_WIPEONFORK);
	*word = 1;
	pid_t child = fork();
	if (child == 0)
		_exit(*word);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	munmap(word, 4096);
	return status == 0;
}

/* Whatever the other threads held when the process forked. */
TEST_F(Label, InAForkedChild)
{
	if (RUNNING_ON_VALGRIND)
		GTEST_SKIP() << "what threads leave behind in a child are leaks to valgrind";
	if (!wipes_on_fork())
		GTEST_SKIP() << "MADV_WIPEONFORK does nothing here";

	std::atomic<bool> stop{false};
	std::thread busy([&] {
		std::vector<struct tether> tags(512);

		for (size_t i = 0; !stop; i++) {
			tether_bind(&tags[i % tags.size()], &thing_type);
			tether_set_label(&tags[i % tags.size()], "busy");
		}
	});

	(void)tether_self();
	bool good = true;
	for (int round = 0; good && round < 10; round++) {
		pid_t child = fork();
		if (child == 0) {
			static struct tether tags[4096];
			alarm(60);
			for (struct tether &tag : tags) {
				tether_bind(&tag, &thing_type);
				good = good && tether_set_label(&tag, "the child's") == 0 && shows(&tag, "the child's");
			}
			_exit(good ? 0 : 1);
		}
		int status = -1;
		EXPECT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(status, 0);
		good = status == 0;
	}
	stop = true;
	busy.join();
}

} // namespace
