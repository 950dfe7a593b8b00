/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lives of workers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../log.h"
#include "../manager.h"
#include "perf-core.h"

#define STARTS_A_MINUTE 10
#define MINUTE_MSEC 60000
/* From SIGKILL; until then it may wait in the kernel for something that ends. */
#define WEDGED_MSEC 10000
/* For who was told to end by the end of its channel. */
#define GRACE_MSEC 3000
/* A runtime connects and sends one message. */
#define FOUND_MSEC 10000
#define BROKER_IDLE_MSEC 10000
/* How long a call waits where no broker can be had. */
#define BROKER_WAIT_MSEC 5000
/* The longest packet is some 5 KiB. */
#define SEND_BUFFER 262144

struct perf_slot *perf_slot_of(const struct perf_life *l)
{
	return l->slot == PERF_NO_SLOT ? NULL : &l->perf->registry->slot[l->slot];
}

/* Nobody but the host's root may have more than is left then, so that however many share the slots
 * there are some for the next one. */
bool life_allowed(const struct perf *p, const struct account *account)
{
	unsigned max = p->manager->options->perf_listeners_max, n = 0;
	unsigned left = PERF_SLOTS_MAX - PERF_SLOTS_KEPT;
	struct perf_life *l;

	LIST_FOREACH(l, &p->lives, list)
	{
		left -= left > 0 && l->slot != PERF_NO_SLOT;
		if (l->account != account)
			continue;
		/* Whoever wedges one could wedge the next. */
		if (l->wedged)
			return false;
		n += l->kind != PERF_SERVE_BROKER;
	}
	if (account->number != 0 && (n >= max || n >= left))
		return false;
	return p->n_lives < PERF_LIVES_MAX;
}

int life_slot(struct perf *p, enum perf_slot_kind kind, const struct account *account)
{
	struct perf_life *l;
	unsigned used = 0;

	LIST_FOREACH(l, &p->lives, list)
	used += l->slot != PERF_NO_SLOT;
	if (account->number != 0 && used >= PERF_SLOTS_MAX - PERF_SLOTS_KEPT)
		return -EDQUOT;
	return perf_slot_take(p->registry, kind, account->number);
}

int life_new(struct perf *p, enum perf_serve_kind kind, struct account *account, uint32_t slot,
	int fd, struct perf_life **ret)
{
	struct perf_life *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct perf_life){
		.perf = p,
		.account = account_get(&p->manager->accounts, account->number),
		.kind = kind,
		.slot = slot,
		.fd = fd,
		.channel = -EBADF,
		.pidfd = -EBADF,
		.since = perf_msec(),
	};
	if (!l->account) {
		free(l);
		return -ENOMEM;
	}
	TAILQ_INIT(&l->waits);
	LIST_INSERT_HEAD(&p->lives, l, list);
	p->n_lives++;
	(void)sd_event_source_set_enabled(p->tick, SD_EVENT_ON);
	*ret = l;
	return 0;
}

/* Nothing more is heard of its worker, which ends by that. */
void channel_close(struct perf_life *l)
{
	waiter_cancel(&l->waiter);
	l->io = sd_event_source_disable_unref(l->io);
	close_fd(&l->channel);
}

/* A connection may be the last of its kind, with whatever its client has put into it. */
static void fd_drop(struct perf_life *l)
{
	if (l->fd >= 0 && l->kind != PERF_SERVE_NOTIFY)
		porters_close(l->perf->manager->porters, l->account->number, TAKE_FD(l->fd));
	close_fd(&l->fd);
}

struct perf_life *life_free(struct perf_life *l)
{
	struct perf *p = l->perf;

	broker_fail(l, false, REASON_INTERNAL);
	channel_close(l);
	sd_event_source_disable_unref(l->end);
	close_fd(&l->pidfd);
	fd_drop(l);
	LIST_REMOVE(l, list);
	p->n_lives--;
	account_put(l->account);
	free(l);
	return NULL;
}

/* With its slot, and what is kept of it. */
static void life_gone(struct perf_life *l)
{
	struct perf *p = l->perf;

	if (l->slot != PERF_NO_SLOT) {
		if (l->kind == PERF_SERVE_NOTIFY)
			(void)keeper_drop(p->keeper, l->slot);
		perf_slot_put(p->registry, l->slot);
		p->dropped[l->slot] = 0;
	}
	life_free(l);
}

void life_end(struct perf_life *l)
{
	l->over = true;
	channel_close(l);
	l->since = perf_msec();
	if (l->pidfd < 0)
		life_gone(l);
}

void life_kill(struct perf_life *l)
{
	channel_close(l);
	if (l->pidfd < 0 || l->killed)
		return;
	l->killed = true;
	l->since = perf_msec();
	(void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
}

/*
 * Its beginning and end.
 */

static bool has_users(const struct perf_life *l)
{
	struct pollfd p = {.fd = l->fd};

	/* seccomp_notify_poll(): nobody has the filter any more. */
	return poll(&p, 1, 0) < 0 || !(p.revents & (POLLHUP | POLLNVAL));
}

/* A connection cannot be gone on with in the middle: LXC connects anew. */
static bool is_wanted(const struct perf_life *l)
{
	switch (l->kind) {
	case PERF_SERVE_NOTIFY:
		return has_users(l);
	case PERF_SERVE_BROKER:
		return l->n_waits > 0;
	default:
		return false;
	}
}

/* The worker has ended: what becomes of what it was there for? */
static void worker_ended(struct perf_life *l)
{
	struct perf_slot *slot = perf_slot_of(l);
	bool killed = l->killed;

	/* The last it said may be that it is done. */
	while (channel_read(l) > 0)
		;
	channel_close(l);
	l->end = sd_event_source_disable_unref(l->end);
	close_fd(&l->pidfd);
	l->killed = l->wedged = false;
	l->since = perf_msec();
	if (slot) {
		atomic_store(&slot->busy, 0);
		perf_ledger_unwatch(slot);
	}
	if (l->kind == PERF_SERVE_BROKER)
		broker_fail(l, true, killed ? REASON_PERF_TIMEOUT : REASON_INTERNAL);
	if (!l->over && is_wanted(l))
		life_start(l);
	else
		life_gone(l);
}

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	worker_ended(userdata);
	return 0;
}

