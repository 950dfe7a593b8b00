/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outlives a daemon, in the keeper and in systemd's store; needs root. Nothing here is judged
 * by a clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/wire.h"
#include "../../daemon/perf/keeper-wire.h"
#include "../../daemon/perf/spawner.h"
#include "../../daemon/perf/worker.h"
#include "confine.h"

#define WAIT_MSEC 60000

/* A process whose getppid() somebody else answers. */
struct trapped {
	pid_t pid;
	int sock, listener;
};

struct fixture {
	char folder[64], path[96];
	struct spawner *spawner;
	struct keeper *keeper;
	int registry, listener[PERF_SLOTS_MAX]; /* as keeper_open() gave them */
};

_Noreturn void perf_worker_run(int core, int channel, bool confine)
{
	_exit(0);
}

static bool is_root(void)
{
	return geteuid() == 0;
}

/* So that a keeper whose spawner has ended becomes a child of ours, and its end is seen. */
static int setup_all(void **state)
{
	if (!is_root())
		print_message("not root: skipped\n");
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->registry = -EBADF;
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		f->listener[i] = -EBADF;
	if (!is_root())
		return 0;
	strcpy(f->folder, "/tmp/test-perf-keeper-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/k/socket", f->folder);
	return spawner_start(CONFINE, &f->spawner);
}

static void fixture_close(struct fixture *f)
{
	f->keeper = keeper_free(f->keeper);
	close_fd(&f->registry);
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		close_fd(&f->listener[i]);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[160];

	fixture_close(f);
	spawner_free(f->spawner);
	/* Every keeper ends when nobody is filtered by what it holds. */
	while (waitpid(-1, NULL, 0) > 0)
		;
	if (f->folder[0]) {
		snprintf(command, sizeof(command), "rm -r %s", f->folder);
		assert_int_equal(system(command), 0);
	}
	free(f);
	return 0;
}

static struct fixture *begin(void **state)
{
	if (!is_root())
		skip();
	return *state;
}

/*
 * Who is trapped.
 */

static _Noreturn void trapped_run(int sock)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!filter || seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(getppid), 0) < 0 ||
		seccomp_load(filter) < 0 || wire_send(sock, "x", 1, seccomp_notify_fd(filter)) < 0)
		_exit(1);
	close(seccomp_notify_fd(filter));
	while (recv(sock, &byte, 1, 0) == 1) {
		int32_t r = (int32_t)syscall(SYS_getppid);

		r = r < 0 ? -errno : r;
		if (send(sock, &r, sizeof(r), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

static struct trapped trapped_new(void)
{
	struct trapped t = {0};
	int fds[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.pid = fork();
	assert_true(t.pid >= 0);
	if (t.pid == 0) {
		close(fds[0]);
		trapped_run(fds[1]);
	}
	close(fds[1]);
	t.sock = fds[0];
	assert_int_equal(wire_recv(t.sock, &byte, 1, &t.listener), 0);
	assert_true(t.listener >= 0);
	return t;
}

static void trapped_end(struct trapped *t)
{
	close_fd(&t->listener);
	kill(t->pid, SIGKILL);
	assert_int_equal(waitpid(t->pid, NULL, 0), t->pid);
	close_fd(&t->sock);
}

static void trapped_call(const struct trapped *t)
{
	assert_int_equal(send(t->sock, "x", 1, MSG_NOSIGNAL), 1);
}

static int32_t trapped_result(const struct trapped *t)
{
	struct pollfd p = {.fd = t->sock, .events = POLLIN};
	int32_t r;

	assert_int_equal(poll(&p, 1, WAIT_MSEC), 1);
	assert_int_equal(recv(t->sock, &r, sizeof(r), 0), sizeof(r));
	return r;
}

static void notif_take(int listener, struct seccomp_notif *ret)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(poll(&p, 1, WAIT_MSEC), 1);
	assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, ret), 0);
}

static void notif_answer(int listener, uint64_t id, int64_t value)
{
	struct seccomp_notif_resp answer = {.id = id, .val = value};

	assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer), 0);
}

/* That listener is the trapped one's. */
static void assert_serves(int listener, const struct trapped *t)
{
	struct seccomp_notif notif;

	assert_true(listener >= 0);
	trapped_call(t);
	notif_take(listener, &notif);
	assert_int_equal(notif.pid, t->pid);
	notif_answer(listener, notif.id, 4711);
	assert_int_equal(trapped_result(t), 4711);
}

