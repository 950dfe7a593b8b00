/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grants where they are kept, and what comes from above; needs root and a hierarchy that lets
 * itself be written. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/cgroupfs.h"
#include "../../daemon/manager.h"
#include "../../daemon/perf/grants.h"

static struct manager m;
static const struct hierarchy *h;
static char top[64]; /* "/cgmd-test-perf-N" */

static int make(const char *below)
{
	char path[256];

	snprintf(path, sizeof(path), "%s%s", top + 1, below);
	return mkdirat(h->root_fd, path, 0755);
}

static void remove_one(const char *below)
{
	char path[256];

	snprintf(path, sizeof(path), "%s%s", top + 1, below);
	assert_int_equal(unlinkat(h->root_fd, path, AT_REMOVEDIR), 0);
}

/* A v1 one, where cgroups can be renamed, does as well as perf's. */
static const struct hierarchy *choose(bool v1)
{
	for (unsigned i = 0; v1 && i < m.hierarchies.n; i++)
		if (!m.hierarchies.list[i].v2)
			return &m.hierarchies.list[i];
	return v1 ? NULL : perf_hierarchy(&m);
}

static int setup(bool v1)
{
	char what[64];

	snprintf(top, sizeof(top), "/cgmd-test-perf-%d", (int)getpid());
	if (geteuid() != 0 ||
		hierarchies_discover(&m.hierarchies, NULL, NULL, what, sizeof(what)) < 0) {
		print_message("not root, or no cgroup hierarchy: skipped\n");
		return 0;
	}
	h = choose(v1);
	if (!h || make("") < 0) {
		print_message("no such hierarchy lets itself be written: skipped\n");
		h = NULL;
		return 0;
	}
	return make("/a") < 0 || make("/a/b") < 0 || make("/a/b/c") < 0
		       ? -1
		       : inspector_start(&m.hierarchies, &m.inspector);
}

static int setup_perf(void **state)
{
	return setup(false);
}

static int setup_v1(void **state)
{
	return setup(true);
}

static int teardown(void **state)
{
	if (h) {
		remove_one("/a/b/c");
		remove_one("/a/b");
		remove_one("/a");
		remove_one("");
	}
	m.inspector = inspector_free(m.inspector);
	grants_done(&m.grants);
	hierarchies_done(&m.hierarchies);
	perf_records_forget();
	h = NULL;
	return 0;
}

static int open_at(const char *below)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s%s", top, below);
	fd = cgroup_open_path(h->root_fd, path, strlen(path));
	assert_true(fd >= 0);
	return fd;
}

static int begin(void **state)
{
	static const char *const all[] = {"", "/a", "/a/b", "/a/b/c"};
	const struct perf_record none = {0};

	for (size_t i = 0; h && i < sizeof(all) / sizeof(all[0]); i++) {
		int fd = open_at(all[i]);

		assert_int_equal(perf_record_set(m.inspector, fd, &none), 0);
		close(fd);
	}
	grants_done(&m.grants);
	return 0;
}

static void set(const char *below, const char *text)
{
	struct perf_record record;
	int fd = open_at(below);

	assert_int_equal(perf_record_parse(text, &record), 0);
	assert_int_equal(perf_record_set(m.inspector, fd, &record), 0);
	close(fd);
}

static void record_is(const char *below, const char *expected)
{
	char text[PERF_RECORD_TEXT_MAX + 1];
	struct perf_record record;
	int fd = open_at(below);

	assert_int_equal(perf_record_get(m.inspector, fd, &record), 0);
	assert_int_equal(perf_record_print(&record, text, sizeof(text)), 0);
	assert_string_equal(text, expected);
	close(fd);
}

/* Items and, behind '@', what carries them, below the top. */
static void has(const char *below, const char *expected)
{
	char path[256], text[PERF_RECORD_TEXT_MAX + 300];
	struct perf_record shown = {0};
	struct perf_had had;
	size_t len;

	snprintf(path, sizeof(path), "%s%s", top, below);
	assert_int_equal(perf_had_at(&m, h, path, &had), 0);
	shown.given = had.items;
	assert_int_equal(perf_record_print(&shown, text, sizeof(text)), 0);
	len = strlen(text);
	if (had.carrier_len > 0)
		snprintf(text + len, sizeof(text) - len, " @%.*s",
			(int)(had.carrier_len - strlen(top)), path + strlen(top));
	assert_string_equal(text, expected);
}

#define NEEDS_ROOT \
	if (!h)    \
	skip()

static void test_records(void **state)
{
	NEEDS_ROOT;
	record_is("/a", "");
	set("/a", "cpu gpu | cpu");
	record_is("/a", "cpu gpu | cpu");
	record_is("/a/b", "");
	set("/a", "");
	record_is("/a", "");
}

