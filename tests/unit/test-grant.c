/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../policy/grant.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool matches;
	} rows[] = {
		{"/", "/", true},
		{"/", "/a", false},
		{"/a", "/a", true},
		{"/a", "/", false},
		{"/a", "/ab", false},
		{"/a", "/a/b", false},
		{"/a/b", "/a", false},
		{"/*", "/a", true},
		{"/*", "/", false},
		{"/*", "/a/b", false},
		{"/lxc/*", "/lxc/web", true},
		{"/lxc/*", "/lxc", false},
		{"/lxc/*", "/lxc/web/init", false},
		{"/lxc/*", "/lxcx/web", false},
		{"/lxc/web-*", "/lxc/web-1", true},
		{"/lxc/web-*", "/lxc/web-", true},
		{"/lxc/web-*", "/lxc/web", false},
		{"/*.slice/*.scope", "/user.slice/a.scope", true},
		{"/*.slice/*.scope", "/user.slice/a.service", false},
		{"/a*b*c", "/abbc", true},
		{"/a*b*c", "/aXbYbZc", true},
		{"/a*b*c", "/aXbYbZ", false},
		{"/a*b", "/a/b", false},
		{"/**", "/", false},
		{"/**", "/a", true},
		{"/**", "/a/b/c", true},
		{"/lxc/**", "/lxc", false},
		{"/lxc/**", "/lxc/a", true},
		{"/lxc/**", "/lxc/a/b", true},
		{"/lxc/**", "/lxcx", false},
		{"/**/init", "/init", true},
		{"/**/init", "/a/b/init", true},
		{"/**/init", "/a/b/init/c", false},
		{"/**/init", "/a/binit", false},
		{"/a/**/b/*/c", "/a/b/x/b/y/c", true},
		{"/a/**/b/*/c", "/a/b/b/c", true},
		{"/a/**/b/*/c", "/a/b/c", false},
		{"/a/**/b/**", "/a/b", false},
		{"/a/**/b/**", "/a/x/b/y", true},
		{"/a?", "/ab", false},
		{"/a\\x2db", "/a\\x2db", true},
		{"a", "a", false},
		{"/a", "a", false},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++)
		if (grant_pattern_matches(rows[k].pattern, rows[k].path) != rows[k].matches)
			fail_msg("%s and %s", rows[k].pattern, rows[k].path);
}

/* The same in other words: whatever a star may stand for is tried. */
static bool tried(const char *p, const char *c)
{
	if (strncmp(p, "/**", 3) == 0 && *c && *c != '/')
		return false;
	if (strncmp(p, "/**", 3) == 0) {
		/* at the end: one component or more */
		if (!p[3])
			return *c == '/';
		for (; c; c = *c ? strchr(c + 1, '/') : NULL)
			if (tried(p + 3, c))
				return true;
		return false;
	}
	if (*p == '*') {
		for (;; c++) {
			if (tried(p + 1, c))
				return true;
			if (!*c || *c == '/')
				return false;
		}
	}
	return *p == *c && (!*p || tried(p + 1, c + 1));
}

static void random_path(char *buf, bool pattern)
{
	static const char *const parts[] = {
		"a", "b", "ab", "ba", "aab", "*", "a*", "*b", "**", "*a*"};

	*buf = '\0';
	for (int n = 1 + rand() % 6; n > 0; n--) {
		strcat(buf, "/");
		strcat(buf, parts[rand() % (pattern ? 10 : 5)]);
	}
}

static void test_patterns_as_all_that_is_tried(void **state)
{
	char pattern[64], path[64];
	unsigned matching = 0;

	(void)state;
	srand(5);
	for (unsigned k = 0; k < 200000; k++) {
		random_path(pattern, true);
		random_path(path, false);
		matching += tried(pattern, path);
		if (grant_pattern_matches(pattern, path) != tried(pattern, path))
			fail_msg("%s and %s", pattern, path);
	}
	assert_in_range(matching, 10000, 100000);
}

