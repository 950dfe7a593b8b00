/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include "transport.h"
#include "hub.h"

#ifndef SO_PASSPIDFD
#	define SO_PASSPIDFD 76
#endif

#define AUTH_LINE_MAX 1024
#define AUTH_BYTES_MAX 16384
#define AUTH_LINES_MAX 32
#define HEADER_SIZE 16 /* the fixed part, up to and with the length of the fields' array */
#define LOOK_SIZE 4096
/* Work on one connection after which others are looked for; and of one that comes later. */
#define TURN_NSEC 1000000
#define TURN_LATER_NSEC 50000
#define MESSAGE_MAX HUB_MESSAGE_MAX

const struct transport_limits transport_limits_default = {
	.message_max = MESSAGE_MAX,
	.replies_pause = 1,
	.replies_max = 64,
	.dispatch_max = 16,
	.auth_usec = 5000000,
	.message_usec = 5000000,
	.send_buffer = 65536,
};

enum timer_kind {
	TIMER_NONE,
	TIMER_AUTH,
	TIMER_MESSAGE, /* a message has begun and is not whole */
	TIMER_STALL,   /* reading is paused because the peer does not read */
};

struct transport {
	struct link ready; /* must be first */
	struct hub *hub;
	const struct transport_limits *limits;
	const struct transport_ops *ops;
	void *userdata;
	sd_bus *bus;
	sd_event_source *io, *timer;
	/* The beginning of a message that is not whole yet, taken off the queue so that the peer
	 * can send the rest: in one-byte pieces some 270 bytes fill it. */
	unsigned char *begun;
	size_t n_begun;
	const char *why; /* it is over, and the owner is about to be told */
	int fd;		 /* the client's socket */
	uint16_t auth_bytes;
	uint8_t auth_lines;
	uint8_t timer_kind;
	bool authenticated : 1;
	bool held : 1;
	bool want_write : 1;
	bool overdue : 1;
	bool hangup : 1; /* behind what is queued there is an end */
	bool dispatched : 1;
	bool bus_has_fd : 1; /* and closes it */
	bool later : 1;	     /* its event source has the priority of what comes later */
};

/* The part of what is to come that was looked at, in `look`: what has begun, then the queue's head.
 */
struct window {
	size_t off, end;
	bool drained; /* the queue held no more: what comes later comes with a new event */
	bool fds;     /* the last bytes carry fds */
};

/* One for all: the loop has one thread, and nothing stays here between two wakes. */
static unsigned char look[MESSAGE_MAX];

static const char has_fds[] = "a message carries file descriptors";

static void transport_turn(struct transport *t);

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void transport_enqueue(struct transport *t)
{
	hub_enqueue(t->hub, &t->ready, t->later && !t->why);
}

static void timer_clear(struct transport *t)
{
	t->timer = sd_event_source_disable_unref(t->timer);
	t->timer_kind = TIMER_NONE;
}

/* The owner is told from the loop, never from within a call of its own. */
static void transport_doom(struct transport *t, const char *why)
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

static void timer_set(struct transport *t, enum timer_kind kind, uint64_t usec)
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

static uint64_t queued(struct transport *t)
{
	uint64_t n;

	return sd_bus_get_n_queued_write(t->bus, &n) < 0 ? 0 : n;
}

/*
 * Looks at the head of the queue and leaves it there. Without a control buffer the kernel installs
 * no fd; that there is one shows as MSG_CTRUNC. af_unix: a peek ends with the first piece that
 * carries fds; but when `size` is exhausted before, it still walks on to that piece and sets the
 * flag. So fds are known to ride on the last bytes returned only when fewer than `size` were.
 */
