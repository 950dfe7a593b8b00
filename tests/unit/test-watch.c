/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remove-on-empty on every hierarchy that lets itself be written; needs root. */
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
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/watch.h"

static struct hierarchies all;
static struct inspector *inspector;
static sd_event *loop;
static char name[32];

static int setup(void **state)
{
	char what[64];

	snprintf(name, sizeof(name), "cgmd-test-watch-%d", (int)getpid());
	if (geteuid() != 0 || hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) < 0) {
		print_message("not root, or no cgroup hierarchy: skipped\n");
		return 0;
	}
	return sd_event_new(&loop) < 0 ? -1 : inspector_start(&all, &inspector);
}

static int teardown(void **state)
{
	inspector = inspector_free(inspector);
	loop = sd_event_unref(loop);
	hierarchies_done(&all);
	return 0;
}

static bool exists(const struct hierarchy *h, const char *path)
{
	struct stat st;

	return fstatat(h->root_fd, path + 1, &st, 0) == 0;
}

static void run(unsigned msec)
{
	struct timespec start, at;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		assert_true(sd_event_run(loop, 20000) >= 0);
		clock_gettime(CLOCK_MONOTONIC, &at);
	} while ((at.tv_sec - start.tv_sec) * 1000 + (at.tv_nsec - start.tv_nsec) / 1000000 < msec);
}

/* Within a second, that is the promise. */
static bool goes(const struct hierarchy *h, const char *path)
{
	for (int i = 0; i < 20 && exists(h, path); i++)
		run(50);
	return !exists(h, path);
}

