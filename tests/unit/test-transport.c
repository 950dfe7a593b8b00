/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The transport against a peer that writes raw bytes. Numbers are those of the threat list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/transport.h"
#include "frames.h"

#define CALLS_MAX 256
#define HELLO "\0AUTH EXTERNAL 30\r\nBEGIN\r\n"
#define SOON 50000

struct fixture {
	sd_event *event;
	struct transport *t;
	int peer;
	struct transport_limits limits;
	unsigned calls, hold_after, reply_size, replies;
	bool keep;
	int message_returns;
	sd_bus_message *kept;
	uint64_t cookies[CALLS_MAX];
	const char *why;
	unsigned closed, fds_before;
	enum turn turn;
	unsigned worked;
};

static int answer(struct fixture *f, sd_bus_message *m)
{
	sd_bus_message *reply = NULL;
	char *text;
	int r = 0;

	for (unsigned i = 0; i < f->replies && r >= 0; i++) {
		text = calloc(1, f->reply_size + 1);
		assert_non_null(text);
		memset(text, 'x', f->reply_size);
		r = sd_bus_message_new_method_return(m, &reply);
		if (r >= 0)
			r = sd_bus_message_append(reply, "s", text);
		if (r >= 0)
			r = sd_bus_send(NULL, reply, NULL);
		reply = sd_bus_message_unref(reply);
		free(text);
	}
	return r;
}

static int on_message(void *userdata, sd_bus_message *m)
{
	struct fixture *f = userdata;

	assert_int_equal(f->closed, 0);
	if (f->calls < CALLS_MAX)
		assert_true(sd_bus_message_get_cookie(m, &f->cookies[f->calls]) >= 0);
	f->calls++;
	if (f->calls == f->hold_after) {
		transport_hold(f->t);
		f->kept = sd_bus_message_ref(m);
		return 0;
	}
	if (f->message_returns < 0)
		return f->message_returns;
	return answer(f, m);
}

static void on_closed(void *userdata, const char *why)
{
	struct fixture *f = userdata;

	f->why = why;
	f->closed++;
	f->t = transport_free(f->t);
}

static enum turn on_turn(void *userdata, uint64_t now)
{
	struct fixture *f = userdata;

	assert_true(now > 0);
	return f->turn;
}

static void on_worked(void *userdata, uint64_t now, uint64_t cost)
{
	struct fixture *f = userdata;

	assert_true(now > cost);
	f->worked++;
}

static const struct transport_ops ops = {on_message, on_closed, on_turn, on_worked};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	sd_event_source *timer = NULL;

	assert_non_null(f);
	patience_begin();
	f->limits = transport_limits_default;
	f->replies = 1;
	f->reply_size = 1;
	assert_true(sd_event_new(&f->event) >= 0);
	/* The loop opens its timer fd with the first timer and keeps it. */
	assert_true(sd_event_add_time(
			    f->event, &timer, CLOCK_MONOTONIC, UINT64_MAX, 0, NULL, NULL) >= 0);
	sd_event_source_unref(timer);
	f->fds_before = count_fds();
	*state = f;
	f->peer = -EBADF;
	return 0;
}

/* Every test ends without a leaked fd, whatever was sent. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	unsigned after;

	sd_bus_message_unref(f->kept);
	transport_free(f->t);
	if (f->peer >= 0)
		close(f->peer);
	after = count_fds();
	assert_int_equal(after, f->fds_before);
	sd_event_unref(f->event);
	free(f);
	assert_false(patience_end());
	return 0;
}

/* Not in setup, so that a test can change the limits. */
static void start(struct fixture *f)
{
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	f->peer = fds[0];
	assert_int_equal(transport_new(f->event, NULL, 0, fds[1], &f->limits, &ops, f, &f->t), 0);
}

/* Until nothing is left to do. */
static void spin(struct fixture *f)
{
	while (sd_event_run(f->event, 0) > 0)
		;
}

static void expect_closed(struct fixture *f, const char *why)
{
	RUN_UNTIL(f->event, f->closed);
	assert_int_equal(f->closed, 1);
	assert_string_equal(f->why, why);
	assert_null(f->t);
}

static void put(struct fixture *f, const void *data, size_t size)
{
	assert_int_equal(send(f->peer, data, size, MSG_NOSIGNAL), size);
}

