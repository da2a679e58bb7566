/* batch.h - release many objects at once: fewer atomic operations, fewer waits for memory.
 * SPDX-License-Identifier: MIT
 *
 *     if (tether_batch_begin() == 0) {
 *             for (...)
 *                     tether_drop(&c->tether);   // TETHER_BATCHED: collected
 *             tether_batch_end();                // all of them are on their way
 *     }
 *
 * Inside, tether_drop() only takes the object over. 16 to 31 drops later, or when the batch is flushed, the object is marked as
 * dropped; up to 32 that go to one owner are published together, with one wake-up. Nothing is collected that was
 * not dropped inside a batch, by this thread.
 *
 * Flushed it is by tether_batch_end(), tether_batch_flush(), tether_park(), at the end of tether_drain(), by whatever
 * else this thread sends (tether_drop_later(), posts, hand-offs: so the order stays), when the thread enters or leaves a
 * logical owner, by tether_shutdown(), and at the end of the thread's owner, of the thread, and of the program.
 *
 * Until then such an object still looks alive: checks pass, and a second drop is found out when the batch is flushed,
 * and reported with the place of that drop. Nobody may end or free it, as after any drop. What is at home is destroyed
 * here, but not always inside its own tether_drop().
 *
 * Fork: the child has the batch of the thread that forked, and may publish its copy; those of other threads are lost
 * there. Signal handlers: none of these functions; what a handler sends publishes the batch of the thread that it
 * interrupts, or, in the middle of a change of that, goes before it. Thread exit: flushed. dlclose: see tag.h. */
#ifndef TETHER_BATCH_H
#define TETHER_BATCH_H

#include <tether/drop.h>

TETHER_BEGIN_

/** From here on, collect what this thread drops, until tether_batch_end(). Calls nest; the outermost counts.
 * Any thread; makes it an owner, as tether_self() does. The first call of an owner allocates 3 KiB, which stay with
 * its slot; no drop ever allocates. 0; -ENOMEM: drops go out one by one, and no tether_batch_end() is due;
 * -ESRCH: the thread's owner has ended, likewise. */
TETHER_API int tether_batch_begin(void);

/** End the batch, and publish what is collected; where calls nest, only the outermost does.
 * The thread that began it. Blocks as long as destructors run, of what is this thread's own. Never allocates.
 * Reports each second drop and each leak among what was collected; and a call that no tether_batch_begin() goes with. */
TETHER_API void tether_batch_end(void);

/** Publish what is collected, and go on collecting: before anything that takes long. Outside of a batch, or inside of a
 * callback of the library's, it does nothing. Any thread. Blocks and reports as tether_batch_end(). */
TETHER_API void tether_batch_flush(void);

/* Private. */
TETHER_INLINE_ void tether_batch_leave_(const int *error)
{
	if (*error == 0)
		tether_batch_end();
}

/** A batch from this declaration to the end of its block, however that is reached. In C, exceptions and the end of
 * the thread pass by unless the code is compiled with -fexceptions; the thread's end flushes anyway. */
#define TETHER_BATCH_NAMED_(number) \
	const int tether_batch_##number##_ __attribute__((cleanup(tether_batch_leave_), unused)) = tether_batch_begin()
#define TETHER_BATCH_NUMBERED_(number) TETHER_BATCH_NAMED_(number)
#define TETHER_BATCH() TETHER_BATCH_NUMBERED_(__COUNTER__)

TETHER_END_

#endif
