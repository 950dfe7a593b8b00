/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connections of LXC: what is answered, what is dropped, and another proxy behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../policy/lxc-wire.h"
#include "wires.h"

static struct stand lxc(const char *next)
{
	return stand_new(SOCK_SEQPACKET, perf_worker_lxc, next);
}

/* Of this very thread, in a container that is the host. */
static struct lxc_call call_new(int nr, int64_t how)
{
	return (struct lxc_call){
		.monitor_pid = getpid(),
		.init_pid = getpid(),
		.notif_size = 80,
		.resp_size = 24,
		.data_size = 64,
		.notif = {.id = 5,
			.pid = (uint32_t)getpid(),
			.data = {.nr = nr, .args = {(uint64_t)how}}},
		.resp = {.id = 5},
	};
}

static void call_send(struct stand *s, const struct lxc_call *call)
{
	const int fds[] = {other[0], other[1], trapped};

	packet_send(s->sock, call, sizeof(*call), fds, 3);
}

/* `call` as it must come back: *resp is what was answered. */
static void answer_take(
	struct stand *s, const struct lxc_call *call, struct seccomp_notif_resp *resp)
{
	struct pollfd p = {.fd = s->sock, .events = POLLIN};
	uint8_t bytes[256];

	assert_int_equal(poll(&p, 1, SOON), 1);
	assert_int_equal(recv(s->sock, bytes, sizeof(bytes), 0), 136);
	assert_int_equal(lxc_answer_parse(bytes, 136, call, resp), 0);
}

static struct seccomp_notif_resp asked(struct stand *s, const struct lxc_call *call)
{
	struct seccomp_notif_resp resp;

	call_send(s, call);
	answer_take(s, call, &resp);
	return resp;
}

static void assert_resp(struct seccomp_notif_resp resp, int64_t val, int error, unsigned flags)
{
	assert_int_equal(resp.error, error);
	assert_int_equal(resp.val, val);
	assert_int_equal(resp.flags, flags);
}

static void test_calls(void **state)
{
	struct stand s = lxc("");
	struct lxc_call call = call_new(OURS, 0);

	(void)state;
	assert_resp(asked(&s, &call), NUMBER, 0, 0);
	call = call_new(OURS, -EACCES);
	assert_resp(asked(&s, &call), 0, -EACCES, 0);
	call = call_new(OURS, -ESTALE);
	assert_resp(asked(&s, &call), 0, -ESTALE, 0);
	/* It could not be given. */
	call = call_new(OURS, 0);
	call.notif.id = 7;
	assert_resp(asked(&s, &call), 0, -EMFILE, 0);
	assert_int_equal(told_within(&s, 0), -1);
	/* The peer goes. */
	shutdown(s.sock, SHUT_WR);
	assert_int_equal(told(&s), TOLD_DONE);
	stand_end(&s);
	assert_int_equal(slot->dropped, 0);
	assert_int_equal(slot->busy, 0);
}

static void test_cookie(void **state)
{
	struct stand s = lxc("");
	const int fds[] = {other[0], other[1], trapped};
	struct {
		struct lxc_call call;
		uint8_t cookie[LXC_COOKIE_MAX + 1];
	} p = {.call = call_new(OURS, 0)};
	struct seccomp_notif_resp resp;

	(void)state;
	p.call.cookie_size = LXC_COOKIE_MAX;
	packet_send(s.sock, &p, 136 + LXC_COOKIE_MAX, fds, 3);
	answer_take(&s, &p.call, &resp);
	assert_resp(resp, NUMBER, 0, 0);
	p.call.cookie_size++;
	packet_send(s.sock, &p, 136 + LXC_COOKIE_MAX + 1, fds, 3);
	dropped_for(&s, PERF_NEWS_SIZE);
	stand_end(&s);
	assert_int_equal(slot->dropped, 1);
}

