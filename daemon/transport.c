/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "transport-core.h"

#ifndef SO_PASSPIDFD
#	define SO_PASSPIDFD 76
#endif

const struct transport_limits transport_limits_default = {
	.message_max = MESSAGE_MAX,
	.replies_pause = 1,
	.replies_max = 64,
	.dispatch_max = 16,
	.auth_usec = 5000000,
	.message_usec = 5000000,
	.send_buffer = 65536,
};

uint64_t transport_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void transport_enqueue(struct transport *t)
{
	hub_enqueue(t->hub, &t->ready, t->later && !t->why);
}

void timer_clear(struct transport *t)
{
	t->timer = sd_event_source_disable_unref(t->timer);
	t->timer_kind = TIMER_NONE;
}

/* The owner is told from the loop, never from within a call of its own. */
void transport_doom(struct transport *t, const char *why)
{
	if (t->why)
		return;
	t->why = why;
	timer_clear(t);
	t->io = sd_event_source_disable_unref(t->io);
	/* It may be among those that come later. */
	link_remove(&t->ready);
	transport_enqueue(t);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct transport *t = userdata;
	enum timer_kind kind = t->timer_kind;

	(void)source;
	(void)usec;
	timer_clear(t);
	if (kind == TIMER_AUTH) {
		transport_doom(t, "authentication took too long");
	} else if (kind == TIMER_STALL) {
		transport_doom(t, "the peer does not read its replies");
	} else {
		/* The rest may have come while we were busy elsewhere: look before judging. */
		t->overdue = true;
		transport_turn(t);
		t->overdue = false;
	}
	return 0;
}

void timer_set(struct transport *t, enum timer_kind kind, uint64_t usec)
{
	uint64_t now;
	int r;

	if (t->timer_kind == kind)
		return;
	timer_clear(t);
	r = sd_event_now(t->hub->event, CLOCK_MONOTONIC, &now);
	if (r >= 0)
		r = sd_event_add_time(
			t->hub->event, &t->timer, CLOCK_MONOTONIC, now + usec, 0, on_timer, t);
	if (r < 0) {
		transport_doom(t, "out of memory");
		return;
	}
	t->timer_kind = kind;
}

uint64_t transport_n_queued(struct transport *t)
{
	uint64_t n;

	return sd_bus_get_n_queued_write(t->bus, &n) < 0 ? 0 : n;
}

/* sd_bus_process() until it has nothing to do. It finds no byte but what was passed on. */
int transport_process(struct transport *t)
{
	int r;

	do
		r = sd_bus_process(t->bus, NULL);
	while (r > 0 && sd_bus_is_open(t->bus) > 0);
	/* Once it is not open, a further call would close our fds behind the event source's back.
	 */
	return r < 0 ? r : sd_bus_is_open(t->bus) > 0 ? 0 : -ECONNRESET;
}

/* Brings event mask and timer in line with the queue of replies. */
void transport_settle(struct transport *t)
{
	uint64_t n = transport_n_queued(t);

	if (t->why)
		return;
	if (n >= t->limits->replies_max) {
		transport_doom(t, "too many replies are unread");
		return;
	}
	if (n >= t->limits->replies_pause)
		timer_set(t, TIMER_STALL, t->limits->message_usec);
	else if (t->timer_kind == TIMER_STALL)
		timer_clear(t);
	if (t->why || t->want_write == (n > 0))
		return;
	t->want_write = n > 0;
	if (sd_event_source_set_io_events(
		    t->io, EPOLLIN | EPOLLRDHUP | EPOLLET | (t->want_write ? EPOLLOUT : 0)) < 0)
		transport_doom(t, "out of memory");
}

static void transport_work(struct transport *t, uint64_t begun)
{
	transport_read(t, begun);
	transport_settle(t);
}

/* False: others go first. What was told of it at a higher priority is put behind them. */
static bool transport_is_next(struct transport *t, uint64_t now)
{
	enum turn turn = t->held || !t->ops->turn ? TURN_NOW : t->ops->turn(t->userdata, now);
	bool later = turn == TURN_LATER;
	int64_t priority = later ? HUB_PRIORITY_LATER : SD_EVENT_PRIORITY_NORMAL;

	if (turn == TURN_WAIT)
		t->held = true;
	if (t->held || later == t->later || sd_event_source_set_priority(t->io, priority) < 0)
		return true;
	t->later = later;
	return !later;
}

