/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Porters against whatever a client can send. Nothing here is judged by a clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/porter-core.h"
#include "confine.h"
#include "frames.h"

#define STEP 300000
#define LONG 20000000

static struct zygote *zygote;

struct fixture {
	sd_event *event;
	struct porters *porters;
	int conn, peer; /* the daemon's end of a connection, and the client's */
	/* What done() was told. */
	unsigned n_judged, n_received;
	int result;
	struct passed *passed;
	struct ucred creds[PORTER_ROUNDS_MAX];
	unsigned fds_before;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	patience_begin();
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(porters_new(f->event, zygote, &f->porters), 0);
	f->fds_before = count_fds();
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	f->conn = fds[0];
	f->peer = fds[1];
	*state = f;
	return 0;
}

/* Every test ends without a leaked fd and without a porter that has not ended. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	unsigned after;

	passed_free(f->passed);
	porters_close(f->porters, 0, f->conn);
	if (f->peer >= 0)
		close(f->peer);
	for (struct porter *p = f->porters->list; p; p = p->next)
		porter_end(p, false);
	RUN_UNTIL(f->event, !f->porters->list);
	assert_null(f->porters->list);
	assert_null(f->porters->unburied);
	after = count_fds();
	assert_int_equal(after, f->fds_before);
	porters_free(f->porters);
	sd_event_unref(f->event);
	free(f);
	assert_false(patience_end());
	return 0;
}

static void put_fds(int peer, const void *data, size_t size, const int *fds, size_t n)
{
	assert_int_equal(send_fds(peer, data, size, fds, n, 0), size);
}

static void put_fd(struct fixture *f, int fd)
{
	put_fds(f->peer, "0123456789", 10, &fd, 1);
	close(fd);
}

static void on_judged(void *userdata, int result, struct passed *passed)
{
	struct fixture *f = userdata;

	f->n_judged++;
	f->result = result;
	f->passed = passed;
}

static void on_received(void *userdata, int result, const struct ucred *creds)
{
	struct fixture *f = userdata;

	f->n_received++;
	f->result = result;
	if (result == 0)
		memcpy(f->creds, creds, sizeof(f->creds));
}

static struct judging *ask(struct fixture *f, uint64_t account)
{
	struct judging *j = NULL;

	assert_int_equal(porters_judge(f->porters, account, f->conn, 10, on_judged, f, &j), 0);
	assert_int_equal(f->n_judged, 0);
	return j;
}

static int verdict(struct fixture *f)
{
	RUN_UNTIL(f->event, f->n_judged > 0);
	assert_int_equal(f->n_judged, 1);
	f->n_judged = 0;
	return f->result;
}

static int judge(struct fixture *f)
{
	ask(f, 1000);
	return verdict(f);
}

static int outcome(struct fixture *f)
{
	RUN_UNTIL(f->event, f->n_received > 0);
	assert_int_equal(f->n_received, 1);
	f->n_received = 0;
	return f->result;
}

static unsigned count_porters(struct fixture *f)
{
	unsigned n = 0;

	for (struct porter *p = f->porters->list; p; p = p->next)
		n++;
	return n;
}

/* Until those that were told to have ended. */
static void settle(struct fixture *f, unsigned left)
{
	RUN_UNTIL(f->event, count_porters(f) <= left);
	assert_int_equal(count_porters(f), left);
}

/* Takes what was judged, as the transport does. */
static void take(struct fixture *f)
{
	char buf[16];

	assert_int_equal(recv(f->conn, buf, 10, MSG_DONTWAIT), 10);
}

/* A socket of `type` goes to the daemon; the client's end of it stays. */
static int pass_socket(struct fixture *f, int type)
{
	int fds[2], on = 1;

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
	put_fd(f, fds[0]);
	assert_int_equal(judge(f), 1);
	assert_non_null(f->passed);
	take(f);
	assert_int_equal(
		setsockopt(passed_fd(f->passed), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	return fds[1];
}

static void put_creds(int fd, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred creds = {pid, uid, gid};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct ucred))];
	} control = {};
	struct iovec iov = {(void *)(uintptr_t) "p", 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_CREDENTIALS;
	control.header.cmsg_len = CMSG_LEN(sizeof(creds));
	memcpy(CMSG_DATA(&control.header), &creds, sizeof(creds));
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), 1);
}

