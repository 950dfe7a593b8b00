/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the inspector reads and keeps at cgroups, on each hierarchy that lets itself be written;
 * needs root. */
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
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../../daemon/inspect.h"

static struct hierarchies all;
static struct inspector *inspector;
static char name[40]; /* of the cgroup that is made here */

static int setup(void **state)
{
	char what[64];

	snprintf(name, sizeof(name), "cgmd-test-mark-%d.slice", (int)getpid());
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	if (hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) < 0) {
		print_message("no cgroup hierarchy: skipped\n");
		return 0;
	}
	/* So that /run is ours, and whether systemd runs. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("run", "/run", "tmpfs", 0, NULL) < 0)
		return -1;
	return inspector_start(&all, &inspector);
}

static int teardown(void **state)
{
	inspector = inspector_free(inspector);
	hierarchies_done(&all);
	return 0;
}

static int make(int at, const char *below)
{
	int fd;

	if (mkdirat(at, below, 0755) < 0)
		return -1;
	fd = openat(at, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Each check on a new cgroup of each hierarchy. */
static void on_each(void (*check)(const struct hierarchy *h, int fd))
{
	unsigned done = 0;

	if (!inspector)
		skip();
	for (unsigned i = 0; i < all.n; i++) {
		int fd = make(all.list[i].root_fd, name);

		if (fd < 0)
			continue;
		check(&all.list[i], fd);
		close(fd);
		assert_int_equal(unlinkat(all.list[i].root_fd, name, AT_REMOVEDIR), 0);
		done++;
	}
	if (done == 0) {
		print_message("no hierarchy lets itself be written: skipped\n");
		skip();
	}
}

static void mark_check(const struct hierarchy *h, int fd)
{
	static const char other[] = "1";

	(void)h;
	for (enum mark m = 0; m < MARK_MAX; m++) {
		assert_int_equal(inspect_mark_get(inspector, fd, m), 0);
		assert_int_equal(inspect_mark_clear(inspector, fd, m), 0);
		assert_int_equal(inspect_mark_set(inspector, fd, m), 0);
		assert_int_equal(inspect_mark_set(inspector, fd, m), 0);
		assert_int_equal(inspect_mark_get(inspector, fd, m), 1);
		assert_int_equal(inspect_mark_get(inspector, fd, (m + 1) % MARK_MAX), 0);
		assert_int_equal(inspect_mark_clear(inspector, fd, m), 0);
		assert_int_equal(inspect_mark_get(inspector, fd, m), 0);
	}
	/* another cgroup's, copied */
	assert_int_equal(fsetxattr(fd, "trusted.cgmd.leaf", other, strlen(other), 0), 0);
	assert_int_equal(inspect_mark_get(inspector, fd, MARK_LEAF), 0);
	assert_int_equal(inspect_mark_get(inspector, -EBADF, MARK_LEAF), -EBADF);
}

static void test_marks(void **state)
{
	(void)state;
	on_each(mark_check);
}

static void note_check(const struct hierarchy *h, int fd)
{
	static const char *const wrong[] = {"", "5", "1 7", "x y", "18446744073709551616 1",
		"a long attribute that nobody who keeps to the rules would write here"};
	static const char *const tails[] = {" 07", " -1", " 7 ", " 7 8", " 18446744073709551616"};
	uint64_t value = 3;
	struct stat st;

	(void)h;
	assert_int_equal(inspect_note_get(inspector, fd, NOTE_SHARES, &value), 0);
	assert_int_equal(inspect_note_set(inspector, fd, NOTE_SHARES, UINT64_MAX), 0);
	assert_int_equal(inspect_note_get(inspector, fd, NOTE_SHARES, &value), 1);
	assert_true(value == UINT64_MAX);
	assert_int_equal(inspect_note_set(inspector, fd, NOTE_SHARES, 0), 0);
	assert_int_equal(inspect_note_get(inspector, fd, NOTE_SHARES, &value), 1);
	assert_true(value == 0);
	value = 3;
	/* another cgroup's, copied, and what was never written by us */
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(
			fsetxattr(fd, "trusted.cgmd.shares", wrong[i], strlen(wrong[i]), 0), 0);
		assert_int_equal(inspect_note_get(inspector, fd, NOTE_SHARES, &value), 0);
	}
	assert_int_equal(fstat(fd, &st), 0);
	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%ju%s", (uintmax_t)st.st_ino, tails[i]);
		assert_int_equal(fsetxattr(fd, "trusted.cgmd.shares", text, strlen(text), 0), 0);
		assert_int_equal(inspect_note_get(inspector, fd, NOTE_SHARES, &value), 0);
	}
	assert_true(value == 3);
	assert_int_equal(inspect_note_get(inspector, fd, NOTE_MAX, &value), -EINVAL);
	assert_int_equal(inspect_note_set(inspector, -EBADF, NOTE_SHARES, 1), -EBADF);
	assert_int_equal(inspect_note_get(inspector, -EBADF, NOTE_SHARES, &value), -EBADF);
}

static void test_notes(void **state)
{
	(void)state;
	on_each(note_check);
}

static void perf_is(int fd, const char *expected)
{
	char text[INSPECT_PERF_TEXT_MAX + 1] = "x";

	assert_int_equal(inspect_perf_get(inspector, fd, text), *expected ? 1 : 0);
	assert_string_equal(text, expected);
}

