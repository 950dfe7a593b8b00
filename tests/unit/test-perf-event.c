/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events by their names, what is to be granted for them, and what sysfs says of them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../client/perf-event.h"

static char tree[] = "/tmp/test-perf-event-XXXXXX";

static void test_names(void **state)
{
	static const struct {
		const char *text;
		enum event_kind kind;
		const char *pmu, *terms;
		uint32_t type;
		uint64_t config;
		bool user;
		const char *item;
		bool kernel;
	} rows[] = {
		{"cpu-clock", EVENT_KERNEL, "", "", PERF_TYPE_SOFTWARE, 0, false, "cpu"},
		{"cs:u", EVENT_KERNEL, "", "", PERF_TYPE_SOFTWARE, 3, true, "cpu"},
		{"cycles", EVENT_KERNEL, "", "", PERF_TYPE_HARDWARE, 0, false, "cpu"},
		{"cycles:k", EVENT_KERNEL, "", "", PERF_TYPE_HARDWARE, 0, false, "kernel", true},
		{"instructions:uk", EVENT_KERNEL, "", "", PERF_TYPE_HARDWARE, 1, false, "cpu"},
		{"msr/tsc/", EVENT_PMU, "msr", "tsc", 0, 0, false, "pmu:msr"},
		{"msr/tsc/u", EVENT_PMU, "msr", "tsc", 0, 0, true, "pmu:msr"},
		{"cpu/event=0x3c,umask=1/:u", EVENT_PMU, "cpu", "event=0x3c,umask=1", 0, 0, true,
			"pmu:cpu"},
		{"power/energy-pkg/", EVENT_PMU, "power", "energy-pkg", 0, 0, false, "power"},
		{"i915//", EVENT_PMU, "i915", "", 0, 0, false, "gpu"},
		{"i915_0000_03_00.0/rc6/", EVENT_PMU, "i915_0000_03_00.0", "rc6", 0, 0, false,
			"gpu"},
		{"xe_0000_03_00.0//", EVENT_PMU, "xe_0000_03_00.0", "", 0, 0, false, "gpu"},
		{"gpu//", EVENT_PMU, "", "", 0, 0, false, "gpu"},
		{"xen/x/", EVENT_PMU, "xen", "x", 0, 0, false, "pmu:xen"},
		{"sched:sched_switch", EVENT_TRACEPOINT, "sched", "sched_switch",
			PERF_TYPE_TRACEPOINT, 0, false, "tracepoint:sched:sched_switch"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char item[EVENT_ITEM_MAX];
		struct event event;

		assert_int_equal(event_parse(rows[i].text, &event), 0);
		assert_int_equal(event.kind, rows[i].kind);
		assert_string_equal(event.pmu, rows[i].pmu);
		assert_string_equal(event.terms, rows[i].terms);
		assert_int_equal(event.type, rows[i].type);
		assert_int_equal(event.config, rows[i].config);
		assert_int_equal(event.user, rows[i].user);
		assert_int_equal(event.kernel, rows[i].kernel);
		event_item(&event, item);
		assert_string_equal(item, rows[i].item);
	}
}

static void test_no_names(void **state)
{
	static char long_name[EVENT_NAME_MAX + 4];
	const char *rows[] = {"", "cycle", "cyclesx", "cycles:", "Cycles", "perf", "/", "//", "msr",
		"msr/", "/tsc/", "msr/tsc", "../x/", "./x/", "msr/../", "msr/./", "msr/a/b/",
		"msr/a b/", "msr/tsc/x", "msr/tsc/:", ":", "sched:", ":x", "..:x", "sched:..",
		"sched:a:b", "sched:a,b", long_name};

	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[1] = ':';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event event = {.type = 4711};

		assert_int_equal(event_parse(rows[i], &event), -EINVAL);
		assert_int_equal(event.type, 4711);
	}
}

static void test_programs(void **state)
{
	assert_string_equal(program_find("/usr/bin/intel_gpu_top")->needs, "gpu//");
	assert_string_equal(program_find("perf")->name, "perf");
	assert_null(program_find("perf/"));
	assert_null(program_find("bash"));
}

