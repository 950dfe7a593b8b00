/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The core's end of porters. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "porter-core.h"
#include "wire.h"
#include "zygote.h"

#define PORTERS_MAX 64
#define ENDING_MAX 64
#define TICK_USEC 250000
#define JUDGE_USEC 5000000
#define GRACE_USEC 3000000
#define IDLE_USEC 1000000

uint64_t porters_now(const struct porters *all)
{
	uint64_t now = 0;

	(void)sd_event_now(all->event, CLOCK_MONOTONIC, &now);
	return now;
}

static void thing_add(struct passed **list, struct passed *t)
{
	t->next = *list;
	t->link = list;
	if (t->next)
		t->next->link = &t->next;
	*list = t;
}

static void thing_remove(struct passed *t)
{
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	t->next = NULL;
	t->link = NULL;
}

static bool is_awaited(const struct passed *t)
{
	return t->judged || t->received;
}

/* The answer, or that there will be none. Nothing of `t` is touched after the call. */
static void tell(struct passed *t, int result, const struct ucred *creds)
{
	void (*judged)(void *, int, struct passed *) = t->judged;
	void (*received)(void *, int, const struct ucred *) = t->received;
	void *userdata = t->userdata;

	t->judged = NULL;
	t->received = NULL;
	t->deadline = 0;
	if (received) {
		received(userdata, result, creds);
	} else if (judged) {
		if (result != 1) {
			free(t);
			t = NULL;
		}
		judged(userdata, result, t);
	}
}

static struct porter *porter_free(struct porter *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	sd_event_source_disable_unref(p->io);
	sd_event_source_disable_unref(p->end);
	close_fd(&p->channel);
	close_fd(&p->pidfd);
	free(p);
	return NULL;
}

/* One reply. 0: there is none now. -EPIPE: there will be none. */
static int reply_take(struct porter *p, struct porter_reply *ret, int *ret_fd)
{
	int r = wire_recv(p->channel, ret, sizeof(*ret), ret_fd);

	return r == -EAGAIN ? 0 : r < 0 ? r : 1;
}

/* What it still wanted to say: a socket in it may be the last reference, once it has ended. */
static void channel_clear(struct porter *p)
{
	struct porter_reply reply;
	int r, fd;

	do {
		fd = -EBADF;
		r = reply_take(p, &reply, &fd);
		if (fd >= 0)
			porters_bury(p->porters, fd);
	} while (r > 0);
}

void porter_end(struct porter *p, bool kill)
{
	struct porters *all = p->porters;

	if (kill && !p->killed) {
		p->killed = true;
		(void)pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
	}
	if (p->channel < 0)
		return;
	if (all->undertaker == p)
		all->undertaker = NULL;
	p->io = sd_event_source_disable_unref(p->io);
	/* From here on it can say nothing more: what came behind the look would go down with the
	 * channel, and be ours to close. */
	(void)shutdown(p->channel, SHUT_RD);
	channel_clear(p);
	close_fd(&p->channel);
	p->since = porters_now(all);
	while (p->things) {
		struct passed *t = p->things;

		thing_remove(t);
		t->porter = NULL;
		if (t->fd < 0 && !is_awaited(t))
			free(t);
	}
	porters_tick_on(all);
}

/* It has failed: its things are told so. */
static void porter_fail(struct porter *p, int err)
{
	struct passed *failed = NULL, *next;

	for (struct passed *t = p->things; t; t = next) {
		next = t->next;
		if (!is_awaited(t))
			continue;
		thing_remove(t);
		t->porter = NULL;
		thing_add(&failed, t);
	}
	porter_end(p, true);
	/* Any of them may be freed by what another is told. */
	while (failed) {
		struct passed *t = failed;

		thing_remove(t);
		tell(t, err, NULL);
	}
}

/* After something is gone from it. */
static void porter_settle(struct porter *p)
{
	if (p->n > 0)
		return;
	if (p->retired)
		porter_end(p, false);
	else
		p->since = porters_now(p->porters);
}

