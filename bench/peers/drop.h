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
	uint64_t pushed_ns; /* where latency is measured */
	uint64_t unused[2];
} __attribute__((aligned(64)));

/* What one producer pushes in one go. */
struct share {
	struct object **objects;
	size_t count;
	size_t first; /* how many the producers before it push: for what lies beside the objects */
	bool marks;   /* mark each before it is queued, as a drop must */
};

/* What a subject can stand for. */
enum { BARE = 1, WHOLE = 2 }; /* the queue alone, as it is shipped; a drop with its mark */

/* A subject. Producers call `push`; the owner calls the rest, outside the time that is measured but for `drain` and `turn`. */
struct drop_peer {
	const char *subject;
	int kinds;                                             /* BARE, WHOLE or both */
	void (*init)(size_t heap_size);                        /* once; the value of an object is below that */
	void (*revive)(struct object **objects, size_t count); /* before each round: new objects of the caller's */
	void (*push)(const struct share *share);
	void (*drain)(void);    /* all that was pushed */
	void (*turn)(void);     /* of a loop: sleep until something comes, and handle what there is; NULL: it has none */
	bool by_owners;         /* its producers have objects of their own, as the threads of a server do */
	bool silent;            /* it frees memory and calls no destructor */
	bool needs_cores;       /* producers spin until an earlier one has gone on: never more of them than cores */
	struct drop_peer *next; /* the list's */
};

/* Each file of peers adds its own before main(). */
void drop_peer_add(struct drop_peer *peer);

/* The destructor, for all: the program's, which sees that each object is destroyed once. */
void object_destroy(void *object);

/* The peers' revive. */
void objects_revive(struct object **objects, size_t count);

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

/* May it be queued? */
static inline bool share_admits(const struct share *share, struct object *object)
{
	return !share->marks || object_mark(object);
}

#ifdef __cplusplus
}
#endif

#endif
