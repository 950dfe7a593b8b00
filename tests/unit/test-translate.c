/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vocabulary: what each name reads and writes on either hierarchy (translate-rows.def), and
 * what holds for all rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../policy/translate.h"

#define FILES_MAX 8

/* A cgroup: its files as texts. */
struct file {
	const char *name, *text;
};

struct row {
	int line;
	bool v2, write;
	const char *name, *value; /* what is written, or what must be read */
	struct file files[FILES_MAX];
	enum reason reason;
	const char *why; /* part of it */
	struct file writes[PLAN_FILES_MAX];
};

#define F(...) .files = {__VA_ARGS__}
#define W(...) .writes = {__VA_ARGS__}
#define V1 false
#define V2 true
#define READ(hierarchy, key, text, ...) \
	{.line = __LINE__, .v2 = hierarchy, .name = key, .value = text, __VA_ARGS__},
#define NO_READ(hierarchy, key, because, part, ...) \
	{.line = __LINE__,                          \
		.v2 = hierarchy,                    \
		.name = key,                        \
		.why = part,                        \
		.reason = REASON_##because,         \
		__VA_ARGS__},
#define WRITE(hierarchy, key, text, ...) \
	{.line = __LINE__, .v2 = hierarchy, .write = true, .name = key, .value = text, __VA_ARGS__},
#define NO_WRITE(hierarchy, key, text, because, part, ...) \
	{.line = __LINE__,                                 \
		.v2 = hierarchy,                           \
		.write = true,                             \
		.name = key,                               \
		.value = text,                             \
		.reason = REASON_##because,                \
		.why = part,                               \
		__VA_ARGS__},

static const struct row rows[] = {
#include "translate-rows.def"
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static const char *text_of(const struct row *row, const char *file)
{
	for (unsigned i = 0; i < FILES_MAX && row->files[i].name; i++)
		if (strcmp(row->files[i].name, file) == 0)
			return row->files[i].text;
	return NULL;
}

static void load(const struct row *row, const struct plan *p, const char **texts)
{
	for (unsigned i = 0; i < p->n; i++) {
		texts[i] = text_of(row, p->file[i]);
		if (!texts[i] && !p->optional[i] && !(p->flags & PLAN_BLIND))
			fail_msg("line %d: %s is read", row->line, p->file[i]);
	}
}

static void check_why(const struct row *row, const char *why)
{
	if (row->why && (!why || !strstr(why, row->why)))
		fail_msg("line %d: why: %s", row->line, why ? why : "NULL");
}

static void check_read(const struct row *row)
{
	const char *texts[PLAN_FILES_MAX] = {0}, *why = NULL;
	char buf[PLAN_TEXT_MAX];
	struct plan p;
	enum reason r = plan_read(row->name, row->v2, &p, &why);

	if (r == REASON_OK) {
		if (!p.setting)
			fail_msg("line %d: there is nothing to translate", row->line);
		load(row, &p, texts);
		r = plan_get(&p, texts, buf, sizeof(buf));
	}
	if (r != row->reason)
		fail_msg("line %d: %s", row->line, reason_row(r)->token);
	check_why(row, why);
	if (r == REASON_OK && strcmp(buf, row->value) != 0)
		fail_msg("line %d: \"%s\"", row->line, buf);
}

static void check_write(const struct row *row)
{
	static struct plan_write writes[PLAN_FILES_MAX];
	const char *texts[PLAN_FILES_MAX] = {0}, *why = NULL;
	unsigned n = 0, wanted = 0;
	struct plan p;
	enum reason r = plan_write(row->name, row->v2, &p, &why);

	if (r == REASON_OK) {
		if (!p.setting)
			fail_msg("line %d: there is nothing to translate", row->line);
		load(row, &p, texts);
		r = plan_set(&p, row->value, texts, writes, &n, &why);
	}
	if (r != row->reason)
		fail_msg("line %d: %s (%s)", row->line, reason_row(r)->token, why ? why : "");
	check_why(row, why);
	while (wanted < PLAN_FILES_MAX && row->writes[wanted].name)
		wanted++;
	if (n != wanted)
		fail_msg("line %d: %u writes", row->line, n);
	for (unsigned i = 0; i < n; i++)
		if (strcmp(writes[i].file, row->writes[i].name) != 0 ||
			strcmp(writes[i].text, row->writes[i].text) != 0)
			fail_msg("line %d: %s: \"%s\"", row->line, writes[i].file, writes[i].text);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		if (rows[i].write)
			check_write(&rows[i]);
		else
			check_read(&rows[i]);
	}
}

