/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The transport against clients that send fds, with real porters. Numbers are those of the threat
 * list. What would make us wait is a TCP socket whose last reference is in flight: where the loop
 * waited for it, its peer, which is released at the end, would be waited for, for 65535 s.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/porter-core.h"
#include "../../daemon/transport.h"
#include "confine.h"
#include "frames.h"

#define CALLS_MAX 16
#define HELLO "\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
#define HELLO_WITHOUT "\0AUTH EXTERNAL 30\r\nBEGIN\r\n"
#define NO_FDS "a message carries file descriptors"
#define NO_SOCKET "a message carries other than one unix socket, perf event or listener"
#define NO_PORTER "no porter for a message's file descriptors"

static struct zygote *zygote;

struct client {
	struct fixture *f;
	struct transport *t;
	int peer;
	unsigned calls, held;
	uint64_t cookies[CALLS_MAX];
	bool with[CALLS_MAX]; /* something was passed */
	struct passed *passed;
	const char *why;
	unsigned closed;
};

struct fixture {
	sd_event *event;
	struct porters *porters;
	struct client bad, other;
	struct lingering linger;
	bool leave, hold, mute;
	unsigned fds_before;
};

static int on_message(void *userdata, sd_bus_message *m)
{
	struct client *c = userdata;

	assert_true(c->calls < CALLS_MAX);
	assert_true(sd_bus_message_get_cookie(m, &c->cookies[c->calls]) >= 0);
	if (!c->f->leave) {
		struct passed *passed = transport_take_passed(c->t);

		c->with[c->calls] = passed;
		assert_null(transport_take_passed(c->t));
		if (passed) {
			assert_null(c->passed);
			c->passed = passed;
		}
	}
	c->calls++;
	if (c->f->hold)
		transport_hold(c->t);
	return c->f->mute ? 0 : sd_bus_reply_method_return(m, NULL);
}

static void on_closed(void *userdata, const char *why)
{
	struct client *c = userdata;

	c->why = why;
	c->closed++;
	c->t = transport_free(c->t);
}

static const struct transport_ops ops = {.message = on_message, .closed = on_closed};

static void spin(struct fixture *f)
{
	while (sd_event_run(f->event, 0) > 0)
		;
}

static void dial(
	struct fixture *f, struct client *c, uint64_t account, const char *hello, size_t size)
{
	int fds[2];

	*c = (struct client){.f = f};
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	c->peer = fds[0];
	assert_int_equal(transport_new(f->event, f->porters, account, fds[1],
				 &transport_limits_default, &ops, c, &c->t),
		0);
	assert_int_equal(send(c->peer, hello, size, 0), size);
	spin(f);
}

static void hang_up(struct client *c)
{
	c->passed = passed_free(c->passed);
	c->t = transport_free(c->t);
	if (c->peer >= 0)
		close(c->peer);
	c->peer = -EBADF;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	patience_begin();
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(porters_new(f->event, zygote, &f->porters), 0);
	f->fds_before = count_fds();
	f->linger.peer = -EBADF;
	dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1);
	dial(f, &f->other, 2000, HELLO, sizeof(HELLO) - 1);
	*state = f;
	return 0;
}

/* Nothing leaks, and no porter stays behind. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	unsigned after;

	hang_up(&f->bad);
	hang_up(&f->other);
	for (struct porter *p = f->porters->list; p; p = p->next)
		porter_end(p, false);
	RUN_UNTIL(f->event, !f->porters->list);
	assert_null(f->porters->list);
	if (f->linger.peer >= 0)
		close(f->linger.peer);
	after = count_fds();
	assert_int_equal(after, f->fds_before);
	porters_free(f->porters);
	sd_event_unref(f->event);
	free(f);
	assert_false(patience_end());
	return 0;
}

static void wait_for_calls(struct client *c, unsigned calls)
{
	RUN_UNTIL(c->f->event, c->calls >= calls || c->closed);
	assert_int_equal(c->calls, calls);
	assert_int_equal(c->closed, 0);
	for (unsigned i = 0; i < calls; i++)
		assert_int_equal(c->cookies[i], i + 1);
}

static void put(struct client *c, const void *data, size_t size)
{
	assert_int_equal(send(c->peer, data, size, MSG_NOSIGNAL), size);
}

static void put_call(struct client *c, uint32_t serial)
{
	unsigned char buf[FRAME_MAX];

	put(c, buf, make_call(buf, serial, false));
}

/* Sends `fd` and closes our copy. */
static void put_fd(struct client *c, const void *data, size_t size, int fd, int flags)
{
	assert_int_equal(send_fds(c->peer, data, size, &fd, 1, flags), size);
	close(fd);
}

