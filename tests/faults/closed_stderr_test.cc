/* closed_stderr_test.cc - reports that nobody can read: they are lost, and nothing else happens.
 * SPDX-License-Identifier: MIT */
#include "../support.h"

#include <fcntl.h>

namespace
{

/* Writes reports while standard error is `fd`, or closed where that is -1. */
class LostReports : public testing::Test
{
protected:
	void report_to(int fd)
	{
		int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
		struct tether_counters before = stats();

		ASSERT_GE(saved, 0);
		if (fd >= 0)
			dup2(fd, STDERR_FILENO);
		else
			close(STDERR_FILENO);
		tether_set_level(TETHER_WARN);
		for (int i = 0; i < 3; i++) {
			errno = 4242;
			TETHER_CHECK(&zero);
			EXPECT_EQ(errno, 4242);
		}
		dup2(saved, STDERR_FILENO);
		close(saved);
		EXPECT_EQ(since(before).failed_checks, 3U);
		tether_set_level(TETHER_LEVEL_DEFAULT);
	}

	struct tether zero = {0, 0, 0, 0};
};

TEST_F(LostReports, OnAClosedDescriptor)
{
	report_to(-1);
}

TEST_F(LostReports, OnAFullPipeThatDoesNotBlock)
{
	int ends[2];
	char filler[4096] = {};

	ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(ends[1], filler, sizeof filler) > 0)
		;
	report_to(ends[1]);
	close(ends[0]);
	close(ends[1]);
}

TEST_F(LostReports, OnADescriptorThatIsOnlyForReading)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ASSERT_GE(fd, 0);
	report_to(fd);
	close(fd);
}

} // namespace
