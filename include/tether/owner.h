/* owner.h - owners: who objects belong to.
 * SPDX-License-Identifier: MIT
 *
 * A thread becomes an owner the first time it needs to be one (it binds, claims, drains, asks for
 * its number, or is caught by a check), and stops being one when it exits. Its number is never
 * reused, unlike pthread_self(), the thread id and the thread pointer.
 *
 * Fork: the thread that forked keeps its number. Signal handlers: tether_self() only, and only where
 * the thread already has an owner. Thread exit: the owner ends in the last round of pthread key
 * destructors; what a later destructor calls still behaves, as each function says. (An owner that is
 * made by a key destructor ends at the next chance; one made in the last round, after that, has none, and
 * what is sent to it waits for ever: do not make first use of the library there.) dlclose: the library
 * stays loaded (-z nodelete), as its key's destructor must. */
#ifndef TETHER_OWNER_H
#define TETHER_OWNER_H

#include <tether/base.h>

TETHER_BEGIN_

/** The calling thread's owner, made on first use.
 * Any thread. The first call of a thread may allocate and takes a lock; later ones do neither.
 * 0 where no owner can be made (out of memory or of owner slots), which is reported. */
TETHER_API tether_owner_t tether_self(void);

/** Name the calling thread's owner in reports; at most 31 bytes are kept. NULL: the thread's own name
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
 * the inbox, and wait for wake-ups on their way to end. From then on what others drop for it takes
 * the orphan path; what this thread drops of its own is still destroyed here.
 * The owner's thread. Blocks for as long as its destructors run. Not from a destructor or a message
 * (reported, and nothing happens). A thread without an owner does nothing. */
TETHER_API void tether_owner_exit(void);

TETHER_END_

#endif
