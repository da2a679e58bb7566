/* logical.c - owners that threads enter and leave: fibers, greenlets, strands, loops that change their thread.
 * SPDX-License-Identifier: MIT
 *
 * A logical owner is a slot like a thread's. Its word `inside` says who may touch what is the owner's alone:
 *
 *                     enter: one CAS
 *        its own id  ---------------->  id of the thread's own owner  --(end)-->  0
 *                    <----------------       |               ^
 *                     leave: one store       | leave, in the | enter, by that
 *                                            v middle of a   | thread alone
 *                                     the same | HALFWAY  callback
 *
 * As ids are never used again, the CAS by which a thread enters can only succeed on the owner that it means, however
 * old its number is: there is nothing to look up first, and nothing to look at again.
 *
 * What a thread is inside of is a chain through `outer`, from its current owner to its own. Each keeps in `active` what
 * runs a callback of it, while another one is current: so a destructor of the loop may enter a fiber, whose drops at
 * home then run at once, and a fiber that is switched away in the middle of its own message finds that again.
 *
 * Invariant: what a slot says to be the owner's alone is touched by the thread inside, or by nobody; leaving releases,
 *   entering acquires.
 * Invariant: a callback that is halfway goes on on its thread. Its cancellation is off, the compiler may have kept
 *   addresses of thread-local words, and an exception that passes through it is that thread's. */
#include <errno.h>
#include <pthread.h>

#include "internal.h"
#include "probe.h"

_Static_assert(sizeof(struct tetheri_slot) <= 1024, "ten thousand owners in 10 MiB");

static tether_owner_t id_of(const struct tetheri_slot *slot)
{
	return atomic_load_explicit(&slot->id, memory_order_relaxed);
}

static TETHER_COLD_ void report(enum tether_kind kind, const char *operation, tether_owner_t owner, tether_owner_t other,
                                const void *address)
{
	struct tetheri_event event = {.kind = kind, .operation = operation, .owner = owner, .other = other, .address = address};

	tetheri_report(&event);
}

/* ---- In and out ------------------------------------------------------------------------------ */

/* Nobody was inside, and now we are. Else `found` says who is, or 0. */
static bool take(struct tetheri_slot *slot, tether_owner_t owner, tether_owner_t *found)
{
	*found = owner;
	/* Acquire: pairs with the release of who left it, or opened its slot. */
	if (!atomic_compare_exchange_strong_explicit(&slot->inside, found, id_of(tetheri_thread.own), memory_order_acquire,
	                                             memory_order_relaxed))
		return false;
	tetheri_tsan_acquire(&slot->inside);
	return true;
}

/* We have left it halfway, and are back. */
static bool take_up(struct tetheri_slot *slot, tether_owner_t found)
{
	tether_owner_t own = id_of(tetheri_thread.own);

	if (found != (own | TETHERI_HALFWAY))
		return false;
	/* Relaxed: nobody else has been inside. */
	atomic_store_explicit(&slot->inside, own, memory_order_relaxed);
	tetheri_thread.halfway--;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &slot->runner.cancel_state);
	return true;
}

static void enter(struct tetheri_slot *slot)
{
	slot->outer = tetheri_thread.slot;
	tetheri_owner_become(slot);
}

static void leave(void)
{
	struct tetheri_slot *slot = tetheri_thread.slot;
	bool is_halfway = tetheri_thread.active;

	tetheri_owner_become(slot->outer);
	if (is_halfway) {
		tetheri_thread.halfway++;
		pthread_setcancelstate(slot->runner.cancel_state, NULL);
	}
	tetheri_tsan_release(&slot->inside);
	/* Release: all that was done inside, before who enters next. Our last access to what is the owner's alone. */
	atomic_store_explicit(&slot->inside, is_halfway ? id_of(tetheri_thread.own) | TETHERI_HALFWAY : id_of(slot),
	                      memory_order_release);
}

static void leave_until(const struct tetheri_slot *current)
{
	while (tetheri_thread.slot != current)
		leave();
}

