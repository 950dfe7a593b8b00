/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* On plain files, which keep what was written last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../daemon/perf/implicit.h"

static char top[] = "/tmp/test-perf-implicit.XXXXXX";
static struct hierarchy h = {.v2 = true};

static void put(const char *name, const char *text)
{
	int fd = openat(h.root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void expect(const char *controllers, const char *control, int result, const char *after)
{
	char text[64] = "";
	int fd;

	put("cgroup.controllers", controllers);
	put("cgroup.subtree_control", control);
	assert_int_equal(perf_implicit_begin(&h), result);
	fd = openat(h.root_fd, "cgroup.subtree_control", O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	assert_string_equal(text, after);
}

static void test_begin(void **state)
{
	(void)state;
	expect("cpuset cpu memory pids\n", "", 1, "-pids");
	expect("hugetlb memory\n", "", 1, "-hugetlb");
	expect("rdma", "\n", 1, "-rdma");
	/* It has been done, or cannot be. */
	expect("cpu pids\n", "cpu\n", 0, "cpu\n");
	expect("\n", "", 0, "");
	h.v2 = false;
	expect("cpu pids\n", "", 0, "");
	h.v2 = true;
	assert_int_equal(perf_implicit_begin(NULL), 0);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(top))
		return -1;
	h.root_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return h.root_fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	unlinkat(h.root_fd, "cgroup.controllers", 0);
	unlinkat(h.root_fd, "cgroup.subtree_control", 0);
	close(h.root_fd);
	return rmdir(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_begin)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
