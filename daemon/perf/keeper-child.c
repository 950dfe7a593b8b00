/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keeper itself: one connection at a time, and what it holds. */
#include "keeper-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../sandbox.h"
#include "../wire.h"

#define PEER_SEC 5
#define RECV_USEC 100000 /* for what is there already */

struct keeper_child {
	int sock, proc_fd;
	struct stat userns; /* our own, which is the initial one */
	/* Who is connected. */
	int conn, peer_pidfd;
	pid_t peer;
	uint64_t number;
	uint64_t alone_since; /* ms */
	int registry;
	int listener[PERF_SLOTS_MAX];
	unsigned held;
	struct pollfd polled[PERF_SLOTS_MAX + 1];
	unsigned slot_of[PERF_SLOTS_MAX + 1];
};

static uint64_t now_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void slot_set(struct keeper_child *k, unsigned slot, int fd)
{
	k->held -= k->listener[slot] >= 0;
	close_fd(&k->listener[slot]);
	k->listener[slot] = fd;
	k->held += fd >= 0;
}

/*
 * The peer.
 */

static void peer_end(struct keeper_child *k)
{
	close_fd(&k->conn);
	close_fd(&k->peer_pidfd);
	k->alone_since = now_msec();
}

static bool peer_alive(const struct keeper_child *k)
{
	struct pollfd p = {.fd = k->peer_pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* Root of the host, not of a container that maps its uid. */
static int peer_check(struct keeper_child *k)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	struct stat userns;
	char path[32];

	if (getsockopt(k->conn, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	if (cred.uid != 0 || cred.pid <= 0)
		return -EACCES;
	k->peer = cred.pid;
	k->peer_pidfd = (int)syscall(SYS_pidfd_open, cred.pid, 0);
	if (k->peer_pidfd < 0)
		return -errno;
	snprintf(path, sizeof(path), "%d/ns/user", (int)cred.pid);
	if (fstatat(k->proc_fd, path, &userns, 0) < 0)
		return -errno;
	return userns.st_dev == k->userns.st_dev && userns.st_ino == k->userns.st_ino ? 0 : -EACCES;
}

static int peer_greet(struct keeper_child *k)
{
	const struct timeval timeout = {.tv_sec = PEER_SEC};
	struct keeper_reply hello = {0};
	int on = 1, r = peer_check(k);

	if (r < 0)
		return r;
	if (setsockopt(k->conn, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
		setsockopt(k->conn, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	if (getrandom(&hello.number, sizeof(hello.number), 0) != sizeof(hello.number))
		return -EIO;
	k->number = hello.number;
	return wire_send(k->conn, &hello, sizeof(hello), -EBADF);
}

static void peer_accept(struct keeper_child *k)
{
	k->conn = accept4(k->sock, NULL, NULL, SOCK_CLOEXEC);
	if (k->conn >= 0 && peer_greet(k) < 0)
		peer_end(k);
}

/*
 * What it asks for.
 */

struct parcel {
	struct keeper_request q;
	struct ucred cred;
	int fd;
};

static void control_read(struct msghdr *msg, struct parcel *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&p->fd, CMSG_DATA(c), sizeof(int));
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(p->cred)))
			memcpy(&p->cred, CMSG_DATA(c), sizeof(p->cred));
	}
}

static int parcel_receive(struct keeper_child *k, struct parcel *p)
{
	union {
		char space[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = &p->q, .iov_len = sizeof(p->q)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	do
		n = recvmsg(k->conn, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	control_read(&msg, p);
	if (n != sizeof(p->q) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return n == 0 ? -EPIPE : -EPROTO;
	return p->cred.pid == k->peer && p->cred.uid == 0 && p->q.number == k->number &&
			       peer_alive(k)
		       ? 0
		       : -EACCES;
}

static int give(struct keeper_child *k, uint32_t slot, int fd)
{
	const struct keeper_reply reply = {.slot = slot};

	return fd < 0 ? 0 : wire_send(k->conn, &reply, sizeof(reply), fd);
}

static int give_all(struct keeper_child *k)
{
	int r = give(k, KEEPER_SLOT_REGISTRY, k->registry);

	for (unsigned i = 0; r == 0 && i < PERF_SLOTS_MAX; i++)
		r = give(k, i, k->listener[i]);
	return r;
}

static int answer(struct keeper_child *k, struct parcel *p)
{
	bool stores = p->q.op == KEEPER_STORE || p->q.op == KEEPER_REGISTRY;

	if (p->q.op != KEEPER_TAKE && p->q.op != KEEPER_REGISTRY && p->q.slot >= PERF_SLOTS_MAX)
		return -EINVAL;
	if (stores && p->fd < 0)
		return -EBADF;
	switch (p->q.op) {
	case KEEPER_TAKE:
		return give_all(k);
	case KEEPER_REGISTRY:
		close_fd(&k->registry);
		k->registry = TAKE_FD(p->fd);
		return 0;
	case KEEPER_STORE:
		slot_set(k, p->q.slot, TAKE_FD(p->fd));
		return 0;
	case KEEPER_DROP:
		slot_set(k, p->q.slot, -EBADF);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void serve_peer(struct keeper_child *k)
{
	struct parcel p = {.fd = -EBADF};
	struct keeper_reply reply = {.slot = KEEPER_SLOT_END};
	int r = parcel_receive(k, &p);

	if (r == 0) {
		reply.result = answer(k, &p);
		r = wire_send(k->conn, &reply, sizeof(reply), -EBADF);
	}
	close_fd(&p.fd);
	if (r < 0)
		peer_end(k);
}

/*
 * What it holds.
 */

/* As if there were no listener. What was taken by a worker does not come again, and is noted in the
 * registry for the next daemon. Whoever is filtered may have kept the listener, and have taken what
 * poll(2) saw; then there is nothing to be had, which the kernel waits for, and with such a one
 * (false) the keeper has no more to do. */
static bool refuse_one(int listener)
{
	static const struct itimerval soon = {{0, RECV_USEC}, {0, RECV_USEC}}, never;
	union {
		struct seccomp_notif notif;
		uint8_t space[PERF_NOTIF_MAX];
	} got = {0};
	struct seccomp_notif_resp answer = {.error = -ENOSYS};
	int error;

	(void)setitimer(ITIMER_REAL, &soon, NULL);
	error = ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &got) < 0 ? errno : 0;
	(void)setitimer(ITIMER_REAL, &never, NULL);
	if (error)
		return error != EINTR;
	answer.id = got.notif.id;
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	return true;
}

static void look_at(struct keeper_child *k, unsigned slot, short revents)
{
	/* Its filter has no user any more (5.9). */
	if (revents & (POLLHUP | POLLERR | POLLNVAL))
		slot_set(k, slot, -EBADF);
	else if ((revents & POLLIN) && !refuse_one(k->listener[slot]))
		slot_set(k, slot, -EBADF);
}

/* Until it is alone for too long; -1: that is no question of time. */
static int alone_msec(const struct keeper_child *k)
{
	uint64_t end = k->alone_since + KEEPER_ALONE_MSEC, now;

	if (k->conn >= 0)
		return -1;
	now = now_msec();
	return now < end ? (int)(end - now) : 0;
}

static bool nobody_waits(const struct keeper_child *k)
{
	struct pollfd p = {.fd = k->sock, .events = POLLIN};

	return k->conn < 0 && poll(&p, 1, 0) == 0;
}

static void serve(struct keeper_child *k)
{
	/* Who made the socket is in its queue before we begin. */
	while (k->held > 0 || !nobody_waits(k)) {
		int left = alone_msec(k);
		unsigned n = 1;

		/* Who comes while another is there waits in the queue. */
		k->polled[0] =
			(struct pollfd){.fd = k->conn >= 0 ? k->conn : k->sock, .events = POLLIN};
		for (unsigned i = 0; i < PERF_SLOTS_MAX; i++) {
			if (k->listener[i] < 0)
				continue;
			k->polled[n] = (struct pollfd){
				.fd = k->listener[i], .events = left == 0 ? POLLIN : 0};
			k->slot_of[n++] = i;
		}
		if (poll(k->polled, n, left == 0 ? -1 : left) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		for (unsigned i = 1; i < n; i++)
			if (k->polled[i].revents)
				look_at(k, k->slot_of[i], k->polled[i].revents);
		if (k->polled[0].revents && k->conn >= 0)
			serve_peer(k);
		else if (k->polled[0].revents)
			peer_accept(k);
	}
}

/* A kernel without filters: as the core does, do without. */
static int confine_it(void)
{
	static const int calls[] = {
		SCMP_SYS(accept4),
		SCMP_SYS(getsockopt),
		SCMP_SYS(setsockopt),
		SCMP_SYS(recvmsg),
		SCMP_SYS(sendmsg),
		SCMP_SYS(poll),
		SCMP_SYS(ppoll),
		SCMP_SYS(close),
		SCMP_SYS(pidfd_open),
		SCMP_SYS(newfstatat),
		SCMP_SYS(fstatat64),
		SCMP_SYS(statx),
		SCMP_SYS(getrandom),
		SCMP_SYS(setitimer),
		SCMP_SYS(ioctl),
		SCMP_SYS(clock_gettime),
		SCMP_SYS(clock_gettime64),
		SCMP_SYS(restart_syscall),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(exit_group),
	};
	struct sock_fprog filter = {0};
	int r = sandbox_only(calls, sizeof(calls) / sizeof(*calls), &filter);

	/* Not freed: to give memory back takes a call that does not pass. */
	if (r == 0)
		r = sandbox_load(&filter);
	return r == -EOPNOTSUPP ? 0 : r;
}

/* It ends a wait; what it interrupts is not begun again. */
static void on_alarm(int number)
{
	(void)number;
}

_Noreturn void keeper_run(int sock, bool confine)
{
	const struct sigaction alarm_is = {.sa_handler = on_alarm};
	static struct keeper_child k;

	k.sock = sock;
	k.conn = k.peer_pidfd = k.registry = -EBADF;
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		k.listener[i] = -EBADF;
	k.alone_since = now_msec();
	if (sigaction(SIGALRM, &alarm_is, NULL) < 0)
		_exit(1);
	k.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (k.proc_fd < 0 || fstatat(k.proc_fd, "self/ns/user", &k.userns, 0) < 0)
		_exit(1);
	if (confine && confine_it() < 0)
		_exit(1);
	serve(&k);
	_exit(0);
}