static void thing_leave(struct passed *t)
{
	struct porter *p = t->porter;

	if (!p)
		return;
	thing_remove(t);
	t->porter = NULL;
	p->n--;
	porter_settle(p);
}

/*
 * Our copy goes first: were it just closed here, it might be the last, for the porter may be
 * ending. In the channel it is the porter's, whose end closes it. Only when ours is closed the
 * porter is told to close its own: it may be faster than we are, and ours would be the last then.
 * Were a message lost, the porter would hold what it holds until it ends: so it is to end soon.
 */
static void release(struct passed *t)
{
	int r = porter_send(t->porter, PORTER_YIELD, t->id, 0, 0, t->fd);

	if (r >= 0) {
		close_fd(&t->fd);
		r = porter_send(t->porter, PORTER_RELEASE, t->id, 0, 0, -EBADF);
	}
	if (r < 0)
		t->porter->retired = true;
}

/* Neither we nor the porter have it any more. */
static void thing_put(struct passed *t)
{
	if (t->fd >= 0 && t->porter)
		release(t);
	if (t->fd >= 0)
		porters_bury(t->porters, TAKE_FD(t->fd));
	thing_leave(t);
}

static void judged(struct passed *t, int result, enum passed_kind kind, int fd)
{
	t->fd = fd;
	t->kind = kind;
	if (!t->judged) {
		passed_free(t);
	} else if (result == 1 && fd >= 0) {
		tell(t, 1, NULL);
	} else {
		thing_put(t);
		tell(t, result > 0 ? -EPROTO : result, NULL);
	}
}

/* Takes fd. */
static void on_reply(struct porter *p, const struct porter_reply *reply, int fd)
{
	struct passed *t = p->things;

	if (reply->tainted)
		p->retired = true;
	while (t && t->id != reply->id)
		t = t->next;
	if (t && t->fd < 0) {
		judged(t, reply->result, reply->kind, fd);
		return;
	}
	if (fd >= 0)
		porters_bury(p->porters, fd);
	if (t && t->received)
		tell(t, reply->result, reply->creds);
	/* Else to something that was freed meanwhile. */
}

/* One of what has come from it: what follows upon it may be a whole call, and others wait. 0: there
 * is none. Whoever is told may end it, but it is forgotten in the loop's turn only. */
static int porter_read(struct porter *p)
{
	struct porter_reply reply;
	int fd = -EBADF, r = reply_take(p, &reply, &fd);

	if (r > 0)
		on_reply(p, &reply, fd);
	return r;
}

static int on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct porter *p = userdata;
	int r = porter_read(p);

	if (r < 0)
		porter_fail(p, -EPIPE);
	else if (p->channel >= 0 && p->retired)
		porter_settle(p);
	return 0;
}

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct porter *p = userdata;

	porter_fail(p, -EPIPE);
	porter_free(p);
	return 0;
}

static int porter_watch(struct porter *p)
{
	sd_event *event = p->porters->event;
	int r = sd_event_add_io(event, &p->io, p->channel, EPOLLIN, on_channel, p);

	return r < 0 ? r : sd_event_add_io(event, &p->end, p->pidfd, EPOLLIN, on_end, p);
}

int porter_new(struct porters *all, uint64_t account, struct porter **ret)
{
	struct porter *p;
	unsigned ending = 0;
	int r;

	/* The undertaker's are for themselves, and soon over. */
	for (p = all->list; p; p = p->next)
		ending += p->channel < 0 &&
			  (p->account == ACCOUNT_UNDERTAKER) == (account == ACCOUNT_UNDERTAKER);
	if (ending >= ENDING_MAX && account != 0)
		return -EDQUOT;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->porters = all;
	p->account = account;
	p->since = porters_now(all);
	p->channel = p->pidfd = -EBADF;
	p->next = all->list;
	p->link = &all->list;
	if (p->next)
		p->next->link = &p->next;
	all->list = p;
	r = zygote_fork(all->zygote, &p->channel, &p->pidfd);
	if (r >= 0)
		r = porter_watch(p);
	if (r < 0) {
		porter_free(p);
		return r;
	}
	porters_tick_on(all);
	*ret = p;
	return 0;
}

