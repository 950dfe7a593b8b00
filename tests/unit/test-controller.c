/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../policy/controller.h"

#define N_ENABLED 9

static void test_rows(void **state)
{
	unsigned n = 0, enabled = 0;

	(void)state;
	for (; controller_row(n); n++) {
		const struct controller *row = controller_row(n);

		assert_true(row->name[0] && row->v1[0]);
		/* what has nothing to enable works everywhere, or so it would say */
		if (!(row->flags & CONTROLLER_ENABLED))
			assert_int_equal(row->flags & ~CONTROLLER_PROGRAM, 0);
		else
			enabled++;
		for (unsigned i = 0; i < n; i++) {
			assert_string_not_equal(row->name, controller_row(i)->name);
			assert_string_not_equal(row->v1, controller_row(i)->v1);
		}
	}
	assert_int_equal(enabled, N_ENABLED);
	assert_null(controller_row(n + 1));
	assert_null(controller_row(~0U));
}

static unsigned one(const char *name)
{
	unsigned i = 0;

	while (controller_row(i) && strcmp(controller_row(i)->name, name) != 0)
		i++;
	assert_non_null(controller_row(i));
	return 1U << i;
}

static void test_sets_of_texts(void **state)
{
	unsigned memory = one("memory"), pids = one("pids"), io = one("io"), cpu = one("cpu");
	const struct {
		const char *text;
		unsigned set;
	} rows[] = {
		{"", 0},
		{"memory", memory},
		{"memory\n", memory},
		{"memory pids", memory | pids},
		{"memory,pids", memory | pids},
		{"pids memory pids\n", memory | pids},
		{",, memory,\n ,", memory},
		/* by v1's name too */
		{"blkio", io},
		{"blkio io", io},
		{"unified,cpu,io", cpu | io},
		/* nothing to enable */
		{"freezer,cpuacct,perf_event,devices", 0},
		/* whole words only */
		{"mem", 0},
		{"memoryx", 0},
		{"xmemory", 0},
		{"+memory", 0},
		{"cpu.max", 0},
		{"Memory", 0},
		{"cpuset", one("cpuset")},
		{"memory\tpids", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (controllers_of(rows[i].text) != rows[i].set)
			fail_msg("\"%s\": %x", rows[i].text, controllers_of(rows[i].text));
}

static void test_threaded(void **state)
{
	unsigned threaded = one("cpu") | one("cpuset") | one("pids");

	(void)state;
	assert_int_equal(controllers_threaded(~0U), threaded);
	assert_int_equal(controllers_threaded(0), 0);
	assert_int_equal(controllers_threaded(one("memory") | one("cpu")), one("cpu"));
	assert_int_equal(controllers_threaded(one("io")), 0);
}

static void test_texts_of_sets(void **state)
{
	char buf[256], small[8];
	unsigned all = 0;

	(void)state;
	controllers_text(0, '+', buf, sizeof(buf));
	assert_string_equal(buf, "");
	controllers_text(one("pids"), '-', buf, sizeof(buf));
	assert_string_equal(buf, "-pids");
	controllers_text(one("pids") | one("memory"), '+', buf, sizeof(buf));
	assert_string_equal(buf, "+memory +pids");
	controllers_text(one("pids") | one("memory"), '\0', buf, sizeof(buf));
	assert_string_equal(buf, "memory pids");
	/* what it writes it reads, and the size that is promised is enough for all */
	for (unsigned i = 0; controller_row(i); i++)
		if (controller_row(i)->flags & CONTROLLER_ENABLED)
			all |= 1U << i;
	controllers_text(all, '\0', buf, sizeof(buf));
	assert_int_equal(controllers_of(buf), all);
	controllers_text(~0U, '+', buf, sizeof(buf));
	assert_true(strlen(buf) < sizeof(buf) - 1);
	memset(small, 'x', sizeof(small));
	controllers_text(all, '+', small, sizeof(small) - 1);
	assert_int_equal(strlen(small), sizeof(small) - 2);
	assert_int_equal(small[sizeof(small) - 1], 'x');
}

static void test_of_files(void **state)
{
	static const struct {
		const char *file, *name;
	} rows[] = {
		{"memory.max", "memory"},
		{"memory.swap.max", "memory"},
		{"cpu.max", "cpu"},
		{"cpuset.cpus", "cpuset"},
		{"io.max", "io"},
		{"pids.max", "pids"},
		{"hugetlb.2MB.max", "hugetlb"},
		{"rdma.max", "rdma"},
		{"misc.max", "misc"},
		{"dmem.max", "dmem"},
		{"cgroup.procs", NULL},
		{"cgroup.max.depth", NULL},
		{"tasks", NULL},
		{"freezer.state", NULL},
		{"memory_x.max", NULL},
		{"", NULL},
		{".memory", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (controller_of_file(rows[i].file) != (rows[i].name ? one(rows[i].name) : 0))
			fail_msg("%s", rows[i].file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_sets_of_texts),
		cmocka_unit_test(test_threaded),
		cmocka_unit_test(test_texts_of_sets),
		cmocka_unit_test(test_of_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
