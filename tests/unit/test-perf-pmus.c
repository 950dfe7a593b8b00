/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PMUs, tracepoints and GPUs as drivers show them, and what items stand for there. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/devway.h"
#include "../../daemon/manager.h"
#include "../../daemon/perf/grants.h"
#include "../../daemon/perf/pmus.h"
#include "devices.h"

#define SOURCES "sys/bus/event_source/devices/"
#define I915 "pci0000:00/0000:00:02.0"
#define AMD "pci0000:00/0000:00:03.0"

static const struct fake_card intel = {I915, "i915", "card0", 0};
static const struct fake_card amd = {AMD, "amdgpu", "card1", 1};

static struct pmu *pmu;
static unsigned n_pmus;
static struct manager m;
static struct device_roots roots; /* the devnames' */

static void pmu_make(const char *name, const char *type, const char *mask)
{
	char path[160], text[16];

	snprintf(path, sizeof(path), SOURCES "%s/type", name);
	snprintf(text, sizeof(text), "%s\n", type);
	devices_file(path, text);
	if (!mask)
		return;
	snprintf(path, sizeof(path), SOURCES "%s/%s", name, mask);
	devices_file(path, "0\n");
}

static int setup(void **state)
{
	struct device_roots r;

	devices_begin();
	pmu_make("software", "1", NULL);
	pmu_make("tracepoint", "2", NULL);
	pmu_make("cpu_core", "4", "cpus");
	pmu_make("cpu_atom", "10", "cpus");
	pmu_make("cpu_meter", "31", NULL);
	pmu_make("uncore_imc", "11", "cpumask");
	pmu_make("uprobe", "9", NULL);
	pmu_make("msr", "12", NULL);
	pmu_make("power", "13", "cpumask");
	pmu_make("power_core", "30", "cpumask");
	pmu_make("powerful", "32", NULL);
	pmu_make("i915", "20", "cpumask");
	pmu_make("amdgpu_1", "21", NULL);
	pmu_make("broken", "-3", NULL);
	pmu_make("large", "4294967296", NULL);
	pmu_make("words", "12 monkeys", NULL);
	devices_file(SOURCES "no_type/events/x", "event=0\n");
	devices_link(SOURCES "gone", "../nowhere");
	devices_file("sys/kernel/tracing/events/sched/sched_switch/id", "314\n");
	devices_card(&intel);
	devices_card(&amd);
	devices_drm("0000:00:02.0", "8086:56a0", "card0", NULL);
	devices_drm("0000:00:03.0", "1002:744c", "card1", NULL);
	r = devices_roots();
	m = (struct manager){.sys_fd = openat(r.sys, ".", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.tracefs_fd = openat(r.sys, "kernel/tracing", O_PATH | O_DIRECTORY | O_CLOEXEC)};
	device_roots_close(&r);
	roots = devices_roots();
	assert_int_equal(devnames_new_at(&roots, NULL, NULL, NULL, &m.devnames), 0);
	return m.sys_fd < 0 || m.tracefs_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	devnames_free(m.devnames);
	close(m.sys_fd);
	close(m.tracefs_fd);
	free(pmu);
	pmu = NULL;
	devices_end();
	return 0;
}

static const struct pmu *named(const char *name)
{
	for (unsigned i = 0; i < n_pmus; i++)
		if (strcmp(pmu[i].name, name) == 0)
			return &pmu[i];
	return NULL;
}

static void test_list(void **state)
{
	static const struct {
		const char *name;
		uint32_t type;
		bool scoped, is_cpu, is_power, is_probe, no_exclude;
	} rows[] = {
		{"software", 1, true, false, false},
		{"uprobe", 9, true, false, false, true},
		{"cpu_core", 4, true, true, false},
		{"cpu_atom", 10, true, true, false},
		{"cpu_meter", 31, true, false, false},
		{"uncore_imc", 11, false, false, false},
		{"msr", 12, true, false, false, false, true},
		{"power", 13, false, false, true},
		{"power_core", 30, false, false, true},
		{"powerful", 32, true, false, false},
		{"i915", 20, false, false, false},
		/* has no cpumask */
		{"amdgpu_1", 21, false, false, false},
	};

	assert_int_equal(pmus_list(m.sys_fd, &pmu, &n_pmus), 0);
	assert_int_equal(n_pmus, sizeof(rows) / sizeof(rows[0]) + 1);
	for (unsigned i = 1; i < n_pmus; i++)
		assert_true(pmu[i - 1].type < pmu[i].type);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct pmu *p = named(rows[i].name);

		assert_non_null(p);
		assert_int_equal(p->type, rows[i].type);
		assert_int_equal(p->scoped, rows[i].scoped);
		assert_int_equal(p->is_cpu, rows[i].is_cpu);
		assert_int_equal(p->is_power, rows[i].is_power);
		assert_int_equal(p->is_probe, rows[i].is_probe);
		assert_int_equal(p->no_exclude, rows[i].no_exclude);
	}
	assert_int_equal(pmus_list(m.tracefs_fd, &pmu, &n_pmus), -ENOENT);
}

