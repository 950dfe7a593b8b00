/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said to workers, and what comes from them: it is believed as far as their own slot goes.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../hub.h"
#include "../log.h"
#include "../manager.h"
#include "../wire.h"
#include "grants.h"
#include "perf-core.h"

/* What one worker says keeps nobody else waiting. */
#define PACKETS_A_WAKE 8

/* What a worker says. */
struct packet {
	struct perf_head head;
	union {
		struct perf_ask ask;
		struct perf_opened opened;
		struct perf_revoked revoked;
	} body;
};

static const char *const news[PERF_NEWS_MAX] = {
	[PERF_NEWS_HALF] = "half a message",
	[PERF_NEWS_SIZE] = "a message of a wrong size",
	[PERF_NEWS_FDS] = "a message without the file descriptors that belong to it",
	[PERF_NEWS_PEER] = "a notification for somebody who is not the sender's",
	[PERF_NEWS_DEAF] = "it does not read its answers",
	[PERF_NEWS_JSON] = "no state of a container",
	[PERF_NEWS_NEXT] = "the next proxy (--lxc-next) does not answer",
	[PERF_NEWS_CALL] = "a system call that is not perf_event_open",
};

int life_send(struct perf_life *l, enum perf_to_worker type, const void *data, size_t size, int fd)
{
	const struct perf_head head = {.type = type};
	const struct wire_tail tail = {(void *)(uintptr_t)data, size};
	int r;

	if (l->channel < 0)
		return -EPIPE;
	/* Our end does not wait: see worker_new(). */
	r = wire_send_tail(l->channel, &head, sizeof(head), &tail, fd);
	if (r >= 0)
		return 0;
	if (r == -EAGAIN || r == -ETOOMANYREFS)
		return -EAGAIN;
	life_kill(l);
	return -EPIPE;
}

/*
 * What comes from it.
 */

static int on_facts(struct perf_life *l, const struct perf_ask *ask)
{
	struct perf *p = l->perf;
	_cleanup_close_ int scope = -EBADF;
	struct perf_facts_are are = {0};
	uint64_t generation = atomic_load(&p->registry->generation);
	int r = perf_facts_of(p->manager, ask->tid, &are, &scope);

	if (r < 0)
		are = (struct perf_facts_are){.result = r};
	are.tid = ask->tid;
	are.generation = generation;
	/* It asks one at a time, so there is room. */
	return life_send(l, PERF_FACTS_ARE, &are, sizeof(are), r < 0 ? -EBADF : scope);
}

void serve_fill(const struct perf_life *l, struct perf_serve *ret)
{
	const struct options *o = l->perf->manager->options;

	*ret = (struct perf_serve){
		.kind = l->kind,
		.slot = l->slot,
		.peer_pid = l->peer_pid,
		.peer_uid = l->peer_uid,
		.rate = o->perf_rate,
		.burst = o->perf_rate > 4096 ? o->perf_rate : 4096,
		.max_events = o->perf_events_max,
	};
	if (o->lxc_next && strlen(o->lxc_next) < sizeof(ret->next))
		strcpy(ret->next, o->lxc_next);
}

/* Takes fd. */
static int on_found(struct perf_life *l, int fd)
{
	struct perf *p = l->perf;
	struct perf_serve serve;
	int r;

	if (l->kind != PERF_SERVE_OCI || fd < 0) {
		close_fd(&fd);
		return -EPROTO;
	}
	r = life_slot(p, PERF_SLOT_NOTIFY, l->account);
	if (r < 0) {
		close(fd);
		log_limited(LOG_WARNING, l->account->number,
			"perf: no room for a container's seccomp listener");
		life_end(l);
		return 0;
	}
	l->kind = PERF_SERVE_NOTIFY;
	l->slot = (uint32_t)r;
	l->fd = fd;
	(void)keeper_store(p->keeper, l->slot, fd);
	serve_fill(l, &serve);
	return life_send(l, PERF_SLOT_IS, &serve, sizeof(serve), -EBADF);
}

