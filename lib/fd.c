/* fd.c - descriptors with owners.
 * SPDX-License-Identifier: MIT
 *
 * An adopted descriptor is an object like any other: a tag, whose destructor closes the number. Its home is a table,
 *
 *     chunks[fd / 4096] --> 4096 entries of a cache line: tag | life | result
 *
 * whose chunks are mapped when they are first needed and never given back, so an entry can always be looked at. Its
 * owner is the tag's, its close a drop, its exchange a tether_give().
 *
 *     life, even                odd: one thread adopts            even, 2 more
 *     (closed, or never was) ------- CAS -------> bind ------- store (release) -------> open
 *                                                               ^                         |
 *                                              adopted again ---+                         v
 *                                              though not closed: reported     drop: DEAD, then close()
 *
 * An entry is DEAD before its number is free: whoever gets the number from the kernel finds it closed.
 *
 * Invariant: of those who close one life of a number, one closes it: that is the drop's CAS.
 * Invariant: the destructor writes nothing to the entry after close().
 * Invariant: `result` is NULL, but while its owner's thread is in tether_fd_close(). */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tether/fd.h>
#include <tether/move.h>

#include "fd.h"
#include "internal.h"

#define CHUNK 4096
#define CHUNKS (TETHER_FD_MAX / CHUNK)
#define ID_SHIFT 32

struct entry {
	_Alignas(TETHERI_CACHE_LINE) struct tether tag;
	_Atomic uint32_t life; /* odd: it is being adopted. Half of it and the number are the id */
	int fd;                /* once it was adopted */
	_Atomic(int *) result; /* where close() leaves its error; NULL: nobody waits for it */
};
_Static_assert(sizeof(struct entry) == TETHERI_CACHE_LINE, "an entry is a cache line");

static _Atomic(struct entry *) chunks[CHUNKS];
static _Atomic unsigned adopting; /* how many entries are odd */
static _Atomic int policy;

static void close_it(void *object)
{
	struct entry *entry = object;
	/* Relaxed: it is this thread's own, or NULL. */
	int *result = atomic_load_explicit(&entry->result, memory_order_relaxed);

	atomic_store_explicit(&entry->result, NULL, memory_order_relaxed);
	int error = close(entry->fd) == 0 ? 0 : -errno;
	if (result)
		*result = error;
}

/* Closing works on any thread, once its owner has gone. And in a child: its copy is open there, too. */
static const struct tether_type type = TETHER_TYPE_AT("descriptor", 0, offsetof(struct entry, tag), close_it, NULL, NULL, NULL,
                                                      TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT, TETHER_DIES_IN_CHILDREN);

/* ---- The table ------------------------------------------------------------------------------- */

static bool in_range(int fd)
{
	return fd >= 0 && fd < TETHER_FD_MAX;
}

/* NULL: never adopted. */
static struct entry *find(int fd)
{
	if (!in_range(fd))
		return NULL;
	/* Acquire: pairs with the release of who mapped it. */
	struct entry *chunk = atomic_load_explicit(&chunks[fd / CHUNK], memory_order_acquire);
	return chunk ? &chunk[fd % CHUNK] : NULL;
}

/* NULL: no memory. */
static struct entry *find_or_map(int fd)
{
	struct entry *entry = find(fd), *chunk, *expected = NULL;

	if (entry)
		return entry;
	chunk = mmap(NULL, CHUNK * sizeof *chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk == MAP_FAILED)
		return NULL;
	/* Release: zeroes; and for whoever finds it. Acquire: it is the other's that we use. */
	if (!atomic_compare_exchange_strong_explicit(&chunks[fd / CHUNK], &expected, chunk, memory_order_release,
	                                             memory_order_acquire)) {
		(void)munmap(chunk, CHUNK * sizeof *chunk);
		chunk = expected;
	}
	return &chunk[fd % CHUNK];
}

/* 0: it never began. */
static uint64_t id_of(int fd, uint32_t life)
{
	return life < 2 ? 0 : (uint64_t)(life / 2) << ID_SHIFT | (uint32_t)fd;
}

static uint64_t word_of(const struct entry *entry)
{
	/* Acquire: pairs with the release of the transition that left this state. */
	return __atomic_load_n(&entry->tag.state_, __ATOMIC_ACQUIRE);
}

static bool is_open(const struct entry *entry)
{
	enum tetheri_state state = tetheri_word_state(word_of(entry));

	return state == TETHERI_BOUND || state == TETHERI_UNBOUND || state == TETHERI_MOVING;
}

static bool is_nobodys(const struct entry *entry)
{
	return tetheri_word_state(word_of(entry)) == TETHERI_UNBOUND;
}

uint64_t tether_fd_id(int fd)
{
	struct entry *entry = find(fd);

	/* Acquire: pairs with the release of the adoption. */
	return entry ? id_of(fd, atomic_load_explicit(&entry->life, memory_order_acquire)) : 0;
}

