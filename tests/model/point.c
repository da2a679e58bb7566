/* point.c - the points between which a thread runs alone: before each atomic operation, and while it waits.
 * SPDX-License-Identifier: MIT
 *
 * Only a word that two threads touch, and one of them writes, can show who was first. So a turn may end
 * before an operation on such a word; before any other it would make no difference. Which words those are is
 * found out as schedules are run: the first of them knows none, and each that finds one has the exploration
 * begin again (schedule.c), until none is found. What is plain memory in the library has no points: that two
 * threads do not race for it is ThreadSanitizer's to see.
 *
 * Operations take effect in the order of the schedule, for all threads: weaker orders are not explored.
 *
 * A thread waits for a lock, or for what a scenario says; and a load that finds the same value for the SPINS-th
 * time in a row waits until the word changes, as it would go round for ever. All waiting: a deadlock. Who naps waits
 * until another thread has written something; where nobody can, the nap ends.
 *
 * A fork sees what others have done to each word, shared or not: who is about to fork may come in before any operation.
 * In its child nobody else takes a step, so what waits there waits for ever.
 *
 * A signal's handler is one more who takes turns, on the stack of the thread that it interrupts, which then waits until it
 * has returned. It may come before any operation of that thread, and while that waits.
 *
 * Invariant: a turn ends where its thread may not go on, or where the schedule says so, and nowhere else. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define WORDS 4096
#define SPINS 4
#define STEPS 20000 /* of a schedule that goes on for ever */

static struct word {
	const volatile void *at;
	unsigned readers, writers; /* threads, as bits */
	bool is_shared;
} words[WORDS];
static unsigned used_words, shared_words;

static struct thread {
	bool (*may_go)(void *context); /* NULL: it does not wait */
	void *context;
	unsigned writes, seen; /* its own; those of others when it began to nap */
	struct spin {
		const volatile void *word;
		uint64_t value;
		size_t bytes;
		unsigned times;
	} spin;
	const char *function; /* where it was last */
	int line;
	bool has_ended, comes; /* comes: before any operation of another */
} threads[MODEL_THREADS];
static unsigned count, steps, writes, coming;
static unsigned turn_steps, turn_shared; /* of the running thread, since it was chosen; those on shared words */
static bool is_running, is_alone;

/* The handler: threads[count]. */
static struct {
	int thread; /* that it interrupts; MODEL_NOBODY: there is none */
	void (*handle)(void);
	enum { NOT_YET, COMES, INSIDE, HAS_COME } state;
} signal;

/* ---- Words ------------------------------------------------------------------------------------ */

void point_reset(void)
{
	memset(words, 0, sizeof words);
	used_words = shared_words = 0;
}

unsigned point_shared_words(void)
{
	return shared_words;
}

