/* symbol_test.cc - the frames in reports: functions, files and lines, and what decodes them elsewhere.
 * SPDX-License-Identifier: MIT
 *
 * HAS_NAMES: the library is built with libbacktrace. A sanitizer's symboliser finds names anyway. */
#include "support.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>

#define NOINLINE __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* After a call that is not to become a jump. */
#define NOT_THE_LAST_ACT() __asm__ volatile("" ::: "memory")

namespace
{

/* ---- What a report tells of a stack ------------------------------------------------------------ */

struct Frame {
	uintptr_t address, offset;
	std::string function, file, module, build_id;
	int line;
	bool is_inlined;

	explicit Frame(const struct tether_frame &frame)
		: address(reinterpret_cast<uintptr_t>(frame.address)), offset(frame.offset), function(text_of(frame.function)),
		  file(text_of(frame.file)), module(text_of(frame.module)), build_id(text_of(frame.build_id)), line(frame.line),
		  is_inlined(frame.is_inlined)
	{
	}
};

void PrintTo(const Frame &frame, std::ostream *out)
{
	*out << frame.function << ' ' << frame.file << ':' << frame.line << (frame.is_inlined ? " inlined " : " ") << frame.module
		 << "+0x" << std::hex << frame.offset << std::dec << ' ' << frame.build_id;
}

struct Stack {
	std::vector<Frame> frames;
	std::string cut;
};

/* The object that everybody uses wrongly; nobody owns it. */
struct Object {
	struct tether tether = {0, 0, 0, 0};
};
const tether_type object_type = TETHER_TYPE(Object, tether, nullptr);

/* Use it, and keep where. */
class Misuse
{
public:
	Misuse() { tether_bind_later(&object_.tether, &object_type); }
	~Misuse() { tether_fini(&object_.tether); }
	Misuse(const Misuse &) = delete;
	Misuse &operator=(const Misuse &) = delete;

	/* Inlined, so that the stack begins with the caller. */
	ALWAYS_INLINE void check() const { (void)TETHER_ENSURE(&object_.tether); }

	/* The stack of the one report that `work` makes. */
	Stack stack_of(const std::function<void()> &work)
	{
		stacks_.clear();
		tether_set_report_callback(hear, this);
		work();
		tether_set_report_callback(nullptr, nullptr);
		EXPECT_EQ(stacks_.size(), 1U);
		stacks_.resize(1);
		return stacks_[0];
	}

private:
	static void hear(const struct tether_report *report, void *context)
	{
		Stack stack;

		for (size_t i = 0; i < report->at.count; i++)
			if (report->at.frames[i].address) /* not what the check says of itself */
				stack.frames.emplace_back(report->at.frames[i]);
		stack.cut = report->at.cut ? report->at.cut : "";
		static_cast<Misuse *>(context)->stacks_.push_back(stack);
	}

	Object object_;
	std::vector<Stack> stacks_;
};

/* A name without its parameters, which not every symboliser gives. */
std::string plain(const std::string &function)
{
	return function.substr(0, function.find('('));
}

std::string base_name(const std::string &path)
{
	return path.substr(path.rfind('/') + 1);
}

/* The first frame of this function. */
const Frame *find(const Stack &stack, const std::string &function)
{
	for (const Frame &frame : stack.frames)
		if (plain(frame.function) == function)
			return &frame;
	return nullptr;
}

/* ---- Functions with known lines ---------------------------------------------------------------- */

} // namespace

/* Of C: their names are the same for every compiler. */
extern "C" {
int line_of_leaf, line_of_inner, line_of_middle, line_of_outer;

NOINLINE static void leaf_function(const Misuse &misuse)
{
	line_of_leaf = __LINE__ + 1;
	misuse.check();
	NOT_THE_LAST_ACT();
}

ALWAYS_INLINE static void inner_function(const Misuse &misuse)
{
	line_of_inner = __LINE__ + 1;
	leaf_function(misuse);
	NOT_THE_LAST_ACT();
}

ALWAYS_INLINE static void middle_function(const Misuse &misuse)
{
	line_of_middle = __LINE__ + 1;
	inner_function(misuse);
	NOT_THE_LAST_ACT();
}

NOINLINE static void outer_function(const Misuse &misuse)
{
	line_of_outer = __LINE__ + 1;
	middle_function(misuse);
	NOT_THE_LAST_ACT();
}
} // extern "C"

namespace
{

class Symbols : public testing::Test
{
protected:
	Misuse misuse;

