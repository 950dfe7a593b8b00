/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Enabling controllers and taking them back, in a directory whose files only look like a cgroup's:
 * they keep what was written, and fail when told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/cgroupfs.h"
#include "../../daemon/levels.h"
#include "../../policy/controller.h"

#define CONTROL "cgroup.subtree_control"
#define TYPE "cgroup.type"

static char directory[] = "/tmp/cgmd-test-levels-XXXXXX";
static struct hierarchy h = {.v2 = true};
static struct level level;
static struct rung rung;
static struct levels levels = {.n = 1, .level = &level, .rung = &rung};
static struct target *t;
static struct op op;

static void file_put(const char *name, const char *text)
{
	int fd = openat(rung.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void assert_control(const char *expected)
{
	char text[256];

	assert_true(cgroup_read_small(rung.fd, CONTROL, text, sizeof(text)) >= 0);
	assert_string_equal(text, expected);
}

/* A Create that lacks the controllers `lacks` in a cgroup without tasks. */
static int setup(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	level = (struct level){.domain = DOMAIN_PLAIN};
	rung = (struct rung){.fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.evacuation = EVACUATION_NONE};
	t = calloc(1, sizeof(*t));
	if (!t || rung.fd < 0)
		return -1;
	t->h = &h;
	t->levels = &levels;
	t->controllers = controllers_of("memory,pids");
	strcpy(t->who.own, "/");
	t->start_len = 1;
	t->rest = "x";
	t->place.missing = 1;
	file_put("cgroup.procs", "");
	file_put(CONTROL, "\n");
	file_put(TYPE, "domain\n");
	return 0;
}

static int teardown(void **state)
{
	unlinkat(rung.fd, "cgroup.procs", 0);
	unlinkat(rung.fd, CONTROL, 0);
	unlinkat(rung.fd, TYPE, 0);
	unlinkat(rung.fd, TYPE, AT_REMOVEDIR);
	close(rung.fd);
	free(t->detail);
	free(t);
	assert_int_equal(rmdir(directory), 0);
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	return 0;
}

static void test_enabled_and_undone(void **state)
{
	assert_int_equal(levels_enable(&op, t), 0);
	assert_int_equal(rung.enabled, t->controllers);
	assert_control("+memory +pids");
	levels_undo(&op, t);
	assert_int_equal(rung.enabled, 0);
	assert_control("-memory -pids");
}

/* What somebody enabled after it was judged is his. */
static void test_enabled_meanwhile(void **state)
{
	file_put(CONTROL, "memory\n");
	assert_int_equal(levels_enable(&op, t), 0);
	assert_int_equal(rung.enabled, controllers_of("pids"));
	file_put(CONTROL, "");
	levels_undo(&op, t);
	assert_control("-pids");
}

static void test_all_enabled_meanwhile(void **state)
{
	file_put(CONTROL, "memory pids\n");
	assert_int_equal(levels_enable(&op, t), 0);
	assert_int_equal(rung.enabled, 0);
	levels_undo(&op, t);
	assert_control("memory pids");
}

/* Whether it has become a thread root cannot be told: it is as it was. */
static void test_type_unread(void **state)
{
	assert_int_equal(unlinkat(rung.fd, TYPE, 0), 0);
	assert_int_equal(mkdirat(rung.fd, TYPE, 0700), 0);
	assert_int_equal(levels_enable(&op, t), -EISDIR);
	assert_int_equal(rung.enabled, 0);
	assert_control("-memory -pids");
}

/* It is one, each time: nothing stays of this call, and what is another's does. */
static void test_thread_root(void **state)
{
	file_put(TYPE, "domain threaded\n");
	assert_int_equal(levels_enable(&op, t), -EBUSY);
	assert_int_equal(t->reason, REASON_LEVEL_BUSY);
	assert_control("-memory -pids");
	free(t->detail);
	t->detail = NULL;
	file_put(CONTROL, "memory pids\n");
	assert_int_equal(levels_enable(&op, t), -EBUSY);
	assert_control("memory pids");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_enabled_and_undone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_enabled_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_enabled_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_type_unread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread_root, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