/* This one, or one below it in the chain; NULL: it is not there. */
static struct tetheri_slot *find_inside(struct tetheri_slot *from, tether_owner_t id)
{
	while (from && id_of(from) != id)
		from = from->outer;
	return from;
}

bool tetheri_logical_come_back(struct tetheri_slot *home)
{
	report(TETHER_BAD_CALL, "tether_owner_leave", id_of(home), 0, TETHERI_CALLER);
	if (find_inside(tetheri_thread.slot, id_of(home))) {
		leave_until(home);
		return true;
	}
	/* Relaxed: a value that says that we are the one who may enter was stored by us. */
	if (!take_up(home, atomic_load_explicit(&home->inside, memory_order_relaxed)))
		return false;
	enter(home);
	return true;
}

/* ---- A thread's end -------------------------------------------------------------------------- */

/* No stack of this thread goes on. A child whose destructor was halfway has left its parent all the same. */
static void forget_callbacks(struct tetheri_runner *runner)
{
	struct tether *parent = runner->parent;

	runner->parent = NULL;
	if (parent)
		tetheri_group_let_go(parent);
	runner->in_destructor = runner->draining = false;
	runner->destroying = NULL;
	runner->frames = 0;
}

static void give_up(struct tetheri_slot *slot)
{
	tether_owner_t id = id_of(slot);

	forget_callbacks(&slot->runner);
	slot->active = NULL;
	tetheri_tsan_release(&slot->inside);
	/* Release: as in leave(). */
	atomic_store_explicit(&slot->inside, id, memory_order_release);
	report(TETHER_EXIT_INSIDE, "thread exit", id, 0, TETHERI_CALLER);
}

void tetheri_logical_exit(void)
{
	struct tetheri_thread *thread = &tetheri_thread;
	struct tetheri_slot *inner = thread->slot, *own = thread->own;

	if (inner == own && thread->halfway == 0)
		return;
	tetheri_owner_become(own);
	while (inner != own) {
		struct tetheri_slot *outer = inner->outer; /* read before: others may enter it then */
		give_up(inner);
		inner = outer;
	}
	/* Nobody but us changes a word that says that we are to come back. */
	for (uint32_t i = 0; thread->halfway > 0 && i < tetheri_table_size(); i++) {
		struct tetheri_slot *slot = tetheri_table_at(i);
		if (atomic_load_explicit(&slot->inside, memory_order_relaxed) != (id_of(own) | TETHERI_HALFWAY))
			continue;
		thread->halfway--;
		give_up(slot);
	}
	if (thread->active)
		forget_callbacks(thread->active);
	thread->active = NULL;
}

/* ---- Visits ---------------------------------------------------------------------------------- */

static void become_again(struct tetheri_slot *const *slot)
{
	if (*slot)
		tetheri_owner_become(*slot);
}

void tetheri_logical_visit_mine(void (*visit)(void *context), void *context)
{
	struct tetheri_slot *current __attribute__((cleanup(become_again))) = tetheri_thread.slot;

	for (struct tetheri_slot *slot = current; slot; slot = slot->outer) {
		tetheri_owner_become(slot);
		visit(context);
	}
}

static void leave_again(const bool *is_inside)
{
	if (*is_inside)
		leave();
}

void tetheri_logical_visit(struct tetheri_slot *slot, void (*visit)(void *context), void *context)
{
	tether_owner_t found;
	bool is_inside __attribute__((cleanup(leave_again))) = take(slot, id_of(slot), &found);

	if (is_inside) {
		enter(slot);
		visit(context);
	}
}

/* ---- The public calls ------------------------------------------------------------------------ */

int tether_owner_create(const char *name, tether_owner_t *out)
{
	tetheri_options_load();
	struct tetheri_slot *slot = tetheri_slot_open(tetheri_origin_here(__builtin_frame_address(0), TETHERI_CALLER), name, true);

	*out = slot ? id_of(slot) : 0;
	if (!slot) {
		report(TETHER_NO_OWNER, "tether_owner_create", 0, 0, TETHERI_CALLER);
		return tetheri_table_size() == TETHERI_CHUNKS * TETHERI_CHUNK_SLOTS ? -EAGAIN : -ENOMEM;
	}
	TETHERI_PROBE_OWNER_START(*out, atomic_load_explicit(&slot->number, memory_order_relaxed));
	return 0;
}