/*
 * Daemons that come and go.
 */

static void reopen(struct fixture *f)
{
	fixture_close(f);
	assert_int_equal(
		keeper_open(f->spawner, f->path, &f->keeper, &f->registry, f->listener), 0);
}

static int memfd_new(const char *text)
{
	int fd = memfd_create("registry", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void assert_registry(int fd, const char *text)
{
	char got[64] = "";

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), strlen(text));
	assert_string_equal(got, text);
}

/* A daemon that stores, and is killed when we please: one of its own, with its own spawner. */
static pid_t daemon_new(
	const struct fixture *f, unsigned slot, const struct trapped *t, const char *registry)
{
	int pipes[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct fixture own = *f;
		bool well;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		well = spawner_start(CONFINE, &own.spawner) == 0 &&
		       keeper_open(own.spawner, own.path, &own.keeper, &own.registry,
			       own.listener) == 0 &&
		       keeper_store_registry(own.keeper, memfd_new(registry)) == 0 &&
		       keeper_store(own.keeper, slot, t->listener) == 0;
		if (!well || write(pipes[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	close(pipes[0]);
	return pid;
}

static void daemon_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The process of that name that has become a child of ours; waits for it. */
static pid_t keeper_pid(void)
{
	char path[64], text[4096], *at, *end;

	for (;;) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
		file = fopen(path, "re");
		assert_non_null(file);
		at = fgets(text, sizeof(text), file) ? text : NULL;
		fclose(file);
		for (long pid; at && (pid = strtol(at, &end, 10)) > 0; at = end) {
			char comm[32] = "";
			FILE *name;

			snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
			name = fopen(path, "re");
			if (name && fgets(comm, sizeof(comm), name) &&
				strcmp(comm, "cgmd-keeper\n") == 0) {
				fclose(name);
				return (pid_t)pid;
			}
			if (name)
				fclose(name);
		}
		usleep(1000);
	}
}

static void keeper_await_end(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_kept(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new();
	pid_t pid = daemon_new(f, 7, &t, "of the first"), keeper;

	/* All that it had, its spawner too, is gone; nobody but the keeper has the listener. */
	daemon_kill(pid);
	close_fd(&t.listener);
	keeper = keeper_pid();
	reopen(f);
	assert_registry(f->registry, "of the first");
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		assert_int_equal(f->listener[i] >= 0, i == 7);
	assert_serves(f->listener[7], &t);
	/* And again, though the second has closed its own. */
	reopen(f);
	assert_registry(f->registry, "of the first");
	assert_serves(f->listener[7], &t);
	fixture_close(f);
	trapped_end(&t);
	keeper_await_end(keeper);
}

/* What was taken and not answered is still to be answered, by whoever has the listener then. */
static void test_notification_survives(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new();
	struct seccomp_notif notif;
	pid_t pid = daemon_new(f, 0, &t, "r"), keeper;

	trapped_call(&t);
	notif_take(t.listener, &notif);
	daemon_kill(pid);
	close_fd(&t.listener);
	keeper = keeper_pid();
	reopen(f);
	assert_int_equal(ioctl(f->listener[0], SECCOMP_IOCTL_NOTIF_ID_VALID, &notif.id), 0);
	notif_answer(f->listener[0], notif.id, 12);
	assert_int_equal(trapped_result(&t), 12);
	fixture_close(f);
	trapped_end(&t);
	keeper_await_end(keeper);
}

/* Nobody comes: calls are as they were without a listener. What was taken before is not the
 * keeper's. */
static void test_alone(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new(), taken = trapped_new();
	struct seccomp_notif notif;
	struct pollfd p = {.fd = taken.sock, .events = POLLIN};

	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), 0);
	assert_int_equal(keeper_store(f->keeper, 1, taken.listener), 0);
	trapped_call(&taken);
	notif_take(taken.listener, &notif);
	fixture_close(f);
	trapped_call(&t);
	assert_int_equal(trapped_result(&t), -ENOSYS);
	trapped_call(&t);
	assert_int_equal(trapped_result(&t), -ENOSYS);
	assert_int_equal(poll(&p, 1, 0), 0);
	/* With a daemon it is as before. */
	reopen(f);
	notif_answer(f->listener[1], notif.id, 3);
	assert_int_equal(trapped_result(&taken), 3);
	assert_serves(f->listener[0], &t);
	fixture_close(f);
	trapped_end(&t);
	trapped_end(&taken);
}

/* Whoever is filtered has kept the listener, and takes what the keeper sees: nobody else waits for
 * him. */
static _Noreturn void rival_run(int listener)
{
	struct seccomp_notif notif;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		memset(&notif, 0, sizeof(notif));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif) == 0)
			notif_answer(listener, notif.id, 1);
	}
}

