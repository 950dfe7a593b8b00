/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What workers are told of a thread: of its own cgroup, whether it leads its process or not; needs
 * root and a hierarchy that lets itself be written. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/cgroupfs.h"
#include "../../daemon/manager.h"
#include "../../daemon/perf/grants.h"
#include "../../daemon/perf/worker.h"

#define USER 1000

static struct manager m = {.proc_fd = -EBADF, .sys_fd = -EBADF, .tracefs_fd = -EBADF};
static const struct hierarchy *h;
static char top[64];
static pid_t leader, thread;
static int theirs; /* a byte here, and they go on */

static void path_of(const char *below, char buf[256])
{
	snprintf(buf, 256, "%s%s", top + 1, below);
}

static int make(const char *below)
{
	char path[256];

	path_of(below, path);
	return mkdirat(h->root_fd, path, 0755);
}

static void put(const char *below, const char *file, const char *text)
{
	char path[256];
	int fd;

	path_of(below, path);
	fd = cgroup_open(h->root_fd, path);
	assert_true(fd >= 0);
	assert_int_equal(cgroup_write(fd, file, text, strlen(text)), 0);
	close(fd);
}

static void put_task(const char *below, const char *file, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	put(below, file, text);
}

static int open_at(const char *below)
{
	char path[256];
	int fd;

	path_of(below, path);
	fd = cgroup_open(h->root_fd, path);
	assert_true(fd >= 0);
	return fd;
}

static void set(const char *below, const char *text)
{
	struct perf_record record;
	int fd = open_at(below);

	assert_int_equal(perf_record_parse(text, &record), 0);
	assert_int_equal(perf_record_set(m.inspector, fd, &record), 0);
	close(fd);
}

/* The tests' processes: a leader and a thread, which only wait. */

static void *wait_there(void *arg)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (write(*(int *)arg, &tid, sizeof(tid)) != sizeof(tid))
		_exit(1);
	pause();
	return NULL;
}

/* The credentials are a thread's own to the kernel, and so is what is asked for. */
static void child(int ours)
{
	pthread_t other;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pthread_create(&other, NULL, wait_there, &ours) != 0)
		_exit(1);
	if (read(ours, &byte, 1) != 1)
		_exit(1);
	if (setresgid(USER, USER, USER) < 0 || setresuid(USER, USER, USER) < 0)
		_exit(1);
	/* The kernel forgets it with each change of ids. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write(ours, &byte, 1) != 1)
		_exit(1);
	pause();
}

static int start(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	leader = fork();
	if (leader == 0)
		child(pair[1]);
	close(pair[1]);
	theirs = pair[0];
	return read(theirs, &thread, sizeof(thread)) == sizeof(thread) ? 0 : -1;
}

static int setup(void **state)
{
	char what[64];

	snprintf(top, sizeof(top), "/cgmd-test-facts-%d", (int)getpid());
	if (geteuid() != 0 ||
		hierarchies_discover(&m.hierarchies, NULL, NULL, what, sizeof(what)) < 0) {
		print_message("not root, or no cgroup hierarchy: skipped\n");
		return 0;
	}
	h = perf_hierarchy(&m);
	if (!h || make("") < 0) {
		print_message("perf's hierarchy does not let itself be written: skipped\n");
		h = NULL;
		return 0;
	}
	m.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	m.sys_fd = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (make("/a") < 0 || make("/a/b") < 0 || inspector_start(&m.hierarchies, &m.inspector) < 0)
		return -1;
	if (start() < 0 || make("/a/b/c") < 0)
		return -1;
	put_task("/a/b", "cgroup.procs", leader);
	if (h->v2)
		put("/a/b/c", "cgroup.type", "threaded");
	put_task("/a/b/c", h->v2 ? "cgroup.threads" : "tasks", thread);
	return 0;
}

static int teardown(void **state)
{
	static const char *const all[] = {"/a/b/c", "/a/b", "/a", ""};
	char path[256];

	if (leader > 0) {
		kill(leader, SIGKILL);
		waitpid(leader, NULL, 0);
	}
	for (size_t i = 0; h && i < sizeof(all) / sizeof(all[0]); i++) {
		path_of(all[i], path);
		/* They leave their cgroups a moment after they were waited for. */
		while (unlinkat(h->root_fd, path, AT_REMOVEDIR) < 0 && errno == EBUSY)
			usleep(1000);
	}
	m.inspector = inspector_free(m.inspector);
	hierarchies_done(&m.hierarchies);
	perf_records_forget();
	close(m.proc_fd);
	close(m.sys_fd);
	free(m.spare_op);
	return 0;
}

