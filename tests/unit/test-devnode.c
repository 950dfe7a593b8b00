/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes in a container's /dev, by the real inspector; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/devnode.h"
#include "nests.h"

#define BASE 100000

static const struct hierarchies none;
static struct inspector *inspector;

/* A container: its uid 0 is BASE outside, its /dev is a tmpfs of its own. */
struct container {
	pid_t pid;
	int pidfd;
};

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(2);
	close(fd);
}

static _Noreturn void container_run(int in, int out)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || write(out, "u", 1) != 1 ||
		read(in, &c, 1) != 1)
		_exit(1);
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ||
		mount("none", "/dev", "tmpfs", 0, "mode=755") < 0)
		_exit(3);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write(out, "m", 1) != 1)
		_exit(4);
	for (;;)
		pause();
}

static struct container container_start(void)
{
	struct container c;
	int to[2], from[2];
	char path[64], byte;

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0)
		container_run(to[0], from[1]);
	close(from[1]);
	assert_int_equal(read(from[0], &byte, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", c.pid);
	put(path, "0 100000 65536\n");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", c.pid);
	put(path, "0 100000 65536\n");
	assert_int_equal(write(to[1], "g", 1), 1);
	assert_int_equal(read(from[0], &byte, 1), 1);
	close(from[0]);
	close(to[0]);
	close(to[1]);
	c.pidfd = pidfd_open(c.pid, 0);
	assert_true(c.pidfd >= 0);
	return c;
}

static void container_end(struct container *c)
{
	kill(c->pid, SIGKILL);
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
	close(c->pidfd);
}

static struct devnode node(const struct container *c, const char *path)
{
	struct devnode n = {
		.task = c->pid,
		.pidfd = c->pidfd,
		.is_char = true,
		.major = 1,
		.minor = 3,
		.mode = 0640,
		.uid = BASE + 5,
		.gid = BASE + 6,
	};

	assert_true(devnode_path(path, n.path));
	return n;
}

static int look(const struct container *c, const char *path, struct stat *ret)
{
	char text[256];

	snprintf(text, sizeof(text), "/proc/%d/root/dev/%s", c->pid, path);
	return lstat(text, ret) < 0 ? -errno : 0;
}

/* As its root, inside. */
static int inside(const struct container *c, int (*run)(const char *path), const char *path)
{
	char text[64];
	int status, fd;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		snprintf(text, sizeof(text), "/proc/%d/ns/mnt", c->pid);
		fd = open(text, O_RDONLY | O_CLOEXEC);
		snprintf(text, sizeof(text), "/proc/%d/ns/user", c->pid);
		status = open(text, O_RDONLY | O_CLOEXEC);
		if (setns(status, CLONE_NEWUSER) < 0 || setns(fd, CLONE_NEWNS) < 0 ||
			setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
			_exit(99);
		_exit(run(path));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run_open(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC) < 0 ? errno : 0;
}

static int run_mknod(const char *path)
{
	return mknod(path, S_IFREG | 0644, 0) < 0 ? errno : 0;
}

static int run_link(const char *path)
{
	return symlink("/", path) < 0 ? errno : 0;
}

static int run_fill(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	return fd < 0 || write(fd, "x", 1) != 1 ? errno : 0;
}

static void check_there(const struct container *c, const char *path)
{
	struct stat st;

	assert_int_equal(look(c, path, &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, makedev(1, 3));
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, BASE + 5);
	assert_int_equal(st.st_gid, BASE + 6);
}

static void test_add_and_remove(void **state)
{
	struct container c;
	struct devnode n;
	struct stat st, before, after;

	(void)state;
	if (!inspector)
		skip();
	c = container_start();
	assert_int_equal(stat("/dev/null", &before), 0);
	for (int i = 0; i < 2; i++) {
		const char *path = i ? "some/where/null" : "null";
		char full[64];

		n = node(&c, path);
		assert_int_equal(devnode_change(inspector, &n), 0);
		check_there(&c, path);
		snprintf(full, sizeof(full), "/dev/%s", path);
		assert_int_equal(inside(&c, run_open, full), 0);
		/* With another mode, over the first */
		n.mode = 0600;
		assert_int_equal(devnode_change(inspector, &n), 0);
		assert_int_equal(look(&c, path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		n.remove = true;
		assert_int_equal(devnode_change(inspector, &n), 0);
		assert_int_equal(look(&c, path, &st), -ENOENT);
		assert_int_equal(devnode_change(inspector, &n), -ENOENT);
	}
	/* The host's is as it was. */
	assert_int_equal(stat("/dev/null", &after), 0);
	assert_int_equal(before.st_mode, after.st_mode);
	assert_int_equal(before.st_uid, after.st_uid);
	assert_int_equal(before.st_ctim.tv_sec, after.st_ctim.tv_sec);
	container_end(&c);
}

/* The inspector leaves its root for good once it has had a helper in a pid namespace. */
static void test_after_helpers(void **state)
{
	static const int flags[] = {CLONE_NEWUSER | CLONE_NEWPID};
	struct container c;
	struct devnode n;
	int32_t outer, pid;
	int fd;

	(void)state;
	if (!inspector)
		skip();
	outer = nest(flags, 1);
	pid = child_of(outer);
	fd = inspect_pidns(inspector, pid);
	assert_true(fd >= 0);
	assert_true(inspect_pids_in(inspector, fd, &pid, 1) >= 0);
	assert_int_equal(pid, 1);
	close(fd);
	c = container_start();
	n = node(&c, "null");
	assert_int_equal(devnode_change(inspector, &n), 0);
	check_there(&c, "null");
	n.remove = true;
	assert_int_equal(devnode_change(inspector, &n), 0);
	container_end(&c);
	nest_end(outer);
}

/* Wherever it was put, as often as it was, and nothing else. */
static void test_remove_all(void **state)
{
	static const char *const paths[] = {"null", "a b/c\\d", "deep/er"};
	struct container c;
	struct devnode n;
	struct stat st;

	(void)state;
	if (!inspector)
		skip();
	c = container_start();
	for (unsigned i = 0; i < 3; i++) {
		n = node(&c, paths[i]);
		n.uid = n.gid = DEVNODE_OWNER;
		assert_int_equal(devnode_change(inspector, &n), 0);
		assert_int_equal(look(&c, paths[i], &st), 0);
		assert_int_equal(st.st_uid, BASE);
		assert_int_equal(st.st_gid, BASE);
	}
	n = node(&c, "zero");
	n.minor = 5;
	assert_int_equal(devnode_change(inspector, &n), 0);
	n = node(&c, "x");
	n.path[0] = '\0';
	n.remove = true;
	assert_int_equal(devnode_change(inspector, &n), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(look(&c, paths[i], &st), -ENOENT);
	assert_int_equal(look(&c, "zero", &st), 0);
	assert_int_equal(devnode_change(inspector, &n), -ENOENT);
	container_end(&c);
}

static void test_in_the_way(void **state)
{
	struct container c;
	struct devnode n;
	struct stat st;

	(void)state;
	if (!inspector)
		skip();
	c = container_start();
	/* An empty file is a mount point. */
	assert_int_equal(inside(&c, run_mknod, "/dev/empty"), 0);
	n = node(&c, "empty");
	assert_int_equal(devnode_change(inspector, &n), 0);
	check_there(&c, "empty");
	assert_int_equal(inside(&c, run_fill, "/dev/full"), 0);
	n = node(&c, "full");
	assert_int_equal(devnode_change(inspector, &n), -EEXIST);
	n.remove = true;
	assert_int_equal(devnode_change(inspector, &n), -ENOENT);
	n = node(&c, "full/null");
	assert_int_equal(devnode_change(inspector, &n), -ENOTDIR);
	assert_int_equal(inside(&c, run_link, "/dev/link"), 0);
	n = node(&c, "link");
	assert_int_equal(devnode_change(inspector, &n), -EEXIST);
	n = node(&c, "link/null");
	assert_int_equal(devnode_change(inspector, &n), -ELOOP);
	assert_int_equal(look(&c, "null", &st), -ENOENT);
	container_end(&c);
}

static void test_whose(void **state)
{
	struct container a, b, host = {.pid = getpid(), .pidfd = pidfd_open(getpid(), 0)};
	struct devnode n;

	(void)state;
	if (!inspector)
		skip();
	a = container_start();
	b = container_start();
	n = node(&a, "null");
	n.requestor = b.pid;
	assert_int_equal(devnode_change(inspector, &n), -EPERM);
	n.requestor = a.pid;
	assert_int_equal(devnode_change(inspector, &n), 0);
	check_there(&a, "null");
	n = node(&host, "cgmd-test-null");
	assert_int_equal(devnode_change(inspector, &n), -EXDEV);
	/* Its number is somebody else's by now. */
	n = node(&a, "other");
	n.pidfd = b.pidfd;
	container_end(&b);
	n.pidfd = pidfd_open(a.pid, 0);
	container_end(&a);
	assert_int_equal(devnode_change(inspector, &n), -ESRCH);
	close(n.pidfd);
	close(host.pidfd);
}

static void test_paths(void **state)
{
	static const char *const good[] = {"null", "/dev/null", "dri/card0", "/dev/a/b/c", "..a"};
	static const char *const bad[] = {"", "/dev/", "/", "/null", "..", "a/..", "../a", "a//b",
		"a/", "./a", "a/./b", "/dev//a", "a\nb", "/dev/../etc/passwd"};
	char path[DEVNODE_PATH_MAX], long_one[DEVNODE_PATH_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(devnode_path(good[i], path));
	assert_string_equal(path, "..a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(devnode_path(bad[i], path));
	memset(long_one, 'a', sizeof(long_one));
	long_one[DEVNODE_PATH_MAX] = '\0';
	assert_false(devnode_path(long_one, path));
	long_one[DEVNODE_PATH_MAX - 1] = '\0';
	assert_true(devnode_path(long_one, path));
}

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return inspector_start(&none, &inspector);
}

static int teardown(void **state)
{
	(void)state;
	inspector = inspector_free(inspector);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_add_and_remove),
		cmocka_unit_test(test_remove_all),
		cmocka_unit_test(test_in_the_way),
		cmocka_unit_test(test_whose),
		cmocka_unit_test(test_after_helpers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
