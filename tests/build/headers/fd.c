/* fd.c - fd.h alone.
 * SPDX-License-Identifier: MIT */
#include <tether/fd.h>

int take(int fd, tether_owner_t owner, tether_owner_t next);
int take(int fd, tether_owner_t owner, tether_owner_t next)
{
	struct tether_fd_info info;
	int error = tether_fd_adopt(fd, owner, &info);

	if (error)
		return error;
	TETHER_FD_CHECK(fd, info.id);
	tether_fd_set_policy(info.is_socket && info.protocol != TETHER_FD_UNKNOWN ? TETHER_FD_SEND_HOME : TETHER_FD_REFUSE);
	if (tether_fd_owner(fd) != next)
		error = tether_fd_exchange(fd, owner, next);
	return error ? error : tether_fd_close(fd, tether_fd_id(fd));
}
