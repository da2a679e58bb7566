/* no_protocol_test.cc - a kernel, or a shim, that does not say what a socket is.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <set>

namespace
{

std::set<int> refused;

} // namespace

extern "C" {

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *length);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	if (refused.count(option) == 0)
		return __real_getsockopt(fd, level, option, value, length);
	errno = ENOPROTOOPT;
	return -1;
}
}

namespace
{

class NoProtocol : public Quiet
{
protected:
	~NoProtocol() override { refused.clear(); }
	struct tether_fd_info adopt()
	{
		struct tether_fd_info info = {};
		int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		EXPECT_EQ(tether_fd_adopt(s, tether_self(), &info), 0);
		EXPECT_EQ(tether_fd_close(s, info.id), 0);
		return info;
	}
};

TEST_F(NoProtocol, IsUnknownAndNoGuess)
{
	refused = {SO_PROTOCOL};
	struct tether_fd_info info = adopt();
	EXPECT_TRUE(info.is_socket);
	EXPECT_EQ(info.domain, AF_INET);
	EXPECT_EQ(info.type, SOCK_STREAM);
	EXPECT_EQ(info.protocol, TETHER_FD_UNKNOWN);
}

TEST_F(NoProtocol, EachIsAskedForItself)
{
	refused = {SO_DOMAIN, SO_TYPE};
	struct tether_fd_info info = adopt();
	EXPECT_TRUE(info.is_socket);
	EXPECT_EQ(info.domain, TETHER_FD_UNKNOWN);
	EXPECT_EQ(info.type, TETHER_FD_UNKNOWN);
	EXPECT_EQ(info.protocol, IPPROTO_TCP);
}

TEST_F(NoProtocol, WhoAnswersIsNotRefused)
{
	struct tether_fd_info info = adopt();
	EXPECT_EQ(info.domain, AF_INET);
	EXPECT_EQ(info.type, SOCK_STREAM);
	EXPECT_EQ(info.protocol, IPPROTO_TCP);
}

} // namespace
