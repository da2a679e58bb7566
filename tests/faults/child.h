/* child.h - run something in a process of its own, and see how it ended and what it wrote.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_TESTS_CHILD_H
#define TETHER_TESTS_CHILD_H

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

struct Child {
	int status = -1;
	std::string err; /* its standard error */

	bool exited_with(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

/* Forks before this process has used the library, so that the child is as good as new; it leaves by
 * exit(0) unless `work` leaves otherwise. One that hangs is killed, so that it is this test that fails and
 * not, at its time limit, the program with all its tests; what it forks has to see to that itself. */
inline Child in_child(const std::function<void()> &work)
{
	Child child;
	int ends[2];
	char buffer[4096];
	ssize_t got;
	pid_t pid;

	EXPECT_EQ(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		alarm(100);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		work();
		exit(testing::Test::HasFailure() ? 99 : 0);
	}
	close(ends[1]);
	while ((got = read(ends[0], buffer, sizeof buffer)) > 0)
		child.err.append(buffer, static_cast<size_t>(got));
	close(ends[0]);
	EXPECT_EQ(waitpid(pid, &child.status, 0), pid);
	return child;
}

#endif