/* "[section]" begins one, "key=value" is of it. */
static int read_lines(struct grants *g, const char *const *lines, const char **why)
{
	int r = 0;

	for (; *lines && r == 0; lines++) {
		char text[5000], *value;

		assert_true((size_t)snprintf(text, sizeof(text), "%s", *lines) < sizeof(text));
		value = strchr(text, '=');
		if (text[0] == '[') {
			text[strlen(text) - 1] = '\0';
			r = grants_section_end(g, why);
			if (r == 0)
				r = grants_section(g, text + 1, why);
		} else {
			*value++ = '\0';
			r = grants_key(g, text, value, why);
		}
	}
	return r < 0 ? r : grants_section_end(g, why);
}

static void test_what_is_wrong(void **state)
{
	static const struct {
		const char *lines[5];
		const char *why; /* part of it */
	} rows[] = {
		{{"allow=fuse"}, "no section"},
		{{"[devices]", "allow=fuse"}, "sections are"},
		{{"[devicesx /a]", "allow=fuse"}, "sections are"},
		{{"[limits /a]", "allow=fuse"}, "sections are"},
		{{"[devices a]", "allow=fuse"}, "begins with /"},
		{{"[devices  ]", "allow=fuse"}, "begins with /"},
		{{"[devices /a/]", "allow=fuse"}, "ends in /"},
		{{"[devices //a]", "allow=fuse"}, "ends in /"},
		{{"[devices /a//b]", "allow=fuse"}, "ends in /"},
		{{"[devices /../a]", "allow=fuse"}, ". or .."},
		{{"[devices /a/.]", "allow=fuse"}, ". or .."},
		{{"[devices /a**]", "allow=fuse"}, "whole components"},
		{{"[devices /***]", "allow=fuse"}, "whole components"},
		{{"[devices /a\x1b]", "allow=fuse"}, "control"},
		{{"[devices /a]"}, "allows nothing"},
		{{"[devices /a]", "uid=5"}, "allows nothing"},
		{{"[devices /a]", "[devices /b]", "allow=fuse"}, "allows nothing"},
		{{"[devices /a]", "allow="}, "no device"},
		{{"[devices /a]", "allow= , "}, "no device"},
		{{"[devices /a]", "allow=fuse no-such"}, ""},
		{{"[devices /a]", "allow=c 4096:0"}, "4095"},
		{{"[devices /a]", "allow=c"}, ""},
		{{"[perf]", "grant=cpu"}, "sections are"},
		{{"[perfx /a]", "grant=cpu"}, "sections are"},
		{{"[perf a]", "grant=cpu"}, "begins with /"},
		{{"[perf /a/..]", "grant=cpu"}, ". or .."},
		{{"[perf /a]"}, "grants nothing"},
		{{"[perf /a]", "uid=5"}, "grants nothing"},
		{{"[perf /a]", "[devices /b]", "allow=fuse"}, "grants nothing"},
		{{"[perf /a]", "grant="}, "no item"},
		{{"[perf /a]", "grant= , "}, "no item"},
		{{"[perf /a]", "grant=cpu all"}, "items are"},
		{{"[perf /a]", "grant=pmu:../x"}, "items are"},
		{{"[perf /a]", "grant=tracepoint:sched"}, "items are"},
		{{"[perf /a]", "allow=fuse"}, "keys of [perf]"},
		{{"[perf /a]", "grant=cpu", "access=r"}, "keys of [perf]"},
		{{"[perf /a]", "grant=cpu", "uid=1", "uid=1"}, "twice"},
		{{"[perf /a]", "grant=cpu", "uid=root"}, "number"},
		{{"[devices /a]", "grant=cpu"}, "keys of [devices]"},
		{{"[devices /a]", "deny=fuse"}, "the keys of [devices] are"},
		{{"[devices /a]", "Allow=fuse"}, "the keys of [devices] are"},
		{{"[devices /a]", "allow=fuse", "uid=x"}, "number"},
		{{"[devices /a]", "allow=fuse", "uid="}, "number"},
		{{"[devices /a]", "allow=fuse", "uid=-1"}, "number"},
		{{"[devices /a]", "allow=fuse", "uid=4294967295"}, "too large"},
		{{"[devices /a]", "allow=fuse", "uid=99999999999"}, "number"},
		{{"[devices /a]", "allow=fuse", "uid=1", "uid=1"}, "twice"},
		{{"[devices /a]", "allow=fuse", "access=rx"}, "letter"},
		{{"[devices /a]", "allow=fuse", "access="}, "empty"},
		{{"[devices /a]", "allow=fuse", "access=r w"}, "one to three"},
		{{"[devices /a]", "allow=fuse", "access=r", "access=r"}, "twice"},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++) {
		struct grants g = {0};
		const char *why = NULL;

		if (read_lines(&g, rows[k].lines, &why) != -EINVAL)
			fail_msg("%s %s: was taken", rows[k].lines[0], rows[k].lines[1]);
		assert_non_null(why);
		if (!strstr(why, rows[k].why))
			fail_msg("%s %s: %s", rows[k].lines[0], rows[k].lines[1], why);
		grants_done(&g);
	}
}