static int dir_open(const struct hierarchy *h, const char *path)
{
	int fd = openat(h->root_fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void mark(struct watch *w, const struct hierarchy *h, const char *path)
{
	int fd = dir_open(h, path);

	assert_int_equal(inspect_mark_set(inspector, fd, MARK_RELEASE), 0);
	if (w) {
		assert_int_equal(watch_add(w, h, fd, path, 0), 0);
		assert_int_equal(watch_add(w, h, fd, path, 0), 0);
	}
	close(fd);
}

static pid_t task_in(const struct hierarchy *h, const char *path)
{
	char file[200], text[16];
	pid_t pid = fork();
	int fd;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	snprintf(file, sizeof(file), "%s/cgroup.procs", path + 1);
	snprintf(text, sizeof(text), "%d", pid);
	fd = openat(h->root_fd, file, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return pid;
}

static void task_end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void check(const struct hierarchy *h, const char *top)
{
	char below[80];
	struct watch *w = NULL;
	struct stat st;
	pid_t pid;

	snprintf(below, sizeof(below), "%s/b", top);
	assert_int_equal(mkdirat(h->root_fd, below + 1, 0755), 0);
	assert_int_equal(watch_new(loop, inspector, &all, &w), 0);
	/* empty from the beginning: both stay */
	mark(w, h, top);
	mark(w, h, below);
	run(900);
	assert_true(exists(h, top) && exists(h, below));
	/* the child goes with its task, the parent after it */
	pid = task_in(h, below);
	run(900);
	assert_true(exists(h, below));
	task_end(pid);
	assert_true(goes(h, below));
	assert_true(goes(h, top));

	/* a task that nobody could see, but that was told of */
	assert_int_equal(mkdirat(h->root_fd, top + 1, 0755), 0);
	mark(w, h, top);
	run(100);
	assert_true(exists(h, top));
	assert_int_equal(fstatat(h->root_fd, top + 1, &st, 0), 0);
	watch_touch(w, h, st.st_ino);
	assert_true(goes(h, top));

	/* a task that is there when the mark is set, and has gone before the loop turns */
	assert_int_equal(mkdirat(h->root_fd, top + 1, 0755), 0);
	pid = task_in(h, top);
	mark(w, h, top);
	task_end(pid);
	assert_true(goes(h, top));

	/* another cgroup of the same name is left alone */
	assert_int_equal(mkdirat(h->root_fd, top + 1, 0755), 0);
	pid = task_in(h, top);
	mark(w, h, top);
	run(50);
	task_end(pid);
	while (unlinkat(h->root_fd, top + 1, AT_REMOVEDIR) < 0)
		assert_true(errno == EBUSY || errno == ENOENT);
	assert_int_equal(mkdirat(h->root_fd, top + 1, 0755), 0);
	run(900);
	assert_true(exists(h, top));

	/* emptied while nobody watched; only the marked one goes */
	assert_null(watch_free(w));
	assert_int_equal(mkdirat(h->root_fd, below + 1, 0755), 0);
	mark(NULL, h, below);
	assert_int_equal(watch_new(loop, inspector, &all, &w), 0);
	assert_int_equal(watch_scan(w), 0);
	assert_true(goes(h, below));
	run(500);
	assert_true(exists(h, top));
	assert_int_equal(unlinkat(h->root_fd, top + 1, AT_REMOVEDIR), 0);
	assert_null(watch_free(w));
}

/*
 * Bounds. Which cgroups are watched is told by which go when a task is reported in them.
 */

#define ONE 4096
#define CONTAINER (ACCOUNT_CONTAINER | 17)
#define OTHER (ACCOUNT_CONTAINER | 18)

static void numbered(char *path, const char *top, unsigned i)
{
	snprintf(path, 80, "%s/%u", top, i);
}

static void make(const struct hierarchy *h, const char *top, unsigned i, uid_t uid)
{
	char path[80];

	numbered(path, top, i);
	assert_int_equal(mkdirat(h->root_fd, path + 1, 0755), 0);
	assert_int_equal(fchownat(h->root_fd, path + 1, uid, uid, 0), 0);
}

static void remove_numbered(const struct hierarchy *h, const char *top, unsigned i)
{
	char path[80];

	numbered(path, top, i);
	assert_int_equal(unlinkat(h->root_fd, path + 1, AT_REMOVEDIR), 0);
}

static int add(
	struct watch *w, const struct hierarchy *h, const char *top, unsigned i, uint64_t account)
{
	char path[80];
	int fd, r;

	numbered(path, top, i);
	fd = dir_open(h, path);
	r = watch_add(w, h, fd, path, account);
	close(fd);
	return r;
}

static unsigned inotify_watches(void)
{
	char path[64], line[256];
	unsigned n = 0;

	for (int fd = 3; fd < 64; fd++) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			n += strncmp(line, "inotify wd", 10) == 0;
		if (f)
			fclose(f);
	}
	return n;
}

/* One account's bound; its number over a rename; and room again once one has gone. */
static void bound_check(const struct hierarchy *h, const char *top)
{
	char path[80], other[80];
	struct watch *w = NULL;
	struct stat st;
	unsigned n = ONE + 3;

	for (unsigned i = 0; i < n; i++)
		make(h, top, i, 1000);
	assert_int_equal(watch_new(loop, inspector, &all, &w), 0);
	for (unsigned i = 0; i < ONE; i++)
		assert_int_equal(add(w, h, top, i, CONTAINER), 0);
	assert_int_equal(add(w, h, top, ONE, CONTAINER), -EDQUOT);
	assert_int_equal(add(w, h, top, 0, CONTAINER), 0);
	/* nobody else notices, and on v2 the kernel's watches are not used up */
	assert_int_equal(add(w, h, top, ONE, OTHER), 0);
	assert_int_equal(add(w, h, top, ONE + 1, 0), 0);
	assert_int_equal(inotify_watches(), h->v2 ? 4096 : 0);
	numbered(path, top, 0);
	if (!h->v2) {
		numbered(other, top, 9999);
		assert_int_equal(renameat(h->root_fd, path + 1, h->root_fd, other + 1), 0);
		assert_int_equal(add(w, h, top, 9999, CONTAINER), 0);
		strcpy(path, other);
	}
	assert_int_equal(fstatat(h->root_fd, path + 1, &st, 0), 0);
	watch_touch(w, h, st.st_ino);
	assert_true(goes(h, path));
	assert_int_equal(add(w, h, top, ONE + 2, CONTAINER), 0);
	assert_int_equal(add(w, h, top, ONE, CONTAINER), 0); /* OTHER's */
	/* what is polled goes like the rest */
	numbered(path, top, ONE + 1);
	assert_int_equal(fstatat(h->root_fd, path + 1, &st, 0), 0);
	watch_touch(w, h, st.st_ino);
	assert_true(goes(h, path));
	assert_null(watch_free(w));
	for (unsigned i = 1; i < n; i++)
		if (i != ONE + 1)
			remove_numbered(h, top, i);
}

/* What a restart finds is its owner's, so that this gives no room. */
static void found_check(const struct hierarchy *h, const char *top)
{
	struct watch *w = NULL;
	char path[80];
	pid_t pid;

	for (unsigned i = 0; i < ONE + 1; i++)
		make(h, top, i, i == ONE ? 1001 : 1000);
	/* one with a task, so that it stays */
	numbered(path, top, 0);
	pid = task_in(h, path);
	mark(NULL, h, path);
	assert_int_equal(watch_new(loop, inspector, &all, &w), 0);
	assert_int_equal(watch_scan(w), 0);
	for (int i = 0; i < 40; i++)
		run(50);
	for (unsigned i = 1; i < ONE; i++)
		assert_int_equal(add(w, h, top, i, CONTAINER), 0);
	make(h, top, 5000, 1000);
	assert_int_equal(add(w, h, top, 5000, CONTAINER), -EDQUOT);
	assert_int_equal(add(w, h, top, 0, CONTAINER), 0);
	assert_int_equal(add(w, h, top, ONE, CONTAINER), 0); /* another owner's */
	assert_int_equal(add(w, h, top, 5000, 0), 0);
	task_end(pid);
	assert_true(goes(h, path));
	assert_null(watch_free(w));
	for (unsigned i = 1; i < ONE + 1; i++)
		remove_numbered(h, top, i);
	remove_numbered(h, top, 5000);
}

static void kind(bool v2, void (*checks)(const struct hierarchy *h, const char *top))
{
	char top[64];

	snprintf(top, sizeof(top), "/%s", name);
	for (unsigned i = 0; i < all.n; i++) {
		const struct hierarchy *h = &all.list[i];

		if (h->v2 != v2 || strstr(h->name, "cpuset") ||
			mkdirat(h->root_fd, top + 1, 0755) < 0)
			continue;
		checks(h, top);
		(void)unlinkat(h->root_fd, top + 1, AT_REMOVEDIR);
		return;
	}
	print_message("no such hierarchy that lets itself be written: skipped\n");
	skip();
}

static void test_v1(void **state)
{
	if (!inspector)
		skip();
	kind(false, check);
}

static void test_bound_v1(void **state)
{
	if (!inspector)
		skip();
	kind(false, bound_check);
}

static void test_found_v1(void **state)
{
	if (!inspector)
		skip();
	kind(false, found_check);
}

static void test_v2(void **state)
{
	if (!inspector)
		skip();
	kind(true, check);
}

static void test_bound_v2(void **state)
{
	if (!inspector)
		skip();
	kind(true, bound_check);
}

static void test_found_v2(void **state)
{
	if (!inspector)
		skip();
	kind(true, found_check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_bound_v1),
		cmocka_unit_test(test_found_v1),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_bound_v2),
		cmocka_unit_test(test_found_v2),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
