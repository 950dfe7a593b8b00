/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../policy/key.h"

static const struct key rows[] = {
#define KEY(name, class, flags) {name, class, flags},
#include "../../policy/keys.def"
#undef KEY
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void test_rows_are_sorted_and_unique(void **state)
{
	(void)state;
	for (size_t i = 1; i < N_ROWS; i++)
		if (strcmp(rows[i - 1].name, rows[i].name) >= 0)
			fail_msg("%s stands before %s", rows[i - 1].name, rows[i].name);
}

static void test_every_row_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct key *k = key_find(rows[i].name);

		assert_non_null(k);
		assert_string_equal(k->name, rows[i].name);
		assert_int_equal(k->class, rows[i].class);
		assert_int_equal(k->flags, rows[i].flags);
		assert_true(key_name_valid(rows[i].name));
		/* what is only read waits for nothing, and one '*' is what a row may have */
		assert_true(rows[i].class != KEY_STAT || rows[i].flags == 0);
		assert_ptr_equal(strchr(rows[i].name, '*'), strrchr(rows[i].name, '*'));
	}
}

static void test_classes(void **state)
{
	static const struct key table[] = {
		{"cpu.shares", KEY_LIMIT, 0},
		{"cpu.max", KEY_LIMIT, 0},
		{"cpuset.cpus", KEY_LIMIT, KEY_BLOCKS},
		{"memory.max", KEY_LIMIT, KEY_BLOCKS},
		{"memory.high", KEY_LIMIT, KEY_BLOCKS},
		{"memory.limit_in_bytes", KEY_LIMIT, KEY_BLOCKS},
		{"memory.memsw.limit_in_bytes", KEY_LIMIT, KEY_BLOCKS},
		{"memory.kmem.limit_in_bytes", KEY_LIMIT, KEY_BLOCKS},
		{"freezer.state", KEY_LIMIT, KEY_BLOCKS},
		{"cgroup.freeze", KEY_LIMIT, KEY_BLOCKS},
		{"pids.max", KEY_LIMIT, 0},
		{"devices.allow", KEY_LIMIT, KEY_ADMIN},
		{"devices.deny", KEY_LIMIT, KEY_ADMIN},
		{"devices.list", KEY_STAT, 0},
		{"blkio.throttle.read_bps_device", KEY_LIMIT, KEY_BLOCKS | KEY_THROTTLE},
		{"blkio.throttle.write_iops_device", KEY_LIMIT, KEY_BLOCKS | KEY_THROTTLE},
		{"blkio.throttle.io_serviced", KEY_STAT, 0},
		{"net_cls.classid", KEY_HOST, 0},
		{"net_prio.ifpriomap", KEY_HOST, 0},
		{"tasks", KEY_PIDS, 0},
		{"cgroup.procs", KEY_PIDS, 0},
		{"cgroup.threads", KEY_PIDS, 0},
		{"cgroup.subtree_control", KEY_DELEGATE, KEY_BLOCKS},
		{"release_agent", KEY_NEVER, 0},
		{"notify_on_release", KEY_NEVER, 0},
		{"cgroup.event_control", KEY_NEVER, 0},
		{"cgroup.kill", KEY_NEVER, 0},
		{"memory.pressure_level", KEY_NEVER, 0},
		{"memory.reclaim", KEY_NEVER, 0},
		{"memory.force_empty", KEY_NEVER, 0},
		{"cpu.pressure", KEY_NEVER, 0},
		{"memory.pressure", KEY_NEVER, 0},
		{"io.pressure", KEY_NEVER, 0},
		{"irq.pressure", KEY_NEVER, 0},
		{"cgroup.pressure", KEY_NEVER, 0},
		{"memory.stat", KEY_STAT, 0},
		{"cgroup.events", KEY_STAT, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct key *k = key_find(table[i].name);

		if (!k || k->class != table[i].class || k->flags != table[i].flags)
			fail_msg("%s", table[i].name);
	}
}

static void test_wildcards(void **state)
{
	static const char *const limits[] = {"hugetlb.2MB.limit_in_bytes", "hugetlb.1GB.max",
		"hugetlb.64KB.rsvd.max", "hugetlb.16GB.rsvd.limit_in_bytes", "hugetlb.2MB.failcnt"};
	static const char *const stats[] = {
		"hugetlb.2MB.current", "hugetlb.2MB.events.local", "hugetlb.1GB.usage_in_bytes"};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		assert_non_null(key_find(limits[i]));
		assert_int_equal(key_find(limits[i])->class, KEY_LIMIT);
	}
	for (size_t i = 0; i < sizeof(stats) / sizeof(stats[0]); i++) {
		assert_non_null(key_find(stats[i]));
		assert_int_equal(key_find(stats[i])->class, KEY_STAT);
	}
}

static void test_what_has_no_row(void **state)
{
	static const char *const names[] = {"", "memory", "memory.", "memory.maxx", "memory.ma",
		"MEMORY.MAX", "memory.max ", " memory.max", "hugetlb..max", "hugetlb.max",
		"hugetlb.2MB", "hugetlb.2MB.", "hugetlb.2MB.maxx", "hugetlb.2.MB.max",
		"hugetlb.2MB.x.max", "xhugetlb.2MB.max", "zzz", "*", "cgroup.*", "process_api"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (key_find(names[i]))
			fail_msg("'%s' has a row", names[i]);
}

static void test_names(void **state)
{
	static const char *const good[] = {
		"tasks", "a..b", "...", "memory.max", "x y", "\xc3\xa4", "-", "hugetlb.2MB.max"};
	static const char *const bad[] = {"", ".", "..", "/", "a/b", "../memory.limit_in_bytes",
		"a/", "/a", "a\nb", "\x1b[2J", "a\x7f", "\xc2\x9b"};
	char longest[257];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!key_name_valid(good[i]))
			fail_msg("good: '%s'", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (key_name_valid(bad[i]))
			fail_msg("bad: %zu", i);
	memset(longest, 'a', sizeof(longest));
	longest[256] = '\0';
	assert_false(key_name_valid(longest));
	longest[255] = '\0';
	assert_true(key_name_valid(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_sorted_and_unique),
		cmocka_unit_test(test_every_row_is_found),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_wildcards),
		cmocka_unit_test(test_what_has_no_row),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
