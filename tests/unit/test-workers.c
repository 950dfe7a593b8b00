/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <semaphore.h>
#include <cmocka.h>

#include "../../daemon/workers.h"

static sem_t gate, started;
static unsigned n_done;

static void run_nothing(struct job *job)
{
	(void)job;
}

static void run_until_opened(struct job *job)
{
	(void)job;
	sem_post(&started);
	sem_wait(&gate);
}

static void count(struct job *job)
{
	(void)job;
	n_done++;
}

static int setup(void **state)
{
	sem_init(&gate, 0, 0);
	sem_init(&started, 0, 0);
	n_done = 0;
	*state = NULL;
	return 0;
}

static void loop_until(sd_event *event, unsigned n)
{
	while (n_done < n)
		assert_true(sd_event_run(event, UINT64_MAX) >= 0);
}

static void test_every_job_is_done_on_the_loop(void **state)
{
	enum { N = 60 };
	static struct job jobs[N];
	sd_event *event = NULL;
	struct workers *w = NULL;

	(void)state;
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(workers_new(event, &w), 0);
	for (unsigned i = 0; i < N; i++) {
		jobs[i] = (struct job){.owner = i, .run = run_nothing, .done = count};
		assert_int_equal(workers_submit(w, &jobs[i]), 0);
	}
	loop_until(event, N);
	assert_int_equal(workers_stop(w, 5000000), 0);
	assert_null(workers_free(w));
	sd_event_unref(event);
}

/* One owner whose jobs all wait does not keep another's from a thread, and fills only its own
 * queue. */
static void test_an_owner_takes_only_its_share(void **state)
{
	enum { N = WORKERS_OWNER_MAX + WORKERS_OWNER_QUEUE_MAX };
	static struct job blocked[N], over, other;
	sd_event *event = NULL;
	struct workers *w = NULL;

	(void)state;
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(workers_new(event, &w), 0);
	for (unsigned i = 0; i < N; i++) {
		blocked[i] = (struct job){.owner = 7, .run = run_until_opened, .done = count};
		assert_int_equal(workers_submit(w, &blocked[i]), 0);
		/* The first ones leave the queue before the rest is counted. */
		if (i < WORKERS_OWNER_MAX)
			sem_wait(&started);
	}
	over = blocked[0];
	assert_int_equal(workers_submit(w, &over), -EDQUOT);
	other = (struct job){.owner = 8, .run = run_nothing, .done = count};
	assert_int_equal(workers_submit(w, &other), 0);
	loop_until(event, 1);
	for (unsigned i = 0; i < N; i++)
		sem_post(&gate);
	loop_until(event, N + 1);
	assert_int_equal(workers_stop(w, 5000000), 0);
	assert_null(workers_free(w));
	sd_event_unref(event);
}

/* However many others there are, host root's job finds a thread and a place in the queue. */
static void test_the_last_thread_is_for_owner_0(void **state)
{
	enum { N = WORKERS_MAX - 1 + WORKERS_QUEUE_MAX - WORKERS_QUEUE_KEPT };
	static struct job blocked[N], over, root;
	sd_event *event = NULL;
	struct workers *w = NULL;

	(void)state;
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(workers_new(event, &w), 0);
	for (unsigned i = 0; i < N; i++) {
		blocked[i] = (struct job){.owner = (UINT64_C(1) << 32) + i / 2,
			.run = run_until_opened,
			.done = count};
		assert_int_equal(workers_submit(w, &blocked[i]), 0);
		if (i < WORKERS_MAX - 1)
			sem_wait(&started);
	}
	over = (struct job){.owner = 8, .run = run_nothing, .done = count};
	assert_int_equal(workers_submit(w, &over), -EDQUOT);
	root = (struct job){.owner = 0, .run = run_nothing, .done = count};
	assert_int_equal(workers_submit(w, &root), 0);
	loop_until(event, 1);
	for (unsigned i = 0; i < N; i++)
		sem_post(&gate);
	loop_until(event, N + 1);
	assert_int_equal(workers_stop(w, 5000000), 0);
	assert_null(workers_free(w));
	sd_event_unref(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_every_job_is_done_on_the_loop, setup),
		cmocka_unit_test_setup(test_an_owner_takes_only_its_share, setup),
		cmocka_unit_test_setup(test_the_last_thread_is_for_owner_0, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