/* The formula anew, in long double and as KEYS has it; which integers it meets is known. */
static void test_every_number_of_shares(void **state)
{
	unsigned last = 1;

	(void)state;
	for (unsigned long long s = 2; s <= 262144; s++) {
		long double l = log2l((long double)s), x;
		unsigned weight = shares_to_weight(s);

		x = powl(10, (l * l + 125 * l) / 612 - 7.0L / 34);
		if (s == 2 || s == 1024 || s == 262144)
			x = roundl(x);
		if (weight != (unsigned)ceill(x))
			fail_msg("%llu: %u, not %Lf", s, weight, x);
		/* far enough from an integer for any libm */
		if (s != 2 && s != 1024 && s != 262144 && fabsl(x - roundl(x)) < 1e-8L)
			fail_msg("%llu: %.12Lf", s, x);
		assert_true(weight == last || weight == last + 1);
		if (weight != last)
			assert_int_equal(weight_to_shares(weight), s);
		last = weight;
	}
	assert_int_equal(last, 10000);
}

static void test_check_values(void **state)
{
	static const unsigned values[][2] = {{0, 0}, {1, 1}, {2, 1}, {100, 17}, {256, 35},
		{512, 59}, {1024, 100}, {2000, 170}, {2048, 174}, {4096, 303}, {262144, 10000},
		{262145, 10000}, {4294967295U, 10000}};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		assert_int_equal(shares_to_weight(values[i][0]), values[i][1]);
	assert_int_equal(shares_to_weight(UINT64_MAX), 10000);
	assert_int_equal(weight_to_shares(1), 2);
}

static void test_shares_that_were_set(void **state)
{
	static const struct {
		const char *weight;
		unsigned long long shares;
		bool still;
	} cases[] = {
		{"100", 1024, true},
		{"100", 1020, true},
		{"100", 1025, false},
		{"170", 2000, true},
		{"170", 1024, false},
		{"1", 2, true},
		{"1", 0, false},
		{"1", 1, false},
		{"10000", 262144, true},
		{"10000", 262145, false},
		{"max", 1024, false},
		{NULL, 1024, false},
	};
	const char *why;
	struct plan p;

	(void)state;
	assert_int_equal(plan_read("cpu.shares", true, &p, &why), REASON_OK);
	assert_int_equal(p.flags, PLAN_SHARES);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			plan_shares(&p, &cases[i].weight, cases[i].shares), cases[i].still);
	/* only shares are asked for so */
	assert_int_equal(plan_read("cpu.weight", false, &p, &why), REASON_OK);
	assert_int_equal(p.flags & PLAN_SHARES, 0);
	assert_false(plan_shares(&p, &cases[0].weight, 1024));
	assert_int_equal(plan_write("cpu.shares", true, &p, &why), REASON_OK);
	assert_int_equal(p.flags & PLAN_SHARES, 0);
}

static void test_devices(void **state)
{
	const char *why;
	struct plan p;

	(void)state;
	assert_int_equal(plan_device("/dev/sda rbps=1M"), strlen("/dev/sda"));
	assert_int_equal(plan_device("/dev/disk/by-id/x"), strlen("/dev/disk/by-id/x"));
	assert_int_equal(plan_device("8:0 rbps=1M"), 0);
	assert_int_equal(plan_device("/etc/passwd 5"), 0);
	assert_int_equal(plan_device(""), 0);
	assert_int_equal(plan_write("io.max", true, &p, &why), REASON_OK);
	assert_true(p.flags & PLAN_DEVICE);
	assert_int_equal(plan_write("memory.max", true, &p, &why), REASON_OK);
	assert_false(p.flags & PLAN_DEVICE);
	assert_int_equal(plan_read("io.max", false, &p, &why), REASON_OK);
	assert_false(p.flags & PLAN_DEVICE);
}

