/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Command lines of cgm: the call that they make, or what is said against them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../client/address.h"
#include "../../client/invocation.h"
#include "../../client/print.h"
#include "../../client/text.h"

#define WORDS_MAX 24
#define LINE(...)                        \
	{                                \
		"cgm", __VA_ARGS__, NULL \
	}

static int parse(
	const char *const *words, const char *environment, struct invocation *inv, char **error)
{
	int n = 0;

	while (words[n])
		n++;
	*error = NULL;
	return invocation_parse(n, (char *const *)words, environment, inv, error);
}

static void print_rest(FILE *out, const struct invocation *inv)
{
	for (int i = 0; i < inv->n_rest; i++)
		fprintf(out, " r:%s", inv->rest[i]);
}

/* "Method s:text i:7 r:more uid=0", or "api_version". */
static char *call_text(const struct invocation *inv)
{
	const struct verb *verb = inv->verb;
	bool property = verb->method == METHOD_MAX && !verb->local;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fputs(property	      ? "api_version"
		: verb->local ? verb->name
			      : methods[verb->method].name,
		out);
	for (unsigned i = 0; verb->args[i] != ARG_NONE; i++) {
		const struct arg *arg = &args[verb->args[i]];
		const union value *value = &inv->values[i];

		if (!(inv->given & 1U << i))
			continue;
		if (arg->option)
			fprintf(out, " %s=", arg->name);
		else
			fputs(arg_is_text(arg->kind) ? " s:" : " i:", out);
		if (arg_is_text(arg->kind))
			fputs(value->text, out);
		else
			fprintf(out, "%d", value->number);
	}
	print_rest(out, inv);
	fclose(out);
	return text;
}

struct call_row {
	const char *words[WORDS_MAX];
	const char *call;
};

static void check_calls(const struct call_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct invocation inv;
		char *error, *text;

		assert_int_equal(parse(rows[i].words, NULL, &inv, &error), 0);
		assert_null(error);
		assert_int_equal(inv.wish, WISH_CALL);
		assert_int_equal(inv.timeout, TIMEOUT_DEFAULT);
		assert_null(inv.address);
		text = call_text(&inv);
		assert_string_equal(text, rows[i].call);
		free(text);
		invocation_done(&inv);
	}
}

