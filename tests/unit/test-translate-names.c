/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of policy/translate.def: what holds for all its rows and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../policy/key.h"
#include "../../policy/translate.h"

#define V1 false
#define V2 true

static const struct vocabulary_of {
	const char *type;
	bool read_only;
	const char *names[4]; /* neutral, v1, v2, aliases */
	const char *why;
} table[] = {
#define SETTING(type, access, neutral, v1, v2, aliases, why) \
	{#type, ACCESS_##access, {neutral, v1, v2, aliases}, why},
#define ACCESS_RO true
#define ACCESS_RW false
#include "../../policy/translate.def"
#undef SETTING
};

#define N_TABLE (sizeof(table) / sizeof(table[0]))

static const struct key keys[] = {
#define KEY(name, class, flags) {name, class, flags},
#include "../../policy/keys.def"
#undef KEY
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

/* The next word of a list, as a name of this very cgroup: '*' is a size of pages. False at the end.
 * A FIELD goes to `field`, "" for an empty one; NULL if there is none. */
static bool next_name(const char **list, char *name, const char **field)
{
	static char word[128];
	char *star, *colon;
	size_t len;

	*field = NULL;
	if (!*list || !**list)
		return false;
	len = strcspn(*list, " ");
	assert_true(len < sizeof(word));
	memcpy(word, *list, len);
	word[len] = '\0';
	*list += len + strspn(*list + len, " ");
	word[strcspn(word, "!?")] = '\0';
	colon = strchr(word, ':');
	if (colon) {
		*colon = '\0';
		*field = colon + 1;
	}
	star = strchr(word, '*');
	if (star)
		sprintf(name, "%.*s%s%s", (int)(star - word), word, "2MB", star + 1);
	else
		strcpy(name, word);
	return true;
}

/* In aliases "v1:NAME" is NAME. */
static bool next_alias(const char **list, char *name)
{
	const char *field;

	if (!next_name(list, name, &field))
		return false;
	if (field)
		strcpy(name, field);
	return true;
}

/* A neutral name or an alias that is a file's name too is that file's, of this row. */
static void test_names_that_are_files(void **state)
{
	char name[128], file[128];
	const char *field;

	(void)state;
	for (size_t i = 0; i < N_TABLE; i++)
		for (unsigned column = 0; column < 4; column += 3) {
			const char *list = table[i].names[column];

			while (next_alias(&list, name)) {
				bool found = false;

				if (!key_find(name))
					continue;
				for (unsigned v = 1; v < 3; v++) {
					const char *files = table[i].names[v];

					if (next_name(&files, file, &field) && !field)
						found = found || strcmp(file, name) == 0;
				}
				if (!found)
					fail_msg("%s is another row's file", name);
			}
		}
}

/* Files are the kernel's, and where one vocabulary has nothing there is a reason. */
static void test_table(void **state)
{
	char name[128];
	const char *field;

	(void)state;
	for (size_t i = 0; i < N_TABLE; i++) {
		const struct vocabulary_of *row = &table[i];
		bool none = strcmp(row->type, "none") == 0;

		for (unsigned v = 1; v < 3; v++) {
			const char *list = row->names[v];
			unsigned n = 0;

			while (next_name(&list, name, &field)) {
				n++;
				/* rows of no type may stand for any rest */
				if (!key_find(name) && !(none && strstr(name, "2MB")))
					fail_msg("%s is no file", name);
			}
			if (!none && n > PLAN_FILES_MAX)
				fail_msg("%s has too many files", name);
			if (!row->names[v] && !row->why)
				fail_msg("row %zu: nothing corresponds, and nothing says why", i);
		}
	}
}

static void test_every_file_has_a_row(void **state)
{
	static struct translation t;

	(void)state;
	for (size_t i = 0; i < N_KEYS; i++) {
		if (translate(keys[i].name, NULL, NULL, 0, &t) != REASON_OK)
			fail_msg("%s has no row", keys[i].name);
		if (!strstr(t.v1, keys[i].name) && !strstr(t.v2, keys[i].name))
			fail_msg("%s: \"%s\", \"%s\"", keys[i].name, t.v1, t.v2);
	}
}

/* No name leads to a file that is set for nobody, or holds pids or controllers. */
static void check_no_detour(const char *name)
{
	const char *why;
	struct plan p;

	for (unsigned v2 = 0; v2 < 2; v2++) {
		enum reason r = plan_write(name, v2, &p, &why);

		if (r != REASON_OK) {
			assert_int_equal(r, REASON_KEY_MAPPING);
			assert_non_null(why);
			continue;
		}
		assert_int_equal(p.v2, v2);
		assert_true(p.n > 0 && p.n <= PLAN_FILES_MAX);
		if (!p.setting) {
			assert_string_equal(p.file[0], name);
			continue;
		}
		for (unsigned i = 0; i < p.n; i++) {
			const struct key *key = key_find(p.file[i]);

			if (!key || key->class == KEY_NEVER || key->class == KEY_PIDS ||
				key->class == KEY_DELEGATE)
				fail_msg("%s writes %s", name, p.file[i]);
		}
	}
}

static void test_no_detours(void **state)
{
	char name[128];
	const char *field;

	(void)state;
	for (size_t i = 0; i < N_TABLE; i++)
		for (unsigned column = 0; column < 4; column++) {
			const char *list = table[i].names[column];

			while (column < 3 ? next_name(&list, name, &field)
					  : next_alias(&list, name))
				check_no_detour(name);
		}
	for (size_t i = 0; i < N_KEYS; i++)
		check_no_detour(keys[i].name);
}

/* The hierarchy's own files are read as they are, and written so unless a neutral name takes more.
 */
static void test_own_files(void **state)
{
	static const struct {
		const char *name;
		bool v2, write, own;
	} cases[] = {
		{"memory.limit_in_bytes", V1, true, true},
		{"memory.limit_in_bytes", V1, false, true},
		{"memory.limit_in_bytes", V2, false, false},
		{"memory.max", V2, false, true},
		{"memory.max", V2, true, false},
		{"memory.current", V2, true, true},
		{"memory.reclaim", V2, true, true},
		{"cpu.max", V2, true, true},
		{"cpu.max", V1, true, false},
		{"cpu.shares", V1, true, true},
		{"cpuset.cpus", V1, true, true},
		{"cpuset.cpus", V2, true, true},
		{"cpu.stat", V1, false, true},
		{"cpu.stat", V2, false, true},
		{"cgroup.procs", V1, false, true},
		{"cgroup.procs", V2, false, true},
		{"tasks", V1, false, true},
		{"tasks", V2, false, false},
		{"memory.swappiness", V1, true, true},
		{"release_agent", V1, true, true},
		{"devices.allow", V1, true, true},
		{"devices.allow", V2, true, true},
		{"cpu.rt_runtime_us", V1, true, true},
		{"memory.kmem.tcp.limit_in_bytes", V1, true, true},
		{"io.cost.qos", V2, true, true},
		{"cgroup.kill", V2, true, true},
		{"freezer.parent_freezing", V1, false, true},
		{"hugetlb.2MB.max", V2, false, true},
		{"", V2, true, true},
		{"no.such.file", V2, true, true},
		{"hugetlb..max", V2, true, true},
		{"hugetlb.2.MB.max", V2, true, true},
		{"memory.max ", V2, true, true},
		{"memory.events:max", V2, false, true},
		{"v1:blkio_weight", V2, false, true},
		{"cpu.stat:usage_usec", V2, false, true},
		{"memory.kmem.", V2, false, true},
		{"io.weight", V2, false, false},
		/* no plan has room for that */
		{"hugetlb.123456789012345678901234567890123456789012345678901234567890MB.current",
			V1, false, true},
		{"hugetlb.123456789012345678901234567890123456789012345678901234567890MB.current",
			V2, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *name = cases[i].name, *why;
		struct plan p;
		enum reason r = cases[i].write ? plan_write(name, cases[i].v2, &p, &why)
					       : plan_read(name, cases[i].v2, &p, &why);

		if (r != REASON_OK || !p.setting != cases[i].own)
			fail_msg("%s: %s", name, reason_row(r)->token);
		if (cases[i].own) {
			assert_int_equal(p.n, 1);
			assert_ptr_equal(p.file[0], name);
		}
	}
}

/* What need not be read is not planned to be. */
static void test_blind_writes(void **state)
{
	static const struct {
		const char *name;
		bool v2;
		unsigned n, flags;
	} cases[] = {
		{"freezer.state", V2, 1, PLAN_BLIND},
		{"freeze", V1, 1, PLAN_BLIND},
		{"memory.high", V1, 1, PLAN_BLIND},
		{"cpu.shares", V2, 1, PLAN_BLIND},
		{"io.max", V1, 4, PLAN_BLIND | PLAN_DEVICE},
		{"memory.limit_in_bytes", V2, 2, 0},
		{"memory.swap.max", V1, 2, 0},
		{"cpu.cpus", V1, 2, 0},
		{"io.weight", V1, 4, PLAN_DEVICE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why;
		struct plan p;

		assert_int_equal(plan_write(cases[i].name, cases[i].v2, &p, &why), REASON_OK);
		if (p.n != cases[i].n || p.flags != cases[i].flags)
			fail_msg("%s: %u files, flags %x", cases[i].name, p.n, p.flags);
	}
}

/* The names that KEYS promises. */
static void test_promised_names(void **state)
{
	static const char *const names[] = {"memory.max", "memory.high", "memory.low", "memory.min",
		"memory.swap.max", "memory.oom_group", "memory.reclaim", "cpu.weight", "cpu.cpus",
		"cpu.burst", "cpu.idle", "cpuset.cpus", "cpuset.mems", "cpuset.partition",
		"io.weight", "io.max", "io.latency", "pids.max", "hugetlb.2MB.max", "rdma.max",
		"misc.max", "dmem.max", "dmem.low", "dmem.min", "net.class", "net.prio",
		"tree.max_depth", "tree.max_descendants", "freeze", "memory.current", "memory.peak",
		"memory.events.low", "memory.events.high", "memory.events.max", "memory.events.oom",
		"memory.events.oom_kill", "cpu.usage", "cpu.throttled", "io.rbytes", "io.wbytes",
		"io.rios", "io.wios", "io.dbytes", "io.dios", "pids.current", "pids.peak",
		"pressure.cpu", "pressure.memory", "pressure.io", "hugetlb.1GB.current",
		"tree.descendants",
		/* 2013 */
		"memory.limit", "memory.soft_limit", "swap.limit", "swap.soft_limit",
		"cpus_allowed", "cpus_fraction", "cpus_number", "cpu_share_percent",
		"devices_whitelist", "devices_blacklist", "net_prio_index",
		"net_prio_interface_map", "net_classid", "hugetlb_limit", "blkio_weight",
		"blkio_weight_device", "blkio_throttle_read", "blkio_throttle_write",
		"devices_list", "memory.failcnt", "memory.max_use", "memory.numa_stat",
		"swap.failcnt", "swap.max_use", "swap.numa_stat", "hugetlb_max_usage",
		"hugetlb_usage", "hugetlb_failcnt", "cpuacct_stat"};
	static struct translation t;
	struct vocabulary v;
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (translate(names[i], NULL, NULL, 0, &t) != REASON_OK)
			fail_msg("%s", names[i]);
	for (; vocabulary_row(n, &v); n++) {
		assert_true(v.format[0] != '\0');
		assert_int_equal(translate(v.neutral, NULL, NULL, 0, &t), REASON_OK);
		assert_string_equal(t.neutral, v.neutral);
		assert_true(t.v1[0] || t.v2[0]);
		/* names are unique: the first row that has one counts */
		for (size_t i = 0, same = 0; i < N_TABLE; i++) {
			same += table[i].names[0] && strcmp(table[i].names[0], v.neutral) == 0;
			assert_true(same < 2);
		}
	}
	assert_true(n > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_that_are_files),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_every_file_has_a_row),
		cmocka_unit_test(test_no_detours),
		cmocka_unit_test(test_own_files),
		cmocka_unit_test(test_promised_names),
		cmocka_unit_test(test_blind_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