static void test_too_many(void **state)
{
	struct grants g = {0};
	const char *why = NULL;
	char text[GRANT_PATTERN_MAX + 32] = "devices /";

	(void)state;
	for (unsigned k = 0; k < GRANTS_MAX; k++) {
		assert_int_equal(grants_section(&g, "devices /a", &why), 0);
		assert_int_equal(grants_key(&g, "allow", "fuse", &why), 0);
	}
	assert_int_equal(grants_section(&g, "devices /a", &why), -EINVAL);
	for (unsigned k = 1; k < GRANT_DEVICES_MAX; k++)
		assert_int_equal(grants_key(&g, "allow", "fuse", &why), 0);
	assert_int_equal(grants_key(&g, "allow", "fuse", &why), -EINVAL);
	grants_done(&g);
	memset(text + strlen(text), 'a', GRANT_PATTERN_MAX - 1);
	assert_int_equal(grants_section(&g, text, &why), 0);
	strcat(text, "a");
	assert_int_equal(grants_section(&g, text, &why), -EINVAL);
	grants_done(&g);
}

/* clang-format off */
static const char *const lines[] = {
	"[devices /lxc/*]", "allow=fuse, c 10:200 gpu:render,b 7:*,/dev/kmsg",
	"[devices /lxc/**]", "uid=100000", "allow=c 5:0-7", "access=rw", "allow=c 5:8-9, kvm",
	"[devices /lxc/a]", "allow=kvm", "access=m",
	"[devices /all]", "allow=a",
	NULL};
/* clang-format on */

static void test_what_is_granted(void **state)
{
	static const struct {
		const char *path;
		uid_t uid;
		const char *device, *access;
		bool granted;
	} rows[] = {
		{"/lxc/a", 0, "fuse", "rwm", true},
		{"/lxc/a", 1000, "fuse", "r", true},
		{"/lxc/a", 0, "gpu:render", "rw", true},
		{"/lxc/a", 0, "gpu", "rw", false},
		{"/lxc/a", 0, "/dev/kmsg", "rw", true},
		{"/lxc/a", 0, "/dev/fuse", "rw", false},
		{"/lxc/a", 0, "c 10:200", "rwm", true},
		{"/lxc/a", 0, "c 10:201", "r", false},
		{"/lxc/a", 0, "b 10:200", "r", false},
		{"/lxc/a", 0, "b 7:5", "r", true},
		{"/lxc/a", 0, "b 7:*", "rwm", true},
		{"/lxc/a", 0, "a 7:5", "r", false},
		{"/lxc", 0, "fuse", "r", false},
		{"/lxc/a/b", 0, "fuse", "r", false},
		{"/", 0, "fuse", "r", false},
		/* of one uid; ranges that together are one */
		{"/lxc/a/b", 100000, "c 5:0-9", "rw", true},
		{"/lxc/a/b", 100000, "c 5:0-10", "rw", false},
		{"/lxc/a/b", 100000, "c 5:6-8", "rw", true},
		{"/lxc/a/b", 100000, "c 5:6-8", "rwm", false},
		{"/lxc/a/b", 100001, "c 5:6", "rw", false},
		{"/lxc/a/b", 0, "c 5:6", "rw", false},
		/* two sections: one's access and the other's */
		{"/lxc/a", 100000, "kvm", "rwm", true},
		{"/lxc/a", 0, "kvm", "m", true},
		{"/lxc/a", 0, "kvm", "rm", false},
		{"/lxc/b", 100000, "kvm", "rwm", false},
		/* numbers, and no names: those are compared by what they stand for now */
		{"/all", 7, "a", "rwm", true},
		{"/all", 7, "c *:5", "rwm", true},
		{"/all", 7, "fuse", "r", false},
	};
	struct grants g = {0};
	const char *why = NULL;

	(void)state;
	assert_int_equal(read_lines(&g, lines, &why), 0);
	assert_int_equal(g.n, 4);
	for (size_t k = 0; k < N(rows); k++) {
		struct device_rule rule;

		assert_int_equal(device_parse(rows[k].device, rows[k].access, &rule, &why), 0);
		if (grants_allow(&g, rows[k].path, rows[k].uid, &rule) != rows[k].granted)
			fail_msg("%s %u %s %s", rows[k].path, rows[k].uid, rows[k].device,
				rows[k].access);
	}
	grants_done(&g);
}

