/* fd.c - descriptors with owners.
 * SPDX-License-Identifier: MIT
 *
 * An adopted descriptor is an object like any other: a tag, whose destructor closes the number. Its home is a table,
 *
 *     chunks[fd / 4096] --> 4096 entries of a cache line: tag | life
 *
 * whose chunks are mapped when they are first needed and never given back, so an entry can always be looked at. Its
 * owner is the tag's, and an exchange one CAS on that; 0: nobody's. Its lives begin and end under `life`:
 *
 *     n, CLOSED  --CAS-->  n, held: one adopts, and ends what is left  --store-->  n + 1, OPEN
 *     n + 1, OPEN  --CAS-->  n + 1, held: one closes; a drop  --store, then close()-->  n + 1, CLOSED
 *
 * The CAS of who closes names the life that is meant: a close that comes late, of a number that has been closed and
 * perhaps adopted again, loses it. An entry is CLOSED before its number is free: whoever gets that from the kernel finds
 * it so.
 *
 * Invariant: who holds `life` changes the state of the tag, and nobody else: of those who close a life, one closes it.
 * Invariant: the destructor writes nothing to the entry after close().
 * Invariant: a child of a fork does not wait for who held a life in its parent: what holds it is named after the process. */
#include <errno.h>
#include <fcntl.h>
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
#define LIFE_SHIFT 32

enum life { CLOSED, OPEN, HELD /* and how many forks ago the first process was */ };

struct entry {
	_Alignas(TETHERI_CACHE_LINE) struct tether tag;
	_Atomic uint64_t life; /* how many it has begun: with the number, the id; below, an enum life, or who holds it */
	int fd;                /* once it was adopted */
};
_Static_assert(sizeof(struct entry) == TETHERI_CACHE_LINE, "an entry is a cache line");

static _Atomic(struct entry *) chunks[CHUNKS];
static _Atomic int policy;

/* The entry that this thread closes; once that is no more, the error that close() said, which is smaller, or 0. */
static __thread uintptr_t closing;

/* ---- Lives ----------------------------------------------------------------------------------- */

static uint64_t lives(uint64_t life)
{
	return life >> LIFE_SHIFT;
}

static uint64_t id_of(int fd, uint64_t life)
{
	return lives(life) == 0 ? 0 : lives(life) << LIFE_SHIFT | (uint32_t)fd;
}

/* When all have been used it begins anew; 0 is none. */
static uint64_t next_life(uint64_t life)
{
	return lives(life) == UINT32_MAX ? 1 : lives(life) + 1;
}

/* False: another holds it, or it is no more. */
static bool hold(struct entry *entry, uint64_t life)
{
	uint64_t held = lives(life) << LIFE_SHIFT | (HELD + tetheri_stats_forks);

	/* Acquire: pairs with the release of who held it last. */
	return life != held &&
	       atomic_compare_exchange_strong_explicit(&entry->life, &life, held, memory_order_acquire, memory_order_relaxed);
}

static void let_go(struct entry *entry, uint64_t count, enum life how)
{
	/* Release: the entry, for who finds this life, or holds it next. */
	atomic_store_explicit(&entry->life, count << LIFE_SHIFT | how, memory_order_release);
}

