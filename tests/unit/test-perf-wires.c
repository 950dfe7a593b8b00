/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connections of LXC and of OCI runtimes, each served in a process of its own, where what
 * judges and opens is played: the first argument of a call says how it goes. What the worker tells
 * comes by a pipe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/perf/worker-core.h"
#include "../../policy/lxc-wire.h"

#define OURS 298
#define NUMBER 42 /* of the injected fd */
#define SOON 20000

/*
 * What is played, in the worker's process.
 */

enum told { TOLD_DONE = 100, TOLD_FAIL, TOLD_FOUND };

static int tell_fd;
static struct perf_slot *slot; /* shared */

static void tell(uint8_t what)
{
	if (write(tell_fd, &what, 1) != 1)
		_exit(9);
}

void __wrap_worker_news(struct worker *w, enum perf_news news);
void __wrap_worker_news(struct worker *w, enum perf_news news)
{
	(void)w;
	tell((uint8_t)news);
}

_Noreturn void __wrap_worker_done(struct worker *w);
_Noreturn void __wrap_worker_done(struct worker *w)
{
	(void)w;
	tell(TOLD_DONE);
	_exit(0);
}

_Noreturn void __wrap_worker_found(struct worker *w, int listener);
_Noreturn void __wrap_worker_found(struct worker *w, int listener)
{
	(void)w;
	tell(fcntl(listener, F_GETFD) == FD_CLOEXEC ? TOLD_FOUND : TOLD_FAIL);
	_exit(0);
}

void __wrap_worker_pace(struct worker *w);
void __wrap_worker_pace(struct worker *w)
{
	(void)w;
}

bool __wrap_worker_is_ours(const struct seccomp_data *data);
bool __wrap_worker_is_ours(const struct seccomp_data *data)
{
	return data->nr == OURS;
}

/* Without a core. What is slow is so for less long. */
int __wrap_worker_wait(struct worker *w, int fd, short events, int msec);
int __wrap_worker_wait(struct worker *w, int fd, short events, int msec)
{
	struct pollfd p = {.fd = fd, .events = events};

	(void)w;
	return poll(&p, 1, msec < 0 ? -1 : 200) > 0 ? p.revents : 0;
}

int __wrap_worker_handle(struct worker *w, int listener, const struct seccomp_notif *notif,
	struct worker_answer *ret);
int __wrap_worker_handle(struct worker *w, int listener, const struct seccomp_notif *notif,
	struct worker_answer *ret)
{
	int r = (int)notif->data.args[0];

	(void)listener;
	*ret = (struct worker_answer){.fd = -EBADF, .err = r};
	if (atomic_load(&w->slot->busy) == 0)
		tell(TOLD_FAIL);
	if (r == -ESTALE)
		return r;
	if (r >= 0)
		ret->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

int __wrap_worker_inject(int listener, uint64_t id, const struct worker_answer *answer, bool send);
int __wrap_worker_inject(int listener, uint64_t id, const struct worker_answer *answer, bool send)
{
	(void)listener;
	if (send || fcntl(answer->fd, F_GETFD) < 0)
		tell(TOLD_FAIL);
	return id == 7 ? -EMFILE : NUMBER;
}

/*
 * The worker.
 */

struct stand {
	pid_t pid;
	int sock, told;
	int copy; /* of the worker's end, as the core has one for a while */
};

static uint32_t peer_uid;
static int listener, other[3]; /* and what comes with it, or is wrong */

static struct worker worker_new(int sock)
{
	struct worker w = {
		.core = -EBADF,
		.spawner = -EBADF,
		.slot = slot,
		.channel = sock,
		.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.serve = {.peer_pid = getppid(), .peer_uid = peer_uid},
	};
	struct statx st;

	if (statx(listener, "", AT_EMPTY_PATH, STATX_INO, &st) < 0)
		_exit(8);
	w.anon_ino = st.stx_ino;
	w.anon_major = st.stx_dev_major;
	w.anon_minor = st.stx_dev_minor;
	return w;
}

static struct stand stand_new(int type, void (*serve)(struct worker *w), const char *next)
{
	struct stand s;
	int pair[2], told[2];

	memset((void *)slot, 0, sizeof(*slot));
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	s.pid = fork();
	assert_true(s.pid >= 0);
	if (s.pid == 0) {
		struct worker w = worker_new(pair[1]);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		tell_fd = told[1];
		close(pair[0]);
		strcpy(w.serve.next, next);
		serve(&w);
	}
	close(told[1]);
	s.copy = pair[1];
	s.sock = pair[0];
	s.told = told[0];
	return s;
}

static void stand_end(struct stand *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->told);
	close(s->sock);
	close(s->copy);
}

static struct stand lxc(const char *next)
{
	return stand_new(SOCK_SEQPACKET, perf_worker_lxc, next);
}

static struct stand oci(void)
{
	return stand_new(SOCK_STREAM, perf_worker_oci, "");
}

/* What it tells next; -1: nothing for a while; -2: it has ended. */
static int told_within(struct stand *s, int msec)
{
	struct pollfd p = {.fd = s->told, .events = POLLIN};
	uint8_t what;

	if (poll(&p, 1, msec) <= 0)
		return -1;
	return read(s->told, &what, 1) == 1 ? what : -2;
}

