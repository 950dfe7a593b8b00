/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "porter-wire.h"
#include "wire.h"

#define TIMEOUT_SEC 5

struct zygote {
	int sock;
	int pidfd;
	uint32_t seq;
};

static int pair(int *ret_ours, int *ret_theirs)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*ret_ours = fds[0];
	*ret_theirs = fds[1];
	return 0;
}

int zygote_start(bool confine, struct zygote **ret)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_SEC};
	_cleanup_free_ struct zygote *z = calloc(1, sizeof(*z));
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	pid_t parent = getpid(), pid;
	int r;

	if (!z)
		return -ENOMEM;
	r = pair(&ours, &theirs);
	if (r < 0)
		return r;
	if (setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	pid = child_fork();
	if (pid == 0)
		zygote_run(theirs, parent, confine);
	if (pid < 0)
		return pid;
	/* Not reaped yet, so the number is still the child's. Without, it ends by its socket. */
	z->pidfd = pidfd_open(pid, 0);
	if (z->pidfd < 0)
		return -errno;
	z->sock = TAKE_FD(ours);
	*ret = TAKE_PTR(z);
	return 0;
}

struct zygote *zygote_free(struct zygote *z)
{
	if (!z)
		return NULL;
	close_fd(&z->sock);
	/* And with it all porters, which ask for that. It keeps nothing that could be lost. */
	pidfd_send_signal(z->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)z->pidfd, NULL, WEXITED) < 0 && errno == EINTR)
		;
	close_fd(&z->pidfd);
	free(z);
	return NULL;
}

int zygote_pidfd(const struct zygote *z)
{
	return z->pidfd;
}

/* The new porter's pidfd; `theirs` is its end of the channel. */
static int ask(struct zygote *z, int theirs)
{
	struct fork_request q = {.seq = ++z->seq};
	int r = wire_send(z->sock, &q, sizeof(q), theirs);

	while (r >= 0) {
		_cleanup_close_ int pidfd = -EBADF;
		struct fork_reply reply;

		r = wire_recv(z->sock, &reply, sizeof(reply), &pidfd);
		if (r < 0)
			break;
		if (reply.seq != q.seq)
			continue; /* to an earlier one, whose channel is closed: it ends */
		/* -EAGAIN is the fork's here, for want of tasks, and no time-out. */
		if (reply.result < 0)
			return reply.result == -EAGAIN ? -ENOBUFS : reply.result;
		return pidfd < 0 ? -EPROTO : TAKE_FD(pidfd);
	}
	return r;
}

int zygote_fork(struct zygote *z, int *ret_channel, int *ret_pidfd)
{
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	int pidfd, size = PORTER_DATA_MAX, r = pair(&ours, &theirs);

	if (r < 0)
		return r;
	/* So that the longest packet fits; the kernel doubles it. */
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0 ||
		setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return -errno;
	pidfd = ask(z, theirs);
	if (pidfd == -EAGAIN) {
		/* Whatever stopped it would stop us at the next question too: better a restart. */
		pidfd_send_signal(z->pidfd, SIGKILL, NULL, 0);
		return -ETIMEDOUT;
	}
	if (pidfd < 0)
		return pidfd;
	*ret_channel = TAKE_FD(ours);
	*ret_pidfd = pidfd;
	return 0;
}
