/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers between pid namespaces: as the kernel at hand has it, and as one without the ioctls.
 * Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../../daemon/pidns.h"
#include "crowd.h"

static const struct hierarchies none;
static struct inspector *inspector;
static struct crowd crowd, bare;

static int setup(void **state)
{
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	crowd_make(&crowd);
	crowd_make_bare(&bare);
	return inspector_start(&none, &inspector);
}

static int teardown(void **state)
{
	if (inspector) {
		crowd_end(&crowd);
		crowd_end(&bare);
	}
	inspector = inspector_free(inspector);
	return 0;
}

static void need_root(void)
{
	if (!inspector)
		skip();
}

static void test_lists(void **state)
{
	size_t n = crowd.n + crowd.n_threads;
	int32_t pids[CROWD_MAX];

	(void)state;
	need_root();
	memcpy(pids, crowd.host, sizeof(pids));
	assert_int_equal(pidns_from_host(inspector, crowd.pidns_fd, pids, n), 0);
	assert_memory_equal(pids, crowd.inside, n * sizeof(*pids));
	assert_int_equal(pidns_all_to_host(inspector, crowd.pidns_fd, pids, n), 0);
	assert_memory_equal(pids, crowd.host, n * sizeof(*pids));
	assert_int_equal(pidns_from_host(inspector, crowd.pidns_fd, pids, 0), 0);
}

/* As in a container without a user namespace. */
static void test_bare(void **state)
{
	int32_t pids[CROWD_MAX];
	size_t n = bare.n + bare.n_threads;

	(void)state;
	need_root();
	memcpy(pids, bare.host, sizeof(pids));
	assert_int_equal(pidns_from_host(inspector, bare.pidns_fd, pids, n), 0);
	assert_memory_equal(pids, bare.inside, n * sizeof(*pids));
	assert_int_equal(pidns_all_to_host(inspector, bare.pidns_fd, pids, bare.n), 0);
	assert_memory_equal(pids, bare.host, bare.n * sizeof(*pids));
	for (size_t i = 0; i < bare.n; i++)
		pids[i] = i % 3 == 0 ? getpid() : i % 3 == 1 ? crowd.host[i] : bare.host[i];
	assert_int_equal(pidns_from_host(inspector, bare.pidns_fd, pids, bare.n), 0);
	for (size_t i = 0; i < bare.n; i++)
		assert_int_equal(pids[i], i % 3 == 2 ? bare.inside[i] : 0);
	assert_int_equal(pidns_to_host(inspector, bare.pidns_fd, 1), bare.init);
	assert_int_equal(pidns_to_host(inspector, bare.pidns_fd, INT32_MAX), -ESRCH);
	assert_int_equal(pidns_to_host(inspector, bare.pidns_fd, 0), -ESRCH);
	assert_int_equal(pidns_to_host(inspector, bare.pidns_fd, -1), -ESRCH);
}

/* Among those that are there, some that are not. */
static void test_missing(void **state)
{
	int32_t pids[CROWD_MAX];

	(void)state;
	need_root();
	for (size_t i = 0; i < crowd.n; i++)
		pids[i] = i % 3 == 0 ? getpid() : i % 3 == 1 ? INT32_MAX : crowd.host[i];
	assert_int_equal(pidns_from_host(inspector, crowd.pidns_fd, pids, crowd.n), 0);
	for (size_t i = 0; i < crowd.n; i++)
		assert_int_equal(pids[i], i % 3 == 2 ? crowd.inside[i] : 0);
	for (size_t i = 0; i < crowd.n; i++)
		pids[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? INT32_MAX : crowd.inside[i];
	assert_int_equal(pidns_all_to_host(inspector, crowd.pidns_fd, pids, crowd.n), 0);
	for (size_t i = 0; i < crowd.n; i++)
		assert_int_equal(pids[i], i % 3 == 2 ? crowd.host[i] : 0);
}

static void test_one(void **state)
{
	int other = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	int32_t pid = 1;

	(void)state;
	need_root();
	for (size_t i = 0; i < crowd.n; i += 10)
		assert_int_equal(
			pidns_to_host(inspector, crowd.pidns_fd, crowd.inside[i]), crowd.host[i]);
	assert_int_equal(pidns_to_host(inspector, crowd.pidns_fd, 1), crowd.init);
	assert_int_equal(pidns_to_host(inspector, crowd.pidns_fd, INT32_MAX), -ESRCH);
	assert_int_equal(pidns_to_host(inspector, crowd.pidns_fd, 0), -ESRCH);
	assert_int_equal(pidns_to_host(inspector, crowd.pidns_fd, -1), -ESRCH);
	assert_true(pidns_to_host(inspector, -EBADF, 1) < 0);
	assert_true(pidns_to_host(inspector, other, 1) < 0);
	assert_true(pidns_from_host(inspector, other, &pid, 1) < 0);
	close(other);
}

/* The daemon's own namespace is one like others, but for who is in it. */
static void test_own(void **state)
{
	int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	int32_t pid = getpid();

	(void)state;
	need_root();
	assert_true(fd >= 0);
	assert_int_equal(pidns_to_host(inspector, fd, getpid()), getpid());
	assert_int_equal(pidns_to_host(inspector, fd, INT32_MAX), -ESRCH);
	assert_int_equal(pidns_from_host(inspector, fd, &pid, 1), 0);
	assert_int_equal(pid, getpid());
	close(fd);
}

static void *ask_often(void *unused)
{
	uintptr_t wrong = 0;

	for (size_t i = 0; i < crowd.n; i++)
		if (pidns_to_host(inspector, crowd.pidns_fd, crowd.inside[i]) != crowd.host[i])
			wrong++;
	return (void *)wrong;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	need_root();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
}

/* From here on the kernel has no such ioctls. */
static void test_take_away(void **state)
{
	static const unsigned long taken[] = {_IOR(0xb7, 0x6, int), _IOR(0xb7, 0x7, int),
		_IOR(0xb7, 0x8, int), _IOR(0xb7, 0x9, int)};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	(void)state;
	need_root();
	assert_non_null(filter);
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl),
					 1, SCMP_A1_32(SCMP_CMP_EQ, taken[i])),
			0);
	assert_int_equal(seccomp_load(filter), 0);
	seccomp_release(filter);
	assert_int_equal(ioctl(crowd.pidns_fd, taken[0], 1), -1);
	assert_int_equal(errno, ENOTTY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_take_away),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
