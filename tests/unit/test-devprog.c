/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device programs on a real cgroup2, each way in which they can be kept; needs root. */
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
#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/sandbox.h"
#include "devprogs.h"

static void test_set_and_clear(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	struct device_policy none;

	assert_int_equal(count_ours(d, fd, NULL), 0);
	assert_int_equal(devprog_policy_get(d, fd, &none), 0);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	set(d, fd, ZERO_DEVICE, 0);
	assert_policy(d, fd, ZERO_DEVICE, 0);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_true(denied_in(fd, "/dev/zero"));
	assert_false(denied_in(fd, "/dev/full"));
	set(d, fd, FULL_DEVICE, 0);
	assert_policy(d, fd, FULL_DEVICE, 0);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_false(denied_in(fd, "/dev/zero"));
	assert_true(denied_in(fd, "/dev/full"));
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	assert_int_equal(count_ours(d, fd, NULL), 0);
	assert_int_equal(devprog_policy_get(d, fd, &none), 0);
	assert_false(denied_in(fd, "/dev/full"));
	if (mode->pins)
		assert_int_equal(pins_count(), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* A task far below is judged by each cgroup on its way, and not by others. */
static void test_below(void **state)
{
	struct devprog *d = start(need(state));
	int a = cgroup_new(top, "a"), b = cgroup_new(a, "b"), c = cgroup_new(b, "c");
	int other = cgroup_new(top, "other");

	set(d, a, ZERO_DEVICE, 0);
	set(d, b, FULL_DEVICE, 0);
	assert_true(denied_in(c, "/dev/zero"));
	assert_true(denied_in(c, "/dev/full"));
	assert_false(denied_in(c, "/dev/null"));
	assert_false(denied_in(a, "/dev/full"));
	assert_false(denied_in(other, "/dev/zero"));
	assert_int_equal(count_ours(d, c, NULL), 0);
	cgroup_end(b, c, "c");
	cgroup_end(a, b, "b");
	cgroup_end(top, a, "a");
	cgroup_end(top, other, "other");
	finish(d);
}

/* Numbers of rules of no effect, one list in each class. */
static const unsigned lengths[] = {0, 40, 200, 900, 1600};
#define N_LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static unsigned lengths_had(const struct devprog *d)
{
	unsigned n = 0;

	for (; n < N_LENGTHS; n++) {
		struct device_rules rules = {.allow = true};
		struct device_policy policy = {0};
		int r;

		for (unsigned i = 0; i < lengths[n] + 1; i++)
			rule_add(&rules, false, 300 + i, 2 * i);
		r = device_policy_compile(&rules, &rules, devprog_policy_max(d), &policy);
		device_policy_done(&policy);
		device_rules_done(&rules);
		if (r < 0)
			break;
	}
	return n;
}

/* From each class to each other, back and forth: at every moment one of them is in force. */
static void test_classes(void **state)
{
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x");
	unsigned n = lengths_had(d), sizes = 0;
	size_t last = 0;
	struct opener o;

	assert_true(n > 1);
	for (unsigned i = 0; i < n; i++) {
		struct device_policy p = policy_make(d, ZERO_DEVICE, lengths[i]);

		sizes += p.size != last;
		last = p.size;
		device_policy_done(&p);
	}
	assert_int_equal(sizes, n);
	set(d, fd, ZERO_DEVICE, 0);
	o = opener_start(fd);
	begin_watch(o.report);
	for (unsigned round = 0; round < 6; round++)
		for (unsigned i = 0; i < n * n; i++) {
			unsigned length = i % 2 ? lengths[i / n] : lengths[i % n];

			set(d, fd, ZERO_DEVICE, length);
			wait_rounds(o.report, 1);
			assert_int_equal(count_ours(d, fd, NULL), 1);
			assert_policy(d, fd, ZERO_DEVICE, length);
		}
	assert_no_wrong(o.report);
	opener_end(&o);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* What a class had when it was last attached is not in force again, however it was detached. */
static void test_no_old_policy(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	struct opener o;

	set(d, fd, NULL_DEVICE, 0);
	o = opener_start(fd);
	assert_true(o.report->null_refused > 0);
	detach_ours(mode, d, fd);
	set(d, fd, ZERO_DEVICE, 200);
	begin_watch(o.report);
	for (unsigned i = 0; i < 50; i++) {
		set(d, fd, ZERO_DEVICE, i % 2 ? 200 : 0);
		wait_rounds(o.report, 1);
	}
	assert_no_wrong(o.report);
	assert_policy(d, fd, ZERO_DEVICE, 200);
	opener_end(&o);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_drift(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	char path[PATH_MAX];

	set(d, fd, ZERO_DEVICE, 0);
	detach_ours(mode, d, fd);
	assert_false(denied_in(fd, "/dev/zero"));
	set(d, fd, ZERO_DEVICE, 0);
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_true(denied_in(fd, "/dev/zero"));
	if (mode->pins) {
		/* Our new link is pinned in the place of the dead one. */
		assert_int_equal(pins_count(), 1);
		assert_true(pin_find(fd, path));
		assert_int_equal(unlink(path), 0);
		while (count_ours(d, fd, NULL) > 0)
			usleep(1000); /* the kernel puts links later */
		set(d, fd, ZERO_DEVICE, 0);
		assert_true(denied_in(fd, "/dev/zero"));
		assert_int_equal(pins_count(), 1);
	}
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/* Somebody holds a link of ours, and has taken its pin away: it cannot be detached, but has no
 * opinion any more, or it is said that it is in force. */
static void test_held(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	bool stored = mode->kind == DEVPROG_STORAGE;
	int fd = cgroup_new(top, "x"), link;
	char path[PATH_MAX];

	set(d, fd, FULL_DEVICE, 0);
	assert_true(pin_find(fd, path));
	link = bpf_obj_get(path);
	assert_true(link >= 0);
	assert_int_equal(unlink(path), 0);
	if (stored) {
		set(d, fd, ZERO_DEVICE, 40);
		assert_false(denied_in(fd, "/dev/full"));
		assert_policy(d, fd, ZERO_DEVICE, 40);
	} else {
		struct device_policy policy = policy_make(d, ZERO_DEVICE, 40);

		assert_int_equal(devprog_policy_set(d, fd, &policy), -EBUSY);
		device_policy_done(&policy);
	}
	assert_true(denied_in(fd, "/dev/zero"));
	assert_int_equal(devprog_policy_clear(d, fd), stored ? 0 : -EBUSY);
	assert_false(denied_in(fd, "/dev/zero"));
	close(link);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_flags(void **state)
{
	static const uint32_t flags[] = {0, BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI};
	struct devprog *d = start(need(state));
	int program = program_new("another", 1);

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = flags[i]);
		int fd = cgroup_new(top, "x"), below = cgroup_new(fd, "below");
		struct device_policy policy = policy_make(d, ZERO_DEVICE, 0);
		bool multi = flags[i] == BPF_F_ALLOW_MULTI;
		struct devprog_attached have;

		assert_int_equal(devprog_query(d, fd, &have), 0);
		assert_int_equal(have.n, 0);
		assert_true(devprog_ancestor_allows(&have));
		assert_int_equal(bpf_prog_attach_opts(program, fd, BPF_CGROUP_DEVICE, &options), 0);
		assert_int_equal(devprog_query(d, fd, &have), 0);
		assert_int_equal(have.n, 1);
		assert_int_equal(have.flags, flags[i]);
		assert_false(have.one[0].ours);
		assert_int_equal(devprog_ancestor_allows(&have), multi);
		assert_int_equal(devprog_policy_set(d, fd, &policy), multi ? 0 : -EPERM);
		/* With ALLOW_OVERRIDE the kernel would, and so widen: that is the caller's. */
		assert_int_equal(devprog_policy_set(d, below, &policy), flags[i] ? 0 : -EPERM);
		device_policy_done(&policy);
		cgroup_end(fd, below, "below");
		cgroup_end(top, fd, "x");
	}
	close(program);
	finish(d);
}

static void test_too_many(void **state)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x");
	struct device_policy policy = policy_make(d, ZERO_DEVICE, 0);
	struct devprog_attached have;

	for (unsigned i = 0; i < DEVPROG_ATTACHED_MAX; i++) {
		int program = program_new("one_of_many", 1);

		assert_int_equal(bpf_prog_attach_opts(program, fd, BPF_CGROUP_DEVICE, &options), 0);
		close(program);
	}
	assert_int_equal(devprog_query(d, fd, &have), 0);
	assert_int_equal(have.n, DEVPROG_ATTACHED_MAX);
	assert_int_equal(devprog_policy_set(d, fd, &policy), -E2BIG);
	device_policy_done(&policy);
	policy = (struct device_policy){.size = devprog_policy_max(d) + 1};
	assert_int_equal(devprog_policy_set(d, fd, &policy), -E2BIG);
	cgroup_end(top, fd, "x");
	finish(d);
}

static void test_removed(void **state)
{
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x");
	struct device_policy policy = policy_make(d, ZERO_DEVICE, 0);
	int r;

	assert_int_equal(unlinkat(top, "x", AT_REMOVEDIR), 0);
	r = devprog_policy_set(d, fd, &policy);
	assert_true(r == -ENOENT || r == -ENODEV);
	device_policy_done(&policy);
	close(fd);
	devprog_free(d);
}

static void test_off(void **state)
{
	struct devprog *d;
	struct devprog_attached have;
	struct device_policy policy = {0};
	struct sandbox_bpf rights;

	need(state);
	assert_int_equal(devprog_off("because", &d), 0);
	assert_int_equal(devprog_kind(d), DEVPROG_NONE);
	assert_string_equal(devprog_why(d), "because");
	assert_int_equal(devprog_policy_max(d), 0);
	assert_int_equal(devprog_query(d, top, &have), -EOPNOTSUPP);
	assert_int_equal(devprog_policy_get(d, top, &policy), -EOPNOTSUPP);
	assert_int_equal(devprog_policy_set(d, top, &policy), -EOPNOTSUPP);
	assert_int_equal(devprog_policy_clear(d, top), -EOPNOTSUPP);
	assert_int_equal(devprog_collect(d, 10), 0);
	devprog_rights(d, &rights);
	assert_false(rights.calls || rights.capability || rights.loads);
	devprog_free(d);
}

/* Many at once, each another policy: one program of ours is left, with one of them. */
struct setter {
	pthread_t thread;
	struct devprog *d;
	int fd;
	unsigned length;
	int result;
};

static void *set_often(void *userdata)
{
	struct setter *s = userdata;

	for (unsigned i = 0; s->result == 0 && i < 40; i++) {
		struct device_policy p = policy_make(s->d, ZERO_DEVICE, (s->length + i) % 90);

		s->result = devprog_policy_set(s->d, s->fd, &p);
		device_policy_done(&p);
	}
	return NULL;
}

static void test_threads(void **state)
{
	const struct mode *mode = need(state);
	struct devprog *d = start(mode);
	int fd = cgroup_new(top, "x");
	struct setter setters[4];

	for (unsigned i = 0; i < 4; i++) {
		setters[i] = (struct setter){.d = d, .fd = fd, .length = 23 * i};
		assert_int_equal(
			pthread_create(&setters[i].thread, NULL, set_often, &setters[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(setters[i].thread, NULL), 0);
		assert_int_equal(setters[i].result, 0);
	}
	assert_int_equal(count_ours(d, fd, NULL), 1);
	assert_true(denied_in(fd, "/dev/zero"));
	if (mode->pins)
		assert_int_equal(pins_count(), 1);
	assert_int_equal(devprog_policy_clear(d, fd), 0);
	cgroup_end(top, fd, "x");
	finish(d);
}

/*
 * Confined as the core is: nothing but what is left of bpf(2) does all this.
 */

static bool is_refused(long command)
{
	union bpf_attr attr = {0};

	return syscall(SYS_bpf, command, &attr, sizeof(attr)) < 0 && errno == EPERM;
}

/* The steps' number at which it went wrong, 0 if it did not. */
static int confined(struct devprog *d, int fd, const struct sandbox_bpf *rights)
{
	struct device_policy small = policy_make(d, ZERO_DEVICE, 0), got;
	struct device_policy large = policy_make(d, FULL_DEVICE, 40);
	struct devprog_attached have;

	if (sandbox_capabilities(rights) < 0 || sandbox_syscalls(rights) < 0)
		return 1;
	if (devprog_policy_set(d, fd, &small) < 0 || devprog_policy_set(d, fd, &large) < 0)
		return 2;
	if (devprog_query(d, fd, &have) < 0 || have.n != 1 || !have.one[0].ours)
		return 3;
	if (devprog_policy_get(d, fd, &got) != 1)
		return 4;
	if (devprog_policy_clear(d, fd) < 0 || devprog_policy_set(d, fd, &small) < 0)
		return 5;
	if (devprog_collect(d, 100) != (devprog_pins(d) ? 1 : 0))
		return 6;
	if (is_refused(BPF_PROG_LOAD) == rights->loads || is_refused(BPF_OBJ_GET))
		return 7;
	/* By the filter, though the kernel looks at the lower half alone. */
	if (!is_refused(BPF_OBJ_GET | INT64_C(1) << 32) || !is_refused(BPF_PROG_GET_FD_BY_ID) ||
		!is_refused(BPF_LINK_DETACH + 1) || !is_refused(BPF_PROG_TEST_RUN))
		return 8;
	return 0;
}

static void test_confined(void **state)
{
	struct devprog *d = start(need(state));
	int fd = cgroup_new(top, "x"), status;
	struct sandbox_bpf rights;
	pid_t pid;

	devprog_rights(d, &rights);
	assert_true(rights.calls);
	assert_int_equal(rights.loads, devprog_kind(d) == DEVPROG_PROGRAMS);
	pid = fork();
	if (pid == 0)
		_exit(confined(d, fd, &rights));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(denied_in(fd, "/dev/zero"));
	cgroup_end(top, fd, "x");
	finish(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_set_and_clear),
		EACH(test_below),
		EACH(test_classes),
		EACH(test_no_old_policy),
		EACH(test_drift),
		EACH(test_flags),
		EACH(test_too_many),
		EACH(test_removed),
		EACH(test_threads),
		EACH(test_confined),
		PINNED(test_held),
		cmocka_unit_test(test_off),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
