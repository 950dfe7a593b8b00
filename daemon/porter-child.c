/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A porter's own end: a loop over its channel and the sockets that it receives on. */
#include "porter-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "hub.h"
#include "porter.h"
#include "wire.h"

/* The kernel's SCM_MAX_FD, and room for whatever else it may add to a message. */
#define FDS_MAX 253
#define CONTROL_SIZE (CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) + 1024)

struct held {
	uint32_t id;
	enum passed_kind kind;
	int fd;
	unsigned rounds, done; /* of what is being received; rounds 0: nothing is */
	uint64_t usec, deadline;
	struct ucred creds[PORTER_ROUNDS_MAX];
};

struct child {
	int sock, proc;
	bool tainted;
	unsigned n;
	struct held held[PORTER_THINGS_MAX];
	struct pollfd polls[1 + PORTER_THINGS_MAX];
	struct held *polled[1 + PORTER_THINGS_MAX];
};

/* What came with some bytes beside them. */
struct baggage {
	unsigned n_fds;
	int fd; /* the first; never closed here */
	bool has_creds, whole;
	struct ucred creds;
};

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void unpack(struct msghdr *msg, struct baggage *ret)
{
	*ret = (struct baggage){.fd = -EBADF, .whole = !(msg->msg_flags & MSG_CTRUNC)};
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int))) {
			ret->n_fds += (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(&ret->fd, CMSG_DATA(c), sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS &&
			   c->cmsg_len == CMSG_LEN(sizeof(struct ucred))) {
			ret->has_creds = true;
			memcpy(&ret->creds, CMSG_DATA(c), sizeof(ret->creds));
		}
	}
}

/* recvmsg() with room for all that there can be. */
static ssize_t look(int fd, void *data, size_t size, int flags, struct baggage *ret)
{
	static union {
		char space[CONTROL_SIZE];
		struct cmsghdr align;
	} control;
	struct iovec iov = {data, size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	do
		n = recvmsg(fd, &msg, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	unpack(&msg, ret);
	return n;
}

static int option(int fd, int name)
{
	socklen_t size = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? -errno : value;
}

/* None, or the one that the kernel gives to who sends credentials (unix(7), "Autobind feature"): an
 * abstract one of five hexadecimal digits. */
static bool is_nameless(const struct sockaddr_un *name, socklen_t len)
{
	if (len <= sizeof(name->sun_family))
		return true;
	if (len != sizeof(name->sun_family) + 6 || name->sun_path[0] != '\0')
		return false;
	for (size_t i = 1; i < 6; i++)
		if (!strchr("0123456789abcdef", name->sun_path[i]) || !name->sun_path[i])
			return false;
	return true;
}

bool socket_is_pair(int fd)
{
	struct sockaddr_un own, other;
	socklen_t own_len = sizeof(own), other_len = sizeof(other);

	return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
	       is_nameless(&own, own_len) &&
	       getpeername(fd, (struct sockaddr *)&other, &other_len) == 0 &&
	       is_nameless(&other, other_len);
}

/* One that data can go over. Asks nothing of it that could wait. */
static bool is_unix(int fd)
{
	int type = option(fd, SO_TYPE);

	return option(fd, SO_DOMAIN) == AF_UNIX &&
	       (type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_SEQPACKET) &&
	       option(fd, SO_ACCEPTCONN) == 0;
}

/*
 * What only the link's text tells. The kernel makes it of the name that it was created with
 * (anon_inodefs_dname() in fs/anon_inodes.c, which no file system of a client's can take part in: a
 * path begins with a slash, and who else names files without one, as memfds, pipes and sockets,
 * does so with another word). One opened with O_PATH has the same link and is nothing but a name.
 */
static bool is_anonymous(const struct child *c, int fd, const char *name)
{
	char path[32], link[64];
	ssize_t n;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_PATH))
		return false;
	snprintf(path, sizeof(path), "self/fd/%d", fd);
	n = readlinkat(c->proc, path, link, sizeof(link));
	return n == (ssize_t)strlen(name) && memcmp(link, name, (size_t)n) == 0;
}

