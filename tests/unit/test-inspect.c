/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inspector and the identity of peers, on real namespaces and cgroups; needs root. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/identity.h"
#include "../../daemon/inspect.h"

static struct hierarchies all;
static struct inspector *inspector;
static char name[32]; /* of the cgroups that are made here */

static int setup(void **state)
{
	char what[64];

	snprintf(name, sizeof(name), "cgmd-test-inspect-%d", (int)getpid());
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	if (hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) < 0) {
		print_message("no cgroup hierarchy: skipped\n");
		return 0;
	}
	return inspector_start(&all, &inspector);
}

static int teardown(void **state)
{
	inspector = inspector_free(inspector);
	hierarchies_done(&all);
	return 0;
}

static void need_root(void)
{
	if (!inspector)
		skip();
}

/* A child that says when it is ready, and ends with us. */
struct child {
	pid_t pid;
	int pipe[2];
};

/* Returns true in the child. */
static bool child_fork(struct child *c)
{
	assert_int_equal(pipe(c->pipe), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return c->pid == 0;
}

static void child_ready(struct child *c)
{
	if (write(c->pipe[1], "x", 1) != 1)
		_exit(1);
}

/* What the child (or its child) wrote. */
static void child_wait(struct child *c, void *buf, size_t size)
{
	/* so that a child that failed shows as the end of the file */
	if (c->pipe[1] >= 0)
		close(c->pipe[1]);
	c->pipe[1] = -EBADF;
	assert_int_equal(read(c->pipe[0], buf, size), size);
}

static void child_end(struct child *c)
{
	kill(c->pid, SIGKILL);
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
	close(c->pipe[0]);
}

static void file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(2);
	close(fd);
}