static int told(struct stand *s)
{
	return told_within(s, SOON);
}

/* It says that, and ends. */
static void dropped_for(struct stand *s, enum perf_news news)
{
	struct pollfd p = {.fd = s->sock, .events = POLLIN};

	assert_int_equal(told(s), news);
	assert_int_equal(told(s), TOLD_DONE);
	assert_int_equal(told(s), -2);
	/* The peer learns of it at once. */
	assert_true(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
}

/*
 * What is sent.
 */

static void trap(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_acct, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	listener = (int)syscall(
		SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	assert_true(listener >= 0);
}

static void packet_send(int sock, const void *bytes, size_t size, const int *fds, unsigned n)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)bytes, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), (ssize_t)size);
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
	const int fds[] = {other[0], other[1], listener};

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

/*
 * LXC.
 */

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
	const int fds[] = {other[0], other[1], listener};
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
	const int fds[] = {other[0], other[1], listener, other[2], other[2]},
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

/*
 * OCI.
 */

#define STATE "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":7,\"state\":{}}"

static void test_state(void **state)
{
	struct stand s = oci();

	(void)state;
	packet_send(s.sock, STATE, strlen(STATE), &listener, 1);
	assert_int_equal(told(&s), TOLD_FOUND);
	assert_int_equal(told(&s), -2);
	stand_end(&s);
}

static void test_state_in_pieces(void **state)
{
	struct stand s = oci();

	(void)state;
	packet_send(s.sock, STATE, 1, &listener, 1);
	for (size_t i = 1; i < strlen(STATE); i++)
		packet_send(s.sock, &STATE[i], 1, NULL, 0);
	assert_int_equal(told(&s), TOLD_FOUND);
	stand_end(&s);
	/* The fd last. */
	s = oci();
	packet_send(s.sock, STATE, strlen(STATE) - 1, NULL, 0);
	packet_send(s.sock, "}", 1, &listener, 1);
	assert_int_equal(told(&s), TOLD_FOUND);
	stand_end(&s);
}

/* A start that failed. */
static void test_nothing(void **state)
{
	struct stand s = oci();

	(void)state;
	/* However long that takes. */
	assert_int_equal(told_within(&s, 400), -1);
	shutdown(s.sock, SHUT_WR);
	assert_int_equal(told(&s), TOLD_DONE);
	stand_end(&s);
}

static void test_wrong_states(void **state)
{
	static const char spaces[(64 << 10) + 2];
	const int two[] = {listener, listener}, wrong[] = {other[0]};
	const struct {
		const char *text;
		size_t size;
		const int *fds;
		unsigned n;
		enum perf_news news;
		bool waits; /* for more */
	} rows[] = {
		{STATE, strlen(STATE) - 1, &listener, 1, PERF_NEWS_HALF, true},
		{"{", 1, &listener, 1, PERF_NEWS_HALF, true},
		{"{}", 2, &listener, 1, PERF_NEWS_JSON, false},
		{"x", 1, &listener, 1, PERF_NEWS_JSON, false},
		{"{\"fds\":[\"pidFd\"]}", 17, &listener, 1, PERF_NEWS_JSON, false},
		{spaces, sizeof(spaces), &listener, 1, PERF_NEWS_JSON, false},
		{STATE, strlen(STATE), NULL, 0, PERF_NEWS_FDS, false},
		{STATE, strlen(STATE), two, 2, PERF_NEWS_FDS, false},
		{STATE, strlen(STATE), wrong, 1, PERF_NEWS_FDS, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stand s = oci();

		packet_send(s.sock, rows[i].text, rows[i].size, rows[i].fds, rows[i].n);
		/* Half of it, whether the peer goes or stays. */
		if (rows[i].waits && i % 2)
			shutdown(s.sock, SHUT_WR);
		dropped_for(&s, rows[i].news);
		stand_end(&s);
	}
}

static void test_two_fds_apart(void **state)
{
	struct stand s = oci();

	(void)state;
	packet_send(s.sock, STATE, 5, &listener, 1);
	packet_send(s.sock, &STATE[5], 5, &listener, 1);
	dropped_for(&s, PERF_NEWS_FDS);
	stand_end(&s);
}

static void test_too_large(void **state)
{
	static char text[(64 << 10) + 1];
	struct stand s = oci();

	(void)state;
	memset(text, ' ', sizeof(text));
	text[0] = '{';
	for (size_t at = 0; at < sizeof(text); at += 4096) {
		size_t left = sizeof(text) - at;

		packet_send(s.sock, text + at, left < 4096 ? left : 4096, &listener, at == 0);
	}
	dropped_for(&s, PERF_NEWS_SIZE);
	stand_end(&s);
}

static int begin(void **state)
{
	(void)state;
	slot = mmap(NULL, sizeof(*slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(slot != MAP_FAILED);
	other[0] = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	other[1] = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	other[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	trap();
	return 0;
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
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_state_in_pieces),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_wrong_states),
		cmocka_unit_test(test_two_fds_apart),
		cmocka_unit_test(test_too_large),
	};

	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, begin, NULL);
}