void transport_turn(struct transport *t)
{
	uint64_t begun = transport_clock(), now;

	if (!transport_is_next(t, begun)) {
		transport_enqueue(t);
		return;
	}
	transport_work(t, begun);
	if (!t->ops->worked)
		return;
	now = transport_clock();
	t->ops->worked(t->userdata, now, now - begun);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct transport *t = userdata;

	(void)source;
	(void)fd;
	/* Its edge comes once, maybe together with data or while nothing is read. */
	if (revents & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		t->hangup = true;
	if ((revents & EPOLLOUT) && transport_n_queued(t) > 0) {
		/* There is room, so the peer does read. */
		if (t->timer_kind == TIMER_STALL)
			timer_clear(t);
		if (transport_process(t) < 0)
			transport_doom(t, "writing failed");
	}
	/* Also when only EPOLLOUT came: what arrived during a pause gave its edge then. */
	transport_turn(t);
	return 0;
}

static void on_turn(struct link *l)
{
	struct transport *t = (struct transport *)l;

	if (t->why)
		t->ops->closed(t->userdata, t->why);
	else
		transport_turn(t);
}

static void transport_freep(struct transport **t)
{
	transport_free(*t);
}

/* A security label or credentials with each message would also show as MSG_CTRUNC; an inherited
 * listener may have passed such an option on. A read would pass over MSG_OOB data, and drop what
 * rides on them, unless these stay inline: then reads and peeks alike stop before them. */
static int plain_socket(int fd)
{
	static const int options[] = {SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD};
	int off = 0, on = 1;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (setsockopt(fd, SOL_SOCKET, options[i], &off, sizeof(off)) < 0 &&
			errno != ENOPROTOOPT)
			return -errno;
	return setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int transport_start_bus(struct transport *t)
{
	int r, input;

	r = sd_bus_new(&t->bus);
	if (r < 0)
		return r;
	input = fcntl(t->hub->food, F_DUPFD_CLOEXEC, 3);
	if (input < 0)
		return -errno;
	r = sd_bus_set_fd(t->bus, input, t->fd);
	if (r < 0) {
		close(input);
		return r;
	}
	t->bus_has_fd = true;
	r = sd_bus_set_server(t->bus, 1, t->hub->id);
	if (r >= 0)
		r = sd_bus_set_anonymous(t->bus, 1);
	if (r >= 0)
		r = sd_bus_negotiate_fds(t->bus, t->porters != NULL);
	if (r >= 0)
		r = sd_bus_add_filter(t->bus, NULL, transport_on_message, t);
	if (r >= 0)
		r = sd_bus_start(t->bus);
	return r;
}

int transport_new(sd_event *event, struct porters *porters, uint64_t account, int fd,
	const struct transport_limits *limits, const struct transport_ops *ops, void *userdata,
	struct transport **ret)
{
	__attribute__((cleanup(transport_freep))) struct transport *t = NULL;
	int r;

	t = calloc(1, sizeof(*t));
	if (!t) {
		porters_close(porters, account, fd);
		return -ENOMEM;
	}
	link_init(&t->ready);
	t->porters = porters;
	t->account = account;
	t->fd = fd;
	t->limits = limits;
	t->ops = ops;
	t->userdata = userdata;
	if (limits->message_max > MESSAGE_MAX)
		return -EINVAL;
	r = hub_get(event, on_turn, &t->hub);
	if (r < 0)
		return r;
	r = plain_socket(fd);
	if (r < 0)
		return r;
	r = transport_start_bus(t);
	if (r < 0)
		return r;
	/* After the start: sd-bus raises it to 8 MiB where it may. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &limits->send_buffer, sizeof(int)) < 0)
		return -errno;
	r = sd_event_add_io(event, &t->io, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, on_io, t);
	if (r < 0)
		return r;
	timer_set(t, TIMER_AUTH, limits->auth_usec);
	if (t->why)
		return -ENOMEM;
	*ret = t;
	t = NULL;
	return 0;
}

static void transport_close(struct transport *t)
{
	if (!t->bus_has_fd) {
		sd_bus_unref(t->bus);
		porters_close(t->porters, t->account, t->fd);
	} else if (porters_disarm(t->porters, t->account, t->fd) >= 0) {
		sd_bus_close(t->bus);
		sd_bus_unref(t->bus);
	}
	/* Else there is not even an fd for it: better lost than waited for. */
}

struct transport *transport_free(struct transport *t)
{
	if (!t)
		return NULL;
	link_remove(&t->ready);
	timer_clear(t);
	/* Before the bus closes its fd. */
	t->io = sd_event_source_disable_unref(t->io);
	judging_cancel(t->judging);
	passed_free(t->passed);
	transport_close(t);
	free(t->begun);
	hub_unref(t->hub);
	free(t);
	return NULL;
}

void transport_hold(struct transport *t)
{
	t->held = true;
}

void transport_resume(struct transport *t)
{
	t->held = false;
	/* Not at once: we may be within another connection's message, which is in `look`. */
	transport_enqueue(t);
}

void transport_flush(struct transport *t)
{
	transport_settle(t);
}

bool transport_queued(struct transport *t)
{
	return transport_n_queued(t) > 0;
}

void transport_drop(struct transport *t, const char *why)
{
	transport_doom(t, why);
}