int porter_send(
	struct porter *p, enum porter_op op, uint32_t id, uint32_t size, uint64_t usec, int fd)
{
	struct porter_request q = {.op = op, .id = id, .size = size, .usec = usec};

	return p->channel < 0 ? -EPIPE : wire_send(p->channel, &q, sizeof(q), fd);
}

static bool is_idle(const struct porter *p)
{
	return p->channel >= 0 && p->account != ACCOUNT_UNDERTAKER && p->n == 0;
}

/* Room for one more: an idle porter of somebody else's goes for it. */
static bool make_room(struct porters *all, uint64_t account)
{
	struct porter *idle = NULL;
	unsigned live = 0;

	for (struct porter *p = all->list; p; p = p->next) {
		if (p->channel < 0 || p->account == ACCOUNT_UNDERTAKER)
			continue;
		live++;
		if (is_idle(p))
			idle = p;
	}
	if (live < PORTERS_MAX || account == 0)
		return true;
	if (idle)
		porter_end(idle, false);
	return idle;
}

/* The account's porter for new work, or a new one. Besides that it may have one that works off what
 * it has or ends, but none that was killed and cannot. */
static int porter_get(struct porters *all, uint64_t account, struct porter **ret)
{
	unsigned others = 0;

	for (struct porter *p = all->list; p; p = p->next) {
		if (p->account != account)
			continue;
		if (p->channel >= 0 && !p->retired) {
			*ret = p;
			return p->n < PORTER_THINGS_MAX ? 0 : -EDQUOT;
		}
		others += p->killed ? 2 : 1;
	}
	if (others > 1 || !make_room(all, account))
		return -EDQUOT;
	return porter_new(all, account, ret);
}

int porters_judge(struct porters *all, uint64_t account, int conn, size_t size,
	void (*done)(void *userdata, int result, struct passed *passed), void *userdata,
	struct judging **ret)
{
	_cleanup_free_ struct judging *j = NULL;
	struct porter *p;
	int r = porter_get(all, account, &p);

	if (r < 0)
		return r;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->passed = (struct passed){
		.porters = all,
		.porter = p,
		.id = ++p->last_id,
		.fd = -EBADF,
		.deadline = porters_now(all) + JUDGE_USEC,
		.judged = done,
		.userdata = userdata,
	};
	r = porter_send(p, PORTER_JUDGE, j->passed.id, size, 0, conn);
	if (r < 0)
		return r == -EAGAIN || r == -ETOOMANYREFS ? -EDQUOT : r;
	p->n++;
	thing_add(&p->things, &j->passed);
	*ret = TAKE_PTR(j);
	return 0;
}

struct judging *judging_cancel(struct judging *j)
{
	if (!j)
		return NULL;
	/* What it finds is to be released still. */
	j->passed.judged = NULL;
	if (!j->passed.porter) {
		if (j->passed.link)
			thing_remove(&j->passed);
		free(j);
	}
	return NULL;
}

enum passed_kind passed_kind(const struct passed *t)
{
	return t->kind;
}