static ssize_t peek(struct transport *t, void *data, size_t size, bool *ret_fds)
{
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(t->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_fds = (msg.msg_flags & MSG_CTRUNC) && (size_t)n < size;
	return n;
}

/*
 * Takes the bytes that were looked at; NULL or what is wrong. A read, unlike a peek, flags just the
 * fds that ride on its own bytes. It drops them as closing the socket would, without flush, and
 * installs none. What is taken may differ from what was peeked (MSG_OOB data are passed over by
 * one and not the other): the caller looks again before it feeds them.
 */
static const char *take(struct transport *t, void *data, size_t size)
{
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(t->fd, &msg, MSG_DONTWAIT);

	if (msg.msg_flags & MSG_CTRUNC)
		return has_fds;
	return n == (ssize_t)size ? NULL : "reading failed";
}

/* sd_bus_process() until it has nothing to do. It finds no byte but what was passed on. */
static int process_all(struct transport *t)
{
	int r;

	do
		r = sd_bus_process(t->bus, NULL);
	while (r > 0 && sd_bus_is_open(t->bus) > 0);
	/* Once it is not open, a further call would close our fds behind the event source's back.
	 */
	return r < 0 ? r : sd_bus_is_open(t->bus) > 0 ? 0 : -ECONNRESET;
}

/* One line of SASL, which is at the head of the queue and in `look`. */
static void auth_line(struct transport *t, size_t size)
{
	static const char begin[] = "BEGIN\r\n";
	bool is_begin = size == sizeof(begin) - 1 && memcmp(look, begin, size) == 0;
	const char *why;
	int r;

	if (t->auth_bytes == 0 && look[0] != '\0') {
		transport_doom(t, "the first byte is not NUL");
		return;
	}
	t->auth_bytes += size;
	if (t->auth_bytes > AUTH_BYTES_MAX || ++t->auth_lines > AUTH_LINES_MAX) {
		transport_doom(t, "authentication is too long");
		return;
	}
	why = take(t, look, size);
	if (!why &&
		(memchr(look, '\n', size) != look + size - 1 || hub_feed(t->hub, look, size) < 0))
		why = "reading failed";
	if (why) {
		transport_doom(t, why);
		return;
	}
	r = process_all(t);
	hub_drain(t->hub);
	if (r < 0) {
		transport_doom(t, "authentication failed");
	} else if (sd_bus_is_ready(t->bus) > 0) {
		t->authenticated = true;
		timer_clear(t);
	} else if (is_begin) {
		transport_doom(t, "BEGIN before authentication");
	}
}

/* sd-bus reads ahead of BEGIN and then sleeps on a call that came with it; so it is given one line
 * at a time, and goes on with what follows only when we say so. */
static void transport_authenticate(struct transport *t)
{
	while (!t->why && !t->authenticated) {
		bool fds = false;
		ssize_t n = peek(t, look, AUTH_LINE_MAX, &fds);
		unsigned char *end;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			transport_doom(t, n == 0 ? "closed by the peer" : "reading failed");
			return;
		}
		end = memchr(look, '\n', n);
		if (end)
			auth_line(t, end - look + 1);
		else if (fds)
			transport_doom(t, has_fds);
		else if (n == AUTH_LINE_MAX || t->auth_bytes + n > AUTH_BYTES_MAX)
			transport_doom(t, "authentication is too long");
		else
			return;
	}
}

/* The size of a message from its first 16 bytes (D-Bus specification, "Message Format"); 0: none
 * that we take. sd-bus computes the same. */
static size_t frame_size(const unsigned char *p, uint32_t max)
{
	uint32_t body, fields;
	uint64_t size;

	if ((p[0] != 'l' && p[0] != 'B') || p[3] != 1)
		return 0;
	memcpy(&body, p + 4, sizeof(body));
	memcpy(&fields, p + 12, sizeof(fields));
	body = p[0] == 'l' ? le32toh(body) : be32toh(body);
	fields = p[0] == 'l' ? le32toh(fields) : be32toh(fields);
	size = HEADER_SIZE + (((uint64_t)fields + 7) & ~UINT64_C(7)) + body;
	return size > max ? 0 : size;
}

static size_t window_frame(struct transport *t, const unsigned char *p)
{
	size_t size = frame_size(p, t->limits->message_max);

	if (size == 0)
		transport_doom(t, "not a message, or one too large");
	return size;
}

/* Looks at the queue's head: at a message's `size` bytes, or (0) at what is there. */
static void window_look(struct transport *t, struct window *w, size_t size)
{
	size_t begun = t->n_begun, length = (size ?: begun + LOOK_SIZE) - begun;
	bool fds = false;
	ssize_t n;

	if (length > sizeof(look) - begun)
		length = sizeof(look) - begun;
	if (begun > 0)
		memcpy(look, t->begun, begun);
	*w = (struct window){.end = begun, .drained = true};
	n = peek(t, look + begun, length, &fds);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		transport_doom(t, n == 0 ? "closed by the peer" : "reading failed");
		return;
	}
	w->end = begun + n;
	w->fds = fds;
	w->drained = (size_t)n < length && !fds;
}

/* Takes a message's beginning off the queue. It is short of a message, so it fits; fds on it end
 * the connection, as on any other part. */
static void begin(struct transport *t, const struct window *w)
{
	size_t have = w->end - w->off, fresh = have - t->n_begun;
	unsigned char *bigger;
	const char *why;

	if (fresh == 0)
		return;
	bigger = realloc(t->begun, have);
	if (!bigger) {
		transport_doom(t, "out of memory");
		return;
	}
	t->begun = bigger;
	why = take(t, bigger + t->n_begun, fresh);
	t->n_begun = have;
	if (why)
		transport_doom(t, why);
}

/* The next message's size, when it is whole and without fds, at look + w->off. 0: there is none
 * now. */
