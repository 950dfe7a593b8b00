/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read from a client's socket, and when. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "frame.h"
#include "transport-core.h"

#ifndef SO_PASSRIGHTS
#	define SO_PASSRIGHTS 83 /* 6.16 */
#endif

#define AUTH_LINE_MAX 1024
#define AUTH_BYTES_MAX 16384
#define AUTH_LINES_MAX 32
#define LOOK_SIZE 4096
/* Work on one connection after which others are looked for; and of one that comes later. */
#define TURN_NSEC 1000000
#define TURN_LATER_NSEC 50000

/* The part of what is to come that was looked at, in `look`: what has begun, then the queue's head.
 */
struct window {
	size_t off, end;
	bool drained; /* the queue held no more: what comes later comes with a new event */
	bool flagged; /* fds ride on these bytes, or on what comes next */
	bool ends;    /* ... and their piece ends with these */
};

/* One for all: the loop has one thread, and nothing stays here between two wakes. */
static unsigned char look[MESSAGE_MAX + 1];

static const char has_fds[] = "a message carries file descriptors";
static const char reading_failed[] = "reading failed";

/*
 * Looks at the head of the queue and leaves it there. Without a control buffer the kernel installs
 * no fd; that there is one shows as MSG_CTRUNC. af_unix: a peek ends with the first piece that
 * carries fds; but when `size` is exhausted before, it still walks on to that piece and sets the
 * flag. So where the piece ends is known only when fewer than `size` bytes were returned.
 */
static ssize_t peek(struct transport *t, void *data, size_t size, bool *ret_flagged)
{
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(t->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_flagged = msg.msg_flags & MSG_CTRUNC;
	return n;
}

/*
 * Takes the bytes that were looked at; NULL or what is wrong. A read, unlike a peek, flags just the
 * fds that ride on its own bytes. It installs none and drops them: may_take() first. The caller
 * looks at the bytes again before it feeds them.
 */
static const char *take(struct transport *t, void *data, size_t size, bool *ret_fds)
{
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(t->fd, &msg, MSG_DONTWAIT);

	*ret_fds = n >= 0 && (msg.msg_flags & MSG_CTRUNC);
	/* A read ends with a piece that carries fds: what they came on was none whole message. */
	if (n != (ssize_t)size)
		return *ret_fds ? has_fds : reading_failed;
	/* Nobody has looked at them, or there were none when he did. */
	return *ret_fds && !t->passed ? has_fds : NULL;
}

/* What a porter holds for the bytes at the head of the queue: they are other ones now. */
static void verdict_drop(struct transport *t)
{
	t->passed = passed_free(t->passed);
	t->judged = 0;
}

static void on_judged(void *userdata, int result, struct passed *passed)
{
	struct transport *t = userdata;

	t->judging = NULL;
	if (result < 0) {
		transport_doom(t, result == -EBADMSG
					  ? "a message carries other than one unix socket, perf "
					    "event or listener"
					  : "no porter for a message's file descriptors");
		return;
	}
	t->passed = passed;
	t->judged = t->asked;
	/* What was in `look` is no more. */
	transport_turn(t);
}

/* May the next `size` bytes be taken? What shows fds only once a porter has looked. */
static bool may_take(struct transport *t, bool flagged, size_t size)
{
	if (!flagged || t->judged == size)
		return true;
	verdict_drop(t);
	if (!t->porters || !t->fds) {
		transport_doom(t, has_fds);
		return false;
	}
	t->asked = size;
	if (porters_judge(t->porters, t->account, t->fd, size, on_judged, t, &t->judging) < 0)
		transport_doom(t, "no porter for a message's file descriptors");
	return false;
}

static bool is_line(size_t size, const char *line)
{
	return size == strlen(line) && memcmp(look, line, size) == 0;
}

/* One line of SASL, which is at the head of the queue and in `look`. */
static void auth_line(struct transport *t, size_t size)
{
	bool is_begin = is_line(size, "BEGIN\r\n"), fds;
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
	why = take(t, look, size, &fds);
	verdict_drop(t);
	if (!why && fds)
		why = has_fds;
	if (!why && (memchr(look, '\n', size) != look + size - 1 ||
			    hub_feed(t->hub, look, size, false) < 0))
		why = reading_failed;
	if (why) {
		transport_doom(t, why);
		return;
	}
	r = transport_process(t);
	hub_drain(t->hub);
	if (r < 0) {
		transport_doom(t, "authentication failed");
	} else if (sd_bus_is_ready(t->bus) > 0) {
		t->authenticated = true;
		t->fds = sd_bus_can_send(t->bus, SD_BUS_TYPE_UNIX_FD) > 0;
		timer_clear(t);
	} else if (is_begin) {
		transport_doom(t, "BEGIN before authentication");
	}
}

/* Behind BEGIN a client may send at once what it likes; at other lines it waits for an answer. */
static void auth_next(struct transport *t, size_t size, bool flagged)
{
	if (is_line(size, "NEGOTIATE_UNIX_FD\r\n")) {
		int on = t->porters != NULL;

		t->fds = true;
		/* What the listener left off; before the client knows that it may. */
		(void)setsockopt(t->fd, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof(on));
	}
	if (flagged && !is_line(size, "BEGIN\r\n"))
		transport_doom(t, has_fds);
	else if (may_take(t, flagged, size))
		auth_line(t, size);
}

/* sd-bus reads ahead of BEGIN and then sleeps on a call that came with it; so it is given one line
 * at a time, and goes on with what follows only when we say so. */
static void transport_authenticate(struct transport *t)
{
	while (!t->why && !t->authenticated && !t->judging) {
		bool flagged = false;
		ssize_t n = peek(t, look, AUTH_LINE_MAX, &flagged);
		unsigned char *end;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			transport_doom(t, n == 0 ? "closed by the peer" : "reading failed");
			return;
		}
		end = memchr(look, '\n', n);
		if (end)
			auth_next(t, end - look + 1, flagged);
		else if (flagged)
			transport_doom(t, has_fds);
		else if (n == AUTH_LINE_MAX || t->auth_bytes + n > AUTH_BYTES_MAX)
			transport_doom(t, "authentication is too long");
		else if (t->hangup)
			transport_doom(t, "closed by the peer"); /* in the middle of a line */
		else
			return;
	}
}

