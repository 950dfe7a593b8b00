/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several threads ask the inspector, each in its turn; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/inspect.h"

#define ROUNDS 21
#define CALLS 50

static const struct hierarchies none;
static struct inspector *inspector;
static pthread_barrier_t barrier;
static atomic_int asked;
static int before[ROUNDS];

static void ask(void)
{
	struct requestor_ns ns;

	if (inspect_requestor(inspector, getpid(), NULL, 0, &ns) < 0)
		abort();
}

/* Asks again and again, as a worker that lists many tasks does. */
static void *ask_on(void *unused)
{
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < CALLS; i++) {
			ask();
			asked++;
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

/* Asks once, while the other's first question is under way. */
static void *ask_once(void *unused)
{
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		usleep(2000);
		ask();
		before[round] = asked;
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The inspector stands still till both wait; then they are asked in turns. That the second is put
 * off by the scheduler before it tells happens now and then. */
static void test_turns(void **state)
{
	pthread_t threads[2];

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(inspector_start(&none, &inspector), 0);
	pthread_barrier_init(&barrier, NULL, 3);
	assert_int_equal(pthread_create(&threads[0], NULL, ask_on, NULL), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, ask_once, NULL), 0);
	for (int round = 0; round < ROUNDS; round++) {
		siginfo_t info;

		assert_int_equal(kill(inspector_pid(inspector), SIGSTOP), 0);
		assert_int_equal(waitid(P_PID, (id_t)inspector_pid(inspector), &info, WSTOPPED), 0);
		asked = 0;
		pthread_barrier_wait(&barrier);
		usleep(10000);
		assert_int_equal(kill(inspector_pid(inspector), SIGCONT), 0);
		pthread_barrier_wait(&barrier);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	inspector_free(inspector);
	pthread_barrier_destroy(&barrier);
	qsort(before, ROUNDS, sizeof(*before), compare);
	print_message("questions answered before: %d to %d, mostly %d\n", before[0],
		before[ROUNDS - 1], before[ROUNDS / 2]);
	assert_in_range(before[ROUNDS / 2], 0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_turns)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
