/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../../policy/perf-items.h"

/* as long as a name may be */
#define TEN "1234567890"
#define LONGEST "pmu:" TEN TEN TEN TEN TEN TEN TEN TEN TEN "12345"
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Of a text as records have it. */
static struct perf_items items(const char *text)
{
	struct perf_record record;

	if (perf_record_parse(text, &record) < 0)
		fail_msg("%s", text);
	assert_false(record.limited);
	return record.given;
}

static struct perf_record record(const char *text)
{
	struct perf_record r;

	if (perf_record_parse(text, &r) < 0)
		fail_msg("%s", text);
	return r;
}

static void expect_record(const struct perf_record *r, const char *text, const char *what)
{
	char buf[PERF_RECORD_TEXT_MAX + 1];

	assert_int_equal(perf_record_print(r, buf, sizeof(buf)), 0);
	if (strcmp(buf, text) != 0)
		fail_msg("%s: '%s' where '%s' was expected", what, buf, text);
}

static void expect_items(const struct perf_items *i, const char *text, const char *what)
{
	const struct perf_record r = {.given = *i};

	expect_record(&r, text, what);
}

static void test_item(void **state)
{
	static const char *const good[] = {"cpu", "kernel", "gpu", "power", "pmu:i915",
		"pmu:uncore_imc_0", "pmu:i915-0000_03_00.0", "pmu:...", "pmu:.a",
		"tracepoint:sched:sched_switch", "tracepoint:a:b", LONGEST};
	static const char *const bad[] = {"", " ", "cpu ", "CPU", "cpux", "cpu:", "cpu:0",
		"gpu:i915", "pmu", "pmu:", "pmu:a:b", "pmu:.", "pmu:..", "pmu:a/b", "pmu:../a",
		"pmu:a b", "pmu:a\n", "pmu:a|b", "pmu:\xc3\xa4", "pmu:a*", "tracepoint",
		"tracepoint:", "tracepoint:sched", "tracepoint:sched:", "tracepoint::a",
		"tracepoint:a:b:c", "tracepoint:..:b", "tracepoint:a:..", "tracepoint:a:.",
		"tracepoint:a/b:c", "all", "|", LONGEST "6"};

	(void)state;
	for (size_t k = 0; k < N(good); k++) {
		char buf[PERF_ITEM_TEXT_MAX + 1];
		struct perf_item item;

		if (perf_item_parse(good[k], &item) < 0)
			fail_msg("%s", good[k]);
		memset(buf, '#', sizeof(buf));
		perf_item_print(&item, buf);
		assert_string_equal(buf, good[k]);
	}
	for (size_t k = 0; k < N(bad); k++) {
		struct perf_item item = {.kind = PERF_ITEM_POWER, .name = "x"};

		if (perf_item_parse(bad[k], &item) != -EINVAL)
			fail_msg("%s", bad[k]);
		assert_int_equal(item.kind, PERF_ITEM_POWER);
		assert_string_equal(item.name, "x");
	}
}

/* The longest there is fits where it says so. */
static void test_longest(void **state)
{
	char text[PERF_ITEM_TEXT_MAX + 1] = "tracepoint:", buf[PERF_ITEM_TEXT_MAX + 1];
	struct perf_item item;

	(void)state;
	memset(text + strlen(text), 'a', PERF_NAME_MAX);
	text[20] = ':';
	assert_int_equal(perf_item_parse(text, &item), 0);
	perf_item_print(&item, buf);
	assert_string_equal(buf, text);
	strcat(text, "a");
	assert_int_equal(perf_item_parse(text, &item), -EINVAL);
}

static void test_sets(void **state)
{
	struct perf_items some = items("pmu:b gpu pmu:a cpu gpu tracepoint:a:b"), all;
	struct perf_item item;

	(void)state;
	expect_items(&some, "cpu gpu pmu:a pmu:b tracepoint:a:b", "sorted, none twice");
	assert_int_equal(perf_item_parse("pmu:b", &item), 0);
	assert_true(perf_items_have(&some, &item));
	assert_int_equal(perf_items_add(&some, &some.item[3]), 0);
	perf_items_remove(&some, &some.item[2]);
	expect_items(&some, "cpu gpu pmu:b tracepoint:a:b", "removed");
	perf_items_remove(&some, &item);
	perf_items_remove(&some, &item);
	expect_items(&some, "cpu gpu tracepoint:a:b", "removed twice");
	assert_false(perf_items_have(&some, &item));
	all = items("power kernel");
	assert_int_equal(perf_items_union(&some, &all), 0);
	expect_items(&some, "cpu kernel gpu power tracepoint:a:b", "both");
	assert_int_equal(perf_item_parse("cpu", &item), 0);
	perf_items_remove(&some, &item);
	expect_items(&some, "gpu power tracepoint:a:b", "with cpu goes kernel");
}

