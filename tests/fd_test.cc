/* fd_test.cc - descriptors with owners: who may use and close them, and which of its lives a number is in.
 * SPDX-License-Identifier: MIT */
#define TETHER_CHECKS 1
#include "support.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace
{

bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

class Fd : public Quiet
{
protected:
	Fd() : fd(eventfd(0, EFD_CLOEXEC)) {}
	~Fd() override
	{
		tether_fd_set_policy(TETHER_FD_SEND_HOME);
		if (tether_fd_owner(fd) == tether_self())
			EXPECT_EQ(tether_fd_close(fd, 0), 0);
		else if (is_open(fd))
			close(fd);
	}
	void adopt(tether_owner_t owner = tether_self())
	{
		ASSERT_EQ(tether_fd_adopt(fd, owner, &info), 0);
		ASSERT_NE(info.id, 0U);
	}

	int fd;
	struct tether_fd_info info = {};
};

/* ---- Adopt ----------------------------------------------------------------------------------- */

TEST_F(Fd, BelongsToWhomItWasAdoptedFor)
{
	Thread other;

	EXPECT_EQ(tether_fd_owner(fd), 0U);
	adopt(other.owner());
	EXPECT_EQ(tether_fd_owner(fd), other.owner());
	EXPECT_EQ(tether_fd_id(fd), info.id);
	other.run([&] {
		TETHER_FD_CHECK(fd, info.id);
		EXPECT_EQ(tether_fd_close(fd, info.id), 0);
	});
	EXPECT_FALSE(is_open(fd));
	EXPECT_EQ(tether_fd_owner(fd), 0U);
}

TEST_F(Fd, TheKernelSaysWhatASocketIs)
{
	const struct {
		int domain, type, protocol;
	} kinds[] = {{AF_INET, SOCK_STREAM, IPPROTO_TCP}, {AF_INET6, SOCK_DGRAM, IPPROTO_UDP}, {AF_UNIX, SOCK_STREAM, 0}};

	for (const auto &kind : kinds) {
		int s = socket(kind.domain, kind.type | SOCK_CLOEXEC, 0);
		if (s < 0)
			continue; /* a kernel without IPv6 */
		ASSERT_EQ(tether_fd_adopt(s, tether_self(), &info), 0);
		EXPECT_TRUE(info.is_socket);
		EXPECT_EQ(info.domain, kind.domain);
		EXPECT_EQ(info.type, kind.type);
		EXPECT_EQ(info.protocol, kind.protocol);
		EXPECT_EQ(tether_fd_close(s, info.id), 0);
	}
}

TEST_F(Fd, WhatIsNoSocketHasNoProtocol)
{
	errno = 7;
	adopt();
	EXPECT_EQ(errno, 7);
	EXPECT_FALSE(info.is_socket);
	EXPECT_EQ(info.domain, TETHER_FD_UNKNOWN);
	EXPECT_EQ(info.type, TETHER_FD_UNKNOWN);
	EXPECT_EQ(info.protocol, TETHER_FD_UNKNOWN);
}

TEST_F(Fd, WhatIsNotOpenIsNotAdopted)
{
	for (int bad : {-1, INT_MIN, TETHER_FD_MAX, INT_MAX, TETHER_FD_MAX - 1}) {
		EXPECT_EQ(tether_fd_adopt(bad, tether_self(), &info), -EBADF);
		EXPECT_EQ(tether_fd_owner(bad), 0U);
		EXPECT_EQ(tether_fd_id(bad), 0U);
	}
}

/* It answers next to nothing, as a number that is not open; but open it is. */
TEST_F(Fd, OfAPathIsAdopted)
{
	int path = open("/", O_PATH | O_CLOEXEC);

	ASSERT_GE(path, 0);
	ASSERT_EQ(tether_fd_adopt(path, tether_self(), &info), 0);
	EXPECT_FALSE(info.is_socket);
	EXPECT_EQ(info.type, TETHER_FD_UNKNOWN);
	EXPECT_EQ(tether_fd_close(path, info.id), 0);
	EXPECT_FALSE(is_open(path));
}

TEST_F(Fd, IsNotAdoptedForAnOwnerThatIsNone)
{
	tether_owner_t gone = 0;

	elsewhere([&] { gone = tether_self(); });
	EXPECT_EQ(tether_fd_adopt(fd, gone, &info), -ESRCH);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	EXPECT_EQ(tether_fd_adopt(fd, 0, &info), -EINVAL);
	EXPECT_EQ(tether_fd_adopt(fd, 12345, &info), -EINVAL);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_BAD_OWNER, TETHER_BAD_OWNER}));
	EXPECT_EQ(tether_fd_owner(fd), 0U);
}

