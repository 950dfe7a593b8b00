/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker's end of its channel to the core. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../wire.h"
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
	const struct perf_head head = {.type = type};
	const struct wire_tail tail = {(void *)(uintptr_t)data, size};
	int r;

	while ((r = wire_send_tail(w->core, &head, sizeof(head), &tail, fd)) == -EAGAIN)
		wait_for(w->core, POLLOUT);
	return r;
}

struct packet *packet_free(struct packet *p)
{
	if (!p)
		return NULL;
	close_fd(&p->fd);
	free(p);
	return NULL;
}

/* Takes fd. */
static struct packet *packet_new(const struct perf_head *head, const struct wire_tail *tail, int fd)
{
	struct packet *p = calloc(1, sizeof(*p) + tail->size);

	if (!p) {
		close_fd(&fd);
		return NULL;
	}
	p->type = head->type;
	p->fd = fd;
	p->size = tail->size;
	memcpy(p->data, tail->data, tail->size);
	return p;
}

struct packet *packet_take(int sock)
{
	static _Alignas(8) uint8_t data[PACKET_MAX];
	struct perf_head head;
	struct wire_tail tail;
	int fd, r;

	do {
		tail = (struct wire_tail){data, sizeof(data)};
		r = wire_recv_tail(sock, &head, sizeof(head), &tail, &fd);
		if (r == -EAGAIN)
			wait_for(sock, POLLIN);
	} while (r == -EAGAIN);
	/* -EPROTO: not the core's, or not this version's. */
	return r < 0 ? NULL : packet_new(&head, &tail, fd);
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
