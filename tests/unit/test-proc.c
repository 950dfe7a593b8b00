/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Texts of /proc/PID, and the readers on this very process. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/proc.h"

#define STATUS(groups)                                                                      \
	"Name:\tsh\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:" \
	"\t" groups                                                                         \
	"\nCapInh:\t0000000000000000\nCapPrm:\tffff\nCapEff:\t000001fffeffffff\nCapBnd:\tff\n"

static struct proc_status s;

static void test_status(void **state)
{
	assert_int_equal(proc_status_parse(STATUS("4 24 4294967294 "), &s), 0);
	assert_int_equal(s.ruid, 1);
	assert_int_equal(s.euid, 2);
	assert_int_equal(s.suid, 3);
	assert_int_equal(s.rgid, 5);
	assert_int_equal(s.egid, 6);
	assert_int_equal(s.sgid, 7);
	assert_true(s.caps == 0x1fffeffffffULL);
	assert_int_equal(s.n_groups, 3);
	assert_int_equal(s.groups[1], 24);
	assert_true(s.groups[2] == 4294967294U);
	assert_false(s.groups_cut);
	assert_int_equal(proc_status_parse(STATUS(""), &s), 0);
	assert_int_equal(s.n_groups, 0);
	assert_int_equal(proc_status_parse(STATUS(" "), &s), 0);
	assert_int_equal(s.n_groups, 0);
}

static void test_status_bad(void **state)
{
	static const char *const bad[] = {
		"",
		"Name:\tUid:\t1\t1\t1\t1\n",
		"Uid:\t1\t2\nGid:\t5\t6\t7\t8\nGroups:\t\nCapEff:\t0\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapEff:\t0\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t-7\t8\nGroups:\t\nCapEff:\t0\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t4294967296\t8\nGroups:\t\nCapEff:\t0\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t5 x\nCapEff:\t0\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t5\nCapEff:\t\n",
		"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t5\nCapEff:\t1ffffffffffffffff\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		s.ruid = 77;
		if (proc_status_parse(bad[i], &s) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(s.ruid, 77);
	}
	/* the kernel escapes a newline in the name; a line is only what begins as one */
	assert_int_equal(proc_status_parse("Name:\tx\\nUid:\t0\t0\t0\t0\n" STATUS("9"), &s), 0);
	assert_int_equal(s.ruid, 1);
}

static void test_status_many_groups(void **state)
{
	static char text[65536 * 12 + 1024];
	static const unsigned counts[] = {SUBJECT_GROUPS_MAX, SUBJECT_GROUPS_MAX + 1, 65536};

	for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
		int n = snprintf(
			text, sizeof(text), "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t");

		for (unsigned i = 0; i < counts[k]; i++)
			n += snprintf(text + n, sizeof(text) - n, "%u ", 4000000000U + i);
		snprintf(text + n, sizeof(text) - n, "\nCapEff:\t00000000000000a5\n");
		assert_int_equal(proc_status_parse(text, &s), 0);
		assert_int_equal(s.n_groups, SUBJECT_GROUPS_MAX);
		assert_int_equal(s.groups_cut, counts[k] > SUBJECT_GROUPS_MAX);
		assert_true(s.groups[1023] == 4000001023U);
		assert_true(s.caps == 0xa5);
	}
}

#define STAT(comm, flags) \
	"12 (" comm ") S 1 2 3 4 5 " flags " 7 8 9 10 11 12 13 14 20 0 1 0 98765 23 24"

static void test_stat(void **state)
{
	uint64_t start = 0;

	assert_int_equal(proc_exiting_parse(STAT("sh", "4194304")), 0);
	assert_int_equal(proc_exiting_parse(STAT("sh", "4194308")), 1);
	assert_int_equal(proc_exiting_parse(STAT("a) R 1 1 1 1 1 4", "0")), 0);
	assert_int_equal(proc_exiting_parse(STAT(") (x)", "4")), 1);
	assert_int_equal(proc_exiting_parse(STAT("", "4")), 1);
	assert_int_equal(proc_exiting_parse(""), -EINVAL);
	assert_int_equal(proc_exiting_parse("12 (sh) S 1 2"), -EINVAL);
	assert_int_equal(proc_exiting_parse("12 (sh) S 1 2 3 4 5 x 7"), -EINVAL);
	assert_int_equal(proc_start_parse(STAT("a b) c", "0"), &start), 0);
	assert_true(start == 98765);
	assert_int_equal(proc_start_parse("12 (sh) S 1 2 3", &start), -EINVAL);
	assert_true(start == 98765);
}

static void test_read(void **state)
{
	int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *heap = NULL;
	char small[8];
	struct idmap map;

	assert_true(self >= 0);
	assert_int_equal(proc_read(self, "status", small, sizeof(small)), -EFBIG);
	assert_int_equal(proc_read_heap(self, "status", 100, &heap), -EFBIG);
	assert_null(heap);
	assert_true(proc_read_heap(self, "status", 1 << 20, &heap) > 100);
	free(heap);
	assert_int_equal(proc_status_read(self, &s), 0);
	assert_int_equal(s.euid, geteuid());
	assert_int_equal(s.egid, getegid());
	assert_int_equal(proc_exiting(self), 0);
	assert_int_equal(proc_idmap_read(self, "uid_map", &map), 0);
	assert_true(map.n > 0);
	close(self);
}

static void test_gone(void **state)
{
	char path[32], buf[64];
	pid_t pid = fork();
	int fd;

	if (pid == 0) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(proc_read(fd, "stat", buf, sizeof(buf)), -ESRCH);
	assert_int_equal(proc_status_read(fd, &s), -ESRCH);
	assert_int_equal(proc_exiting(fd), -ESRCH);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_bad),
		cmocka_unit_test(test_status_many_groups),
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