static void put_fd(struct fixture *f, const void *data, size_t size, int fd)
{
	assert_int_equal(send_fds(f->peer, data, size, &fd, 1, 0), size);
}

static void put_call(struct fixture *f, uint32_t serial)
{
	unsigned char buf[256];

	put(f, buf, make_call(buf, serial, false));
}

static void authenticate(struct fixture *f)
{
	char buf[256];

	start(f);
	put(f, HELLO, sizeof(HELLO) - 1);
	spin(f);
	assert_int_equal(f->closed, 0);
	assert_true(recv(f->peer, buf, sizeof(buf), 0) > 3);
	assert_memory_equal(buf, "OK ", 3);
}

static void expect_order(struct fixture *f, unsigned n)
{
	assert_int_equal(f->calls, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(f->cookies[i], i + 1);
}

static void expect_reply(struct fixture *f)
{
	char buf[4096];

	assert_true(recv(f->peer, buf, sizeof(buf), 0) > 16);
}

static void test_56_begin_and_call_in_one_write(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[512] = HELLO;
	size_t n = sizeof(HELLO) - 1;

	start(f);
	n += make_call(buf + n, 1, false);
	put(f, buf, n);
	spin(f);
	expect_order(f, 1);
	expect_reply(f);
}

static void test_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];
	size_t n;

	start(f);
	for (size_t i = 0; i < sizeof(HELLO) - 1; i++) {
		put(f, &HELLO[i], 1);
		spin(f);
	}
	expect_reply(f);
	n = make_call(buf, 1, false);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(f->calls, 0);
		put(f, buf + i, 1);
		spin(f);
	}
	expect_order(f, 1);
	expect_reply(f);
}

static void test_many_in_one_write(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[64 * 256];
	size_t n = 0;

	authenticate(f);
	for (unsigned i = 1; i <= 64; i++)
		n += make_call(buf + n, i, false);
	put(f, buf, n);
	spin(f);
	expect_order(f, 64);
}

static void test_58_big_endian(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];

	authenticate(f);
	put(f, buf, make_call(buf, 1, true));
	spin(f);
	expect_order(f, 1);
	expect_reply(f);
}

static void test_52_announced_size(void **state)
{
	static const uint32_t bodies[] = {65536, 128 << 20, UINT32_MAX};
	struct fixture *f = *state;
	unsigned char buf[256];

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		authenticate(f);
		make_call(buf, 1, false);
		put_u32(buf + 4, bodies[i], false);
		put(f, buf, 16);
		expect_closed(f, "not a message, or one too large");
		close(f->peer);
		f->closed = 0;
	}
	authenticate(f);
	make_call(buf, 1, false);
	put_u32(buf + 12, UINT32_MAX, false);
	put(f, buf, 16);
	expect_closed(f, "not a message, or one too large");
	assert_int_equal(f->calls, 0);
}

static void test_largest_message(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = calloc(1, 65536);
	size_t n, body;

	assert_non_null(buf);
	authenticate(f);
	/* The signature field follows the others; then a string up to the limit's last byte. */
	n = make_call(buf, 1, false);
	memcpy(buf + n, "\x08\x01g\0\x01s\0", 8);
	put_u32(buf + 12, n + 7 - 16, false);
	n += 8;
	body = 65536 - n;
	put_u32(buf + 4, body, false);
	put_u32(buf + n, body - 5, false);
	memset(buf + n + 4, 'y', body - 5);
	put(f, buf, 20000);
	spin(f);
	assert_int_equal(f->calls, 0);
	put(f, buf + 20000, 65536 - 20000);
	spin(f);
	expect_order(f, 1);
	put_call(f, 2);
	spin(f);
	expect_order(f, 2);
	free(buf);
}

static void test_58_bad_endian_or_version(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];

	authenticate(f);
	make_call(buf, 1, false);
	buf[0] = 'x';
	put(f, buf, 16);
	expect_closed(f, "not a message, or one too large");
	close(f->peer);
	f->closed = 0;
	authenticate(f);
	make_call(buf, 1, false);
	buf[3] = 2;
	put(f, buf, 16);
	expect_closed(f, "not a message, or one too large");
	assert_int_equal(f->calls, 0);
}

