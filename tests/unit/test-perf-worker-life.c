/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker that dies, or whose client does; quotas; revocation. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "perf-workers.h"

/*
 * Who goes away.
 */

static bool was_asked(struct show *s)
{
	return s->n_facts > 0;
}

/* The call is another process's: the client tells its number, then what it got. */
static int client_fork(const void *data)
{
	pid_t pid = fork();

	if (pid == 0) {
		int r = client_open(data);

		_exit(r < 0 ? -r : 0);
	}
	return pid;
}

static int client_wait(const void *data)
{
	int status = 0;

	if (waitpid(*(const pid_t *)data, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : 1000;
}

static int client_kill(const void *data)
{
	kill(*(const pid_t *)data, SIGKILL);
	return client_wait(data);
}

/* The answer comes before it is forgotten. */
static bool has_forgotten(struct show *s)
{
	return __atomic_load_n(&s->slot->notif_words[0], __ATOMIC_SEQ_CST) == 0;
}

static void test_caller_exits_midway(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);
	pid_t pid;

	SKIP(s);
	s->silent = true;
	pid = show_run(s, client_fork, &o, sizeof(o));
	assert_true(show_until(s, was_asked));
	assert_int_equal(show_run(s, client_kill, &pid, sizeof(pid)), 1000);
	s->silent = false;
	show_worker_kill(s); /* it still waits for the core */
	show_worker(s, PERF_SERVE_NOTIFY);
	assert_true(open_software(s, 0, -1) >= 0);
	assert_true(show_until(s, has_forgotten));
}

static bool has_dropped(struct show *s)
{
	return atomic_load(&s->slot->dropped) > 0;
}

/* The core answers after the caller has gone: ESRCH is what it finds. */
static void test_answer_comes_late(void **state)
{
	struct perf_facts_are facts = {.result = -ESRCH};
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	s->silent = true;
	facts.tid = show_run(s, client_fork, &o, sizeof(o));
	assert_true(show_until(s, was_asked));
	assert_int_equal(show_run(s, client_kill, &facts.tid, sizeof(facts.tid)), 1000);
	show_send(s, PERF_FACTS_ARE, &facts, sizeof(facts), -EBADF);
	assert_true(show_until(s, has_dropped));
	s->silent = false;
	assert_true(open_software(s, 0, -1) >= 0);
}

static void test_worker_dies_midway(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);
	int fd;

	SKIP(s);
	s->silent = true;
	show_run_begin(s, client_open, &o, sizeof(o));
	assert_true(show_until(s, was_asked));
	show_worker_kill(s);
	assert_int_not_equal(s->slot->notif_words[0], 0);
	s->silent = false;
	show_worker(s, PERF_SERVE_NOTIFY);
	fd = show_result(s);
	assert_true(fd >= 0);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 1);
	assert_true(show_until(s, has_forgotten));
}

static void test_condemned(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	s->silent = true;
	show_run_begin(s, client_open, &o, sizeof(o));
	assert_true(show_until(s, was_asked));
	show_worker_kill(s);
	atomic_store(&s->slot->condemned, 1);
	s->silent = false;
	show_worker(s, PERF_SERVE_NOTIFY);
	assert_int_equal(show_result(s), -EFAULT);
	assert_true(open_software(s, 0, -1) >= 0);
	assert_int_equal(s->slot->condemned, 0);
}

/* While it waits for the core it is not what takes long. */
static void test_not_busy_while_the_core_is(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	s->silent = true;
	show_run_begin(s, client_open, &o, sizeof(o));
	assert_true(show_until(s, was_asked));
	assert_int_equal(s->slot->busy, 0);
}

static bool is_done(struct show *s)
{
	return s->done;
}

static void test_nobody_is_filtered(void **state)
{
	struct show *s = *state;

	SKIP(s);
	close_fd(&s->listener);
	assert_true(open_software(s, 0, -1) >= 0);
	kill(s->client, SIGKILL);
	waitpid(s->client, NULL, 0);
	s->client = 0;
	assert_true(show_until(s, is_done));
}

/*
 * Quotas.
 */

static void worker_with(struct show *s, unsigned max_events)
{
	s->serve.max_events = max_events;
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_NOTIFY);
}

static void test_quota(void **state)
{
	struct show *s = *state;
	int fd = -1, cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);

	SKIP(s);
	worker_with(s, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true((fd = open_software(s, -1, 0)) >= 0);
	assert_int_equal(open_software(s, -1, 0), -EMFILE);
	if (cpus > 1)
		assert_true(open_software(s, -1, 1) >= 0);
	assert_int_equal(show_run(s, client_close, &fd, sizeof(fd)), 0);
	assert_true(open_software(s, -1, 0) >= 0);
	assert_int_equal(open_software(s, -1, 0), -EMFILE);
	/* Of tasks there may be more. */
	for (unsigned i = 0; i < 3 * PERF_TASK_EVENTS_FACTOR; i++)
		assert_true(open_software(s, 0, -1) >= 0);
	assert_int_equal(open_software(s, 0, -1), -EMFILE);
}

