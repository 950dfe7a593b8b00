/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "nests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(2);
	close(fd);
}

static void unshare_or_exit(int flags)
{
	if (unshare(flags) < 0)
		_exit(1);
	if (!(flags & CLONE_NEWUSER))
		return;
	/* Who is not mapped makes no further ones. */
	file_write("/proc/self/uid_map", "0 0 1\n");
	file_write("/proc/self/setgroups", "deny");
	file_write("/proc/self/gid_map", "0 0 1\n");
}

/* The innermost says that it is there, and waits for the end of the one above it. */
static void nest_child(const int *flags, unsigned levels, int out)
{
	for (unsigned level = 0;; level++) {
		pid_t pid;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (level == levels)
			break;
		/* A pid namespace is the next child's. */
		unshare_or_exit(flags[level]);
		/* which took back what was arranged */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pid = fork();
		if (pid < 0)
			_exit(1);
		if (pid > 0) {
			close(out);
			for (;;)
				pause();
		}
	}
	if (write(out, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

int32_t nest(const int *flags, unsigned levels)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		nest_child(flags, levels, fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

void nest_end(int32_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int32_t child_of(int32_t pid)
{
	char path[64], text[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	return atoi(text);
}