/* Here, not in the core: it takes the socket's lock, and whoever shares the socket can hold that
 * for as long as he likes (SO_ATTACH_FILTER reads a program from his memory meanwhile). */
static bool passes_creds(int fd)
{
	static const int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0;
}

/* False: none that we take. */
static bool kind_find(const struct child *c, int fd, enum passed_kind *ret)
{
	if (is_unix(fd)) {
		*ret = PASSED_SOCKET;
		return passes_creds(fd);
	}
	*ret = is_anonymous(c, fd, "anon_inode:[perf_event]") ? PASSED_PERF : PASSED_SECCOMP;
	return *ret == PASSED_PERF || is_anonymous(c, fd, "anon_inode:seccomp notify");
}

static struct held *held_find(struct child *c, uint32_t id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->held[i].id == id)
			return &c->held[i];
	return NULL;
}

/* Whatever is seen and not kept is not closed either: who knows what that would wait for. */
static int judge(struct child *c, const struct porter_request *q, int conn)
{
	static unsigned char data[HUB_MESSAGE_MAX];
	size_t size = q->size < sizeof(data) ? q->size : sizeof(data);
	enum passed_kind kind;
	struct baggage bag;
	ssize_t n = look(conn, data, size, MSG_PEEK, &bag);

	if (n <= 0)
		return n < 0 ? (int)n : -EPIPE;
	if (bag.n_fds == 0 && bag.whole)
		return 0;
	if (bag.n_fds == 1 && bag.whole && c->n < PORTER_THINGS_MAX &&
		kind_find(c, bag.fd, &kind)) {
		c->held[c->n++] = (struct held){.id = q->id, .kind = kind, .fd = bag.fd};
		return 1;
	}
	c->tainted = true;
	return -EBADMSG;
}

static int answer(struct child *c, struct porter_reply *reply, int fd)
{
	reply->tainted = c->tainted;
	return wire_send(c->sock, reply, sizeof(*reply), fd);
}

