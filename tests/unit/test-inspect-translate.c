/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The helpers in pid namespaces: what they show, and what becomes of them; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/inspect.h"
#include "crowd.h"
#include "nests.h"

static const struct hierarchies none;
static struct inspector *inspector;
static struct crowd crowd;

static int setup(void **state)
{
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	crowd_make(&crowd);
	return inspector_start(&none, &inspector);
}

static int teardown(void **state)
{
	if (inspector)
		crowd_end(&crowd);
	inspector = inspector_free(inspector);
	return 0;
}

/* The inspector's youngest child, for one that it has ended may not have gone; 0: it has none. */
static pid_t helper_pid(void)
{
	char path[64];
	pid_t pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", inspector_pid(inspector),
		inspector_pid(inspector));
	file = fopen(path, "re");
	assert_non_null(file);
	while (fscanf(file, "%d", &pid) == 1)
		;
	fclose(file);
	return pid;
}

static int ask_from(void)
{
	int32_t pid = 1;
	int r = inspect_pids_from(inspector, crowd.pidns_fd, &pid, 1);

	if (r == 0)
		assert_int_equal(pid, crowd.init);
	return r;
}

static void need_root(void)
{
	if (!inspector)
		skip();
}

static pid_t helper_new(void)
{
	pid_t pid;

	assert_int_equal(ask_from(), 0);
	pid = helper_pid();
	assert_true(pid > 0);
	return pid;
}

static void test_bounds(void **state)
{
	int32_t pids[65];

	(void)state;
	need_root();
	helper_new();
	for (size_t i = 0; i < 65; i++)
		pids[i] = crowd.inside[i];
	assert_int_equal(inspect_pids_from(inspector, crowd.pidns_fd, pids, 65), -E2BIG);
	assert_int_equal(inspect_pids_in(inspector, -EBADF, pids, 1), -EBADF);
	assert_int_equal(inspect_pids_from(inspector, crowd.pidns_fd, pids, 64), 0);
	assert_memory_equal(pids, crowd.host, 64 * sizeof(*pids));
	assert_int_equal(inspect_pids_in(inspector, crowd.pidns_fd, pids, 64), 0);
	assert_memory_equal(pids, crowd.inside, 64 * sizeof(*pids));
	assert_int_equal(pids[64], crowd.inside[64]);
}

static unsigned count_fds(pid_t pid)
{
	unsigned n = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

static bool same_ns(pid_t a, pid_t b, const char *name)
{
	char path[64];
	struct stat st[2];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", i ? a : b, name);
		assert_int_equal(stat(path, &st[i]), 0);
	}
	return st[0].st_ino == st[1].st_ino;
}

/* How many bytes anybody can read of it. */
static size_t readable(pid_t pid, const char *name)
{
	char path[64], text[4096];
	size_t size = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	while ((n = read(fd, text, sizeof(text))) > 0)
		size += (size_t)n;
	assert_int_equal(n, 0);
	close(fd);
	return size;
}

/* In a child. */
static void capabilities(const cap_value_t *but, const cap_value_t *only)
{
	cap_t caps = only ? cap_init() : cap_get_proc();
	cap_flag_value_t value = only ? CAP_SET : CAP_CLEAR;

	if (!caps || cap_set_flag(caps, CAP_EFFECTIVE, 1, only ? only : but, value) < 0 ||
		cap_set_flag(caps, CAP_PERMITTED, 1, only ? only : but, value) < 0 ||
		cap_set_proc(caps) < 0)
		_exit(2);
	cap_free(caps);
}

/* What somebody with the same uids and capabilities can look into, as CAP_SYS_PTRACE is none of
 * these. */