static void test_rival(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new(), bystander = trapped_new();
	pid_t rivals[2];

	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), 0);
	assert_int_equal(keeper_store(f->keeper, 1, bystander.listener), 0);
	fixture_close(f);
	trapped_call(&t);
	assert_int_equal(trapped_result(&t), -ENOSYS);
	for (unsigned i = 0; i < 2; i++) {
		rivals[i] = fork();
		if (rivals[i] == 0)
			rival_run(t.listener);
	}
	for (unsigned i = 0; i < 20000; i++) {
		trapped_call(&t);
		(void)trapped_result(&t);
	}
	trapped_call(&bystander);
	assert_int_equal(trapped_result(&bystander), -ENOSYS);
	reopen(f);
	fixture_close(f);
	for (unsigned i = 0; i < 2; i++) {
		kill(rivals[i], SIGKILL);
		assert_int_equal(waitpid(rivals[i], NULL, 0), rivals[i]);
	}
	trapped_end(&t);
	trapped_end(&bystander);
}

static void test_drop_and_replace(void **state)
{
	struct fixture *f = begin(state);
	struct trapped a = trapped_new(), b = trapped_new();
	int registry = memfd_new("second");

	reopen(f);
	assert_int_equal(f->registry, -EBADF);
	assert_int_equal(keeper_store(f->keeper, 1, a.listener), 0);
	assert_int_equal(keeper_store(f->keeper, 255, a.listener), 0);
	assert_int_equal(keeper_store(f->keeper, 255, b.listener), 0);
	assert_int_equal(keeper_store(f->keeper, 256, b.listener), -EINVAL);
	assert_int_equal(keeper_store(f->keeper, 2, a.listener), 0);
	assert_int_equal(keeper_drop(f->keeper, 2), 0);
	assert_int_equal(keeper_drop(f->keeper, 3), 0);
	assert_int_equal(keeper_drop(f->keeper, 256), -EINVAL);
	assert_int_equal(keeper_store_registry(f->keeper, registry), 0);
	close(registry);
	reopen(f);
	assert_registry(f->registry, "second");
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		assert_int_equal(f->listener[i] >= 0, i == 1 || i == 255);
	assert_serves(f->listener[1], &a);
	assert_serves(f->listener[255], &b);
	fixture_close(f);
	trapped_end(&a);
	trapped_end(&b);
}

/* One whose filter has no user any more makes room, and the keeper ends, the daemon's end of the
 * socket notwithstanding. */
static void test_hang_up(void **state)
{
	struct fixture *f = begin(state);
	struct trapped a = trapped_new(), b = trapped_new();

	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, a.listener), 0);
	assert_int_equal(keeper_store(f->keeper, 1, b.listener), 0);
	trapped_end(&a);
	/* It hears of that before the next connection, or with it. */
	do
		reopen(f);
	while (f->listener[0] >= 0);
	assert_serves(f->listener[1], &b);
	trapped_end(&b);
}

static void test_one_daemon(void **state)
{
	struct fixture *f = begin(state), second = {.registry = -EBADF};
	struct trapped t = trapped_new();

	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), 0);
	assert_int_equal(
		keeper_open(f->spawner, f->path, &second.keeper, &second.registry, second.listener),
		-EBUSY);
	/* Nor one that began when there was none. */
	reopen(f);
	assert_serves(f->listener[0], &t);
	trapped_end(&t);
}

static void test_late(void **state)
{
	struct fixture *f = begin(state), second = {.registry = -EBADF};
	struct trapped t = trapped_new();

	assert_int_equal(
		keeper_open(f->spawner, f->path, &second.keeper, &second.registry, second.listener),
		0);
	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), 0);
	assert_int_equal(keeper_store(second.keeper, 0, t.listener), -EBUSY);
	reopen(f);
	assert_int_equal(keeper_store(second.keeper, 0, t.listener), -EBUSY);
	keeper_free(second.keeper);
	assert_serves(f->listener[0], &t);
	trapped_end(&t);
}