static void close_it(void *object)
{
	struct entry *entry = object;
	bool is_waited_for = closing == (uintptr_t)entry;
	int saved_errno = errno;

	/* Relaxed: it is held, for us. */
	let_go(entry, lives(atomic_load_explicit(&entry->life, memory_order_relaxed)), CLOSED);
	int error = close(entry->fd) == 0 ? 0 : errno;
	errno = saved_errno;
	if (is_waited_for)
		closing = (uintptr_t)error;
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

static uint64_t word_of(const struct entry *entry)
{
	/* Acquire: pairs with the release of the transition that left this state. */
	return __atomic_load_n(&entry->tag.state_, __ATOMIC_ACQUIRE);
}

static bool is_open(const struct entry *entry)
{
	return tetheri_word_state(word_of(entry)) == TETHERI_BOUND;
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

/* Which one is asked first says whether it is open, and a socket; each may be refused by a kernel that does not know it.
 * What was opened by O_PATH has no such options, as if it were closed. */
static int ask_all(int fd, struct tether_fd_info *info)
{
	int saved_errno = errno, error = ask(fd, SO_TYPE, &info->type);

	info->is_socket = error != -ENOTSOCK && error != -EBADF;
	info->domain = info->protocol = TETHER_FD_UNKNOWN;
	if (info->is_socket) {
		(void)ask(fd, SO_DOMAIN, &info->domain);
		(void)ask(fd, SO_PROTOCOL, &info->protocol);
	}
	if (error == -EBADF && fcntl(fd, F_GETFD) >= 0)
		error = 0;
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
	if (!is_open(entry))
		return -EBUSY; /* it was dropped before a fork, and may yet be closed in this child */
	/* Relaxed: nobody is told by the word that it has ended. */
	__atomic_store_n(&entry->tag.state_, tetheri_word_with(word, TETHERI_DEAD), __ATOMIC_RELAXED);
	return 0;
}

/* We hold its life. */
static int begin(struct entry *entry, int fd, tether_owner_t owner, const void *caller)
{
	int error = end_last(entry, owner, caller);

	if (error)
		return error;
	if (entry->fd != fd) /* only ever written once, as reports read it */
		entry->fd = fd;
	(void)(tetheri_type_is_cached(&type) || tetheri_type_register(&type));
	tetheri_note(&entry->tag, TETHER_EVENT_BOUND, caller);
	tetheri_tag_start(&entry->tag, &type, TETHERI_BOUND, owner, 0, tetheri_origin_now(__builtin_frame_address(0), caller));
	tetheri_count_add(tetheri_counts(), bound, 1);
	return 0;
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
	uint64_t life = atomic_load_explicit(&entry->life, memory_order_relaxed);
	if (!hold(entry, life)) {
		tell(entry, TETHER_STALE_FD, "fd_adopt", owner, TETHERI_CALLER);
		return -EBUSY;
	}
	error = begin(entry, fd, owner, TETHERI_CALLER);
	uint64_t count = error ? lives(life) : next_life(life);
	let_go(entry, count, error ? CLOSED : OPEN);
	if (info && !error)
		info->id = id_of(fd, count << LIFE_SHIFT);
	return error;
}

/* ---- Exchange, close, check ------------------------------------------------------------------ */

/* Is the life that it was in when `life` was read the one that is meant, and open? */
static bool is_meant(const struct entry *entry, int fd, uint64_t id, uint64_t life)
{
	return is_open(entry) && (id == 0 || id == id_of(fd, life));
}

/* The entry of this life of the number, if it is open; else NULL, reported. */
static struct entry *current(int fd, uint64_t id, uint64_t *life, const char *operation, const void *caller)
{
	struct entry *entry = find(fd);

	/* Acquire: pairs with the release of the adoption. */
	*life = entry ? atomic_load_explicit(&entry->life, memory_order_acquire) : 0;
	if (!entry || word_of(entry) == 0)
		tetheri_report_call(TETHER_STALE_FD, operation, caller);
	else if (!is_meant(entry, fd, id, *life))
		tell(entry, TETHER_STALE_FD, operation, 0, caller);
	else
		return entry;
	return NULL;
}

static bool change(struct entry *entry, tether_owner_t expected, tether_owner_t to, const void *caller)
{
	enum tether_event_kind taken = expected == 0 ? TETHER_EVENT_CLAIMED : TETHER_EVENT_HANDED_OFF;

	/* Before its history says so: once it is another's, that is the other's to write. */
	if (tether_fd_owner(entry->fd) != expected)
		return false;
	tetheri_note(&entry->tag, to == 0 ? TETHER_EVENT_UNBOUND : taken, caller);
	tetheri_tsan_release(&entry->tag);
	/* Release: what was done to it, before who finds itself its owner. Acquire: the same of who gave it before. */
	return __atomic_compare_exchange_n(&entry->tag.owner_, &expected, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

int tether_fd_exchange(int fd, tether_owner_t expected, tether_owner_t to)
{
	uint64_t life;
	struct tetheri_slot *slot;
	struct entry *entry = current(fd, 0, &life, "fd_exchange", TETHERI_CALLER);

	if (!entry)
		return -EBADF;
	int error = to == 0 || to == tether_self_ ? 0 : tetheri_move_to(to, &slot, "fd_exchange", TETHERI_CALLER);
	if (error)
		return error;
	bool may = to != 0 || expected == 0 || expected == tether_self_;
	if (may && change(entry, expected, to, TETHERI_CALLER))
		return 0;
	tell(entry, TETHER_WRONG_OWNER_FD, "fd_exchange", expected, TETHERI_CALLER);
	return may ? -EPERM : -EINVAL;
}

/* Somebody else's, who is there to close it. */
static bool is_others(const struct entry *entry)
{
	return !tether_is_mine(&entry->tag) && tether_owner_is_alive(tether_fd_owner(entry->fd));
}

/* We hold its life, and its destructor lets it go. Inside of another one, that comes later. */
static int drop(struct entry *entry, const void *caller)
{
	uintptr_t outer = closing;

	closing = (uintptr_t)entry;
	(void)tetheri_drop_held(&entry->tag, caller);
	int result = closing == (uintptr_t)entry ? -EINPROGRESS : -(int)closing;
	closing = outer;
	return result;
}

int tether_fd_close(int fd, uint64_t id)
{
	uint64_t life;
	struct entry *entry = current(fd, id, &life, "fd_close", TETHERI_CALLER);

	if (!entry)
		return -EBADF;
	bool refuses = atomic_load_explicit(&policy, memory_order_relaxed) == TETHER_FD_REFUSE && is_others(entry);
	if (!refuses && !hold(entry, life)) {
		tell(entry, TETHER_STALE_FD, "fd_close", 0, TETHERI_CALLER);
		return -EBADF;
	}
	if (refuses || is_others(entry))
		tell(entry, TETHER_WRONG_OWNER_FD, "fd_close", 0, TETHERI_CALLER);
	return refuses ? -EPERM : drop(entry, TETHERI_CALLER);
}

void tether_fd_check_(int fd, uint64_t id, const char *file, int line, const char *function)
{
	const struct entry *entry = find(fd);
	/* Acquire: pairs with the release of the adoption. */
	bool is_here = entry && is_meant(entry, fd, id, atomic_load_explicit(&entry->life, memory_order_acquire));
	enum tether_kind kind = is_here ? TETHER_UNCLAIMED : TETHER_STALE_FD;
	struct tetheri_event event = {.kind = kind};

	if (is_here && tether_fd_owner(fd) != 0) {
		if (!tether_is_mine(&entry->tag))
			(void)tether_check_failed_(&entry->tag, file, line, function);
		return;
	}
	if (entry && word_of(entry) != 0)
		tetheri_event_fill(&event, kind, "fd_check", &entry->tag, TETHERI_CALLER);
	event.operation = "fd_check";
	event.address = TETHERI_CALLER;
	event.file = file;
	event.line = line;
	event.function = function;
	tetheri_report(&event);
}