/* Makes the folders on the way. */
static void write_file(const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	for (char *p = path + strlen(tree) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(path, 0700);
	}
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_tree(void **state)
{
	if (!mkdtemp(tree))
		return -1;
#define PMUS "sys/bus/event_source/devices/"
	write_file(PMUS "msr/type", "9\n");
	write_file(PMUS "msr/format/event", "config:0-63\n");
	write_file(PMUS "msr/events/tsc", "event=0x00\n");
	write_file(PMUS "wide/type", "4000000000\n");
	write_file(PMUS "wide/cpumask", "3,7\n");
	write_file(PMUS "wide/format/event", "config:0-7,32-35\n");
	write_file(PMUS "wide/format/umask", "config:8-15\n");
	write_file(PMUS "wide/format/inv", "config:23\n");
	write_file(PMUS "wide/format/offcore", "config1:0-63\n");
	write_file(PMUS "wide/format/broken", "config:63-70\n");
	write_file(PMUS "wide/events/all", "event=0xfff,umask=0x12,inv,offcore=0xff\n");
	write_file(PMUS "xe_0000_04_00.0/type", "31\n");
	write_file(PMUS "i915_0000_03_00.0/type", "30\n");
	write_file(PMUS "i915_0000_03_00.0/cpumask", "0\n");
	write_file(PMUS "i915_0000_03_00.0/events/rc6.unit", "ns\n");
	write_file(PMUS "i915_0000_03_00.0/events/rc6-residency", "config=0x100003\n");
	write_file(PMUS "odd/type", "x\n");
	write_file("tracing/events/sched/sched_switch/id", "317\n");
	write_file("none/x", "");
	return 0;
}

static int remove_tree(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", tree);
	return system(command);
}

static void test_resolve(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t type;
		uint64_t config;
		int cpu;
	} rows[] = {
		{"msr/tsc/", 0, 9, 0, -1},
		{"msr/event=7/", 0, 9, 7, -1},
		{"msr/config=0x12/", 0, 9, 0x12, -1},
		{"msr//", 0, 9, 0, -1},
		{"msr/nosuch/", -ENOENT},
		{"msr/event=x/", -EBADMSG},
		{"msr/event=/", -EBADMSG},
		{"wide/all/", 0, 4000000000, 0xf008012ff, 3},
		{"wide/broken/", -EBADMSG},
		{"i915_0000_03_00.0/rc6-residency/", 0, 30, 0x100003, 0},
		{"gpu//", 0, 30, 0x100003, 0},
		{"i915//", -ENOENT},
		{"odd//", -EBADMSG},
		{"sched:sched_switch", 0, PERF_TYPE_TRACEPOINT, 317, -1},
		{"sched:nosuch", -ENOENT},
		{"cycles", 0, PERF_TYPE_HARDWARE, 0, -1},
	};
	char sysfs[64], tracefs[64];

	snprintf(sysfs, sizeof(sysfs), "%s/sys", tree);
	snprintf(tracefs, sizeof(tracefs), "%s/tracing", tree);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event event;
		int cpu;

		assert_int_equal(event_parse(rows[i].text, &event), 0);
		assert_int_equal(event_resolve(&event, sysfs, tracefs, &cpu), rows[i].r);
		if (rows[i].r < 0)
			continue;
		assert_int_equal(event.type, rows[i].type);
		assert_true(event.config == rows[i].config);
		assert_int_equal(cpu, rows[i].cpu);
	}
}

/* Where tracefs is not mounted, its folder is empty: that tells nothing of the event. */
static void test_no_tracefs(void **state)
{
	struct event event;
	char none[64];
	int cpu;

	snprintf(none, sizeof(none), "%s/none", tree);
	assert_int_equal(event_parse("sched:sched_switch", &event), 0);
	assert_int_equal(event_resolve(&event, none, none, &cpu), -ENODEV);
	assert_int_equal(event_parse("gpu//", &event), 0);
	assert_int_equal(event_resolve(&event, none, none, &cpu), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_no_names),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_no_tracefs),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