static size_t window_frame(struct transport *t, const unsigned char *p)
{
	size_t size = frame_size(p, t->limits->message_max);

	if (size == 0)
		transport_doom(t, "not a message, or one too large");
	return size;
}

/* Looks at the queue's head: at a message's `size` bytes and one more, which tells whether a piece
 * that carries fds ends with them, or (0) at what is there. */
static void window_look(struct transport *t, struct window *w, size_t size)
{
	size_t begun = t->n_begun, length = (size ? size + 1 : begun + LOOK_SIZE) - begun;
	bool flagged = false;
	ssize_t n;

	if (length > sizeof(look) - begun)
		length = sizeof(look) - begun;
	if (begun > 0)
		memcpy(look, t->begun, begun);
	*w = (struct window){.end = begun, .drained = true};
	n = peek(t, look + begun, length, &flagged);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		transport_doom(t, n == 0 ? "closed by the peer" : reading_failed);
		return;
	}
	w->end = begun + n;
	w->flagged = flagged;
	w->ends = flagged && (size_t)n < length;
	w->drained = (size_t)n < length && !flagged;
}

/* Takes a message's beginning off the queue. It is short of a message, so it fits; fds on it end
 * the connection, as on any other part. */
static void begin(struct transport *t, const struct window *w)
{
	size_t have = w->end - w->off, fresh = have - t->n_begun;
	unsigned char *bigger;
	const char *why;
	bool fds;

	if (fresh == 0)
		return;
	bigger = realloc(t->begun, have);
	if (!bigger) {
		transport_doom(t, "out of memory");
		return;
	}
	t->begun = bigger;
	why = take(t, bigger + t->n_begun, fresh, &fds);
	t->n_begun = have;
	if (why)
		transport_doom(t, why);
}

