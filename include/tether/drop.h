/* drop.h - release an object from any thread; its destructor runs on its owner.
 * SPDX-License-Identifier: MIT
 *
 * Fork: what was pending for owners that did not survive is forgotten in the child: no destructor runs (but see
 * TETHER_DIES_IN_CHILDREN), no message's function is called, and such a message has to be initialised before it is
 * posted again. What another thread was just sending, taking or running at that moment is lost there, too.
 * Signal handlers: tether_drop_later, tether_post and tether_try_post, where the thread has an owner; not tether_drop,
 * which may run a destructor. Thread exit: the thread's inbox is drained, then closed; later drops for it take the
 * orphan path. dlclose: see tag.h; a message's function must not be unloaded before it was called.
 * Asynchronous cancellation (PTHREAD_CANCEL_ASYNCHRONOUS) is not supported inside any function of the library. */
#ifndef TETHER_DROP_H
#define TETHER_DROP_H

#include <tether/tag.h>

TETHER_BEGIN_

/** What became of a drop. Whatever it says, the caller may not touch the object any more. */
enum tether_dropped {
	TETHER_HERE = 0,     /* destroyed, before the call returned */
	TETHER_QUEUED = 1,   /* on its way; its destructor runs later, on its owner */
	TETHER_BATCHED = 2,  /* collected by a batch, see batch.h; destroyed later, here or on its owner */
	TETHER_ORPHANED = 3, /* its owner has gone: its type's policy was applied */
	TETHER_REFUSED = 4   /* misuse, reported: dropped before, never bound, or overwritten; untouched */
};

/** Release `object`: its destructor runs on its owner; at once if that is the calling thread.
 * Inside a destructor it is always queued, on a private list that is run when that destructor has
 * returned: a chain of any length takes constant stack. An unbound object is destroyed here.
 * Inside a batch it is collected (batch.h). Any thread, not a signal handler. Lock-free, never allocates, never fails for
 * memory. Callbacks run with no lock held and with cancellation disabled. Reports a second drop of the same object, a tag
 * that is not one, and an orphan that is leaked. */
TETHER_API enum tether_dropped tether_drop(struct tether *object);

/** Like tether_drop(), but the destructor does not run inside this call: at home the object is queued
 * too, behind what is in the inbox, and so is an object without an owner, and an orphan of an ANYWHERE
 * type. (A thread that has no owner, or whose owner has ended, has no queue: there it is destroyed here.)
 * Any thread; a signal handler too for a thread and an object with an owner. Lock-free, never
 * allocates. Reports as tether_drop(). */
TETHER_API enum tether_dropped tether_drop_later(struct tether *object);

/** What became of a message. */
enum tether_fate {
	TETHER_RUN = 0,        /* called at home: by the owner it was posted to */
	TETHER_UNDELIVERED = 1 /* that owner has gone: called by whoever found out */
};

/** A function to run on another owner's thread. In the sender's memory, usually inside something
 * larger; it must stay valid until its function is called, which may free it or post it again. */
struct tether_message {
	struct tether node_; /* private */
	void (*fn)(struct tether_message *message, enum tether_fate fate);
};

/** Initialiser of a message, and the same at run time. Any thread. Not while it is on its way. */
#define TETHER_MESSAGE_INIT(fn) \
	{ \
		{0, 0, 0, 0}, fn \
	}
TETHER_INLINE_ void tether_message_init(struct tether_message *message, void (*fn)(struct tether_message *, enum tether_fate))
{
	message->node_.owner_ = message->node_.state_ = message->node_.next_ = message->node_.hint_ = 0;
	message->fn = fn;
}

/** Have `message->fn` called on the thread of owner `to`, after everything this thread has sent there
 * before, drops included. The function is called exactly once for each post that is accepted: with
 * TETHER_RUN by the owner, or with TETHER_UNDELIVERED.
 * (One case apart: an owner that ends and does not come to rest is cut off, see tether_owner_exit().)
 * Any thread, a signal handler too where the thread has an owner. Lock-free, never allocates.
 * 0: queued. -ESRCH: that owner has gone; the function is called with UNDELIVERED on this thread: before the return,
 * or, inside a destructor or a message, by the thread's next drain (so that a function which posts again does not
 * nest). -EINVAL: `to` is no owner; likewise called, and reported. -EALREADY: the message is still on its way from an
 * earlier post, whose fate it keeps; reported. */
TETHER_API int tether_post(tether_owner_t to, struct tether_message *message);

/** Like tether_post(), but what cannot be delivered stays with the caller: unless it returns 0, nothing was posted
 * and the function is not called. For work that is better refused than queued.
 * Any thread, a signal handler too where the thread has an owner. Lock-free, never allocates.
 * 0: queued, and the function will be called once. -EAGAIN: as much as tether_set_limit() allows is pending for `to`
 * (senders at the same moment may each find the last place free, and none finds what the owner is just taking from its
 * inbox: so for a moment twice as much may be pending). -ESRCH: that owner has gone. -EINVAL: `to` is no
 * owner; reported. -EALREADY: the message is still on its way from an earlier post; reported. */
TETHER_API int tether_try_post(tether_owner_t to, struct tether_message *message);

TETHER_END_

#endif