/* Who ends it has a new one with the next listener. */
static void test_killed(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new();
	pid_t pid = daemon_new(f, 0, &t, "r"), keeper;
	int registry = memfd_new("again");

	daemon_kill(pid);
	keeper = keeper_pid();
	reopen(f);
	assert_int_equal(keeper_store_registry(f->keeper, registry), 0);
	close(registry);
	kill(keeper, SIGKILL);
	assert_int_equal(waitpid(keeper, NULL, 0), keeper);
	assert_int_equal(keeper_store(f->keeper, 3, t.listener), 0);
	reopen(f);
	assert_registry(f->registry, "again");
	assert_true(f->listener[0] < 0);
	assert_serves(f->listener[3], &t);
	trapped_end(&t);
}

/*
 * Who else might come.
 */

static int raw_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(50);
	return sock;
}

static bool is_closed(int sock)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	char byte;

	return poll(&p, 1, WAIT_MSEC) == 1 && recv(sock, &byte, 1, 0) <= 0;
}

static int as_user(const char *path)
{
	if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
		return 51;
	return is_closed(raw_connect(path)) ? 0 : 52;
}

/* Uid 0 of the host, but in a user namespace. */
static int as_container(const char *path)
{
	static const char map[] = "0 0 1\n";
	int fd;

	if (unshare(CLONE_NEWUSER) < 0)
		return 51;
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, sizeof(map) - 1) != sizeof(map) - 1)
		return 53;
	return is_closed(raw_connect(path)) ? 0 : 52;
}

static int hello_get(int sock, uint64_t *ret)
{
	struct keeper_reply hello;
	int none, r = wire_recv(sock, &hello, sizeof(hello), &none);

	if (r == 0)
		*ret = hello.number;
	return r;
}

static int send_take(int sock, uint64_t number, size_t size)
{
	const struct keeper_request q = {.number = number, .op = KEEPER_TAKE};

	return wire_send(sock, &q, size, -EBADF);
}

/* As root, with another number than was told. */
static int with_wrong_number(const char *path)
{
	int sock = raw_connect(path);
	uint64_t number = 0;

	if (hello_get(sock, &number) < 0 ||
		send_take(sock, number + 1, sizeof(struct keeper_request)) < 0)
		return 54;
	return is_closed(sock) ? 0 : 52;
}

static int with_half(const char *path)
{
	int sock = raw_connect(path);
	uint64_t number = 0;

	if (hello_get(sock, &number) < 0 || send_take(sock, number, 8) < 0)
		return 54;
	return is_closed(sock) ? 0 : 52;
}

/* The number comes back, but from another process. */
static int by_another(const char *path)
{
	int sock = raw_connect(path), status;
	uint64_t number = 0;
	pid_t pid;

	if (hello_get(sock, &number) < 0)
		return 54;
	pid = fork();
	if (pid == 0)
		_exit(send_take(sock, number, sizeof(struct keeper_request)) < 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return 55;
	return is_closed(sock) ? 0 : 52;
}

/* What they are not. */
static int as_daemon(const char *path)
{
	int sock = raw_connect(path);
	uint64_t number = 0;

	if (hello_get(sock, &number) < 0 ||
		send_take(sock, number, sizeof(struct keeper_request)) < 0)
		return 54;
	return is_closed(sock) ? 52 : 0;
}

static int status_of(int (*fn)(const char *path), const char *path)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_strangers(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new();
	char folder[80];
	struct stat st;

	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), 0);
	fixture_close(f);
	/* Nobody else comes that far, were it not for this. */
	snprintf(folder, sizeof(folder), "%s/k", f->folder);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(chmod(f->folder, 0777), 0);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_int_equal(chmod(f->path, 0777), 0);
	assert_int_equal(status_of(as_user, f->path), 0);
	assert_int_equal(status_of(as_container, f->path), 0);
	assert_int_equal(status_of(with_wrong_number, f->path), 0);
	assert_int_equal(status_of(with_half, f->path), 0);
	assert_int_equal(status_of(by_another, f->path), 0);
	assert_int_equal(status_of(as_daemon, f->path), 0);
	reopen(f);
	assert_serves(f->listener[0], &t);
	trapped_end(&t);
}

static void test_folder(void **state)
{
	struct fixture *f = begin(state);
	struct trapped t = trapped_new();
	char folder[80];

	snprintf(folder, sizeof(folder), "%s/k", f->folder);
	assert_int_equal(mkdir(folder, 0755), 0);
	reopen(f);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), -EPERM);
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(keeper_store(f->keeper, 0, t.listener), 0);
	trapped_end(&t);
}