/* The next message's size, when it is whole at look + w->off. 0: there is none now. */
static size_t window_next(struct transport *t, struct window *w)
{
	while (!t->why) {
		size_t have = w->end - w->off, size = 0;

		if (have >= FRAME_HEADER) {
			size = window_frame(t, look + w->off);
			if (size == 0 || size <= have)
				return size;
		}
		/* Fds must not wait in the queue for the rest, nor can their message be begun. */
		if (have > 0 && w->ends) {
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

int transport_on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct transport *t = userdata;

	(void)error;
	if (t->rehearsal) {
		t->dispatched = true;
		return 1;
	}
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
static void feed_bus(struct transport *t, const unsigned char *data, size_t size, bool fds)
{
	int r;

	if (hub_feed(t->hub, data, size, fds) < 0) {
		transport_doom(t, reading_failed);
		return;
	}
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

/*
 * sd-bus forgets the fds of what it finds malformed, and the memory for their numbers (libsystemd
 * 252). So it is first given the message without: with the field that counts them under a code
 * that means nothing, and so is passed over.
 */
static void feed_bus_fd(struct transport *t, unsigned char *data, size_t size)
{
	size_t field = frame_fd_field(data);

	if (field == 0) {
		transport_doom(t, "a malformed message");
		return;
	}
	data[field] = UINT8_MAX;
	t->rehearsal = true;
	feed_bus(t, data, size, false);
	t->rehearsal = false;
	data[field] = FRAME_FIELD_FDS;
	if (!t->why)
		feed_bus(t, data, size, true);
}

/* Takes the message and hands it on. */
static void dispatch_one(struct transport *t, struct window *w, size_t size)
{
	unsigned char *data = look + w->off;
	const char *why;
	bool fds;

	/* An answer that could not be sent has ended it. */
	if (sd_bus_is_open(t->bus) <= 0) {
		transport_doom(t, "writing failed");
		return;
	}
	why = take(t, data + t->n_begun, size - t->n_begun, &fds);
	/* They travel with a message's first byte. */
	if (!why && fds && t->n_begun > 0)
		why = has_fds;
	if (t->n_begun > 0)
		memcpy(data, t->begun, t->n_begun);
	free(t->begun);
	t->begun = NULL;
	t->n_begun = 0;
	if (!why && frame_size(data, t->limits->message_max) != size)
		why = reading_failed;
	/* What was seen is of a message behind this one, and looked at again with that. */
	if (!why && !fds)
		verdict_drop(t);
	if (why) {
		transport_doom(t, why);
		return;
	}
	t->overdue = false;
	timer_clear(t);
	if (fds)
		feed_bus_fd(t, data, size);
	else
		feed_bus(t, data, size, false);
	/* Nor has what is left of their piece any. After an error all is kept to the end. */
	if (!t->why) {
		verdict_drop(t);
		w->flagged = w->flagged && !fds;
	}
	w->off += size;
}

static void transport_dispatch(struct transport *t, uint64_t begun)
{
	unsigned budget = t->limits->dispatch_max;
	uint64_t end = begun + (t->later ? TURN_LATER_NSEC : TURN_NSEC);
	struct window w = {};

	while (!t->why && !t->held && !t->judging &&
		transport_n_queued(t) < t->limits->replies_pause) {
		size_t size = window_next(t, &w);

		if (size == 0)
			return;
		if (budget-- == 0 || (w.off > 0 && transport_clock() > end)) {
			transport_enqueue(t);
			return;
		}
		if (!may_take(t, w.flagged, size - t->n_begun))
			return;
		dispatch_one(t, &w, size);
	}
}

void transport_read(struct transport *t, uint64_t begun)
{
	if (!t->authenticated)
		transport_authenticate(t);
	if (t->authenticated)
		transport_dispatch(t, begun);
}

struct passed *transport_take_passed(struct transport *t)
{
	struct passed *passed = t->passed;

	t->passed = NULL;
	return passed;
}
