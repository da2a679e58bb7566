/* drop.h - one way to release an object to the thread that owns it, as drop.cc times it.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_PEERS_DROP_H
#define BENCH_PEERS_DROP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tether/tether.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the peers have in the place of our tag: as large, and with room for their link. */
struct tag {
	uint64_t owner;
	uint64_t state;
	struct object *next;
	uint64_t hint;
};

/* An object of one cache line. Its destructor reads what follows the tag. */
struct object {
	union {
		struct tether tether;
		struct tag tag;
	};
	uint64_t value;
	uint64_t unused[3];
} __attribute__((aligned(64)));

/* A subject. `push` is called by each producer with its own objects, `drain` by the owner when all
 * have returned, the rest by the owner outside the time that is measured. */
struct drop_peer {
	const char *subject;
	void (*init)(void);                    /* before the first round; leaves an empty queue */
	void (*revive)(struct object *object); /* before each round: a new object of the caller's */
	void (*push)(struct object **objects, size_t n);
	void (*drain)(void);
	void (*start)(void);    /* by each producer before its first push, not timed; or NULL */
	struct drop_peer *next; /* the list's */
};

/* Each file of peers adds its own before main(). */
void drop_peer_add(struct drop_peer *peer);

/* The destructor, for all: it adds the object's value to a sum. */
void object_destroy(void *object);

/* The peers' revive. */
void object_revive(struct object *object);

enum { STATE_ALIVE = 0xa5, STATE_DROPPED = 0xa6 };

/* What tether_drop() does before it may link a tag anywhere: whose is it, and am I the first to drop
 * it? Without the second two droppers link one node twice, so every peer pays for both. The loads
 * are acquire and the CAS acq_rel, as ours are: the caller's writes go before the destructor. */
static inline bool object_mark(struct object *object)
{
	uint64_t state = __atomic_load_n(&object->tag.state, __ATOMIC_ACQUIRE);

	return state == STATE_ALIVE && __atomic_load_n(&object->tag.owner, __ATOMIC_ACQUIRE) != 0 &&
	       __atomic_compare_exchange_n(&object->tag.state, &state, STATE_DROPPED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#ifdef __cplusplus
}
#endif

#endif