static void test_inheritance(void **state)
{
	NEEDS_ROOT;
	has("/a/b/c", "");
	set("/a", "cpu gpu");
	has("", "");
	has("/a", "cpu gpu @/a");
	has("/a/b/c", "cpu gpu @/a");
	/* what limits it is below */
	set("/a/b", "| cpu");
	has("/a/b", "cpu @/a");
	has("/a/b/c", "cpu @/a");
	/* given in spite of it, and nearer */
	set("/a/b/c", "power");
	has("/a/b/c", "cpu power @/a/b/c");
	/* what was limited away carries nothing */
	set("/a/b/c", "|");
	has("/a/b/c", "");
	set("/a/b", "power | cpu");
	set("/a/b/c", "| cpu");
	has("/a/b/c", "cpu @/a");
	set("/a", "");
	has("/a/b", "power @/a/b");
	has("/a/b/c", "");
}

/* A cgroup has its record as long as it lives, whatever it is called. */
static void test_names(void **state)
{
	int fd;

	NEEDS_ROOT;
	set("/a/b/c", "cpu");
	has("/a/b/c", "cpu @/a/b/c");
	remove_one("/a/b/c");
	assert_int_equal(make("/a/b/c"), 0);
	has("/a/b/c", "");
	record_is("/a/b/c", "");
	/* the same attribute, copied */
	set("/a/b/c", "cpu");
	fd = open_at("/a/b/c");
	{
		char value[128];
		ssize_t n = fgetxattr(fd, "trusted.cgmd.perf", value, sizeof(value));
		int other = open_at("/a/b");

		assert_true(n > 0);
		assert_int_equal(fsetxattr(other, "trusted.cgmd.perf", value, (size_t)n, 0), 0);
		perf_records_forget();
		has("/a/b", "");
		close(other);
	}
	close(fd);
	if (h->v2)
		return;
	{
		char from[256], to[256];

		snprintf(from, sizeof(from), "%s/a/b/c", top + 1);
		snprintf(to, sizeof(to), "%s/a/b/d", top + 1);
		assert_int_equal(renameat(h->root_fd, from, h->root_fd, to), 0);
		has("/a/b/d", "cpu @/a/b/d");
		assert_int_equal(make("/a/b/c"), 0);
		has("/a/b/c", "");
		remove_one("/a/b/d");
	}
}

/* It is asked for once; but what is written by this daemon counts at once. */
static void test_kept(void **state)
{
	int fd;

	NEEDS_ROOT;
	has("/a", "");
	fd = open_at("/a");
	assert_int_equal(inspect_perf_set(m.inspector, fd, "cpu"), 0);
	has("/a", "");
	perf_records_forget();
	has("/a", "cpu @/a");
	set("/a", "gpu");
	has("/a", "gpu @/a");
	/* what cannot be read gives nothing, also of what comes from above */
	assert_int_equal(inspect_perf_set(m.inspector, fd, "cpu nonsense | gpu"), 0);
	close(fd);
	set("", "gpu");
	perf_records_forget();
	has("/a/b", "");
	set("", "");
	set("/a", "");
}

static void policy(const char *section, const char *const *keys)
{
	const char *why = NULL;

	grants_done(&m.grants);
	assert_int_equal(grants_section(&m.grants, section, &why), 0);
	for (; *keys; keys += 2)
		assert_int_equal(grants_key(&m.grants, keys[0], keys[1], &why), 0);
	assert_int_equal(grants_section_end(&m.grants, &why), 0);
}

static void test_policy(void **state)
{
	static const char *const all[] = {"grant", "cpu gpu", NULL, NULL};
	static const char *const one[] = {"grant", "power", "uid", "100000", NULL, NULL};
	char section[128];
	int fd;

	NEEDS_ROOT;
	snprintf(section, sizeof(section), "perf %s/*", top);
	policy(section, all);
	has("", "");
	has("/a", "cpu gpu @/a");
	has("/a/b/c", "cpu gpu @/a");
	set("/a", "| cpu");
	has("/a", "cpu gpu @/a");
	set("/a/b", "| cpu");
	has("/a/b", "cpu @/a");
	set("/a", "");
	set("/a/b", "");
	policy(section, one);
	has("/a", "");
	fd = open_at("/a");
	assert_int_equal(fchown(fd, 100000, 0), 0);
	has("/a/b", "power @/a");
	assert_int_equal(fchown(fd, 0, 0), 0);
	has("/a/b", "");
	close(fd);
	grants_done(&m.grants);
}

static void test_errors(void **state)
{
	struct perf_record record = {0};
	struct perf_had had;
	char path[256];

	NEEDS_ROOT;
	snprintf(path, sizeof(path), "%s/none", top);
	assert_int_equal(perf_had_at(&m, h, path, &had), -ENOENT);
	assert_int_equal(perf_record_get(m.inspector, -EBADF, &record), -EBADF);
	assert_true(perf_record_set(m.inspector, -EBADF, &record) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, begin)
		TEST(test_records),
		TEST(test_inheritance),
		TEST(test_names),
		TEST(test_kept),
		TEST(test_policy),
		TEST(test_errors),
	};

	return cmocka_run_group_tests(tests, setup_perf, teardown) +
	       cmocka_run_group_tests(tests, setup_v1, teardown);
}
