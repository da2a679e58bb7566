/* describe_test.cc - one object in a line, all owners in a table, a report as JSON.
 * SPDX-License-Identifier: MIT */
#include "support.h"

#include <csignal>
#include <cstring>

namespace
{

class Describe : public Quiet
{
protected:
	static std::string describe(const struct tether *tag)
	{
		char line[512];
		size_t length = tether_describe(tag, line, sizeof line);

		EXPECT_LT(length, sizeof line);
		EXPECT_EQ(strlen(line), length);
		EXPECT_EQ(strchr(line, '\n'), nullptr);
		return line;
	}
	static void expect_parts(const std::string &line, const std::vector<std::string> &parts)
	{
		for (const std::string &part : parts)
			EXPECT_NE(line.find(part), std::string::npos) << part << " is missing in: " << line;
	}
};

TEST_F(Describe, NamesTypeStateAndOwner)
{
	Thing thing;
	Thread other;

	other.run([&] {
		tether_self_set_name("the owner");
		tether_bind(&thing.tether, &anywhere_type);
		EXPECT_EQ(tether_set_label(&thing.tether, "number 7"), 0);
	});
	expect_parts(describe(&thing.tether),
	             {"Thing", "\"number 7\"", "bound", "'the owner'", "#" + std::to_string(tether_owner_number(other.owner()))});
	other.end();
	expect_parts(describe(&thing.tether), {"Thing", "bound", "'the owner'", "exited"});
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_ORPHANED);
	expect_parts(describe(&thing.tether), {"Thing", "destroyed"});
}

TEST_F(Describe, EachState)
{
	Thing thing, unbound;
	struct tether zero = {0, 0, 0, 0}, garbage = {7, 0x123456789abcdef0, 1, 2};
	Thread other;

	tether_bind_later(&unbound.tether, &thing_type);
	expect_parts(describe(&unbound.tether), {"Thing", "nobody's"});
	tether_fini(&unbound.tether);
	expect_parts(describe(&unbound.tether), {"destroyed"});
	other.run([&] { tether_bind(&thing.tether, &thing_type); });
	EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
	expect_parts(describe(&thing.tether), {"dropped"});
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	expect_parts(describe(&zero), {"never bound"});
	expect_parts(describe(&garbage), {"not a tag"});
	expect_parts(describe(nullptr), {"no object"});
}

TEST_F(Describe, CutsAndTellsTheWholeLength)
{
	Thing thing;
	char line[512], small[10] = "xxxxxxxxx";

	tether_bind(&thing.tether, &thing_type);
	size_t whole = tether_describe(&thing.tether, line, sizeof line);
	EXPECT_EQ(tether_describe(&thing.tether, small, sizeof small), whole);
	EXPECT_EQ(std::string(small), std::string(line, sizeof small - 1));
	EXPECT_EQ(tether_describe(&thing.tether, nullptr, 0), whole);
	tether_fini(&thing.tether);
}

Thing *handled;
char handled_line[256];

TEST_F(Describe, WorksInASignalHandler)
{
	Thing thing;
	struct sigaction action = {}, old;

	tether_bind(&thing.tether, &thing_type);
	handled = &thing;
	action.sa_handler = [](int) {
		errno = 77;
		tether_describe(&handled->tether, handled_line, sizeof handled_line);
		EXPECT_EQ(errno, 77);
	};
	ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, nullptr);
	expect_parts(handled_line, {"Thing", "bound"});
	tether_fini(&thing.tether);
}

/* Run `work` with standard error in a file; what was written there. */
std::string written_by(const std::function<void()> &work)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	std::string text;
	char buffer[4096];
	size_t got;

	EXPECT_NE(file, nullptr);
	dup2(fileno(file), STDERR_FILENO);
	work();
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	while ((got = fread(buffer, 1, sizeof buffer, file)) > 0)
		text.append(buffer, got);
	fclose(file);
	return text;
}

TEST_F(Describe, DumpShowsAllOwnersAndWhatIsPending)
{
	Thread busy, idle;
	Thing thing[3];

	idle.run([] { tether_self_set_name("idle one"); });
	busy.run([&] {
		tether_self_set_name("busy one");
		for (Thing &one : thing)
			tether_bind(&one.tether, &thing_type);
	});
	for (Thing &one : thing)
		EXPECT_EQ(tether_drop(&one.tether), TETHER_QUEUED);
	std::string table = written_by(tether_dump);

	expect_parts(table, {"tether: owners", "'idle one'", "'busy one'", "3 pending", "0 pending", "never drained"});
	busy.run([] { EXPECT_EQ(tether_drain(0), 3U); });
	idle.end();
	table = written_by(tether_dump);
	expect_parts(table, {"'busy one'", "last destroyed a Thing", "drained"});
	EXPECT_EQ(table.find("'idle one'"), std::string::npos) << table;
}

