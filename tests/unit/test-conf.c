/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
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

#include "../../daemon/conf.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define SOMEBODY 65534
#define GOOD "[devices /a]\nallow = fuse\n"

struct fixture {
	char dir[32], sub[64], file[96];
};

/* A directory in /tmp with one below it for the file. Only root's files count. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-conf.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->sub, sizeof(f->sub), "%s/cgmd", f->dir);
	snprintf(f->file, sizeof(f->file), "%s/policy.conf", f->sub);
	*state = f;
	return mkdir(f->sub, 0755) < 0 || chmod(f->sub, 0755) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->file);
	rmdir(f->file);
	unlink(f->sub);
	rmdir(f->sub);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void write_bytes(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), size);
	assert_int_equal(fchmod(fd, 0644), 0);
	close(fd);
}

static void write_text(const char *path, const char *text)
{
	write_bytes(path, text, strlen(text));
}

/* What conf_load() returns and logs. */
static int load(const char *path, struct grants *g, char *log, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO), r;
	size_t n;

	assert_non_null(file);
	assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	r = conf_load(path, g);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	n = fread(log, 1, size - 1, file);
	log[n] = '\0';
	fclose(file);
	return r;
}

static bool grants_device(const struct grants *g, const char *path, const char *device)
{
	struct device_rule rule;

	assert_int_equal(device_parse(device, "r", &rule, NULL), 0);
	return grants_allow(g, path, 0, &rule);
}

/* It is refused, says so in one line, and what was granted before stays. */
static void expect_refused(const struct fixture *f, int error, const char *why)
{
	struct grants g = {0};
	const char *old = NULL;
	char log[4096];
	int r;

	assert_int_equal(grants_section(&g, "devices /old", &old), 0);
	assert_int_equal(grants_key(&g, "allow", "c 1:3", &old), 0);
	assert_int_equal(grants_section_end(&g, &old), 0);
	r = load(f->file, &g, log, sizeof(log));
	if (r != error || !strstr(log, why) || !strstr(log, f->file))
		fail_msg("%d, %s, where %d, %s was expected", r, log, error, why);
	assert_ptr_equal(strchr(log, '\n'), log + strlen(log) - 1);
	assert_int_equal(g.n, 1);
	assert_true(grants_device(&g, "/old", "c 1:3"));
	grants_done(&g);
}

static void test_file(void **state)
{
	const struct fixture *f = *state;
	struct grants g = {0};
	struct perf_items items;
	char log[4096], text[2048];

	if (geteuid() != 0)
		skip(); /* it takes root to own files */
	/* a section's name longer than libinih keeps; comments; a list over lines; no newline */
	snprintf(text, sizeof(text),
		"# at the beginning\r\n"
		"; too\n\n"
		"[devices /system.slice/system-lxc.slice/lxc@web1.service/**] ; for web1\r\n"
		"allow = fuse, c 10:200 ; and tun\r\n"
		"  kvm\n"
		"allow: c 1:3\n"
		"[devices /system.slice/system-lxc.slice/lxc@web2.service/**]\n"
		"allow=gpu:render\n"
		"access = r");
	write_text(f->file, text);
	assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
	assert_string_equal(log, "");
	assert_int_equal(g.n, 2);
	assert_int_equal(g.grant[0].n, 4);
	assert_string_equal(
		g.grant[1].pattern, "/system.slice/system-lxc.slice/lxc@web2.service/**");
	assert_true(
		grants_device(&g, "/system.slice/system-lxc.slice/lxc@web1.service/a", "c 10:200"));
	assert_false(
		grants_device(&g, "/system.slice/system-lxc.slice/lxc@web2.service/a", "c 10:200"));
	assert_true(grants_device(
		&g, "/system.slice/system-lxc.slice/lxc@web2.service/a", "gpu:render"));

	/* sections of both kinds */
	write_text(f->file, GOOD "[perf /a] ; and\ngrant = cpu, gpu\nuid = 7\ngrant: power\n");
	assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
	assert_string_equal(log, "");
	assert_int_equal(g.n, 2);
	assert_int_equal(grants_perf(&g, "/a", 7, &items), 0);
	assert_int_equal(items.n, 3);
	assert_int_equal(grants_perf(&g, "/a", 0, &items), 0);
	assert_int_equal(items.n, 0);
	assert_true(grants_device(&g, "/a", "fuse"));

	/* another takes its place; none at all grants nothing */
	write_text(f->file, GOOD);
	assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
	assert_int_equal(g.n, 1);
	assert_true(grants_device(&g, "/a", "fuse"));
	write_text(f->file, "");
	assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
	assert_int_equal(g.n, 0);
	write_text(f->file, GOOD);
	assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
	assert_int_equal(g.n, 1);
	assert_int_equal(unlink(f->file), 0);
	assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
	assert_int_equal(g.n, 0);
	assert_int_equal(load("/no/such/directory", &g, log, sizeof(log)), 0);
	assert_string_equal(log, "");
	grants_done(&g);
}

