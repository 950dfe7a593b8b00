/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a daemon finds of its predecessor's device programs, each way in which they can be kept;
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

#include <bpf/bpf.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devprogs.h"

static bool is_kept(const struct mode *from, const struct mode *to)
{
	return from->kind == DEVPROG_STORAGE && to->kind == DEVPROG_STORAGE && from->pins &&
	       to->pins;
}

static void restart(const struct mode *from, const struct mode *to, unsigned more)
{
	struct devprog *d = start(from);
	int fd = cgroup_new(top, "x");
	struct devprog_attached have;
	struct device_policy none;
	unsigned others = 0;
	bool held = false;
	struct opener o;

	set(d, fd, ZERO_DEVICE, more);
	o = opener_start(fd);
	begin_watch(o.report);
	devprog_free(d);
	d = start(to);
	if (is_kept(from, to)) {
		assert_int_equal(count_ours(d, fd, &others), 1);
		assert_int_equal(others, 0);
		assert_policy(d, fd, ZERO_DEVICE, more);
	} else {
		assert_int_equal(count_ours(d, fd, NULL), 0);
		assert_int_equal(devprog_policy_get(d, fd, &none), 0);
		assert_int_equal(devprog_query(d, fd, &have), 0);
		/* Without a bpffs what was pinned there loses its policy, or is said to be in force
		 * still. */
		held = from->pins && !to->pins;
		assert_int_equal(devprog_adopt(d, inspector, fd, &have),
			held && from->kind == DEVPROG_PROGRAMS ? -EBUSY : 1);
		assert_int_equal(count_ours(d, fd, &others), 1);
		assert_int_equal(others, held);
		assert_policy(d, fd, ZERO_DEVICE, more);
	}
	assert_int_equal(devprog_query(d, fd, &have), 0);
	if (!held)
		assert_int_equal(devprog_adopt(d, inspector, fd, &have), 0);
	set(d, fd, ZERO_DEVICE, more + 1);
	assert_no_wrong(o.report);
	opener_end(&o);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_restart(void **state)
{
	const struct mode *from = need(state);

	for (size_t i = 0; i < N_MODES; i++)
		for (unsigned more = 0; more <= 40; more += 40)
			restart(from, &modes[i], more);
}

/* Killed after a new class was attached and before the old one was detached: the newer counts, and
 * the next set leaves one. */
static void test_two_policies(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode), *second;
	int fd = cgroup_new(top, "x");
	struct devprog_attached have;

	/* Two daemons without a bpffs do not know each other's. */
	second = start(mode);
	set(d, fd, FULL_DEVICE, 0);
	set(second, fd, ZERO_DEVICE, 0);
	assert_int_equal(devprog_query(second, fd, &have), 0);
	assert_int_equal(have.n, 2);
	assert_int_equal(devprog_adopt(second, inspector, fd, &have), 1);
	assert_policy(second, fd, ZERO_DEVICE, 0);
	assert_false(denied_in(fd, "/dev/full"));
	/* Both are old for a third. */
	set(d, fd, FULL_DEVICE, 40);
	devprog_free(d);
	d = start(mode);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(devprog_adopt(d, inspector, fd, &have), 2);
	assert_policy(d, fd, FULL_DEVICE, 40);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	devprog_free(second);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* Named as ours, with bytes that are none of this version: it stays in force. */
static void test_unreadable(void **state)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	struct devprog *d = start(need(state));
	static const uint32_t words[60] = {99, 1, 2, 3};
	int fd = cgroup_new(top, "x");
	int program = program_with_map("cgmd_dev_240", words, sizeof(words));
	int foreign = program_with_map("runc", words, sizeof(words));
	struct devprog_attached have;

	assert_int_equal(bpf_prog_attach_opts(foreign, fd, BPF_CGROUP_DEVICE, &options), 0);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(devprog_adopt(d, inspector, fd, &have), 0);
	assert_int_equal(bpf_prog_attach_opts(program, fd, BPF_CGROUP_DEVICE, &options), 0);
	close(program);
	close(foreign);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(devprog_adopt(d, inspector, fd, &have), -EPROTO);
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(have.n, 2);
	assert_true(denied_in(fd, "/dev/null"));
	cgroup_end(top, fd, "x");
	finish(d);
}

/*
 * Pins.
 */

static void test_collect(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd[8], looked;
	char path[16];

	for (unsigned i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "x%u", i);
		fd[i] = cgroup_new(top, path);
		set(d, fd[i], ZERO_DEVICE, 0);
	}
	assert_int_equal(pins_count(), 8);
	assert_int_equal(devprog_collect(d, 100), 8);
	assert_int_equal(pins_count(), 8);
	for (unsigned i = 2; i < 8; i++) {
		snprintf(path, sizeof(path), "x%u", i);
		cgroup_end(top, fd[i], path);
	}
	while (pins_count() > 2) {
		looked = devprog_collect(d, 3);
		assert_in_range(looked, 0, 3);
		usleep(1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "x%u", i);
		devprog_collect(d, 100);
		assert_true(denied_in(fd[i], "/dev/zero"));
		assert_policy(d, fd[i], ZERO_DEVICE, 0);
		cgroup_end(top, fd[i], path);
	}
	finish(d);
}

/* Killed while a pin took another's place. */
static void test_half_renamed(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	char path[PATH_MAX], other[PATH_MAX + 8];

	set(d, fd, ZERO_DEVICE, 0);
	devprog_free(d);
	assert_true(pin_find(fd, path));
	snprintf(other, sizeof(other), "%s_new", path);
	assert_int_equal(rename(path, other), 0);
	d = start(mode);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(other, F_OK), -1);
	assert_true(denied_in(fd, "/dev/zero"));
	cgroup_end(top, fd, "x");
	finish(d);
}

/* Others could have put there what they like. */
static void test_not_roots(void **state)
{
	const struct mode *mode = need(state);
	const struct mode direct = {.kind = mode->kind, .pins = false};
	struct devprog *d = start(mode);
	char path[PATH_MAX];
	struct devprog *e;

	devprog_free(d);
	snprintf(path, sizeof(path), "%s/cgmd", bpffs);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(devprog_new(bpffs, mode->kind, &e), 0);
	assert_false(devprog_pins(e));
	devprog_free(e);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(chown(path, 1000, 0), 0);
	assert_int_equal(devprog_new(bpffs, mode->kind, &e), 0);
	assert_false(devprog_pins(e));
	devprog_free(e);
	assert_int_equal(chown(path, 0, 0), 0);
	devprog_free(start(mode));
	devprog_free(start(&direct));
}

/* A bpffs of which nothing more can be had: what was asked for is in force all the same. */
static void test_no_room(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");

	assert_int_equal(mount(NULL, bpffs, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	set(d, fd, ZERO_DEVICE, 0);
	assert_true(denied_in(fd, "/dev/zero"));
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_int_equal(mount(NULL, bpffs, NULL, MS_REMOUNT, NULL), 0);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	assert_int_equal(count_ours(d, fd, NULL), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_restart),
		DIRECT(test_two_policies),
		EACH(test_unreadable),
		PINNED(test_collect),
		PINNED(test_half_renamed),
		PINNED(test_not_roots),
		PINNED(test_no_room),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
