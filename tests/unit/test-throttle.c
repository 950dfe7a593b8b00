/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../policy/throttle.h"

static void test_lines(void **state)
{
	const char *text = "8:0 1048576\n253:1 18446744073709551615\n";
	struct throttle_line line;

	(void)state;
	assert_int_equal(throttle_next(&text, &line), 1);
	assert_int_equal(line.major, 8);
	assert_int_equal(line.minor, 0);
	assert_int_equal(line.limit, 1048576);
	assert_int_equal(throttle_next(&text, &line), 1);
	assert_int_equal(line.major, 253);
	assert_true(line.limit == UINT64_MAX);
	assert_int_equal(throttle_next(&text, &line), 0);
}

static void test_what_is_no_line(void **state)
{
	static const char *const texts[] = {"8", "8:0", "8:0 ", "8:0  1", "8:0 -1", "8:0 1x",
		"a:0 1", ":0 1", "8:0 18446744073709551616", "4294967296:0 1", " 8:0 1", "8:0\t1",
		"8:0 1 ", "\n", "4096:0 1", "0:1048576 1", "0:8388608 1"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const char *at = texts[i];
		struct throttle_line line;

		assert_int_equal(throttle_next(&at, &line), -EINVAL);
		assert_int_equal(throttle_narrows("", texts[i]), -EINVAL);
	}
}

static void test_limit_is_the_narrowest(void **state)
{
	(void)state;
	assert_int_equal(throttle_limit("", 8, 0), 0);
	assert_int_equal(throttle_limit("8:0 5\n", 8, 0), 5);
	assert_int_equal(throttle_limit("8:0 5\n8:0 3\n8:0 9\n", 8, 0), 3);
	assert_int_equal(throttle_limit("8:0 0\n8:0 9\n", 8, 0), 9);
	assert_int_equal(throttle_limit("8:1 5\n", 8, 0), 0);
}

static void test_narrows(void **state)
{
	static const struct {
		const char *lines, *value;
		int expected;
	} rows[] = {
		{"", "8:0 5", 1},
		{"", "8:0 0", 1},
		{"8:0 5\n", "8:0 5", 1},
		{"8:0 5\n", "8:0 4", 1},
		{"8:0 5\n", "8:0 6", 0},
		{"8:0 5\n", "8:0 0", 0},
		{"8:0 5\n", "8:1 0", 1},
		{"8:0 9\n8:0 5\n", "8:0 6", 0},
		{"", "", -EINVAL},
		{"", "8:0 5\n8:0 6", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(throttle_narrows(rows[i].lines, rows[i].value), rows[i].expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_what_is_no_line),
		cmocka_unit_test(test_limit_is_the_narrowest),
		cmocka_unit_test(test_narrows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
