/* without.c - run a command on a kernel that lacks something: without eventfd|wakes|microseconds COMMAND [ARGUMENT...]
 * SPDX-License-Identifier: MIT
 *
 *     eventfd        there is none (ENOSYS)
 *     wakes          that, and pipes are forbidden (EPERM), as a sandbox does
 *     microseconds   epoll has none (ENOSYS), as before Linux 5.11 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIP 77

static int forbid(long call, int error)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof instructions / sizeof *instructions, instructions};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static bool is_forbidden(long call, int error)
{
	return forbid(call, error) == 0 && syscall(call, 0, 0, 0, 0, 0) < 0 && errno == error;
}

static bool is_without(const char *what)
{
	if (strcmp(what, "microseconds") == 0)
		return is_forbidden(__NR_epoll_pwait2, ENOSYS);
	return is_forbidden(__NR_eventfd2, ENOSYS) && (strcmp(what, "eventfd") == 0 || is_forbidden(__NR_pipe2, EPERM));
}

int main(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[1], "eventfd") != 0 && strcmp(argv[1], "wakes") != 0 && strcmp(argv[1], "microseconds") != 0)) {
		fprintf(stderr, "usage: without eventfd|wakes|microseconds COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (!is_without(argv[1])) {
		fprintf(stderr, "SKIP: no seccomp filter can be installed here\n");
		return SKIP;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
