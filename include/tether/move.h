/* move.h - an object changes hands: to another owner, for a while, to nobody, to everybody.
 * SPDX-License-Identifier: MIT
 *
 *                       give
 *                      +----+
 *                      |    v      hand_off                 received
 *     nobody's <----- owned by a ----------> on its way ----------------> owned by b
 *        |   unbind    ^  |  |                    | b has gone: back to a
 *        +-------------+  |  +------> shared      v
 *             claim       v   share             owned by a
 *                  lent to b --return--> owned by a
 *
 * Only its owner may move an object (tether_give: see there), and only while it holds it alone and nobody is inside
 * (see use.h). A type with TETHER_UNSENDABLE refuses all of this. What is refused is reported, and stays as it was. A
 * drop may come at any moment, from any thread: whoever has the object then finishes it.
 *
 * Fork: what the thread that forks had sent to an owner that did not survive comes back to it in the child, and what
 * it had lent is its own again, without a report; what is on its way to it arrives. Signal handlers: none of these.
 * Thread exit: an owner that ends no longer receives, and what it had borrowed goes home, reported. dlclose: see tag.h;
 * `arrived` must not be unloaded before it was called. */
#ifndef TETHER_MOVE_H
#define TETHER_MOVE_H

#include <tether/drop.h>

TETHER_BEGIN_

/** How a hand-off ended. */
enum tether_arrival {
	TETHER_RECEIVED = 0,   /* the object is the caller's now, to whom it was sent */
	TETHER_CAME_BACK = 1,  /* it is the caller's again, who sent it: the other has gone */
	TETHER_ENDED_AWAY = 2, /* it was dropped on its way: do not touch it, it is destroyed when this returns */
	TETHER_STRANDED = 3    /* both have gone: do not touch it, the orphan policy of its type was applied */
};

/** What carries an object from one owner to the other. In the sender's memory, usually in the object itself;
 * it must stay valid until `arrived` is called, which may use it again. All fields but that are private. */
struct tether_transfer {
	struct tether_message message_;
	struct tether *tag_;
	tether_owner_t from_;
	bool is_back_;
	void (*arrived)(struct tether_transfer *transfer, struct tether *tag, enum tether_arrival arrival);
};

/** Make a transfer ready; `arrived` is not NULL. Any thread. Not while it is on its way. */
TETHER_INLINE_ void tether_transfer_init(struct tether_transfer *transfer,
                                         void (*arrived)(struct tether_transfer *, struct tether *, enum tether_arrival))
{
	tether_message_init(&transfer->message_, NULL);
	transfer->tag_ = NULL;
	transfer->from_ = 0;
	transfer->is_back_ = false;
	transfer->arrived = arrived;
}

/** Send the object to the owner `to`, in the same order as this thread's drops and posts to it. From now on
 * nobody passes the check, until `to` drains: then it is its owner, and transfer->arrived is called there with
 * TETHER_RECEIVED. If `to` ends before that, the object returns to the sender's inbox: TETHER_CAME_BACK; if the
 * sender has gone as well, TETHER_STRANDED, on whatever thread finds out. `arrived` is called exactly once for each
 * hand-off that returned 0.
 * Its owner's thread. Lock-free, never allocates. 0: on its way. In all other cases it is the caller's as before:
 * -ESRCH: `to` has gone. -EINVAL: refused, or `to` is no owner; -EALREADY: the transfer is still on its way from
 * an earlier hand-off; both reported. */
TETHER_API int tether_hand_off(struct tether *tag, tether_owner_t to, struct tether_transfer *transfer);

/** Make `to` the owner of what is `expected`'s, by one CAS: for programs that hand the object over by a queue of
 * their own, or steal it. It is `to`'s at once, so `to` must not touch it before it got the pointer by that queue.
 * The owner, or a thread whom the program's own lock orders with the owner. Wait-free. 0. -EAGAIN: it is not
 * `expected`'s (any more); not reported, as two who steal may race. -ESRCH: `to` has gone. -EINVAL: refused, or `to`
 * is no owner; reported. */
TETHER_API int tether_give(struct tether *tag, tether_owner_t expected, tether_owner_t to);

/** Leave the object to whoever calls tether_claim() first. Dropped before that it is destroyed where it is dropped.
 * Its owner's thread. Lock-free, never allocates. 0, or -EINVAL: refused, reported. */
TETHER_API int tether_unbind(struct tether *tag);

/** Lend the object to the owner `to`: it passes the check until it calls tether_return(), and the lender does not.
 * The lender stays its home: dropped meanwhile, by whomever, it is destroyed there, after its return. A borrower
 * that ends returns what it still has, reported.
 * Its owner's thread. Takes a short lock; allocates. 0. -ESRCH: `to` has gone. -ENOMEM. -EINVAL: refused, or
 * `to` is no owner, or the caller itself; reported. */
TETHER_API int tether_lend(struct tether *tag, tether_owner_t to);

/** Give back what was lent to the caller: it is its lender's again at once; tell the lender by your own means.
 * The borrower's thread. Takes a short lock; frees. 0, or -EINVAL: it was not lent to the caller; reported. */
TETHER_API int tether_return(struct tether *tag);

/** From now on every thread may use the object, and passes its check: Rust's Sync. There is no way back. Dropped, it is
 * destroyed where it is dropped; on the owner that shared it, if its type says TETHER_DIES_AT_HOME, or if it is a group
 * that has children left and that owner lives: they are its own.
 * Its owner's thread. Wait-free. 0, or -EINVAL: refused, reported. */
TETHER_API int tether_share(struct tether *tag);

TETHER_END_

#endif