TEST_F(Fd, EachLifeOfANumberHasItsId)
{
	uint64_t before = 0;

	for (int i = 0; i < 3; i++) {
		adopt();
		EXPECT_NE(info.id, before);
		before = info.id;
		EXPECT_EQ(tether_fd_close(fd, info.id), 0);
		ASSERT_EQ(dup2(STDERR_FILENO, fd), fd);
	}
}

TEST_F(Fd, ClosedBehindOurBackIsToldWhenItsNumberIsAdoptedAgain)
{
	Thread other;

	adopt(other.owner());
	uint64_t first = info.id;
	close(fd);
	ASSERT_EQ(dup2(STDERR_FILENO, fd), fd);
	adopt();
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_STALE_FD);
	EXPECT_EQ(caught[0].report.owner, other.owner());
	EXPECT_EQ(caught[0].report.other, tether_self());
	EXPECT_NE(info.id, first);
	EXPECT_EQ(tether_fd_owner(fd), tether_self());

	/* Who had it before does not close what it is now. */
	other.run([&] { EXPECT_EQ(tether_fd_close(fd, first), -EBADF); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_STALE_FD});
	EXPECT_TRUE(is_open(fd));
}

TEST_F(Fd, WhoseCloseIsOnItsWayIsNotAdopted)
{
	Thread other;

	adopt(other.owner());
	EXPECT_EQ(tether_fd_close(fd, info.id), -EINPROGRESS);
	EXPECT_EQ(tether_fd_adopt(fd, tether_self(), &info), -EBUSY);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_WRONG_OWNER_FD, TETHER_STALE_FD}));
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_FALSE(is_open(fd));
}

/* ---- Close ----------------------------------------------------------------------------------- */

TEST_F(Fd, OfAnotherOwnerIsReportedWithBothAndClosedAtHome)
{
	Thread other;

	tether_self_set_name("closer");
	other.run([] { tether_self_set_name("holder"); });
	adopt(other.owner());
	EXPECT_EQ(tether_fd_close(fd, info.id), -EINPROGRESS);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 1U);
	EXPECT_EQ(caught[0].report.kind, TETHER_WRONG_OWNER_FD);
	EXPECT_EQ(caught[0].report.owner, other.owner());
	EXPECT_EQ(caught[0].report.caller, tether_self());
	for (const std::string &word : {std::string("'closer'"), std::string("'holder'"), "\"" + std::to_string(fd) + "\""})
		EXPECT_NE(caught[0].text.find(word), std::string::npos) << caught[0].text;
	EXPECT_TRUE(is_open(fd));
	other.run([] { EXPECT_EQ(tether_drain(0), 1U); });
	EXPECT_FALSE(is_open(fd));
}

TEST_F(Fd, OfAnotherOwnerStaysOpenIfThePolicySaysSo)
{
	Thread other;

	adopt(other.owner());
	tether_fd_set_policy(TETHER_FD_REFUSE);
	EXPECT_EQ(tether_fd_close(fd, info.id), -EPERM);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_OWNER_FD});
	other.run([&] {
		EXPECT_EQ(tether_drain(0), 0U);
		EXPECT_TRUE(is_open(fd));
		EXPECT_EQ(tether_fd_close(fd, info.id), 0);
	});
}

TEST_F(Fd, ASecondCloseDoesNotTouchTheNumbersNextLife)
{
	adopt();
	uint64_t first = info.id;
	EXPECT_EQ(tether_fd_close(fd, first), 0);
	EXPECT_EQ(tether_fd_close(fd, first), -EBADF);
	ASSERT_EQ(dup2(STDERR_FILENO, fd), fd);
	EXPECT_EQ(tether_fd_close(fd, 0), -EBADF); /* it is not adopted */
	adopt();
	EXPECT_EQ(tether_fd_close(fd, first), -EBADF);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_STALE_FD, TETHER_STALE_FD, TETHER_STALE_FD}));
	EXPECT_TRUE(is_open(fd));
}

