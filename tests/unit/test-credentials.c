/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials as /proc has them, sets by their names, and where what is in them counts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../client/caps.h"
#include "../../client/credentials.h"
#include "../../client/invocation.h"

#define IDS "PPid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t4294967295\n"
#define SETS                                                     \
	"CapInh:\t0000000000000001\nCapPrm:\t0000000000000003\n" \
	"CapEff:\t0000004000000000\nCapBnd:\t000001ffffffffff\n" \
	"CapAmb:\t0000000000000000\n"
#define INITIAL UINT64_C(0xeffffffd)

static void test_parse(void **state)
{
	struct credentials c = {.chain.n = 1};

	assert_int_equal(credentials_parse("Name:\ta b\nUmask:\t0022\nPid:\t9\n" IDS SETS
					   "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n",
				 &c),
		0);
	assert_string_equal(c.name, "a b");
	assert_int_equal(c.pid, 9);
	assert_int_equal(c.parent, 7);
	assert_int_equal(c.uid[2], 3);
	assert_true(c.gid[3] == UINT32_MAX);
	assert_true(c.sets[CAP_SET_INHERITABLE] == 1 && c.sets[CAP_SET_PERMITTED] == 3);
	assert_true(c.sets[CAP_SET_EFFECTIVE] == UINT64_C(1) << 38);
	assert_true(c.sets[CAP_SET_BOUNDING] == 0x1ffffffffff && c.sets[CAP_SET_AMBIENT] == 0);
	assert_true(c.no_new_privs);
	assert_int_equal(c.seccomp, 2);
	assert_int_equal(c.filters, 3);
	assert_int_equal(c.chain.n, 1);
	/* before Linux 5.9; and a name of any bytes */
	assert_int_equal(credentials_parse("Name:\t\xff\xc3\xa9\nPid:\t9\n" IDS SETS, &c), 0);
	assert_string_equal(c.name, "?\xc3\xa9");
	assert_int_equal(c.filters, -1);
	assert_false(c.no_new_privs);
}

static void test_malformed(void **state)
{
	static const char *const rows[] = {
		"",
		"Pid:\t9\n" IDS SETS,
		"Name:\ta\n" IDS SETS,
		"Name:\ta\nPid:\t9\n" SETS,
		"Name:\ta\nPid:\t9\n" IDS,
		"Name:\ta\nPid:\tx\n" IDS SETS,
		"Name:\ta\nPid:\t9x\n" IDS SETS,
		/* what a process is named makes no field */
		"Name:\ta\\nPid:\t9\n" IDS SETS,
		"Name:\ta\nPid:\t9\nPPid:\t1\nUid:\t1\t2\t3\nGid:\t1\t2\t3\t4\n" SETS,
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct credentials c = {.pid = 4711};

		assert_int_equal(credentials_parse(rows[i], &c), -EBADMSG);
		assert_int_equal(c.pid, 4711);
	}
}

static void test_set_texts(void **state)
{
	uint64_t all = (UINT64_C(1) << cap_max_bits()) - 1;
	const struct {
		uint64_t set;
		const char *text;
	} rows[] = {
		{0, "none"},
		{all, "all"},
		{1, "cap_chown"},
		{3, "cap_chown cap_dac_override"},
		{all & ~UINT64_C(2), "all but cap_dac_override"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = cap_set_text(rows[i].set);
		json_t *names = cap_set_json(rows[i].set);

		assert_string_equal(text, rows[i].text);
		assert_int_equal(json_array_size(names), (size_t)__builtin_popcountll(rows[i].set));
		free(text);
		json_decref(names);
	}
}

static void test_perf(void **state)
{
	static const struct {
		uint64_t effective, inode;
		bool has, counts;
	} rows[] = {
		{UINT64_C(1) << 38, INITIAL, true, true},
		{UINT64_C(1) << 21, INITIAL, true, true},
		{UINT64_C(1) << 38, INITIAL - 1, true, false},
		{UINT64_C(1) << 38, 0, true, false},
		{~(UINT64_C(1) << 38 | UINT64_C(1) << 21), INITIAL, false, false},
		{0, INITIAL, false, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct credentials c = {.sets[CAP_SET_EFFECTIVE] = rows[i].effective,
			.sets[CAP_SET_PERMITTED] = UINT64_MAX,
			.chain = {.n = rows[i].inode != 0, .ns[0].inode = rows[i].inode}};

		assert_int_equal(credentials_have_perf(&c), rows[i].has);
		assert_int_equal(credentials_count_for_perf(&c), rows[i].counts);
	}
}

static void test_own(void **state)
{
	struct credentials c, again;

	assert_int_equal(credentials_get(0, &c), 0);
	assert_int_equal(c.pid, getpid());
	assert_int_equal(c.parent, getppid());
	assert_int_equal(c.uid[1], geteuid());
	assert_true(c.chain.n > 0);
	assert_int_equal(credentials_get(getpid(), &again), 0);
	assert_true(again.chain.ns[0].inode == c.chain.ns[0].inode);
	assert_int_equal(credentials_get(INT32_MAX, &c), -ESRCH);
}

/* The text of `cgm caps`, or of --recursive. */
static char *caps_text(bool recursive, pid_t pid)
{
	struct invocation inv = {
		.verb = verb_find("caps"), .given = 2 | recursive, .values[1].number = pid};
	char *text = NULL, *error = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(caps_print(out, &inv, &error), 0);
	assert_null(error);
	fclose(out);
	return text;
}

static void test_printed(void **state)
{
	static const char *const lines[] = {"\n  uid ", "  inheritable ", "  effective ",
		"  ambient ", "  securebits ", "  no_new_privs ", "  seccomp ", "  for perf "};
	char *text = caps_text(false, getpid()), wanted[64];
	struct credentials c;

	assert_int_equal(credentials_get(0, &c), 0);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_non_null(strstr(text, lines[i] + (i == 0)));
	snprintf(wanted, sizeof(wanted), "user:[%llu]", (unsigned long long)c.chain.ns[0].inode);
	assert_non_null(strstr(text, wanted));
	free(text);
}

/* How far in the line of a process begins, or -1. */
static int indent_of(const char *text, pid_t pid)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		int indent;

		line += *line == '\n';
		indent = (int)strspn(line, " ");
		if (atoi(line + indent) == pid)
			return indent;
	}
	return -1;
}

/* A line for each below, each further in than its parent. */
static void test_printed_below(void **state)
{
	int end[2], own;
	char *text;
	pid_t pids[2];

	assert_int_equal(pipe(end), 0);
	pids[0] = fork();
	if (pids[0] == 0) {
		pids[1] = fork();
		if (pids[1] > 0 && write(end[1], &pids[1], sizeof(pids[1])) < 0)
			_exit(1);
		pause();
	}
	assert_int_equal(read(end[0], &pids[1], sizeof(pids[1])), sizeof(pids[1]));
	text = caps_text(true, getpid());
	kill(pids[1], SIGKILL);
	kill(pids[0], SIGKILL);
	waitpid(pids[0], NULL, 0);
	own = indent_of(text, getpid());
	assert_true(own >= 0);
	assert_int_equal(indent_of(text, pids[0]), own + 2);
	assert_int_equal(indent_of(text, pids[1]), own + 4);
	assert_true(strstr(text, "effective") != NULL);
	close(end[0]);
	close(end[1]);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_set_texts),
		cmocka_unit_test(test_perf),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_printed),
		cmocka_unit_test(test_printed_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
