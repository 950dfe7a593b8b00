/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rows of cgm's verbs: their usage lines, and that they are the methods'. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../client/invocation.h"

/* Too few arguments for any verb that needs one, too many or bad ones for the others. */
static void test_usage_lines(void **state)
{
	static const struct {
		const char *name, *usage;
	} rows[] = {
		{"ping", "ping"},
		{"apiversion", "apiversion"},
		{"listcontrollers", "listcontrollers"},
		{"create", "create CONTROLLER CGROUP"},
		{"remove", "remove CONTROLLER CGROUP [0|1]"},
		{"chown", "chown CONTROLLER CGROUP UID GID"},
		{"chmod", "chmod CONTROLLER CGROUP MODE"},
		{"chmodfile", "chmodfile CONTROLLER CGROUP FILE MODE"},
		{"movepid", "movepid CONTROLLER CGROUP PID"},
		{"movepidabs", "movepidabs CONTROLLER CGROUP PID"},
		{"getpidcgroup", "getpidcgroup CONTROLLER PID"},
		{"getpidcgroupabs", "getpidcgroupabs CONTROLLER PID"},
		{"getvalue", "getvalue CONTROLLER CGROUP KEY"},
		{"setvalue", "setvalue CONTROLLER CGROUP KEY VALUE"},
		{"gettasks", "gettasks CONTROLLER [CGROUP]"},
		{"gettasksrecursive", "gettasksrecursive CONTROLLER [CGROUP]"},
		{"listchildren", "listchildren CONTROLLER [CGROUP]"},
		{"removeonempty", "removeonempty CONTROLLER CGROUP"},
		{"prune", "prune CONTROLLER [CGROUP]"},
		{"listkeys", "listkeys CONTROLLER [CGROUP]"},
		{"translate", "translate KEY [VALUE] [KEY VALUE]..."},
		{"device list", "device list CGROUP"},
		{"device set", "device set CGROUP RULE..."},
		{"device allow", "device allow CGROUP DEVICE ACCESS"},
		{"device deny", "device deny CGROUP DEVICE ACCESS"},
		{"device clear", "device clear CGROUP"},
		{"device explain", "device explain CGROUP DEVICE ACCESS"},
		{"device add", "device add [--access ACCESS] [--uid UID] [--gid GID] [--mode MODE] "
			       "[--path "
			       "PATH] CGROUP DEVICE"},
		{"device remove", "device remove CGROUP DEVICE"},
		{"device resolve", "device resolve NAME"},
		{"gpu list", "gpu list"},
		{"perf grant", "perf grant CGROUP ITEM..."},
		{"perf revoke", "perf revoke [--kill] CGROUP ITEM..."},
		{"perf list", "perf list CGROUP"},
		{"perf check", "perf check CGROUP ITEM"},
		{"perf show", "perf show"},
		{"perf run", "perf run [--verbose] PROGRAM [ARG]..."},
		{"perf explain", "perf explain [EVENT|PROGRAM]"},
		{"perf config", "perf config RUNTIME"},
		{"caps", "caps [--recursive] [PID]"},
	};

	assert_int_equal(n_verbs, sizeof(rows) / sizeof(rows[0]));
	for (size_t i = 0; i < n_verbs; i++) {
		const char *words[8] = {"cgm"};
		struct invocation inv;
		char *error = NULL, *line, name[32];
		int n = 1;

		assert_string_equal(verbs[i].name, rows[i].name);
		strcpy(name, rows[i].name);
		for (char *word = strtok(name, " "); word; word = strtok(NULL, " "))
			words[n++] = word;
		while (n < 6 && invocation_parse(n, (char *const *)words, NULL, &inv, &error) == 0)
			words[n++] = "x";
		line = strchr(error, '\n');
		assert_non_null(line);
		assert_memory_equal(line, "\nusage: cgm ", strlen("\nusage: cgm "));
		assert_string_equal(line + strlen("\nusage: cgm "), rows[i].usage);
		free(error);
	}
}

/* The D-Bus type of an argument; a type of the method's that is not closed by these is a{sv}. */
static const char *arg_type(const struct arg *arg)
{
	return arg->kind == TAKES_TEXTS ? "as" : arg_is_text(arg->kind) ? "s" : "i";
}

/* Is there a key of this name and type for the method's dictionary? */
static bool is_entry(enum method_id method, const struct arg *arg)
{
	static const struct {
		enum method_id method;
		const char *name;
		char type;
	} rows[] = {
#define OPTION(method, name, type) {METHOD_##method, #name, type},
#include "../../dbus/options.def"
#undef OPTION
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].method == method && strcmp(rows[i].name, arg->name) == 0)
			return arg->option && !arg->fallback &&
			       rows[i].type == (arg_is_text(arg->kind)		   ? 's'
						       : arg->kind == TAKES_SWITCH ? 'b'
										   : 'u');
	return false;
}

/* A verb's arguments are those of its method, in number, name, type and order; so is its answer. */
static void test_rows_match_methods(void **state)
{
	for (size_t i = 0; i < n_verbs; i++) {
		const struct verb *verb = &verbs[i];
		const struct method *method;
		const char *in;
		size_t n = 0;

		assert_ptr_equal(verb_find(verb->name), verb);
		assert_true(verb->help[0] != '\0');
		if (verb->method == METHOD_MAX)
			continue;
		method = &methods[verb->method];
		in = method->in;
		for (; *in && strcmp(in, "a{sv}") != 0; n++) {
			const struct arg *arg = &args[verb->args[n]];
			const char *type = arg_type(arg);

			assert_string_equal(arg->name, method->in_names[n]);
			assert_memory_equal(in, type, strlen(type));
			in += strlen(type);
			assert_true(arg->shown || arg->fallback);
			assert_true(!arg->shown || arg->option ||
				    (arg->shown[0] == '[') == !!arg->fallback);
		}
		/* what is left are entries of the dictionary */
		for (; *in && verb->args[n] != ARG_NONE; n++)
			assert_true(is_entry(verb->method, &args[verb->args[n]]));
		assert_int_equal(verb->args[n], ARG_NONE);
		assert_string_equal(verb_output_signature(verb), method->out);
	}
	assert_null(verb_find("help"));
}

static void test_every_method_has_a_verb(void **state)
{
	for (unsigned m = 0; m < METHOD_MAX; m++) {
		size_t i = 0;

		/* for programs, and for perf run */
		if (m == METHOD_OpenPerfEvent || m == METHOD_AttachPerfListener)
			continue;

		while (i < n_verbs && verbs[i].method != m)
			i++;
		assert_true(i < n_verbs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage_lines),
		cmocka_unit_test(test_rows_match_methods),
		cmocka_unit_test(test_every_method_has_a_verb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