	void SetUp() override
	{
		tether_set_level(TETHER_WARN);
#if !HAS_NAMES
		if (!UNDER_TSAN && !UNDER_ASAN)
			GTEST_SKIP() << "the library is built without names";
#endif
	}
	void TearDown() override
	{
		tether_set_level(TETHER_LEVEL_DEFAULT);
	}

	void expect_frame(const Stack &stack, const char *function, int line, bool is_inlined) const
	{
		const Frame *frame = find(stack, function);

		ASSERT_NE(frame, nullptr) << function << " in " << testing::PrintToString(stack.frames);
		EXPECT_EQ(base_name(frame->file), "symbol_test.cc");
		EXPECT_EQ(frame->line, line) << function;
		EXPECT_EQ(frame->is_inlined, is_inlined) << function;
	}
};

TEST_F(Symbols, StaticFunctionsAreNamedWithFileAndLine)
{
	Stack stack = misuse.stack_of([&] { outer_function(misuse); });

	expect_frame(stack, "leaf_function", line_of_leaf, false);
	expect_frame(stack, "outer_function", line_of_outer, false);
	EXPECT_EQ(stack.cut, "");
}

TEST_F(Symbols, InlinedFunctionsComeBeforeTheOneTheyAreIn)
{
	Stack stack = misuse.stack_of([&] { outer_function(misuse); });
	const Frame *inner = find(stack, "inner_function"), *middle = find(stack, "middle_function"),
				*outer = find(stack, "outer_function");

	expect_frame(stack, "inner_function", line_of_inner, true);
	expect_frame(stack, "middle_function", line_of_middle, true);
	ASSERT_TRUE(inner && middle && outer);
	EXPECT_EQ(middle, inner + 1);
	EXPECT_EQ(outer, middle + 1);
	EXPECT_EQ(inner->address, outer->address);
	EXPECT_EQ(inner->offset, outer->offset);
}

/* In a namespace, of a class, of a template, in a lambda: as people write it, whatever the parameters. */
struct Server {
	NOINLINE void close(const Misuse &misuse, int) const
	{
		misuse.check();
		NOT_THE_LAST_ACT();
	}
	template <class T>
	NOINLINE void close_all(const Misuse &misuse, const std::vector<T> &all)
	{
		close(misuse, static_cast<int>(all.size()));
		NOT_THE_LAST_ACT();
	}
};

TEST_F(Symbols, CppFunctionsHaveReadableNames)
{
	Stack stack = misuse.stack_of([&] { Server().close_all(misuse, std::vector<std::string>{"a"}); });
	size_t readable = 0;

	for (const Frame &frame : stack.frames) {
		EXPECT_NE(frame.function.substr(0, 2), "_Z") << "mangled";
		readable += frame.function.find("Server::close") != std::string::npos || frame.function == "close" ||
		            frame.function.substr(0, 9) == "close_all";
	}
	EXPECT_EQ(readable, 2U) << testing::PrintToString(stack.frames);
}

/* ---- Modules that come and go ------------------------------------------------------------------ */

struct Module {
	void *handle = dlopen(SYMBOL_MODULE, RTLD_NOW | RTLD_LOCAL);