/* The value of a line of a file. */
static void read_line(const char *path, const char *name, char *ret, size_t size)
{
	char line[256];
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	ret[0] = '\0';
	while (ret[0] == '\0' && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			snprintf(ret, size, "%s", line + strlen(name));
	fclose(file);
	ret[strcspn(ret, "\n")] = '\0';
}

static void expect_bare(int pidfd)
{
	static const char *const lines[][2] = {
		{"CapPrm:\t", "0000000000000000"},
		{"CapEff:\t", "0000000000000000"},
		{"CapInh:\t", "0000000000000000"},
		{"NoNewPrivs:\t", "1"},
		{"Seccomp:\t", CONFINE ? "2" : "0"},
	};
	char path[64], value[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	read_line(path, "Pid:\t", value, sizeof(value));
	snprintf(path, sizeof(path), "/proc/%d/status", atoi(value));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		read_line(path, lines[i][0], value, sizeof(value));
		assert_string_equal(value, lines[i][1]);
	}
}

static void test_bare(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	assert_int_equal(judge(f), 0);
	take(f);
	expect_bare(f->porters->list->pidfd);
	expect_bare(zygote_pidfd(zygote));
}

static void test_none(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	assert_int_equal(judge(f), 0);
	assert_null(f->passed);
	assert_int_equal(count_porters(f), 1);
}

static void test_each_type(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int other = pass_socket(f, types[i]);
		char c = 0;

		assert_int_equal(send(passed_fd(f->passed), "x", 1, MSG_DONTWAIT), 1);
		assert_int_equal(recv(other, &c, 1, 0), 1);
		assert_int_equal(c, 'x');
		f->passed = passed_free(f->passed);
		/* And gone for good, as soon as the porter gets to it. */
		if (types[i] != SOCK_DGRAM)
			assert_int_equal(recv(other, &c, 1, 0), 0);
		close(other);
	}
	assert_int_equal(count_porters(f), 1);
}

/* Fds of the next message show too: what tells is the reading. */
static void test_on_the_next(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(send(f->peer, "abcdefghij", 10, 0), 10);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	put_fd(f, fds[0]);
	assert_int_equal(judge(f), 1);
	close(fds[1]);
}

static void refused(struct fixture *f, int fd)
{
	struct porter *p;

	assert_true(fd >= 0);
	put_fd(f, fd);
	assert_int_equal(judge(f), -EBADMSG);
	assert_null(f->passed);
	/* Whoever saw it takes nothing new. */
	for (p = f->porters->list; p; p = p->next)
		assert_true(p->channel < 0);
	settle(f, 0);
}

