/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a key stands for, who may set it by whatever name, and which of its files are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../../daemon/manager.h"
#include "../../daemon/value.h"

static struct op op;
static struct manager manager; /* nothing is governed */
static struct hierarchy h;

static void done(void)
{
	value_done(&op.first.value);
	free(op.first.detail);
	op.first.detail = NULL;
}

static enum reason plan(enum action action, const char *name, const char *value, bool v2)
{
	done();
	memset(&op, 0, sizeof(op));
	h.v2 = v2;
	op.question.action = action;
	op.request.key = name;
	op.request.value = value;
	op.n_targets = 1;
	op.targets = &op.first;
	op.manager = &manager;
	op.first.h = &h;
	value_init(&op.first.value);
	return value_plan(&op);
}

#define V1 1
#define V2 2
#define ANY (V1 | V2)

static void test_rows(void **state)
{
	static const struct {
		const char *name;
		unsigned where;
		enum reason reason;
		int class; /* -1: there is no row */
		unsigned flags;
	} rows[] = {
		{"memory.limit_in_bytes", ANY, REASON_OK, KEY_LIMIT, KEY_BLOCKS},
		{"memory.max", ANY, REASON_OK, KEY_LIMIT, KEY_BLOCKS},
		{"memory.limit", ANY, REASON_OK, KEY_LIMIT, KEY_BLOCKS},
		{"pids.max", ANY, REASON_OK, KEY_LIMIT, 0},
		{"freezer.state", ANY, REASON_OK, KEY_LIMIT, KEY_BLOCKS},
		{"freeze", ANY, REASON_OK, KEY_LIMIT, KEY_BLOCKS},
		{"io.max", V1, REASON_OK, KEY_LIMIT, KEY_BLOCKS | KEY_THROTTLE},
		{"io.max", V2, REASON_OK, KEY_LIMIT, KEY_BLOCKS},
		{"blkio.throttle.read_bps_device", ANY, REASON_OK, KEY_LIMIT,
			KEY_BLOCKS | KEY_THROTTLE},
		{"blkio_throttle_read", V1, REASON_OK, KEY_LIMIT, KEY_BLOCKS | KEY_THROTTLE},
		{"devices.allow", V1, REASON_OK, KEY_LIMIT, KEY_ADMIN},
		{"devices_whitelist", V1, REASON_OK, KEY_LIMIT, KEY_ADMIN},
		{"devices.allow", V2, REASON_KEY_MAPPING, KEY_LIMIT, KEY_ADMIN},
		{"net.class", V1, REASON_OK, KEY_HOST, 0},
		{"net_classid", V1, REASON_OK, KEY_HOST, 0},
		{"net.prio", V1, REASON_OK, KEY_HOST, 0},
		{"memory.swappiness", V2, REASON_KEY_MAPPING, KEY_LIMIT, 0},
		{"memory.low", V1, REASON_KEY_MAPPING, KEY_LIMIT, 0},
		{"memory.reclaim", ANY, REASON_OK, KEY_NEVER, 0},
		{"memory.current", ANY, REASON_OK, KEY_STAT, 0},
		{"pressure.memory", V2, REASON_KEY_MAPPING, -1, 0},
		{"tasks", ANY, REASON_OK, KEY_PIDS, 0},
		{"no.such", ANY, REASON_OK, -1, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned where = V1; where <= V2; where++) {
			const struct key *key;
			enum reason reason;

			if (!(rows[i].where & where))
				continue;
			reason = plan(ACTION_LIMIT, rows[i].name, "1", where == V2);
			key = op.question.key;
			if (reason != rows[i].reason ||
				(key ? (int)key->class : -1) != rows[i].class ||
				(key && (key->flags & rows[i].flags) != rows[i].flags))
				fail_msg("%s on v%u: %s, class %d, flags %#x", rows[i].name, where,
					reason_row(reason)->token, key ? (int)key->class : -1,
					key ? key->flags : 0);
			if (reason != REASON_OK)
				assert_non_null(op.first.detail);
		}
	}
}

static const struct key keys[] = {
#define KEY(name, class, flags) {name, class, flags},
#include "../../policy/keys.def"
#undef KEY
};

/* "hugetlb.*.max" -> "hugetlb.2MB.max" */
static const char *name_of(const struct key *key, char *buf, size_t size)
{
	const char *star = strchr(key->name, '*');

	if (!star)
		return key->name;
	snprintf(buf, size, "%.*s2MB%s", (int)(star - key->name), key->name, star + 1);
	return buf;
}

