/* ref.c - references that one owner counts without atomics; the last put drops the object, once, at home.
 * SPDX-License-Identifier: MIT
 *
 * Two counters. `local_` is for the owner that made the count, and takes loads and stores. `shared_` is for
 * all others and is signed: who puts what the owner counted takes it below 0.
 *
 *      63                                       2        1        0
 *     +------------------------------------------+--------+--------+
 *     |  count of the others                     | MERGED | QUEUED |      references = local_ + count,
 *     +------------------------------------------+--------+--------+      and count alone once MERGED
 *
 *                     the owner's last put
 *        (neither) -------------------------> MERGED ------ put, to 0 ------> GONE = MERGED, 0: drop
 *         |     |                              ^  ^                            ^
 *         |     +---- put below 0, and the ----+  |                            |
 *         |           owner has gone              | merge, above 0             | merge, 0
 *         | put below 0: post merge_              |                            |
 *         v                                       |                            |
 *        QUEUED --------------------------------->+--------------------------->+
 *         |  the owner's last put                 ^                            ^
 *         +--------------------> QUEUED, MERGED --+----------------------------+
 *
 * Invariant: `local_` has one writer at a time: the thread inside the owner while its inbox is open, which
 *   tether_open_self_ says; after that nobody, but the one run of the merge.
 * Invariant: QUEUED is set once in a count's life, by a put that leaves it not MERGED, and cleared by the merge, which
 *   leaves it MERGED. While it is set the word is not GONE: it holds the object, and `merge_` with it.
 * Invariant: the word becomes GONE by one CAS, and who made that CAS drops the object. Everybody else touches
 *   nothing of it after the CAS that put his reference.
 *
 * What could hurt, and why it does not:
 *   put/put          two go below 0: the first CAS sets QUEUED, the second finds it. (Set in a second step, it
 *                    may come when the other's merge is through and the memory is free.)
 *   put/owner's put  the last of each: MERGED comes before the put, which then makes it GONE; or after it, and
 *                    finds count 0, or QUEUED, and the merge is on its way.
 *   put/merge        the merge's CAS fails and it adds up again; or the put finds MERGED.
 *   put/exit         the owner stops counting in `local_`, then closes its inbox. The put finds it closed, with
 *                    all that it counted, and adds up itself; or its message is in what the close returned, and runs
 *                    there; or the message finds the inbox closed after all, and adds up where it comes back.
 *   exit/exit        of two that find the owner gone, the CAS of one adds up, the other's finds MERGED.
 *   get/merge        `count` includes it, before or after; only the owner itself counts in `local_`, and the
 *                    merge runs on its thread, or after its end.
 *   try_get/put      a try finds GONE, or takes the count up before it gets there.
 *   post/merge       the merge may have run, and the object be gone, when tether_post() returns.
 *   slot reuse       the message is a stray to the slot's next owner, and comes back there: that owner got the slot
 *                    after the first one's close.
 * After Choi, Shull, Torrellas: "Biased reference counting" (PACT 2018); that a message holds the object, what happens at
 * the owner's end, and the drop at home are ours. */
#include "internal.h"

#define QUEUED UINT64_C(1)
#define MERGED UINT64_C(2)
#define ONE UINT64_C(4)
#define GONE MERGED
#define STUCK (UINT64_C(1) << 40) /* in local_: more than others can take away */

static int64_t count_of(uint64_t word)
{
	return (int64_t)word >> 2;
}

static bool is_over(int64_t count)
{
	return count >= (int64_t)TETHER_REF_MAX_;
}

static TETHER_COLD_ void complain(const struct tether_ref *ref, enum tether_kind kind, const char *operation, const void *caller)
{
	if (ref->tag_)
		tetheri_report_tag(kind, operation, ref->tag_, caller);
	else
		tetheri_report_call(kind, operation, caller);
}

/* The count has ended: what those did who put before is ours to see, and the object ours to drop. */
static void drop(struct tether_ref *ref, const void *caller)
{
	tetheri_tsan_acquire(ref);
	(void)tetheri_drop(ref->tag_, caller);
}

/* ---- Adding up ------------------------------------------------------------------------------- */

static uint64_t sum_of(uint64_t word, uint64_t local)
{
	int64_t sum = count_of(word) + (int64_t)local;

	return (sum > 0 ? (uint64_t)sum * ONE : 0) | MERGED;
}