static void put_call_fd(struct client *c, uint32_t serial, int fd)
{
	unsigned char buf[FRAME_MAX];

	put_fd(c, buf, make_call_fds(buf, serial, 1), fd, 0);
}

static int null_open(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Its other end goes to *ret_ours. */
static int pair_open(int *ret_ours)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_ours = fds[0];
	return fds[1];
}

static void expect_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
}

/* Others notice nothing. */
static void expect_others_served(struct fixture *f)
{
	unsigned before = f->other.calls;

	put_call(&f->other, before + 1);
	wait_for_calls(&f->other, before + 1);
}

static void expect_closed(struct client *c, const char *why)
{
	RUN_UNTIL(c->f->event, c->closed);
	assert_int_equal(c->closed, 1);
	assert_string_equal(c->why, why);
	expect_others_served(c->f);
}

static void test_a_socket(void **state)
{
	struct fixture *f = *state;
	char c = 0;
	int ours, theirs = pair_open(&ours);

	put_call_fd(&f->bad, 1, theirs);
	wait_for_calls(&f->bad, 1);
	assert_non_null(f->bad.passed);
	assert_int_equal(send(passed_fd(f->bad.passed), "x", 1, MSG_DONTWAIT), 1);
	assert_int_equal(recv(ours, &c, 1, 0), 1);
	f->bad.passed = passed_free(f->bad.passed);
	expect_end(ours);
	put_call(&f->bad, 2);
	wait_for_calls(&f->bad, 2);
	assert_false(f->bad.with[1]);
}

static void test_nobody_takes_it(void **state)
{
	struct fixture *f = *state;
	int ours, theirs = pair_open(&ours);

	f->leave = true;
	put_call_fd(&f->bad, 1, theirs);
	wait_for_calls(&f->bad, 1);
	expect_end(ours);
}

/* Whatever is before and behind the one that carries it. */
static void test_pipelined(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[2 * FRAME_MAX];
	size_t n;
	int ours, theirs = pair_open(&ours);

	put_call(&f->bad, 1);
	put_call(&f->bad, 2);
	put_call_fd(&f->bad, 3, theirs);
	put_call(&f->bad, 4);
	wait_for_calls(&f->bad, 4);
	assert_true(!f->bad.with[0] && !f->bad.with[1] && f->bad.with[2] && !f->bad.with[3]);
	f->bad.passed = passed_free(f->bad.passed);
	expect_end(ours);
	/* With another message in the same piece */
	n = make_call_fds(buf, 5, 1);
	n += make_call(buf + n, 6, false);
	theirs = pair_open(&ours);
	put_fd(&f->bad, buf, n, theirs, 0);
	put_call(&f->bad, 7);
	wait_for_calls(&f->bad, 7);
	assert_true(f->bad.with[4] && !f->bad.with[5] && !f->bad.with[6]);
	f->bad.passed = passed_free(f->bad.passed);
	expect_end(ours);
}

static void test_two_in_a_row(void **state)
{
	struct fixture *f = *state;
	int ours, theirs = pair_open(&ours);

	f->leave = true;
	for (uint32_t i = 1; i <= 10; i++) {
		int copy = dup(theirs);

		assert_true(copy >= 0);
		put_call_fd(&f->bad, i, copy);
	}
	close(theirs);
	wait_for_calls(&f->bad, 10);
	expect_end(ours);
}

/* As libdbus does, which waits for no answer to BEGIN. */
static void test_56_behind_begin(void **state)
{
	struct fixture *f = *state;
	int ours, theirs = pair_open(&ours);

	hang_up(&f->bad);
	dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1 - strlen("BEGIN\r\n"));
	put(&f->bad, "BEGIN\r\n", 7);
	put_call_fd(&f->bad, 1, theirs);
	wait_for_calls(&f->bad, 1);
	assert_true(f->bad.with[0]);
	f->bad.passed = passed_free(f->bad.passed);
	expect_end(ours);
}

