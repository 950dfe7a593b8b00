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
		assert_int_equal(watch_add(w, h, fd, path), 0);
		assert_int_equal(watch_add(w, h, fd, path), 0);
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

static void check(const struct hierarchy *h, const char *top, const char *below)
{
	struct watch *w = NULL;
	struct stat st;
	pid_t pid;

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

static void kind(bool v2)
{
	char top[64], below[80];

	snprintf(top, sizeof(top), "/%s", name);
	snprintf(below, sizeof(below), "%s/b", top);
	for (unsigned i = 0; i < all.n; i++) {
		const struct hierarchy *h = &all.list[i];

		if (h->v2 != v2 || strstr(h->name, "cpuset") ||
			mkdirat(h->root_fd, top + 1, 0755) < 0)
			continue;
		assert_int_equal(mkdirat(h->root_fd, below + 1, 0755), 0);
		check(h, top, below);
		return;
	}
	print_message("no such hierarchy that lets itself be written: skipped\n");
	skip();
}

static void test_v1(void **state)
{
	if (!inspector)
		skip();
	kind(false);
}

static void test_v2(void **state)
{
	if (!inspector)
		skip();
	kind(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_v2),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