tether_owner_t tether_fd_owner(int fd)
{
	struct entry *entry = find(fd);

	if (!entry || !is_open(entry))
		return 0;
	return __atomic_load_n(&entry->tag.owner_, __ATOMIC_RELAXED) & ~TETHERI_DROPPED_BIT;
}

int tetheri_fd_number(const struct tether_type *of, const struct tether *tag)
{
	return of == &type ? ((const struct entry *)((const char *)tag - offsetof(struct entry, tag)))->fd : -1;
}

void tether_fd_set_policy(enum tether_fd_policy wanted)
{
	atomic_store_explicit(&policy, (int)wanted, memory_order_relaxed);
}

/* ---- What the kernel says -------------------------------------------------------------------- */

/* 0, or -errno. */
static int ask(int fd, int option, int *value)
{
	socklen_t length = sizeof *value;

	*value = TETHER_FD_UNKNOWN;
	if (getsockopt(fd, SOL_SOCKET, option, value, &length) == 0)
		return 0;
	*value = TETHER_FD_UNKNOWN;
	return -errno;
}

/* Which one is asked first says whether it is open, and a socket; each may be refused by a kernel that does not know it. */
static int ask_all(int fd, struct tether_fd_info *info)
{
	int saved_errno = errno, error = ask(fd, SO_TYPE, &info->type);

	info->is_socket = error != -ENOTSOCK && error != -EBADF;
	info->domain = info->protocol = TETHER_FD_UNKNOWN;
	if (info->is_socket) {
		(void)ask(fd, SO_DOMAIN, &info->domain);
		(void)ask(fd, SO_PROTOCOL, &info->protocol);
	}
	errno = saved_errno;
	return error == -EBADF ? -EBADF : 0;
}

/* ---- Adopt ----------------------------------------------------------------------------------- */

static void tell(const struct entry *entry, enum tether_kind kind, const char *operation, tether_owner_t other,
                 const void *caller)
{
	struct tetheri_event event;

	tetheri_event_fill(&event, kind, operation, &entry->tag, caller);
	event.other = other;
	tetheri_report(&event);
}