static void test_kernel_has_cpu_in_it(void **state)
{
	static const struct {
		const char *these, *in, *beyond; /* "": none */
	} rows[] = {
		{"cpu", "kernel", ""},
		{"kernel", "cpu", "kernel"},
		{"cpu kernel", "kernel", ""},
		{"cpu", "", "cpu"},
		{"", "", ""},
		{"gpu", "pmu:i915", "gpu"},
		{"pmu:i915", "gpu", "pmu:i915"},
		{"pmu:a pmu:b", "pmu:a pmu:c", "pmu:b"},
		{"tracepoint:a:b", "tracepoint:a:c pmu:a", "tracepoint:a:b"},
		{"pmu:cpu", "cpu kernel", "pmu:cpu"},
		{"power", "cpu kernel gpu", "power"},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++) {
		struct perf_items these = items(rows[k].these), in = items(rows[k].in);
		const struct perf_item *beyond = perf_items_beyond(&these, &in);
		char buf[PERF_ITEM_TEXT_MAX + 1] = "";

		if (beyond)
			perf_item_print(beyond, buf);
		if (strcmp(buf, rows[k].beyond) != 0)
			fail_msg("%s in %s: %s", rows[k].these, rows[k].in, buf);
	}
}

static void test_intersect(void **state)
{
	static const char *const rows[][3] = {
		{"", "cpu", ""},
		{"cpu", "cpu", "cpu"},
		{"kernel", "cpu", "cpu"},
		{"kernel", "kernel", "kernel"},
		{"cpu kernel", "kernel", "cpu kernel"},
		{"kernel gpu pmu:a", "cpu pmu:a pmu:b", "cpu pmu:a"},
		{"gpu power", "power pmu:x", "power"},
		{"tracepoint:a:b", "tracepoint:a:c", ""},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++)
		for (unsigned turn = 0; turn < 2; turn++) {
			struct perf_items a = items(rows[k][turn]), b = items(rows[k][!turn]);

			perf_items_intersect(&a, &b);
			expect_items(&a, rows[k][2], rows[k][0]);
		}
}

static void fill(struct perf_items *ret, unsigned n)
{
	*ret = (struct perf_items){0};
	for (unsigned k = 0; k < n; k++) {
		struct perf_item item = {.kind = PERF_ITEM_PMU};

		snprintf(item.name, sizeof(item.name), "p%02u", k);
		assert_int_equal(perf_items_add(ret, &item), 0);
	}
}

static void test_too_many(void **state)
{
	struct perf_items full, before, more = items("cpu pmu:p01");
	struct perf_record r = {0}, was;
	const struct perf_item *beyond;

	(void)state;
	fill(&full, PERF_ITEMS_MAX);
	before = full;
	assert_int_equal(perf_items_add(&full, &more.item[0]), -E2BIG);
	assert_int_equal(perf_items_add(&full, &more.item[1]), 0);
	assert_int_equal(perf_items_union(&full, &more), -E2BIG);
	assert_memory_equal(&full, &before, sizeof(full));
	r.given = more;
	assert_int_equal(perf_items_descend(&full, &r, NULL), -E2BIG);
	assert_memory_equal(&full, &before, sizeof(full));
	was = r;
	assert_int_equal(perf_record_grant(&r, &more, true, &full, &beyond), -E2BIG);
	assert_memory_equal(&r, &was, sizeof(r));
	/* one of 64 that came from above */
	r = (struct perf_record){0};
	more = items("pmu:p01");
	assert_int_equal(perf_record_revoke(&r, &full, &more), 0);
	assert_int_equal(r.limit.n, PERF_ITEMS_MAX - 1);
}