static void test_tracepoints(void **state)
{
	uint64_t id = 0;

	assert_int_equal(tracepoint_find(m.tracefs_fd, "sched:sched_switch", &id), 0);
	assert_int_equal(id, 314);
	assert_int_equal(tracepoint_find(m.tracefs_fd, "sched:none", &id), -ENOENT);
	assert_int_equal(tracepoint_find(m.tracefs_fd, "sched_switch", &id), -EINVAL);
	assert_int_equal(tracepoint_find(-EBADF, "sched:sched_switch", &id), -ENOENT);
}

static struct perf_items items_of(const char *text)
{
	struct perf_record record;

	assert_int_equal(perf_record_parse(text, &record), 0);
	return record.given;
}

static struct perf_grant resolved(const char *text, const struct devway *const *way, unsigned n)
{
	struct perf_items items = items_of(text);
	struct perf_grant grant;

	assert_int_equal(perf_grant_resolve(&m, &items, way, n, &grant), 0);
	assert_int_equal(grant.n_pmus, 13);
	return grant;
}

static const struct perf_pmu *of_type(const struct perf_grant *grant, uint32_t type)
{
	for (unsigned i = 0; i < grant->n_pmus; i++)
		if (grant->pmu[i].type == type)
			return &grant->pmu[i];
	fail_msg("no type %u", type);
	return NULL;
}

/* The types that are granted, in order. */
static void granted(const struct perf_grant *grant, const char *expected)
{
	char text[128] = "";

	for (unsigned i = 0; i < grant->n_pmus; i++)
		if (grant->pmu[i].granted)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u ",
				grant->pmu[i].type);
	assert_string_equal(text, expected);
}

static void test_resolve(void **state)
{
	struct perf_grant g = resolved("", NULL, 0);

	assert_false(g.cpu || g.kernel || g.raw);
	granted(&g, "");
	assert_true(of_type(&g, 12)->scoped && of_type(&g, 12)->no_exclude);
	assert_true(of_type(&g, 9)->probe);
	assert_true(of_type(&g, 10)->cpu && !of_type(&g, 12)->cpu);
	assert_false(of_type(&g, 20)->scoped);
	g = resolved("cpu", NULL, 0);
	assert_true(g.cpu && !g.kernel && !g.raw);
	g = resolved("kernel", NULL, 0);
	assert_true(g.cpu && g.kernel && !g.raw);
	granted(&g, "");
	g = resolved("pmu:cpu_atom", NULL, 0);
	assert_true(!g.cpu && g.raw);
	granted(&g, "10 ");
	g = resolved("pmu:msr pmu:nobody", NULL, 0);
	assert_false(g.raw);
	granted(&g, "12 ");
	assert_int_equal(of_type(&g, 12)->by, PERF_ITEM_PMU);
	g = resolved("power", NULL, 0);
	granted(&g, "13 30 ");
	assert_int_equal(of_type(&g, 13)->by, PERF_ITEM_POWER);
	g = resolved("tracepoint:sched:sched_switch tracepoint:no:such", NULL, 0);
	assert_int_equal(g.n_tracepoints, 1);
	assert_int_equal(g.tracepoint[0], 314);
}

static void test_gpus(void **state)
{
	struct devprog_foreign unknown = {0};
	struct devway_level level = {.n_others = 1, .others = &unknown};
	struct devway closed = {.n = 1, .level = &level}, open = {0};
	const struct devway *way[] = {&open, &closed};
	struct perf_grant g = resolved("gpu", NULL, 0);

	granted(&g, "20 21 ");
	assert_int_equal(of_type(&g, 20)->by, PERF_ITEM_GPU);
	g = resolved("gpu", way, 1);
	granted(&g, "20 21 ");
	/* each hierarchy that governs devices must allow, for sure */
	g = resolved("gpu", way, 2);
	granted(&g, "");
	/* named, it does not depend on devices */
	g = resolved("gpu pmu:i915", way, 2);
	granted(&g, "20 ");
	assert_int_equal(of_type(&g, 20)->by, PERF_ITEM_PMU);
	/* one that has gone, whose number may become another's */
	devices_card_gone(&intel);
	devices_drm_none();
	devices_drm("0000:00:03.0", "1002:744c", "card1", NULL);
	g = resolved("gpu", NULL, 0);
	granted(&g, "21 ");
}

/* More than a grant has room for: those of which something is to be said are there. */
static void test_many(void **state)
{
	struct perf_grant g;

	for (unsigned i = 0; i < 2 * PERF_PMUS_MAX; i++) {
		char name[32], type[16];

		snprintf(name, sizeof(name), "uncore_%u", i);
		snprintf(type, sizeof(type), "%u", 100 + i);
		pmu_make(name, type, "cpumask");
	}
	pmu_make("late", "5000", "cpumask");
	pmu_make("arm_late", "5001", "cpus");
	{
		struct perf_items items = items_of("pmu:uncore_500 pmu:late");

		assert_int_equal(perf_grant_resolve(&m, &items, NULL, 0, &g), 0);
	}
	assert_int_equal(g.n_pmus, PERF_PMUS_MAX);
	granted(&g, "600 5000 ");
	assert_true(of_type(&g, 5001)->cpu);
	assert_true(of_type(&g, 4)->cpu && of_type(&g, 12)->no_exclude);
	for (unsigned i = 1; i < g.n_pmus; i++)
		assert_true(g.pmu[i - 1].type < g.pmu[i].type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_list),
		TEST(test_tracepoints),
		TEST(test_resolve),
		TEST(test_gpus),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