static void test_lengths(void **state)
{
	static struct plan_write writes[PLAN_FILES_MAX];
	static char value[PLAN_TEXT_MAX + 1], stat[PLAN_TEXT_MAX];
	const char *texts[PLAN_FILES_MAX] = {NULL}, *why;
	char small[16];
	unsigned n = 47;
	struct plan p;

	(void)state;
	memset(value, '1', sizeof(value) - 1);
	assert_int_equal(plan_write("rdma.max", true, &p, &why), REASON_OK);
	assert_null(p.setting);
	assert_int_equal(plan_write("net.prio", false, &p, &why), REASON_OK);
	assert_int_equal(plan_set(&p, value, texts, writes, &n, &why), REASON_VALUE_LENGTH);
	assert_int_equal(n, 47);
	value[PLAN_TEXT_MAX - 1] = '\0';
	assert_int_equal(plan_set(&p, value, texts, writes, &n, &why), REASON_OK);
	assert_int_equal(n, 1);
	assert_string_equal(writes[0].text, value);
	/* a number of that length is none */
	assert_int_equal(plan_write("memory.high", true, &p, &why), REASON_OK);
	assert_int_equal(plan_set(&p, value, texts, writes, &n, &why), REASON_VALUE_FORMAT);

	for (unsigned i = 0; i < 100; i++)
		sprintf(stat + strlen(stat), "%s8:%u rbytes=1", i ? "\n" : "", i);
	texts[0] = stat;
	assert_int_equal(plan_read("io.rbytes", true, &p, &why), REASON_OK);
	assert_int_equal(plan_get(&p, texts, small, sizeof(small)), REASON_MANY_ENTRIES);
	assert_int_equal(plan_get(&p, texts, value, sizeof(value)), REASON_OK);
}

