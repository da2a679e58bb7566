/* fd.h - descriptors with owners: who may use and close a number, and which of its lives that number is in.
 * SPDX-License-Identifier: MIT
 *
 *     uint64_t id = tether_fd_adopt(fd, tether_self(), &info);  // see below for its errors
 *     TETHER_FD_CHECK(fd, id);                                  // before each read and write
 *     tether_fd_close(fd, id);                                  // instead of close()
 *
 * A number says nothing: what is closed by mistake, and opened by another thread in between, is another thread's
 * connection. So an adopted descriptor has an owner, as objects have, and an id, which tells its lives apart.
 *
 * Fork: the child's numbers are copies, and so is what is known of them: those of the thread that forks are its own, those
 * of other threads have lost their owner, and may be taken by tether_fd_exchange() or closed. vfork, exec and
 * SCM_RIGHTS make nothing known in the other process: adopt there. Signal handlers: none of these. Thread exit: a
 * descriptor that is left behind stays open, and is closed where somebody closes it. dlclose: nothing.
 * After fdsan (Android's bionic), whose owners are tags that the program makes. */
#ifndef TETHER_FD_H
#define TETHER_FD_H

#include <tether/tag.h>

TETHER_BEGIN_

#define TETHER_FD_MAX (1 << 26) /* numbers below that can be adopted; Linux gives out less than 2^20 unless told */
#define TETHER_FD_UNKNOWN (-1)  /* the kernel would not say, or there is nothing to say */

/** What the kernel says of a descriptor: SO_DOMAIN, SO_TYPE and SO_PROTOCOL of a socket. */
struct tether_fd_info {
	uint64_t id; /* what tether_fd_adopt() gave */
	bool is_socket;
	int domain;   /* AF_INET, ...; TETHER_FD_UNKNOWN: no socket, or refused. Never a guess */
	int type;     /* SOCK_STREAM, ...; likewise */
	int protocol; /* IPPROTO_TCP, ...; likewise. Where ENOPROTOOPT is the answer it is not known, and not 0 */
};

/** What tether_fd_close() does with a descriptor that is another owner's, besides reporting it. */
enum tether_fd_policy {
	TETHER_FD_SEND_HOME = 0, /* it is closed on its owner, by its next drain */
	TETHER_FD_REFUSE = 1     /* it stays open */
};

/** Make `owner` the owner of an open descriptor, and the library the one who closes it. `info` (may be NULL: then the
 * kernel is not asked, not even whether the number is open) gets what the kernel says. From now on until
 * tether_fd_close() nobody else may close it, or make the number another descriptor (dup2).
 * Any thread. Lock-free; maps 256 KiB on the first of each 4096 numbers. Returns 0. -EBADF: it is not open, negative,
 * or not below TETHER_FD_MAX. -ESRCH: the owner has gone. -EINVAL: `owner` is none; reported. -ENOMEM. -EBUSY: it was
 * adopted before, and its close is on its way, or another thread is adopting it; reported. A number that
 * was adopted before and not closed by tether_fd_close() was closed behind our back: reported, with both, and adopted. */
TETHER_API int tether_fd_adopt(int fd, tether_owner_t owner, struct tether_fd_info *info);

/** The id of the life that an adopted number is in, or was in last; 0: never adopted. Never 0 for one that was, and not
 * given out again for this number before 4 billion lives. Any thread, signal handlers too. Wait-free. */
TETHER_API uint64_t tether_fd_id(int fd);

/** Whose it is; 0: nobody's, closed, or never adopted. Any thread, signal handlers too. Wait-free. */
TETHER_API tether_owner_t tether_fd_owner(int fd);

/** Make `to` the owner of what is `expected`'s, by one CAS. 0 for `expected` or `to`: nobody's.
 * Any thread, as tether_give(). Wait-free. 0. -EPERM: it is not `expected`'s; reported, with who has it.
 * -ESRCH: `to` has gone. -EBADF: never adopted, or closed; -EINVAL: `to` is no owner, or it is left to nobody by one
 * who does not own it; reported. */
TETHER_API int tether_fd_exchange(int fd, tether_owner_t expected, tether_owner_t to);

/** Close it. `id`: of the life that is meant; 0: whichever it is.
 * By its owner, or by anybody if it is nobody's or its owner has gone. Of another owner: reported with both, and then
 * what tether_fd_set_policy() says. Lock-free, never allocates; blocks as close() does. 0: closed. -EINPROGRESS: it
 * will be closed on its owner (also inside of a destructor). -EPERM: refused. -EBADF: never adopted, closed before,
 * or the number has begun another life; reported, and not touched. Other errors: close() said so, and it is closed. */
TETHER_API int tether_fd_close(int fd, uint64_t id);

/** TETHER_FD_SEND_HOME, as at first, or TETHER_FD_REFUSE. Any thread. */
TETHER_API void tether_fd_set_policy(enum tether_fd_policy policy);

/* Private. */
TETHER_API void tether_fd_check_(int fd, uint64_t id, const char *file, int line, const char *function);

/** TETHER_FD_CHECK(fd, id): report it if the descriptor is not the calling thread's, or closed, or the number has
 * begun another life. A statement, for the line before a read or a write. With checks off its arguments are
 * type-checked and not evaluated, and it compiles to nothing. Any thread. Wait-free while it holds. */
#if TETHER_CHECKS
#define TETHER_FD_CHECK(fd, id) tether_fd_check_((fd), (id), __FILE__, __LINE__, __func__)
#else
#define TETHER_FD_CHECK(fd, id) ((void)(sizeof(tether_fd_id(fd)) + sizeof(id)))
#endif

TETHER_END_

#endif