static bool looked_into(pid_t pid, const char *name)
{
	static const cap_value_t ptrace = CAP_SYS_PTRACE;
	char path[64], target[64];
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		capabilities(&ptrace, NULL);
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
		_exit(readlink(path, target, sizeof(target)) > 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

/* With the capabilities of a helper, and nothing else like one. */
static pid_t ordinary_new(void)
{
	static const cap_value_t admin = CAP_SYS_ADMIN;
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Also where a check fails. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		capabilities(NULL, &admin);
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

/* A container sees it; and nothing of the host through it. */
static void test_shows_nothing(void **state)
{
	static const char *const links[] = {"root", "cwd", "exe", "fd/0", "ns/mnt", "ns/net"};
	pid_t ordinary, pid;

	(void)state;
	need_root();
	ordinary = ordinary_new();
	pid = helper_new();
	assert_true(same_ns(pid, crowd.init, "pid"));
	assert_true(same_ns(pid, getpid(), "user"));
	assert_false(same_ns(pid, getpid(), "net"));
	assert_int_equal(count_fds(pid), 1);
	assert_true(readable(getpid(), "mountinfo") > 0);
	assert_int_equal(readable(pid, "mountinfo"), 0);
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
		assert_true(looked_into(ordinary, links[i]));
		assert_false(looked_into(pid, links[i]));
	}
	kill(ordinary, SIGKILL);
	assert_int_equal(waitpid(ordinary, NULL, 0), ordinary);
}

/* Where somebody may have the host's own CAP_SYS_PTRACE there is none to be looked into: not in a
 * namespace that was made in our user namespace, nor below it, where it would be seen as well. The
 * numbers are right all the same. */
static void test_none_in_bare(void **state)
{
	static const int flags[] = {CLONE_NEWPID, CLONE_NEWUSER | CLONE_NEWPID};
	int32_t maker, outer, inner, pid;
	char path[64];

	(void)state;
	need_root();
	for (int i = 0; i < 600 && helper_pid() != 0; i++)
		usleep(100000);
	maker = nest(flags, 2);
	outer = child_of(maker);
	inner = child_of(outer);
	for (int i = 0; i < 2; i++) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/ns/pid", i == 0 ? outer : inner);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		pid = 1;
		assert_int_equal(inspect_pids_from(inspector, fd, &pid, 1), 0);
		assert_int_equal(pid, i == 0 ? outer : inner);
		assert_int_equal(inspect_pids_in(inspector, fd, &pid, 1), 0);
		assert_int_equal(pid, 1);
		pid = inner;
		assert_int_equal(inspect_pids_in(inspector, fd, &pid, 1), 0);
		assert_true(i == 0 ? pid > 1 : pid == 1);
		assert_int_equal(inspect_pids_from(inspector, fd, &pid, 1), 0);
		assert_int_equal(pid, inner);
		pid = i == 0 ? maker : outer;
		assert_int_equal(inspect_pids_in(inspector, fd, &pid, 1), 0);
		assert_int_equal(pid, 0);
		assert_int_equal(helper_pid(), 0);
		close(fd);
	}
	nest_end(maker);
}

/* Nor is one kept by the work of others. */
static void test_ends_beside_work(void **state)
{
	struct requestor_ns ns;

	(void)state;
	need_root();
	helper_new();
	for (int i = 0; i < 6000 && helper_pid() != 0; i++) {
		assert_int_equal(inspect_requestor(inspector, getpid(), NULL, 0, &ns), 0);
		usleep(10000);
	}
	assert_int_equal(helper_pid(), 0);
}

/* The same one is asked again while there is work, and it goes when there is none. */
static void test_kept(void **state)
{
	pid_t pid;

	(void)state;
	need_root();
	pid = helper_new();
	if (ask_from() == 0 && helper_pid() != pid)
		print_message("the machine was stalled\n");
	for (int i = 0; i < 600 && helper_pid() != 0; i++)
		usleep(100000);
	assert_int_equal(helper_pid(), 0);
	assert_int_equal(ask_from(), 0);
}

/* Whoever has the host's uid 0 can end it, and stop it. */
static void test_attacked(void **state)
{
	pid_t pid, next;
	int r;

	(void)state;
	need_root();
	pid = helper_new();
	kill(pid, SIGTERM);
	kill(pid, SIGHUP);
	assert_int_equal(ask_from(), 0);
	kill(pid, SIGKILL);
	while (kill(pid, 0) == 0)
		usleep(1000);
	assert_int_equal(ask_from(), 0);
	next = helper_pid();
	assert_true(next > 0 && next != pid);

	kill(next, SIGSTOP);
	r = ask_from();
	/* It may just have been let go for its idleness. */
	assert_true(r == -ESRCH || r == 0);
	assert_int_equal(ask_from(), 0);
	assert_true(helper_pid() != next);
}

/* What kills a pid namespace waits for all in it: nothing delays its end. */
static void test_namespace_ends(void **state)
{
	int32_t pid = 1;
	int fd;

	(void)state;
	need_root();
	helper_new();
	fd = fcntl(crowd.pidns_fd, F_DUPFD_CLOEXEC, 3);
	assert_true(fd >= 0);
	crowd_end(&crowd);
	assert_true(inspect_pids_from(inspector, fd, &pid, 1) < 0);
	assert_true(inspect_pids_in(inspector, fd, &pid, 1) < 0);
	assert_int_equal(pid, 1);
	close(fd);
	crowd_make(&crowd);
	assert_int_equal(ask_from(), 0);
}

/* More namespaces than helpers are kept for. */
static void test_several(void **state)
{
	static struct crowd crowds[6];

	(void)state;
	need_root();
	helper_new();
	for (int i = 0; i < 6; i++)
		crowd_make(&crowds[i]);
	for (int i = 0; i < 12; i++) {
		struct crowd *c = &crowds[i % 6];
		int32_t pid = 1;

		assert_int_equal(inspect_pids_from(inspector, c->pidns_fd, &pid, 1), 0);
		assert_int_equal(pid, c->init);
		assert_int_equal(inspect_pids_in(inspector, c->pidns_fd, &pid, 1), 0);
		assert_int_equal(pid, 1);
	}
	for (int i = 0; i < 6; i++)
		crowd_end(&crowds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_shows_nothing),
		cmocka_unit_test(test_none_in_bare),
		cmocka_unit_test(test_ends_beside_work),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_attacked),
		cmocka_unit_test(test_namespace_ends),
		cmocka_unit_test(test_several),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
