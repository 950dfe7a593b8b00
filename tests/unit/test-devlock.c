/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../../daemon/devlock.h"

/* Which parts of a tree hold each other up. */
static void test_parts(void **state)
{
	static const struct {
		const char *held, *wanted;
		int result;
	} rows[] = {
		{"/a", "/a", -EBUSY},
		{"/a", "/a/b", -EBUSY},
		{"/a/b/c", "/a", -EBUSY},
		{"/a", "/b", 0},
		{"/a", "/ab", 0},
		{"/ab", "/a", 0},
		{"/a/b", "/a/c", 0},
		{"/", "/a", -EBUSY},
		{"/a", "/", -EBUSY},
	};
	struct devlocks *l;

	(void)state;
	assert_int_equal(devlocks_new(&l), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct devlock held = {0}, wanted = {0};

		assert_int_equal(devlock_try(l, &held, rows[i].held, rows[i].held, false), 0);
		assert_int_equal(devlock_try(l, &wanted, rows[i].wanted, rows[i].wanted, false),
			rows[i].result);
		devlock_put(&held);
		devlock_put(&held);
		if (rows[i].result < 0)
			assert_int_equal(
				devlock_try(l, &wanted, rows[i].wanted, rows[i].wanted, false), 0);
		devlock_put(&wanted);
	}
	devlocks_free(l);
}

#define THREADS 4
#define TURNS 2000

static struct devlocks *locks;
static int unguarded;
static atomic_int inside;

static void *count(void *userdata)
{
	for (int i = 0; i < TURNS; i++) {
		struct devlock lock = {0};

		if (devlock_take(locks, &lock, userdata) < 0 || atomic_fetch_add(&inside, 1) != 0)
			return userdata;
		unguarded++;
		atomic_fetch_sub(&inside, 1);
		devlock_put(&lock);
	}
	return NULL;
}

static void test_one_at_a_time(void **state)
{
	static char paths[THREADS][8] = {"/a", "/a/b", "/a", "/"};
	pthread_t threads[THREADS];
	void *failed;

	(void)state;
	unguarded = 0;
	assert_int_equal(devlocks_new(&locks), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, paths[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(unguarded, THREADS * TURNS);
	devlocks_free(locks);
}

static void *take(void *userdata)
{
	struct devlock lock = {0};

	return devlock_take(locks, &lock, "/a") == -ECANCELED ? NULL : userdata;
}

/* Whoever waits, and whoever comes, gives up. */
static void test_end(void **state)
{
	struct devlock held = {0}, other = {0};
	pthread_t thread;
	void *failed;

	(void)state;
	assert_int_equal(devlocks_new(&locks), 0);
	assert_int_equal(devlock_try(locks, &held, "/a", "/a", false), 0);
	assert_int_equal(pthread_create(&thread, NULL, take, &held), 0);
	devlocks_end(locks);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_int_equal(devlock_take(locks, &other, "/b"), -ECANCELED);
	devlock_put(&other);
	devlock_put(&held);
	devlocks_free(locks);
}

static struct devlock second;

static void *take_below(void *userdata)
{
	return devlock_take(locks, &second, "/a/c") < 0 ? userdata : NULL;
}

/* Whoever keeps what is below taken all the time does not keep those above from it. */
static void test_larger_first(void **state)
{
	struct devlock held = {0}, all = {0}, other = {0};
	pthread_t thread;
	void *failed;

	(void)state;
	assert_int_equal(devlocks_new(&locks), 0);
	assert_int_equal(devlock_try(locks, &held, "/a/b", "/a/b", false), 0);
	assert_int_equal(devlock_try(locks, &all, "/a", "/a", false), -EBUSY);
	/* What is free is not to be had: it is in what was asked for. */
	assert_int_equal(devlock_try(locks, &other, "/a/c", "/a/c", false), -EBUSY);
	assert_int_equal(devlock_try(locks, &other, "/a/c", "/a/c", true), 0);
	devlock_put(&other);
	assert_int_equal(devlock_try(locks, &other, "/ab", "/ab", false), 0);
	devlock_put(&other);
	assert_int_equal(pthread_create(&thread, NULL, take_below, &held), 0);
	devlock_put(&held);
	assert_int_equal(devlock_try(locks, &held, "/a/b", "/a/b", false), -EBUSY);
	assert_int_equal(devlock_try(locks, &all, "/a", "/a", false), 0);
	devlock_put(&all);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	devlock_put(&second);
	assert_int_equal(devlock_try(locks, &held, "/a/b", "/a/b", false), 0);
	/* Who must have all and has a right to a part of it keeps nobody else waiting. */
	assert_int_equal(devlock_try(locks, &all, "/", "/a", false), -EBUSY);
	assert_int_equal(devlock_try(locks, &other, "/b", "/b", false), 0);
	devlock_put(&other);
	devlock_put(&held);
	devlocks_free(locks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_larger_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
