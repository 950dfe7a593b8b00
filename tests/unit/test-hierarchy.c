/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which hierarchy a name means, and where /proc/PID/cgroup says that a task is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/hierarchy.h"
#include "../../policy/path.h"

static const struct hierarchies all = {
	.n = 4,
	.list =
		{
			{.index = 0, .id = 4, .name = "memory", .proc_name = "memory"},
			{.index = 1, .id = 3, .name = "cpu,cpuacct", .proc_name = "cpu,cpuacct"},
			{.index = 2, .id = -1, .name = "name=systemd", .proc_name = "name=systemd"},
			{.index = 3, .id = 0, .v2 = true, .name = "unified,hugetlb"},
		},
};

static void test_find(void **state)
{
	static const struct {
		const char *name;
		int index;
	} rows[] = {
		{"memory", 0},
		{"cpu", 1},
		{"cpuacct", 1},
		{"cpu,cpuacct", 1},
		{"cpuacct,cpu", -1},
		{"name=systemd", 2},
		{"systemd", -1},
		{"unified", 3},
		{"hugetlb", 3},
		{"unified,hugetlb", 3},
		{"", -1},
		{",", -1},
		{"mem", -1},
		{"memory,", -1},
		{"memoryx", -1},
		{"name=", -1},
		{"all", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct hierarchy *h =
			hierarchy_find(&all, rows[i].name, (unsigned)strlen(rows[i].name));

		if ((h ? (int)h->index : -1) != rows[i].index)
			fail_msg("%s: %d", rows[i].name, h ? (int)h->index : -1);
	}
	/* only `len` bytes are the name */
	assert_ptr_equal(hierarchy_find(&all, "memory,cpu", 6), &all.list[0]);
}

static int path(const struct hierarchy *h, const char *text, char *ret)
{
	return hierarchy_path(h, text, (unsigned)strlen(text), ret);
}

static void test_path(void **state)
{
	static const struct {
		unsigned index;
		const char *text;
		int result;
		const char *path;
	} rows[] = {
		{0, "4:memory:/\n", 0, "/"},
		{0, "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n", 0, "/a/b"},
		{1, "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n", 0, "/c"},
		{3, "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n", 0, "/d"},
		{2, "9:name=systemd:/s\n0::/d\n", 0, "/s"},
		{2, "9:name=systemdx:/s\n0::/d\n", -ENOENT, NULL},
		{2, "9:name=system:/s\n", -ENOENT, NULL},
		/* a path that holds the look of another line */
		{0, "3:cpu:/4:memory:/x\n4:memory:/a:b::c\n", 0, "/a:b::c"},
		{0, "14:pids:/x\n", -ENOENT, NULL},
		{0, "40:pids:/x\n4:memory:/y\n", 0, "/y"},
		{0, "", -ENOENT, NULL},
		{0, "\n", -ENOENT, NULL},
		{0, "4\n", -ENOENT, NULL},
		{0, "4:memory\n", -ENOENT, NULL},
		{0, "4:memory:\n", -EINVAL, NULL},
		{0, "4:memory:a\n", -EINVAL, NULL},
		/* the text was cut */
		{0, "4:memory:/a", -ENOENT, NULL},
		{0, "4:memory:/..\n", -EXDEV, NULL},
		{0, "4:memory:/../a\n", -EXDEV, NULL},
		{0, "4:memory:/../..\n", -EXDEV, NULL},
		{0, "4:memory:/..a\n", 0, "/..a"},
		{0, "4:memory:/...\n", 0, "/..."},
		{0, "4:memory:/a (deleted)\n", -ESTALE, NULL},
		{0, "4:memory:/a (deleted)x\n", 0, "/a (deleted)x"},
		{0, "4:memory:/a(deleted)\n", 0, "/a(deleted)"},
		{0, "4:memory:/a (deleted)/b\n", 0, "/a (deleted)/b"},
	};
	char buf[PATH_TEXT_MAX + 1];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int r;

		strcpy(buf, "untouched");
		r = path(&all.list[rows[i].index], rows[i].text, buf);
		if (r != rows[i].result)
			fail_msg("%s: %d", rows[i].text, r);
		assert_string_equal(buf, rows[i].path ? rows[i].path : "untouched");
	}
}