/* Whatever a name stands for: it is not set by a weaker right than what is written needs. */
static void test_no_name_weakens_a_right(void **state)
{
	char buf[64];

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(keys) / sizeof(keys[0]); i++) {
		const struct key *own = &keys[i / 2];
		const char *name = name_of(own, buf, sizeof(buf));
		enum reason reason = plan(ACTION_LIMIT, name, "1", i & 1);
		const struct plan *p = &op.first.value.plan;

		assert_non_null(op.question.key);
		if (own->class != KEY_LIMIT)
			assert_int_equal(op.question.key->class, own->class);
		if (own->class != KEY_LIMIT && own->class != KEY_HOST)
			assert_int_equal(reason, REASON_OK);
		for (unsigned n = 0; reason == REASON_OK && n < p->n; n++) {
			const struct key *file = key_find(p->file[n]);

			if (!file || file->class == KEY_STAT)
				continue;
			assert_int_equal(op.question.key->flags & file->flags, file->flags);
			if (file->class != KEY_LIMIT)
				assert_int_not_equal(op.question.key->class, KEY_LIMIT);
		}
	}
}

/* What v2 has by programs, it has by the names that v1's files have, and is no file. */
static void test_by_program(void **state)
{
	static const char *const names[] = {
		"devices.allow", "devices.deny", "devices_whitelist", "devices_blacklist"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(plan(ACTION_LIMIT, names[i], "a", true), REASON_KEY_MAPPING);
		h.devices = true;
		assert_int_equal(plan(ACTION_LIMIT, names[i], "a", true), REASON_OK);
		assert_int_equal(op.question.key->class, KEY_LIMIT);
		assert_true(op.first.value.by_program);
		assert_int_equal(plan(ACTION_LIMIT, names[i], "a", false), REASON_OK);
		assert_false(op.first.value.by_program);
		h.devices = false;
	}
	assert_int_equal(plan(ACTION_READ, "devices.list", NULL, true), REASON_KEY_MAPPING);
	h.devices = true;
	assert_int_equal(plan(ACTION_READ, "devices_list", NULL, true), REASON_OK);
	assert_true(op.first.value.by_program);
	assert_int_equal(plan(ACTION_READ, "memory.max", NULL, true), REASON_OK);
	assert_false(op.first.value.by_program);
	h.devices = false;
}

static void test_reading(void **state)
{
	(void)state;
	for (int v2 = 0; v2 < 2; v2++) {
		assert_int_equal(plan(ACTION_READ, "tasks", NULL, v2), REASON_OK);
		assert_int_equal(op.question.key->class, KEY_PIDS);
		assert_int_equal(plan(ACTION_READ, "cgroup.threads", NULL, v2), REASON_OK);
		assert_int_equal(op.question.key->class, KEY_PIDS);
		assert_int_equal(plan(ACTION_READ, "no.such", NULL, v2), REASON_OK);
		assert_null(op.first.value.plan.setting);
		assert_string_equal(op.first.value.plan.file[0], "no.such");
		assert_int_equal(
			plan(ACTION_READ, "memory.memsw.limit_in_bytes", NULL, v2), REASON_OK);
		assert_int_equal(op.first.value.plan.n, v2 ? 2 : 1);
	}
	assert_int_equal(plan(ACTION_READ, "memory.low", NULL, false), REASON_KEY_MAPPING);
	assert_int_equal(op.first.detail_of, REASON_KEY_MAPPING);
}

static void test_device_values(void **state)
{
	(void)state;
	plan(ACTION_LIMIT, "io.max", "/dev/sda rbps=1", true);
	assert_true(op.question.device);
	plan(ACTION_LIMIT, "io.max", "/dev/sda rbps=1", false);
	assert_true(op.question.device);
	plan(ACTION_LIMIT, "io.max", "8:0 rbps=1", true);
	assert_false(op.question.device);
	plan(ACTION_LIMIT, "memory.max", "/dev/sda", true);
	assert_false(op.question.device);
}

/* The first block device below /dev, or skip. */
static void block_device(char *path, size_t size, struct stat *st)
{
	FILE *list = fopen("/proc/partitions", "re");
	char line[256], name[64];

	for (int i = 0; list && fgets(line, sizeof(line), list);) {
		if (sscanf(line, "%*u %*u %*u %63s", name) != 1)
			continue;
		i = snprintf(path, size, "/dev/%s", name);
		if (i > 0 && lstat(path, st) == 0 && S_ISBLK(st->st_mode)) {
			fclose(list);
			return;
		}
	}
	if (list)
		fclose(list);
	print_message("[  SKIPPED ] there is no block device here\n");
	skip();
}

static void test_device_by_path(void **state)
{
	char path[80], value[160], wanted[160], got[PLAN_TEXT_MAX];
	struct stat st;

	(void)state;
	block_device(path, sizeof(path), &st);
	snprintf(value, sizeof(value), "%s rbps=1 wbps=2", path);
	snprintf(wanted, sizeof(wanted), "%u:%u rbps=1 wbps=2", major(st.st_rdev),
		minor(st.st_rdev));
	assert_true(value_device(value, got));
	assert_string_equal(got, wanted);
}

