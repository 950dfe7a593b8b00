/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A call whose requestor and victim go as credentials over a socketpair. */
#include "jobs.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

static void send_credentials(int fd, pid_t pid)
{
	union {
		char space[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {0};
	const struct ucred cred = {.pid = pid, .uid = geteuid(), .gid = getegid()};
	char byte[] = "p";
	struct iovec iov = {byte, 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(c), &cred, sizeof(cred));
	need_errno((int)sendmsg(fd, &msg, MSG_NOSIGNAL), "sending credentials");
}

static void expect_one(int fd)
{
	char byte = 0;

	if (read(fd, &byte, 1) != 1 || byte != '1')
		need(-EPROTO, "MovePidScm");
}

void move_scm(struct bench_client *c, const char *cgroup)
{
	int pair[2], r;

	need_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
	r = sd_bus_call_method(c->bus, NULL, "/org/linuxcontainers/cgmanager",
		"org.linuxcontainers.cgmanager0_0", "MovePidScm", NULL, NULL, "ssh", "memory",
		cgroup, pair[1]);
	need(r, "MovePidScm");
	close(pair[1]);
	expect_one(pair[0]);
	send_credentials(pair[0], getpid());
	expect_one(pair[0]);
	send_credentials(pair[0], c->victim);
	expect_one(pair[0]);
	close(pair[0]);
}
