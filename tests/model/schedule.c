/* schedule.c - who is next: every choice in turn, at random, or as it was in a schedule that failed.
 * SPDX-License-Identifier: MIT
 *
 * A schedule is run from the start each time; what was chosen is kept as a path, and the last choice on it
 * that has something left is changed for the next one:
 *
 *     a point:      [thread 0 goes on | thread 1 | thread 2]     the others are preemptions, at most so many
 *     who is next:  [thread 1 | thread 2]                        where a thread waits or ends: free
 *
 * A bound on preemptions, and none on the other choices, finds most bugs with few schedules: Musuvathi and
 * Qadeer, "Iterative context bounding for systematic testing of multithreaded programs" (PLDI 2007).
 *
 * A schedule is printed as its turns, "0x14 1x7 0x3": thread 0 makes 14 steps, thread 1 makes 7. All atomic
 * operations are counted, so that a schedule means the same whatever is known of shared words. */
#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "internal.h"

#define CHOICES 4096
#define TURNS 4096
#define FINISH_ROUNDS 3 /* what one sends, another finishes */

static struct choice {
	unsigned char count, taken;
} path[CHOICES];
static unsigned path_length, depth, preemptions, max_preemptions;

struct turn {
	int thread;
	unsigned steps;
};
static struct turn turns[TURNS], replayed[TURNS];
static unsigned turns_count, replayed_count, replayed_turn;

static enum { EXHAUSTIVE, RANDOM, REPLAY } mode;
static uint64_t random_state;
static unsigned random_bits;

static const struct model_scenario *scenario;
static void *context;
static struct model_result *result;

/* ---- Who is next ------------------------------------------------------------------------------ */

static int choose_exhaustively(const struct schedule_turn *turn)
{
	unsigned count = turn->may_go_on && preemptions == max_preemptions ? 1 : turn->count;

	if (count == 1)
		return turn->may_go[0];
	if (depth == path_length) {
		assert(depth < CHOICES);
		path[path_length++] = (struct choice){(unsigned char)count, 0};
	}
	if (path[depth].count != count)
		schedule_fail("the same choices do not lead to the same place: the model is broken");
	unsigned taken = path[depth++].taken;
	preemptions += turn->may_go_on && taken != 0;
	return turn->may_go[taken];
}

/* False: there are no more. */
static bool next_path(void)
{
	while (path_length > 0 && path[path_length - 1].taken + 1 == path[path_length - 1].count)
		path_length--;
	if (path_length > 0)
		path[path_length - 1].taken++;
	return path_length > 0;
}

static uint64_t random_next(void)
{
	/* splitmix64 */
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* One in 2, 4, 8 or 16 points is a preemption, as the schedule will have it. */
static int choose_at_random(const struct schedule_turn *turn)
{
	uint64_t number = random_next();

	if (turn->may_go_on && (turn->count == 1 || (number >> 32) % (1U << random_bits) != 0))
		return turn->may_go[0];
	unsigned first = turn->may_go_on;
	return turn->may_go[first + (unsigned)(number & UINT32_MAX) % (turn->count - first)];
}

static int choose_again(const struct schedule_turn *turn)
{
	bool has_turn = turns_count > 0 && replayed_turn < replayed_count;
	int wanted = turn->may_go[0];

	if (has_turn && turns[turns_count - 1].steps >= replayed[replayed_turn].steps)
		replayed_turn++;
	if (replayed_turn < replayed_count)
		wanted = replayed[replayed_turn].thread;
	for (unsigned i = 0; i < turn->count; i++)
		if (turn->may_go[i] == wanted)
			return wanted;
	schedule_fail("thread %d cannot go on here: this schedule is of another program", wanted);
	return MODEL_NOBODY;
}

int schedule_choose(const struct schedule_turn *turn)
{
	static int (*const choose[])(const struct schedule_turn *) = {choose_exhaustively, choose_at_random, choose_again};
	int chosen = choose[mode](turn);

	if (turns_count == 0 || turns[turns_count - 1].thread != chosen) {
		assert(turns_count < TURNS);
		turns[turns_count++] = (struct turn){chosen, 0};
	}
	return chosen;
}

bool schedule_is_replayed(void)
{
	return mode == REPLAY;
}

void schedule_tell(const char *name, const char *function, int line)
{
	if (mode == REPLAY)
		fprintf(stderr, "    thread %d  %s:%d  %s\n", turns[turns_count - 1].thread, function, line, name);
}

void schedule_step(const char *name, const char *function, int line)
{
	turns[turns_count - 1].steps++;
	schedule_tell(name, function, line);
}

/* ---- What went wrong -------------------------------------------------------------------------- */

static void put_schedule(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < turns_count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%dx%u", i ? " " : "", turns[i].thread, turns[i].steps);
}

/* False: it is none. */
static bool get_schedule(const char *text)
{
	int used;

	for (replayed_count = 0; *text; text += used) {
		struct turn *turn = &replayed[replayed_count++];
		if (replayed_count == TURNS || sscanf(text, "%dx%u %n", &turn->thread, &turn->steps, &used) != 2)
			return false;
	}
	return true;
}

void schedule_fail(const char *format, ...)
{
	va_list arguments;

	if (!result->has_failed) {
		va_start(arguments, format);
		vsnprintf(result->why, sizeof result->why, format, arguments);
		va_end(arguments);
		put_schedule(result->schedule, sizeof result->schedule);
	}
	result->has_failed = true;
	point_stop();
	if (model_thread() != MODEL_NOBODY)
		thread_abandon();
}

void model_fail(const char *file, int line, const char *what)
{
	schedule_fail("%s:%d: %s", file, line, what);
}

void model_assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
	schedule_fail("%s:%u: %s: assertion: %s", file, line, function, what);
}