static void test_wrong_packets(void **state)
{
	const int fds[] = {other[0], other[1], trapped, other[2], other[2]},
		  none[] = {other[0], other[1], other[2]};
	const struct lxc_call good = call_new(OURS, 0);
	struct lxc_call sizes = good, reserved = good;
	const struct {
		const void *bytes;
		size_t size;
		const int *fds;
		unsigned n;
		enum perf_news news;
	} rows[] = {
		{&good, 135, fds, 3, PERF_NEWS_HALF},
		{&good, 1, fds, 3, PERF_NEWS_HALF},
		{&good, 0, fds, 3, PERF_NEWS_HALF},
		{&sizes, 136, fds, 3, PERF_NEWS_SIZE},
		{&reserved, 136, fds, 3, PERF_NEWS_SIZE},
		{&good, 136, NULL, 0, PERF_NEWS_FDS},
		{&good, 136, fds, 2, PERF_NEWS_FDS},
		{&good, 136, fds, 4, PERF_NEWS_FDS},
		{&good, 136, fds, 5, PERF_NEWS_FDS},
		{&good, 136, none, 3, PERF_NEWS_FDS},
	};

	(void)state;
	sizes.resp_size = 32;
	reserved.reserved = 1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stand s = lxc("");

		packet_send(s.sock, rows[i].bytes, rows[i].size, rows[i].fds, rows[i].n);
		dropped_for(&s, rows[i].news);
		stand_end(&s);
		assert_int_equal(slot->dropped, 1);
	}
}

/* A thread that has gone, and one of nobody. */
static void test_no_thread(void **state)
{
	struct stand s = lxc("");
	struct lxc_call call = call_new(OURS, 0);

	(void)state;
	call.notif.pid = INT32_MAX;
	assert_resp(asked(&s, &call), 0, -ENOSYS, 0);
	assert_int_equal(told_within(&s, 0), -1);
	stand_end(&s);
}

/* By who is not root. */
static void test_peer(void **state)
{
	struct lxc_call call = call_new(OURS, 0);
	struct stand s;

	(void)state;
	peer_uid = 1000;
	s = lxc("");
	peer_uid = 0;
	assert_resp(asked(&s, &call), 0, -ENOSYS, 0);
	assert_int_equal(told(&s), PERF_NEWS_PEER);
	call = call_new(OURS + 1, 0);
	assert_resp(asked(&s, &call), 0, -ENOSYS, 0);
	assert_int_equal(told(&s), PERF_NEWS_CALL);
	stand_end(&s);
	assert_int_equal(slot->dropped, 2);
}

/* Its answers fill the socket. */
static void test_deaf(void **state)
{
	struct stand s = lxc("");
	const struct lxc_call call = call_new(OURS, -EACCES);

	(void)state;
	fcntl(s.sock, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct pollfd p[] = {
			{.fd = s.sock, .events = POLLOUT}, {.fd = s.told, .events = POLLIN}};

		assert_true(poll(p, 2, SOON) > 0);
		if (p[1].revents)
			break;
		call_send(&s, &call);
	}
	dropped_for(&s, PERF_NEWS_DEAF);
	stand_end(&s);
}

/*
 * --lxc-next.
 */

static struct sockaddr_un next_address = {.sun_family = AF_UNIX};

