/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>
#include <cmocka.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/perf/lxc-peer.h"

#define OWNER 1000

/* Processes, each the parent of the next: of an account of the host's, its container's init, one in
 * a container within. */
struct people {
	pid_t account, init, nested;
};

static int proc;

static void die_unless(int r)
{
	if (r < 0)
		_exit(1);
}

/* Tells its own number as the host has it. */
static void tell(int sock)
{
	char text[16];
	ssize_t n = readlinkat(proc, "self", text, sizeof(text) - 1);

	die_unless((int)n);
	text[n] = '\0';
	die_unless((int)write(sock, text, sizeof(text)));
}

static pid_t told(int sock)
{
	char text[16];

	assert_int_equal(read(sock, text, sizeof(text)), sizeof(text));
	return (pid_t)strtol(text, NULL, 10);
}

static void file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	die_unless(fd);
	die_unless((int)write(fd, text, strlen(text)));
	close(fd);
}

/* Who is not mapped makes no further ones. */
static void map_write(uid_t uid)
{
	char map[32];

	snprintf(map, sizeof(map), "0 %u 1\n", uid);
	file_write("/proc/self/uid_map", map);
	file_write("/proc/self/setgroups", "deny");
	file_write("/proc/self/gid_map", map);
}

static _Noreturn void person(int sock, uid_t uid)
{
	for (unsigned level = 0; level < 2; level++) {
		die_unless(unshare(CLONE_NEWUSER | CLONE_NEWPID));
		map_write(level == 0 ? uid : 0);
		if (fork() != 0)
			break;
		tell(sock);
	}
	for (;;)
		pause();
}

static struct people container(uid_t uid)
{
	struct people p = {0};
	int sock[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock), 0);
	p.account = fork();
	if (p.account == 0) {
		die_unless((int)syscall(SYS_setresgid, uid, uid, uid));
		die_unless((int)syscall(SYS_setresuid, uid, uid, uid));
		/* Its files in /proc are its own again. */
		die_unless(prctl(PR_SET_DUMPABLE, 1));
		person(sock[1], uid);
	}
	close(sock[1]);
	p.init = told(sock[0]);
	p.nested = told(sock[0]);
	close(sock[0]);
	return p;
}

/* With the init its pid namespace ends. */
static void people_end(const struct people *p)
{
	kill(p->init, SIGKILL);
	kill(p->account, SIGKILL);
	assert_int_equal(waitpid(p->account, NULL, 0), p->account);
}

static int check(const struct lxc_peer *peer, pid_t tid, pid_t init)
{
	struct lxc_call call = {.init_pid = init, .notif.pid = (uint32_t)tid};
	_cleanup_close_ int held = lxc_thread_hold(proc, tid);

	assert_true(held >= 0);
	return lxc_peer_check(peer, proc, held, &call);
}

static void test_who_owns_what(void **state)
{
	const struct lxc_peer root = {.root = true, .known = true},
			      afar = {.root = true, .uid = OWNER},
			      owner = {.known = true, .uid = OWNER},
			      other = {.known = true, .uid = OWNER + 1},
			      zero = {.known = true, .uid = 0};
	struct people a = container(OWNER), b = container(OWNER);
	const struct {
		const struct lxc_peer *peer;
		pid_t tid, init;
		int expected;
	} rows[] = {
		{&root, a.init, a.init, 0},
		{&root, getpid(), a.init, 0},
		{&owner, a.init, a.init, 0},
		{&owner, a.nested, a.init, 0},
		{&owner, a.nested, a.nested, 0},
		/* another container, though it owns that too */
		{&owner, b.init, a.init, -EPERM},
		{&owner, a.init, a.nested, -EPERM},
		{&owner, b.nested, a.init, -EPERM},
		/* the host */
		{&owner, getpid(), a.init, -EPERM},
		{&owner, getpid(), getpid(), -EPERM},
		{&owner, a.init, getpid(), -EPERM},
		/* somebody else's */
		{&other, a.init, a.init, -EPERM},
		{&other, a.nested, a.init, -EPERM},
		/* the initial namespace is uid 0's */
		{&zero, getpid(), getpid(), -EPERM},
		{&zero, a.init, getpid(), -EPERM},
		{&zero, a.init, a.init, -EPERM},
		/* whose numbers are those of another namespace */
		{&afar, a.init, a.init, -EPERM},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = check(rows[i].peer, rows[i].tid, rows[i].init);

		if (r != rows[i].expected)
			fail_msg("row %zu: %s", i, strerror(-r));
	}
	people_end(&a);
	people_end(&b);
}

