/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether tasks lie in somebody's namespaces, by the real inspector; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "../../daemon/inspect.h"
#include "nests.h"

#define BATCH 64

static const struct hierarchies none;
static struct inspector *inspector;

static int setup(void **state)
{
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return inspector_start(&none, &inspector);
}

static int teardown(void **state)
{
	inspector = inspector_free(inspector);
	return 0;
}

static int32_t ask_one(int32_t pid, int32_t victim)
{
	int32_t ret = 77;

	assert_int_equal(inspect_victims(inspector, pid, &victim, 1, &ret), 0);
	return ret;
}

/* In namespaces: user; user; user and pid; user and pid again. */
static void test_nested(void **state)
{
	static const int flags[] = {CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWPID, CLONE_NEWPID};
	int32_t p[4], other[2], found[4];

	(void)state;
	if (!inspector)
		skip();
	p[0] = nest(flags, 3);
	other[0] = nest(flags + 1, 1);
	for (int i = 1; i < 4; i++)
		p[i] = child_of(p[i - 1]);
	other[1] = child_of(other[0]);
	for (int r = 0; r < 4; r++) {
		assert_int_equal(inspect_victims(inspector, p[r], p, 4, found), 0);
		/* of the second and the third only the pid namespace differs, and of the last */
		for (int v = 0; v < 4; v++)
			assert_int_equal(found[v], v >= r);
		assert_int_equal(ask_one(p[r], other[1]), 0);
		assert_int_equal(ask_one(other[1], p[r]), 0);
		assert_int_equal(ask_one(p[r], getpid()), 0);
		assert_int_equal(ask_one(getpid(), p[r]), 1);
	}
	nest_end(p[0]);
	nest_end(other[0]);
}

/* A full batch of several namespaces by turns, with some that have ended. */
static void test_batch(void **state)
{
	static const int flags[] = {CLONE_NEWUSER, CLONE_NEWPID};
	int32_t inside, deeper, outside, gone, victims[BATCH + 1], found[BATCH + 1];

	(void)state;
	if (!inspector)
		skip();
	inside = nest(flags, 2);
	deeper = child_of(child_of(inside));
	outside = nest(flags, 1);
	gone = nest(flags, 0);
	nest_end(gone);
	for (int i = 0; i < BATCH; i++)
		victims[i] = i % 4 == 0	  ? inside
			     : i % 4 == 1 ? outside
			     : i % 4 == 2 ? gone
					  : deeper;
	victims[BATCH] = inside;
	found[BATCH] = 77;
	assert_int_equal(inspect_victims(inspector, inside, victims, BATCH, found), 0);
	for (int i = 0; i < BATCH; i++)
		assert_int_equal(found[i], victims[i] == outside ? 0
					   : victims[i] == gone	 ? -ESRCH
								 : 1);
	assert_int_equal(found[BATCH], 77);
	assert_int_equal(inspect_victims(inspector, inside, victims, 0, found), 0);
	found[0] = 77;
	assert_int_equal(inspect_victims(inspector, inside, victims, BATCH + 1, found), -E2BIG);
	assert_int_equal(inspect_victims(inspector, gone, victims, BATCH, found), -ESRCH);
	assert_int_equal(found[0], 77);
	nest_end(inside);
	nest_end(outside);
}

/* Each thread gets the answers to its own questions. */
static void *ask_often(void *number)
{
	uint64_t base = (uint64_t)(uintptr_t)number * 1000000, wrong = 0;

	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t account = UINT64_MAX;
		int32_t self = getpid(), found = 77;

		if (inspect_account(inspector, self, (uid_t)(base + i), &account) != 0 ||
			account != base + i)
			wrong++;
		if (i % 16 == 0 &&
			(inspect_victims(inspector, self, &self, 1, &found) != 0 || found != 1))
			wrong++;
	}
	return (void *)(uintptr_t)wrong;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	if (!inspector)
		skip();
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
