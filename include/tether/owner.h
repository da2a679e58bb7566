/* owner.h - owners: who objects belong to.
 * SPDX-License-Identifier: MIT
 *
 * A thread becomes an owner the first time it needs to be one (it binds, claims, drains, asks for
 * its number, or is caught by a check), and stops being one when it exits. Its number is never
 * reused, unlike pthread_self(), the thread id and the thread pointer.
 *
 * A logical owner is one that threads enter and leave: a fiber, a greenlet, a strand, a loop that may change its
 * thread. Inside it the thread is that owner, in everything that this library does; the objects of the thread's own
 * owner are then another's.
 *
 *     tether_owner_t before = tether_owner_enter(fiber->owner);
 *     ... run the fiber, until it switches back ...
 *     tether_owner_leave(before);
 *
 * Fork: the thread that forks keeps its number, its objects and its inbox in the child, and is inside the logical
 * owners that it was inside. Those that nobody is inside live on as well. All other owners are gone there, and reports
 * say that they did not survive. The library's locks are held over the fork, so a child never waits for a thread that it
 * does not have. Handlers of pthread_atfork that were registered after the library was loaded may use it; in older ones
 * only checks work. In a signal handler fork only where it interrupted nothing of the library's but a check. vfork,
 * posix_spawn and _Fork are for exec alone.
 * Signal handlers: tether_self(), only where the thread already has an owner, and tether_owner_is_alive().
 * Thread exit: the owner ends in the last round of pthread key destructors; what a later destructor calls still behaves,
 * as each function says. (An owner that is made by a key destructor ends at the next chance. One made in the last round,
 * after that, has none, and what is sent to it waits for ever: do not make first use of the library there.)
 * dlclose: the library stays loaded (-z nodelete), as its key's destructor must. */
#ifndef TETHER_OWNER_H
#define TETHER_OWNER_H

#include <tether/base.h>

TETHER_BEGIN_

/** The calling thread's current owner: the logical one that it is inside; else its own, made on first use.
 * Any thread. The first call of a thread may allocate and takes a lock; later ones do neither.
 * 0 where no owner can be made (out of memory or of owner slots), which is reported. */
TETHER_API tether_owner_t tether_self(void);

/** Name the calling thread's current owner in reports; at most 31 bytes are kept. NULL: the thread's own name
 * (what pthread_setname_np set), which is also what an owner gets when it is made.
 * Any thread. Does not block. May allocate as tether_self() does. Reports only what that reports. */
TETHER_API void tether_self_set_name(const char *name);

/** Is this owner alive? Any thread. Wait-free. Never reports. The answer may be old when it arrives. */
TETHER_API bool tether_owner_is_alive(tether_owner_t owner);

/** A short number for people, as reports print it ("owner #5"): owners count from 1 in the order in
 * which they were made. 0 for no owner, or one whose number is no longer known.
 * Any thread. May take a short lock. Never reports. */
TETHER_API uint64_t tether_owner_number(tether_owner_t owner);

/** End the calling thread's owner now rather than at thread exit: run everything in its inbox, close
 * the inbox, and wait for wake-ups on their way to end. From then on what others drop for it takes the orphan path;
 * what this thread drops of its own is still destroyed here. Where what it runs goes on sending to it without end, that
 * is reported after 100,000 messages or new objects, and cut off: what is sent then is leaked.
 * The owner's thread. Blocks for as long as its destructors run. Not from a destructor or a message, nor
 * inside of a logical owner or with one left in the middle of a callback (reported, and nothing happens). A thread
 * without an owner does nothing. */
TETHER_API void tether_owner_exit(void);

/** Make a logical owner; nobody is inside. `name` is shown in reports, at most 31 bytes of it; NULL: the calling
 * thread's name. `*out` is its number, or 0. What others send to it waits until somebody enters it and drains, so a
 * scheduler that wants to know enters it once and calls tether_set_wake() there; tether_fd() and tether_park() work as
 * for a thread.
 * Any thread. Takes a short lock. May allocate. 0. -EAGAIN: there are a million owners. -ENOMEM. Both are reported.
 * Lifetime: until tether_owner_end(), not that of the thread. */
TETHER_API int tether_owner_create(const char *name, tether_owner_t *out);

/** Be this logical owner from here on, until tether_owner_leave(). Calls nest. Returns who the thread was before, for
 * tether_owner_leave(). 0, reported: it was not entered, as another thread is inside, or this one is already; or it is
 * none, has ended, or is a thread's own; or the calling thread's own has ended.
 * Any thread that can have an owner; one is made for it, see tether_self(). A few instructions, however many owners
 * there are: no lock, no system call. In a destructor or a message too: what runs in the entered owner is then
 * none of that callback. */
TETHER_API tether_owner_t tether_owner_enter(tether_owner_t owner);

/** Be again who this thread was: `previous` is what tether_owner_enter() returned; what was entered since is left too.
 * 0 does nothing, so that a failed enter needs no test. Others may enter what was left.
 * In the middle of a destructor or a message of that owner, leave it only in order to switch to another stack. The
 * callback then waits until this thread enters the owner again; no other thread may enter it before. (If a callback
 * returns in another owner than it was called in, that is put right, and reported.)
 * The thread inside. Wait-free. Reports it where the thread is inside none; and where it never was `previous`: then the
 * last one entered is left. A thread that ends inside is reported, and leaves. */
TETHER_API void tether_owner_leave(tether_owner_t previous);

/** End a logical owner: run everything in its inbox as that owner, close it, and wait for wake-ups on their way to end.
 * What is dropped for it later takes the orphan path. Its objects that still live are orphans.
 * Any thread; nobody may be inside, nor have left it in the middle of a callback. Blocks for as long as its destructors
 * run. 0. All others are reported: -EBUSY: somebody is inside. -EPERM: from a destructor or a message, or the calling
 * thread's own owner has ended. -ESRCH: it has ended. -EINVAL: it is no logical owner. -ENOMEM: the thread can have no
 * owner. */
TETHER_API int tether_owner_end(tether_owner_t owner);

/** Before the end of the program: drain all owners that live, until nothing is pending and none of their destructors
 * and messages is running, or the time is over. (A destructor that a thread without an owner runs is its own
 * business.) This call itself drains the calling thread's own owner, the logical ones that it is inside, and those
 * that nobody is inside. The others' threads drain theirs, as they were woken when something was sent to them; for
 * these it waits. Whoever enters or ends a logical owner at the moment in which it is drained here is refused,
 * reported: stop your schedulers before. Threads that go on sending are yours to stop. 0 ms: what can be drained here
 * is drained, and nobody is waited for. Any thread, not from a destructor or a message. Blocks as long as its
 * destructors run, and for `timeout_ms`. May make an owner for the thread. 0: at some moment nothing was pending.
 * -ETIMEDOUT: something was left; one report says what, by owner and by type (struct tether_left). -EPERM: in a
 * destructor or a message; reported. */
TETHER_API int tether_shutdown(unsigned timeout_ms);

TETHER_END_

#endif