static uint64_t inode(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static int userns_below(struct inspector *i, pid_t victim, pid_t requestor)
{
	struct requestor_ns ns;
	int r = inspect_requestor(i, requestor, NULL, victim, &ns);

	return r < 0 ? r : ns.victim_below;
}

static void test_own(void **state)
{
	struct requestor_ns ns = {0};

	need_root();
	for (unsigned i = 0; i < all.n; i++) {
		assert_int_equal(inspect_requestor(inspector, getpid(), &all.list[i], 0, &ns), 0);
		assert_true(ns.own_userns && ns.own_pidns && ns.own_cgroupns);
		assert_true(ns.root_id == 0);
	}
	assert_int_equal(userns_below(inspector, getpid(), getpid()), 1);
}

/* Three user namespaces, one in the other, all with the same identity map: only comparing the
 * namespaces themselves tells them apart. Each process writes its pid. */
static void nest(struct child *c, unsigned levels)
{
	pid_t self;

	while (levels-- > 0) {
		if (unshare(CLONE_NEWUSER) < 0)
			_exit(3);
		/* which took back what child_fork() arranged */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		file_write("/proc/self/uid_map", "0 0 1\n");
		file_write("/proc/self/setgroups", "deny");
		file_write("/proc/self/gid_map", "0 0 1\n");
		self = getpid();
		if (write(c->pipe[1], &self, sizeof(self)) != sizeof(self))
			_exit(4);
		if (levels == 0 || fork() != 0)
			break;
	}
	for (;;)
		pause();
}

static void test_nested_userns_18_75(void **state)
{
	struct child c, sibling;
	pid_t p[3], other;

	need_root();
	if (child_fork(&c))
		nest(&c, 3);
	for (int i = 0; i < 3; i++)
		child_wait(&c, &p[i], sizeof(pid_t));
	if (child_fork(&sibling))
		nest(&sibling, 1);
	child_wait(&sibling, &other, sizeof(pid_t));
	for (int v = 0; v < 3; v++) {
		struct requestor_ns ns;

		for (int r = 0; r < 3; r++)
			assert_int_equal(userns_below(inspector, p[v], p[r]), v >= r ? 1 : 0);
		assert_int_equal(userns_below(inspector, p[v], getpid()), 1);
		assert_int_equal(userns_below(inspector, getpid(), p[v]), 0);
		assert_int_equal(userns_below(inspector, p[v], other), 0);
		assert_int_equal(userns_below(inspector, other, p[v]), 0);
		assert_int_equal(inspect_requestor(inspector, p[v], NULL, 0, &ns), 0);
		assert_false(ns.own_userns);
		assert_true(ns.own_pidns && ns.own_cgroupns);
	}
	child_end(&sibling);
	child_end(&c);
}

/* A container is one account, however deep its namespaces go: the owner of the outermost, or, made
 * by host root, that namespace itself. */
static void test_account(void **state)
{
	struct child c, other;
	uint64_t first = 0, account = 0;
	pid_t p[3], q;

	need_root();
	assert_int_equal(inspect_account(inspector, getpid(), 1234, &account), 0);
	assert_true(account == 1234);
	if (child_fork(&c))
		nest(&c, 3);
	for (int i = 0; i < 3; i++) {
		child_wait(&c, &p[i], sizeof(pid_t));
		assert_int_equal(inspect_account(inspector, p[i], 77, &account), 0);
		assert_true(account & ACCOUNT_CONTAINER);
		assert_true(i == 0 || account == first);
		first = account;
	}
	if (child_fork(&other)) {
		/* Owned by a plain user: its account. */
		if (setresgid(4321, 4321, 4321) < 0 || setresuid(4321, 4321, 4321) < 0 ||
			unshare(CLONE_NEWUSER) < 0)
			_exit(3);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		q = getpid();
		if (write(other.pipe[1], &q, sizeof(q)) != sizeof(q))
			_exit(4);
		for (;;)
			pause();
	}
	child_wait(&other, &q, sizeof(q));
	assert_int_equal(inspect_account(inspector, q, 77, &account), 0);
	assert_true(account == 4321);
	child_end(&other);
	child_end(&c);
	assert_int_equal(inspect_account(inspector, q, 77, &account), -ESRCH);
	assert_true(account == 4321);
}

static void test_pidns(void **state)
{
	struct child c;
	char path[64];
	struct stat st;
	pid_t pid;
	int fd;

	need_root();
	if (child_fork(&c)) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(1);
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (write(c.pipe[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	child_wait(&c, &pid, sizeof(pid));
	fd = inspect_pidns(inspector, pid);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	assert_true(st.st_ino == inode(path));
	close(fd);
	kill(pid, SIGKILL);
	child_end(&c);
}

static void test_gone(void **state)
{
	struct requestor_ns ns = {.root_id = 5};
	pid_t pid;
	siginfo_t info;

	need_root();
	pid = fork();
	if (pid == 0)
		_exit(0);
	/* a zombie first, then nothing */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(inspect_requestor(inspector, pid, &all.list[0], 0, &ns), -ESRCH);
		assert_true(ns.root_id == 5);
		if (turn == 0)
			assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	assert_int_equal(inspect_pidns(inspector, pid), -ESRCH);
	assert_int_equal(userns_below(inspector, pid, getpid()), 0);
	assert_int_equal(userns_below(inspector, getpid(), pid), -ESRCH);
}

/* Makes name and name/c in one hierarchy; false where that cannot be (a new cpuset takes no tasks).
 */
static bool cgroups_make(const struct hierarchy *h, uint64_t *ret_id)
{
	char below[80];
	struct stat st;

	if (!h->v2 && strstr(h->name, "cpuset"))
		return false;
	snprintf(below, sizeof(below), "%s/%s", name, name);
	if (mkdirat(h->root_fd, name, 0755) < 0)
		return false;
	assert_int_equal(mkdirat(h->root_fd, below, 0755), 0);
	assert_int_equal(fstatat(h->root_fd, name, &st, 0), 0);
	*ret_id = st.st_ino;
	return true;
}

static void cgroups_remove(const struct hierarchy *h)
{
	char below[80];

	snprintf(below, sizeof(below), "%s/%s", name, name);
	/* a process that was just reaped can count for a moment */
	for (int i = 0; i < 100; i++) {
		unlinkat(h->root_fd, below, AT_REMOVEDIR);
		if (unlinkat(h->root_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return;
		usleep(10000);
	}
	fail_msg("left behind: %s in %s", name, h->name);
}

static bool enter(const struct hierarchy *h, const char *cgroup)
{
	char path[160];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = openat(h->root_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	done = write(fd, "0", 1) == 1;
	close(fd);
	return done;
}

/* Fact 6: a task in /c/c and /c by turns, whose namespace's root is /c. */
static void hop(struct child *c, const struct hierarchy *h)
{
	char below[80];

	snprintf(below, sizeof(below), "%s/%s", name, name);
	if (!enter(h, name) || unshare(CLONE_NEWCGROUP) < 0)
		_exit(1);
	child_ready(c);
	for (;;) {
		enter(h, below);
		enter(h, name);
	}
}

static void hop_check(const struct hierarchy *h, uint64_t id)
{
	struct child c;
	char ready;

	if (child_fork(&c))
		hop(&c, h);
	child_wait(&c, &ready, 1);
	/* a new inspector each time has nothing cached */
	for (int i = 0; i < 10; i++) {
		struct inspector *fresh;
		struct requestor_ns ns;

		assert_int_equal(inspector_start(&all, &fresh), 0);
		for (int j = 0; j < 10; j++) {
			assert_int_equal(inspect_requestor(fresh, c.pid, h, 0, &ns), 0);
			assert_true(ns.own_userns && ns.own_pidns && !ns.own_cgroupns);
			assert_true(ns.root_id == id);
		}
		assert_null(inspector_free(fresh));
	}
	child_end(&c);
}

static void test_cgroupns_root_hopping_34(void **state)
{
	unsigned done = 0;

	need_root();
	for (unsigned i = 0; i < all.n; i++) {
		uint64_t id;

		if (!cgroups_make(&all.list[i], &id))
			continue;
		hop_check(&all.list[i], id);
		cgroups_remove(&all.list[i]);
		done++;
	}
	if (done == 0) {
		print_message("no hierarchy lets itself be written: skipped\n");
		skip();
	}
}

/* More namespaces than are remembered, each asked twice. */
static void test_cgroupns_many(void **state)
{
	enum { COUNT = 70 };
	static struct child c[COUNT];
	const struct hierarchy *h = &all.list[all.n ? all.n - 1 : 0];
	struct requestor_ns ns;
	char ready;
	uint64_t id;

	need_root();
	if (!cgroups_make(h, &id)) {
		print_message("the last hierarchy does not let itself be written: skipped\n");
		skip();
	}
	for (int i = 0; i < COUNT; i++) {
		if (child_fork(&c[i])) {
			if (!enter(h, name) || unshare(CLONE_NEWCGROUP) < 0)
				_exit(1);
			child_ready(&c[i]);
			for (;;)
				pause();
		}
		child_wait(&c[i], &ready, 1);
	}
	for (int i = 0; i < 2 * COUNT; i++) {
		assert_int_equal(inspect_requestor(inspector, c[i % COUNT].pid, h, 0, &ns), 0);
		assert_true(ns.root_id == id);
	}
	for (int i = 0; i < COUNT; i++)
		child_end(&c[i]);
	cgroups_remove(h);
}

static void test_inspector_gone(void **state)
{
	struct inspector *fresh;
	struct requestor_ns ns;

	need_root();
	assert_int_equal(inspector_start(&all, &fresh), 0);
	/* it does not end by what ends the daemon */
	kill(inspector_pid(fresh), SIGTERM);
	assert_int_equal(inspect_requestor(fresh, getpid(), NULL, 0, &ns), 0);
	kill(inspector_pid(fresh), SIGTERM);
	kill(inspector_pid(fresh), SIGINT);
	assert_int_equal(inspect_requestor(fresh, getpid(), NULL, 0, &ns), 0);
	kill(inspector_pid(fresh), SIGKILL);
	assert_int_equal(waitpid(inspector_pid(fresh), NULL, 0), inspector_pid(fresh));
	assert_int_equal(inspect_requestor(fresh, getpid(), NULL, 0, &ns), -EPIPE);
	assert_int_equal(inspect_pidns(fresh, getpid()), -EPIPE);
	assert_null(inspector_free(fresh));
	assert_null(inspector_free(NULL));
}

/* A listening socket of no path, and a child that connects to it and then does what it is told. */
static int peer_listen(struct sockaddr_un *ret, socklen_t *ret_size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	*ret_size = sizeof(*ret);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, ret_size), 0);
	return fd;
}

static void peer_run(const struct sockaddr_un *address, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char order;

	if (setresgid(2000, 2000, 0) < 0 || setresuid(1000, 1000, 0) < 0 ||
		connect(fd, (const struct sockaddr *)address, size) < 0)
		_exit(1);
	while (read(fd, &order, 1) == 1) {
		if (setresuid((uid_t)-1, 0, (uid_t)-1) < 0)
			_exit(1);
		if (order == 'g' && setresgid((gid_t)-1, 0, (gid_t)-1) < 0)
			_exit(1);
		if (order == 'b' && setresgid((gid_t)-1, 2000, (gid_t)-1) < 0)
			_exit(1);
		if (order != 'u' && setresuid((uid_t)-1, 1000, (uid_t)-1) < 0)
			_exit(1);
		if (write(fd, "x", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void order(int fd, char what)
{
	char done;

	assert_int_equal(write(fd, &what, 1), 1);
	assert_int_equal(read(fd, &done, 1), 1);
}

static void test_identity_20(void **state)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), listening, fd;
	struct identity id = IDENTITY_NONE, late = IDENTITY_NONE;
	struct sockaddr_un address;
	socklen_t size;
	struct child c;

	need_root();
	listening = peer_listen(&address, &size);
	if (child_fork(&c))
		peer_run(&address, size);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(identity_take(&id, fd, proc, false), 0);
	assert_int_equal(id.pid, c.pid);
	assert_int_equal(id.uid, 1000);
	assert_int_equal(id.gid, 2000);
	assert_true(identity_alive(&id));
	assert_int_equal(identity_check(&id), 0);
	order(fd, 'g');
	assert_int_equal(identity_check(&id), -EPERM);
	order(fd, 'b');
	assert_int_equal(identity_check(&id), 0);
	order(fd, 'u');
	assert_int_equal(identity_check(&id), -EPERM);
	assert_true(identity_alive(&id));

	/* a zombie is gone already */
	kill(c.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)c.pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_false(identity_alive(&id));
	assert_int_equal(identity_check(&id), -ESRCH);
	assert_int_equal(identity_take(&late, fd, proc, false), -ESRCH);
	child_end(&c);
	assert_int_equal(identity_check(&id), -ESRCH);
	assert_int_equal(identity_take(&late, fd, proc, false), -ESRCH);
	assert_int_equal(late.pidfd, -EBADF);
	identity_done(&id);
	assert_int_equal(id.proc_fd, -EBADF);
	identity_done(&id);
	close(fd);
	close(listening);
	close(proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_nested_userns_18_75),
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_pidns),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_cgroupns_root_hopping_34),
		cmocka_unit_test(test_cgroupns_many),
		cmocka_unit_test(test_inspector_gone),
		cmocka_unit_test(test_identity_20),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