static void test_calls(void **state)
{
	static const struct call_row rows[] = {
		{LINE("ping"), "Ping i:0"},
		{LINE("apiversion"), "api_version"},
		{LINE("listcontrollers"), "ListControllers"},
		{LINE("create", "memory", "a/b"), "Create s:memory s:a/b"},
		{LINE("create", "memory", ""), "Create s:memory s:"},
		{LINE("create", "--", "memory", "-h"), "Create s:memory s:-h"},
		{LINE("create", "memory", "--help"), "Create s:memory s:--help"},
		{LINE("create", "memory", "--"), "Create s:memory s:--"},
		{LINE("create", "memory", "caf\xc3\xa9"), "Create s:memory s:caf\xc3\xa9"},
		{LINE("--", "create", "a", "b"), "Create s:a s:b"},
		{LINE("remove", "memory", "a"), "Remove s:memory s:a i:1"},
		{LINE("remove", "memory", "a", "0"), "Remove s:memory s:a i:0"},
		{LINE("remove", "memory", "a", "1"), "Remove s:memory s:a i:1"},
		{LINE("chown", "memory", "a", "0", "0"), "Chown s:memory s:a i:0 i:0"},
		{LINE("chown", "all", "a", "-1", "1000"), "Chown s:all s:a i:-1 i:1000"},
		{LINE("chown", "all", "a", "4294967294", "2147483648"),
			"Chown s:all s:a i:-2 i:-2147483648"},
		{LINE("chmod", "memory", "a", "755"), "Chmod s:memory s:a s: i:493"},
		{LINE("chmod", "memory", "a", "07777"), "Chmod s:memory s:a s: i:4095"},
		{LINE("chmodfile", "memory", "a", "tasks", "0"), "Chmod s:memory s:a s:tasks i:0"},
		{LINE("movepid", "memory", "a", "1"), "MovePid s:memory s:a i:1"},
		{LINE("movepid", "memory", "a", "010"), "MovePid s:memory s:a i:10"},
		{LINE("movepidabs", "memory", "/", "2147483647"),
			"MovePidAbs s:memory s:/ i:2147483647"},
		{LINE("getpidcgroup", "memory", "7"), "GetPidCgroup s:memory i:7"},
		{LINE("getpidcgroupabs", "memory", "7"), "GetPidCgroupAbs s:memory i:7"},
		{LINE("getvalue", "memory", "a", "k"), "GetValue s:memory s:a s:k"},
		{LINE("setvalue", "memory", "a", "k", "-1"), "SetValue s:memory s:a s:k s:-1"},
		{LINE("setvalue", "memory", "a", "k", ""), "SetValue s:memory s:a s:k s:"},
		{LINE("gettasks", "memory"), "GetTasks s:memory s:"},
		{LINE("gettasks", "memory", "a"), "GetTasks s:memory s:a"},
		{LINE("gettasksrecursive", "memory"), "GetTasksRecursive s:memory s:"},
		{LINE("gettasksrecursive", "memory", "a"), "GetTasksRecursive s:memory s:a"},
		{LINE("listchildren", "memory"), "ListChildren s:memory s:"},
		{LINE("listchildren", "memory", "a"), "ListChildren s:memory s:a"},
		{LINE("removeonempty", "memory", "a"), "RemoveOnEmpty s:memory s:a"},
		{LINE("prune", "memory"), "Prune s:memory s:"},
		{LINE("prune", "memory", "a"), "Prune s:memory s:a"},
		{LINE("listkeys", "memory"), "ListKeys s:memory s:"},
		{LINE("listkeys", "memory", "a"), "ListKeys s:memory s:a"},
		{LINE("translate", "k"), "translate s:k s:"},
		{LINE("translate", "--", "k", "v"), "translate s:k s:v"},
		{LINE("translate", "k", "-1", "l", "w", "m", ""),
			"translate s:k s:-1 r:l r:w r:m r:"},
	};

	check_calls(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_group_calls(void **state)
{
	static const struct call_row rows[] = {
		{LINE("device", "list", "a"), "ListDevices s:a"},
		{LINE("device", "list", "--", "--json"), "ListDevices s:--json"},
		{LINE("device", "list", "--", "--help"), "ListDevices s:--help"},
		{LINE("device", "set", "a", "default deny"), "SetDevices s:a r:default deny"},
		{LINE("device", "set", "a", "default deny", "allow gpu:render rw", ""),
			"SetDevices s:a r:default deny r:allow gpu:render rw r:"},
		{LINE("device", "clear", "a"), "SetDevices s:a"},
		{LINE("device", "allow", "a", "c 10:232", "rwm"),
			"AllowDevices s:a s:c 10:232 s:rwm"},
		{LINE("device", "deny", "a", "/dev/fuse", "mr"),
			"DenyDevices s:a s:/dev/fuse s:mr"},
		{LINE("device", "explain", "a", "b *:*", "w"), "CheckDevice s:a s:b *:* s:w"},
		{LINE("device", "add", "a", "kvm"), "AddDevice s:a s:kvm access=rw"},
		{LINE("device", "add", "--uid", "0", "--gid=4294967294", "--mode", "0660",
			 "--path=/dev/x", "--access", "rwm", "a", "kvm"),
			"AddDevice s:a s:kvm access=rwm uid=0 gid=-2 mode=432 path=/dev/x"},
		{LINE("device", "add", "--mode", "0", "--mode=1", "--", "--uid", "-"),
			"AddDevice s:--uid s:- access=rw mode=1"},
		{LINE("device", "remove", "a", "kvm"), "RemoveDevice s:a s:kvm"},
		{LINE("device", "resolve", "gpu"), "ResolveDevice s:gpu"},
		{LINE("gpu", "list"), "ListGpus"},
		{LINE("perf", "grant", "a", "cpu"), "GrantPerf s:a r:cpu"},
		{LINE("perf", "grant", "a", "gpu", "--x"), "GrantPerf s:a r:gpu r:--x"},
		{LINE("perf", "revoke", "a", "cpu", "pmu:i915"), "RevokePerf s:a r:cpu r:pmu:i915"},
		{LINE("perf", "revoke", "--kill", "a", "cpu"), "RevokePerf s:a kill=1 r:cpu"},
		{LINE("perf", "revoke", "a", "cpu", "--kill"), "RevokePerf s:a kill=1 r:cpu"},
		{LINE("perf", "revoke", "--", "--kill", "cpu"), "RevokePerf s:--kill r:cpu"},
		{LINE("perf", "list", "a"), "ListPerf s:a"},
		{LINE("perf", "check", "a", "power"), "CheckPerf s:a s:power"},
		{LINE("perf", "show"), "ShowPerf"},
		{LINE("perf", "run", "perf", "--help", "\xff"), "perf run r:perf r:--help r:\xff"},
		{LINE("perf", "run", "--", "--help", "--"), "perf run r:--help r:--"},
		{LINE("perf", "run", "--verbose", "--", "a", "--verbose"),
			"perf run verbose=1 r:a r:--verbose"},
		{LINE("perf", "explain"), "perf explain s:"},
		{LINE("perf", "explain", "--json", "msr/tsc/"), "perf explain s:msr/tsc/"},
		{LINE("perf", "config", "lxc"), "perf config s:lxc"},
		{LINE("caps"), "caps"},
		{LINE("caps", "7"), "caps i:7"},
		{LINE("caps", "--recursive", "7"), "caps recursive=1 i:7"},
	};

	check_calls(rows, sizeof(rows) / sizeof(rows[0]));
}

#define PID_MUST "a process id: a decimal number from 1 to 2147483647"
#define ID_MUST "a decimal number from 0 to 4294967294, or -1 to leave it as it is"
#define ADDRESS_MUST \
	" must be an absolute path or a D-Bus address like unix:path=/run/cgmd/socket, not "
#define TIMEOUT_MUST "--timeout must be a decimal number of seconds from 1 to 86400, not "
#define FLAG_MUST "0 or 1 (the default)"

#define ACCESS_MUST "one to three of r (read), w (write) and m (mknod)"
#define OWNER_MUST "the node's owner: a decimal number from 0 to 4294967294"

static char long_text[TEXT_ARG_MAX + 2], long_path[109], full_text[TEXT_ARG_MAX + 1];

static int make_long_words(void **state)
{
	memset(long_text, 'a', sizeof(long_text) - 1);
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[0] = '/';
	memset(full_text, 'a', sizeof(full_text) - 1);
	return 0;
}

struct error_row {
	const char *words[WORDS_MAX];
	const char *error; /* its first line */
};

static void check_errors(const struct error_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct invocation inv;
		char *error;

		assert_int_equal(parse(rows[i].words, NULL, &inv, &error), -EINVAL);
		assert_non_null(error);
		error[strcspn(error, "\n")] = '\0';
		assert_string_equal(error, rows[i].error);
		free(error);
	}
}

static void test_option_errors(void **state)
{
	static const struct error_row rows[] = {
		{LINE("--"), "a verb is missing"},
		{LINE("frobnicate"), "unknown verb \"frobnicate\"; see `cgm --help`"},
		{LINE("Create", "a", "b"), "unknown verb \"Create\"; see `cgm --help`"},
		{LINE("creat", "a", "b"), "unknown verb \"creat\"; see `cgm --help`"},
		{LINE(""), "unknown verb \"\"; see `cgm --help`"},
		{LINE("help", "x"), "unknown verb \"x\"; see `cgm --help`"},
		{LINE("--frob", "ping"), "unknown option \"--frob\"; see `cgm --help`"},
		{LINE("-x", "ping"), "unknown option \"-x\"; see `cgm --help`"},
		{LINE("--help=x"), "unknown option \"--help=x\"; see `cgm --help`"},
		{LINE("--addresses", "/a", "ping"),
			"unknown option \"--addresses\"; see `cgm --help`"},
		{LINE("--address"), "--address wants a value; see `cgm --help`"},
		{LINE("--timeout"), "--timeout wants a value; see `cgm --help`"},
		{LINE("--timeout", "0", "ping"), TIMEOUT_MUST "\"0\""},
		{LINE("--timeout", "1.5", "ping"), TIMEOUT_MUST "\"1.5\""},
		{LINE("--timeout=", "ping"), TIMEOUT_MUST "\"\""},
		{LINE("--timeout", "-1", "ping"), TIMEOUT_MUST "\"-1\""},
		{LINE("--timeout", "86401", "ping"), TIMEOUT_MUST "\"86401\""},
		{LINE("--address", "", "ping"), "--address" ADDRESS_MUST "\"\""},
		{LINE("--address", "run/x", "ping"), "--address" ADDRESS_MUST "\"run/x\""},
		{LINE("--address", "unix:", "ping"), "--address" ADDRESS_MUST "\"unix:\""},
		{LINE("--address", "tcp:host=a,port=1", "ping"),
			"--address" ADDRESS_MUST "\"tcp:host=a,port=1\""},
		{LINE("--address", long_path, "ping"),
			"--address: a socket's path has at most 107 bytes"},
		{LINE("--json", "ping"), "ping: has nothing to print as JSON"},
		{LINE("device", "deny", "--json", "a", "kvm", "r"),
			"device deny: has nothing to print as JSON"},
		{LINE("perf", "run"), "perf run: PROGRAM is missing"},
		{LINE("perf", "run", "--verbose"), "perf run: PROGRAM is missing"},
		{LINE("perf", "run", "-x", "a"), "perf run: unknown option \"-x\""},
		{LINE("perf", "run", "--verbose=1", "a"),
			"perf run: unknown option \"--verbose=1\""},
		{LINE("perf", "config", "docker"),
			"perf config: RUNTIME must be lxc, proxmox or oci, not \"docker\""},
		{LINE("perf", "grant", "a"), "perf grant: ITEM is missing"},
		{LINE("perf", "revoke", "a", "--kill"), "perf revoke: ITEM is missing"},
		{LINE("perf", "revoke", "a", "cpu", "--frob"),
			"perf revoke: \"--frob\" is one argument too many; options come before the "
			"arguments"},
		{LINE("perf", "revoke", "a", "cpu", "--kill", "b"),
			"perf revoke: \"b\" is one argument too many"},
		{LINE("caps", "0"), "caps: PID must be " PID_MUST ", not \"0\""},
		{LINE("caps", "1", "2"), "caps: \"2\" is one argument too many"},
		{LINE("perf", "run", "--json", "a"), "perf run: has nothing to print as JSON"},
		{LINE("--json=x", "gpu", "list"), "unknown option \"--json=x\"; see `cgm --help`"},
		{LINE("translate", "--json", "k"), "translate: has nothing to print as JSON"},
	};

	check_errors(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_argument_errors(void **state)
{
	static const struct error_row rows[] = {
		{{"cgm", NULL}, "a verb is missing"},
		{LINE("ping", "1"), "ping: \"1\" is one argument too many"},
		{LINE("ping", "--address", "/a"),
			"ping: \"--address\" is one argument too many; options come before the "
			"verb"},
		{LINE("create"), "create: CONTROLLER is missing"},
		{LINE("create", "--"), "create: CONTROLLER is missing"},
		{LINE("create", "memory"), "create: CGROUP is missing"},
		{LINE("create", "memory", "a", "b"), "create: \"b\" is one argument too many"},
		{LINE("create", "memory", "\xff"), "create: CGROUP must be UTF-8"},
		{LINE("create", "memory", "\xc0\xaf"), "create: CGROUP must be UTF-8"},
		{LINE("create", "memory", "\xed\xa0\x80"), "create: CGROUP must be UTF-8"},
		{LINE("create", "memory", "\xf4\x90\x80\x80"), "create: CGROUP must be UTF-8"},
		{LINE("create", "memory", "\xe2\x82"), "create: CGROUP must be UTF-8"},
		{LINE("create", long_text, "a"),
			"create: CONTROLLER must be at most 8192 bytes long"},
		{LINE("gettasks", "memory", "\xff"), "gettasks: CGROUP must be UTF-8"},
		{LINE("gettasks"), "gettasks: CONTROLLER is missing"},
		{LINE("getvalue", "memory", "a"), "getvalue: KEY is missing"},
		{LINE("setvalue", "memory", "a", "k"), "setvalue: VALUE is missing"},
		{LINE("remove", "memory", "a", "2"),
			"remove: recursive must be " FLAG_MUST ", not \"2\""},
		{LINE("remove", "memory", "a", "01"),
			"remove: recursive must be " FLAG_MUST ", not \"01\""},
		{LINE("remove", "memory", "a", ""),
			"remove: recursive must be " FLAG_MUST ", not \"\""},
		{LINE("chown", "memory", "q", "x", "y"),
			"chown: UID must be a user id: " ID_MUST ", not \"x\""},
		{LINE("chown", "memory", "q", "0", "y"),
			"chown: GID must be a group id: " ID_MUST ", not \"y\""},
		{LINE("chown", "memory", "q", "0"), "chown: GID is missing"},
		{LINE("chmod", "memory", "a", "8"),
			"chmod: MODE must be an octal number from 0 to 7777, not \"8\""},
		{LINE("chmod", "memory", "a", "rwx"),
			"chmod: MODE must be an octal number from 0 to 7777, not \"rwx\""},
		{LINE("chmodfile", "memory", "a", "tasks"), "chmodfile: MODE is missing"},
		{LINE("movepid", "memory", "a", "12x"),
			"movepid: PID must be " PID_MUST ", not \"12x\""},
		{LINE("movepidabs", "memory", "a", "0"),
			"movepidabs: PID must be " PID_MUST ", not \"0\""},
		{LINE("getpidcgroup", "memory", "-1"),
			"getpidcgroup: PID must be " PID_MUST ", not \"-1\""},
		{LINE("translate"), "translate: KEY is missing"},
		{LINE("translate", "\xff"), "translate: KEY must be UTF-8"},
		{LINE("translate", "k", "v", "l"), "translate: VALUE of \"l\" is missing"},
		{LINE("translate", "k", "v", "l", "\xff"), "translate: VALUE must be UTF-8"},
		{LINE("translate", "k", "v", "1", "1", "2", "2", "3", "3", "4", "4", "5", "5", "6",
			 "6", "7", "7", "8", "8", "nine"),
			"translate: \"nine\" is one argument too many"},
		{LINE("getpidcgroupabs", "memory", ""),
			"getpidcgroupabs: PID must be " PID_MUST ", not \"\""},
	};

	check_errors(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_group_errors(void **state)
{
	static const struct error_row rows[] = {
		{LINE("device"), "device: a verb is missing"},
		{LINE("device list", "a"), "unknown verb \"device list\"; see `cgm --help`"},
		{LINE("device", "frob"), "unknown verb \"device frob\"; see `cgm device --help`"},
		{LINE("device", ""), "unknown verb \"device \"; see `cgm device --help`"},
		{LINE("device", long_path), "unknown verb \"device "
					    "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
					    "aaaaaaaaaa\"; see `cgm device --help`"},
		{LINE("list", "a"), "unknown verb \"list\"; see `cgm --help`"},
		{LINE("help", "device", "x"), "unknown verb \"device x\"; see `cgm device --help`"},
		{LINE("gpu", "set"), "unknown verb \"gpu set\"; see `cgm gpu --help`"},
		{LINE("device", "list"), "device list: CGROUP is missing"},
		{LINE("device", "list", "a", "b"), "device list: \"b\" is one argument too many"},
		{LINE("device", "set", "a"), "device set: RULE is missing"},
		{LINE("device", "set", "a", "\xff"), "device set: RULE must be UTF-8"},
		{LINE("device", "set", "a", full_text, full_text, full_text, full_text, full_text,
			 full_text, full_text, full_text),
			"device set: these are too many RULEs for one call"},
		{LINE("device", "allow", "a", "c", "10:232", "rw"),
			"device allow: ACCESS must be " ACCESS_MUST ", not \"10:232\""},
		{LINE("device", "allow", "a", "kvm"), "device allow: ACCESS is missing"},
		{LINE("device", "deny", "a", "kvm", ""),
			"device deny: ACCESS must be " ACCESS_MUST ", not \"\""},
		{LINE("device", "deny", "a", "kvm", "rr"),
			"device deny: ACCESS must be " ACCESS_MUST ", not \"rr\""},
		{LINE("device", "explain", "a", "kvm", "rx"),
			"device explain: ACCESS must be " ACCESS_MUST ", not \"rx\""},
		{LINE("device", "add", "--uid", "-1", "a", "kvm"),
			"device add: --uid must be " OWNER_MUST ", not \"-1\""},
		{LINE("device", "add", "--mode=888", "a", "kvm"),
			"device add: --mode must be the node's mode: an octal number from 0 to "
			"7777, not \"888\""},
		{LINE("device", "add", "--access", "", "a", "kvm"),
			"device add: --access must be one to three of r, w and m, not \"\""},
		{LINE("device", "add", "--uid"), "--uid wants a value; see `cgm --help`"},
		{LINE("device", "add", "--owner", "0", "a", "kvm"),
			"device add: unknown option \"--owner\""},
		{LINE("device", "add", "a", "kvm", "--uid", "0"),
			"device add: \"--uid\" is one argument too many; options come before the "
			"arguments"},
	};

	check_errors(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_numbers(void **state)
{
	static const struct {
		enum arg_kind kind;
		const char *text;
		int r;
		int32_t number;
	} rows[] = {
		{TAKES_PID, "1", 0, 1},
		{TAKES_PID, "0001", 0, 1},
		{TAKES_PID, "2147483647", 0, INT32_MAX},
		{TAKES_PID, "2147483648", -EINVAL},
		{TAKES_PID, "0", -EINVAL},
		{TAKES_PID, "-1", -EINVAL},
		{TAKES_PID, "+1", -EINVAL},
		{TAKES_PID, " 1", -EINVAL},
		{TAKES_PID, "1 ", -EINVAL},
		{TAKES_PID, "1\n", -EINVAL},
		{TAKES_PID, "0x1", -EINVAL},
		{TAKES_PID, "1e3", -EINVAL},
		{TAKES_PID, "", -EINVAL},
		{TAKES_PID, "99999999999999999999999999", -EINVAL},
		{TAKES_PID, "18446744073709551617", -EINVAL},
		{TAKES_PID, "\xd9\xa1", -EINVAL},
		{TAKES_ID, "0", 0, 0},
		{TAKES_ID, "-1", 0, -1},
		{TAKES_ID, "100000", 0, 100000},
		{TAKES_ID, "2147483648", 0, INT32_MIN},
		{TAKES_ID, "4294967294", 0, -2},
		{TAKES_ID, "4294967295", -EINVAL},
		{TAKES_ID, "4294967296", -EINVAL},
		{TAKES_ID, "-2", -EINVAL},
		{TAKES_ID, "-01", -EINVAL},
		{TAKES_ID, "root", -EINVAL},
		{TAKES_ID, "", -EINVAL},
		{TAKES_MODE, "0", 0, 0},
		{TAKES_MODE, "755", 0, 0755},
		{TAKES_MODE, "0755", 0, 0755},
		{TAKES_MODE, "7777", 0, 07777},
		{TAKES_MODE, "10000", -EINVAL},
		{TAKES_MODE, "789", -EINVAL},
		{TAKES_MODE, "0o755", -EINVAL},
		{TAKES_MODE, "-1", -EINVAL},
		{TAKES_MODE, "", -EINVAL},
		{TAKES_FLAG, "0", 0, 0},
		{TAKES_FLAG, "1", 0, 1},
		{TAKES_FLAG, "2", -EINVAL},
		{TAKES_FLAG, "00", -EINVAL},
		{TAKES_FLAG, "yes", -EINVAL},
		{TAKES_FLAG, "", -EINVAL},
		{TAKES_OWNER, "0", 0, 0},
		{TAKES_OWNER, "4294967294", 0, -2},
		{TAKES_OWNER, "4294967295", -EINVAL},
		{TAKES_OWNER, "-1", -EINVAL},
		{TAKES_TEXT, "1", -EINVAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int32_t number = 4711;

		assert_int_equal(number_parse(rows[i].kind, rows[i].text, &number), rows[i].r);
		assert_int_equal(number, rows[i].r < 0 ? 4711 : rows[i].number);
	}
}

static void test_addresses(void **state)
{
	static char path[109] = "/", expected[200] = "unix:path=/";
	const struct {
		const char *text;
		int r;
		const char *address;
	} rows[] = {
		{"/run/cgmd/socket", 0, "unix:path=/run/cgmd/socket"},
		{"/a b", 0, "unix:path=/a%20b"},
		{"/a,guid=1;b:=%", 0, "unix:path=/a%2cguid%3d1%3bb%3a%3d%25"},
		{"/caf\xc3\xa9", 0, "unix:path=/caf%c3%a9"},
		{"unix:path=/a%20b", 0, "unix:path=/a%20b"},
		{"unix:abstract=x", 0, "unix:abstract=x"},
		{"unix:path=/a;unix:path=/b", 0, "unix:path=/a;unix:path=/b"},
		{path, 0, expected},
		{"", -EINVAL, NULL},
		{"socket", -EINVAL, NULL},
		{"./socket", -EINVAL, NULL},
		{"unix:", -EINVAL, NULL},
		{"unix", -EINVAL, NULL},
		{":path=/a", -EINVAL, NULL},
		{"unixexec:path=/bin/sh", -EINVAL, NULL},
		{"tcp:host=localhost,port=1", -EINVAL, NULL},
	};
	char *address = NULL;

	memset(path + 1, 'a', 106);
	memset(expected + strlen(expected), 'a', 106);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		address = NULL;
		assert_int_equal(address_make(rows[i].text, &address), rows[i].r);
		if (rows[i].address)
			assert_string_equal(address, rows[i].address);
		else
			assert_null(address);
		free(address);
	}
	address = NULL;
	path[107] = 'a';
	assert_int_equal(address_make(path, &address), -ENAMETOOLONG);
	assert_null(address);
}

static void test_options(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		const char *environment, *address;
		unsigned timeout;
	} rows[] = {
		{LINE("--address", "/a", "ping"), NULL, "unix:path=/a", 25},
		{LINE("--address=/a", "ping"), NULL, "unix:path=/a", 25},
		{LINE("--address", "/a", "--address=/b", "ping"), NULL, "unix:path=/b", 25},
		{LINE("--address", "/a", "ping"), "/b", "unix:path=/a", 25},
		{LINE("--address", "/a", "ping"), "bad", "unix:path=/a", 25},
		{LINE("ping"), "/b", "unix:path=/b", 25},
		{LINE("ping"), "unix:path=/b", "unix:path=/b", 25},
		{LINE("ping"), "", NULL, 25},
		{LINE("--timeout", "3", "ping"), NULL, NULL, 3},
		{LINE("--timeout=86400", "--address=/a", "--", "ping"), NULL, "unix:path=/a",
			86400},
	};
	struct invocation inv;
	char *error;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse(rows[i].words, rows[i].environment, &inv, &error), 0);
		assert_int_equal(inv.timeout, rows[i].timeout);
		if (rows[i].address)
			assert_string_equal(inv.address, rows[i].address);
		else
			assert_null(inv.address);
		invocation_done(&inv);
	}
	assert_int_equal(parse((const char *[])LINE("ping"), "x", &inv, &error), -EINVAL);
	assert_string_equal(error, "CGM_ADDRESS" ADDRESS_MUST "\"x\"");
	free(error);
}

static void test_wishes(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		enum wish wish;
		const char *verb, *group;
	} rows[] = {
		{LINE("-h"), WISH_HELP, NULL},
		{LINE("--help"), WISH_HELP, NULL},
		{LINE("--help", "nonsense"), WISH_HELP, NULL},
		{LINE("help"), WISH_HELP, NULL},
		{LINE("--timeout", "1", "--help"), WISH_HELP, NULL},
		{LINE("help", "create"), WISH_HELP, "create"},
		{LINE("create", "--help"), WISH_HELP, "create"},
		{LINE("create", "-h", "x", "y", "z"), WISH_HELP, "create"},
		{LINE("--version"), WISH_VERSION, NULL},
		{LINE("--verbs"), WISH_LIST, NULL},
		{LINE("--verbs=man"), WISH_MAN, NULL},
		{LINE("--keys"), WISH_KEYS, NULL},
		{LINE("--keys=man"), WISH_KEYS_MAN, NULL},
		{LINE("--devices"), WISH_DEVICES, NULL},
		{LINE("--devices=man"), WISH_DEVICES_MAN, NULL},
		{LINE("--events"), WISH_EVENTS, NULL},
		{LINE("translate", "--help"), WISH_HELP, "translate"},
		{LINE("device", "--help"), WISH_HELP, NULL, "device"},
		{LINE("device", "-h", "set"), WISH_HELP, NULL, "device"},
		{LINE("help", "device"), WISH_HELP, NULL, "device"},
		{LINE("help", "gpu"), WISH_HELP, NULL, "gpu"},
		{LINE("help", "device", "set"), WISH_HELP, "device set"},
		{LINE("device", "set", "--help"), WISH_HELP, "device set"},
		{LINE("device", "add", "--uid", "0", "-h"), WISH_HELP, "device add"},
		{LINE("device", "list", "--json", "--help"), WISH_HELP, "device list"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct invocation inv;
		char *error;

		/* a bad variable is no reason to withhold help */
		assert_int_equal(parse(rows[i].words, "bad", &inv, &error), 0);
		assert_int_equal(inv.wish, rows[i].wish);
		assert_ptr_equal(inv.verb, rows[i].verb ? verb_find(rows[i].verb) : NULL);
		assert_int_equal(!inv.group, !rows[i].group);
		if (inv.group)
			assert_string_equal(inv.group, rows[i].group);
		invocation_done(&inv);
	}
}

static void test_json_wish(void **state)
{
	static const struct {
		const char *words[WORDS_MAX];
		bool json;
	} rows[] = {
		{LINE("--json", "gettasks", "memory"), true},
		{LINE("gettasks", "--json", "memory"), true},
		{LINE("gettasks", "memory", "--json"), false}, /* a cgroup's name */
		{LINE("gettasks", "memory"), false},
		{LINE("--json", "device", "list", "a"), true},
		{LINE("device", "list", "--json", "a"), true},
		{LINE("device", "add", "--json", "--uid=0", "a", "kvm"), true},
		{LINE("device", "add", "--uid=0", "--json", "--", "a", "kvm"), true},
		{LINE("device", "set", "a", "--json"), false}, /* a rule, and no good one */
		{LINE("gpu", "list", "--json"), true},
		{LINE("apiversion", "--json"), true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct invocation inv;
		char *error;

		assert_int_equal(parse(rows[i].words, NULL, &inv, &error), 0);
		assert_int_equal(inv.wish, WISH_CALL);
		assert_int_equal(inv.json, rows[i].json);
		invocation_done(&inv);
	}
}

static void test_escapes(void **state)
{
	static const struct {
		enum escape escape;
		const char *text, *printed;
	} rows[] = {
		{ESCAPE_NONE, "a\n\t\033[2J\x7f\xc2\x9b", "a\n\t\033[2J\x7f\xc2\x9b"},
		{ESCAPE_LINES, "a\n\t\033[2J\x7f\xc2\x9b", "a\n\t\\x1b[2J\\x7f\\xc2\\x9b"},
		{ESCAPE_ALL, "a\n\t\033[2J\x7f\xc2\x9b", "a\\x0a\\x09\\x1b[2J\\x7f\\xc2\\x9b"},
		{ESCAPE_ALL, "caf\xc3\xa9 \\ \xc2\xa0", "caf\xc3\xa9 \\ \xc2\xa0"},
		{ESCAPE_ALL, "", ""},
		{ESCAPE_ALL, "\xc2", "\xc2"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		assert_non_null(out);
		print_text(out, rows[i].text, rows[i].escape);
		fclose(out);
		assert_string_equal(text, rows[i].printed);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_group_calls),
		cmocka_unit_test(test_option_errors),
		cmocka_unit_test(test_argument_errors),
		cmocka_unit_test(test_group_errors),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_wishes),
		cmocka_unit_test(test_json_wish),
		cmocka_unit_test(test_escapes),
	};

	return cmocka_run_group_tests(tests, make_long_words, NULL);
}
