/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of mountinfo: what is a cgroup mount, and what is passed over. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/mountinfo.h"

static struct mountinfo m;

static int parse(const char *text)
{
	return mountinfo_next(&text, &m);
}

static void test_fields(void **state)
{
	const char *text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
			   "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 master:2 - cgroup "
			   "cgroup rw,cpu,cpuacct\n"
			   "41 31 0:38 /a /u rw - cgroup2 none rw,nsdelegate\n";

	assert_int_equal(mountinfo_next(&text, &m), 1);
	assert_int_equal(m.id, 32);
	assert_int_equal(m.major, 0);
	assert_int_equal(m.minor, 29);
	assert_string_equal(m.root, "/");
	assert_string_equal(m.target, "/sys/fs/cgroup/cpu");
	assert_string_equal(m.options, "rw,cpu,cpuacct");
	assert_false(m.v2);
	assert_int_equal(mountinfo_next(&text, &m), 1);
	assert_string_equal(m.root, "/a");
	assert_string_equal(m.target, "/u");
	assert_true(m.v2);
	assert_int_equal(mountinfo_next(&text, &m), 0);
	assert_int_equal(mountinfo_next(&text, &m), 0);
}

static void test_escapes(void **state)
{
	assert_int_equal(
		parse("1 2 0:3 /a\\040b\\134 /t\\011x\\012y rw - cgroup c rw,x\\054y\n"), 1);
	assert_string_equal(m.root, "/a b\\");
	assert_string_equal(m.target, "/t\tx\ny");
	assert_string_equal(m.options, "rw,x\\054y");
	/* cut, not octal, NUL */
	assert_int_equal(parse("1 2 0:3 / /t\\04 rw - cgroup c rw\n"), 0);
	assert_int_equal(parse("1 2 0:3 / /t\\089 rw - cgroup c rw\n"), 0);
	assert_int_equal(parse("1 2 0:3 / /t\\000 rw - cgroup c rw\n"), 0);
}

static void test_odd_lines(void **state)
{
	/* an empty source; no newline at the end; no optional field */
	assert_int_equal(parse("1 2 0:3 / /t rw - cgroup  rw,cpu"), 1);
	assert_string_equal(m.options, "rw,cpu");
	/* an optional field and a target that look like the separator's neighbours */
	assert_int_equal(parse("1 2 0:3 / /- rw x - cgroup2 cgroup rw"), 1);
	assert_string_equal(m.target, "/-");

	assert_int_equal(parse(""), 0);
	assert_int_equal(parse("\n\n"), 0);
	assert_int_equal(parse("1 2 0:3 / /t rw - cgroup c"), 0);
	assert_int_equal(parse("1 2 0:3 / /t rw cgroup c rw"), 0);
	assert_int_equal(parse("1 2 0:3 / /t rw -"), 0);
	assert_int_equal(parse("x 2 0:3 / /t rw - cgroup c rw"), 0);
	assert_int_equal(parse("1 2 03 / /t rw - cgroup c rw"), 0);
	assert_int_equal(parse("1 2 0: / /t rw - cgroup c rw"), 0);
	assert_int_equal(parse("99999999999 2 0:3 / /t rw - cgroup c rw"), 0);
	assert_int_equal(parse("1 2 0:3 x /t rw - cgroup c rw"), 0);
	assert_int_equal(parse("1 2 0:3 / t rw - cgroup c rw"), 0);
	assert_int_equal(parse("1 2 0:3 / /t rw - cgroup3 c rw"), 0);
	assert_int_equal(parse("1 2 0:3 / /t rw - cgrou c rw"), 0);
	/* a file system that calls itself so in its source */
	assert_int_equal(parse("1 2 0:3 / /t rw - fuse cgroup rw,cpu"), 0);
}

static void test_long(void **state)
{
	static char line[16384];
	const char *text = line;
	char path[5000];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	/* one that does not fit is passed over, the next one is found */
	snprintf(line, sizeof(line),
		"1 2 0:3 / %.4096s rw - cgroup c rw\n4 2 0:3 / %.4095s rw - cgroup c rw\n", path,
		path);
	assert_int_equal(mountinfo_next(&text, &m), 1);
	assert_int_equal(m.id, 4);
	assert_int_equal(strlen(m.target), 4095);
	snprintf(line, sizeof(line), "1 2 0:3 / /t rw - cgroup c %.1024s\n", path);
	assert_int_equal(parse(line), 0);
	snprintf(line, sizeof(line), "1 2 0:3 / /t rw - cgroup c %.1023s\n", path);
	assert_int_equal(parse(line), 1);
}

static void test_types(void **state)
{
	static const char text[] = "21 30 0:19 / /sys rw - sysfs sysfs rw\n"
				   "junk\n"
				   "22 30 0:5 / /dev rw shared:2 master:1 - devtmpfs udev rw\n"
				   "23 22 0:20 / /dev/pts rw -\n"
				   "2 22 0:21 / /dev/- rw - tmpfs - rw";
	char type[9];

	assert_true(mountinfo_type(text, 22, type, sizeof(type)));
	assert_string_equal(type, "devtmpfs");
	assert_true(mountinfo_type(text, 2, type, sizeof(type)));
	assert_string_equal(type, "tmpfs");
	assert_false(mountinfo_type(text, 23, type, sizeof(type)));
	assert_false(mountinfo_type(text, 30, type, sizeof(type)));
	assert_false(mountinfo_type(text, (uint64_t)22 << 32 | 22, type, sizeof(type)));
	assert_false(mountinfo_type("", 0, type, sizeof(type)));
	/* one that does not fit is none */
	assert_false(mountinfo_type(text, 22, type, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_odd_lines),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