/* 1: it has all its rounds. 0: it waits for more. */
static int receive_step(struct child *c, struct held *h, short events)
{
	struct baggage bag;
	char byte;
	ssize_t n = look(h->fd, &byte, 1, 0, &bag);

	/* A datagram socket that is shut down has an end that only poll(2) tells of. */
	if (n == -EAGAIN && (events & (POLLRDHUP | POLLHUP | POLLERR)))
		return -EPIPE;
	if (n == -EAGAIN)
		return now_usec() < h->deadline ? 0 : -ETIMEDOUT;
	if (n < 0)
		return -EPIPE;
	if (bag.n_fds > 0 || !bag.whole) {
		c->tainted = true;
		return -EBADMSG;
	}
	/* No end, but a datagram without a byte. */
	if (n == 0)
		return option(h->fd, SO_TYPE) == SOCK_DGRAM ? -EBADMSG : -EPIPE;
	/* 0: those of a message from before SO_PASSCRED, which nobody sent. */
	if (!bag.has_creds || bag.creds.pid == 0)
		return -EBADMSG;
	h->creds[h->done++] = bag.creds;
	if (h->done == h->rounds)
		return 1;
	if (send(h->fd, "1", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return -EPIPE;
	h->deadline = now_usec() + h->usec;
	return 0;
}

/* What could be said of it now is said. */
static int receive_on(struct child *c, struct held *h, short events)
{
	struct porter_reply reply = {.id = h->id};
	int r = receive_step(c, h, events);

	if (r == 0)
		return 0;
	h->rounds = 0;
	reply.result = r < 0 ? r : 0;
	if (r > 0)
		memcpy(reply.creds, h->creds, sizeof(reply.creds));
	return answer(c, &reply, -EBADF);
}

static int receive_begin(struct child *c, const struct porter_request *q)
{
	struct held *h = held_find(c, q->id);

	if (!h || q->size < 1 || q->size > PORTER_ROUNDS_MAX)
		return -EINVAL;
	h->rounds = q->size;
	h->done = 0;
	h->usec = q->usec;
	h->deadline = now_usec() + q->usec;
	return 0;
}

/* The name is looked at here too, right before. */
static int send_on(struct child *c, const struct porter_request *q, const void *data)
{
	struct held *h = held_find(c, q->id);
	ssize_t n;

	if (!h)
		return -EINVAL;
	if (!socket_is_pair(h->fd))
		return -ENOTCONN;
	do
		n = send(h->fd, data, q->size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static void release(struct child *c, uint32_t id)
{
	struct held *h = held_find(c, id);

	if (!h)
		return;
	close(h->fd);
	*h = c->held[--c->n];
}

/* A request, and what follows it. */
static int request_take(struct child *c, struct porter_request *ret, void *data, int *ret_fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov[] = {{ret, sizeof(*ret)}, {data, PORTER_DATA_MAX}};
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	do
		n = recvmsg(c->sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
		cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	if ((size_t)n < sizeof(*ret) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return -EPROTO;
	return ret->op == PORTER_SEND && (size_t)n != sizeof(*ret) + ret->size ? -EPROTO : 0;
}

static int handle(struct child *c)
{
	static unsigned char data[PORTER_DATA_MAX];
	_cleanup_close_ int fd = -EBADF;
	struct porter_request q;
	struct porter_reply reply = {0};
	const struct held *h;
	int r = request_take(c, &q, data, &fd);

	if (r < 0)
		return r;
	switch (q.op) {
	case PORTER_JUDGE:
		reply.id = q.id;
		reply.result = judge(c, &q, fd);
		/* The core has it too, so this is not the last. */
		close_fd(&fd);
		h = reply.result == 1 ? &c->held[c->n - 1] : NULL;
		reply.kind = h ? h->kind : 0;
		return answer(c, &reply, h ? h->fd : -EBADF);
	case PORTER_RECEIVE:
		return receive_begin(c, &q);
	case PORTER_SEND:
		reply.id = q.id;
		reply.result = send_on(c, &q, data);
		return answer(c, &reply, -EBADF);
	case PORTER_YIELD:
		return 0;
	case PORTER_RELEASE:
		release(c, q.id);
		return 0;
	case PORTER_HOLD:
		(void)TAKE_FD(fd);
		return 0;
	default:
		return -EPROTO;
	}
}

/* Waits for the channel and for what is received; how many are polled. */
static nfds_t await(struct child *c)
{
	uint64_t first = UINT64_MAX, now;
	nfds_t n = 1;
	int msec = -1;

	c->polls[0] = (struct pollfd){.fd = c->sock, .events = POLLIN};
	for (unsigned i = 0; i < c->n; i++) {
		struct held *h = &c->held[i];

		if (h->rounds == 0)
			continue;
		if (h->deadline < first)
			first = h->deadline;
		c->polled[n] = h;
		c->polls[n++] = (struct pollfd){.fd = h->fd, .events = POLLIN | POLLRDHUP};
	}
	if (first != UINT64_MAX) {
		now = now_usec();
		/* Rounded up, or it would spin for the last millisecond. */
		msec = first <= now			     ? 0
		       : (first - now) / 1000 >= INT_MAX - 1 ? INT_MAX
							     : (int)((first - now) / 1000) + 1;
	}
	if (poll(c->polls, n, msec) < 0)
		return 0;
	return n;
}

static int turn(struct child *c)
{
	nfds_t n = await(c);
	int r = 0;

	/* Before the channel, whose RELEASE moves what is held. */
	for (nfds_t i = 1; r == 0 && i < n; i++)
		if (c->polls[i].revents || now_usec() >= c->polled[i]->deadline)
			r = receive_on(c, c->polled[i], c->polls[i].revents);
	if (r == 0 && n > 0 && c->polls[0].revents)
		r = handle(c);
	return r;
}

_Noreturn void porter_run(int sock, int proc)
{
	static struct child c;

	c.sock = sock;
	c.proc = proc;
	while (turn(&c) == 0)
		;
	/* Closed by the exit, which waits for nobody's peer. */
	_exit(0);
}