/* A message larger than the first look at it, and one that comes in pieces before. */
static void test_large(void **state)
{
	struct fixture *f = *state;
	size_t size = 20000, head;
	unsigned char *buf = calloc(1, size), small[FRAME_MAX];
	int ours, theirs = pair_open(&ours);

	assert_non_null(buf);
	head = make_call_fds(buf, 1, 1);
	memcpy(buf + head, "\x08\x01g\0\x02hs\0", 8);
	put_u32(buf + 12, head + 8 - 16, false);
	head += 8;
	put_u32(buf + 4, size - head, false);
	put_u32(buf + head + 4, size - head - 9, false);
	memset(buf + head + 8, 'y', size - head - 9);
	put_fd(&f->bad, buf, size, theirs, 0);
	wait_for_calls(&f->bad, 1);
	assert_true(f->bad.with[0]);
	f->bad.passed = passed_free(f->bad.passed);
	expect_end(ours);
	free(buf);
	theirs = pair_open(&ours);
	head = make_call(small, 2, false);
	put(&f->bad, small, 30);
	spin(f);
	put(&f->bad, small + 30, head - 30);
	put_call_fd(&f->bad, 3, theirs);
	wait_for_calls(&f->bad, 3);
	assert_true(!f->bad.with[1] && f->bad.with[2]);
	f->bad.passed = passed_free(f->bad.passed);
	expect_end(ours);
}

static void test_not_negotiated(void **state)
{
	struct fixture *f = *state;
	int ours, theirs = pair_open(&ours);

	hang_up(&f->bad);
	dial(f, &f->bad, 1000, HELLO_WITHOUT, sizeof(HELLO_WITHOUT) - 1);
	put_call_fd(&f->bad, 1, theirs);
	expect_closed(&f->bad, NO_FDS);
	assert_int_equal(f->bad.calls, 0);
	close(ours);
}

/* What its header says of fds is not so. */
static void test_58_miscounted(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];

	for (uint32_t n = 0; n <= 3; n++) {
		int ours, theirs = pair_open(&ours);

		hang_up(&f->bad);
		dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1);
		if (n == 1) {
			close(theirs);
			put(&f->bad, buf, make_call_fds(buf, 1, n));
		} else {
			put_fd(&f->bad, buf,
				n ? make_call_fds(buf, 1, n) : make_call(buf, 1, false), theirs, 0);
		}
		expect_closed(&f->bad, "a malformed message");
		assert_int_equal(f->bad.calls, 0);
		close(ours);
	}
}

/* sd-bus loses what came with a message that it finds malformed. */
static void test_58_malformed(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];

	for (unsigned i = 0; i < 4; i++) {
		size_t n = make_call_fds(buf, 1, 1);
		int ours, theirs = pair_open(&ours);

		if (i == 0) { /* no serial */
			put_u32(buf + 8, 0, false);
		} else if (i == 1) { /* no path */
			buf[16 + 8] = 'x';
		} else if (i == 2) { /* fds counted twice */
			memcpy(buf + n, buf + n - 8, 8);
			put_u32(buf + 12, n + 8 - 16, false);
			n += 8;
		} else { /* a field without end */
			put_u32(buf + 16 + 4, 1000, false);
		}
		hang_up(&f->bad);
		dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1);
		put_fd(&f->bad, buf, n, theirs, 0);
		expect_closed(&f->bad, "a malformed message");
		assert_int_equal(f->bad.calls, 0);
		close(ours);
	}
}

static void test_58_big_endian(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];
	size_t n = make_call(buf, 1, true);
	int ours, theirs = pair_open(&ours);

	memcpy(buf + n, "\x09\x01u\0\0\0\0\1", 8);
	put_u32(buf + 12, n + 8 - 16, true);
	put_fd(&f->bad, buf, n + 8, theirs, 0);
	wait_for_calls(&f->bad, 1);
	assert_true(f->bad.with[0]);
	close(ours);
}

static void test_51_many(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];
	int fds[FRAME_FDS_MAX];
	size_t n = make_call_fds(buf, 1, FRAME_FDS_MAX);

	for (size_t i = 0; i < FRAME_FDS_MAX; i++)
		fds[i] = f->bad.peer;
	assert_int_equal(send_fds(f->bad.peer, buf, n, fds, FRAME_FDS_MAX, 0), n);
	expect_closed(&f->bad, NO_SOCKET);
	hang_up(&f->bad);
	/* Four times that on a message that is never whole */
	dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1);
	for (size_t i = 0; i < FRAME_FDS_MAX; i++)
		fds[i] = f->bad.peer;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			send_fds(f->bad.peer, buf + i * 20, 20, fds, FRAME_FDS_MAX, 0), 20);
	expect_closed(&f->bad, NO_FDS);
}

/* What may not be dropped here, from a sender that keeps no copy. */
static int lingering(struct fixture *f)
{
	int r = lingering_open(&f->linger);

	if (r < 0)
		fail_msg("no TCP socket over 127.0.0.1: %s", strerror(-r));
	return f->linger.ours;
}

