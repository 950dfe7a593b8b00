/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/transport.h"
#include "clock.h"
#include "porters.h"
#include "serve.h"
#include "session.h"
#include "wire.h"

#define OUTPUT_MAX ((size_t)1 << 20)
#define USEC_PER_SEC UINT64_C(1000000)

enum setup {
	SETUP_LATER = 1 << 0,  /* what is called is answered by 'a' */
	SETUP_SMALL = 1 << 1,  /* the client's buffer for answers is */
	SETUP_ONE = 1 << 2,    /* message a turn */
	SETUP_SHORT = 1 << 3,  /* messages only */
	SETUP_TURNS = 1 << 5,  /* must be waited for */
	SETUP_LONG = 1 << 6,   /* answers */
	SETUP_REFUSE = 1 << 7, /* calls */
};

struct world {
	sd_event *event;
	struct porters *porters;
	struct transport *t;
	struct transport_limits limits;
	struct serve serve;
	int peer;
	unsigned turns, closed;
	bool take_turns, waiting;
	size_t n_output;
};

static uint8_t output[OUTPUT_MAX];

static int on_message(void *userdata, sd_bus_message *m)
{
	struct world *w = userdata;
	struct passed *passed = transport_take_passed(w->t);
	bool kept = w->serve.kept;
	int r;

	CHECK(w->closed == 0);
	r = dispatch_message(m, &serve_ops, &w->serve);
	if (w->serve.kept && !kept)
		transport_hold(w->t);
	passed_free(passed);
	return r;
}

static void on_closed(void *userdata, const char *why)
{
	struct world *w = userdata;

	CHECK(why && *why);
	w->closed++;
	w->t = transport_free(w->t);
}

static enum turn on_turn(void *userdata, uint64_t now)
{
	struct world *w = userdata;

	CHECK(now > 0 && w->closed == 0);
	if (!w->take_turns)
		return TURN_NOW;
	w->waiting = ++w->turns % 3 == 2;
	return w->waiting ? TURN_WAIT : w->turns % 3 == 1 ? TURN_LATER : TURN_NOW;
}

static void on_worked(void *userdata, uint64_t now, uint64_t cost)
{
	(void)userdata;
	CHECK(now > 0 && cost < now);
}

static const struct transport_ops ops = {on_message, on_closed, on_turn, on_worked};

/* Until the daemon has nothing to do, which must come. */
static void run(struct world *w)
{
	for (unsigned i = 0; i < 100000; i++) {
		int r = sd_event_run(w->event, 0);

		CHECK(r >= 0);
		if (r > 0)
			continue;
		/* what is held would be let go by this too */
		if (!w->waiting || !w->t || w->serve.kept)
			return;
		w->waiting = false;
		transport_resume(w->t);
	}
	CHECK(!"the loop comes to rest");
}

static void answer(struct world *w)
{
	if (!w->serve.kept)
		return;
	(void)serve_answer(&w->serve);
	if (!w->t)
		return;
	transport_flush(w->t);
	transport_resume(w->t);
}

static void client_read(struct world *w)
{
	ssize_t n;

	if (w->peer < 0)
		return;
	while (w->n_output < OUTPUT_MAX &&
		(n = recv(w->peer, output + w->n_output, OUTPUT_MAX - w->n_output, 0)) > 0)
		w->n_output += (size_t)n;
}

static void client_send(struct world *w, const uint8_t *data, size_t size, char how)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = {};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t n = how == 'f' || how == 'n' ? 1 : how == 'g' ? 2 : 0;
	int fds[2] = {w->peer, w->peer};
	_cleanup_close_ int null = -EBADF;

	if (w->peer < 0 || size == 0)
		return;
	if (how == 'n') {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		fds[0] = null;
	}
	if (n > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
	}
	(void)sendmsg(w->peer, &msg, MSG_NOSIGNAL | (how == 'o' ? MSG_OOB : 0));
}

