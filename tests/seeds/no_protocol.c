/* no_protocol.c - loaded before the C library: a kernel that does not say which protocol a socket has (SO_PROTOCOL).
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int getsockopt(int fd, int level, int optname, void *restrict optval, socklen_t *restrict optlen)
{
	if (level != SOL_SOCKET || optname != SO_PROTOCOL)
		return (int)syscall(SYS_getsockopt, fd, level, optname, optval, optlen);
	errno = ENOPROTOOPT;
	return -1;
}