static void test_nothing_is_granted_at_first(void **state)
{
	const struct grants g = {0};
	struct device_rules rules;
	struct device_rule rule;
	const char *why;

	(void)state;
	assert_int_equal(device_parse("fuse", "r", &rule, &why), 0);
	assert_false(grants_allow(&g, "/", 0, &rule));
	assert_int_equal(device_parse("c 1:3", "r", &rule, &why), 0);
	assert_false(grants_allow(&g, "/a", 0, &rule));
	assert_int_equal(grants_rules(&g, "/a", 0, &rules), 0);
	assert_int_equal(rules.n, 0);
	assert_false(rules.allow);
	assert_false(grants_cover(&rules, &rule.range, 1, DEVICE_READ));
	device_rules_done(&rules);
}

/* By what the names stand for: those of devices.def that need nobody to be asked. */
static void test_names_by_what_they_stand_for(void **state)
{
	const struct device_range fuse = {DEVICE_CHAR, DEVICE_ALL, 10, 229, 229},
				  misc = {DEVICE_CHAR, DEVICE_ALL, 10, 200, 229},
				  both[] = {fuse, {DEVICE_CHAR, DEVICE_ALL, 10, 200, 200}};
	struct device_rules named, resolved;
	struct grants g = {0};
	const char *why = NULL;

	(void)state;
	assert_int_equal(read_lines(&g, lines, &why), 0);
	assert_int_equal(grants_rules(&g, "/lxc/b", 0, &named), 0);
	assert_int_equal(device_rules_resolve(&named, NULL, NULL, &resolved), 0);
	assert_true(grants_cover(&resolved, &fuse, 1, DEVICE_ALL));
	assert_true(grants_cover(&resolved, both, 2, DEVICE_ALL));
	assert_false(grants_cover(&resolved, &misc, 1, DEVICE_READ));
	/* what stands for nothing now */
	assert_false(grants_cover(&resolved, NULL, 0, DEVICE_READ));
	device_rules_done(&named);
	device_rules_done(&resolved);
	grants_done(&g);
}

/* Deny rules grant nothing, and do not take back: there are none in a file. */
static void test_cover_takes_what_allows(void **state)
{
	struct device_rule rule[] = {
		{.allow = true, .access = 6, .range = {DEVICE_CHAR, 7, 10, 0, 99}},
		{.allow = false, .access = 7, .range = {DEVICE_CHAR, 7, 10, 100, 199}},
		{.allow = true, .access = 7, .range = {DEVICE_BOTH, 3, DEVICE_ANY, 0, 9}},
	};
	const struct device_rules rules = {.n = N(rule), .rule = rule};
	static const struct {
		struct device_range range;
		uint8_t access;
		bool covered;
	} rows[] = {
		{{DEVICE_CHAR, 7, 10, 0, 99}, 6, true},
		{{DEVICE_CHAR, 7, 10, 0, 99}, 7, false},
		{{DEVICE_CHAR, 6, 10, 0, 99}, 7, true},
		{{DEVICE_CHAR, 7, 10, 0, 100}, 6, false},
		{{DEVICE_CHAR, 7, 10, 100, 100}, 6, false},
		{{DEVICE_CHAR, 7, 10, 0, 9}, 7, true},
		{{DEVICE_CHAR, 7, 11, 0, 9}, 4, false},
		{{DEVICE_BOTH, 7, DEVICE_ANY, 0, 9}, 3, true},
		{{DEVICE_BOTH, 7, DEVICE_ANY, 0, 10}, 3, false},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++)
		assert_int_equal(
			grants_cover(&rules, &rows[k].range, 1, rows[k].access), rows[k].covered);
}