static void test_record_text(void **state)
{
	static const char *const good[][2] = {
		{"", ""},
		{"   ", ""},
		{"cpu", "cpu"},
		{"gpu\tcpu", "cpu gpu"},
		{"|", "|"},
		{" | ", "|"},
		{"|cpu", "| cpu"},
		{"gpu |", "gpu |"},
		{"cpu gpu|power cpu", "cpu gpu | cpu power"},
	};
	static const char *const bad[] = {"cpu,gpu", "||", "cpu | gpu |", "| |", "cpu x",
		"pmu:", "cpu\n", "|cpu x",
		"pmu:"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	char text[PERF_RECORD_TEXT_MAX + 2];
	struct perf_record r;

	(void)state;
	for (size_t k = 0; k < N(good); k++) {
		r = record(good[k][0]);
		expect_record(&r, good[k][1], good[k][0]);
		assert_int_equal(perf_record_empty(&r), *good[k][1] == '\0');
		r = record(good[k][1]);
		expect_record(&r, good[k][1], good[k][1]);
	}
	for (size_t k = 0; k < N(bad); k++) {
		memset(&r, 7, sizeof(r));
		if (perf_record_parse(bad[k], &r) != -EINVAL)
			fail_msg("%s", bad[k]);
		assert_int_equal(r.given.n, 0x07070707);
	}
	memset(text, ' ', sizeof(text));
	text[PERF_RECORD_TEXT_MAX] = '\0';
	assert_int_equal(perf_record_parse(text, &r), 0);
	text[PERF_RECORD_TEXT_MAX] = ' ';
	text[PERF_RECORD_TEXT_MAX + 1] = '\0';
	assert_int_equal(perf_record_parse(text, &r), -E2BIG);
}

static void test_every_size(void **state)
{
	struct perf_record r = record("cpu pmu:a | gpu");
	char buf[64];

	(void)state;
	for (size_t size = 0; size < sizeof(buf); size++) {
		int expected = size > strlen("cpu pmu:a | gpu") ? 0 : -E2BIG;

		memset(buf, '#', sizeof(buf));
		assert_int_equal(perf_record_print(&r, buf, size), expected);
		assert_int_equal(buf[size], '#');
	}
}

/* Long names: a record is of a bounded length before it is of 64 items. */
static void test_longest_record(void **state)
{
	char buf[2 * PERF_RECORD_TEXT_MAX];
	struct perf_record r = {0};
	struct perf_item item = {.kind = PERF_ITEM_PMU};

	(void)state;
	memset(item.name, 'a', PERF_NAME_MAX);
	for (unsigned k = 0; k < 40; k++) {
		item.name[0] = (char)('A' + k % 26);
		item.name[1] = (char)('A' + k / 26);
		assert_int_equal(perf_items_add(&r.given, &item), 0);
	}
	/* 40 of 99 bytes, and 39 blanks; and with another in the place of the last, 4000 */
	assert_int_equal(perf_record_print(&r, buf, sizeof(buf)), 0);
	assert_int_equal(strlen(buf), 40 * 99 + 39);
	perf_items_remove(&r.given, &item);
	item.kind = PERF_ITEM_TRACEPOINT;
	item.name[1] = ':';
	item.name[89] = '\0';
	assert_int_equal(perf_items_add(&r.given, &item), 0);
	assert_int_equal(perf_record_print(&r, buf, sizeof(buf)), 0);
	assert_int_equal(strlen(buf), PERF_RECORD_TEXT_MAX);
	perf_items_remove(&r.given, &item);
	item.name[89] = 'a';
	item.name[90] = '\0';
	assert_int_equal(perf_items_add(&r.given, &item), 0);
	assert_int_equal(perf_record_print(&r, buf, sizeof(buf)), -E2BIG);
}

static void test_descend(void **state)
{
	static const struct {
		const char *parent, *record, *policy, *own;
	} rows[] = {
		{"", "", NULL, ""},
		{"cpu", "", NULL, "cpu"},
		{"cpu", "gpu", NULL, "cpu gpu"},
		{"cpu gpu", "|", NULL, ""},
		{"cpu gpu", "| gpu power", NULL, "gpu"},
		{"kernel", "| cpu", NULL, "cpu"},
		{"", "| cpu", NULL, ""},
		{"", "", "power", "power"},
		/* what is given and the policy file's is not limited */
		{"cpu gpu", "power |", NULL, "power"},
		{"cpu gpu", "|", "gpu", "gpu"},
		{"cpu", "gpu | gpu", "power", "gpu power"},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++) {
		struct perf_items have = items(rows[k].parent), policy = {0};
		struct perf_record r = record(rows[k].record);

		if (rows[k].policy)
			policy = items(rows[k].policy);
		assert_int_equal(perf_items_descend(&have, &r, rows[k].policy ? &policy : NULL), 0);
		expect_items(&have, rows[k].own, rows[k].record);
	}
}

static void test_grant(void **state)
{
	static const struct {
		const char *record, *above;
		bool host;
		const char *items;
		int error;
		const char *then;
	} rows[] = {
		{"", "", true, "cpu gpu", 0, "cpu gpu"},
		{"cpu", "gpu", true, "gpu", 0, "cpu gpu"},
		{"|", "cpu", true, "cpu", 0, "cpu |"},
		{"", "", false, "cpu", -EACCES, ""},
		{"", "cpu", false, "gpu", -EACCES, ""},
		{"", "cpu", false, "kernel", -EACCES, ""},
		{"", "kernel", false, "cpu", 0, ""},
		/* given to it, but not what is above: it is not for others to give */
		{"gpu |", "cpu", false, "gpu", -EACCES, "gpu |"},
		{"|", "cpu gpu", false, "gpu", 0, "| gpu"},
		{"| gpu", "cpu gpu", false, "cpu", 0, "| cpu gpu"},
		{"| gpu", "gpu", false, "gpu cpu", -EACCES, "| gpu"},
		{"|", "kernel", false, "cpu", 0, "| cpu"},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++) {
		struct perf_record r = record(rows[k].record);
		struct perf_items above = items(rows[k].above), some = items(rows[k].items);
		const struct perf_item *beyond = NULL;

		assert_int_equal(
			perf_record_grant(&r, &above, rows[k].host, &some, &beyond), rows[k].error);
		assert_int_equal(beyond != NULL, rows[k].error == -EACCES);
		if (beyond)
			assert_false(perf_items_have(&above, beyond));
		expect_record(&r, rows[k].then, rows[k].items);
	}
}

static void test_revoke(void **state)
{
	static const struct {
		const char *record, *above, *items, *then;
	} rows[] = {
		{"", "", "cpu", ""},
		{"", "gpu", "cpu", ""},
		{"cpu gpu", "", "gpu", "cpu"},
		{"cpu", "", "cpu", ""},
		{"kernel", "", "kernel", ""},
		{"cpu kernel", "", "kernel", "cpu"},
		{"kernel", "", "cpu", ""},
		/* from above */
		{"", "cpu gpu", "gpu", "| cpu"},
		{"", "cpu", "cpu", "|"},
		{"", "kernel", "kernel", "| cpu"},
		{"", "kernel gpu", "cpu", "| gpu"},
		{"", "kernel", "kernel cpu", "|"},
		{"| cpu gpu", "cpu gpu", "cpu", "| gpu"},
		{"| gpu", "cpu gpu", "cpu", "| gpu"},
		{"| kernel", "cpu kernel", "kernel", "| cpu"},
		/* from both */
		{"gpu", "cpu gpu", "gpu", "| cpu"},
		{"gpu power", "gpu", "gpu power", "|"},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++) {
		struct perf_record r = record(rows[k].record);
		struct perf_items above = items(rows[k].above), some = items(rows[k].items), have;

		assert_int_equal(perf_record_revoke(&r, &above, &some), 0);
		expect_record(&r, rows[k].then, rows[k].items);
		/* and so it does not have them */
		have = above;
		assert_int_equal(perf_items_descend(&have, &r, NULL), 0);
		for (unsigned j = 0; j < some.n; j++)
			assert_false(perf_items_have(&have, &some.item[j]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_item),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_kernel_has_cpu_in_it),
		cmocka_unit_test(test_intersect),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_record_text),
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_longest_record),
		cmocka_unit_test(test_descend),
		cmocka_unit_test(test_grant),
		cmocka_unit_test(test_revoke),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