static int next_listen(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(next_address.sun_path, sizeof(next_address.sun_path), "/tmp/cgmd-test-next-%d",
		getpid());
	unlink(next_address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&next_address, sizeof(next_address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

/* What came, with its fds counted. */
static size_t next_take(int sock, uint8_t *bytes, size_t size, unsigned *n_fds)
{
	char control[256] __attribute__((aligned(8)));
	struct iovec iov = {bytes, size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct pollfd p = {.fd = sock, .events = POLLIN};
	struct cmsghdr *c;
	ssize_t n;

	assert_int_equal(poll(&p, 1, SOON), 1);
	n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	assert_true(n >= 0);
	c = CMSG_FIRSTHDR(&msg);
	*n_fds = c ? (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	for (unsigned i = 0; i < *n_fds; i++)
		close(((int *)CMSG_DATA(c))[i]);
	return (size_t)n;
}

static void next_answer(int sock, int64_t val, int error, unsigned flags)
{
	struct lxc_call call;
	uint8_t bytes[2048];
	unsigned n_fds;
	size_t n = next_take(sock, bytes, sizeof(bytes), &n_fds);

	assert_int_equal(n_fds, 3);
	assert_int_equal(lxc_call_parse(bytes, n, &call), 0);
	lxc_call_answer(&call, val, error, flags);
	packet_send(sock, &call, sizeof(call), NULL, 0);
}

static void test_next(void **state)
{
	int at = next_listen(), sock;
	struct stand s = lxc(next_address.sun_path);
	struct lxc_call call = call_new(OURS + 1, 0);
	struct seccomp_notif_resp resp;

	(void)state;
	call_send(&s, &call);
	sock = accept(at, NULL, NULL);
	next_answer(sock, 3, 0, 0);
	answer_take(&s, &call, &resp);
	assert_resp(resp, 3, 0, 0);
	/* Over the same connection; its word is passed on. */
	call_send(&s, &call);
	next_answer(sock, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	answer_take(&s, &call, &resp);
	assert_resp(resp, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	call_send(&s, &call);
	next_answer(sock, 0, -EPERM, 0);
	answer_take(&s, &call, &resp);
	assert_resp(resp, 0, -EPERM, 0);
	/* It was started anew. */
	close(sock);
	call_send(&s, &call);
	sock = accept(at, NULL, NULL);
	next_answer(sock, 9, 0, 0);
	answer_take(&s, &call, &resp);
	assert_resp(resp, 9, 0, 0);
	/* What is ours is not its. */
	call = call_new(OURS, 0);
	assert_resp(asked(&s, &call), NUMBER, 0, 0);
	assert_int_equal(told_within(&s, 0), -1);
	close(sock);
	close(at);
	stand_end(&s);
	assert_int_equal(slot->dropped, 0);
}

static void test_next_fails(void **state)
{
	int at = next_listen(), sock;
	struct stand s = lxc(next_address.sun_path);
	struct lxc_call call = call_new(OURS + 1, 0);
	struct seccomp_notif_resp resp;
	uint8_t bytes[2048];
	unsigned n_fds;

	(void)state;
	/* It does not answer; what it says later is not for the next. */
	call_send(&s, &call);
	sock = accept(at, NULL, NULL);
	answer_take(&s, &call, &resp);
	assert_resp(resp, 0, -ENOSYS, 0);
	assert_int_equal(told(&s), PERF_NEWS_NEXT);
	assert_int_equal(next_take(sock, bytes, sizeof(bytes), &n_fds), 136);
	close(sock);
	/* Something else than an answer. */
	for (size_t size = 0; size <= 137; size += 137) {
		call_send(&s, &call);
		sock = accept(at, NULL, NULL);
		next_take(sock, bytes, sizeof(bytes), &n_fds);
		packet_send(sock, bytes, size, NULL, 0);
		answer_take(&s, &call, &resp);
		assert_resp(resp, 0, -ENOSYS, 0);
		assert_int_equal(told(&s), PERF_NEWS_NEXT);
		close(sock);
	}
	/* The answer to another call. */
	call_send(&s, &call);
	sock = accept(at, NULL, NULL);
	next_take(sock, bytes, sizeof(bytes), &n_fds);
	bytes[offsetof(struct lxc_call, resp)] ^= 1;
	packet_send(sock, bytes, 136, NULL, 0);
	answer_take(&s, &call, &resp);
	assert_resp(resp, 0, -ENOSYS, 0);
	assert_int_equal(told(&s), PERF_NEWS_NEXT);
	close(sock);
	close(at);
	/* Nobody listens, or there is no such file. */
	for (unsigned i = 0; i < 2; i++) {
		assert_resp(asked(&s, &call), 0, -ENOSYS, 0);
		assert_int_equal(told(&s), PERF_NEWS_NEXT);
		unlink(next_address.sun_path);
	}
	stand_end(&s);
	assert_int_equal(slot->dropped, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_cookie),
		cmocka_unit_test(test_wrong_packets),
		cmocka_unit_test(test_no_thread),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_deaf),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_next_fails),
	};

	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, wires_begin, NULL);
}
