/* loop.h - how an owner's event loop empties its inbox, sleeps and is woken.
 * SPDX-License-Identifier: MIT
 *
 * The simple way: put tether_fd() in your poll set and call tether_drain(0) when it is readable.
 * The quiet way, which costs no wake-up while the loop is busy:
 *
 *     for (;;) {
 *             bool may_sleep = tether_park();
 *             int n = epoll_wait(ep, events, max, may_sleep ? timeout_ms : 0);
 *             tether_unpark();
 *             ... handle events; those of tether_fd() need nothing ...
 *             tether_drain(0);
 *     }
 *
 * All functions here are for the owner's own thread. None is for signal handlers. Fork: see owner.h.
 * Thread exit: the descriptor is closed after the last wake-up has ended, never before. */
#ifndef TETHER_LOOP_H
#define TETHER_LOOP_H

#include <tether/base.h>

TETHER_BEGIN_

/** Handle up to `max_nodes` of what others sent (0: until nothing is left): run destructors and
 * messages, first in, first out per sender. Returns how many were handled. What is left over stays
 * first in line, keeps the descriptor readable, and wakes a loop that has its own wake again.
 * The owner's thread. Blocks only as your destructors do. Inside a destructor, a message or another
 * drain it does nothing and returns 0. A thread without an owner has nothing to drain. */
TETHER_API size_t tether_drain(size_t max_nodes);

/** A descriptor that is readable when there is something to drain; the same one each time, made on
 * the first call (eventfd, or a pipe where there is none). Add it to your poll set for reading,
 * level-triggered; never read or close it.
 * The owner's thread. -EMFILE, -ENFILE, -ENOMEM: no descriptor can be made, reported: drain on each
 * turn of your loop, with a timeout, and tether_park() stays false. -ESRCH: the owner has ended.
 * -EBUSY: tether_set_wake() is in use. Lifetime: until the owner ends. */
TETHER_API int tether_fd(void);

/** Use your loop's own wake-up (uv_async_send, ev_async_send, ...) instead of a descriptor. `wake` is
 * called with `context` by the thread that sends, cancellation disabled; it must be thread-safe, must not
 * block, must return (no exception, no pthread_exit), calls nothing of tether itself, and leads to a
 * tether_drain() on this thread. NULL: none; call it before the loop is
 * destroyed, as after its return no wake is running or will run.
 * The owner's thread. Blocks while a wake-up on its way ends. 0, -ESRCH after the owner's end, -EBUSY
 * if tether_fd() is in use, -ENOMEM if no owner can be made. */
TETHER_API int tether_set_wake(void (*wake)(void *context), void *context);

/** Before a blocking poll: true if there is nothing to do and the next thing sent will wake the loop;
 * false if the loop must not block, because something is waiting or because it has no way to be
 * woken. The owner's thread. Does not block. Once an owner has called it, drains no longer arm. */
TETHER_API bool tether_park(void);

/** After the poll, whatever tether_park() returned: from here on nobody makes a wake-up.
 * The owner's thread. Wait-free. */
TETHER_API void tether_unpark(void);

TETHER_END_

#endif