static void test_device(void **state)
{
	refused(*state, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void test_directory(void **state)
{
	refused(*state, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void test_path(void **state)
{
	refused(*state, open("/", O_PATH | O_CLOEXEC));
}

static void test_memfd(void **state)
{
	refused(*state, memfd_create("test", MFD_CLOEXEC));
}

/* Named as what we take. */
static void test_memfd_alike(void **state)
{
	refused(*state, memfd_create("anon_inode:[perf_event]", MFD_CLOEXEC));
}

static void test_file_alike(void **state)
{
	char dir[] = "/tmp/test-porter-XXXXXX";
	int dir_fd, fd;

	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir_fd, "anon_inode:[perf_event]", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(unlinkat(dir_fd, "anon_inode:[perf_event]", 0), 0);
	assert_int_equal(rmdir(dir), 0);
	close(dir_fd);
	refused(*state, fd);
}

static void test_eventfd(void **state)
{
	refused(*state, eventfd(0, EFD_CLOEXEC));
}

static void test_epoll(void **state)
{
	refused(*state, epoll_create1(EPOLL_CLOEXEC));
}

static int perf_new(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.exclude_kernel = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* By a child with our table of fds: a filter stays with who has it. */
static int listener_new(void)
{
	struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
	struct sock_fprog filter = {1, &allow};
	int status;
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0) {
		long fd = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
				  ? -1
				  : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
					    SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);

		_exit(fd < 0 ? 255 : (int)fd);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

static void taken(struct fixture *f, int fd, enum passed_kind kind)
{
	int copy;

	assert_true(fd >= 0);
	put_fd(f, fd);
	assert_int_equal(judge(f), 1);
	take(f);
	assert_int_equal(passed_kind(f->passed), kind);
	copy = passed_copy(f->passed);
	assert_true(copy >= 0);
	close(copy);
	assert_false(passed_is_pair(f->passed));
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	assert_int_equal(outcome(f), -EPIPE);
	f->passed = passed_free(f->passed);
	/* It was harmless: the porter goes on. */
	assert_int_equal(count_porters(f), 1);
}

static void test_perf(void **state)
{
	int fd = perf_new();

	if (fd < 0)
		skip();
	taken(*state, fd, PASSED_PERF);
}

static void test_seccomp(void **state)
{
	taken(*state, listener_new(), PASSED_SECCOMP);
}

/* The same link, but nothing that an event could be asked of. */
static void test_seccomp_path(void **state)
{
	int fd = listener_new(), name;
	char path[64];

	assert_true(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	name = open(path, O_PATH | O_CLOEXEC);
	close(fd);
	refused(*state, name);
}

static void test_socket_copy(void **state)
{
	struct fixture *f = *state;

	close(pass_socket(f, SOCK_STREAM));
	assert_int_equal(passed_kind(f->passed), PASSED_SOCKET);
	assert_int_equal(passed_copy(f->passed), -EINVAL);
}

static void test_inet(void **state)
{
	refused(*state, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void test_listening(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* An address of the kernel's choice */
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)), 0);
	assert_int_equal(listen(fd, 1), 0);
	refused(*state, fd);
}

static void test_two(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	put_fds(f->peer, "0123456789", 10, fds, 2);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(judge(f), -EBADMSG);
	settle(f, 0);
}

static void test_as_many_as_can_be(void **state)
{
	struct fixture *f = *state;
	int fds[FRAME_FDS_MAX];

	for (size_t i = 0; i < FRAME_FDS_MAX; i++)
		fds[i] = STDIN_FILENO;
	fds[0] = f->conn;
	put_fds(f->peer, "0123456789", 10, fds, FRAME_FDS_MAX);
	assert_int_equal(judge(f), -EBADMSG);
	settle(f, 0);
}

/* What was begun is finished, by a porter that takes nothing new. */
static void test_tainted_works_off(void **state)
{
	struct fixture *f = *state;
	struct fixture other = {.event = f->event, .porters = f->porters};
	int fds[2], client = pass_socket(f, SOCK_SEQPACKET);

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	other.conn = fds[0];
	other.peer = fds[1];
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	put_fd(&other, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_int_equal(judge(&other), -EBADMSG);
	assert_int_equal(count_porters(f), 1);
	porters_close(f->porters, 0, other.conn);
	/* The undertaker */
	assert_int_equal(count_porters(f), 2);
	close(other.peer);
	/* Somebody new gets a clean one. */
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	other.conn = fds[0];
	other.peer = fds[1];
	close(pass_socket(&other, SOCK_STREAM));
	assert_int_equal(count_porters(f), 3);
	assert_int_equal(f->n_received, 0);
	put_creds(client, getpid(), getuid(), getgid());
	assert_int_equal(outcome(f), 0);
	assert_int_equal(f->creds[0].pid, getpid());
	f->passed = passed_free(f->passed);
	settle(f, 2);
	passed_free(other.passed);
	porters_close(f->porters, 0, other.conn);
	close(other.peer);
	close(client);
}

static void test_receive(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int client = pass_socket(f, types[i]);
		char c = 0;

		assert_int_equal(passed_receive(f->passed, 2, LONG, on_received, f), 0);
		assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), -EBUSY);
		put_creds(client, getpid(), getuid(), getgid());
		/* Only then the second is asked for. */
		assert_int_equal(recv(client, &c, 1, 0), 1);
		assert_int_equal(c, '1');
		put_creds(client, getppid(), getuid(), getgid());
		assert_int_equal(outcome(f), 0);
		assert_int_equal(f->creds[0].pid, getpid());
		assert_int_equal(f->creds[0].uid, getuid());
		assert_int_equal(f->creds[0].gid, getgid());
		assert_int_equal(f->creds[1].pid, getppid());
		/* Again on the same one */
		put_creds(client, getpid(), getuid(), getgid());
		assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
		assert_int_equal(outcome(f), 0);
		f->passed = passed_free(f->passed);
		close(client);
	}
	assert_int_equal(count_porters(f), 1);
}

static void test_receive_times_out(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_STREAM);
	char c;

	assert_int_equal(passed_receive(f->passed, 1, STEP, on_received, f), 0);
	assert_int_equal(outcome(f), -ETIMEDOUT);
	/* Each round has its own. */
	put_creds(client, getpid(), getuid(), getgid());
	assert_int_equal(passed_receive(f->passed, 2, STEP, on_received, f), 0);
	assert_int_equal(recv(client, &c, 1, 0), 1);
	assert_int_equal(outcome(f), -ETIMEDOUT);
	/* By the porter itself, which goes on. */
	assert_int_equal(count_porters(f), 1);
	put_creds(client, getpid(), getuid(), getgid());
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	assert_int_equal(outcome(f), 0);
	close(client);
}

static void test_receive_end(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_STREAM);

	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	close(client);
	assert_int_equal(outcome(f), -EPIPE);
	f->passed = passed_free(f->passed);
	/* Not one that reads. */
	client = pass_socket(f, SOCK_STREAM);
	put_creds(client, getpid(), getuid(), getgid());
	assert_int_equal(shutdown(client, SHUT_RD), 0);
	assert_int_equal(passed_receive(f->passed, 2, LONG, on_received, f), 0);
	assert_int_equal(outcome(f), -EPIPE);
	close(client);
}

static void test_receive_without(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_SEQPACKET), off = 0;

	/* As the client can, whose socket it is too. */
	assert_int_equal(
		setsockopt(passed_fd(f->passed), SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)), 0);
	assert_int_equal(send(client, "p", 1, 0), 1);
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	assert_int_equal(outcome(f), -EBADMSG);
	f->passed = passed_free(f->passed);
	close(client);
	client = pass_socket(f, SOCK_DGRAM);
	assert_int_equal(send(client, "", 0, 0), 0);
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	assert_int_equal(outcome(f), -EBADMSG);
	close(client);
}

