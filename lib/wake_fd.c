/* wake_fd.c - the descriptor that makes an owner's loop readable: an eventfd, or a pipe without it.
 * SPDX-License-Identifier: MIT
 *
 * Raw system calls throughout: read(), write() and close() are cancellation points, and a sender
 * cancelled inside its write would lose the owner's wake-up. errno stays as it was. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

int tetheri_fd_open(int fds[2])
{
	int saved_errno = errno;
	int error = 0;

	fds[0] = fds[1] = (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fds[0] < 0 && syscall(SYS_pipe2, fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		error = -errno;
		fds[0] = fds[1] = -1;
	}
	errno = saved_errno;
	return error;
}

void tetheri_fd_signal(int write_fd)
{
	int saved_errno = errno;
	/* Eight bytes are what an eventfd takes; a pipe gets eight as well, so that both count alike. A
	 * full pipe (EAGAIN) is readable, which is all that is wanted. */
	uint64_t one = 1;

	while (syscall(SYS_write, write_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

/* How many signals were read. */
uint64_t tetheri_fd_clear(int read_fd)
{
	int saved_errno = errno;
	uint64_t total = 0;
	uint64_t buffer[64];
	long got;

	/* An eventfd gives its sum in one value; a pipe gives a value of 1 for each signal. */
	do {
		got = syscall(SYS_read, read_fd, buffer, sizeof buffer);
		for (long i = 0; i < got / 8; i++)
			total += buffer[i];
	} while (got == (long)sizeof buffer || (got < 0 && errno == EINTR));
	errno = saved_errno;
	return total;
}

void tetheri_fd_close(int fds[2])
{
	int saved_errno = errno;

	if (fds[0] >= 0)
		syscall(SYS_close, fds[0]);
	if (fds[1] >= 0 && fds[1] != fds[0])
		syscall(SYS_close, fds[1]);
	errno = saved_errno;
}

/* 0 or -errno. */
static int put_at(int fresh, int fd)
{
	return fresh != fd && syscall(SYS_dup3, fresh, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

/* Where one is an eventfd and the other a pipe, they have not as many ends. */
static int put_both_at(const int fresh[2], int fds[2])
{
	bool was_pipe = fds[0] != fds[1], is_pipe = fresh[0] != fresh[1];
	int error = is_pipe && fresh[1] == fds[0] ? -EMFILE : put_at(fresh[0], fds[0]);

	if (!error && was_pipe)
		error = put_at(fresh[1], fds[1]);
	else if (!error)
		fds[1] = is_pipe ? fresh[1] : fds[0];
	return error;
}

static void close_unless_in(int fd, const int fds[2])
{
	if (fd >= 0 && fd != fds[0] && fd != fds[1])
		syscall(SYS_close, fd);
}

/* For a thread that is alone in its process: nobody else takes a number that is free for a moment. */
int tetheri_fd_renew(int fds[2])
{
	int saved_errno = errno;
	int old[2] = {fds[0], fds[1]}, fresh[2];
	int error = tetheri_fd_open(fresh);

	if (error) {
		tetheri_fd_close(old); /* that may be what makes room */
		error = tetheri_fd_open(fresh);
	}
	if (!error)
		error = put_both_at(fresh, fds);
	if (error) {
		tetheri_fd_close(old);
		fds[0] = fds[1] = -1;
	}
	close_unless_in(fresh[0], fds);
	if (fresh[1] != fresh[0])
		close_unless_in(fresh[1], fds);
	errno = saved_errno;
	return error;
}