TEST_F(Fd, NeverAdoptedIsNotClosed)
{
	EXPECT_EQ(tether_fd_close(fd, 0), -EBADF);
	EXPECT_EQ(tether_fd_close(TETHER_FD_MAX, 0), -EBADF);
	EXPECT_EQ(tether_fd_close(-1, 0), -EBADF);
	EXPECT_EQ(reports.take_kinds(), (Kinds{TETHER_STALE_FD, TETHER_STALE_FD, TETHER_STALE_FD}));
	EXPECT_TRUE(is_open(fd));
}

TEST_F(Fd, WhoseOwnerHasGoneAnyoneMayClose)
{
	elsewhere([&] { adopt(); });
	EXPECT_EQ(tether_fd_close(fd, info.id), 0);
	EXPECT_FALSE(is_open(fd));
}

TEST_F(Fd, CloseSaysWhatTheKernelSays)
{
	ASSERT_EQ(tether_fd_adopt(fd, tether_self(), nullptr), 0);
	close(fd);
	errno = 7;
	EXPECT_EQ(tether_fd_close(fd, 0), -EBADF);
	EXPECT_EQ(errno, 7);
	ASSERT_EQ(tether_fd_adopt(fd, tether_self(), nullptr), 0);
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), 0), 0);
	EXPECT_EQ(tether_fd_close(fd, 0), -EBADF);
	elsewhere([&] { EXPECT_EQ(tether_fd_adopt(fd, tether_self(), nullptr), 0); });
	EXPECT_EQ(tether_fd_close(fd, 0), -EBADF);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
}

TEST_F(Fd, InABatchItIsClosedAtOnce)
{
	adopt();
	ASSERT_EQ(tether_batch_begin(), 0);
	EXPECT_EQ(tether_fd_close(fd, info.id), 0);
	EXPECT_FALSE(is_open(fd));
	tether_batch_end();
}

struct Holder {
	struct tether tether;
	int fd;
	int result;
};

TEST_F(Fd, InADestructorItIsClosedAfterIt)
{
	static bool was_open;
	static const tether_type type = TETHER_TYPE_AT(
		"holder", sizeof(Holder), 0,
		[](void *object) {
			auto *holder = static_cast<Holder *>(object);
			holder->result = tether_fd_close(holder->fd, 0);
			was_open = is_open(holder->fd);
		},
		nullptr, nullptr, nullptr, TETHER_LEAK, TETHER_LEVEL_DEFAULT, TETHER_NO_RULES);
	Holder holder = {{}, fd, 0};

	adopt();
	tether_bind(&holder.tether, &type);
	EXPECT_EQ(tether_drop(&holder.tether), TETHER_HERE);
	EXPECT_EQ(holder.result, -EINPROGRESS);
	EXPECT_TRUE(was_open);
	EXPECT_FALSE(is_open(fd));
}

/* ---- Exchange -------------------------------------------------------------------------------- */

TEST_F(Fd, IsExchangedByWhoeverKnowsItsOwner)
{
	Thread other;

	adopt();
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), other.owner()), 0);
	EXPECT_EQ(tether_fd_owner(fd), other.owner());
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), tether_self()), -EPERM);
	EXPECT_EQ(tether_fd_exchange(fd, other.owner(), 0), -EINVAL); /* its owner leaves it, and nobody else */
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 2U);
	for (const Caught &one : caught) {
		EXPECT_EQ(one.report.kind, TETHER_WRONG_OWNER_FD);
		EXPECT_EQ(one.report.owner, other.owner());
	}
	EXPECT_EQ(tether_fd_exchange(fd, other.owner(), tether_self()), 0);
}

TEST_F(Fd, OfNobodyIsTakenByOneOfTwo)
{
	Thread other;
	int error = 0;

	adopt();
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), 0), 0);
	EXPECT_EQ(tether_fd_owner(fd), 0U);
	other.run([&] { error = tether_fd_exchange(fd, 0, tether_self()); });
	EXPECT_EQ(error, 0);
	EXPECT_EQ(tether_fd_exchange(fd, 0, tether_self()), -EPERM);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_OWNER_FD});
	EXPECT_EQ(tether_fd_owner(fd), other.owner());
	other.run([&] { EXPECT_EQ(tether_fd_exchange(fd, tether_self(), 0), 0); });
	EXPECT_EQ(tether_fd_exchange(fd, 0, other.owner()), 0);
	EXPECT_EQ(tether_fd_owner(fd), other.owner());
	other.run([&] { EXPECT_EQ(tether_fd_close(fd, info.id), 0); });
}

