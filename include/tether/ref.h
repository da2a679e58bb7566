/* ref.h - count who holds an object: cheaply for one owner, safely for all; the last one drops it at home.
 * SPDX-License-Identifier: MIT
 *
 *     struct conn { int fd; struct tether tether; struct tether_ref ref; };
 *
 *     tether_bind(&c->tether, &conn_type);
 *     tether_ref_init(&c->ref, &c->tether);     // one reference, ours; from now on nobody calls tether_drop()
 *     tether_ref_get(&c->ref);                  // one more, for whom we give the object to
 *     tether_ref_put(&c->ref);                  // on any thread; the last one drops the object
 *
 * The owner that calls tether_ref_init() counts with loads and stores, everybody else with one atomic
 * operation. That goes with the counting, not with the tag: after a hand-off the first owner still counts
 * cheaply. When others have put what it had counted, it is asked, by a message, to add the two up; until
 * it drains, the object is held. Once its owner has gone, or has put all that it counted, all count alike.
 *
 * Fork: the forking thread counts as before. An owner that did not survive has gone, and whoever puts adds up
 * in its place; where it had been asked to, the thread that forked does, when it drains. What threads that did not
 * survive held is never put there. Signal handlers: tether_ref_count; tether_ref_get and tether_ref_try_get unless the
 * thread is inside the owner that called tether_ref_init, which they could interrupt between a load and a store; never
 * tether_ref_put, which may run a destructor.
 * Thread exit: what the owner counted stays counted, and others add it up. dlclose: see tag.h. */
#ifndef TETHER_REF_H
#define TETHER_REF_H

#include <tether/drop.h>

TETHER_BEGIN_

/** A count of references: 72 bytes, in the object, beside its tag. All fields are private. All zero is a
 * valid "not made": using it is reported, never undefined. */
struct tether_ref {
	uint64_t biased_;             /* the owner that counts in local_; constant */
	uint64_t local_;              /* its count, while its inbox is open; atomic, as others may look */
	uint64_t shared_;             /* the others' count, and what became of the two; atomic */
	struct tether *tag_;          /* of the object; constant */
	struct tether_message merge_; /* asks the owner to add up */
};

#define TETHER_REF_MAX_ (UINT64_C(1) << 31)

/* The rest of each, where the caller is not the owner, or its count leaves the plain range. Private. */
TETHER_API void tether_ref_get_slow_(struct tether_ref *ref);
TETHER_API bool tether_ref_try_get_slow_(struct tether_ref *ref);
TETHER_API void tether_ref_put_slow_(struct tether_ref *ref);

/** Start counting with one reference, the caller's. `tag` is what the last put drops: the object's, bound or not yet;
 * it may change hands meanwhile. Overwrites what was there, so it is for memory that nobody else can reach yet.
 * Any thread; its current owner is the one that counts cheaply. Wait-free after the thread's first
 * call, which may allocate (see tether_self()). Reports only what that reports; a thread that can have no
 * owner counts as others do. */
TETHER_API void tether_ref_init(struct tether_ref *ref, struct tether *tag);

/* Relaxed: while the inbox is open this thread alone writes local_. 0 and what is beyond the range wrap around. */
TETHER_INLINE_ bool tether_ref_count_up_(struct tether_ref *ref)
{
	uint64_t local = __atomic_load_n(&ref->local_, __ATOMIC_RELAXED);

	if (TETHER_UNLIKELY_(ref->biased_ != tether_open_self_ || local - 1 >= TETHER_REF_MAX_ - 2))
		return false;
	__atomic_store_n(&ref->local_, local + 1, __ATOMIC_RELAXED);
	return true;
}

/** One more reference. The caller holds one, or is sure that somebody does until this returns.
 * Any thread. Wait-free. Never allocates. Reports a count that was never made, that has ended, or that goes beyond
 * 2^31: then it sticks, and the object stays for ever. */
TETHER_INLINE_ void tether_ref_get(struct tether_ref *ref)
{
	if (!tether_ref_count_up_(ref))
		tether_ref_get_slow_(ref);
}

/** A reference for a caller that holds none but keeps the memory valid, as a cache with weak entries does: true if the
 * caller has one now; false, without a report, once the last one has gone. The cache looks the object up and calls this
 * under its lock, and the object's destructor takes it out of the cache under that lock.
 * (Whether a put by others was the last is not decided before the owner adds up: until then this is true, and the
 * object lives on.)
 * Any thread. Lock-free. Never allocates. Reports as tether_ref_get(). */
TETHER_INLINE_ bool tether_ref_try_get(struct tether_ref *ref)
{
	return tether_ref_count_up_(ref) || tether_ref_try_get_slow_(ref);
}

/** Give a reference back. The last one drops the object, as tether_drop() does: its destructor runs on the
 * tag's owner, at once if that is the calling thread. If the last ones to be put were counted by an owner that is
 * another thread, it runs after that owner's next drain.
 * After this call the caller may not touch the object, unless it holds another reference.
 * Any thread, not a signal handler. Lock-free, never allocates, never fails for memory. Reports a put with
 * nothing left, which changes nothing; and what tether_drop() and tether_post() report. */
TETHER_INLINE_ void tether_ref_put(struct tether_ref *ref)
{
	uint64_t local = __atomic_load_n(&ref->local_, __ATOMIC_RELAXED);

	if (TETHER_UNLIKELY_(ref->biased_ != tether_open_self_ || local - 2 >= TETHER_REF_MAX_ - 2))
		tether_ref_put_slow_(ref);
	else
		__atomic_store_n(&ref->local_, local - 1, __ATOMIC_RELAXED);
}

/** About how many references there are: for people, and for tests at quiet points. Any thread, signal handlers
 * too. Wait-free. Never reports. */
TETHER_API uint64_t tether_ref_count(const struct tether_ref *ref);

TETHER_END_

#endif
