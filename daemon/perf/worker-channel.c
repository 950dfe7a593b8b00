/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker's end of its channel to the core. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cleanup.h"
#include "worker-core.h"

#define PACKET_MAX 16384

_Static_assert(sizeof(struct perf_facts_are) <= PACKET_MAX, "facts do not fit");
_Static_assert(sizeof(struct perf_open) <= PACKET_MAX, "an attr does not fit");

static void wait_for(int sock, short events)
{
	struct pollfd p = {.fd = sock, .events = events};

	(void)poll(&p, 1, -1);
}

int worker_send(struct worker *w, uint32_t type, const void *data, size_t size, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct perf_head head = {.type = type};
	struct iovec iov[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, size}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = size > 0 ? 2 : 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	while (sendmsg(w->core, &msg, MSG_NOSIGNAL) < 0) {
		if (errno == EAGAIN)
			wait_for(w->core, POLLOUT);
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

struct packet *packet_free(struct packet *p)
{
	if (!p)
		return NULL;
	close_fd(&p->fd);
	free(p);
	return NULL;
}

/* `n` bytes of `data`, and what came with them. */
static struct packet *packet_new(const uint8_t *data, size_t n, struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t size = n - sizeof(struct perf_head);
	struct packet *p = calloc(1, sizeof(*p) + size);

	if (!p)
		return NULL;
	p->fd = -EBADF;
	p->size = size;
	memcpy(&p->type, data, sizeof(p->type));
	memcpy(p->data, data + sizeof(struct perf_head), size);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&p->fd, CMSG_DATA(c), sizeof(int));
	return p;
}

struct packet *packet_take(int sock)
{
	static _Alignas(8) uint8_t data[PACKET_MAX];
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {data, sizeof(data)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	while ((n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC)) < 0) {
		if (errno == EAGAIN)
			wait_for(sock, POLLIN);
		else if (errno != EINTR)
			return NULL;
	}
	/* Too short, or cut: not the core's, or not this version's. */
	if ((size_t)n < sizeof(struct perf_head) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return NULL;
	return packet_new(data, (size_t)n, &msg);
}

static void packet_keep(struct worker *w, struct packet *p)
{
	struct packet **end = &w->waiting;

	while (*end)
		end = &(*end)->next;
	p->next = NULL;
	*end = p;
}

struct packet *worker_await(struct worker *w, uint32_t type, size_t size)
{
	struct packet *p;

	worker_idle(w);
	while ((p = packet_take(w->core))) {
		if (p->type == type && p->size == size)
			break;
		packet_keep(w, p);
	}
	if (!p)
		_exit(0);
	worker_busy(w);
	return p;
}

void worker_news(struct worker *w, enum perf_news news)
{
	struct perf_ask ask = {.news = news};
	uint64_t now = worker_msec();

	if (w->news[news] != 0 && now - w->news[news] < 1000)
		return;
	w->news[news] = now;
	(void)worker_send(w, PERF_NEWS, &ask, sizeof(ask), -EBADF);
}

void worker_dispatch(struct worker *w, struct packet *p)
{
	if (w->serve.kind == PERF_SERVE_BROKER && p->type == PERF_OPEN &&
		p->size == sizeof(struct perf_open))
		worker_broker_open(w, p);
	else if (w->serve.kind == PERF_SERVE_BROKER && p->type == PERF_REVOKE &&
		 p->size == sizeof(struct perf_revoke))
		worker_revoke(w, p);
	packet_free(p);
}