TEST_F(Describe, DumpOfManyOwners)
{
	const size_t count = scaled(1000) < 20 ? 20 : scaled(1000);
	std::atomic<size_t> arrived{0};
	std::mutex gate;
	std::unique_lock<std::mutex> closed(gate);
	std::vector<std::thread> threads;

	for (size_t i = 0; i < count; i++)
		threads.emplace_back([&, i] {
			tether_self_set_name(("many " + std::to_string(i) + ";").c_str());
			arrived++;
			std::lock_guard<std::mutex> wait(gate);
		});
	while (arrived < count)
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	std::string table = written_by(tether_dump);
	closed.unlock();
	for (std::thread &thread : threads)
		thread.join();
	for (size_t i = 0; i < count; i++)
		EXPECT_NE(table.find("'many " + std::to_string(i) + ";'"), std::string::npos) << i;
}

TEST_F(Describe, OfAnOwnerAlone)
{
	Thread home;
	tether_owner_t owner = home.owner(), ended = 0;
	char text[96], shorter[8];

	home.run([] { tether_self_set_name("loop-1"); });
	std::string expected = "'loop-1' (owner #" + std::to_string(tether_owner_number(owner)) + ")";
	EXPECT_EQ(tether_describe_owner(owner, text, sizeof text), expected.size());
	EXPECT_EQ(text, expected);
	EXPECT_EQ(tether_describe_owner(owner, shorter, sizeof shorter), expected.size());
	EXPECT_EQ(shorter, expected.substr(0, sizeof shorter - 1));
	elsewhere([&] {
		tether_self_set_name("gone");
		ended = tether_self();
	});
	(void)tether_describe_owner(ended, text, sizeof text);
	expect_parts(text, {"'gone' (owner #", "), exited"});
	(void)tether_describe_owner(12345, text, sizeof text);
	EXPECT_STREQ(text, "one that is not known any more");
}

/* JSON. */

class Json : public Quiet
{
protected:
	void SetUp() override
	{
		Quiet::SetUp();
		tether_set_report_callback(keep, this);
	}
	static void keep(const struct tether_report *report, void *context)
	{
		Json *self = static_cast<Json *>(context);
		char small[32];

		self->needed = tether_report_json(report, small, sizeof small);
		self->line.resize(self->needed + 1);
		EXPECT_EQ(tether_report_json(report, &self->line[0], self->line.size()), self->needed);
		self->line.resize(self->needed);
		EXPECT_EQ(std::string(small), self->line.substr(0, sizeof small - 1));
	}

	std::string line;
	size_t needed = 0;
};

TEST_F(Json, HasEachField)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	EXPECT_EQ(tether_set_label(&thing.tether, "quote \" backslash \\ \xc3\xa9 stray \xff"), 0);
	elsewhere([&] { TETHER_CHECK(&thing.tether); });
	EXPECT_EQ(line.find('\n'), std::string::npos);
	EXPECT_EQ(line.front(), '{');
	EXPECT_EQ(line.back(), '}');
	for (const char *part : {"\"tool\":\"tether\"", "\"kind\":\"wrong-thread-use\"", "\"level\":\"warn\"", "\"time\":\"20",
	                         "\"verdict\":\"wrong-thread use: Thing", "\"operation\":\"check\"", "\"type\":\"Thing\"",
	                         "\"label\":\"quote \\\" backslash \\\\ \xc3\xa9 stray \\u00ff\"", "\"thread\":{\"id\":\"0x",
	                         "\"owner\":{\"id\":\"0x", "\"alive\":true", "\"at\":{\"frames\":[{\"address\":\"0x",
	                         "\"bound\":{\"frames\":[", "\"owner_made\":{\"frames\":[", "\"history\":["})
		EXPECT_NE(line.find(part), std::string::npos) << part << " is missing in " << line;
	tether_fini(&thing.tether);
}

TEST_F(Json, OfAViolationWithoutAnObject)
{
	Note note;

	EXPECT_EQ(tether_post(12345, &note.message), -EINVAL);
	EXPECT_NE(line.find("\"kind\":\"bad-owner\""), std::string::npos) << line;
	EXPECT_NE(line.find("\"object\":null"), std::string::npos) << line;
}

} // namespace