/* sd-bus passes over what it finds malformed and would read on. */
static void test_malformed_then_well_formed(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[512];
	size_t n;

	authenticate(f);
	n = make_call(buf, 1, false);
	put_u32(buf + 8, 0, false); /* serial 0 is invalid */
	n += make_call(buf + n, 2, false);
	put(f, buf, n);
	expect_closed(f, "a malformed message");
	assert_int_equal(f->calls, 0);
}

static void test_51_header_says_fds(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];
	size_t n;

	authenticate(f);
	n = make_call(buf, 1, false);
	memcpy(buf + n, "\x09\x01u\0\x05\0\0\0", 8);
	put_u32(buf + 12, n + 8 - 16, false);
	put(f, buf, n + 8);
	expect_closed(f, "a malformed message");
	assert_int_equal(f->calls, 0);
}

/* A pipe whose write end goes to the daemon: at end of file nobody holds it any more. */
static int bait(int *ret_read)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	*ret_read = fds[0];
	return fds[1];
}

static void expect_bait_gone(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
}

static void test_50_fd_during_authentication(void **state)
{
	struct fixture *f = *state;
	int in, fd = bait(&in);

	start(f);
	put_fd(f, "\0AUTH", 5, fd);
	close(fd);
	expect_closed(f, "a message carries file descriptors");
	expect_bait_gone(in);
}

static void test_50_fd_with_pipelined_begin(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];
	int in, fd = bait(&in);

	start(f);
	put(f, HELLO, sizeof(HELLO) - 1);
	put_fd(f, buf, make_call(buf, 1, false), fd);
	close(fd);
	expect_closed(f, "a message carries file descriptors");
	assert_int_equal(f->calls, 0);
	expect_bait_gone(in);
}

/* The fd rides on bytes [from, n) of the second of two calls. */
static void fd_on_part(struct fixture *f, size_t from)
{
	unsigned char buf[512];
	size_t n, first;
	int in, fd = bait(&in);

	authenticate(f);
	first = make_call(buf, 1, false);
	n = first + make_call(buf + first, 2, false);
	if (from > 0)
		put(f, buf, from);
	put_fd(f, buf + from, n - from, fd);
	close(fd);
	expect_closed(f, "a message carries file descriptors");
	assert_int_equal(f->calls, 0);
	expect_bait_gone(in);
	close(f->peer);
	f->peer = -EBADF;
	f->closed = 0;
}

static void test_50_fd_on_a_call(void **state)
{
	unsigned char buf[256];
	size_t first = make_call(buf, 1, false);

	/* Where fds ride cannot be told from a look, so none of both is taken. */
	fd_on_part(*state, 0);		/* on the first of two in one write */
	fd_on_part(*state, first);	/* on the second: the first was without */
	fd_on_part(*state, first - 1);	/* on the last byte of the first */
	fd_on_part(*state, first + 8);	/* within the second's fixed header */
	fd_on_part(*state, first + 40); /* on its second half */
}

static void test_50_fd_on_the_rest(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];
	int in, fd = bait(&in);
	size_t n = make_call(buf, 1, false);

	authenticate(f);
	put(f, buf, 40);
	spin(f);
	put_fd(f, buf + 40, n - 40, fd);
	close(fd);
	expect_closed(f, "a message carries file descriptors");
	assert_int_equal(f->calls, 0);
	expect_bait_gone(in);
}

/* Urgent data are passed over by a read, and not by a peek. */
static void test_urgent_data(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];
	size_t n = make_call(buf, 1, false);

	authenticate(f);
	put(f, buf, 10);
	if (send(f->peer, "l", 1, MSG_OOB) < 0) {
		assert_int_equal(errno, EOPNOTSUPP);
		skip();
	}
	put(f, buf + 10, n - 10);
	put_call(f, 2);
	spin(f);
	for (unsigned i = 0; i < f->calls && i < CALLS_MAX; i++)
		assert_int_equal(f->cookies[i], i + 1);
	/* Whatever became of it, the next client finds nothing of it. */
	f->t = transport_free(f->t);
	close(f->peer);
	f->closed = f->calls = 0;
	authenticate(f);
	put_call(f, 1);
	spin(f);
	expect_order(f, 1);
}