static int client_open_close(const void *data)
{
	const struct order *o = data;

	for (unsigned i = 0; i < 3000; i++) {
		int fd = client_open(o);

		if (fd < 0)
			return fd;
		close(fd);
	}
	return 0;
}

static void test_what_is_closed_does_not_count(void **state)
{
	struct show *s = *state;
	struct order o = software(-1, 0);

	SKIP(s);
	worker_with(s, 8);
	assert_int_equal(show_run(s, client_open_close, &o, sizeof(o)), 0);
}

/* Sends an event to itself, and keeps none. */
static int client_hide(const void *data)
{
	static int pair[2] = {-1, -1};
	int fd = client_open(data), r;
	struct worker sender;

	if (fd < 0)
		return fd;
	if (pair[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		return -errno;
	sender.core = pair[0];
	r = worker_send(&sender, 1, NULL, 0, fd);
	close(fd);
	return r;
}

static void test_hidden_fds_count(void **state)
{
	struct show *s = *state;
	struct order o = software(-1, 0);

	SKIP(s);
	worker_with(s, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(show_run(s, client_hide, &o, sizeof(o)), 0);
	assert_int_equal(show_run(s, client_open, &o, sizeof(o)), -EMFILE);
}

/* What its predecessor opened it finds by the fds of those who hold it. */
static void test_quota_after_kill(void **state)
{
	struct show *s = *state;
	int fd;

	SKIP(s);
	worker_with(s, 2);
	assert_true(open_software(s, -1, 0) >= 0);
	assert_true((fd = open_software(s, -1, 0)) >= 0);
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_NOTIFY);
	assert_int_equal(open_software(s, -1, 0), -EMFILE);
	show_worker_kill(s);
	assert_int_equal(show_run(s, client_close, &fd, sizeof(fd)), 0);
	show_worker(s, PERF_SERVE_NOTIFY);
	assert_true(open_software(s, -1, 0) >= 0);
	assert_int_equal(open_software(s, -1, 0), -EMFILE);
}

static void test_bucket(void **state)
{
	struct worker_bucket b;

	(void)state;
	bucket_init(&b, 10, 3, 5000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bucket_take(&b, 5000), 0);
	assert_int_equal(bucket_take(&b, 5000), 100);
	assert_int_equal(bucket_take(&b, 5060), 40);
	assert_int_equal(bucket_take(&b, 5100), 0);
	assert_int_equal(bucket_take(&b, 5100), 100);
	/* No more than the burst, however long nobody asked; nor less if time went back. */
	assert_int_equal(bucket_take(&b, UINT64_MAX / 2), 0);
	assert_int_equal(bucket_take(&b, UINT64_MAX / 2), 0);
	assert_int_equal(bucket_take(&b, 7), 0);
	assert_int_equal(bucket_take(&b, 7), 100);
	/* What cost more is paid back, but no more than a burst. */
	bucket_charge(&b, 1);
	assert_int_equal(bucket_take(&b, 7), 200);
	bucket_charge(&b, 1000000);
	assert_int_equal(bucket_take(&b, 7), 400);
	bucket_init(&b, 0, 0, 0);
	assert_int_equal(bucket_take(&b, 0), 0);
	assert_int_equal(bucket_take(&b, 0), 1000);
	bucket_init(&b, UINT32_MAX, UINT32_MAX, 0);
	assert_int_equal(bucket_take(&b, UINT64_MAX), 0);
}

static void test_rate_makes_wait(void **state)
{
	struct show *s = *state;

	SKIP(s);
	s->serve.rate = 20;
	s->serve.burst = 2;
	worker_with(s, 64);
	for (unsigned i = 0; i < 6; i++)
		assert_true(open_software(s, 0, -1) >= 0);
}

#define SHOW(name) cmocka_unit_test_setup_teardown(name, show_begin, show_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOW(test_caller_exits_midway),
		SHOW(test_answer_comes_late),
		SHOW(test_worker_dies_midway),
		SHOW(test_condemned),
		SHOW(test_not_busy_while_the_core_is),
		SHOW(test_nobody_is_filtered),
		SHOW(test_quota),
		SHOW(test_what_is_closed_does_not_count),
		SHOW(test_hidden_fds_count),
		SHOW(test_quota_after_kill),
		cmocka_unit_test(test_bucket),
		SHOW(test_rate_makes_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
