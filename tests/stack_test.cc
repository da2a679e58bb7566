/* stack_test.cc - the stacks in reports: what was called is there, in order, and what is missing is said.
 * SPDX-License-Identifier: MIT
 *
 * Functions note where they return to, so what a stack should hold is known without any symbols. This file
 * is compiled with frame pointers; code without them is written in assembly below. */
#include "support.h"

#include <csignal>
#include <cstring>
#include <memory>
#include <ucontext.h>

namespace
{

#define NOINLINE __attribute__((noinline))
/* After a call that is not to become a jump. */
#define NOT_THE_LAST_ACT() __asm__ volatile("" ::: "memory")

using Addresses = std::vector<const void *>;

/* A stack, kept beyond its report. */
struct Told {
	Addresses addresses;
	std::vector<std::string> functions; /* of all frames, inlined ones too */
	std::string cut;

	explicit Told(const struct tether_stack &stack) : cut(stack.cut ? stack.cut : "")
	{
		for (size_t i = 0; i < stack.count; i++) {
			functions.push_back(text_of(stack.frames[i].function));
			if (!stack.frames[i].is_inlined)
				addresses.push_back(stack.frames[i].address);
		}
	}
};

struct Story {
	const void *object;
	Told at, bound, owner_made;
	uint64_t bound_ns;
};

/* What reports tell, while it lives. */
class Stories
{
public:
	Stories() { tether_set_report_callback(hear, this); }
	~Stories() { tether_set_report_callback(nullptr, nullptr); }
	Stories(const Stories &) = delete;
	Stories &operator=(const Stories &) = delete;

