/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cgm perf explain makes of what it finds: the verdict, the layers that refuse, and what mends
 * it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../client/perf-findings.h"

#define INITIAL UINT64_C(0xeffffffd)
#define PERFMON (UINT64_C(1) << 38)

/* A container's root, and an event of all processes, which it may not have; cgmd is out of reach.
 */
static struct findings container_findings(void)
{
	struct findings f = {.n = 1,
		.attempts[0] = {.name = "cpu-clock", .target = TARGET_CPU, .result = -EACCES},
		.flags_probe = -EINVAL,
		.memory_probe = -EFAULT,
		.paranoid = 2,
		.container = true,
		.daemon = DAEMON_ABSENT,
		.daemon_text = "unix:path=/x",
		.item = "cpu"};

	f.credentials.sets[CAP_SET_EFFECTIVE] = f.credentials.sets[CAP_SET_BOUNDING] = UINT64_MAX;
	f.credentials.chain.n = 1;
	f.credentials.chain.ns[0].inode = 4711;
	return f;
}

/* The layers that refuse, in their order, and the command. */
static void check(const struct findings *f, enum layer_state verdict, const char *refusing,
	const char *command, const char *who)
{
	struct explanation e;
	char text[256] = "";

	findings_judge(f, &e);
	assert_int_equal(e.verdict, verdict);
	for (unsigned i = 0; i < e.n; i++) {
		if (e.layers[i].state != LAYER_REFUSES)
			continue;
		strcat(text, *text ? " " : "");
		strcat(text, e.layers[i].name);
	}
	assert_string_equal(text, refusing);
	assert_string_equal(e.command, command);
	assert_memory_equal(e.who, who, strlen(who));
}

static void test_works(void **state)
{
	struct findings f = container_findings();

	f.attempts[0].result = 0;
	check(&f, LAYER_PASSES, "", "", "");
	/* what a program does without decides nothing */
	f.n = 2;
	f.attempts[1] = f.attempts[0];
	f.attempts[1].optional = true;
	f.attempts[1].result = -EACCES;
	check(&f, LAYER_PASSES, "perf_event_open", "", "");
	f.n = 0;
	check(&f, LAYER_PASSES, "", "", "");
}

static void test_grant_and_run(void **state)
{
	struct findings f = container_findings();

	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability cgmd", "cgm perf config lxc",
		"root on the host");
	f.oci = true;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability cgmd", "cgm perf config oci",
		"root on the host");
	/* its runtime has handed the calls over: a socket is not needed */
	f.trapped = true;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability cgmd",
		"cgm perf grant CGROUP cpu", "root on the host");
	f.trapped = false;
	f.daemon = DAEMON_MUTE;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability cgmd",
		"systemctl status cgmd", "root on the host");
	f.daemon = DAEMON_THERE;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability", "cgm perf show", "you");
	f.grant = GRANT_MISSING;
	strcpy(f.run_text, "perf access is off");
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability perf run grant",
		"cgm perf show", "you");
	f.run_text[0] = '\0';
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability grant",
		"cgm perf grant CGROUP cpu", "root on the host");
	strcpy(f.cgroup, "/user.slice");
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability grant",
		"cgm perf grant /user.slice cpu", "root on the host");
	f.grant = GRANT_GIVEN;
	f.attempts[0].through_cgmd = true;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability", "cgm perf run -- PROGRAM",
		"you");
	strcpy(f.program, "/usr/bin/perf");
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability",
		"cgm perf run -- /usr/bin/perf", "you");
	f.attempts[0].through_cgmd = false;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability", "cgm perf show",
		"root on the host");
}

static void test_host(void **state)
{
	struct findings f = container_findings();

	f.container = false;
	f.credentials.chain.ns[0].inode = INITIAL;
	f.credentials.sets[CAP_SET_EFFECTIVE] = 0;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability cgmd", "systemctl start cgmd",
		"root on the host");
	/* with the capability it is neither level nor capability */
	f.credentials.sets[CAP_SET_EFFECTIVE] = PERFMON;
	check(&f, LAYER_REFUSES, "perf_event_open cgmd", "systemctl start cgmd",
		"root on the host");
}