static void test_long(void **state)
{
	char text[8192], buf[PATH_TEXT_MAX + 1], name[PATH_TEXT_MAX + 1];

	memset(name, 'n', sizeof(name));
	name[0] = '/';
	snprintf(text, sizeof(text), "4:memory:%.4094s\n", name);
	assert_int_equal(path(&all.list[0], text, buf), 0);
	assert_int_equal(strlen(buf), 4094);
	/* the kernel cuts there: it may have been longer */
	snprintf(text, sizeof(text), "4:memory:%.4095s\n", name);
	assert_int_equal(path(&all.list[0], text, buf), -ENAMETOOLONG);
	snprintf(text, sizeof(text), "4:memory:%.4095s (deleted)\n", name);
	assert_int_equal(path(&all.list[0], text, buf), -ENAMETOOLONG);
}

static void test_discover(void **state)
{
	static struct hierarchies h, without;
	char what[256] = "", first[HIERARCHY_NAME_MAX];
	int r = hierarchies_discover(&h, NULL, NULL, what, sizeof(what));

	if (r == -ENODEV) {
		print_message("no cgroup hierarchy is mounted here\n");
		skip();
	}
	assert_int_equal(r, 0);
	for (unsigned i = 0; i < h.n; i++) {
		assert_int_equal(h.list[i].index, i);
		assert_true(h.list[i].root_fd >= 0);
		assert_true(h.list[i].id >= 0);
		assert_ptr_equal(
			hierarchy_find(&h, h.list[i].name, (unsigned)strcspn(h.list[i].name, ",")),
			&h.list[i]);
		for (unsigned j = 0; j < i; j++)
			assert_true(h.list[j].dev != h.list[i].dev);
	}
	/* any one of its names leaves a hierarchy alone */
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(h.list[0].name, ","), h.list[0].name);
	r = hierarchies_discover(&without, NULL, first, what, sizeof(what));
	if (h.n == 1) {
		assert_int_equal(r, -ENODEV);
	} else {
		assert_int_equal(r, 0);
		assert_int_equal(without.n, h.n - 1);
		assert_null(hierarchy_find(&without, first, (unsigned)strlen(first)));
		hierarchies_done(&without);
	}
	/* what is there is not mounted a second time */
	assert_int_equal(hierarchies_discover(&without, first, NULL, what, sizeof(what)), 0);
	assert_int_equal(without.n, h.n);
	hierarchies_done(&without);
	hierarchies_done(&h);
	assert_int_equal(h.n, 0);
	what[0] = '\0';
	assert_true(hierarchies_discover(&h, "no_such_controller", NULL, what, sizeof(what)) < 0);
	assert_string_equal(what, "no_such_controller");
}

/* v2 answers to a name of v1's by programs only where v1 does not have it. */
static void test_by_program(void **state)
{
	struct hierarchies both = {
		.n = 2, .list = {{.v2 = true, .name = "unified,memory"}, {.name = "cpu,devices"}}};
	struct hierarchies alone = {
		.n = 2, .list = {{.name = "cpu"}, {.v2 = true, .name = "unified,memory"}}};
	struct hierarchies without = {.n = 1, .list = {{.name = "cpu"}}};

	assert_int_equal(hierarchies_by_program(&both), 0);
	assert_string_equal(both.list[0].name, "unified,memory");
	assert_false(both.list[0].devices);
	assert_int_equal(hierarchies_by_program(&alone), 0);
	assert_string_equal(alone.list[1].name, "unified,memory,devices");
	assert_true(alone.list[1].devices);
	assert_ptr_equal(hierarchy_find(&alone, "devices", 7), &alone.list[1]);
	assert_int_equal(hierarchies_by_program(&without), 0);
	assert_string_equal(without.list[0].name, "cpu");
	memset(alone.list[1].name, 'n', sizeof(alone.list[1].name) - 1);
	assert_int_equal(hierarchies_by_program(&alone), -E2BIG);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_discover),
		cmocka_unit_test(test_by_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
