/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* On a tree of plain directories: tree_walk() and cgroup_*() know nothing of cgroups. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../daemon/cgroupfs.h"
#include "../../daemon/tree.h"

static char top[] = "/tmp/test-tree.XXXXXX";
static int top_fd;

struct seen {
	char text[1024];
	unsigned n, deepest_known;
};

static int note_enter(void *userdata, int fd, const char *path)
{
	struct seen *seen = userdata;

	assert_true(fd >= 0);
	seen->n++;
	if (path && strlen(seen->text) + strlen(path) + 3 < sizeof(seen->text))
		sprintf(seen->text + strlen(seen->text), "+%s ", path);
	if (path && strlen(path) > seen->deepest_known)
		seen->deepest_known = (unsigned)strlen(path);
	return path && strstr(path, "skipped") ? 1 : 0;
}

static int note_leave(void *userdata, int parent_fd, const char *name, const char *path)
{
	struct seen *seen = userdata;

	if (path && strlen(seen->text) + strlen(path) + 3 < sizeof(seen->text))
		sprintf(seen->text + strlen(seen->text), "-%s ", path);
	return unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

static int stop_at_b(void *userdata, int fd, const char *path)
{
	(void)userdata, (void)fd;
	return path && strcmp(path, "a/b") == 0 ? -EBUSY : 0;
}

static int setup(void **state)
{
	(void)state;
	strcpy(top + sizeof(top) - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top_fd < 0;
}

static int teardown(void **state)
{
	static const struct tree_ops ops = {.leave = note_leave};
	struct seen seen = {0};

	(void)state;
	tree_walk(top_fd, &ops, &seen);
	close(top_fd);
	return rmdir(top);
}

static void test_order(void **state)
{
	static const struct tree_ops ops = {.enter = note_enter};
	static const struct tree_ops removing = {.enter = note_enter, .leave = note_leave};
	struct seen seen = {0};

	(void)state;
	assert_int_equal(mkdirat(top_fd, "a", 0755), 0);
	assert_int_equal(mkdirat(top_fd, "a/b", 0755), 0);
	assert_int_equal(tree_walk(top_fd, &ops, &seen), 0);
	assert_string_equal(seen.text, "+ +a +a/b ");
	seen = (struct seen){0};
	assert_int_equal(tree_walk(top_fd, &removing, &seen), 0);
	assert_string_equal(seen.text, "+ +a +a/b -a/b -a ");
}

static void test_skip_and_stop(void **state)
{
	static const struct tree_ops ops = {.enter = note_enter};
	static const struct tree_ops stopping = {.enter = stop_at_b};
	struct seen seen = {0};

	(void)state;
	assert_int_equal(mkdirat(top_fd, "skipped", 0755), 0);
	assert_int_equal(mkdirat(top_fd, "skipped/c", 0755), 0);
	assert_int_equal(tree_walk(top_fd, &ops, &seen), 0);
	assert_string_equal(seen.text, "+ +skipped ");
	assert_int_equal(mkdirat(top_fd, "a", 0755), 0);
	assert_int_equal(mkdirat(top_fd, "a/b", 0755), 0);
	assert_int_equal(tree_walk(top_fd, &stopping, NULL), -EBUSY);
}

/* Deeper than any path can say: all are visited and removed, with few fds. */
static void test_three_thousand_deep(void **state)
{
	static const struct tree_ops removing = {.enter = note_enter, .leave = note_leave};
	struct seen seen = {0};
	int fd = dup(top_fd);

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "dd", 0755), 0);
		next = openat(fd, "dd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_int_equal(tree_walk(top_fd, &removing, &seen), 0);
	assert_int_equal(seen.n, 3001);
	assert_true(seen.deepest_known > 4000 && seen.deepest_known <= 4095);
	assert_int_equal(faccessat(top_fd, "dd", F_OK, 0), -1);
}

static void test_opens_stay_beneath(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(top_fd, "a", 0755), 0);
	assert_int_equal(symlinkat("/", top_fd, "link"), 0);
	assert_true(cgroup_open(top_fd, "..") < 0);
	assert_true(cgroup_open(top_fd, "/") < 0);
	assert_true(cgroup_open(top_fd, "link") < 0);
	assert_true(cgroup_open(top_fd, "a/../..") < 0);
	assert_int_equal(cgroup_open(top_fd, "none"), -ENOENT);
	assert_int_equal(cgroup_open_file(top_fd, "a", O_RDONLY, NULL), -EISDIR);
	assert_true(cgroup_open_file(top_fd, "link", O_RDONLY, NULL) < 0);
	assert_int_equal(unlinkat(top_fd, "link", 0), 0);
}

static void test_remove_same(void **state)
{
	struct node node;
	int fd;

	(void)state;
	assert_int_equal(mkdirat(top_fd, "same", 0755), 0);
	fd = cgroup_open(top_fd, "same");
	assert_int_equal(cgroup_stat(fd, &node), 0);
	close(fd);
	cgroup_remove_same(top_fd, "same", node.id + 1);
	assert_int_equal(faccessat(top_fd, "same", F_OK, 0), 0);
	cgroup_remove_same(top_fd, "same", node.id);
	assert_int_equal(faccessat(top_fd, "same", F_OK, 0), -1);
	cgroup_remove_same(top_fd, "same", node.id);
}

static void test_pids(void **state)
{
	int32_t *pids = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(pids_append("30\n4\n0\n30\n", &pids, &n, 10), 0);
	assert_int_equal(pids_append("5\n", &pids, &n, 10), 0);
	assert_int_equal(n, 4);
	pids_sort_unique(pids, &n);
	assert_int_equal(n, 3);
	assert_int_equal(pids[0], 4);
	assert_int_equal(pids[2], 30);
	assert_true(pids_have(pids, n, 4) && pids_have(pids, n, 30));
	assert_false(pids_have(pids, n, 6) || pids_have(NULL, 0, 4));
	assert_int_equal(pids_append("x\n", &pids, &n, 10), -EINVAL);
	assert_int_equal(pids_append("1\n2\n", &pids, &n, 4), -E2BIG);
	free(pids);
}

/* A wide tree is as much work as a deep one. */
static void test_bounded(void **state)
{
	static const struct tree_ops ops = {.enter = note_enter};
	struct seen seen = {0};
	char name[16];

	(void)state;
	for (unsigned i = 0; i <= TREE_CGROUPS_MAX; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(mkdirat(top_fd, name, 0755), 0);
	}
	assert_int_equal(tree_walk(top_fd, &ops, &seen), -E2BIG);
	assert_int_equal(seen.n, 1);
	for (unsigned i = 0; i <= TREE_CGROUPS_MAX; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(unlinkat(top_fd, name, AT_REMOVEDIR), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_skip_and_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_three_thousand_deep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opens_stay_beneath, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_same, setup, teardown),
		cmocka_unit_test(test_pids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