static void test_receive_with_fds(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_STREAM), fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	put_fds(client, "p", 1, &fd, 1);
	close(fd);
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	assert_int_equal(outcome(f), -EBADMSG);
	f->passed = passed_free(f->passed);
	settle(f, 0);
	close(client);
}

static void test_freed_midway(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_STREAM);
	char c;

	assert_int_equal(passed_receive(f->passed, 2, LONG, on_received, f), 0);
	f->passed = passed_free(f->passed);
	assert_int_equal(recv(client, &c, 1, 0), 0);
	close(client);
	assert_int_equal(f->n_received, 0);
	/* A judgement that nobody waits for: what was found is let go. */
	{
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		put_fd(f, fds[0]);
		judging_cancel(ask(f, 1000));
		RUN_UNTIL(f->event, f->porters->list->n == 0);
		take(f);
		assert_int_equal(recv(fds[1], &c, 1, 0), 0);
		close(fds[1]);
	}
	assert_int_equal(f->n_judged, 0);
	assert_int_equal(count_porters(f), 1);
}

static void kill_porter(struct fixture *f)
{
	assert_int_equal(pidfd_send_signal(f->porters->list->pidfd, SIGKILL, NULL, 0), 0);
}

static void test_killed_midway(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_STREAM);

	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), 0);
	kill_porter(f);
	assert_int_equal(outcome(f), -EPIPE);
	assert_int_equal(passed_receive(f->passed, 1, LONG, on_received, f), -EPIPE);
	settle(f, 0);
	/* Ours may be the last: it goes to the undertaker. */
	f->passed = passed_free(f->passed);
	assert_int_equal(count_porters(f), 1);
	assert_non_null(f->porters->undertaker);
	close(client);
	client = pass_socket(f, SOCK_STREAM);
	close(client);
}