static size_t window_next(struct transport *t, struct window *w)
{
	while (!t->why) {
		size_t have = w->end - w->off, size = 0;

		if (have >= HEADER_SIZE) {
			size = window_frame(t, look + w->off);
			if (size == 0 || size <= have)
				return size;
		}
		if (have > 0 && w->fds) {
			transport_doom(t, has_fds);
			return 0;
		}
		if (!w->drained) {
			window_look(t, w, size);
			continue;
		}
		if (t->hangup)
			transport_doom(t, "closed by the peer");
		else if (have > 0 && t->overdue)
			transport_doom(t, "a message took too long");
		else if (have > 0) {
			timer_set(t, TIMER_MESSAGE, t->limits->message_usec);
			begin(t, w);
		}
		return 0;
	}
	return 0;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct transport *t = userdata;

	(void)error;
	/* A connection that breaks is told to filters as a signal of sd-bus' own. */
	if (sd_bus_is_open(t->bus) <= 0)
		return 1;
	t->dispatched = true;
	if (t->ops->message(t->userdata, m) < 0)
		transport_doom(t, "answering failed");
	/* Whatever it was, sd-bus' own objects and built-in answers do not see it. */
	return 1;
}

/* Gives sd-bus one message. It may first write, and then reads in its next call. It silently skips
 * what it finds malformed, and would go on to the next message if there were one for it to read. */
static void dispatch_one(struct transport *t, unsigned char *data, size_t size)
{
	const char *why;
	int r;

	/* An answer that could not be sent has ended it. */
	if (sd_bus_is_open(t->bus) <= 0) {
		transport_doom(t, "writing failed");
		return;
	}
	why = take(t, data + t->n_begun, size - t->n_begun);
	if (t->n_begun > 0)
		memcpy(data, t->begun, t->n_begun);
	free(t->begun);
	t->begun = NULL;
	t->n_begun = 0;

	if (!why && (frame_size(data, t->limits->message_max) != size ||
			    hub_feed(t->hub, data, size) < 0))
		why = "reading failed";
	if (why) {
		transport_doom(t, why);
		return;
	}
	t->overdue = false;
	timer_clear(t);
	t->dispatched = false;
	do
		r = sd_bus_process(t->bus, NULL);
	while (r > 0 && !t->dispatched && sd_bus_is_open(t->bus) > 0);
	/* Whatever happened: what one connection left must never be read as another's. */
	hub_drain(t->hub);
	if (sd_bus_is_open(t->bus) <= 0)
		transport_doom(t, "writing failed");
	else if (!t->dispatched || r < 0)
		transport_doom(t, "a malformed message");
}

static void transport_dispatch(struct transport *t, uint64_t begun)
{
	unsigned budget = t->limits->dispatch_max;
	uint64_t end = begun + (t->later ? TURN_LATER_NSEC : TURN_NSEC);
	struct window w = {};

	while (!t->why && !t->held && queued(t) < t->limits->replies_pause) {
		size_t size = window_next(t, &w);

		if (size == 0)
			return;
		if (budget-- == 0 || (w.off > 0 && clock_ns() > end)) {
			transport_enqueue(t);
			return;
		}
		dispatch_one(t, look + w.off, size);
		w.off += size;
	}
}

/* Brings event mask and timer in line with the queue of replies. */
static void transport_settle(struct transport *t)
{
	uint64_t n = queued(t);

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
	if (!t->authenticated)
		transport_authenticate(t);
	if (t->authenticated)
		transport_dispatch(t, begun);
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

static void transport_turn(struct transport *t)
{
	uint64_t begun = clock_ns(), now;

	if (!transport_is_next(t, begun)) {
		transport_enqueue(t);
		return;
	}
	transport_work(t, begun);
	if (!t->ops->worked)
		return;
	now = clock_ns();
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
	if ((revents & EPOLLOUT) && queued(t) > 0) {
		/* There is room, so the peer does read. */
		if (t->timer_kind == TIMER_STALL)
			timer_clear(t);
		if (process_all(t) < 0)
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
 * listener may have passed such an option on. */
static int plain_socket(int fd)
{
	static const int options[] = {SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD};
	int off = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (setsockopt(fd, SOL_SOCKET, options[i], &off, sizeof(off)) < 0 &&
			errno != ENOPROTOOPT)
			return -errno;
	return 0;
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
		r = sd_bus_negotiate_fds(t->bus, 0);
	if (r >= 0)
		r = sd_bus_add_filter(t->bus, NULL, on_message, t);
	if (r >= 0)
		r = sd_bus_start(t->bus);
	return r;
}

int transport_new(sd_event *event, int fd, const struct transport_limits *limits,
	const struct transport_ops *ops, void *userdata, struct transport **ret)
{
	__attribute__((cleanup(transport_freep))) struct transport *t = NULL;
	int r;

	t = calloc(1, sizeof(*t));
	if (!t) {
		close(fd);
		return -ENOMEM;
	}
	link_init(&t->ready);
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

struct transport *transport_free(struct transport *t)
{
	if (!t)
		return NULL;
	link_remove(&t->ready);
	timer_clear(t);
	/* Before the bus closes its fd. */
	t->io = sd_event_source_disable_unref(t->io);
	sd_bus_close(t->bus);
	sd_bus_unref(t->bus);
	if (!t->bus_has_fd)
		close(t->fd);
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
	return queued(t) > 0;
}

void transport_drop(struct transport *t, const char *why)
{
	transport_doom(t, why);
}