static struct word *find(const volatile void *at)
{
	unsigned i = (unsigned)(((uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % WORDS;

	while (words[i].at && words[i].at != at)
		i = (i + 1) % WORDS;
	if (!words[i].at) {
		words[i].at = at;
		used_words++;
		assert(used_words < WORDS);
	}
	return &words[i];
}

static bool is_shared(enum model_kind kind, const volatile void *at, unsigned thread)
{
	struct word *word = find(at);

	word->readers |= 1U << thread;
	if (kind != MODEL_LOAD)
		word->writers |= 1U << thread;
	if (!word->is_shared && word->writers && (word->readers & (word->readers - 1))) {
		word->is_shared = true;
		shared_words++;
	}
	return word->is_shared;
}

static bool others_have_written(void *context)
{
	const struct thread *thread = context;

	return writes - thread->writes != thread->seen;
}

/* ---- Turns ------------------------------------------------------------------------------------ */

static void say_deadlock(void)
{
	char where[400];
	size_t used = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct thread *thread = &threads[i];
		if (!thread->has_ended && used < sizeof where)
			used += (size_t)snprintf(where + used, sizeof where - used, "; thread %u in %s, line %d", i,
			                         thread->function ? thread->function : "its own", thread->line);
	}
	schedule_fail("nobody can go on%s", where);
}

static int handler(void)
{
	return (int)count;
}

/* On whose stack it runs. */
static int thread_of(int who)
{
	return who == handler() ? signal.thread : who;
}

/* Who runs now. */
static int running(void)
{
	int self = model_thread();

	return self == signal.thread && signal.state == INSIDE ? handler() : self;
}

static bool is_there(int who)
{
	if (who == handler())
		return signal.state == INSIDE;
	return !threads[who].has_ended && !(who == signal.thread && signal.state == INSIDE);
}

static bool may_be_interrupted(void)
{
	return signal.thread != MODEL_NOBODY && signal.state == NOT_YET && threads[signal.thread].function &&
	       !threads[signal.thread].has_ended && !system_blocks_signals(signal.thread);
}

static bool is_ready(const struct thread *thread)
{
	return !thread->may_go || thread->may_go(thread->context);
}

static bool naps(const struct thread *thread)
{
	return thread->may_go == others_have_written;
}

static bool comes(const struct thread *thread)
{
	return thread->comes;
}

static void add_others(struct schedule_turn *turn, int self, bool (*may)(const struct thread *thread))
{
	for (int i = 0; i <= handler(); i++)
		if (i != self && is_there(i) && may(&threads[i]))
			turn->may_go[turn->count++] = i;
}

static void add_signal(struct schedule_turn *turn)
{
	if (may_be_interrupted())
		turn->may_go[turn->count++] = handler();
}

static int choose(const struct schedule_turn *turn, int self)
{
	int chosen = schedule_choose(turn);

	if (chosen != self)
		turn_steps = turn_shared = 0;
	if (chosen == handler() && signal.state == NOT_YET)
		signal.state = COMES;
	return chosen;
}

/* Who runs now: somebody else, as the running thread may not go on. */
static int next(void)
{
	struct schedule_turn turn = {.may_go_on = false};

	add_others(&turn, MODEL_NOBODY, is_ready);
	if (turn.count == 0)
		add_others(&turn, MODEL_NOBODY, naps); /* a nap ends by itself */
	if (turn.count == 0)
		say_deadlock(); /* that a signal might come is no comfort */
	add_signal(&turn);
	return choose(&turn, MODEL_NOBODY);
}

/* It, or one of those who may. */
static int next_or(int self, bool (*may)(const struct thread *thread))
{
	struct schedule_turn turn = {.may_go_on = true, .count = 1, .may_go = {self}};

	add_others(&turn, self, may);
	if (may == is_ready || self == signal.thread)
		add_signal(&turn);
	return choose(&turn, self);
}

static void go_to(int who)
{
	thread_switch(thread_of(who));
	if (model_thread() != signal.thread || signal.state != COMES)
		return;
	struct thread *self = &threads[signal.thread];
	signal.state = INSIDE;
	signal.handle();
	signal.state = HAS_COME;
	turn_steps = turn_shared = 0;
	thread_switch(is_ready(self) ? next_or(signal.thread, is_ready) : next());
}

void point_begin(unsigned threads_count, int interrupted, void (*handle)(void))
{
	assert(threads_count + (interrupted != MODEL_NOBODY) <= MODEL_THREADS);
	count = threads_count;
	signal.thread = interrupted;
	signal.handle = handle;
	signal.state = NOT_YET;
	steps = writes = coming = turn_steps = turn_shared = 0;
	memset(threads, 0, sizeof threads);
	is_running = true;
	is_alone = false;
}

void point_stop(void)
{
	is_running = is_alone = false;
}

int point_first(void)
{
	return thread_of(next());
}

int point_ended(unsigned thread)
{
	threads[thread].has_ended = true;
	for (unsigned i = 0; i < count; i++)
		if (!threads[i].has_ended)
			return thread_of(next());
	is_running = false;
	return MODEL_NOBODY;
}

/* ---- Points ----------------------------------------------------------------------------------- */

static void count_step(struct thread *thread, enum model_kind kind)
{
	if (++steps > STEPS)
		schedule_fail("it goes on for ever: thread %d in %s, line %d", model_thread(), thread->function, thread->line);
	if (kind != MODEL_LOAD) {
		writes++;
		thread->writes++;
	}
}

static void wait(bool (*may_go)(void *context), void *context)
{
	struct thread *self = &threads[running()];

	if (is_alone)
		schedule_fail("the child waits for who is not there, in %s, line %d", self->function, self->line);
	self->may_go = may_go;
	self->context = context;
	go_to(next());
	self->may_go = NULL;
}

static uint64_t read_word(const volatile void *word, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, (const void *)word, bytes);
	return value;
}

static bool has_changed(void *context)
{
	const struct spin *spin = context;

	return read_word(spin->word, spin->bytes) != spin->value;
}

/* The same value again, and nothing else done meanwhile? */
static void watch_spin(struct spin *spin, enum model_kind kind, const volatile void *word, size_t bytes)
{
	if (kind != MODEL_LOAD) {
		spin->word = NULL;
	} else if (spin->word == word && !has_changed(spin)) {
		if (++spin->times >= SPINS)
			wait(has_changed, spin);
	} else {
		*spin = (struct spin){.word = word, .value = read_word(word, bytes), .bytes = bytes};
	}
}

/* Who may come in before an operation that nobody else could tell of does, or does not. `begins`: it is the first. */
static void let_come(int self, bool begins)
{
	if (schedule_is_replayed())
		go_to(next_or(self, is_ready));
	else if ((coming > 0 || (self == signal.thread && signal.state == NOT_YET)) && (turn_steps > 0 || begins))
		go_to(next_or(self, comes));
}

void model_point(enum model_kind kind, const volatile void *word, size_t bytes, const char *name, const char *function, int line)
{
	if (!is_running)
		return;
	int self = running();
	struct thread *thread = &threads[self];
	bool begins = !thread->function;

	thread->function = function;
	thread->line = line;
	if (is_alone) {
		count_step(thread, kind);
		schedule_tell(name, function, line);
		return;
	}
	bool shared = is_shared(kind, word, (unsigned)thread_of(self));
	/* Before its first step a thread need not be preempted: another could have been chosen in its place. */
	if (shared && turn_shared > 0)
		go_to(next_or(self, is_ready));
	else
		let_come(self, begins);
	watch_spin(&thread->spin, kind, word, bytes);
	turn_shared += shared;
	turn_steps++;
	count_step(thread, kind);
	schedule_step(name, function, line);
}

void model_fence(const char *function, int line)
{
	if (!is_running || is_alone)
		return;
	int self = running();
	struct thread *thread = &threads[self];
	bool begins = !thread->function;

	thread->function = function;
	thread->line = line;
	let_come(self, begins);
	turn_steps++;
	schedule_step("fence", function, line);
}

void model_wait(bool (*holds)(void *context), void *context)
{
	if (holds(context))
		return;
	if (!is_running)
		schedule_fail("it waits where nobody else runs");
	else
		wait(holds, context);
}

void point_nap(void)
{
	if (!is_running)
		return;
	struct thread *self = &threads[running()];
	self->seen = writes - self->writes;
	if (is_alone)
		count_step(self, MODEL_LOAD);
	else
		wait(others_have_written, self);
}

void point_come(void)
{
	struct thread *self = &threads[running()];

	self->comes = true;
	coming++;
	go_to(next());
	coming--;
	self->comes = false;
	turn_steps++;
	schedule_step("the moment", "fork", 0);
}

void point_be_alone(bool on)
{
	is_alone = on;
}