/* One that does not answer: it is stopped here, as if it were wedged. */
static void test_wedged(void **state)
{
	struct fixture *f = *state;
	int client = pass_socket(f, SOCK_STREAM);
	struct porter *p = f->porters->list;
	struct passed *held = f->passed;

	assert_int_equal(pidfd_send_signal(p->pidfd, SIGSTOP, NULL, 0), 0);
	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	assert_int_equal(judge(f), -ETIMEDOUT);
	assert_true(p->killed);
	settle(f, 0);
	passed_free(held);
	take(f);
	close(client);
}

/* As if each had so many things: idle ones end by themselves, sooner than a slow machine makes
 * many. */
static void occupy(struct fixture *f, unsigned n)
{
	for (struct porter *p = f->porters->list; p; p = p->next)
		p->n = n;
}

static void test_accounts(void **state)
{
	struct fixture *f = *state;
	struct judging *j = NULL;

	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	for (unsigned i = 0; i < 64; i++) {
		ask(f, 1000 + i);
		assert_int_equal(verdict(f), 0);
		occupy(f, 1);
	}
	assert_int_equal(count_porters(f), 64);
	/* They are idle: one goes for another account's. */
	occupy(f, 0);
	ask(f, 5000);
	occupy(f, 2);
	assert_int_equal(verdict(f), 0);
	settle(f, 64);
	assert_int_equal(porters_judge(f->porters, 6000, f->conn, 10, on_judged, f, &j), -EDQUOT);
	ask(f, 0);
	assert_int_equal(verdict(f), 0);
	assert_int_equal(count_porters(f), 65);
	/* A killed one that does not end blocks its account alone. */
	for (struct porter *p = f->porters->list; p; p = p->next) {
		p->n = p->account != 5000;
		if (p->account == 5000) {
			porter_end(p, false);
			p->killed = true;
		}
	}
	assert_int_equal(porters_judge(f->porters, 5000, f->conn, 10, on_judged, f, &j), -EDQUOT);
	settle(f, 64);
	occupy(f, 0);
	ask(f, 5000);
	assert_int_equal(verdict(f), 0);
	/* All have nothing to do, and end. */
	settle(f, 0);
	assert_int_equal(recv(f->conn, &j, 10 < sizeof(j) ? 10 : sizeof(j), 0), sizeof(j));
}

static void test_too_much_at_once(void **state)
{
	struct fixture *f = *state;
	struct judging *j = NULL;

	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	for (unsigned i = 0; i < PORTER_THINGS_MAX; i++)
		ask(f, 1000);
	assert_int_equal(porters_judge(f->porters, 1000, f->conn, 10, on_judged, f, &j), -EDQUOT);
	RUN_UNTIL(f->event, f->n_judged >= PORTER_THINGS_MAX);
	assert_int_equal(f->n_judged, PORTER_THINGS_MAX);
	f->n_judged = 0;
	assert_int_equal(judge(f), 0);
	take(f);
}

/* The sender closes its copy, so the one in flight is the last; nobody here waits for the peer. */
static void test_linger(void **state)
{
	struct fixture *f = *state;
	struct lingering l;

	assert_int_equal(lingering_open(&l), 0);
	put_fd(f, l.ours);
	assert_int_equal(judge(f), -EBADMSG);
	porters_close(f->porters, 0, f->conn);
	f->conn = dup(f->peer);
	assert_non_null(f->porters->undertaker);
	settle(f, 0);
	close(l.peer);
}

/* The same unjudged; within a socket that was passed; and in one that nobody accepted. */
static void test_linger_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t n = sizeof(addr);
	struct lingering l[3];
	int client, listening;

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(lingering_open(&l[i]), 0);
	client = pass_socket(f, SOCK_STREAM);
	put_fds(client, "x", 1, &l[0].ours, 1);
	close(l[0].ours);
	close(client);
	kill_porter(f);
	f->passed = passed_free(f->passed);
	put_fd(f, l[1].ours);
	porters_close(f->porters, 0, f->conn);
	f->conn = dup(f->peer);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&addr, sizeof(addr.sun_family)), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&addr, &n), 0);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, n), 0);
	put_fds(client, "x", 1, &l[2].ours, 1);
	close(l[2].ours);
	close(client);
	porters_bury(f->porters, listening);
	settle(f, 0);
	for (size_t i = 0; i < 3; i++)
		close(l[i].peer);
}