int passed_copy(const struct passed *t)
{
	int fd;

	if (t->kind == PASSED_SOCKET)
		return -EINVAL;
	fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

int passed_fd(const struct passed *t)
{
	return t->fd;
}

int passed_receive(struct passed *t, unsigned rounds, uint64_t usec,
	void (*done)(void *userdata, int result, const struct ucred *creds), void *userdata)
{
	int r;

	if (rounds < 1 || rounds > PORTER_ROUNDS_MAX)
		return -EINVAL;
	if (t->received)
		return -EBUSY;
	if (!t->porter)
		return -EPIPE;
	r = porter_send(t->porter, PORTER_RECEIVE, t->id, rounds, usec, -EBADF);
	if (r < 0)
		return r;
	t->deadline = porters_now(t->porter->porters) + rounds * usec + GRACE_USEC;
	t->received = done;
	t->userdata = userdata;
	return 0;
}

bool passed_is_pair(const struct passed *t)
{
	return socket_is_pair(t->fd);
}

static int send_data(struct porter *p, const struct porter_request *q, const void *data)
{
	struct iovec iov[] = {
		{(void *)(uintptr_t)q, sizeof(*q)}, {(void *)(uintptr_t)data, q->size}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (p->channel < 0)
		return -EPIPE;
	return sendmsg(p->channel, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int passed_send(struct passed *t, const void *data, size_t size,
	void (*done)(void *userdata, int result, const struct ucred *none), void *userdata)
{
	struct porter_request q = {.op = PORTER_SEND, .id = t->id, .size = (uint32_t)size};
	int r;

	if (size > PASSED_SEND_MAX)
		return -EMSGSIZE;
	if (t->received)
		return -EBUSY;
	if (!t->porter)
		return -EPIPE;
	r = send_data(t->porter, &q, data);
	if (r < 0)
		return r;
	t->deadline = porters_now(t->porters) + JUDGE_USEC;
	t->received = done;
	t->userdata = userdata;
	return 0;
}

struct passed *passed_free(struct passed *t)
{
	if (!t)
		return NULL;
	thing_put(t);
	if (t->link)
		thing_remove(t);
	free(t);
	return NULL;
}

/* It was told to end, or owes an answer, for too long. */
static void porter_tick(struct porter *p, uint64_t now)
{
	if (p->channel < 0) {
		if (now - p->since >= GRACE_USEC)
			porter_end(p, true);
		return;
	}
	if (is_idle(p) && now - p->since >= IDLE_USEC) {
		porter_end(p, false);
		return;
	}
	for (struct passed *t = p->things; t; t = t->next)
		if (t->deadline > 0 && now >= t->deadline) {
			porter_fail(p, -ETIMEDOUT);
			return;
		}
}

static bool needs_tick(const struct porters *all)
{
	if (all->unburied)
		return true;
	for (const struct porter *p = all->list; p; p = p->next)
		if (!p->killed)
			return true;
	return false;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct porters *all = userdata;
	uint64_t now = porters_now(all);
	struct porter *next;

	/* What it said while we were busy elsewhere counts. */
	for (struct porter *p = all->list; p; p = next) {
		bool heard = p->channel >= 0 && porter_read(p) > 0;

		/* None is forgotten here. */
		next = p->next;
		if (!heard)
			porter_tick(p, now);
	}
	undertaker_tick(all, now);
	all->ticking = false;
	if (needs_tick(all))
		porters_tick_on(all);
	return 0;
}

void porters_tick_on(struct porters *all)
{
	if (all->ticking)
		return;
	if (sd_event_source_set_time(all->tick, porters_now(all) + TICK_USEC) >= 0 &&
		sd_event_source_set_enabled(all->tick, SD_EVENT_ONESHOT) >= 0)
		all->ticking = true;
}

int porters_new(sd_event *event, struct zygote *zygote, struct porters **ret)
{
	struct porters *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	all->event = sd_event_ref(event);
	all->zygote = zygote;
	r = sd_event_add_time(
		event, &all->tick, CLOCK_MONOTONIC, UINT64_MAX, TICK_USEC / 4, on_tick, all);
	if (r >= 0)
		r = sd_event_source_set_enabled(all->tick, SD_EVENT_OFF);
	if (r < 0) {
		porters_free(all);
		return r;
	}
	*ret = all;
	return 0;
}

struct porters *porters_free(struct porters *all)
{
	if (!all)
		return NULL;
	/* What cannot be buried is left to this process' own end. */
	undertaker_tick(all, porters_now(all));
	while (all->unburied) {
		struct burial *b = all->unburied;

		all->unburied = b->next;
		free(b);
	}
	for (struct porter *p = all->list; p; p = p->next)
		porter_end(p, false);
	while (all->list)
		porter_free(all->list);
	sd_event_source_disable_unref(all->tick);
	sd_event_unref(all->event);
	free(all);
	return NULL;
}
