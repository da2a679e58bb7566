/* fibers.c - fibers with an owner each: what one does to another's object is seen, though they share a thread.
 * SPDX-License-Identifier: MIT
 *
 * A round-robin scheduler in few lines, on ucontext. Each fiber makes an object, yields, and touches the one of its
 * neighbour, as code does that has two sessions in its hands and takes the wrong one. First the fibers are no owners:
 * all objects are the thread's, and nobody notices. Then each has an owner of its own. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <tether/tether.h>

#define FIBERS 2
#define STACK_BYTES (256 * 1024)

/* ---- Objects --------------------------------------------------------------------------------- */

struct session {
	const char *user;
	struct tether tether;
};

static void session_destroy(void *object)
{
	struct session *session = object;

	printf("  %s's session ends as owner #%d\n", session->user, (int)tether_owner_number(tether_self()));
	free(session);
}

static const struct tether_type session_type = TETHER_TYPE(struct session, tether, session_destroy);

static struct session *session_create(const char *user)
{
	struct session *session = malloc(sizeof *session);

	if (!session)
		abort();
	session->user = user;
	tether_bind(&session->tether, &session_type);
	return session;
}

/* ---- Fibers ---------------------------------------------------------------------------------- */

static struct fiber {
	const char *name;
	tether_owner_t owner; /* 0: it is none */
	ucontext_t context;
	void *stack;
	bool has_ended;
	struct session *session;
} fibers[FIBERS] = {{.name = "ann"}, {.name = "bob"}};

static ucontext_t scheduler;
static struct fiber *current;

/* Be that fiber until it yields. */
static void resume(struct fiber *fiber)
{
	tether_owner_t before = fiber->owner ? tether_owner_enter(fiber->owner) : 0;

	current = fiber;
	tether_self_set_stack(fiber->stack, STACK_BYTES);
	swapcontext(&scheduler, &fiber->context);
	tether_self_set_stack(NULL, 0);
	tether_owner_leave(before);
}

static void yield(void)
{
	swapcontext(&current->context, &scheduler);
}

/* What each of them does. */
static void run(void)
{
	struct fiber *neighbour = &fibers[(current - fibers + 1) % FIBERS];

	current->session = session_create(current->name);
	yield();
	printf("%s touches its own session: %s\n", current->name, TETHER_ENSURE(&current->session->tether) ? "passes" : "reported");
	printf("%s touches %s's session: %s\n", current->name, neighbour->name,
	       TETHER_ENSURE(&neighbour->session->tether) ? "passes" : "reported");
	yield();
	/* What is dropped by the wrong fiber goes home, to end there. */
	tether_drop(&neighbour->session->tether);
	yield();
	tether_drain(0);
	current->has_ended = true;
	yield();
}

static bool start(struct fiber *fiber)
{
	fiber->has_ended = false;
	fiber->stack = malloc(STACK_BYTES);
	if (!fiber->stack || getcontext(&fiber->context) != 0)
		return false;
	fiber->context.uc_stack.ss_sp = fiber->stack;
	fiber->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&fiber->context, run, 0);
	return true;
}

/* One turn each, until all have ended. */
static bool schedule(void)
{
	unsigned left = FIBERS;

	for (unsigned i = 0; i < FIBERS; i++)
		if (!start(&fibers[i]))
			return false;
	for (unsigned i = 0; left > 0; i = (i + 1) % FIBERS) {
		if (fibers[i].has_ended)
			continue;
		resume(&fibers[i]);
		left -= fibers[i].has_ended;
	}
	for (unsigned i = 0; i < FIBERS; i++)
		free(fibers[i].stack);
	return true;
}

/* ---- The two rounds -------------------------------------------------------------------------- */

static void show(const struct tether_report *report, void *unused)
{
	(void)unused;
	printf("  report: %s\n", report->summary);
}

int main(void)
{
	tether_set_report_callback(show, NULL);
	tether_set_level(TETHER_WARN); /* each one, not each line of code once */
	tether_self_set_name("the thread");
	printf("The thread owns all objects:\n");
	if (!schedule())
		return 1;
	printf("Each fiber owns its objects:\n");
	for (unsigned i = 0; i < FIBERS; i++)
		if (tether_owner_create(fibers[i].name, &fibers[i].owner) != 0)
			return 1;
	if (!schedule())
		return 1;
	for (unsigned i = 0; i < FIBERS; i++)
		if (tether_owner_end(fibers[i].owner) != 0)
			return 1;
	return 0;
}