/* Ours is never the last, whoever is faster: the porter waits in the close, not we. */
static void test_linger_in_a_hurry(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 200; i++) {
		struct lingering l;
		int client = pass_socket(f, SOCK_STREAM);

		assert_int_equal(lingering_open(&l), 0);
		put_fds(client, "x", 1, &l.ours, 1);
		close(l.ours);
		close(client);
		f->passed = passed_free(f->passed);
		assert_false(patience_is_over());
		/* Then it goes on. */
		close(l.peer);
	}
}

/* A porter that waits in the close of what it passed on costs its account, and nobody else. */
static void test_linger_in_the_porter(void **state)
{
	struct fixture *f = *state;
	struct lingering l;
	int client;

	assert_int_equal(lingering_open(&l), 0);
	client = pass_socket(f, SOCK_STREAM);
	put_fds(client, "x", 1, &l.ours, 1);
	close(l.ours);
	close(client);
	f->passed = passed_free(f->passed);
	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	assert_int_equal(judge(f), -ETIMEDOUT);
	settle(f, 0);
	assert_int_equal(judge(f), 0);
	take(f);
	close(l.peer);
}

/* A connection that ends with something in it. */
static void bury_one(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	put_fds(fds[1], "x", 1, &f->conn, 1);
	assert_int_equal(close(fds[1]), 0);
	porters_close(f->porters, 0, fds[0]);
}

static void test_undertaker(void **state)
{
	struct fixture *f = *state;
	struct porter *first = NULL, *second;
	int fds[2];

	for (unsigned i = 0; i < 64; i++) {
		bury_one(f);
		if (i == 0)
			first = f->porters->undertaker;
		assert_non_null(first);
		assert_ptr_equal(f->porters->undertaker, first);
		assert_true(first->channel >= 0);
	}
	/* It is full: the next one's end is another's, and what is held ends with it. */
	bury_one(f);
	second = f->porters->undertaker;
	assert_non_null(second);
	assert_ptr_not_equal(second, first);
	assert_true(first->channel < 0);
	assert_int_equal(second->n, 1);
	/* What is read to its end is just closed. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	porters_close(f->porters, 0, fds[0]);
	close(fds[1]);
	assert_int_equal(second->n, 1);
	settle(f, 0);
	/* One that was killed is replaced, and one without work ends. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	porters_bury(f->porters, fds[0]);
	kill_porter(f);
	porters_bury(f->porters, fds[1]);
	settle(f, 0);
}

/* Nothing goes with it when a client is late. */
static void test_free_while_judging(void **state)
{
	struct fixture *f = *state;
	struct porters *porters = NULL;
	struct judging *j = NULL;

	assert_int_equal(porters_new(f->event, zygote, &porters), 0);
	assert_int_equal(send(f->peer, "0123456789", 10, 0), 10);
	assert_int_equal(porters_judge(porters, 1, f->conn, 10, on_judged, f, &j), 0);
	judging_cancel(j);
	porters_free(porters);
	take(f);
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
		TEST(test_bare),
		TEST(test_none),
		TEST(test_each_type),
		TEST(test_on_the_next),
		TEST(test_device),
		TEST(test_directory),
		TEST(test_path),
		TEST(test_memfd),
		TEST(test_memfd_alike),
		TEST(test_file_alike),
		TEST(test_eventfd),
		TEST(test_epoll),
		TEST(test_perf),
		TEST(test_seccomp),
		TEST(test_seccomp_path),
		TEST(test_socket_copy),
		TEST(test_inet),
		TEST(test_listening),
		TEST(test_two),
		TEST(test_as_many_as_can_be),
		TEST(test_tainted_works_off),
		TEST(test_receive),
		TEST(test_receive_times_out),
		TEST(test_receive_end),
		TEST(test_receive_without),
		TEST(test_receive_with_fds),
		TEST(test_freed_midway),
		TEST(test_killed_midway),
		TEST(test_wedged),
		TEST(test_accounts),
		TEST(test_too_much_at_once),
		TEST(test_linger),
		TEST(test_linger_elsewhere),
		TEST(test_linger_in_a_hurry),
		TEST(test_linger_in_the_porter),
		TEST(test_undertaker),
		TEST(test_free_while_judging),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