TEST_F(Fd, StaysWithItsOwnerIfTheOtherHasGone)
{
	tether_owner_t gone = 0;

	elsewhere([&] { gone = tether_self(); });
	adopt();
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), gone), -ESRCH);
	EXPECT_EQ(tether_fd_owner(fd), tether_self());
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), 0), 0);
	EXPECT_EQ(tether_fd_exchange(fd, 0, gone), -ESRCH);
	EXPECT_EQ(tether_fd_owner(fd), 0U);
	EXPECT_EQ(tether_fd_close(fd, 0), 0);
	EXPECT_EQ(tether_fd_exchange(fd, 0, tether_self()), -EBADF);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_STALE_FD});
}

/* ---- Check ----------------------------------------------------------------------------------- */

TEST_F(Fd, UseIsChecked)
{
	adopt();
	TETHER_FD_CHECK(fd, info.id);
	TETHER_FD_CHECK(fd, 0);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	elsewhere([&] { TETHER_FD_CHECK(fd, info.id); });
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_WRONG_THREAD});
	EXPECT_EQ(tether_fd_exchange(fd, tether_self(), 0), 0);
	TETHER_FD_CHECK(fd, info.id);
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_UNCLAIMED});
	EXPECT_EQ(tether_fd_exchange(fd, 0, tether_self()), 0);
	TETHER_FD_CHECK(fd, info.id + (UINT64_C(1) << 32));
	EXPECT_EQ(tether_fd_close(fd, info.id), 0);
	TETHER_FD_CHECK(fd, info.id);
	TETHER_FD_CHECK(-1, 0);
	std::vector<Caught> caught = reports.take();
	ASSERT_EQ(caught.size(), 3U);
	for (const Caught &one : caught) {
		EXPECT_EQ(one.report.kind, TETHER_STALE_FD);
		EXPECT_EQ(one.report.line > 0, true);
	}
}

/* ---- Races ----------------------------------------------------------------------------------- */

TEST_F(Fd, OneOfManyClosesAndOneOfManyAdopts)
{
	tether_set_level(TETHER_COUNT);
	for (int round = 0; round < 200; round++) {
		std::atomic<size_t> arrived{0}, met{0};
		std::atomic<int> adopted{0}, closed{0};
		std::vector<std::thread> threads;

		ASSERT_TRUE(is_open(fd));
		for (int i = 0; i < 3; i++)
			threads.emplace_back([&] {
				tether_owner_t me = tether_self();
				meet(arrived, 3);
				/* Adopted by one after another, though not closed, or by one alone. */
				if (tether_fd_adopt(fd, me, nullptr) == 0)
					adopted++;
				meet(met, 3);
				int error = tether_fd_close(fd, 0);
				if (error == 0)
					closed++;
				while (met < 6)
					met += error == -EINPROGRESS || error == 0 || error == -EBADF, tether_drain(0), sched_yield();
				tether_drain(0);
			});
		for (std::thread &thread : threads)
			thread.join();
		EXPECT_GE(adopted, 1);
		EXPECT_LE(closed, 1);
		EXPECT_FALSE(is_open(fd)) << round;
		ASSERT_EQ(dup2(STDERR_FILENO, fd), fd);
	}
	tether_set_level(TETHER_LEVEL_DEFAULT);
	(void)reports.take();
}