/* Whoever enters has an owner of its own. */
static bool has_own(const char *operation, const void *caller)
{
	if (tetheri_owner_make(caller))
		return true;
	if (tetheri_thread.ended) /* else it is reported that none can be made */
		report(TETHER_BAD_CALL, operation, 0, 0, caller);
	return false;
}

static TETHER_COLD_ int refuse(tether_owner_t owner, tether_owner_t found, const char *operation, const void *caller)
{
	struct tetheri_slot *slot;
	enum tetheri_place place = tetheri_owner_find(owner, &slot);

	if (place == TETHERI_ALIVE && found != 0) {
		report(TETHER_OWNER_BUSY, operation, owner, found & ~TETHERI_HALFWAY, caller);
		return -EBUSY;
	}
	report(TETHER_BAD_OWNER, operation, owner, 0, caller);
	return place == TETHERI_EXITED || (place == TETHERI_ALIVE && !tetheri_slot_is_open(slot)) ? -ESRCH : -EINVAL;
}

tether_owner_t tether_owner_enter(tether_owner_t owner)
{
	tether_owner_t found = 0;
	struct tetheri_slot *slot;

	if (!has_own("tether_owner_enter", TETHERI_CALLER))
		return 0;
	tetheri_batch_flush(); /* what is at home is so now */
	if (tetheri_owner_find(owner, &slot) != TETHERI_ALIVE || (!take(slot, owner, &found) && !take_up(slot, found))) {
		(void)refuse(owner, found, "tether_owner_enter", TETHERI_CALLER);
		return 0;
	}
	tether_owner_t previous = tether_self_;
	enter(slot);
	return previous;
}

void tether_owner_leave(tether_owner_t previous)
{
	struct tetheri_slot *slot = tetheri_thread.slot, *to;

	if (previous == 0)
		return;
	tetheri_batch_flush();
	if (slot == tetheri_thread.own) {
		report(TETHER_BAD_CALL, "tether_owner_leave", 0, 0, TETHERI_CALLER);
		return;
	}
	to = find_inside(slot->outer, previous);
	if (!to)
		report(TETHER_BAD_CALL, "tether_owner_leave", id_of(slot), 0, TETHERI_CALLER);
	leave_until(to ? to : slot->outer);
}

struct ending {
	bool is_over;
};

/* A destructor has left by an exception, or the thread ends in it. What is left may be ended again. */
static void break_off(struct ending *ending)
{
	if (!ending->is_over)
		leave();
}

/* As the owner that is entered, and with all of it behind us on return. */
static void finish(struct tetheri_slot *slot)
{
	struct ending ending __attribute__((cleanup(break_off))) = {.is_over = false};

	tetheri_owner_finish(slot);
	ending.is_over = true;
}

int tether_owner_end(tether_owner_t owner)
{
	struct tetheri_slot *slot;
	tether_owner_t found = 0;

	if (!has_own("tether_owner_end", TETHERI_CALLER))
		return tetheri_thread.ended ? -EPERM : -ENOMEM;
	if (tetheri_thread.active) {
		report(TETHER_BAD_CALL, "tether_owner_end", owner, 0, TETHERI_CALLER);
		return -EPERM;
	}
	tetheri_batch_flush();
	if (tetheri_owner_find(owner, &slot) != TETHERI_ALIVE || !take(slot, owner, &found))
		return refuse(owner, found, "tether_owner_end", TETHERI_CALLER);
	enter(slot);
	finish(slot);
	tetheri_owner_become(slot->outer);
	/* Relaxed: nobody can enter any more, and the slot's next owner takes the table's lock. */
	atomic_store_explicit(&slot->inside, 0, memory_order_relaxed);
	tetheri_slot_retire(slot);
	return 0;
}
