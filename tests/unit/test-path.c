/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../policy/path.h"

static struct path path;

static void test_folding(void **state)
{
	static const struct {
		const char *text, *folded;
		bool absolute;
		unsigned n;
	} table[] = {
		{"", "", false, 0},
		{".", "", false, 0},
		{"./", "", false, 0},
		{"/", "", true, 0},
		{"//", "", true, 0},
		{"/.", "", true, 0},
		{"a", "a", false, 1},
		{"/a", "a", true, 1},
		{"a/", "a", false, 1},
		{"a//", "a", false, 1},
		{"//a", "a", true, 1},
		{"a/b", "a/b", false, 2},
		{"a//b", "a/b", false, 2},
		{"a/./b/.", "a/b", false, 2},
		{"./a/././/b", "a/b", false, 2},
		{"/a/b/c/", "a/b/c", true, 3},
		{"a..b", "a..b", false, 1},
		{"...", "...", false, 1},
		{"..a/b..", "..a/b..", false, 2},
		{".a", ".a", false, 1},
		{"a b", "a b", false, 1},
		{"x (deleted)", "x (deleted)", false, 1},
		{"\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac", false, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(path_parse(table[i].text, &path), REASON_OK);
		assert_string_equal(path.text, table[i].folded);
		assert_int_equal(path.len, strlen(table[i].folded));
		assert_int_equal(path.absolute, table[i].absolute);
		assert_int_equal(path.n, table[i].n);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		enum reason reason;
	} table[] = {
		{"..", REASON_PATH_DOTDOT},
		{"../x", REASON_PATH_DOTDOT},
		{"a/../../x", REASON_PATH_DOTDOT},
		{"a/..", REASON_PATH_DOTDOT},
		{"/..", REASON_PATH_DOTDOT},
		{"a//..//b", REASON_PATH_DOTDOT},
		{"./../", REASON_PATH_DOTDOT},
		{"a\nb", REASON_PATH_CONTROL},
		{"\x01", REASON_PATH_CONTROL},
		{"a/\x1b[2J", REASON_PATH_CONTROL},
		{"a\x7f", REASON_PATH_CONTROL},
		{"a\t", REASON_PATH_CONTROL},
		{"a\xc2\x9b"
		 "2J",
			REASON_PATH_CONTROL},
		{"a/../\n", REASON_PATH_CONTROL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (path_parse(table[i].text, &path) != table[i].reason)
			fail_msg("row %zu", i);
}

static void test_every_control_character(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char text[] = {'a', (char)c, 'b', '\0'};
		bool control = c < 0x20 || c == 0x7f;

		assert_int_equal(path_control(text + 1), control);
		assert_int_equal(
			path_parse(text, &path), control ? REASON_PATH_CONTROL : REASON_OK);
	}
	assert_int_equal(path_control(""), 0);
	assert_int_equal(path_control("\xc2\x80"), 2);
	assert_int_equal(path_control("\xc2\x9f"), 2);
	assert_int_equal(path_control("\xc2\xa0"), 0);
	assert_int_equal(path_control("\xc2"), 0);
}

static void test_lengths(void **state)
{
	static char text[3 * PATH_TEXT_MAX];

	(void)state;
	memset(text, 'a', PATH_NAME_MAX);
	text[PATH_NAME_MAX] = '\0';
	assert_int_equal(path_parse(text, &path), REASON_OK);
	memset(text, 'a', PATH_NAME_MAX + 1);
	text[PATH_NAME_MAX + 1] = '\0';
	assert_int_equal(path_parse(text, &path), REASON_NAME_LENGTH);
	memset(text, 'a', PATH_TEXT_MAX);
	text[PATH_TEXT_MAX] = '\0';
	assert_int_equal(path_parse(text, &path), REASON_NAME_LENGTH);
	memset(text, 'a', PATH_TEXT_MAX + 1);
	text[PATH_TEXT_MAX + 1] = '\0';
	assert_int_equal(path_parse(text, &path), REASON_PATH_LENGTH);
	memset(text, 'a', sizeof(text) - 1);
	assert_int_equal(path_parse(text, &path), REASON_PATH_LENGTH);

	/* the longest text: 15 names of 255 and one of 254 with what joins them, and one '/' before
	 */
	memset(text, 'a', PATH_TEXT_MAX);
	text[PATH_TEXT_MAX] = '\0';
	for (size_t i = 0; i < PATH_TEXT_MAX; i += PATH_NAME_MAX + 1)
		text[i] = '/';
	assert_int_equal(path_parse(text, &path), REASON_OK);
	assert_int_equal(path.len, PATH_TEXT_MAX - 1);
	assert_int_equal(path.n, 16);
	assert_true(path.absolute);
}

static void test_depth(void **state)
{
	char text[2 * PATH_COMPONENTS_MAX + 8] = "";

	(void)state;
	for (int i = 0; i < PATH_COMPONENTS_MAX; i++)
		strcat(text, "a/");
	assert_int_equal(path_parse(text, &path), REASON_OK);
	assert_int_equal(path.n, PATH_COMPONENTS_MAX);
	strcat(text, "./");
	assert_int_equal(path_parse(text, &path), REASON_OK);
	strcat(text, "b");
	assert_int_equal(path_parse(text, &path), REASON_PATH_DEPTH);
}

static void test_reserved_names(void **state)
{
	static const char *const names[] = {"tasks", "notify_on_release", "release_agent",
		"cgroup.procs", "cgroup.x", "cgroup.", ".cgm_leaf", ".cgm_", ".cgm_anything"};
	static const char *const controllers[] = {"cpu", "cpuacct", "cpuset", "memory", "io",
		"blkio", "pids", "devices", "freezer", "hugetlb", "net_cls", "net_prio",
		"perf_event", "rdma", "misc", "dmem", "debug", "irq"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (path_name_check(names[i], strlen(names[i])) != REASON_NAME_RESERVED)
			fail_msg("%s", names[i]);
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s.anything", controllers[i]);
		if (path_name_check(name, strlen(name)) != REASON_NAME_RESERVED)
			fail_msg("%s", name);
		/* the controller's own name is nobody's file */
		assert_int_equal(path_name_check(name, strlen(controllers[i])), REASON_OK);
	}
}

static void test_free_names(void **state)
{
	static const char *const names[] = {"a", "a..b", "...", "task", "tasks2", "tasks.x",
		"cgroup", "cgroups.x", "xcgroup.procs", "cpu", "memory", "memoryx.max",
		"Memory.max", "cpusets.x", "release_agent2", ".cgm", ".cgmx", "cgm_leaf",
		".cgX_leaf", "user.slice", "init.scope", "app-1.service", "-", "x (deleted)"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (path_name_check(names[i], strlen(names[i])) != REASON_OK)
			fail_msg("%s", names[i]);
	/* the length counts, not the text behind it */
	assert_int_equal(path_name_check("tasks/x", 5), REASON_NAME_RESERVED);
	assert_int_equal(path_name_check("tasksx", 5), REASON_NAME_RESERVED);
	assert_int_equal(path_name_check("tasks", 4), REASON_OK);
	assert_int_equal(path_name_check("cpu.x", 4), REASON_NAME_RESERVED);
}

static void test_within(void **state)
{
	static const struct {
		const char *path, *ancestor, *rest;
	} table[] = {
		{"/", "/", ""},
		{"/a", "/", "a"},
		{"/a/b", "/", "a/b"},
		{"/a", "/a", ""},
		{"/a/b", "/a", "b"},
		{"/a/b/c", "/a/b", "c"},
		{"/a/bc", "/a/b", NULL},
		{"/a/b", "/a/bc", NULL},
		{"/foobar", "/foo", NULL},
		{"/foo", "/foobar", NULL},
		{"/", "/a", NULL},
		{"/b/a", "/a", NULL},
		{"/a", "/a/b", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *rest = NULL;
		bool within = path_is_within(table[i].path, table[i].ancestor, &rest);

		assert_int_equal(within, table[i].rest != NULL);
		assert_int_equal(path_is_within(table[i].path, table[i].ancestor, NULL), within);
		if (within)
			assert_string_equal(rest, table[i].rest);
		else
			assert_null(rest);
	}
}

static void test_common(void **state)
{
	static const struct {
		const char *a, *b, *common;
	} table[] = {
		{"/", "/", "/"},
		{"/", "/a", "/"},
		{"/a", "/a", "/a"},
		{"/a", "/b", "/"},
		{"/a", "/ab", "/"},
		{"/a/b", "/a", "/a"},
		{"/a/b", "/a/b", "/a/b"},
		{"/a/b", "/a/bc", "/a"},
		{"/a/b/c", "/a/b/d", "/a/b"},
		{"/a/b/c", "/a/bb/c", "/a"},
		{"/a/b/c/d", "/a/b", "/a/b"},
		{"/ab/c", "/abc", "/"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(path_common(table[i].a, table[i].b), strlen(table[i].common));
		assert_int_equal(path_common(table[i].b, table[i].a), strlen(table[i].common));
		assert_memory_equal(table[i].a, table[i].common, strlen(table[i].common));
	}
}

static void test_depth_of_path(void **state)
{
	(void)state;
	assert_int_equal(path_depth("/"), 0);
	assert_int_equal(path_depth("/a"), 1);
	assert_int_equal(path_depth("/a/b"), 2);
	assert_int_equal(path_depth("/a/b/c"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folding),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every_control_character),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_reserved_names),
		cmocka_unit_test(test_free_names),
		cmocka_unit_test(test_within),
		cmocka_unit_test(test_common),
		cmocka_unit_test(test_depth_of_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