static void test_paranoid(void **state)
{
	static const struct {
		int level;
		enum event_kind kind;
		enum attempt_target target;
		bool refuses;
	} rows[] = {
		{4, EVENT_KERNEL, TARGET_OWN, true},
		{3, EVENT_KERNEL, TARGET_OWN, true},
		{2, EVENT_KERNEL, TARGET_OWN, false},
		{2, EVENT_KERNEL, TARGET_CPU, true},
		{1, EVENT_KERNEL, TARGET_CPU, true},
		{0, EVENT_KERNEL, TARGET_CPU, false},
		{0, EVENT_TRACEPOINT, TARGET_OWN, true},
		{-1, EVENT_TRACEPOINT, TARGET_OWN, false},
		{1, EVENT_PMU, TARGET_CPU, true},
		{-1, EVENT_PMU, TARGET_CPU, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct findings f = container_findings();

		f.paranoid = rows[i].level;
		f.attempts[0].event.kind = rows[i].kind;
		f.attempts[0].target = rows[i].target;
		check(&f, LAYER_REFUSES,
			rows[i].refuses ? "perf_event_open paranoid capability cgmd"
					: "perf_event_open capability cgmd",
			"cgm perf config lxc", "root on the host");
	}
}

static void test_seccomp_and_lsm(void **state)
{
	struct findings f = container_findings();

	f.attempts[0].result = f.flags_probe = f.memory_probe = -EPERM;
	f.credentials.seccomp = 2;
	f.daemon = DAEMON_THERE;
	f.grant = GRANT_MISSING;
	check(&f, LAYER_REFUSES, "perf_event_open seccomp paranoid capability grant",
		"cgm perf config lxc", "root on the host");
	/* without a filter it is somebody else's EPERM */
	f.credentials.seccomp = 0;
	check(&f, LAYER_REFUSES, "perf_event_open lsm paranoid capability grant",
		"cgm perf grant CGROUP cpu", "root on the host");
	/* what level 3 does too */
	f.paranoid = 3;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability grant",
		"cgm perf grant CGROUP cpu", "root on the host");
	f.credentials.seccomp = 2;
	f.flags_probe = f.attempts[0].result = -ENOSYS;
	check(&f, LAYER_REFUSES, "perf_event_open seccomp paranoid capability grant",
		"cgm perf config lxc", "root on the host");
}

/* Its listener is there, and whoever has it is not. */
static void test_mute_listener(void **state)
{
	struct findings f = container_findings();

	f.attempts[0].result = f.flags_probe = f.memory_probe = -ETIMEDOUT;
	f.credentials.seccomp = 2;
	f.trapped = true;
	check(&f, LAYER_REFUSES, "perf_event_open seccomp paranoid capability cgmd",
		"systemctl restart cgmd", "root on the host");
}

static void test_absent(void **state)
{
	struct findings f = container_findings();

	f.attempts[0].event = (struct event){.kind = EVENT_PMU, .pmu = "i915"};
	f.attempts[0].lookup = -ENOENT;
	f.attempts[0].result = 0;
	check(&f, LAYER_REFUSES, "perf_event_open pmu cgmd", "", "no command mends that");
	f.attempts[0].lookup = -EACCES;
	check(&f, LAYER_UNKNOWN, "cgmd", "", "where its number cannot be read");
	f.attempts[0].lookup = 0;
	f.attempts[0].result = -ENOENT;
	check(&f, LAYER_REFUSES, "perf_event_open cgmd", "", "no command mends that");
	/* no word of leave */
	f.attempts[0].result = -EMFILE;
	check(&f, LAYER_UNKNOWN, "cgmd", "", "no layer refused it");
	f.attempts[0].result = -ENOSYS;
	f.paranoid_error = -ENOENT;
	check(&f, LAYER_REFUSES, "perf_event_open paranoid capability cgmd", "",
		"no command mends that");
}

/* A program whose file has what cgm lacks is not refused for that. */
static void test_file(void **state)
{
	static const struct {
		uint64_t inode, permitted, bounding;
		uint32_t root;
		bool no_new_privs;
		enum file_caps caps;
		enum layer_state verdict;
	} rows[] = {
		{INITIAL, PERFMON, UINT64_MAX, 0, false, FILE_CAPS_OURS, LAYER_UNKNOWN},
		{INITIAL, PERFMON, UINT64_MAX, 0, false, FILE_CAPS_FOREIGN, LAYER_REFUSES},
		{INITIAL, 1, UINT64_MAX, 0, false, FILE_CAPS_OURS, LAYER_REFUSES},
		{INITIAL, PERFMON, ~PERFMON, 0, false, FILE_CAPS_OURS, LAYER_REFUSES},
		{INITIAL, PERFMON, UINT64_MAX, 1000, false, FILE_CAPS_OURS, LAYER_REFUSES},
		{INITIAL, PERFMON, UINT64_MAX, 0, true, FILE_CAPS_OURS, LAYER_REFUSES},
		{4711, PERFMON, UINT64_MAX, 0, false, FILE_CAPS_OURS, LAYER_REFUSES},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct findings f = container_findings();
		struct explanation e;

		strcpy(f.program, "/usr/bin/perf");
		f.credentials.sets[CAP_SET_EFFECTIVE] = 0;
		f.credentials.sets[CAP_SET_BOUNDING] = rows[i].bounding;
		f.credentials.no_new_privs = rows[i].no_new_privs;
		f.credentials.chain.ns[0].inode = rows[i].inode;
		f.file_caps = rows[i].caps;
		f.file_permitted = rows[i].permitted;
		f.file_root = rows[i].root;
		findings_judge(&f, &e);
		assert_int_equal(e.verdict, rows[i].verdict);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_works),
		cmocka_unit_test(test_grant_and_run),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_paranoid),
		cmocka_unit_test(test_seccomp_and_lsm),
		cmocka_unit_test(test_mute_listener),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