	std::vector<Story> all;

private:
	static void hear(const struct tether_report *r, void *context)
	{
		Stories *self = static_cast<Stories *>(context);

		self->all.push_back({r->object, Told(r->at), Told(r->bound), Told(r->owner_made), r->bound_ns});
	}
};

struct Object {
	struct tether tether = {0, 0, 0, 0};
};

const tether_type object_type = TETHER_TYPE(Object, tether, nullptr);

/* The report of an object that was bound elsewhere. */
Story story_of(Object &object)
{
	Stories stories;

	(void)TETHER_ENSURE(&object.tether);
	EXPECT_EQ(stories.all.size(), 1U);
	return stories.all.at(0);
}

/* On a thread whose first function is one of ours: the standard library's have no frame pointers. */
void *start_thread(void *work)
{
	(*static_cast<std::function<void()> *>(work))();
	NOT_THE_LAST_ACT();
	return nullptr;
}

void on_a_thread(std::function<void()> work)
{
	pthread_t thread;

	ASSERT_EQ(pthread_create(&thread, nullptr, start_thread, &work), 0);
	pthread_join(thread, nullptr);
}

/* Bind, and note where the binder returns to. What tether_bind() returns to lies in the binder itself. */
NOINLINE void bind_here(Object &object, Addresses &callers)
{
	callers.push_back(__builtin_return_address(0));
	tether_bind(&object.tether, &object_type);
	NOT_THE_LAST_ACT();
}

NOINLINE void bind_below(Object &object, Addresses &callers, int levels)
{
	if (levels == 0)
		bind_here(object, callers);
	else
		bind_below(object, callers, levels - 1);
	callers.push_back(__builtin_return_address(0));
}

/* From `first` on the stack goes on like this. */
void expect_callers(const Told &stack, const Addresses &callers, size_t first = 1)
{
	ASSERT_GE(stack.addresses.size(), first + callers.size());
	for (size_t i = 0; i < callers.size(); i++)
		EXPECT_EQ(stack.addresses[first + i], callers[i]) << "frame " << first + i;
}

class Stack : public testing::Test
{
protected:
	void SetUp() override
	{
		tether_set_level(TETHER_WARN);
		set("bind_stacks", "fast");
		set("stack_depth", "16");
	}
	void TearDown() override
	{
		set("bind_stacks", "off");
		set("stack_depth", "16");
		tether_set_level(TETHER_LEVEL_DEFAULT);
	}
	static void set(const char *option, const char *value) { EXPECT_EQ(tether_set_option(option, value), 0); }
};

TEST_F(Stack, OfABindHasEveryCallerInOrder)
{
	Object object;
	Addresses callers;

	on_a_thread([&] { bind_below(object, callers, 3); });
	Story story = story_of(object);
	expect_callers(story.bound, callers);
	EXPECT_EQ(story.bound.cut, "");
	EXPECT_NE(story.bound_ns, UINT64_MAX);
}

TEST_F(Stack, OfAClaimHasEveryCallerInOrder)
{
	Object object;
	Addresses callers;

	tether_bind_later(&object.tether, &object_type);
	on_a_thread([&] {
		callers.push_back(nullptr); /* whatever calls this */
		EXPECT_TRUE(tether_claim(&object.tether));
	});
	Story story = story_of(object);
	EXPECT_GE(story.bound.addresses.size(), 2U);
	EXPECT_EQ(story.bound.cut, "");
	EXPECT_NE(story.bound_ns, UINT64_MAX);
}

TEST_F(Stack, NamesFunctionsWhereSymbolsAreBuiltIn)
{
	Object object;
	Addresses callers;

	on_a_thread([&] { bind_below(object, callers, 0); });
	Story story = story_of(object);
	if (story.bound.functions.at(0) == "(null)")
		GTEST_SKIP() << "no names in this build";
	EXPECT_NE(story.bound.functions.at(0).find("bind_here"), std::string::npos) << story.bound.functions.at(0);
	EXPECT_NE(story.bound.functions.at(1).find("bind_below"), std::string::npos) << story.bound.functions.at(1);
}

TEST_F(Stack, OfTheCheckBeginsWithTheFunctionThatChecks)
{
	Object object;
	Addresses callers;

	on_a_thread([&] { bind_here(object, callers); });
	Stories stories;
	on_a_thread([&] { (void)TETHER_ENSURE(&object.tether); });
	ASSERT_EQ(stories.all.size(), 1U);
	EXPECT_GE(stories.all[0].at.addresses.size(), 2U);
	EXPECT_EQ(stories.all[0].at.cut, "");
}

TEST_F(Stack, OfAnOwnerIsWhereItWasFirstSeen)
{
	Object object;
	Addresses first, later;

	on_a_thread([&] {
		Object another;

		bind_below(another, first, 1);
		tether_fini(&another.tether);
		bind_below(object, later, 3);
		/* While the owner lives: what is known of one that has gone is less. */
		on_a_thread([&] {
			Story story = story_of(object);

			expect_callers(story.owner_made, first);
			expect_callers(story.bound, later);
		});
	});
}

TEST_F(Stack, DeeperThanAskedForIsCutAndSaysSo)
{
	Object object;
	Addresses callers;

	set("stack_depth", "8");
	on_a_thread([&] { bind_below(object, callers, 30); });
	Story story = story_of(object);
	callers.resize(7);
	expect_callers(story.bound, callers);
	EXPECT_EQ(story.bound.addresses.size(), 8U);
	EXPECT_NE(story.bound.cut.find("stack_depth"), std::string::npos) << story.bound.cut;
}

TEST_F(Stack, SwitchedOffLeavesTheCallerWithoutATime)
{
	Object object;
	Addresses callers;

	set("bind_stacks", "off");
	on_a_thread([&] { bind_below(object, callers, 3); });
	Story story = story_of(object);
	EXPECT_EQ(story.bound.addresses.size(), 1U);
	EXPECT_NE(story.bound.cut.find("bind_stacks"), std::string::npos) << story.bound.cut;
	EXPECT_EQ(story.bound_ns, UINT64_MAX);
}

/* ---- Code without frame pointers ------------------------------------------------------------- */

/* Calls `fn(argument)` with anything in the register that others take for the frame pointer; the unwind
 * tables know better. */
extern "C" void call_with_frame_pointer(void (*fn)(void *argument), void *argument, const void *frame_pointer);
#if defined(__x86_64__)
__asm__(".text\n"
        ".type call_with_frame_pointer, @function\n"
        "call_with_frame_pointer:\n"
        "	.cfi_startproc\n"
        "	push %rbp\n"
        "	.cfi_def_cfa_offset 16\n"
        "	.cfi_offset %rbp, -16\n"
        "	mov %rdx, %rbp\n"
        "	mov %rdi, %rax\n"
        "	mov %rsi, %rdi\n"
        "	call *%rax\n"
        "	pop %rbp\n"
        "	.cfi_def_cfa_offset 8\n"
        "	ret\n"
        "	.cfi_endproc\n"
        ".size call_with_frame_pointer, . - call_with_frame_pointer\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".type call_with_frame_pointer, %function\n"
        "call_with_frame_pointer:\n"
        "	.cfi_startproc\n"
        "	stp x29, x30, [sp, #-16]!\n"
        "	.cfi_def_cfa_offset 16\n"
        "	.cfi_offset x29, -16\n"
        "	.cfi_offset x30, -8\n"
        "	mov x29, x2\n"
        "	mov x9, x0\n"
        "	mov x0, x1\n"
        "	blr x9\n"
        "	ldp x29, x30, [sp], #16\n"
        "	ret\n"
        "	.cfi_endproc\n"
        ".size call_with_frame_pointer, . - call_with_frame_pointer\n");
#endif

/* Calls `fn(argument)` with a frame, and without an entry in the unwind tables, as generated code may. */
extern "C" void call_without_tables(void (*fn)(void *argument), void *argument);
#if defined(__x86_64__)
__asm__(".text\n"
        ".type call_without_tables, @function\n"
        "call_without_tables:\n"
        "	push %rbp\n"
        "	mov %rsp, %rbp\n"
        "	mov %rdi, %rax\n"
        "	mov %rsi, %rdi\n"
        "	call *%rax\n"
        "	pop %rbp\n"
        "	ret\n"
        ".size call_without_tables, . - call_without_tables\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".type call_without_tables, %function\n"
        "call_without_tables:\n"
        "	stp x29, x30, [sp, #-16]!\n"
        "	mov x29, sp\n"
        "	mov x9, x0\n"
        "	mov x0, x1\n"
        "	blr x9\n"
        "	ldp x29, x30, [sp], #16\n"
        "	ret\n"
        ".size call_without_tables, . - call_without_tables\n");
#endif

struct Bind {
	Object &object;
	Addresses &callers;
};

void bind_as_told(void *argument)
{
	Bind *bind = static_cast<Bind *>(argument);

	bind_here(bind->object, bind->callers);
	NOT_THE_LAST_ACT();
}

NOINLINE void bind_through(Object &object, Addresses &callers, const void *frame_pointer)
{
	Bind bind = {object, callers};

	call_with_frame_pointer(bind_as_told, &bind, frame_pointer);
	callers.push_back(__builtin_return_address(0));
}

/* What was read is true, and the thread's end was not reached. */
void expect_broken(Object &object, const Addresses &callers)
{
	Story story = story_of(object);

	/* The binder, its caller, the code without a frame; there the walk may lose its way. */
	ASSERT_GE(story.bound.addresses.size(), 2U);
	EXPECT_EQ(story.bound.addresses[1], callers[0]);
	EXPECT_LE(story.bound.addresses.size(), 3U);
	EXPECT_NE(story.bound.cut.find("frame pointers"), std::string::npos) << story.bound.cut;
}

TEST_F(Stack, LosesItsWayInCodeWithoutFramePointersAndSaysSo)
{
	const uintptr_t nowhere[] = {0, 1, 8, 4096, UINTPTR_MAX, UINTPTR_MAX - 7, UINTPTR_MAX - 15, UINTPTR_MAX / 2 + 1};

	for (uintptr_t garbage : nowhere) {
		Object object;
		Addresses callers;

		on_a_thread([&] { bind_through(object, callers, reinterpret_cast<const void *>(garbage)); });
		expect_broken(object, callers);
	}
}

TEST_F(Stack, IsNotMisledByWhatLooksLikeAFrame)
{
	Object object;
	Addresses callers;

	on_a_thread([&] {
		/* Above the frames that follow, within the stack, and with an address of real code. */
		const volatile uintptr_t frames[] = {reinterpret_cast<uintptr_t>(&frames[2]), reinterpret_cast<uintptr_t>(&abort) + 4, 0,
		                                     reinterpret_cast<uintptr_t>(&abort) + 8};

		bind_through(object, callers, const_cast<const uintptr_t *>(&frames[0]));
		NOT_THE_LAST_ACT();
	});
	expect_broken(object, callers);
}

/* What is read there differs each time, and is kept once. */
TEST_F(Stack, ThatHoldsGarbageIsKeptOnceAllTheSame)
{
	Object first, second;
	Addresses callers;

	on_a_thread([&] {
		uintptr_t frame[] = {0, reinterpret_cast<uintptr_t>(&frame) * 2};

		for (Object *object : {&first, &second}) {
			bind_through(*object, callers, frame);
			frame[1]++;
		}
	});
	expect_broken(first, callers);
	/* The time is in the lower 40 bits. */
	EXPECT_EQ(first.tether.next_ >> 40, second.tether.next_ >> 40);
}

TEST_F(Stack, OfUnalignedFramesEndsThere)
{
	Object object;
	Addresses callers;

	on_a_thread([&] {
		uintptr_t words[8] = {};

		for (size_t offset = 1; offset < sizeof(uintptr_t); offset++)
			bind_through(object, callers, reinterpret_cast<char *>(words) + offset);
		NOT_THE_LAST_ACT();
	});
	expect_broken(object, callers);
}

/* Every word up to the stack's end, where a frame would reach beyond it. */
TEST_F(Stack, EndsWithTheThreadsStack)
{
	Object object;
	Addresses callers;

	on_a_thread([&] {
		pthread_attr_t attributes;
		void *low;
		size_t bytes;

		ASSERT_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
		pthread_attr_getstack(&attributes, &low, &bytes);
		pthread_attr_destroy(&attributes);
		for (size_t back = 0; back <= 64; back += 8) {
			callers.clear();
			bind_through(object, callers, static_cast<char *>(low) + bytes - back);
		}
	});
	expect_broken(object, callers);
}

TEST_F(Stack, ByTheUnwindTablesFindsItsWay)
{
	Object object;
	Addresses callers;

	set("bind_stacks", "full");
	on_a_thread([&] { bind_through(object, callers, nullptr); });
	Story story = story_of(object);
	ASSERT_GE(story.bound.addresses.size(), 5U);
	EXPECT_EQ(story.bound.addresses[1], callers[0]); /* into bind_as_told */
	EXPECT_EQ(story.bound.addresses[4], callers[1]); /* after call_with_frame_pointer and bind_through */
	EXPECT_EQ(story.bound.cut, "");
	EXPECT_NE(story.bound_ns, UINT64_MAX);
}

NOINLINE void bind_without_tables(Object &object, Addresses &callers)
{
	Bind bind = {object, callers};

	call_without_tables(bind_as_told, &bind);
	callers.push_back(__builtin_return_address(0));
}

TEST_F(Stack, OfCodeWithoutUnwindTablesIsWalkedThroughOrEndsThere)
{
	Object walked, unwound;
	Addresses callers;

	on_a_thread([&] { bind_without_tables(walked, callers); });
	Story story = story_of(walked);
	ASSERT_GE(story.bound.addresses.size(), 5U);
	EXPECT_EQ(story.bound.addresses[1], callers[0]); /* into bind_as_told */
	EXPECT_EQ(story.bound.addresses[4], callers[1]); /* after call_without_tables and bind_without_tables */
	EXPECT_NE(story.bound.cut.find("unwind tables"), std::string::npos) << story.bound.cut;

	set("bind_stacks", "full");
	on_a_thread([&] { bind_without_tables(unwound, callers); });
	story = story_of(unwound);
	EXPECT_EQ(story.bound.addresses.size(), 3U);
	EXPECT_NE(story.bound.cut.find("unwind tables"), std::string::npos) << story.bound.cut;
}

TEST_F(Stack, ByTheUnwindTablesIsCutAsDeepAsTheOther)
{
	Object object;
	Addresses callers;

	set("bind_stacks", "full");
	set("stack_depth", "4");
	on_a_thread([&] { bind_below(object, callers, 8); });
	Story story = story_of(object);
	EXPECT_EQ(story.bound.addresses.size(), 4U);
	EXPECT_NE(story.bound.cut.find("stack_depth"), std::string::npos) << story.bound.cut;
}

/* The same entries, once because there are no more, once because no more are kept. */
TEST_F(Stack, SaysWhyItEndsForEach)
{
	Object broken, cut;
	Addresses callers;

	set("stack_depth", "3");
	on_a_thread([&] {
		for (Object *object : {&broken, &cut})
			bind_through(*object, callers, object == &cut ? __builtin_frame_address(0) : nullptr);
		NOT_THE_LAST_ACT();
	});
	Story of_broken = story_of(broken), of_cut = story_of(cut);
	EXPECT_EQ(of_broken.bound.addresses, of_cut.bound.addresses);
	EXPECT_NE(of_broken.bound.cut.find("frame pointers"), std::string::npos) << of_broken.bound.cut;
	EXPECT_NE(of_cut.bound.cut.find("stack_depth"), std::string::npos) << of_cut.bound.cut;
}

/* ---- Other stacks ----------------------------------------------------------------------------- */

struct Fiber {
	ucontext_t here, there;
	std::vector<char> stack = std::vector<char>(256 * 1024);
	std::function<void()> work;

