/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of processes that travel as credentials, by the real inspector; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/inspect.h"

static const struct hierarchies none;
static struct inspector *inspector;

static int setup(void **state)
{
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return inspector_start(&none, &inspector);
}

static int teardown(void **state)
{
	inspector = inspector_free(inspector);
	return 0;
}

static void pair_open(int type, int fds[2])
{
	static const int on = 1;

	if (!inspector)
		skip();
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
}

/* The pid of the next byte; 0 credentials of root. */
static pid_t next_pid(int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct ucred cred;

	assert_int_equal(recvmsg(fd, &msg, MSG_DONTWAIT), 1);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(cred));
	assert_int_equal(cred.uid, 0);
	assert_int_equal(cred.gid, 0);
	return cred.pid;
}

static pid_t child_new(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	return pid;
}

static void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_types(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		int fds[2];
		int32_t pids[2] = {1, getpid()};

		pair_open(types[i], fds);
		assert_int_equal(inspect_send_pids(inspector, fds[1], pids, 2), 2);
		assert_int_equal(next_pid(fds[0]), 1);
		assert_int_equal(next_pid(fds[0]), getpid());
		close(fds[0]);
		close(fds[1]);
	}
}

/* As many as it takes, and then none until there is room. */
static void test_full(void **state)
{
	int32_t pids[64];
	int fds[2], sent = 0, r;

	(void)state;
	pair_open(SOCK_STREAM, fds);
	for (size_t i = 0; i < 64; i++)
		pids[i] = getpid();
	while ((r = inspect_send_pids(inspector, fds[1], pids, 64)) > 0)
		sent += r;
	assert_int_equal(r, 0);
	assert_true(sent >= 64);
	while (sent-- > 0)
		assert_int_equal(next_pid(fds[0]), getpid());
	assert_int_equal(inspect_send_pids(inspector, fds[1], pids, 1), 1);
	assert_int_equal(next_pid(fds[0]), getpid());
	close(fds[0]);
	close(fds[1]);
}

/* What was announced comes, whoever has ended meanwhile. */
static void test_ended(void **state)
{
	pid_t gone = child_new();
	int fds[2];

	(void)state;
	child_end(gone);
	pair_open(SOCK_SEQPACKET, fds);
	assert_int_equal(inspect_send_pids(inspector, fds[1], (int32_t[]){1, gone}, 2), 2);
	assert_int_equal(next_pid(fds[0]), 1);
	assert_int_equal(next_pid(fds[0]), 1);
	assert_int_equal(inspect_send_pids(inspector, fds[1], (int32_t[]){gone, 1}, 2), 2);
	assert_int_equal(next_pid(fds[0]), 1);
	assert_int_equal(next_pid(fds[0]), 1);
	assert_int_equal(inspect_send_pids(inspector, fds[1], (int32_t[]){gone}, 1), 1);
	next_pid(fds[0]);
	close(fds[0]);
	close(fds[1]);
}

static void test_refused(void **state)
{
	int32_t pid = 1;
	int fds[2], file;

	(void)state;
	pair_open(SOCK_STREAM, fds);
	assert_int_equal(inspect_send_pids(inspector, -EBADF, &pid, 1), -EBADF);
	file = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(inspect_send_pids(inspector, file, &pid, 1), -EBADF);
	close(file);
	/* The other end has gone: that is no end of the inspector. */
	close(fds[0]);
	assert_int_equal(inspect_send_pids(inspector, fds[1], &pid, 1), -ECONNRESET);
	close(fds[1]);
	pair_open(SOCK_STREAM, fds);
	assert_int_equal(inspect_send_pids(inspector, fds[1], &pid, 1), 1);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