static bool is_ending(const struct fixture *f)
{
	for (const struct porter *p = f->porters->list; p; p = p->next)
		if (p->channel < 0)
			return true;
	return false;
}

/* Another client, and nobody waited for the peer. An account may have one porter that ends, and
 * each of these costs one: the machine may end them slower than the test needs new ones. */
static void release(struct fixture *f)
{
	hang_up(&f->bad);
	RUN_UNTIL(f->event, !is_ending(f));
	assert_false(is_ending(f));
	close(f->linger.peer);
	f->linger.peer = -EBADF;
	dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1);
}

static void test_50_on_a_call(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];
	size_t n;

	put_call_fd(&f->bad, 1, null_open());
	expect_closed(&f->bad, NO_SOCKET);
	f->linger.peer = dup(f->bad.peer);
	release(f);
	put_call_fd(&f->bad, 1, lingering(f));
	expect_closed(&f->bad, NO_SOCKET);
	release(f);
	/* On the second of two */
	put_call(&f->bad, 1);
	put_call_fd(&f->bad, 2, lingering(f));
	expect_closed(&f->bad, NO_SOCKET);
	release(f);
	/* On its last byte */
	n = make_call_fds(buf, 1, 1);
	put(&f->bad, buf, n - 1);
	put_fd(&f->bad, buf + n - 1, 1, lingering(f), 0);
	expect_closed(&f->bad, NO_SOCKET);
	release(f);
	/* On its last byte, behind what was taken */
	put(&f->bad, buf, n - 1);
	spin(f);
	put_fd(&f->bad, buf + n - 1, 1, lingering(f), 0);
	expect_closed(&f->bad, NO_SOCKET);
	assert_int_equal(f->bad.calls, 0);
}

/* Even one that would do is to come with the first byte. */
static void test_50_behind_a_beginning(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];
	size_t n = make_call_fds(buf, 1, 1);
	int ours, theirs = pair_open(&ours);

	put(&f->bad, buf, n - 1);
	spin(f);
	put_fd(&f->bad, buf + n - 1, 1, theirs, 0);
	expect_closed(&f->bad, NO_FDS);
	close(ours);
}

static void test_50_incomplete(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];
	size_t n = make_call_fds(buf, 1, 1);

	put_fd(&f->bad, buf, n - 1, lingering(f), 0);
	expect_closed(&f->bad, NO_FDS);
	release(f);
	put_fd(&f->bad, buf, 3, lingering(f), 0);
	expect_closed(&f->bad, NO_FDS);
	release(f);
	put(&f->bad, buf, 20);
	spin(f);
	put_fd(&f->bad, buf + 20, 20, lingering(f), 0);
	expect_closed(&f->bad, NO_FDS);
	release(f);
	/* Two pieces of one message, each with something */
	{
		int ours, theirs = pair_open(&ours);

		put_fd(&f->bad, buf, 20, theirs, 0);
		put_fd(&f->bad, buf + 20, n - 20, lingering(f), 0);
		expect_closed(&f->bad, NO_FDS);
		close(ours);
	}
	assert_int_equal(f->bad.calls, 0);
}

static void test_50_during_authentication(void **state)
{
	static const char *const lines[] = {
		"", "AUTH", "AUTH EXTERNAL 30\r\n", "AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\n"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		hang_up(&f->bad);
		dial(f, &f->bad, 1000, "", i > 0);
		if (i == 0)
			put_fd(&f->bad, "", 1, lingering(f), 0);
		else
			put_fd(&f->bad, lines[i], strlen(lines[i]), lingering(f), 0);
		expect_closed(&f->bad, NO_FDS);
		close(f->linger.peer);
		f->linger.peer = -EBADF;
	}
	/* On BEGIN itself, where one would be allowed behind it. */
	hang_up(&f->bad);
	dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1 - strlen("BEGIN\r\n"));
	put_fd(&f->bad, "BEGIN\r\n", 7, lingering(f), 0);
	expect_closed(&f->bad, NO_SOCKET);
	release(f);
	{
		int ours, theirs = pair_open(&ours);

		hang_up(&f->bad);
		dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1 - strlen("BEGIN\r\n"));
		put_fd(&f->bad, "BEGIN\r\n", 7, theirs, 0);
		expect_closed(&f->bad, NO_FDS);
		close(ours);
	}
}

