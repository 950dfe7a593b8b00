/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../policy/idmap.h"

#define UNMAPPED UINT32_MAX

static struct idmap map;

static int parse(const char *text)
{
	return idmap_parse(text, strlen(text), &map);
}

static uint32_t outside(uint32_t inside)
{
	uint32_t id = 4711;

	if (idmap_to_outside(&map, inside, &id))
		return id;
	assert_int_equal(id, 4711); /* untouched */
	return UNMAPPED;
}

static uint32_t inside(uint32_t out)
{
	uint32_t id = 4711;

	if (idmap_to_inside(&map, out, &id))
		return id;
	assert_int_equal(id, 4711);
	return UNMAPPED;
}

static void test_initial_namespace(void **state)
{
	(void)state;
	assert_int_equal(parse("         0          0 4294967295\n"), 0);
	assert_int_equal(map.n, 1);
	assert_int_equal(outside(0), 0);
	assert_int_equal(outside(1000), 1000);
	assert_int_equal(inside(4294967294u), 4294967294u);
	assert_int_equal(inside(IDMAP_INVALID), UNMAPPED);
	assert_int_equal(outside(IDMAP_INVALID), UNMAPPED);
}

static void test_container(void **state)
{
	(void)state;
	assert_int_equal(parse("         0     100000      65536\n"), 0);
	assert_int_equal(outside(0), 100000);
	assert_int_equal(outside(65535), 165535);
	assert_int_equal(outside(65536), UNMAPPED);
	assert_int_equal(inside(99999), UNMAPPED);
	assert_int_equal(inside(100000), 0);
	assert_int_equal(inside(165535), 65535);
	assert_int_equal(inside(165536), UNMAPPED);
	assert_int_equal(inside(0), UNMAPPED);
}

/* As the host sees a namespace within a namespace: one line for each piece of the parent's map. */
static void test_nested(void **state)
{
	(void)state;
	assert_int_equal(parse("0 110000 1000\n1000 1000 1\n1001 111001 64535\n"), 0);
	assert_int_equal(map.n, 3);
	assert_int_equal(outside(0), 110000);
	assert_int_equal(outside(999), 110999);
	assert_int_equal(outside(1000), 1000);
	assert_int_equal(outside(1001), 111001);
	assert_int_equal(inside(111000), UNMAPPED);
	assert_int_equal(inside(1000), 1000);
	assert_int_equal(inside(100000), UNMAPPED);
}

static void test_empty(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(map.n, 0);
	assert_int_equal(outside(0), UNMAPPED);
	assert_int_equal(inside(0), UNMAPPED);
}

/* The kernel shows an extent whose start the reader does not map as 4294967295. */
static void test_unmapped_for_the_reader(void **state)
{
	(void)state;
	assert_int_equal(parse("0 4294967295 65536\n65536 200000 10\n"), 0);
	assert_int_equal(map.n, 1);
	assert_int_equal(outside(0), UNMAPPED);
	assert_int_equal(outside(65536), 200000);
}

static void test_many_extents(void **state)
{
	static char text[IDMAP_TEXT_MAX + 64];
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i < IDMAP_EXTENTS_MAX; i++)
		len += (size_t)sprintf(
			text + len, "%10u %10u %10u\n", i * 10, 4000000000u + i * 20, 5);
	assert_true(len < IDMAP_TEXT_MAX);
	assert_int_equal(idmap_parse(text, len, &map), 0);
	assert_int_equal(map.n, IDMAP_EXTENTS_MAX);
	for (unsigned i = 0; i < IDMAP_EXTENTS_MAX; i++) {
		assert_int_equal(outside(i * 10 + 4), 4000000000u + i * 20 + 4);
		assert_int_equal(outside(i * 10 + 5), UNMAPPED);
		assert_int_equal(inside(4000000000u + i * 20), i * 10);
		assert_int_equal(inside(4000000000u + i * 20 + 5), UNMAPPED);
	}
	len += (size_t)sprintf(text + len, "5000 5000 1\n");
	assert_int_equal(idmap_parse(text, len, &map), -EINVAL);
	assert_int_equal(map.n, 0);
}

/* Whole lines only: cut anywhere else, a text is no map. */
static void test_truncation(void **state)
{
	static const char text[] = "0 100000 1000\n1000 1000 1\n1001 101001 64535\n";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		unsigned lines = 0;
		bool whole = len == 0 || text[len - 1] == '\n';

		for (size_t i = 0; i < len; i++)
			lines += text[i] == '\n';
		assert_int_equal(idmap_parse(text, len, &map), whole ? 0 : -EINVAL);
		assert_int_equal(map.n, whole ? lines : 0);
	}
}

static void test_limits(void **state)
{
	(void)state;
	assert_int_equal(parse("4294967294 4294967294 1\n"), 0);
	assert_int_equal(outside(4294967294u), 4294967294u);
	assert_int_equal(parse("0 0 4294967295\n"), 0);
	assert_int_equal(parse("1 0 4294967295\n"), -EINVAL);
	assert_int_equal(parse("0 1 4294967295\n"), -EINVAL);
	assert_int_equal(parse("4294967295 0 1\n"), -EINVAL);
	assert_int_equal(parse("4294967294 0 2\n"), -EINVAL);
}

static void test_garbage(void **state)
{
	static const char *const texts[] = {
		"\n",
		" \n",
		"0\n",
		"0 0\n",
		"0 0 1",
		"0 0 0\n",
		"0 0 1 1\n",
		"0 0 1 \n",
		"-1 0 1\n",
		"+1 0 1\n",
		"0x0 0 1\n",
		"0 0 1\n\n",
		"0\t0\t1\n",
		"0 0 1\r\n",
		"a b c\n",
		"0 0 4294967296\n",
		"4294967296 0 1\n",
		"0 4294967296 1\n",
		"0 0 18446744073709551617\n",
		"0 0 99999999999999999999999999\n",
		"0 0 1\n5 5 x\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(parse("0 0 1\n"), 0);
		if (parse(texts[i]) != -EINVAL)
			fail_msg("taken: '%s'", texts[i]);
		assert_int_equal(map.n, 0);
	}
	assert_int_equal(idmap_parse("0 0\0001\n", 7, &map), -EINVAL);
	assert_int_equal(idmap_parse("0 0 1\n\0", 7, &map), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_initial_namespace),
		cmocka_unit_test(test_container),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_unmapped_for_the_reader),
		cmocka_unit_test(test_many_extents),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