static int worker_watch(struct perf_life *l)
{
	sd_event *event = l->perf->manager->event;
	int r = channel_watch(l);

	return r < 0 ? r : sd_event_add_io(event, &l->end, l->pidfd, EPOLLIN, on_end, l);
}

/* After a pidfd was got. */
static int worker_tell(struct perf_life *l)
{
	struct perf_serve serve;
	int r;

	serve_fill(l, &serve);
	r = life_send(l, PERF_REGISTRY, NULL, 0, l->perf->registry_fd);
	if (r >= 0)
		r = life_send(l, PERF_SERVE, &serve, sizeof(serve), l->fd);
	/* The worker has the connection, and perhaps closed it again: ours could be the last. */
	if (r >= 0 && l->fd >= 0 && l->kind != PERF_SERVE_NOTIFY)
		porters_bury(l->perf->manager->porters, TAKE_FD(l->fd));
	return r;
}

static int worker_new(struct perf_life *l)
{
	_cleanup_close_ int theirs = -EBADF;
	int fds[2], size = SEND_BUFFER, r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	l->channel = fds[0];
	theirs = fds[1];
	if (fcntl(l->channel, F_SETFL, O_NONBLOCK) < 0 ||
		setsockopt(l->channel, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return -errno;
	l->pidfd = spawn_worker(l->perf->spawner, theirs);
	close_fd(&theirs);
	if (l->pidfd < 0)
		return l->pidfd;
	l->killed = false;
	r = worker_watch(l);
	return r < 0 ? r : worker_tell(l);
}

/* Not too many for whatever ends them. */
static bool start_allowed(struct perf_life *l)
{
	uint64_t now = perf_msec();

	if (l->n_begun == 0 || now - l->begun >= MINUTE_MSEC) {
		l->begun = now;
		l->n_begun = 0;
	}
	if (l->n_begun >= STARTS_A_MINUTE) {
		if (l->n_begun++ == STARTS_A_MINUTE)
			log_line(LOG_WARNING,
				"perf: workers of account %llu end too often; the next one will "
				"be started in a minute",
				(unsigned long long)l->account->number);
		return false;
	}
	l->n_begun++;
	return true;
}

void life_start(struct perf_life *l)
{
	int r;

	if (!start_allowed(l))
		return;
	l->since = perf_msec();
	r = worker_new(l);
	if (r >= 0) {
		broker_push(l);
		return;
	}
	log_limited(LOG_WARNING, l->account->number, "perf: no worker could be started: %s",
		strerror(-r));
	if (l->pidfd >= 0) {
		life_kill(l);
		return;
	}
	channel_close(l);
	if (l->kind == PERF_SERVE_LXC || l->kind == PERF_SERVE_OCI)
		life_gone(l);
}

/*
 * Looking after it.
 */

/* What it waits for may be us. */
static bool awaits_us(const struct perf_life *l)
{
	struct pollfd p = {.fd = l->channel, .events = POLLIN};

	return l->waiter.account || (l->channel >= 0 && poll(&p, 1, 0) > 0);
}

/* A container holds it up by something that has no end: that call is refused by the next worker. */
static void worker_condemn(struct perf_life *l, struct perf_slot *slot)
{
	log_limited(LOG_NOTICE, l->account->number,
		"perf: a worker took too long for one call and is ended");
	atomic_store(&slot->condemned, 1);
	life_kill(l);
}

/* It does not even end: nobody else can have the listener then. */
static void worker_wedged(struct perf_life *l)
{
	log_line(LOG_ERR,
		"perf: worker of account %llu waits in the kernel and cannot be ended; what it "
		"served is given up",
		(unsigned long long)l->account->number);
	l->wedged = l->over = true;
	if (l->kind == PERF_SERVE_NOTIFY)
		(void)keeper_drop(l->perf->keeper, l->slot);
	fd_drop(l);
	broker_fail(l, false, REASON_PERF_TIMEOUT);
}

static void worker_look(struct perf_life *l, uint64_t now)
{
	struct perf_slot *slot = perf_slot_of(l);
	uint64_t busy = slot ? atomic_load(&slot->busy) : 0;

	if (l->wedged)
		return;
	if (l->killed) {
		if (now - l->since > WEDGED_MSEC)
			worker_wedged(l);
	} else if (l->channel < 0) {
		if (now - l->since > GRACE_MSEC)
			life_kill(l);
	} else if (!slot && now - l->since > FOUND_MSEC) {
		life_end(l);
	} else if (busy != 0 && now > busy + PERF_WORKER_MSEC && !awaits_us(l)) {
		worker_condemn(l, slot);
	} else if (l->kind == PERF_SERVE_BROKER && l->n_waits == 0 &&
		   now - l->since > BROKER_IDLE_MSEC) {
		channel_close(l);
		l->since = now;
	}
}

void life_look(struct perf_life *l, uint64_t now)
{
	if (l->pidfd >= 0) {
		worker_look(l, now);
		return;
	}
	if (l->kind == PERF_SERVE_BROKER && now - l->since > BROKER_WAIT_MSEC)
		broker_fail(l, false, REASON_INTERNAL);
	if (is_wanted(l))
		life_start(l);
	else
		life_gone(l);
}
