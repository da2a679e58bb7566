/* move.cc - what does it cost when an object changes hands, and to check what is not simply one's own?
 * SPDX-License-Identifier: MIT
 *
 * CPU time of one thread, for objects that its nearest cache holds. Both sides of a move are this thread, inside two owners
 * in turn where it takes two; so these are the costs of the steps, without those of lines that travel between cores (for
 * them see drop.cc and handoff.cc). */
#include <benchmark/benchmark.h>
#include <tether/tether.h>

#include <cstdlib>

struct object {
	tether tag;
	tether_transfer transfer;
	uint64_t value;
};

struct parent {
	tether_group group;
	tether_transfer transfer;
};

static void nothing(void *)
{
}
static const tether_type object_type = TETHER_TYPE(object, tag, nothing);
static const tether_type parent_type = TETHER_TYPE_RULES(parent, group.tag, nothing, TETHER_GROUP);

static object objects[256];
static parent root, middle;
static tether_owner_t borrower;

static void arrived(tether_transfer *, tether *, enum tether_arrival)
{
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ---- Checks ---------------------------------------------------------------------------------- */

/* One function for all, so that they differ by nothing but the object. */
static __attribute__((noinline)) void check(const object *one)
{
	TETHER_CHECK(&one->tag);
	benchmark::ClobberMemory();
}

static void time_checks(benchmark::State &state)
{
	while (state.KeepRunningBatch(std::size(objects)))
		for (object &each : objects)
			check(&each);
}

static void bind_all()
{
	for (object &each : objects)
		tether_bind(&each.tag, &object_type);
}

static void end_all()
{
	for (object &each : objects)
		tether_fini(&each.tag);
}

static void check_own(benchmark::State &state)
{
	bind_all();
	time_checks(state);
	end_all();
}

/* As every thread but the one that shared them finds it: the owner itself passes as before. */
static void check_shared(benchmark::State &state)
{
	bind_all();
	for (object &each : objects)
		must(tether_share(&each.tag) == 0);
	tether_owner_t previous = tether_owner_enter(borrower);
	time_checks(state);
	tether_owner_leave(previous);
	end_all();
}

static void check_children(benchmark::State &state, tether_group *of)
{
	tether_bind_group(&root.group, &parent_type);
	tether_bind_group(&middle.group, &parent_type);
	must(tether_bind_to(&middle.group.tag, &parent_type, &root.group) == 0);
	for (object &each : objects)
		must(tether_bind_to(&each.tag, &object_type, of) == 0);
	time_checks(state);
	end_all();
	tether_fini(&middle.group.tag);
	tether_fini(&root.group.tag);
}

static void check_child(benchmark::State &state)
{
	check_children(state, &root.group);
}

static void check_grandchild(benchmark::State &state)
{
	check_children(state, &middle.group);
}

/* ---- Moves ----------------------------------------------------------------------------------- */

static void hand_off(benchmark::State &state)
{
	tether_owner_t self = tether_self();

	bind_all();
	for (object &each : objects)
		tether_transfer_init(&each.transfer, arrived);
	while (state.KeepRunningBatch(std::size(objects))) {
		for (object &each : objects)
			tether_hand_off(&each.tag, self, &each.transfer);
		tether_drain(0);
	}
	end_all();
}

/* The same path, with nothing but a function at its end. */
static void post(benchmark::State &state)
{
	static tether_message messages[std::size(objects)];
	tether_owner_t self = tether_self();

	for (tether_message &each : messages)
		tether_message_init(&each, [](tether_message *, enum tether_fate) {});
	while (state.KeepRunningBatch(std::size(objects))) {
		for (tether_message &each : messages)
			tether_post(self, &each);
		tether_drain(0);
	}
}

/* A parent with 256 children, beside one without. */
static void hand_off_group(benchmark::State &state, size_t children)
{
	tether_owner_t self = tether_self();

	tether_bind_group(&root.group, &parent_type);
	tether_transfer_init(&root.transfer, arrived);
	for (size_t i = 0; i < children; i++)
		must(tether_bind_to(&objects[i].tag, &object_type, &root.group) == 0);
	for (auto _ : state) {
		tether_hand_off(&root.group.tag, self, &root.transfer);
		tether_drain(0);
	}
	for (size_t i = 0; i < children; i++)
		tether_fini(&objects[i].tag);
	tether_fini(&root.group.tag);
}

static void hand_off_childless(benchmark::State &state)
{
	hand_off_group(state, 0);
}

static void hand_off_family(benchmark::State &state)
{
	hand_off_group(state, std::size(objects));
}

template <void (*act)(object *)>
static void time_moves(benchmark::State &state)
{
	bind_all();
	while (state.KeepRunningBatch(std::size(objects)))
		for (object &each : objects)
			act(&each);
	end_all();
}

static void give(object *one)
{
	tether_owner_t self = tether_self();

	tether_give(&one->tag, self, self);
}

static void unbind(object *one)
{
	tether_unbind(&one->tag);
	tether_claim(&one->tag);
}

static void lend(object *one)
{
	tether_lend(&one->tag, borrower);
	tether_owner_t previous = tether_owner_enter(borrower);
	tether_return(&one->tag);
	tether_owner_leave(previous);
}

/* What of that is the way into the other owner and out. */
static void enter(object *)
{
	tether_owner_leave(tether_owner_enter(borrower));
}

BENCHMARK(check_own)->Name("check.state/own");
BENCHMARK(check_shared)->Name("check.state/shared");
BENCHMARK(check_child)->Name("check.state/child");
BENCHMARK(check_grandchild)->Name("check.state/grandchild");
BENCHMARK(post)->Name("move/post");
BENCHMARK(hand_off)->Name("move/hand-off");
BENCHMARK(hand_off_childless)->Name("move/hand-off-group");
BENCHMARK(hand_off_family)->Name("move/hand-off-group-of-256");
BENCHMARK(time_moves<give>)->Name("move/give");
BENCHMARK(time_moves<unbind>)->Name("move/unbind-claim");
BENCHMARK(time_moves<enter>)->Name("move/enter-leave");
BENCHMARK(time_moves<lend>)->Name("move/lend-return");

int main(int argc, char **argv)
{
	must(tether_owner_create("borrower", &borrower) == 0);
	benchmark::Initialize(&argc, argv);
	benchmark::RunSpecifiedBenchmarks();
	return tether_owner_end(borrower) != 0;
}