	explicit Fiber(std::function<void()> what) : work(std::move(what)) {}
	void run()
	{
		uintptr_t self = reinterpret_cast<uintptr_t>(this);

		ASSERT_EQ(getcontext(&there), 0);
		there.uc_stack.ss_sp = stack.data();
		there.uc_stack.ss_size = stack.size();
		there.uc_link = &here;
		/* makecontext() passes ints. */
		makecontext(&there, reinterpret_cast<void (*)()>(start), 2, static_cast<unsigned>(self >> 32),
		            static_cast<unsigned>(self));
		ASSERT_EQ(swapcontext(&here, &there), 0);
	}
	static void start(unsigned high, unsigned low)
	{
		reinterpret_cast<Fiber *>(static_cast<uintptr_t>(high) << 32 | low)->work();
		NOT_THE_LAST_ACT();
	}
};

TEST_F(Stack, OfAFiberThatDoesNotSayWhereItsStackLiesIsTheCaller)
{
	Object object, another;
	Addresses callers, later;

	on_a_thread([&] {
		Fiber fiber([&] { bind_below(object, callers, 3); });

		fiber.run();
		bind_below(another, later, 3); /* on the thread's own again */
	});
	Story story = story_of(object);
	EXPECT_EQ(story.bound.addresses.size(), 1U);
	EXPECT_NE(story.bound.cut.find("tether_self_set_stack"), std::string::npos) << story.bound.cut;
	story = story_of(another);
	expect_callers(story.bound, later);
	EXPECT_EQ(story.bound.cut, "");
}

TEST_F(Stack, OfAFiberThatSaysWhereItsStackLiesIsWhole)
{
	Object object, another;
	Addresses callers, later;

	on_a_thread([&] {
		Fiber fiber([&] {
			tether_self_set_stack(fiber.stack.data(), fiber.stack.size());
			bind_below(object, callers, 3);
			tether_self_set_stack(nullptr, 0);
		});

		fiber.run();
		bind_below(another, later, 3);
	});
	Story story = story_of(object);
	expect_callers(story.bound, callers);
	EXPECT_EQ(story.bound.cut, "");
	story = story_of(another);
	expect_callers(story.bound, later);
	EXPECT_EQ(story.bound.cut, "");
}

TEST_F(Stack, BoundsWithNothingInThemLeaveTheCaller)
{
	alignas(16) char memory[8];
	const std::vector<std::pair<void *, size_t>> bounds = {{nullptr, 1},       {nullptr, 8},
	                                                       {memory, 0},        {memory, sizeof memory},
	                                                       {memory, SIZE_MAX}, {reinterpret_cast<void *>(-16), 16}};

	for (auto [low, bytes] : bounds) {
		Object object;
		Addresses callers;

		on_a_thread([&, low = low, bytes = bytes] {
			tether_self_set_stack(low, bytes);
			bind_below(object, callers, 3);
		});
		Story story = story_of(object);
		EXPECT_NE(story.bound.addresses.at(0), nullptr);
	}
}

/* The main thread's stack is found another way than the others'. */
TEST_F(Stack, OfTheMainThreadGoesOnAsWell)
{
	Object object;
	Addresses callers;

	bind_below(object, callers, 3);
	on_a_thread([&] { expect_callers(story_of(object).bound, callers); });
}

TEST_F(Stack, OfAThreadThatForkedGoesOnInTheChild)
{
	if (UNDER_TSAN)
		GTEST_SKIP() << "ThreadSanitizer allows no threads after a fork";
	if (RUNNING_ON_VALGRIND)
		GTEST_SKIP() << "in the child, valgrind takes the parent's threads for leaks";
	on_a_thread([] {
		pid_t child = fork();

		if (child == 0) {
			Object object;
			Addresses callers;

			bind_below(object, callers, 3);
			on_a_thread([&] { expect_callers(story_of(object).bound, callers); });
			_exit(HasFailure() ? 1 : 0);
		}
		int status = -1;
		ASSERT_EQ(waitpid(child, &status, 0), child);
		EXPECT_EQ(status, 0);
	});
}

/* A handler may not allocate, nor may the callback in it. */
struct {
	Object object;
	const void *bound[16];
	size_t reports, at_count, bound_count;
} in_handler;

void hear_in_handler(const struct tether_report *r, void *)
{
	in_handler.reports++;
	in_handler.at_count = r->at.count;
	for (size_t i = 0; i < r->bound.count && in_handler.bound_count < 16; i++)
		if (!r->bound.frames[i].is_inlined)
			in_handler.bound[in_handler.bound_count++] = r->bound.frames[i].address;
}

void check_in_handler(int)
{
	(void)TETHER_ENSURE(&in_handler.object.tether);
	NOT_THE_LAST_ACT();
}

TEST_F(Stack, OfACheckInAHandlerOnAnotherStackGoesBackToWhatItInterrupted)
{
	Addresses callers;
	std::vector<char> memory(512 * 1024);
	stack_t stack = {}, before;
	struct sigaction action = {}, action_before;

	on_a_thread([&] { bind_below(in_handler.object, callers, 3); });
	stack.ss_sp = memory.data();
	stack.ss_size = memory.size();
	action.sa_handler = check_in_handler;
	action.sa_flags = SA_ONSTACK;
	ASSERT_EQ(sigaltstack(&stack, &before), 0);
	ASSERT_EQ(sigaction(SIGUSR1, &action, &action_before), 0);
	(void)tether_self();
	tether_set_report_callback(hear_in_handler, nullptr);
	raise(SIGUSR1);
	tether_set_report_callback(nullptr, nullptr);
	sigaction(SIGUSR1, &action_before, nullptr);
	sigaltstack(&before, nullptr);
	EXPECT_EQ(in_handler.reports, 1U);
	EXPECT_GE(in_handler.at_count, 3U);
	ASSERT_GT(in_handler.bound_count, callers.size());
	for (size_t i = 0; i < callers.size(); i++)
		EXPECT_EQ(in_handler.bound[1 + i], callers[i]);
}

/* ---- Many ------------------------------------------------------------------------------------- */

/* A path through the program for every number: left or right, bit by bit. */
NOINLINE void bind_on_path(Object &object, Addresses &callers, unsigned path, int bits);

NOINLINE void go_left(Object &object, Addresses &callers, unsigned path, int bits)
{
	bind_on_path(object, callers, path, bits);
	callers.push_back(__builtin_return_address(0));
}

NOINLINE void go_right(Object &object, Addresses &callers, unsigned path, int bits)
{
	bind_on_path(object, callers, path, bits);
	callers.push_back(__builtin_return_address(0));
}

NOINLINE void bind_on_path(Object &object, Addresses &callers, unsigned path, int bits)
{
	if (bits == 0)
		bind_here(object, callers);
	else if (path % 2)
		go_left(object, callers, path / 2, bits - 1);
	else
		go_right(object, callers, path / 2, bits - 1);
	callers.push_back(__builtin_return_address(0));
}

/* In each round all threads add a stack at once, each its own; and then its neighbour's, which may be
 * there or not. */
TEST_F(Stack, OfManyPathsOnManyThreadsAreAllKept)
{
	constexpr size_t threads = 8;
	constexpr int bits = 12;
	const size_t rounds = std::max<size_t>(scaled((1 << bits) / threads), 16);
	struct Bound {
		Object object;
		Addresses callers;
	};
	std::vector<std::vector<Bound>> bound(threads);
	std::vector<std::thread> running;
	std::atomic<size_t> arrived{0};

	set("stack_depth", "64");
	for (size_t t = 0; t < threads; t++) {
		bound[t] = std::vector<Bound>(2 * rounds);
		running.emplace_back([&, t] {
			for (size_t i = 0; i < 2 * rounds; i++) {
				size_t path = i / 2 * threads + (t + i % 2) % threads;

				if (i % 2 == 0)
					meet(arrived, threads * (i / 2 + 1));
				bind_on_path(bound[t][i].object, bound[t][i].callers, static_cast<unsigned>(path), bits);
			}
		});
	}
	for (std::thread &thread : running)
		thread.join();
	for (std::vector<Bound> &all : bound)
		for (Bound &one : all)
			ASSERT_NO_FATAL_FAILURE(expect_callers(story_of(one.object).bound, one.callers));
}

/* As many stacks as never were: then only callers are kept, what was kept stays, and it is told. */
void fill_the_depot()
{
	constexpr int bits = 17;
	constexpr unsigned paths = 1U << bits;
	Object first, last, again, others;
	Addresses callers;
	/* Planned, so that one call serves all and no compiler makes more of it: another call is another path. */
	std::vector<std::pair<Object *, unsigned>> plan = {{&first, 0}};

	for (unsigned path = 1; path < paths - 1; path++)
		plan.emplace_back(&others, path);
	plan.emplace_back(&last, paths - 1);
	plan.emplace_back(&again, 0);
	on_a_thread([&] {
		for (auto [object, path] : plan) {
			callers.clear();
			bind_on_path(*object, callers, path, bits);
		}
	});
	expect_callers(story_of(first).bound, callers);
	expect_callers(story_of(again).bound, callers);
	Story story = story_of(last);
	EXPECT_EQ(story.bound.addresses.size(), 1U);
	EXPECT_NE(story.bound.cut.find("room"), std::string::npos) << story.bound.cut;
	exit(testing::Test::HasFailure() ? 1 : 0);
}

TEST_F(Stack, ThatFindsNoRoomIsTheCallerAndSaysSo)
{
	if (scaled(100) < 100)
		GTEST_SKIP() << "takes too long under this tool";
	GTEST_FLAG_SET(death_test_style, "threadsafe");
	set("stack_depth", "64");
	EXPECT_EXIT(fill_the_depot(), testing::ExitedWithCode(0), "");
}

/* The words of a tag that something wrote over are no stacks. */
TEST_F(Stack, IsNotReadFromGarbage)
{
	Object object;
	Addresses callers;
	char description[512];

	on_a_thread([&] { bind_here(object, callers); });
	Story story = story_of(object);
	uint64_t word = object.tether.next_, in_depot = UINT64_C(1) << 63;
	ASSERT_TRUE(word & in_depot);
	const uint64_t garbage[] = {0,
	                            in_depot | UINT64_C(0x7fffff) << 40,  /* a place beyond the last */
	                            word + (UINT64_C(1) << 40),           /* within a stack */
	                            word | UINT64_C(0xff00000000),        /* a time to come */
	                            reinterpret_cast<uintptr_t>(&object), /* an address, not of code */
	                            UINT64_MAX >> 1};
	for (uint64_t wrong : garbage) {
		object.tether.next_ = wrong;
		EXPECT_GT(tether_describe(&object.tether, description, sizeof description), 0U);
		Story told = story_of(object);
		EXPECT_EQ(told.bound.addresses.size(), 0U) << std::hex << wrong;
		EXPECT_EQ(told.bound_ns, UINT64_MAX);
	}
	object.tether.next_ = word;
	EXPECT_EQ(story_of(object).bound.addresses, story.bound.addresses);
}

} // namespace