/* Urgent data can carry fds too, and reads may pass over them. */
static void test_50_urgent(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[FRAME_MAX];
	size_t n = make_call(buf, 1, false);

	/* At the queue's head, within a message, and behind one */
	for (size_t before = 0; before <= n; before += n / 2) {
		int fd = lingering(f);

		if (before > 0)
			put(&f->bad, buf, before);
		if (send_fds(f->bad.peer, "l", 1, &fd, 1, MSG_OOB) < 0) {
			assert_int_equal(errno, EOPNOTSUPP);
			close(fd);
			skip();
		}
		close(fd);
		put(&f->bad, buf + before, n - before);
		put_call(&f->bad, 2);
		spin(f);
		expect_others_served(f);
		hang_up(&f->bad);
		expect_others_served(f);
		release(f);
	}
	/* One upon the other: the first is urgent no more. */
	put_fd(&f->bad, "l", 1, lingering(f), MSG_OOB);
	put_fd(&f->bad, "l", 1, null_open(), MSG_OOB);
	spin(f);
	expect_others_served(f);
	hang_up(&f->bad);
	expect_others_served(f);
}

/* Unread, when the connection ends for another reason. */
static void test_50_unread(void **state)
{
	struct fixture *f = *state;

	f->hold = true;
	put_call(&f->bad, 1);
	wait_for_calls(&f->bad, 1);
	put_call_fd(&f->bad, 2, lingering(f));
	spin(f);
	f->hold = false;
	hang_up(&f->bad);
	expect_others_served(f);
	release(f);
	/* While it is looked at */
	put_call_fd(&f->bad, 1, lingering(f));
	assert_true(sd_event_run(f->event, 0) >= 0);
	hang_up(&f->bad);
	expect_others_served(f);
	release(f);
	/* Within the socket that is passed, whose sender closes it */
	{
		int fd = lingering(f), ours, theirs = pair_open(&ours);

		assert_int_equal(send_fds(ours, "x", 1, &fd, 1, 0), 1);
		close(fd);
		close(ours);
		put_call_fd(&f->bad, 1, theirs);
		wait_for_calls(&f->bad, 1);
		assert_true(f->bad.with[0]);
		f->bad.passed = passed_free(f->bad.passed);
		expect_others_served(f);
	}
}

static void test_closes_behind_it(void **state)
{
	struct fixture *f = *state;
	char buf[FRAME_MAX];
	int ours, theirs = pair_open(&ours);

	/* Else the end would be a reset. */
	assert_true(recv(f->bad.peer, buf, sizeof(buf), 0) > 0);
	f->mute = true;
	put_call_fd(&f->bad, 1, theirs);
	close(f->bad.peer);
	f->bad.peer = -EBADF;
	expect_closed(&f->bad, "closed by the peer");
	assert_int_equal(f->bad.calls, 1);
	assert_true(f->bad.with[0]);
	close(ours);
}

/* A porter that is gone, or does not answer: stopped here, as if it were wedged. */
static void test_without_a_porter(void **state)
{
	static const int signals[] = {SIGKILL, SIGSTOP};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int ours, theirs = pair_open(&ours), copy = dup(theirs);

		hang_up(&f->bad);
		dial(f, &f->bad, 1000, HELLO, sizeof(HELLO) - 1);
		put_call_fd(&f->bad, 1, theirs);
		wait_for_calls(&f->bad, 1);
		f->bad.passed = passed_free(f->bad.passed);
		assert_int_equal(
			pidfd_send_signal(f->porters->list->pidfd, signals[i], NULL, 0), 0);
		put_call_fd(&f->bad, 2, copy);
		expect_closed(&f->bad, NO_PORTER);
		assert_int_equal(f->bad.calls, 1);
		close(ours);
		RUN_UNTIL(f->event, !f->porters->list);
		assert_null(f->porters->list);
	}
}

static int group_setup(void **state)
{
	return zygote_start(CONFINE, &zygote);
}

static int group_teardown(void **state)
{
	zygote = zygote_free(zygote);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_socket),
		TEST(test_nobody_takes_it),
		TEST(test_pipelined),
		TEST(test_two_in_a_row),
		TEST(test_56_behind_begin),
		TEST(test_large),
		TEST(test_not_negotiated),
		TEST(test_58_miscounted),
		TEST(test_58_malformed),
		TEST(test_58_big_endian),
		TEST(test_51_many),
		TEST(test_50_on_a_call),
		TEST(test_50_behind_a_beginning),
		TEST(test_50_incomplete),
		TEST(test_50_during_authentication),
		TEST(test_50_urgent),
		TEST(test_50_unread),
		TEST(test_closes_behind_it),
		TEST(test_without_a_porter),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