static struct perf_facts_are are;

/* Asks, and compares the scope: a cgroup below the top. */
static void ask(pid_t tid, const char *scope)
{
	struct stat got, wanted;
	int fd = -EBADF, own = open_at(scope);

	memset(&are, 0xff, sizeof(are));
	assert_int_equal(perf_facts_of(&m, tid, &are, &fd), 0);
	assert_int_equal(are.tid, tid);
	assert_int_equal(are.result, 0);
	assert_true(are.generation == UINT64_MAX);
	assert_int_equal(fstat(own, &wanted), 0);
	assert_int_equal(fstat(fd, &got), 0);
	assert_true(got.st_ino == wanted.st_ino && got.st_dev == wanted.st_dev);
	assert_true(are.scope_id == wanted.st_ino);
	assert_true(are.own_pidns);
	close(own);
	close(fd);
}

#define NEEDS_ROOT \
	if (!h)    \
	skip()

/* Of host root the scope is what carries the grant. */
static void test_threads(void **state)
{
	NEEDS_ROOT;
	set("/a", "cpu");
	ask(leader, "/a");
	assert_true(are.grant.cpu && !are.grant.kernel);
	assert_true(are.grant.n_pmus > 0);
	ask(thread, "/a");
	assert_true(are.grant.cpu);
	/* what is said of the thread's cgroup is not said of the leader's */
	set("/a/b/c", "kernel");
	ask(thread, "/a/b/c");
	assert_true(are.grant.kernel);
	ask(leader, "/a");
	assert_false(are.grant.kernel);
	set("/a/b/c", "|");
	ask(leader, "/a");
	assert_true(are.grant.cpu);
	memset(&are, 0, sizeof(are));
	{
		int fd = -EBADF;

		assert_int_equal(perf_facts_of(&m, thread, &are, &fd), 0);
		close(fd);
	}
	assert_false(are.grant.cpu);
}

/* The root of its scope, where that is deeper. */
static void test_scope(void **state)
{
	char byte = 0;
	int fd;

	NEEDS_ROOT;
	set("/a", "cpu");
	set("/a/b/c", "");
	fd = open_at("/a/b");
	assert_int_equal(fchown(fd, USER, USER), 0);
	assert_int_equal(write(theirs, &byte, 1), 1);
	assert_int_equal(read(theirs, &byte, 1), 1);
	ask(leader, "/a/b");
	assert_true(are.grant.cpu);
	assert_int_equal(fchown(fd, 0, 0), 0);
	close(fd);
	/* of a cgroup of its own nothing: it is the scope alone */
	ask(leader, "/a/b");
	set("/a/b", "cpu");
	set("/a", "");
	ask(leader, "/a/b");
	assert_true(are.grant.cpu);
}

/* Where nothing can be told there is no grant, and a scope in which nothing can be opened. */
static void test_nowhere(void **state)
{
	struct stat got, wanted;
	unsigned n = m.hierarchies.n;
	int fd = -EBADF;

	NEEDS_ROOT;
	set("/a", "cpu");
	m.hierarchies.n = 0;
	memset(&are, 0xff, sizeof(are));
	assert_int_equal(perf_facts_of(&m, leader, &are, &fd), 0);
	m.hierarchies.n = n;
	assert_false(are.grant.cpu);
	assert_int_equal(are.grant.n_pmus, 0);
	assert_true(are.scope_id == 0);
	assert_int_equal(fstat(fd, &got), 0);
	assert_int_equal(fstat(m.proc_fd, &wanted), 0);
	assert_true(got.st_ino == wanted.st_ino && got.st_dev == wanted.st_dev);
	close(fd);
}

static void test_gone(void **state)
{
	int fd = -EBADF;
	pid_t pid;

	NEEDS_ROOT;
	pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	/* dead and not waited for; then gone */
	assert_int_equal(perf_facts_of(&m, pid, &are, &fd), -ESRCH);
	assert_int_equal(are.result, -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(perf_facts_of(&m, pid, &are, &fd), -ESRCH);
	assert_int_equal(perf_facts_of(&m, 0, &are, &fd), -ESRCH);
	assert_int_equal(fd, -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_nowhere),
		cmocka_unit_test(test_gone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