static void test_53_too_many_replies(void **state)
{
	struct fixture *f = *state;

	f->replies = 100;
	f->reply_size = 30000;
	authenticate(f);
	put_call(f, 1);
	expect_closed(f, "too many replies are unread");
	assert_int_equal(f->calls, 1);
}

static void test_53_never_reading(void **state)
{
	struct fixture *f = *state;

	f->reply_size = 30000;
	f->limits.message_usec = SOON;
	authenticate(f);
	for (unsigned i = 1; i <= 100; i++)
		put_call(f, i);
	expect_closed(f, "the peer does not read its replies");
	/* What fits into the socket, and the one that did not. */
	assert_in_range(f->calls, 2, 20);
}

/* However large an answer is, a connection holds one. */
static void test_53_one_large_answer(void **state)
{
	struct fixture *f = *state;

	f->reply_size = 1 << 20;
	authenticate(f);
	assert_false(transport_queued(f->t));
	for (unsigned i = 1; i <= 20; i++)
		put_call(f, i);
	spin(f);
	assert_int_equal(f->calls, 1);
	assert_true(transport_queued(f->t));
	transport_drop(f->t, "enough");
	assert_int_equal(f->closed, 0);
	expect_closed(f, "enough");
	assert_int_equal(f->calls, 1);
}

/* A slow reader gets everything, in order, and reading is taken up again. */
static void test_pause_and_go_on(void **state)
{
	static char buf[1 << 20];
	struct fixture *f = *state;
	size_t total = 0;

	f->reply_size = 30000;
	authenticate(f);
	for (unsigned i = 1; i <= 100; i++)
		put_call(f, i);
	spin(f);
	assert_true(f->calls < 100);
	for (unsigned i = 0; i < 10000 && total < 100 * 30000; i++) {
		ssize_t n = recv(f->peer, buf, sizeof(buf), 0);

		if (n > 0)
			total += n;
		spin(f);
	}
	expect_order(f, 100);
	assert_in_range(total, 100 * 30000, 100 * 30200);
}

static void test_54_partial_message(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[256];

	f->limits.message_usec = SOON;
	authenticate(f);
	put_call(f, 1);
	put(f, buf, make_call(buf, 2, false) - 1);
	expect_closed(f, "a message took too long");
	expect_order(f, 1);
}

static void test_54_silent(void **state)
{
	struct fixture *f = *state;

	f->limits.auth_usec = SOON;
	start(f);
	expect_closed(f, "authentication took too long");
	close(f->peer);
	f->closed = 0;
	start(f);
	put(f, "\0AUTH EXTERNAL 30\r\n", 19);
	expect_closed(f, "authentication took too long");
}

static void test_idle_after_authentication(void **state)
{
	/* It has to authenticate within this, on any machine. */
	const uint64_t late = 1000000;
	struct fixture *f = *state;

	f->limits.auth_usec = f->limits.message_usec = late;
	authenticate(f);
	usleep(2 * late);
	assert_int_equal(sd_event_run(f->event, SOON), 0);
	put_call(f, 1);
	spin(f);
	expect_order(f, 1);
}

static void test_57_garbage(void **state)
{
	struct fixture *f = *state;
	char *buf = malloc(65536);

	assert_non_null(buf);
	memset(buf, 'A', 65536);
	buf[0] = '\0';
	start(f);
	put(f, buf, 65536);
	expect_closed(f, "authentication is too long");
	close(f->peer);
	f->closed = 0;
	for (unsigned i = 2; i < 65536; i += 2)
		memcpy(buf + i - 1, "\r\n", 2);
	start(f);
	put(f, buf, 65535);
	expect_closed(f, "authentication is too long");
	close(f->peer);
	f->closed = 0;
	start(f);
	put(f, "AUTH EXTERNAL 30\r\n", 18);
	expect_closed(f, "the first byte is not NUL");
	free(buf);
}

static void test_begin_too_early(void **state)
{
	struct fixture *f = *state;

	start(f);
	put(f, "\0BEGIN\r\n", 8);
	spin(f);
	put(f, "BEGIN\r\n", 7);
	expect_closed(f, "BEGIN before authentication");
	assert_int_equal(f->calls, 0);
}