/* A page of the world is written for the first time; or it is a crash, of a program that may not be sound. */
static void on_signal(int number, siginfo_t *info, void *machine)
{
	char text[sizeof result->schedule];
	char line[sizeof text + 200];

	(void)machine;
	if (number == SIGSEGV && world_has_written(info->si_addr))
		return;
	put_schedule(text, sizeof text);
	int length = snprintf(line, sizeof line, "%s: signal %d\nMODEL_REPLAY='%s'\n", scenario ? scenario->name : "no scenario",
	                      number, text);
	(void)!write(STDERR_FILENO, line, (size_t)length);
	signal(number, SIG_DFL);
	raise(number);
}

static uint64_t schedules;

/* The library goes round in what is no atomic operation, and so no point? This comes each second of our own time. */
static void on_tick(int number)
{
	static uint64_t seen;

	if (schedules == seen)
		on_signal(number, NULL, NULL);
	seen = schedules;
}

static void catch_signals(void)
{
	static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGTERM};
	struct itimerval second = {{1, 0}, {1, 0}};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};

	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaction(numbers[i], &action, NULL);
	signal(SIGVTALRM, on_tick);
	setitimer(ITIMER_VIRTUAL, &second, NULL);
}

/* ---- Exploring -------------------------------------------------------------------------------- */

static int prepare(unsigned thread)
{
	scenario->prepare(context, thread);
	return MODEL_NOBODY;
}

static int run(unsigned thread)
{
	scenario->run(context, thread);
	return point_ended(thread);
}

static void handle(void)
{
	scenario->handle(context);
}

static int finish(unsigned thread)
{
	scenario->finish(context, thread);
	return MODEL_NOBODY;
}

static void in_turn(int (*work)(unsigned thread))
{
	for (unsigned i = 0; i < scenario->threads && !result->has_failed; i++) {
		thread_set_work(i, work);
		thread_call((int)i);
	}
}

/* One schedule. */
static void run_once(void)
{
	schedules++;
	depth = preemptions = turns_count = replayed_turn = 0;
	world_rewind();
	thread_rewind();
	for (unsigned i = 0; i < scenario->threads; i++)
		thread_set_work(i, run);
	point_begin(scenario->threads, scenario->interrupted, handle);
	thread_call(point_first());
	for (int round = 0; round < FINISH_ROUNDS; round++)
		in_turn(finish);
	if (!result->has_failed)
		scenario->check(context);
}

static void explore_exhaustively(void)
{
	unsigned words;

	mode = EXHAUSTIVE;
	do {
		words = point_shared_words();
		path_length = 0;
		result->exhaustive = 0;
		do {
			run_once();
			result->exhaustive++;
		} while (!result->has_failed && point_shared_words() == words && next_path());
	} while (!result->has_failed && point_shared_words() != words);
	result->words = words;
}

static void explore_at_random(const struct model_options *options)
{
	mode = RANDOM;
	while (!result->has_failed && result->random < options->random) {
		random_state = options->seed + result->random++;
		random_bits = 1 + random_next() % 4;
		run_once();
	}
}

static void replay(const char *schedule)
{
	mode = REPLAY;
	if (get_schedule(schedule))
		run_once();
	else
		schedule_fail("'%s' is no schedule", schedule);
}

void model_explore(const struct model_scenario *what, const struct model_options *options, struct model_result *out)
{
	*out = (struct model_result){.has_failed = false};
	scenario = what;
	result = out;
	max_preemptions = options->preemptions;
	world_reset();
	thread_reset();
	point_reset();
	context = model_new(scenario->bytes);
	scenario->make(context);
	in_turn(prepare);
	thread_keep();
	world_keep();
	if (options->replay && !out->has_failed)
		replay(options->replay);
	if (!options->replay && !out->has_failed)
		explore_exhaustively();
	if (!options->replay && !out->has_failed)
		explore_at_random(options);
	scenario = NULL;
}

void model_start(const char *library)
{
	thread_start(library);
	system_start();
	world_start();
	catch_signals();
}