static const struct translation_row {
	const char *name, *value;
	struct given given[3];
	enum reason reason;
	unsigned fault;
	const char *neutral, *v1, *v2, *why;
} translations[] = {
	{"memory.max", "1G", .neutral = "memory.max 1073741824",
		.v1 = "memory.limit_in_bytes 1073741824", .v2 = "memory.max 1073741824"},
	{"memory.max", "max", .neutral = "memory.max max", .v1 = "memory.limit_in_bytes -1",
		.v2 = "memory.max max"},
	{"cpu.shares", "2000", .neutral = "cpu.weight 170", .v1 = "cpu.shares 2000",
		.v2 = "cpu.weight 170", .why = "1024 shares"},
	{"memory.memsw.limit_in_bytes", "5000", {{"memory.limit_in_bytes", "3000"}},
		.neutral = "memory.swap.max 2000", .v1 = "memory.memsw.limit_in_bytes 5000",
		.v2 = "memory.swap.max 2000", .why = "together"},
	/* in both orders */
	{"memory.memsw.limit_in_bytes", "2000", {{"memory.limit_in_bytes", "3000"}},
		.reason = REASON_VALUE_FORMAT, .why = "below"},
	{"memory.limit_in_bytes", "3000",
		{{"memory.limit_in_bytes", "1000"}, {"memory.memsw.limit_in_bytes", "2000"}},
		.reason = REASON_VALUE_FORMAT, .why = "below"},
	{"memory.memsw.limit_in_bytes", "5000", .reason = REASON_VALUE_FORMAT,
		.why = "memory.limit_in_bytes is not"},
	{"memory.limit_in_bytes", "3000",
		{{"memory.limit_in_bytes", "1000"}, {"memory.memsw.limit_in_bytes", "5000"}},
		.neutral = "memory.max 3000", .v1 = "memory.limit_in_bytes 3000",
		.v2 = "memory.swap.max 2000\nmemory.max 3000"},
	{"memory.swap.max", "5000", .neutral = "memory.swap.max 5000", .v1 = "",
		.v2 = "memory.swap.max 5000", .why = "set memory.max first"},
	{"cpu.max", "50000 100000", .neutral = "cpu.cpus 0.5", .v1 = "cpu.cfs_quota_us 50000",
		.v2 = "cpu.max 50000 100000"},
	{"cpu.cfs_quota_us", "50000", {{"cpu.cfs_period_us", "20000"}}, .neutral = "cpu.cpus 2.5",
		.v1 = "cpu.cfs_quota_us 50000", .v2 = "cpu.max 50000 20000"},
	{"io.max", "8:0 rbps=1M wiops=max", .neutral = "io.max 8:0 rbps=1048576 wiops=max",
		.v1 = "blkio.throttle.read_bps_device 8:0 1048576\n"
		      "blkio.throttle.write_iops_device 8:0 0",
		.v2 = "io.max 8:0 rbps=1048576 wiops=max"},
	{"blkio.weight", "100", .neutral = "io.weight default 910", .v1 = "blkio.weight 100",
		.v2 = "io.weight default 910", .why = "io.bfq.weight"},
	{"hugetlb.1GB.limit_in_bytes", "1G", .neutral = "hugetlb.1GB.max 1073741824",
		.v1 = "hugetlb.1GB.limit_in_bytes 1073741824", .v2 = "hugetlb.1GB.max 1073741824"},
	{"freezer.state", "FROZEN", .neutral = "freeze 1", .v1 = "freezer.state FROZEN",
		.v2 = "cgroup.freeze 1", .why = "FREEZING"},
	{"cpuset.partition", "isolated", .neutral = "cpuset.partition isolated", .v1 = "",
		.v2 = "cpuset.cpus.partition isolated", .why = "no isolated"},
	{"cpus_allowed", "0-3", .neutral = "cpuset.cpus 0-3", .v1 = "cpuset.cpus 0-3",
		.v2 = "cpuset.cpus 0-3"},
	{"memory.swappiness", "60", .neutral = "", .v1 = "memory.swappiness 60", .v2 = "",
		.why = "no swappiness"},
	{"memory.oom_control", "0", .neutral = "", .v1 = "memory.oom_control 0", .v2 = "",
		.why = "always kills"},
	{"devices.allow", "a", .neutral = "", .v1 = "devices.allow a", .v2 = "devices.allow a",
		.why = "a program"},
	{"memory.low", "1M", .neutral = "memory.low 1048576", .v1 = "", .v2 = "memory.low 1048576",
		.why = "protects no memory"},
	{"cpu.cpus", NULL, .neutral = "cpu.cpus", .v1 = "cpu.cfs_quota_us\ncpu.cfs_period_us",
		.v2 = "cpu.max"},
	{"memory.failcnt", NULL, .neutral = "memory.events.max", .v1 = "memory.failcnt",
		.v2 = "memory.events max", .why = "reset"},
	{"tasks", NULL, .neutral = "", .v1 = "tasks", .v2 = "cgroup.threads", .why = "MovePid"},
	{"memory.max", "1Q", .reason = REASON_VALUE_FORMAT, .why = "K, M, G, T"},
	/* numbers that the kernel would take for another device's */
	{"io.max", "0:8388608 rbps=1M", .reason = REASON_VALUE_FORMAT, .why = "MAJOR:MINOR"},
	{"io.max", "4104:0 rbps=1M", .reason = REASON_VALUE_FORMAT, .why = "MAJOR:MINOR"},
	{"io.max", "8:00000000000000000 rbps=1M", .reason = REASON_VALUE_FORMAT,
		.why = "MAJOR:MINOR"},
	{"blkio.throttle.read_bps_device", "0:8388608 1", .reason = REASON_VALUE_FORMAT,
		.why = "MAJOR:MINOR"},
	{"cpuset.cpus", "x", .reason = REASON_VALUE_FORMAT, .why = "0-3,8"},
	{"memory.max", "1G", {{"pids.max", "5"}, {"pids.max", "x"}}, .fault = 2,
		.reason = REASON_VALUE_FORMAT, .why = "4194304"},
	{"memory.max", "1G", {{"foo", "5"}}, .fault = 1, .reason = REASON_KEY_MISSING},
	{"foo", NULL, .reason = REASON_KEY_MISSING},
	{"", "1", .reason = REASON_KEY_MISSING},
	{"memory.current", "5", .reason = REASON_KEY_UNLISTED, .why = "only read"},
};

static void test_translations(void **state)
{
	static struct translation t;

	(void)state;
	for (size_t i = 0; i < sizeof(translations) / sizeof(translations[0]); i++) {
		const struct translation_row *row = &translations[i];
		unsigned n = 0;
		enum reason r;

		while (row->given[n].name)
			n++;
		r = translate(row->name, row->value, row->given, n, &t);
		if (r != row->reason)
			fail_msg("%s %s: %s", row->name, row->value, reason_row(r)->token);
		if (!row->why != !t.why || (t.why && !strstr(t.why, row->why)))
			fail_msg("%s %s: %s", row->name, row->value, t.why);
		assert_int_equal(t.fault, row->fault);
		if (r != REASON_OK)
			continue;
		assert_string_equal(t.neutral, row->neutral);
		assert_string_equal(t.v1, row->v1);
		assert_string_equal(t.v2, row->v2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_number_of_shares),
		cmocka_unit_test(test_check_values),
		cmocka_unit_test(test_shares_that_were_set),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_translations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
