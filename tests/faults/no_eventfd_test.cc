/* no_eventfd_test.cc - without eventfd (run by without) an owner is woken through a pipe.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

namespace
{

class NoEventfd : public Quiet
{
};

size_t open_descriptors()
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

TEST_F(NoEventfd, APipeTakesItsPlace)
{
	elsewhere([] {
		struct stat status;
		int fd = tether_fd();

		ASSERT_GE(fd, 0);
		ASSERT_EQ(fstat(fd, &status), 0);
		EXPECT_TRUE(S_ISFIFO(status.st_mode)) << "the fault was not there";
		EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		EXPECT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
		EXPECT_EQ(tether_fd(), fd);
		EXPECT_STREQ(tether_wake_name(), "pipe");
	});
}

TEST_F(NoEventfd, BothItsEndsAreClosedWithItsOwner)
{
	size_t before = open_descriptors();

	elsewhere([&] {
		EXPECT_GE(tether_fd(), 0);
		EXPECT_EQ(open_descriptors(), before + 2);
	});
	EXPECT_EQ(open_descriptors(), before);
}

TEST_F(NoEventfd, AWakeUpIsOneWriteAndIsClearedByTheDrain)
{
	Thread home;
	Note notes[2];
	tether_owner_t owner = home.owner();
	int fd = -1;

	home.run([&] { fd = tether_fd(); });
	for (int turn = 0; turn < 10000; turn++) { /* more than a pipe holds, were it never read */
		EXPECT_EQ(tether_post(owner, &notes[0].message), 0);
		EXPECT_EQ(tether_post(owner, &notes[1].message), 0);
		ASSERT_TRUE(is_readable(fd));
		home.run([] { ASSERT_EQ(tether_drain(0), 2U); });
		ASSERT_FALSE(is_readable(fd));
	}
	EXPECT_EQ(stats(owner).wakeups, 10000U);
}

} // namespace
