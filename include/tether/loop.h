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
 * tether_park_for() in place of tether_park() also spares most wake-ups of senders that send now and then. What they send
 * waits for it: take tether_park() while somebody waits for an answer of theirs.
 *
 * All functions here are for the owner's own thread, and concern its current owner: of a logical one, for the thread
 * that is inside. None is for signal handlers. Fork: the child's descriptor has the same number and is another one,
 * readable if something is pending; an epoll set that was inherited still watches the parent's, so make a new one. A wake
 * of your own is not called by the fork: make your loop anew, then call tether_drain(0) once.
 * Thread exit: the descriptor is closed after the last wake-up has ended, never before. dlclose: take back your own
 * wake and `over` before their module goes. */
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

/** tether_drain() that also ends when `max_us` microseconds have passed (0: without limit). At least one node is
 * handled if there is one, and a destructor that takes its time is not cut off. Reads the clock once a node.
 * The owner's thread, and the rest as tether_drain(). */
TETHER_API size_t tether_drain_for(size_t max_nodes, uint64_t max_us);

/** Limit what may be pending for the calling thread's current owner to `max_pending` drops and messages, as
 * tether_stats() counts them; 0: no limit, as at first. Nothing is lost and no drop fails: tether_try_post() is
 * refused at the limit, and the send that exceeds it calls `over` (NULL: nobody is told), as does each that
 * exceeds it 2, 4, 8 ... times, and all of this anew when the owner was at the limit or below in between.
 * `over` runs with `context` on the thread that sends, perhaps in a signal handler, cancellation disabled; `pending`
 * is about how much there is. It must return, must not wait for this owner, and of tether calls only what a signal
 * handler may.
 * The owner's thread. Blocks while a call of the last `over` ends: after the return none runs or will run, nor
 * after the owner's end. 0, -ESRCH after the owner's end, -ENOMEM if no owner can be made. */
TETHER_API int tether_set_limit(size_t max_pending, void (*over)(void *context, size_t pending), void *context);

/** A descriptor that is readable when there is something to drain; the same one each time, made on
 * the first call (eventfd, or a pipe where there is none). Add it to your poll set for reading,
 * level-triggered; never read or close it.
 * The owner's thread. -EMFILE, -ENFILE, -ENOMEM: no descriptor can be made, reported: drain on each
 * turn of your loop, with a timeout, and tether_park() stays false. -ESRCH: the owner has ended.
 * -EBUSY: tether_set_wake() is in use. Lifetime: until the owner ends. */
TETHER_API int tether_fd(void);

/** How the calling thread's current owner is woken, for a log: "eventfd"; "pipe", where the kernel has no eventfd or
 * forbids it; "own", by tether_set_wake(); "none", as nothing was asked for yet, or nothing can be had.
 * The kernel itself is asked, in tether_fd(): not a symbol that something may stand before, nor what was there when
 * the library was compiled. The owner's thread. Does not block, allocate or report. The text is constant. */
TETHER_API const char *tether_wake_name(void);

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

/** tether_park() for a poll that can end after microseconds (epoll_pwait2, ppoll, a timer of your loop): how long it
 * may block, at most `timeout_us` (below 0: without end). 0: not at all, see tether_park(). In the first poll after
 * something was drained it is no longer than the option linger_us, 50 unless told, and nobody makes a wake-up meanwhile: call
 * tether_drain() when it is over. So a loop to which something is sent now and then is woken once, and not each time; what is sent
 * may wait that long. Where such polls bring nothing, they become rare. The owner's thread, and the rest as tether_park(). */
TETHER_API int64_t tether_park_for(int64_t timeout_us);

/** After the poll, whatever tether_park() returned: from here on nobody makes a wake-up.
 * The owner's thread. Wait-free. */
TETHER_API void tether_unpark(void);

TETHER_END_

#endif
