/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ends of the spawner that the core and the workers have, and the orders to its children. */
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../child.h"
#include "../cleanup.h"
#include "../wire.h"
#include "spawner-wire.h"

#define TIMEOUT_SEC 5
#define ORDER_FDS_MAX 2

struct spawner {
	int sock;
	int pidfd;
	uint32_t seq;
};

static int perf_there(void)
{
	/* Without an attr it comes no further than EFAULT. */
	return syscall(SYS_perf_event_open, NULL, -1, 0, -1, 0) < 0 && errno == ENOSYS ? -EOPNOTSUPP
										       : 0;
}

struct spawner *spawner_free(struct spawner *s)
{
	if (!s)
		return NULL;
	close_fd(&s->sock);
	/* And with it all that ask to end with their parent. */
	if (s->pidfd >= 0)
		pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
	while (s->pidfd >= 0 && waitid(P_PIDFD, (id_t)s->pidfd, NULL, WEXITED) < 0 &&
		errno == EINTR)
		;
	close_fd(&s->pidfd);
	free(s);
	return NULL;
}

static struct spawner *spawner_alloc(void)
{
	struct spawner *s = calloc(1, sizeof(*s));

	if (s)
		s->sock = s->pidfd = -EBADF;
	return s;
}

static void cleanup_spawner(struct spawner **s)
{
	spawner_free(*s);
}

#define _cleanup_spawner_ __attribute__((cleanup(cleanup_spawner)))

/* The result; the fd that came with it goes to *ret_fd. */
static int answer_await(int sock, uint32_t seq, int *ret_fd)
{
	for (;;) {
		_cleanup_close_ int fd = -EBADF;
		struct spawn_reply reply;
		int r = wire_recv(sock, &reply, sizeof(reply), &fd);

		if (r < 0)
			return r == -EAGAIN ? -ETIMEDOUT : r;
		if (reply.seq != seq)
			continue; /* to a question that was given up */
		*ret_fd = TAKE_FD(fd);
		return reply.result;
	}
}

int spawner_start(bool confine, struct spawner **ret)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_SEC};
	_cleanup_spawner_ struct spawner *s = spawner_alloc();
	_cleanup_close_ int none = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	pid_t parent = getpid(), pid;
	int fds[2], r = s ? perf_there() : -ENOMEM;

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	s->sock = fds[0];
	theirs = fds[1];
	if (setsockopt(s->sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(s->sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	pid = child_fork();
	if (pid == 0)
		spawner_run(theirs, parent, confine);
	if (pid < 0)
		return pid;
	/* Not reaped yet, so the number is still the child's. Without, it ends by its socket. */
	s->pidfd = pidfd_open(pid, 0);
	if (s->pidfd < 0)
		return -errno;
	close_fd(&theirs);
	r = answer_await(s->sock, 0, &none);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

int spawner_pidfd(const struct spawner *s)
{
	return s->pidfd;
}

static int ask(int sock, const struct spawn_request *q, int fd, int *ret_fd)
{
	int r = wire_send(sock, q, sizeof(*q), fd);

	if (r == -EAGAIN)
		return -ETIMEDOUT;
	return r < 0 ? r : answer_await(sock, q->seq, ret_fd);
}

int spawn_worker(struct spawner *s, int channel)
{
	const struct spawn_request q = {.seq = ++s->seq, .op = SPAWN_WORKER};
	_cleanup_close_ int pidfd = -EBADF;
	int r = ask(s->sock, &q, channel, &pidfd);

	if (r < 0)
		return r;
	return pidfd < 0 ? -EPROTO : TAKE_FD(pidfd);
}

int spawn_keeper(struct spawner *s, int sock)
{
	const struct spawn_request q = {.seq = ++s->seq, .op = SPAWN_KEEPER};
	_cleanup_close_ int none = -EBADF;

	return ask(s->sock, &q, sock, &none);
}

/* Its first words: whether it is what it was to be. */
static int spawn(int spawner_channel, struct spawn_request q, int *ret_channel)
{
	static uint32_t seq; /* a worker's own: it has one thread and one channel to the spawner */
	_cleanup_close_ int channel = -EBADF;
	struct perf_order_reply ready;
	int r;

	q.seq = ++seq;
	r = ask(spawner_channel, &q, -EBADF, &channel);
	if (r < 0)
		return r;
	if (channel < 0)
		return -EPROTO;
	r = order_wire_recv(channel, &ready, sizeof(ready), NULL, 0);
	if (r == 0)
		r = ready.result;
	if (r == 0)
		*ret_channel = TAKE_FD(channel);
	return r;
}

int spawn_opener(int spawner_channel, pid_t tid, int *ret_channel)
{
	const struct spawn_request q = {.op = SPAWN_OPENER, .tid = tid};

	return spawn(spawner_channel, q, ret_channel);
}

int spawn_caller(int spawner_channel, pid_t tid, int *ret_channel)
{
	const struct spawn_request q = {.op = SPAWN_CALLER, .tid = tid};

	return spawn(spawner_channel, q, ret_channel);
}

int spawn_caller_loose(int spawner_channel, pid_t tid, uid_t uid, gid_t gid, int *ret_channel)
{
	const struct spawn_request q = {
		.op = SPAWN_CALLER_LOOSE, .tid = tid, .uid = uid, .gid = gid};

	return spawn(spawner_channel, q, ret_channel);
}

int order_wire_send(int sock, const void *data, size_t size, const int *fds, unsigned n)
{
	union {
		char space[CMSG_SPACE(ORDER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c = &control.align;
	unsigned have = 0;
	ssize_t sent;

	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			memcpy(CMSG_DATA(c) + have++ * sizeof(int), &fds[i], sizeof(int));
	if (have > 0) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(have * sizeof(int));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(have * sizeof(int));
	}
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
}

static unsigned fds_take(struct msghdr *msg, int *fds, unsigned max)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t size = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (n < max)
				fds[n] = fd;
			else
				close(fd);
			n++;
		}
	}
	return n;
}

int order_wire_recv(int sock, void *data, size_t size, int *fds, unsigned max)
{
	union {
		char space[CMSG_SPACE(ORDER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	unsigned had;
	ssize_t n;

	for (unsigned i = 0; i < max; i++)
		fds[i] = -EBADF;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
	had = fds_take(&msg, fds, max);
	if (n == 0)
		return -EPIPE;
	if ((size_t)n == size && had <= max && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	for (unsigned i = 0; i < max; i++)
		close_fd(&fds[i]);
	return -EPROTO;
}

int perf_order(
	int channel, const struct perf_order *order, int group_fd, int cgroup_fd, int *ret_fd)
{
	const int fds[ORDER_FDS_MAX] = {group_fd, cgroup_fd};
	struct perf_order_reply reply;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if ((group_fd >= 0) != (order->has_group != 0) ||
		(cgroup_fd >= 0) != (order->has_cgroup != 0))
		return -EBADF;
	r = order_wire_send(channel, order, sizeof(*order), fds, ORDER_FDS_MAX);
	if (r == 0)
		r = order_wire_recv(channel, &reply, sizeof(reply), &fd, 1);
	if (r == 0)
		r = reply.result;
	if (r == 0 && fd < 0)
		return -EPROTO;
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}