static void on_news(const struct perf_life *l, const struct perf_ask *ask)
{
	if (ask->news < PERF_NEWS_MAX && news[ask->news])
		log_limited(LOG_NOTICE, l->account->number, "perf: pid %d uid %u: %s", l->peer_pid,
			l->peer_uid, news[ask->news]);
}

/* Takes fd. Negative: it is not what a worker says. */
static int packet_handle(struct perf_life *l, const struct packet *packet, size_t size, int fd)
{
	_cleanup_close_ int owned = fd;

	switch (packet->head.type) {
	case PERF_FACTS:
		return size == sizeof(packet->body.ask) ? on_facts(l, &packet->body.ask) : -EPROTO;
	case PERF_FOUND:
		return size == 0 ? on_found(l, TAKE_FD(owned)) : -EPROTO;
	case PERF_OPENED:
		return size == sizeof(packet->body.opened)
			       ? broker_opened(l, &packet->body.opened, TAKE_FD(owned))
			       : -EPROTO;
	case PERF_REVOKED:
		return size == sizeof(packet->body.revoked)
			       ? broker_revoked(l, &packet->body.revoked)
			       : -EPROTO;
	case PERF_NEWS:
		if (size != sizeof(packet->body.ask))
			return -EPROTO;
		on_news(l, &packet->body.ask);
		return 0;
	case PERF_DONE:
		if (size != 0)
			return -EPROTO;
		l->over = l->over || l->kind != PERF_SERVE_BROKER;
		return 0;
	default:
		return -EPROTO;
	}
}

/* 1: there was something. A worker that is not to be believed is killed. */
int channel_read(struct perf_life *l)
{
	struct packet packet;
	struct wire_tail tail = {&packet.body, sizeof(packet.body)};
	int fd, r;

	if (l->channel < 0)
		return 0;
	r = wire_recv_tail(l->channel, &packet.head, sizeof(packet.head), &tail, &fd);
	if (r == -EAGAIN)
		return 0;
	if (r >= 0)
		r = packet_handle(l, &packet, tail.size, fd) < 0 ? -EPROTO : 1;
	if (r == -EPIPE)
		channel_close(l); /* it ends */
	else if (r < 0)
		life_kill(l);
	return r;
}

static void on_go(struct waiter *w)
{
	struct perf_life *l = (struct perf_life *)((char *)w - offsetof(struct perf_life, waiter));

	if (l->io)
		(void)sd_event_source_set_enabled(l->io, SD_EVENT_ON);
}

/* Who used much of the loop's time comes after all others here too. */
static bool is_its_turn(struct perf_life *l)
{
	enum turn turn = account_turn(l->account, clock_monotonic());
	int64_t want = turn == TURN_NOW ? SD_EVENT_PRIORITY_NORMAL : HUB_PRIORITY_LATER, have = 0;

	if (turn == TURN_WAIT) {
		l->waiter.go = on_go;
		(void)sd_event_source_set_enabled(l->io, SD_EVENT_OFF);
		account_wait(l->account, &l->waiter);
		return false;
	}
	(void)sd_event_source_get_priority(l->io, &have);
	if (have != want)
		(void)sd_event_source_set_priority(l->io, want);
	return have >= want;
}

static int on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct perf_life *l = userdata;
	uint64_t now, begun = clock_monotonic();

	if (!is_its_turn(l))
		return 0;
	/* It has a worker, so it does not go here. */
	for (unsigned i = 0; i < PACKETS_A_WAKE && channel_read(l) > 0; i++)
		;
	now = clock_monotonic();
	account_charge(l->account, now, now - begun);
	return 0;
}

int channel_watch(struct perf_life *l)
{
	return sd_event_add_io(l->perf->manager->event, &l->io, l->channel, EPOLLIN, on_channel, l);
}