/* What is still there of its last life. */
static int end_last(struct entry *entry, tether_owner_t owner, const void *caller)
{
	uint64_t word = word_of(entry);

	if (word == 0 || tetheri_word_state(word) == TETHERI_DEAD)
		return 0;
	tell(entry, TETHER_STALE_FD, "fd_adopt", owner, caller);
	/* Acquire: what its owner did to it, before the new one. Relaxed: nobody is told by the word that it has ended. */
	if (is_open(entry) && __atomic_compare_exchange_n(&entry->tag.state_, &word, tetheri_word_with(word, TETHERI_DEAD), false,
	                                                  __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return 0;
	return -EBUSY; /* it was dropped, and will be closed */
}

/* Its life is odd: it is ours to write. */
static int begin(struct entry *entry, int fd, tether_owner_t owner, const void *caller)
{
	int error = end_last(entry, owner, caller);

	if (error)
		return error;
	if (entry->fd != fd) /* only ever written once, as reports read it */
		entry->fd = fd;
	tetheri_bind(&entry->tag, &type, caller);
	if (owner != tether_self_)
		error = tether_give(&entry->tag, tether_self_, owner);
	if (error)
		tether_fini(&entry->tag);
	return error;
}

int tether_fd_adopt(int fd, tether_owner_t owner, struct tether_fd_info *info)
{
	struct tetheri_slot *slot;
	int error = owner == tether_self_ ? 0 : tetheri_move_to(owner, &slot, "fd_adopt", TETHERI_CALLER);

	if (error == 0 && (!in_range(fd) || (info && ask_all(fd, info) != 0)))
		error = -EBADF;
	if (error)
		return error;
	struct entry *entry = find_or_map(fd);
	if (!entry)
		return -ENOMEM;
	uint32_t life = atomic_load_explicit(&entry->life, memory_order_relaxed) & ~1U;
	/* Acquire: pairs with the release of who adopted it last. */
	if (!atomic_compare_exchange_strong_explicit(&entry->life, &life, life | 1, memory_order_acquire, memory_order_relaxed)) {
		tell(entry, TETHER_STALE_FD, "fd_adopt", owner, TETHERI_CALLER);
		return -EBUSY;
	}
	atomic_fetch_add_explicit(&adopting, 1, memory_order_relaxed);
	error = begin(entry, fd, owner, TETHERI_CALLER);
	life += error ? 0 : 2;
	/* Release: the entry, for who finds this life. */
	atomic_store_explicit(&entry->life, life, memory_order_release);
	atomic_fetch_sub_explicit(&adopting, 1, memory_order_relaxed);
	if (info && !error)
		info->id = id_of(fd, life);
	return error;
}

/* ---- Exchange, close, check ------------------------------------------------------------------ */

/* The entry of this life of the number, if it is open; else NULL, reported. */
static struct entry *current(int fd, uint64_t id, const char *operation, const void *caller)
{
	struct entry *entry = find(fd);

	if (!entry || word_of(entry) == 0)
		tetheri_report_call(TETHER_STALE_FD, operation, caller);
	else if ((id != 0 && id != tether_fd_id(fd)) || !is_open(entry))
		tell(entry, TETHER_STALE_FD, operation, 0, caller);
	else
		return entry;
	return NULL;
}

/* To or from nobody: 0, -EAGAIN: it is not `expected`'s, or what refused it said. */
static int exchange_nobody(struct entry *entry, tether_owner_t expected, tether_owner_t to)
{
	if (expected != 0 && to == 0)
		return tether_fd_owner(entry->fd) == expected ? tether_unbind(&entry->tag) : -EAGAIN;
	if (!is_nobodys(entry) || (to != 0 && !tether_claim(&entry->tag)))
		return -EAGAIN;
	int error = to == 0 || to == tether_self_ ? 0 : tether_give(&entry->tag, tether_self_, to);
	if (error)
		(void)tether_unbind(&entry->tag);
	return error;
}

int tether_fd_exchange(int fd, tether_owner_t expected, tether_owner_t to)
{
	struct entry *entry = current(fd, 0, "fd_exchange", TETHERI_CALLER);

	if (!entry)
		return -EBADF;
	int error = expected == 0 || to == 0 ? exchange_nobody(entry, expected, to) : tether_give(&entry->tag, expected, to);
	if (error != -EAGAIN)
		return error;
	tell(entry, TETHER_WRONG_OWNER_FD, "fd_exchange", expected, TETHERI_CALLER);
	return -EPERM;
}

/* Somebody else's, who is there to close it. */
static bool is_others(const struct entry *entry)
{
	return !is_nobodys(entry) && !tether_is_mine(&entry->tag) && tether_owner_is_alive(tether_fd_owner(entry->fd));
}

static int drop(struct entry *entry, bool is_here)
{
	int result = 0;

	if (is_here)
		atomic_store_explicit(&entry->result, &result, memory_order_relaxed);
	switch (tether_drop(&entry->tag)) {
	case TETHER_HERE:
	case TETHER_ORPHANED:
		return result;
	case TETHER_REFUSED: /* somebody else was first, and it is not closed yet */
		if (is_here)
			atomic_store_explicit(&entry->result, NULL, memory_order_relaxed);
		return -EBADF;
	default:
		if (is_here)
			atomic_store_explicit(&entry->result, NULL, memory_order_relaxed);
		return -EINPROGRESS;
	}
}

int tether_fd_close(int fd, uint64_t id)
{
	struct entry *entry = current(fd, id, "fd_close", TETHERI_CALLER);

	if (!entry)
		return -EBADF;
	if (!is_others(entry))
		return drop(entry, tether_is_mine(&entry->tag));
	tell(entry, TETHER_WRONG_OWNER_FD, "fd_close", 0, TETHERI_CALLER);
	if (atomic_load_explicit(&policy, memory_order_relaxed) == TETHER_FD_REFUSE)
		return -EPERM;
	return drop(entry, false);
}

void tether_fd_check_(int fd, uint64_t id, const char *file, int line, const char *function)
{
	const struct entry *entry = find(fd);
	struct tetheri_event event = {.kind = TETHER_STALE_FD};

	if (entry && is_open(entry) && (id == 0 || id == tether_fd_id(fd))) {
		if (!tether_is_mine(&entry->tag))
			(void)tether_check_failed_(&entry->tag, file, line, function);
		return;
	}
	if (entry && word_of(entry) != 0)
		tetheri_event_fill(&event, TETHER_STALE_FD, "fd_check", &entry->tag, TETHERI_CALLER);
	event.operation = "fd_check";
	event.address = TETHERI_CALLER;
	event.file = file;
	event.line = line;
	event.function = function;
	tetheri_report(&event);
}

/* ---- In a child of a fork -------------------------------------------------------------------- */

/* Who was adopting elsewhere never comes to the end of it. */
void tetheri_fd_fork_child(void)
{
	if (atomic_exchange_explicit(&adopting, 0, memory_order_relaxed) == 0)
		return;
	for (size_t i = 0; i < CHUNKS; i++) {
		struct entry *chunk = atomic_load_explicit(&chunks[i], memory_order_relaxed);
		for (size_t k = 0; chunk && k < CHUNK; k++) {
			uint32_t life = atomic_load_explicit(&chunk[k].life, memory_order_relaxed);
			if (life & 1)
				atomic_store_explicit(&chunk[k].life, life & ~1U, memory_order_relaxed);
		}
	}
}