/* Whoever adopts what is another's may come in the middle of an exchange. */
TEST_F(Fd, IsAdoptedAnewWhileItIsLeftToNobody)
{
	std::atomic<bool> is_over{false};
	std::atomic<int> left{0};

	tether_set_level(TETHER_COUNT);
	std::thread other([&] {
		while (!is_over) {
			(void)tether_fd_adopt(fd, tether_self(), nullptr);
			left += tether_fd_exchange(fd, tether_self(), 0) == 0;
		}
	});
	for (int adopted = 0; adopted < 100000 || left < 1000; adopted++) {
		int error = tether_fd_adopt(fd, tether_self(), nullptr);
		ASSERT_TRUE(error == 0 || error == -EBUSY) << error;
	}
	is_over = true;
	other.join();
	ASSERT_EQ(tether_fd_adopt(fd, tether_self(), &info), 0);
	tether_set_level(TETHER_LEVEL_DEFAULT);
	(void)reports.take();
	EXPECT_EQ(tether_fd_owner(fd), tether_self());
	EXPECT_EQ(tether_fd_close(fd, info.id), 0);
	EXPECT_FALSE(is_open(fd));
}

/* ---- Other processes ------------------------------------------------------------------------- */

TEST_F(Fd, InAChildTheListeningSocketIsStillTheParents)
{
	if (RUNNING_ON_VALGRIND)
		GTEST_SKIP() << "to it, what the C library keeps for a thread that the child has not is lost";
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	Thread other;

	ASSERT_EQ(tether_fd_adopt(s, tether_self(), &info), 0);
	adopt(other.owner());
	pid_t child = fork();
	if (child == 0) {
		bool is_right = tether_fd_owner(s) == tether_self() && tether_fd_close(s, 0) == 0 && !is_open(s) &&
		                tether_fd_exchange(fd, tether_fd_owner(fd), tether_self()) == 0 && tether_fd_close(fd, 0) == 0;
		_exit(is_right ? 0 : 1);
	}
	int status = -1;
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_TRUE(is_open(s));
	EXPECT_TRUE(is_open(fd));
	EXPECT_EQ(tether_fd_close(s, 0), 0);
	other.run([&] { EXPECT_EQ(tether_fd_close(fd, 0), 0); });
}

int receive(int from)
{
	char byte = 0;
	alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
	iovec data = {&byte, 1};
	msghdr message = {};

	message.msg_iov = &data;
	message.msg_iovlen = 1;
	message.msg_control = room;
	message.msg_controllen = sizeof room;
	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		return -1;
	int fd = -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

bool send(int to, int fd)
{
	char byte = 0;
	alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
	iovec data = {&byte, 1};
	msghdr message = {};

	message.msg_iov = &data;
	message.msg_iovlen = 1;
	message.msg_control = room;
	message.msg_controllen = sizeof room;
	cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	return sendmsg(to, &message, 0) == 1;
}

TEST_F(Fd, SentOverASocketItIsAdoptedThereUnderItsOwnNumber)
{
	int pair[2], s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ASSERT_EQ(tether_fd_adopt(s, tether_self(), &info), 0);
	ASSERT_TRUE(send(pair[0], s));
	elsewhere([&] {
		struct tether_fd_info other = {};
		int copy = receive(pair[1]);
		ASSERT_GE(copy, 0);
		ASSERT_NE(copy, s);
		EXPECT_EQ(tether_fd_owner(copy), 0U);
		ASSERT_EQ(tether_fd_adopt(copy, tether_self(), &other), 0);
		EXPECT_EQ(other.protocol, IPPROTO_TCP);
		EXPECT_EQ(tether_fd_close(copy, other.id), 0);
	});
	EXPECT_TRUE(is_open(s));
	EXPECT_EQ(tether_fd_close(s, info.id), 0);
	close(pair[0]);
	close(pair[1]);
}

/* ---- Many ------------------------------------------------------------------------------------ */

/* Numbers above the limit of the process, which nothing can have open: close() says so. */
TEST_F(Fd, AMillion)
{
	const int count = RUNNING_ON_VALGRIND ? 10'000 : 1'000'000, first = 1 << 24;

	for (int i = 0; i < count; i++)
		ASSERT_EQ(tether_fd_adopt(first + i, tether_self(), nullptr), 0);
	for (int i = 0; i < count; i += 1000)
		TETHER_FD_CHECK(first + i, 0);
	EXPECT_EQ(tether_fd_owner(first + count), 0U);
	for (int i = 0; i < count; i++)
		ASSERT_EQ(tether_fd_close(first + i, 0), -EBADF);
	EXPECT_EQ(reports.take_kinds(), Kinds{});
	EXPECT_EQ(tether_fd_owner(first), 0U);
}

} // namespace