/*
 * systemd's store.
 */

/* What systemd gets: the text, and the fd or -EBADF. */
static int notified(int sock, char text[128])
{
	union {
		char space[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = text, .iov_len = 127};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd = -EBADF;

	assert_true(n > 0);
	text[n] = '\0';
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void assert_notified(int sock, const char *expected, int same)
{
	char text[128];
	int fd = notified(sock, text);

	assert_string_equal(text, expected);
	if (same < 0) {
		assert_true(fd < 0);
		return;
	}
	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, same), 0);
	close(fd);
}

static void test_systemd_stores(void **state)
{
	struct fixture *f = begin(state);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = memfd_new("x");
	struct stat st;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", f->folder);
	assert_int_equal(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	setenv("FDSTORE", "512", 1);
	reopen(f);
	assert_int_equal(f->registry, -EBADF);
	assert_int_equal(keeper_store_registry(f->keeper, fd), 0);
	assert_notified(sock, "FDSTOREREMOVE=1\nFDNAME=registry", -1);
	assert_notified(sock, "FDSTORE=1\nFDNAME=registry", fd);
	assert_int_equal(keeper_store(f->keeper, 12, fd), 0);
	assert_notified(sock, "FDSTOREREMOVE=1\nFDNAME=slot-12", -1);
	assert_notified(sock, "FDSTORE=1\nFDNAME=slot-12", fd);
	assert_int_equal(keeper_drop(f->keeper, 12), 0);
	assert_notified(sock, "FDSTOREREMOVE=1\nFDNAME=slot-12", -1);
	keeper_disown("slot-255");
	assert_notified(sock, "FDSTOREREMOVE=1\nFDNAME=slot-255", -1);
	keeper_disown("cgmd.socket");
	assert_int_equal(recv(sock, address.sun_path, 1, MSG_DONTWAIT), -1);
	/* There is no process then. */
	assert_int_equal(stat(f->path, &st), -1);
	unsetenv("FDSTORE");
	unsetenv("NOTIFY_SOCKET");
	close(sock);
	close(fd);
}

static void test_names(void **state)
{
	static const char *const others[] = {"cgmd.socket", "unknown", "", "slot", "slot-",
		"slot-256", "slot-01", "slot--1", "slot-1x", "registry2"};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(keeper_inherited(others[i]));
	assert_true(keeper_inherited("registry"));
	assert_true(keeper_inherited("slot-0"));
	assert_true(keeper_inherited("slot-255"));
}

/* As systemd starts a daemon: the fds from 3 on, with names. */
static int started_by_systemd(const char *path)
{
	int fds[] = {memfd_new("socket"), memfd_new("slot 9"), memfd_new("registry"),
		memfd_new("slot 200")};
	struct keeper *keeper;
	int registry, listener[PERF_SLOTS_MAX];
	char pid[16];

	for (int i = 0; i < 4; i++)
		if (dup2(fds[i], 100 + i) < 0)
			return 60;
	for (int i = 0; i < 4; i++)
		if (dup2(100 + i, 3 + i) < 0)
			return 61;
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "4", 1);
	setenv("LISTEN_FDNAMES", "cgmd.socket:slot-9:registry:slot-200", 1);
	setenv("NOTIFY_SOCKET", "/dev/null/nothing", 1);
	setenv("FDSTORE", "512", 1);
	if (keeper_open(NULL, path, &keeper, &registry, listener) < 0)
		return 62;
	for (int i = 0; i < PERF_SLOTS_MAX; i++)
		if (listener[i] != (i == 9 ? 4 : i == 200 ? 6 : -EBADF))
			return 63;
	return registry == 5 ? 0 : 64;
}

static void test_systemd_gives(void **state)
{
	struct fixture *f = begin(state);

	assert_int_equal(status_of(started_by_systemd, f->path), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kept),
		TEST(test_notification_survives),
		TEST(test_alone),
		TEST(test_rival),
		TEST(test_drop_and_replace),
		TEST(test_hang_up),
		TEST(test_one_daemon),
		TEST(test_late),
		TEST(test_killed),
		TEST(test_strangers),
		TEST(test_folder),
		TEST(test_systemd_stores),
		TEST(test_names),
		TEST(test_systemd_gives),
	};

	return cmocka_run_group_tests(tests, setup_all, NULL);
}