static void test_what_is_wrong_is_told_by_its_line(void **state)
{
	static const struct {
		const char *text, *line, *why;
	} rows[] = {
		{"allow = fuse\n", ":1:", "no section"},
		{GOOD "\n\nnothing\n", ":5:", "neither a section"},
		{GOOD "nothing\nallow = no-such\n", ":3:", "neither a section"},
		{GOOD "allow = no-such\nnothing\n", ":3:", ""},
		{GOOD "[devices b]\nallow = fuse\n", ":3:", "begins with /"},
		{GOOD "[devices /b\nallow = fuse\n", ":3:", "ends in ]"},
		{GOOD "[devices /b]\nuid = 5\n[devices /c]\nallow = fuse\n",
			":5:", "allows nothing"},
		{GOOD "[devices /b]\n", ":3:", "allows nothing"},
		{GOOD "uid = root\n", ":3:", "number"},
		{GOOD "uid = 5\n\tuid = 5\n", ":4:", "twice"},
		{GOOD "[limits]\nmemory = 5\n", ":3:", "sections are"},
		{GOOD "[perf /b]\ngrant = cpu\ngrant = cpus\n", ":5:", "items are"},
		{GOOD "[perf /b]\nuid = 5\n[perf /c]\ngrant = cpu\n", ":5:", "grants nothing"},
		{GOOD "[perf /b]\nallow = fuse\n", ":4:", "keys of [perf]"},
	};
	const struct fixture *f = *state;
	char text[4096];

	if (geteuid() != 0)
		skip(); /* it takes root to own files */
	for (size_t k = 0; k < N(rows); k++) {
		write_text(f->file, rows[k].text);
		expect_refused(f, -EINVAL, rows[k].line);
		expect_refused(f, -EINVAL, rows[k].why);
	}
	memset(text, 0, sizeof(text));
	strcpy(text, GOOD "allow = ");
	memset(text + strlen(text), 'a', 2000);
	strcat(text, "\n");
	write_text(f->file, text);
	expect_refused(f, -EINVAL, ":3: the line is too long");
	write_bytes(f->file, GOOD "a\0b\n", sizeof(GOOD "a\0b\n") - 1);
	expect_refused(f, -EINVAL, ":3: a NUL byte");
}

static void test_only_what_is_roots_counts(void **state)
{
	const struct fixture *f = *state;

	if (geteuid() != 0)
		skip(); /* it takes root to own files */
	write_text(f->file, GOOD);
	assert_int_equal(chmod(f->file, 0664), 0);
	expect_refused(f, -EPERM, "others may write it");
	assert_int_equal(chmod(f->file, 0646), 0);
	expect_refused(f, -EPERM, "others may write it");
	assert_int_equal(chmod(f->file, 0600), 0);
	assert_int_equal(chown(f->file, SOMEBODY, 0), 0);
	expect_refused(f, -EPERM, "does not belong to root");
	assert_int_equal(chown(f->file, 0, SOMEBODY), 0);

	assert_int_equal(chmod(f->sub, 0775), 0);
	expect_refused(f, -EPERM, "others may write a directory");
	assert_int_equal(chmod(f->sub, 0755), 0);
	assert_int_equal(chown(f->sub, SOMEBODY, 0), 0);
	expect_refused(f, -EPERM, "directory on the way does not belong to root");
	assert_int_equal(chown(f->sub, 0, 0), 0);
	assert_int_equal(chmod(f->dir, 0777), 0);
	expect_refused(f, -EPERM, "others may write a directory");
	/* and where all is well again, it counts: as below /tmp, where all may write */
	assert_int_equal(chmod(f->dir, 01777), 0);
	{
		struct grants g = {0};
		char log[256];

		assert_int_equal(load(f->file, &g, log, sizeof(log)), 0);
		assert_int_equal(g.n, 1);
		grants_done(&g);
	}
}

static void test_only_a_file_at_its_own_place_counts(void **state)
{
	const struct fixture *f = *state;
	char other[96], *large = calloc(1, CONF_SIZE_MAX + 2);

	if (geteuid() != 0)
		skip(); /* it takes root to own files */
	snprintf(other, sizeof(other), "%s/other", f->dir);
	write_text(other, GOOD);
	assert_int_equal(symlink(other, f->file), 0);
	expect_refused(f, -ELOOP, "symlink");
	assert_int_equal(unlink(f->file), 0);
	unlink(other);
	assert_int_equal(mkfifo(f->file, 0600), 0);
	expect_refused(f, -EPERM, "no regular file");
	assert_int_equal(unlink(f->file), 0);
	assert_int_equal(mkdir(f->file, 0700), 0);
	expect_refused(f, -EPERM, "no regular file");
	assert_int_equal(rmdir(f->file), 0);
	memset(large, '\n', CONF_SIZE_MAX + 1);
	write_text(f->file, large);
	free(large);
	expect_refused(f, -EPERM, "larger than");

	/* the directory itself */
	assert_int_equal(unlink(f->file), 0);
	assert_int_equal(rmdir(f->sub), 0);
	assert_int_equal(symlink("/etc", f->sub), 0);
	expect_refused(f, -EPERM, "symlinks are not followed");
	assert_int_equal(unlink(f->sub), 0);
	write_text(f->sub, GOOD);
	expect_refused(f, -EPERM, "directory");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_file),
		TEST(test_what_is_wrong_is_told_by_its_line),
		TEST(test_only_what_is_roots_counts),
		TEST(test_only_a_file_at_its_own_place_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