/* Behind a segment; the letters f, g, n, o say how the next is sent. */
static void happen(struct world *w, char what)
{
	if (what == '+')
		return; /* the next one comes before the daemon looks */
	run(w);
	switch (what) {
	case 'r':
		client_read(w);
		break;
	case 'a':
		answer(w);
		break;
	case 's':
		if (w->peer >= 0)
			shutdown(w->peer, SHUT_WR);
		break;
	case 'x':
		close_fd(&w->peer);
		break;
	case 'd':
		if (w->t)
			transport_drop(w->t, "dropped");
		break;
	case 't':
		clock_skip(6 * USEC_PER_SEC);
		break;
	default:
		return;
	}
	run(w);
}

/* All that was written is lines of SASL, then messages, the last of which may be cut where the
 * connection ended. */
static void check_output(const struct world *w)
{
	const uint8_t *at = output, *end = at + w->n_output;

	while (at < end && *at >= 'A' && *at <= 'Z') {
		const uint8_t *line = memmem(at, (size_t)(end - at), "\r\n", 2);

		if (!line)
			return;
		CHECK(text_is_utf8((const char *)at, (size_t)(line - at)));
		at = line + 2;
	}
	while (at < end) {
		struct wire_seen seen;
		size_t n = wire_check(at, (size_t)(end - at), &seen);

		if (n == 0)
			break;
		CHECK(seen.type >= 2 && seen.type <= 4);
		CHECK(seen.type == 4 || seen.reply_serial > 0);
		at += n;
	}
	CHECK(at == end || w->closed > 0 || w->peer < 0 || w->n_output == OUTPUT_MAX);
}

static void world_new(struct world *w, uint8_t setup, uint8_t replies, bool with_porters)
{
	int fds[2];

	w->limits = transport_limits_default;
	if (setup & SETUP_SMALL)
		w->limits.send_buffer = 4096;
	if (setup & SETUP_ONE)
		w->limits.dispatch_max = 1;
	if (setup & SETUP_SHORT)
		w->limits.message_max = 256;
	w->take_turns = setup & SETUP_TURNS;
	w->serve.later = setup & SETUP_LATER;
	w->serve.size = setup & SETUP_LONG ? replies * 64u : replies;
	w->serve.reason = setup & SETUP_REFUSE ? (enum reason)(replies % REASON_MAX) : REASON_OK;
	CHECK(sd_event_new(&w->event) >= 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	w->peer = fds[0];
	if (with_porters)
		w->porters = porters_fake_new(w->event);
	CHECK(transport_new(w->event, w->porters, 0, fds[1], &w->limits, &ops, w, &w->t) >= 0);
}

static void world_done(struct world *w)
{
	size_t before;

	do {
		before = w->n_output;
		run(w);
		answer(w);
		run(w);
		client_read(w);
	} while (w->serve.kept || w->n_output > before);
	check_output(w);
	w->t = transport_free(w->t);
	serve_done(&w->serve);
	if (w->porters)
		porters_free(w->porters);
	close_fd(&w->peer);
	sd_event_unref(w->event);
}

static void play(struct world *w, struct input *in)
{
	char how = '.';

	while (in->left > 0) {
		const uint8_t *mark = memmem(in->at, in->left, MARK, MARK_SIZE);
		size_t n = mark ? (size_t)(mark - in->at) : in->left;

		client_send(w, in->at, n, how);
		in->at += n;
		in->left -= n;
		if (!mark)
			return;
		in->at += MARK_SIZE;
		in->left -= MARK_SIZE;
		how = (char)input_byte(in);
		happen(w, how);
	}
}

void session_run(const uint8_t *data, size_t size, bool with_porters)
{
	struct input in = {data, size};
	struct world w = {.peer = -EBADF};
	uint64_t before = fuzz_fds();
	uint8_t setup = input_byte(&in), replies = input_byte(&in);

	clock_reset();
	world_new(&w, setup, replies, with_porters);
	play(&w, &in);
	world_done(&w);
	CHECK(porters_fake_n() == 0);
	CHECK(fuzz_fds() == before);
}