/* What a client says of itself is worth nothing, so all of it is taken. */
static void test_mechanisms(void **state)
{
	static const char *const auth[] = {
		"AUTH ANONYMOUS\r\n",
		"AUTH ANONYMOUS 6c6962\r\n",
		"AUTH EXTERNAL 30\r\n",
		"AUTH EXTERNAL 34323934393637323934\r\n",
		"AUTH EXTERNAL\r\nDATA\r\n",
		"AUTH\r\nAUTH EXTERNAL 31303030\r\nNEGOTIATE_UNIX_FD\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(auth) / sizeof(auth[0]); i++) {
		start(f);
		put(f, "", 1);
		put(f, auth[i], strlen(auth[i]));
		spin(f);
		put(f, "BEGIN\r\n", 7);
		put_call(f, 1);
		spin(f);
		expect_order(f, 1);
		f->t = transport_free(f->t);
		close(f->peer);
		f->calls = 0;
	}
	f->peer = -EBADF;
}

static void test_hold_and_resume(void **state)
{
	struct fixture *f = *state;

	f->hold_after = 3;
	authenticate(f);
	for (unsigned i = 1; i <= 10; i++)
		put_call(f, i);
	spin(f);
	expect_order(f, 3);
	put_call(f, 11);
	spin(f);
	expect_order(f, 3);
	assert_true(answer(f, f->kept) >= 0);
	transport_flush(f->t);
	transport_resume(f->t);
	spin(f);
	expect_order(f, 11);
}

/* Nothing that was sent before the end is lost, and the end is seen. */
static void test_peer_closes_while_held(void **state)
{
	struct fixture *f = *state;

	f->hold_after = 1;
	authenticate(f);
	put_call(f, 1);
	put_call(f, 2);
	spin(f);
	close(f->peer);
	f->peer = -EBADF;
	spin(f);
	assert_int_equal(f->closed, 0);
	f->replies = 0;
	transport_resume(f->t);
	expect_closed(f, "closed by the peer");
	expect_order(f, 2);
}

/* All connections are fed through one socketpair. A connection whose answer could not be sent is
 * over: the message behind it must not stay there, or the next client's bus would take it for that
 * client's. */
static void test_what_one_leaves_no_other_reads(void **state)
{
	struct fixture *f = *state;
	struct fixture other = {.event = f->event, .limits = f->limits, .peer = -EBADF};

	authenticate(&other);
	f->hold_after = 1;
	authenticate(f);
	put_call(f, 1);
	put_call(f, 66);
	spin(f);
	close(f->peer);
	f->peer = -EBADF;
	/* EPIPE */
	(void)answer(f, f->kept);
	transport_flush(f->t);
	transport_resume(f->t);
	expect_closed(f, "writing failed");
	put_call(&other, 1);
	put_call(&other, 2);
	spin(&other);
	expect_order(&other, 2);
	assert_int_equal(other.closed, 0);
	transport_free(other.t);
	close(other.peer);
}

static void test_replies_from_elsewhere(void **state)
{
	struct fixture *f = *state;

	f->hold_after = 1;
	authenticate(f);
	put_call(f, 1);
	spin(f);
	f->replies = 100;
	f->reply_size = 30000;
	assert_true(answer(f, f->kept) >= 0);
	transport_flush(f->t);
	assert_int_equal(f->closed, 0);
	expect_closed(f, "too many replies are unread");
}

static void test_message_fails(void **state)
{
	struct fixture *f = *state;

	f->message_returns = -ENOMEM;
	authenticate(f);
	put_call(f, 1);
	put_call(f, 2);
	expect_closed(f, "answering failed");
	assert_int_equal(f->calls, 1);
}