static void test_who_has_gone(void **state)
{
	const struct lxc_peer owner = {.known = true, .uid = OWNER};
	struct people p = container(OWNER);
	struct lxc_call call = {.init_pid = p.init};
	_cleanup_close_ int held = lxc_thread_hold(proc, p.nested);

	(void)state;
	assert_true(held >= 0);
	assert_true(lxc_thread_there(held));
	people_end(&p);
	while (lxc_thread_there(held))
		usleep(1000);
	assert_true(lxc_peer_check(&owner, proc, held, &call) < 0);
	assert_int_equal(lxc_thread_hold(proc, p.nested), -ESRCH);
}

/* What a child that prepares itself so is taken for. */
static struct lxc_peer peer_who(void (*prepare)(void), bool lives)
{
	struct sockaddr address = {.sa_family = AF_UNIX};
	struct lxc_peer peer;
	struct ucred cred;
	socklen_t size = sizeof(address);
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), sock;
	char c = 0;
	pid_t pid;

	/* By a name that the kernel finds. */
	assert_int_equal(bind(listener, &address, sizeof(address.sa_family)), 0);
	assert_int_equal(listen(listener, 1), 0);
	struct sockaddr_storage at = {0};
	size = sizeof(at);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
	pid = fork();
	if (pid == 0) {
		sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		prepare();
		die_unless(connect(sock, (struct sockaddr *)&at, size));
		die_unless((int)send(sock, &c, 1, 0));
		(void)!recv(sock, &c, 1, 0);
		_exit(0);
	}
	sock = accept(listener, NULL, NULL);
	assert_true(sock >= 0);
	assert_int_equal(recv(sock, &c, 1, 0), 1);
	size = sizeof(cred);
	assert_int_equal(getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size), 0);
	if (!lives) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	peer = lxc_peer_of(sock, proc, cred.pid, cred.uid);
	close(sock);
	close(listener);
	if (lives)
		waitpid(pid, NULL, 0);
	return peer;
}

static void prepare_nothing(void)
{
}

static void prepare_account(void)
{
	die_unless((int)syscall(SYS_setresuid, OWNER, OWNER, OWNER));
}

/* As the root of a container without a user namespace. */
static void prepare_few_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = 1 << CAP_CHOWN, .permitted = 1 << CAP_CHOWN}};

	die_unless((int)syscall(SYS_capset, &head, data));
}

static void prepare_userns(void)
{
	die_unless(unshare(CLONE_NEWUSER));
}

static void prepare_pidns(void)
{
	die_unless(unshare(CLONE_NEWPID));
	if (fork() != 0) {
		wait(NULL);
		_exit(0);
	}
}

static void test_who_connected(void **state)
{
	static const struct {
		void (*prepare)(void);
		bool lives, root, known;
	} rows[] = {
		{prepare_nothing, true, true, true},
		{prepare_account, true, false, true},
		{prepare_few_caps, true, false, true},
		{prepare_userns, true, false, true},
		{prepare_pidns, true, true, false},
		{prepare_nothing, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lxc_peer peer = peer_who(rows[i].prepare, rows[i].lives);

		if (peer.root != rows[i].root || peer.known != rows[i].known)
			fail_msg("row %zu: root %d, known %d", i, peer.root, peer.known);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_owns_what),
		cmocka_unit_test(test_who_has_gone),
		cmocka_unit_test(test_who_connected),
	};

	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