static void test_no_device(void **state)
{
	static const char *const values[] = {"/dev/null rbps=1", "/dev/no-such-device rbps=1",
		"/dev/ rbps=1", "/dev/. rbps=1", "/dev/../etc/passwd rbps=1", "/dev/../dev/null 1",
		"/dev/stdin 1", "/dev/fd/0 1", "/dev//null 1", "8:0 1", ""};
	char got[PLAN_TEXT_MAX] = "untouched";

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (value_device(values[i], got))
			fail_msg("%s is %s", values[i], got);
	assert_string_equal(got, "untouched");
}

/*
 * Files, in a directory that stands for a cgroup, below another that stands for the root.
 */

static char top[] = "/tmp/test-value-XXXXXX";

static void put(const char *name, const char *text, mode_t mode)
{
	int fd = openat(op.first.dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int files_setup(void **state)
{
	char path[64];

	(void)state;
	h.root_fd = mkdtemp(top) ? open(top, O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
	snprintf(path, sizeof(path), "%s/c", top);
	if (h.root_fd < 0 || mkdir(path, 0755) < 0)
		return -1;
	op.first.dir_fd = h.root_fd;
	put("cgroup.controllers", "cpuset cpu memory pids\n", 0644);
	return 0;
}

static int files_teardown(void **state)
{
	char command[64];

	(void)state;
	done();
	close(h.root_fd);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

static void open_in(enum action action, const char *name, bool v2)
{
	int root = h.root_fd, dir = openat(root, "c", O_DIRECTORY | O_RDONLY | O_CLOEXEC);

	assert_true(dir >= 0);
	assert_int_equal(plan(action, name, "1", v2), REASON_OK);
	op.first.dir_fd = dir;
	put("cgroup.controllers", "memory\n", 0644);
	put("memory.max", "4096\n", 0640);
	put("memory.stat", "a 1\nb 2\n\n", 0644);
	value_open(&op, &op.first, O_RDONLY);
}

static void close_in(void)
{
	close(op.first.dir_fd);
}

static void test_open(void **state)
{
	struct texts texts = {0};

	(void)state;
	open_in(ACTION_READ, "memory.stat", true);
	assert_int_equal(op.first.facts.key, REASON_OK);
	assert_ptr_equal(op.first.facts.file, op.first.value.node);
	assert_int_equal(op.first.facts.more_files, 0);
	assert_int_equal(value_read(&op.first, &texts), 0);
	assert_string_equal(texts.text[0], "a 1\nb 2");
	texts_done(&texts);
	close_in();

	/* Of two one is not there. */
	open_in(ACTION_READ, "memory.memsw.limit_in_bytes", true);
	assert_int_equal(op.first.facts.key, REASON_KEY_MISSING);
	assert_string_equal(op.first.detail, "memory.swap.max");
	put("memory.swap.max", "max\n", 0600);
	close_in();
	open_in(ACTION_READ, "memory.memsw.limit_in_bytes", true);
	assert_int_equal(op.first.facts.key, REASON_OK);
	assert_int_equal(op.first.facts.more_files, 1);
	assert_int_equal((op.first.facts.file[0].mode ^ op.first.facts.file[1].mode) & 0777, 0040);
	unlinkat(op.first.dir_fd, "memory.swap.max", 0);
	close_in();
}

static void test_what_is_not_there(void **state)
{
	static const struct {
		const char *name;
		bool v2;
		enum reason reason;
	} rows[] = {
		{"cpu.weight", true, REASON_KEY_OFF},
		{"cpu.shares", true, REASON_KEY_OFF},
		{"pids.max", true, REASON_KEY_OFF},
		/* the kernel does not have the controller */
		{"io.max", true, REASON_KEY_MISSING},
		{"misc.max", true, REASON_KEY_MISSING},
		/* it is enabled, and has no such file */
		{"memory.new", true, REASON_KEY_MISSING},
		{"cgroup.new", true, REASON_KEY_MISSING},
		{"new", true, REASON_KEY_MISSING},
		{"cpu.shares", false, REASON_KEY_MISSING},
		{"pids.max", false, REASON_KEY_MISSING},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		open_in(ACTION_READ, rows[i].name, rows[i].v2);
		if (op.first.facts.key != rows[i].reason)
			fail_msg("%s: %s", rows[i].name, reason_row(op.first.facts.key)->token);
		assert_null(op.first.facts.file);
		close_in();
	}
	/* Of a cgroup that is not there nothing is told. */
	assert_int_equal(plan(ACTION_READ, "cpu.weight", NULL, true), REASON_OK);
	op.first.place.missing = 1;
	op.first.dir_fd = -1;
	value_open(&op, &op.first, O_RDONLY);
	assert_int_equal(op.first.facts.key, REASON_OK);
	assert_null(op.first.facts.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_no_name_weakens_a_right),
		cmocka_unit_test(test_by_program),
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_device_values),
		cmocka_unit_test(test_device_by_path),
		cmocka_unit_test(test_no_device),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_what_is_not_there),
	};

	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