/* The message: on its owner's thread, or anywhere once that has gone. */
static void merge(struct tether_message *message, enum tether_fate fate)
{
	struct tether_ref *ref = (struct tether_ref *)((char *)message - offsetof(struct tether_ref, merge_));
	/* Relaxed: this thread wrote it, or has acquired the owner's end. */
	uint64_t local = __atomic_load_n(&ref->local_, __ATOMIC_RELAXED);
	uint64_t word = __atomic_load_n(&ref->shared_, __ATOMIC_RELAXED), sum;

	(void)fate;
	/* Before MERGED: whoever finds that may free it. */
	__atomic_store_n(&ref->local_, 0, __ATOMIC_RELAXED);
	tetheri_tsan_release(ref);
	do {
		sum = sum_of(word, local);
		/* Release: what the owner did to the object, before the put that ends it. Acquire: what all did that have put. */
	} while (!__atomic_compare_exchange_n(&ref->shared_, &word, sum, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	int64_t total = count_of(word) + (int64_t)local;
	if (total < 0 || is_over(total)) /* still ours, or for ever there */
		complain(ref, TETHER_BAD_COUNT, "ref_merge", TETHERI_CALLER);
	if (sum == GONE)
		drop(ref, TETHERI_CALLER);
}

bool tetheri_ref_is_held(const struct tether_message *message)
{
	const struct tether_ref *ref = (const struct tether_ref *)((const char *)message - offsetof(struct tether_ref, merge_));

	return message->fn == merge &&
	       sum_of(__atomic_load_n(&ref->shared_, __ATOMIC_RELAXED), __atomic_load_n(&ref->local_, __ATOMIC_RELAXED)) != GONE;
}

/* ---- Up -------------------------------------------------------------------------------------- */

/* The owner, at the end of its range? It stays there. */
static bool sticks(struct tether_ref *ref)
{
	uint64_t local = __atomic_load_n(&ref->local_, __ATOMIC_RELAXED);

	if (ref->biased_ != tether_open_self_ || local < TETHER_REF_MAX_ - 1)
		return false;
	__atomic_store_n(&ref->local_, STUCK, __ATOMIC_RELAXED);
	return true;
}

void tether_ref_get_slow_(struct tether_ref *ref)
{
	if (tetheri_unlikely(ref->biased_ == 0) || tetheri_unlikely(sticks(ref))) {
		complain(ref, TETHER_BAD_COUNT, "ref_get", TETHERI_CALLER);
		return;
	}
	/* Relaxed: the reference that the caller holds keeps the object, and what is in it came with that. */
	uint64_t before = __atomic_fetch_add(&ref->shared_, ONE, __ATOMIC_RELAXED);
	if (tetheri_unlikely(before == GONE))
		__atomic_fetch_sub(&ref->shared_, ONE, __ATOMIC_RELAXED);
	if (tetheri_unlikely(before == GONE) || tetheri_unlikely(is_over(count_of(before) + 1)))
		complain(ref, TETHER_BAD_COUNT, "ref_get", TETHERI_CALLER);
}

bool tether_ref_try_get_slow_(struct tether_ref *ref)
{
	uint64_t word = __atomic_load_n(&ref->shared_, __ATOMIC_RELAXED);
	bool is_zero = ref->biased_ == 0;

	if (tetheri_unlikely(is_zero) || tetheri_unlikely(sticks(ref))) {
		complain(ref, TETHER_BAD_COUNT, "ref_try_get", TETHERI_CALLER);
		return !is_zero;
	}
	do {
		if (word == GONE)
			return false;
		/* Acquire: pairs with the release of the puts before, as the caller comes from none who holds it. */
	} while (!__atomic_compare_exchange_n(&ref->shared_, &word, word + ONE, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	tetheri_tsan_acquire(ref);
	if (tetheri_unlikely(is_over(count_of(word) + 1)))
		complain(ref, TETHER_BAD_COUNT, "ref_try_get", TETHERI_CALLER);
	return true;
}

/* ---- Down ------------------------------------------------------------------------------------ */

/* The owner puts the last that it had counted; the others' count is the whole from now on. */
static __attribute__((noinline)) void put_last(struct tether_ref *ref, const void *caller)
{
	/* Relaxed: below 0 somebody puts what he does not hold; who does hold one sees that it is not. */
	uint64_t word = __atomic_load_n(&ref->shared_, __ATOMIC_RELAXED);

	if (tetheri_unlikely(count_of(word) < 0)) {
		complain(ref, TETHER_BAD_COUNT, "ref_put", caller);
		return;
	}
	/* Before MERGED: whoever finds that may free it. */
	__atomic_store_n(&ref->local_, 0, __ATOMIC_RELAXED);
	tetheri_tsan_release(ref);
	/* Release and acquire: as in the merge. */
	while (!__atomic_compare_exchange_n(&ref->shared_, &word, word | MERGED, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		continue;
	if ((word | MERGED) == GONE)
		drop(ref, caller);
}

/* Another takes away what the owner had counted, perhaps the last. Who may read `local_` has to look: the owner; or, once
 * that has gone, we. */
static __attribute__((noinline)) uint64_t below_zero(const struct tether_ref *ref, uint64_t less)
{
	struct tetheri_slot *slot;
	enum tetheri_place place = tetheri_owner_find(ref->biased_, &slot);

	if (place == TETHERI_NOT_OURS)
		return less + ONE;
	if (place == TETHERI_ALIVE && tetheri_slot_is_open(slot))
		return less | QUEUED;
	tetheri_tsan_acquire(slot);
	/* Relaxed: what found it closed was an acquire. */
	return sum_of(less, __atomic_load_n(&ref->local_, __ATOMIC_RELAXED));
}

/* What a put makes of `word`; the same again, if there is nothing that it could put. */
static inline uint64_t less_one(const struct tether_ref *ref, uint64_t word)
{
	uint64_t less = word - ONE;

	if (tetheri_unlikely(word == GONE))
		return word;
	if (tetheri_unlikely(count_of(less) < 0) && !(word & (MERGED | QUEUED)))
		return below_zero(ref, less);
	return less;
}

/* Everything but the common case. */
static __attribute__((noinline)) void put_any(struct tether_ref *ref, const void *caller)
{
	uint64_t word = __atomic_load_n(&ref->shared_, __ATOMIC_RELAXED), left;

	tetheri_tsan_release(ref);
	do {
		if (is_over(count_of(word)))
			return;
		left = less_one(ref, word);
		if (left == word) {
			complain(ref, word & MERGED || ref->biased_ == 0 ? TETHER_BAD_COUNT : TETHER_OTHER_COPY, "ref_put", caller);
			return;
		}
		/* Release: what the caller did to the object. Acquire: what the others did, if it is ours to drop. */
	} while (!__atomic_compare_exchange_n(&ref->shared_, &word, left, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	if (left == GONE)
		drop(ref, caller);
	else if (left & ~word & QUEUED)
		(void)tether_post(ref->biased_, &ref->merge_);
}

/* The common case: nobody has anything to do after it. */
static inline bool put_one_of_many(struct tether_ref *ref)
{
	uint64_t word = __atomic_load_n(&ref->shared_, __ATOMIC_RELAXED), left = word - ONE;

	if (TETHERI_TSAN_IS_HERE || left == GONE || count_of(left) < 0 || is_over(count_of(word)))
		return false;
	/* Release: as in put_any. */
	return __atomic_compare_exchange_n(&ref->shared_, &word, left, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void tether_ref_put_slow_(struct tether_ref *ref)
{
	uint64_t local = __atomic_load_n(&ref->local_, __ATOMIC_RELAXED);

	if (ref->biased_ != tether_open_self_ || local == 0) {
		if (!put_one_of_many(ref))
			put_any(ref, TETHERI_CALLER);
	} else if (local == 1)
		put_last(ref, TETHERI_CALLER);
}

/* ---- The rest -------------------------------------------------------------------------------- */

void tether_ref_init(struct tether_ref *ref, struct tether *tag)
{
	if (tether_open_self_ == TETHER_NOBODY_)
		(void)tetheri_owner_make(TETHERI_CALLER);
	bool has_owner = tether_open_self_ != TETHER_NOBODY_;
	ref->biased_ = tether_open_self_;
	/* Relaxed: nobody else can reach it yet. */
	__atomic_store_n(&ref->local_, has_owner, __ATOMIC_RELAXED);
	__atomic_store_n(&ref->shared_, has_owner ? 0 : MERGED + ONE, __ATOMIC_RELAXED);
	ref->tag_ = tag;
	tether_message_init(&ref->merge_, merge);
	tetheri_fork_look();
}

uint64_t tether_ref_count(const struct tether_ref *ref)
{
	uint64_t word = __atomic_load_n(&ref->shared_, __ATOMIC_RELAXED);
	int64_t count = count_of(word);

	if (!(word & MERGED))
		count += (int64_t)__atomic_load_n(&ref->local_, __ATOMIC_RELAXED);
	return count > 0 ? (uint64_t)count : 0;
}
