/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../daemon/options.h"

#define ARGS_MAX 40

static enum options_result parse(const char *line, struct options *ret)
{
	static char text[1024];
	char *argv[ARGS_MAX] = {(char *)"cgmd"}, *state = NULL;
	int argc = 1;

	assert_true(strlen(line) < sizeof(text));
	strcpy(text, line);
	for (char *word = strtok_r(text, " ", &state); word && argc < ARGS_MAX - 1;
		word = strtok_r(NULL, " ", &state))
		argv[argc++] = word;
	optind = 0; /* getopt(3): start anew */
	opterr = 0;
	return options_parse(argc, argv, ret);
}

static void test_defaults(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse("", &o), OPTIONS_RUN);
	assert_int_equal(o.n_sockets, 0);
	assert_int_equal(o.max_depth, 16);
	assert_int_equal(o.max_peers, 16384);
	assert_int_equal(o.max_peers_uid, 4096);
	assert_int_equal(o.limits.message_max, 65536);
	assert_int_equal(o.limits.replies_max, 64);
	assert_int_equal(o.limits.auth_usec, 5000000);
	assert_int_equal(o.scm_usec, 2000000);
	assert_int_equal(o.ready_fd, -1);
	assert_string_equal(o.policy, "/etc/cgmd/policy.conf");
	assert_null(o.mount);
	assert_null(o.bpffs);
	assert_int_equal(o.device_programs, DEVICES_CHOOSE);
	assert_false(o.perf_off || o.perf_gate);
	assert_int_equal(o.perf_events_max, 64);
	assert_int_equal(o.perf_rate, 2000);
	assert_int_equal(o.perf_listeners_max, 64);
	assert_string_equal(o.perf_keeper, "/run/cgmd-keeper/socket");
	assert_string_equal(o.lxc_socket, "/run/cgmd/lxc.sock");
	assert_string_equal(o.oci_socket, "/run/cgmd/oci.sock");
	assert_null(o.lxc_next);
	assert_false(o.daemonize || o.sigstop || o.strict || o.debug || o.no_sandbox);
}

static void test_perf(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
		parse("--perf off --perf-gate --lxc-next /a --perf-rate 5", &o), OPTIONS_RUN);
	assert_true(o.perf_off && o.perf_gate);
	assert_string_equal(o.lxc_next, "/a");
	assert_int_equal(o.perf_rate, 5);
	assert_int_equal(parse("--perf=off --perf=on", &o), OPTIONS_RUN);
	assert_false(o.perf_off);
	assert_int_equal(parse("--perf maybe", &o), OPTIONS_WRONG);
	assert_int_equal(parse("--lxc-socket a", &o), OPTIONS_WRONG);
	assert_int_equal(parse("--perf-events-max 0", &o), OPTIONS_WRONG);
}

static void test_values(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse("--policy etc/cgmd.conf", &o), OPTIONS_WRONG);
	assert_int_equal(parse("--policy /etc/cgmd.conf", &o), OPTIONS_RUN);
	assert_string_equal(o.policy, "/etc/cgmd.conf");
	assert_int_equal(parse("--socket /a -s /b -m name=x,net_cls -M cpu --max-depth 3 --daemon "
			       "--pidfile /p --ready-fd 7 --sigstop --auth-timeout 9 -d",
				 &o),
		OPTIONS_RUN);
	assert_int_equal(o.n_sockets, 2);
	assert_string_equal(o.sockets[0], "/a");
	assert_string_equal(o.sockets[1], "/b");
	assert_string_equal(o.mount, "name=x,net_cls");
	assert_string_equal(o.ignore, "cpu");
	assert_string_equal(o.pidfile, "/p");
	assert_int_equal(o.max_depth, 3);
	assert_int_equal(o.ready_fd, 7);
	assert_int_equal(o.limits.auth_usec, 9000000);
	assert_true(o.daemonize && o.sigstop && o.debug);
	assert_int_equal(parse("--bpffs /b --device-programs programs", &o), OPTIONS_RUN);
	assert_string_equal(o.bpffs, "/b");
	assert_int_equal(o.device_programs, DEVICES_PROGRAMS);
	assert_int_equal(parse("--device-programs=storage", &o), OPTIONS_RUN);
	assert_int_equal(o.device_programs, DEVICES_STORAGE);
	assert_int_equal(parse("--device-programs=off", &o), OPTIONS_RUN);
	assert_int_equal(o.device_programs, DEVICES_OFF);
}

/* Each limit at both ends, and just beyond them. */
static void test_limits(void **state)
{
	static const struct {
		const char *name;
		unsigned min, max, scale;
		size_t offset, size;
	} limits[] = {
#define AT(field) offsetof(struct options, field), sizeof(((struct options *)0)->field)
		{"max-depth", 1, 128, 1, AT(max_depth)},
		{"max-clients", 1, 1 << 20, 1, AT(max_peers)},
		{"max-clients-per-uid", 1, 1 << 20, 1, AT(max_peers_uid)},
		{"message-max", 1024, 65536, 1, AT(limits.message_max)},
		{"queue-max", 2, 4096, 1, AT(limits.replies_max)},
		{"auth-timeout", 1, 600, 1000000, AT(limits.auth_usec)},
		{"scm-timeout", 1, 60, 1000000, AT(scm_usec)},
#undef AT
	};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		unsigned values[] = {
			limits[i].min, limits[i].max, limits[i].min - 1, limits[i].max + 1};

		for (size_t j = 0; j < 4; j++) {
			char line[64];
			uint64_t got = 0;
			struct options o;

			snprintf(line, sizeof(line), "--%s %u", limits[i].name, values[j]);
			assert_int_equal(parse(line, &o), j < 2 ? OPTIONS_RUN : OPTIONS_WRONG);
			if (j >= 2)
				continue;
			memcpy(&got, (char *)&o + limits[i].offset, limits[i].size);
			assert_int_equal(got, (uint64_t)values[j] * limits[i].scale);
		}
	}
}

static void test_wrong(void **state)
{
	static const char *const lines[] = {"--max-depth 0", "--max-depth 129", "--max-depth x",
		"--max-depth 3x", "--max-depth -3", "--max-depth +3", "--max-depth", "--socket rel",
		"--ready-fd -1", "--nonsense", "word", "--message-max 65537", "--auth-timeout 0",
		"--queue-max 0", "--queue-max 64k", "--scm-timeout 0", "--scm-timeout 61",
		"--bpffs rel", "--device-programs on", "--device-programs", "--scm-timeout 2.5",
		"--scm-timeout 99999999999999999999", "-x"};
	struct options o = {.max_depth = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(parse(lines[i], &o), OPTIONS_WRONG);
	assert_int_equal(o.max_depth, 77);
}

static void test_too_many_sockets(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
		parse("-s /1 -s /2 -s /3 -s /4 -s /5 -s /6 -s /7 -s /8 -s /9 -s /10 -s /11 "
		      "-s /12 -s /13 -s /14 -s /15 -s /16",
			&o),
		OPTIONS_RUN);
	assert_int_equal(
		parse("-s /1 -s /2 -s /3 -s /4 -s /5 -s /6 -s /7 -s /8 -s /9 -s /10 -s /11 "
		      "-s /12 -s /13 -s /14 -s /15 -s /16 -s /17",
			&o),
		OPTIONS_WRONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_perf),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_too_many_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