static void expect_perf(const struct grants *g, const char *path, uid_t owner, const char *expected)
{
	struct perf_record r = {0};
	char text[PERF_RECORD_TEXT_MAX + 1];

	assert_int_equal(grants_perf(g, path, owner, &r.given), 0);
	assert_int_equal(perf_record_print(&r, text, sizeof(text)), 0);
	if (strcmp(text, expected) != 0)
		fail_msg("%s of %u: %s", path, owner, text);
}

static void test_perf(void **state)
{
	static const char *const sections[] = {"[perf /lxc/*]", "grant=cpu, pmu:msr",
		"grant=tracepoint:sched:sched_switch", "[devices /lxc/*]", "allow=fuse",
		"[perf /lxc/**]", "uid=100000", "grant=gpu cpu", "[perf /lxc/a]", "grant=kernel",
		NULL};
	struct device_rules rules;
	struct device_rule rule;
	struct grants g = {0};
	const char *why = NULL;

	(void)state;
	expect_perf(&g, "/lxc/a", 0, "");
	assert_int_equal(read_lines(&g, sections, &why), 0);
	assert_int_equal(g.n, 4);
	expect_perf(&g, "/", 0, "");
	expect_perf(&g, "/lxc", 100000, "");
	expect_perf(&g, "/lxc/a", 0, "cpu kernel pmu:msr tracepoint:sched:sched_switch");
	expect_perf(&g, "/lxc/b", 0, "cpu pmu:msr tracepoint:sched:sched_switch");
	expect_perf(&g, "/lxc/b", 100000, "cpu gpu pmu:msr tracepoint:sched:sched_switch");
	/* what is below inherits; the file says nothing of it */
	expect_perf(&g, "/lxc/b/c", 0, "");
	expect_perf(&g, "/lxc/b/c", 100001, "");
	expect_perf(&g, "/lxc/b/c", 100000, "cpu gpu");
	/* sections of one kind grant nothing of the other */
	assert_int_equal(grants_rules(&g, "/lxc/a", 100000, &rules), 0);
	assert_int_equal(rules.n, 1);
	device_rules_done(&rules);
	assert_int_equal(device_parse("c 10:229", "r", &rule, &why), 0);
	assert_false(grants_allow(&g, "/lxc/b/c", 100000, &rule));
	grants_done(&g);
}

static void test_too_many_items(void **state)
{
	struct perf_items items = {.n = 1, .item = {{.kind = PERF_ITEM_POWER}}};
	struct grants g = {0};
	const char *why = NULL;
	char text[PERF_ITEM_TEXT_MAX + 2];

	(void)state;
	assert_int_equal(grants_section(&g, "perf /a", &why), 0);
	for (unsigned k = 0; k < PERF_ITEMS_MAX; k++) {
		snprintf(text, sizeof(text), "pmu:p%u", k);
		assert_int_equal(grants_key(&g, "grant", text, &why), 0);
	}
	assert_int_equal(grants_key(&g, "grant", "pmu:p5", &why), 0);
	assert_int_equal(grants_key(&g, "grant", "cpu", &why), -EINVAL);
	assert_non_null(strstr(why, "64"));
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(grants_key(&g, "grant", text, &why), -EINVAL);
	assert_non_null(strstr(why, "too long"));
	/* of two sections together */
	assert_int_equal(grants_section(&g, "perf /*", &why), 0);
	assert_int_equal(grants_key(&g, "grant", "gpu", &why), 0);
	assert_int_equal(grants_perf(&g, "/a", 0, &items), -E2BIG);
	assert_int_equal(items.item[0].kind, PERF_ITEM_POWER);
	assert_int_equal(grants_perf(&g, "/b", 0, &items), 0);
	assert_int_equal(items.item[0].kind, PERF_ITEM_GPU);
	grants_done(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_patterns_as_all_that_is_tried),
		cmocka_unit_test(test_what_is_wrong),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_what_is_granted),
		cmocka_unit_test(test_nothing_is_granted_at_first),
		cmocka_unit_test(test_names_by_what_they_stand_for),
		cmocka_unit_test(test_cover_takes_what_allows),
		cmocka_unit_test(test_perf),
		cmocka_unit_test(test_too_many_items),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