static void test_peer_closes(void **state)
{
	struct fixture *f = *state;

	start(f);
	close(f->peer);
	expect_closed(f, "closed by the peer");
	f->closed = 0;
	authenticate(f);
	close(f->peer);
	expect_closed(f, "closed by the peer");
	f->closed = 0;
	/* A call, half a call and the end in one wake. */
	authenticate(f);
	put_call(f, 1);
	put(f, "l\1\0\1", 4);
	close(f->peer);
	f->peer = -EBADF;
	f->replies = 0;
	expect_closed(f, "closed by the peer");
	expect_order(f, 1);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct transport *t = NULL;
	sd_event *other = NULL;
	int fds[2];

	authenticate(f);
	assert_true(sd_event_new(&other) >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(
		transport_new(other, NULL, 0, fds[0], &transport_limits_default, &ops, f, &t),
		-EBUSY);
	f->limits.message_max = 65537;
	assert_int_equal(
		transport_new(f->event, NULL, 0, fds[1], &f->limits, &ops, f, &t), -EINVAL);
	assert_null(t);
	sd_event_unref(other);
}

/* Nothing is read of it until it may go on, and then in order. */
static void test_wait(void **state)
{
	struct fixture *f = *state;

	authenticate(f);
	assert_true(f->worked > 0);
	f->turn = TURN_WAIT;
	put_call(f, 1);
	put_call(f, 2);
	spin(f);
	assert_int_equal(f->calls, 0);
	/* going on is no leave */
	transport_resume(f->t);
	spin(f);
	assert_int_equal(f->calls, 0);
	f->turn = TURN_NOW;
	transport_resume(f->t);
	spin(f);
	assert_int_equal(f->calls, 2);
	assert_int_equal(f->cookies[0], 1);
	assert_int_equal(f->closed, 0);
}

static int on_other(sd_event_source *source, void *userdata)
{
	struct fixture *f = userdata;

	assert_int_equal(f->calls, 0);
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

/* What comes later comes after all else that is to be done, and yet comes. */
static void test_later(void **state)
{
	struct fixture *f = *state;
	sd_event_source *other = NULL;
	int enabled = SD_EVENT_ON;
	char sink[4096];

	authenticate(f);
	f->turn = TURN_LATER;
	put_call(f, 1);
	assert_true(sd_event_add_defer(f->event, &other, on_other, f) >= 0);
	assert_true(sd_event_source_set_priority(other, SD_EVENT_PRIORITY_NORMAL + 1) >= 0);
	assert_true(sd_event_source_set_enabled(other, SD_EVENT_ON) >= 0);
	spin(f);
	assert_true(sd_event_source_get_enabled(other, &enabled) >= 0);
	assert_int_equal(enabled, SD_EVENT_OFF);
	assert_int_equal(f->calls, 1);
	/* its next ones as well, and when it is its turn again */
	for (uint32_t i = 2; i <= 40; i++)
		put_call(f, i);
	spin(f);
	assert_int_equal(f->calls, 40);
	f->turn = TURN_NOW;
	put_call(f, 41);
	spin(f);
	assert_int_equal(f->calls, 41);
	/* and its end is seen */
	while (recv(f->peer, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
	f->turn = TURN_LATER;
	close(f->peer);
	f->peer = -EBADF;
	expect_closed(f, "closed by the peer");
	sd_event_source_unref(other);
}

/* A client that goes amid a line is not waited for. */
static void test_54_gone_amid_a_line(void **state)
{
	struct fixture *f = *state;

	start(f);
	put(f, "\0AUTH EXT", 9);
	spin(f);
	assert_int_equal(f->closed, 0);
	close(f->peer);
	f->peer = -EBADF;
	expect_closed(f, "closed by the peer");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_56_begin_and_call_in_one_write),
		TEST(test_byte_by_byte),
		TEST(test_many_in_one_write),
		TEST(test_58_big_endian),
		TEST(test_52_announced_size),
		TEST(test_largest_message),
		TEST(test_58_bad_endian_or_version),
		TEST(test_malformed_then_well_formed),
		TEST(test_51_header_says_fds),
		TEST(test_50_fd_during_authentication),
		TEST(test_50_fd_with_pipelined_begin),
		TEST(test_50_fd_on_a_call),
		TEST(test_50_fd_on_the_rest),
		TEST(test_urgent_data),
		TEST(test_53_too_many_replies),
		TEST(test_53_never_reading),
		TEST(test_53_one_large_answer),
		TEST(test_pause_and_go_on),
		TEST(test_54_partial_message),
		TEST(test_54_silent),
		TEST(test_idle_after_authentication),
		TEST(test_57_garbage),
		TEST(test_begin_too_early),
		TEST(test_mechanisms),
		TEST(test_hold_and_resume),
		TEST(test_peer_closes_while_held),
		TEST(test_what_one_leaves_no_other_reads),
		TEST(test_replies_from_elsewhere),
		TEST(test_message_fails),
		TEST(test_peer_closes),
		TEST(test_refused),
		TEST(test_wait),
		TEST(test_later),
		TEST(test_54_gone_amid_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
