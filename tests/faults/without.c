/* without.c - run a command on a kernel that refuses a way to be woken: without eventfd|wakes COMMAND [ARGUMENT...]
 * SPDX-License-Identifier: MIT
 *
 *     eventfd   there is none (ENOSYS)
 *     wakes     that, and pipes are forbidden (EPERM), as a sandbox does */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
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

int main(int argc, char **argv)
{
	int ends[2];

	if (argc < 3 || (strcmp(argv[1], "eventfd") != 0 && strcmp(argv[1], "wakes") != 0)) {
		fprintf(stderr, "usage: without eventfd|wakes COMMAND [ARGUMENT...]\n");
		return 2;
	}
	bool has_pipes = strcmp(argv[1], "eventfd") == 0;
	if (forbid(__NR_eventfd2, ENOSYS) != 0 || eventfd(0, 0) >= 0 || errno != ENOSYS ||
	    (!has_pipes && (forbid(__NR_pipe2, EPERM) != 0 || syscall(__NR_pipe2, ends, 0) == 0 || errno != EPERM))) {
		fprintf(stderr, "SKIP: no seccomp filter can be installed here\n");
		return SKIP;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
