/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wires.h"

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
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * What is played, in the worker's process.
 */

static int tell_fd;
struct perf_slot *slot;

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

uint32_t peer_uid;
int trapped, other[3];

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

	if (statx(trapped, "", AT_EMPTY_PATH, STATX_INO, &st) < 0)
		_exit(8);
	w.anon_ino = st.stx_ino;
	w.anon_major = st.stx_dev_major;
	w.anon_minor = st.stx_dev_minor;
	return w;
}

struct stand stand_new(int type, void (*serve)(struct worker *w), const char *next)
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

void stand_end(struct stand *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->told);
	close(s->sock);
	close(s->copy);
}

/* What it tells next; -1: nothing for a while; -2: it has ended. */
int told_within(struct stand *s, int msec)
{
	struct pollfd p = {.fd = s->told, .events = POLLIN};
	uint8_t what;

	if (poll(&p, 1, msec) <= 0)
		return -1;
	return read(s->told, &what, 1) == 1 ? what : -2;
}

int told(struct stand *s)
{
	return told_within(s, SOON);
}

/* It says that, and ends. */
void dropped_for(struct stand *s, enum perf_news news)
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
	trapped = (int)syscall(
		SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	assert_true(trapped >= 0);
}

void packet_send(int sock, const void *bytes, size_t size, const int *fds, unsigned n)
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

int wires_begin(void **state)
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