static void perf_check(const struct hierarchy *h, int fd)
{
	static const char *const wrong[] = {"", "5", "1 cpu", "cpu"};
	static const char attribute[] = "trusted.cgmd.perf";
	char most[INSPECT_PERF_TEXT_MAX + 2], value[INSPECT_PERF_TEXT_MAX + 64];
	struct stat st;
	int n;

	(void)h;
	perf_is(fd, "");
	assert_int_equal(inspect_perf_set(inspector, fd, ""), 0);
	assert_int_equal(inspect_perf_set(inspector, fd, "cpu gpu"), 0);
	perf_is(fd, "cpu gpu");
	assert_int_equal(inspect_perf_set(inspector, fd, "|"), 0);
	perf_is(fd, "|");
	/* as long as it may be, and one byte more */
	memset(most, 'a', sizeof(most));
	most[INSPECT_PERF_TEXT_MAX] = '\0';
	assert_int_equal(inspect_perf_set(inspector, fd, most), 0);
	perf_is(fd, most);
	most[INSPECT_PERF_TEXT_MAX] = 'a';
	most[INSPECT_PERF_TEXT_MAX + 1] = '\0';
	assert_int_equal(inspect_perf_set(inspector, fd, most), -E2BIG);
	/* another cgroup's, copied, and what was never written by us */
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(fsetxattr(fd, attribute, wrong[i], strlen(wrong[i]), 0), 0);
		perf_is(fd, "");
	}
	assert_int_equal(fstat(fd, &st), 0);
	n = snprintf(value, sizeof(value), "%ju %s", (uintmax_t)st.st_ino, most);
	assert_int_equal(fsetxattr(fd, attribute, value, (size_t)n, 0), 0);
	perf_is(fd, "");
	n = snprintf(value, sizeof(value), "%ju c\npu", (uintmax_t)st.st_ino);
	value[n - 3] = '\0';
	assert_int_equal(fsetxattr(fd, attribute, value, (size_t)n, 0), 0);
	perf_is(fd, "");
	/* a short question behind a long one takes nothing of it along */
	assert_int_equal(inspect_perf_set(inspector, fd, "cpu"), 0);
	perf_is(fd, "cpu");
	assert_int_equal(inspect_mark_get(inspector, fd, MARK_LEAF), 0);
	assert_int_equal(inspect_perf_set(inspector, fd, ""), 0);
	perf_is(fd, "");
	assert_int_equal(fgetxattr(fd, attribute, value, sizeof(value)), -1);
	assert_int_equal(inspect_perf_get(inspector, -EBADF, value), -EBADF);
	assert_int_equal(inspect_perf_set(inspector, -EBADF, "cpu"), -EBADF);
}

static void test_perf(void **state)
{
	(void)state;
	on_each(perf_check);
}

/* A cgroup of `below` by its name, and whether systemd manages it. */
static void managed(int at, const char *below, int expected)
{
	int fd = make(at, below);

	assert_true(fd >= 0);
	assert_int_equal(inspect_systemd(inspector, fd), expected);
	close(fd);
	assert_int_equal(unlinkat(at, below, AT_REMOVEDIR), 0);
}

static void systemd_check(const struct hierarchy *h, int fd)
{
	static const char *const units[] = {
		"a.slice", "a.scope", "a.service", "a.socket", "a.mount", "a.swap", ".slice"};
	static const char *const others[] = {"a", "slice", "a.slice.b", "aslice", "a.Slice"};
	static const char id[] = "0123456789abcdef0123456789abcdef";
	static const char *const no[] = {"0", "", "10"};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		managed(fd, units[i], 1);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		managed(fd, others[i], 0);
	assert_int_equal(inspect_systemd(inspector, fd), 1);
	assert_int_equal(inspect_systemd(inspector, h->root_fd), 1);

	/* a container's, who may call it what he likes */
	assert_int_equal(fchown(fd, 100000, 0), 0);
	assert_int_equal(inspect_systemd(inspector, fd), 0);
	assert_int_equal(fchown(fd, 0, 0), 0);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
		assert_int_equal(fsetxattr(fd, "trusted.delegate", no[i], strlen(no[i]), 0), 0);
		assert_int_equal(inspect_systemd(inspector, fd), 1);
	}
	/* delegated, and so is what lies below */
	assert_int_equal(fsetxattr(fd, "trusted.delegate", "1", 1, 0), 0);
	assert_int_equal(inspect_systemd(inspector, fd), 0);
	managed(fd, "a.service", 0);
	assert_int_equal(fremovexattr(fd, "trusted.delegate"), 0);
	managed(fd, "a.service", 1);

	fd = make(fd, "named otherwise");
	assert_true(fd >= 0);
	assert_int_equal(inspect_systemd(inspector, fd), 0);
	assert_int_equal(fsetxattr(fd, "trusted.invocation_id", id, strlen(id), 0), 0);
	assert_int_equal(inspect_systemd(inspector, fd), 1);
	assert_int_equal(unlinkat(fd, "../named otherwise", AT_REMOVEDIR), 0);
	close(fd);
}

static void test_systemd(void **state)
{
	(void)state;
	if (!inspector)
		skip();
	assert_int_equal(inspect_systemd(inspector, all.list[0].root_fd), 0);
	assert_int_equal(mkdir("/run/systemd", 0755), 0);
	assert_int_equal(symlink("/", "/run/systemd/system"), 0);
	assert_int_equal(inspect_systemd(inspector, all.list[0].root_fd), 0);
	assert_int_equal(unlink("/run/systemd/system"), 0);
	assert_int_equal(mkdir("/run/systemd/system", 0755), 0);
	on_each(systemd_check);
	assert_int_equal(rmdir("/run/systemd/system"), 0);
	assert_int_equal(inspect_systemd(inspector, all.list[0].root_fd), 0);
	assert_int_equal(inspect_systemd(inspector, -EBADF), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_perf),
		cmocka_unit_test(test_systemd),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