	~Module()
	{
		if (handle)
			dlclose(handle);
	}
	void call(const Misuse &misuse) const
	{
		auto outer = reinterpret_cast<void (*)(void (*)(void *), void *)>(dlsym(handle, "module_outer"));

		ASSERT_NE(outer, nullptr);
		outer([](void *argument) { leaf_function(*static_cast<const Misuse *>(argument)); },
		      const_cast<void *>(static_cast<const void *>(&misuse)));
	}
};

/* The frames of the module; returns where it lies. */
uintptr_t expect_named(const Stack &stack)
{
	uintptr_t base = 0;

	for (auto [function, line] : std::vector<std::pair<const char *, int>>{{"module_inner", 7}, {"module_outer", 13}}) {
		const Frame *frame = find(stack, function);

		EXPECT_NE(frame, nullptr) << function << " in " << testing::PrintToString(stack.frames);
		if (!frame)
			continue;
		EXPECT_EQ(base_name(frame->file), "symbol_module.c");
		EXPECT_EQ(frame->line, line);
		EXPECT_EQ(base_name(frame->module), base_name(SYMBOL_MODULE));
		base = frame->address - 1 - frame->offset;
	}
	return base;
}

TEST_F(Symbols, ModulesLoadedAfterTheFirstReportAreNamed)
{
	uintptr_t base;

	EXPECT_NE(find(misuse.stack_of([&] { leaf_function(misuse); }), "leaf_function"), nullptr);
	{
		Module module;

		ASSERT_NE(module.handle, nullptr) << dlerror();
		base = expect_named(misuse.stack_of([&] { module.call(misuse); }));
	}
	/* Something else takes its place, so that next time it lies elsewhere. */
	void *place = mmap(reinterpret_cast<void *>(base), 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_NE(place, MAP_FAILED);
	Module module;
	ASSERT_NE(module.handle, nullptr) << dlerror();
	EXPECT_NE(expect_named(misuse.stack_of([&] { module.call(misuse); })), base);
	munmap(place, 1);
}

/* ---- Decoding elsewhere ------------------------------------------------------------------------ */

/* What a command writes; "" if it fails. */
std::string output_of(const std::string &command)
{
	std::string output;
	std::array<char, 4096> buffer;
	FILE *pipe = popen((command + " 2>/dev/null").c_str(), "r");

	while (pipe && fgets(buffer.data(), buffer.size(), pipe))
		output += buffer.data();
	return pipe && pclose(pipe) == 0 ? output : "";
}

std::string in_hexadecimal(uintptr_t number)
{
	std::ostringstream text;

	text << std::hex << number;
	return text.str();
}

/* The lines of the frames at an offset; empty where addr2line cannot read the file. The names that it gives to inlined
 * functions are not those of the functions. */
std::vector<int> addr2line(const Frame &frame)
{
	std::istringstream places(output_of("addr2line -i -e '" + frame.module + "' 0x" + in_hexadecimal(frame.offset)));
	std::vector<int> lines;
	std::string place;

	while (std::getline(places, place))
		lines.push_back(atoi(place.c_str() + place.rfind(':') + 1));
	return lines;
}

class Decoded : public testing::Test
{
protected:
	Misuse misuse;

	void SetUp() override { tether_set_level(TETHER_WARN); }
	void TearDown() override { tether_set_level(TETHER_LEVEL_DEFAULT); }
};

TEST_F(Decoded, OffsetsAreWhatAddr2lineWants)
{
	Stack stack = misuse.stack_of([&] { outer_function(misuse); });

	ASSERT_FALSE(stack.frames.empty());
	auto leaf = stack.frames.begin();
	auto outer = std::find_if(leaf, stack.frames.end(), [&](const Frame &frame) { return frame.address != leaf->address; });
	ASSERT_NE(outer, stack.frames.end());
	std::vector<int> lines = addr2line(*outer);

	if (lines.empty())
		GTEST_SKIP() << "no addr2line that reads " << outer->module;
	EXPECT_EQ(lines, (std::vector<int>{line_of_inner, line_of_middle, line_of_outer}));
}

TEST_F(Decoded, BuildIdsAreThoseOfTheFiles)
{
	Stack stack = misuse.stack_of([&] { leaf_function(misuse); });
	size_t compared = 0;

	for (const Frame &frame : stack.frames) {
		std::string notes = output_of("readelf -n '" + frame.module + "'");
		size_t at = notes.find("Build ID: ");

		if (at == std::string::npos)
			continue;
		EXPECT_EQ(notes.substr(at + 10, notes.find('\n', at) - at - 10), frame.build_id) << frame.module;
		compared++;
	}
	if (compared == 0)
		GTEST_SKIP() << "no readelf, or no build ids";
}

TEST_F(Decoded, TheProgramIsNamedByItsFile)
{
	Stack stack = misuse.stack_of([&] { leaf_function(misuse); });
	std::array<char, PATH_MAX> self = {};

	ASSERT_GT(readlink("/proc/self/exe", self.data(), self.size() - 1), 0);
	EXPECT_EQ(stack.frames.at(0).module, self.data());
}

TEST_F(Decoded, FramesHaveNoNamesWhereTheOptionSaysSo)
{
	ASSERT_EQ(tether_set_option("symbols", "0"), 0);
	Stack stack = misuse.stack_of([&] { outer_function(misuse); });
	ASSERT_EQ(tether_set_option("symbols", "1"), 0);
	ASSERT_FALSE(stack.frames.empty());
	for (const Frame &frame : stack.frames) {
		EXPECT_EQ(frame.function, "(null)");
		EXPECT_EQ(frame.file, "(null)");
		EXPECT_NE(frame.module, "(null)");
	}
	EXPECT_EQ(stack.cut, "");
}

} // namespace
