/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker's worker, revocation, and what a worker has left. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/perf/rights.h"
#include "confine.h"
#include "perf-workers.h"

/*
 * The broker.
 */

static bool has_opened(struct show *s)
{
	return s->n_opened > 0;
}

static int broker_open(struct show *s, const struct order *o, uint32_t size, int group_fd)
{
	static struct perf_open asked;

	asked = (struct perf_open){
		.tid = s->client,
		.pid = o->pid,
		.cpu = o->cpu,
		.size = size,
		.flags = o->flags,
		.cookie = 77,
		.has_group = group_fd >= 0,
	};
	memcpy(asked.attr, o->attr, sizeof(o->attr));
	s->n_opened = 0;
	show_send(s, PERF_OPEN, &asked, sizeof(asked), group_fd);
	assert_true(show_until(s, has_opened));
	assert_int_equal(s->opened.cookie, 77);
	assert_int_equal(s->opened.result == 0, s->opened_fd >= 0);
	return s->opened.result;
}

static void test_broker(void **state)
{
	struct show *s = *state;
	struct order o = software(-1, 0);
	_cleanup_close_ int leader = -EBADF;
	uint64_t id = 0;

	SKIP(s);
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_BROKER);
	assert_int_equal(broker_open(s, &o, 112, -EBADF), 0);
	assert_int_equal(ioctl(s->opened_fd, PERF_EVENT_IOC_ID, &id), 0);
	assert_int_equal(s->slot->ledger[0].id, id);
	leader = TAKE_FD(s->opened_fd);
	assert_int_equal(broker_open(s, &o, 112, leader), 0);
	assert_int_equal(broker_open(s, &o, 111, -EBADF), -E2BIG); /* says it has more */
	assert_int_equal(broker_open(s, &o, 0, -EBADF), -E2BIG);
	assert_int_equal(broker_open(s, &o, UINT32_MAX, -EBADF), -E2BIG);
	o = software(0, -1);
	assert_int_equal(broker_open(s, &o, 200, -EBADF), 0);
	o.flags |= PERF_FLAG_PID_CGROUP;
	assert_true(broker_open(s, &o, 200, -EBADF) < 0);
}

/* Questions that come while it waits for the core are answered in their order. */
static bool has_opened_three(struct show *s)
{
	return s->n_opened == 3;
}

static void test_broker_keeps_order(void **state)
{
	static struct perf_open asked;
	struct show *s = *state;
	struct order o = software(-1, 0);

	SKIP(s);
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_BROKER);
	asked = (struct perf_open){
		.tid = s->client, .pid = -1, .size = sizeof(o.attr), .flags = o.flags};
	memcpy(asked.attr, o.attr, sizeof(o.attr));
	for (asked.cookie = 1; asked.cookie <= 3; asked.cookie++)
		show_send(s, PERF_OPEN, &asked, sizeof(asked), -EBADF);
	assert_true(show_until(s, has_opened_three));
	assert_int_equal(s->opened.cookie, 3);
	assert_int_equal(s->opened.result, 0);
}

/*
 * Revocation.
 */

static bool has_revoked(struct show *s)
{
	return s->n_revoked > 0;
}

static void revoke_all(struct show *s, bool and_kill)
{
	struct perf_revoke asked = {.cookie = 5, .kill = and_kill};

	if (s->serve.kind != PERF_SERVE_BROKER) {
		show_worker_kill(s);
		show_worker(s, PERF_SERVE_BROKER);
	}
	s->n_revoked = 0;
	show_send(s, PERF_REVOKE, &asked, sizeof(asked), s->top);
	assert_true(show_until(s, has_revoked));
	assert_int_equal(s->revoked.cookie, 5);
	assert_int_equal(s->revoked.result, 0);
}

/* A table of fds that no other thread of its process shows. */
static atomic_int thread_fd;

static void *thread_hold(void *data)
{
	if (unshare(CLONE_FILES) == 0)
		thread_fd = client_open(data);
	else
		thread_fd = -errno;
	for (;;)
		pause();
	return NULL;
}

static int client_thread_holds(const void *data)
{
	static struct order o;
	pthread_t thread;

	o = *(const struct order *)data;
	thread_fd = INT_MAX;
	if (pthread_create(&thread, NULL, thread_hold, &o) != 0)
		return -EAGAIN;
	while (thread_fd == INT_MAX)
		usleep(1000);
	return thread_fd;
}

static bool has_thread_pidfds(void)
{
	_cleanup_close_ int fd = pidfd_open(getpid(), O_EXCL);

	return fd >= 0;
}

static void test_revoke(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);
	int fd;

	SKIP(s);
	fd = open_software(s, 0, -1);
	assert_true(show_run(s, client_thread_holds, &o, sizeof(o)) >= 0);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 1);
	revoke_all(s, false);
	assert_int_equal(s->revoked.disabled, 0); /* it still has the grant */
	s->grant.cpu = false;
	atomic_fetch_add(&s->registry->generation, 1);
	revoke_all(s, false);
	/* Before 6.9 there is no way to an fd that a thread has for itself, its copy of the
	 * process' or its own. */
	assert_int_equal(s->revoked.disabled, has_thread_pidfds() ? 2 : 1);
	assert_int_equal(s->revoked.unknown, has_thread_pidfds() ? 0 : 2);
	assert_int_equal(s->revoked.holders, 1);
	assert_int_equal(s->revoked.killed, 0);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 0);
	revoke_all(s, true);
	assert_int_equal(s->revoked.killed, 1);
	waitpid(s->client, &fd, 0);
	s->client = 0;
	assert_true(WIFSIGNALED(fd) && WTERMSIG(fd) == SIGKILL);
}

static void test_revoke_leaves_others(void **state)
{
	struct show *s = *state;
	struct perf_entry *e;
	int fd;

	SKIP(s);
	fd = open_software(s, 0, -1);
	e = &s->slot->ledger[0];
	perf_ledger_drop(s->registry, e, e->id);
	s->grant.cpu = false;
	atomic_fetch_add(&s->registry->generation, 1);
	revoke_all(s, true);
	assert_int_equal(s->revoked.unknown, 1);
	assert_int_equal(s->revoked.disabled + s->revoked.killed + s->revoked.holders, 0);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 1);
}

/*
 * The worker itself.
 */

static void status_line(pid_t pid, const char *name, char *ret, size_t size)
{
	char path[32], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	ret[0] = '\0';
	while (ret[0] == '\0' && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			snprintf(ret, size, "%s", line + strlen(name));
	fclose(file);
	ret[strcspn(ret, "\n")] = '\0';
}

static void expect_confined(pid_t pid, uint64_t caps)
{
	char value[64], expected[64];

	if (!CONFINE)
		return;
	snprintf(expected, sizeof(expected), "%016" PRIx64, caps);
	status_line(pid, "CapPrm:\t", value, sizeof(value));
	assert_string_equal(value, expected);
	status_line(pid, "CapEff:\t", value, sizeof(value));
	assert_string_equal(value, expected);
	status_line(pid, "NoNewPrivs:\t", value, sizeof(value));
	assert_string_equal(value, "1");
	status_line(pid, "Seccomp:\t", value, sizeof(value));
	assert_string_equal(value, "2");
}

static void test_confined(void **state)
{
	struct show *s = *state;
	struct order o = software(-1, 0);
	uint64_t caps = rights_perfmon() | UINT64_C(1) << CAP_SYS_PTRACE |
			UINT64_C(1) << CAP_DAC_READ_SEARCH;

	SKIP(s);
	assert_true(open_software(s, 0, -1) >= 0);
	expect_confined(s->worker, caps);
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_BROKER);
	assert_int_equal(broker_open(s, &o, 112, -EBADF), 0);
	expect_confined(s->worker, caps | UINT64_C(1) << CAP_KILL);
}

static void test_ends_with_the_core(void **state)
{
	struct show *s = *state;
	int status;

	SKIP(s);
	assert_true(open_software(s, 0, -1) >= 0);
	close_fd(&s->core);
	assert_int_equal(waitpid(s->worker, &status, 0), s->worker);
	s->worker = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define SHOW(name) cmocka_unit_test_setup_teardown(name, show_begin, show_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOW(test_broker),
		SHOW(test_broker_keeps_order),
		SHOW(test_revoke),
		SHOW(test_revoke_leaves_others),
		SHOW(test_confined),
		SHOW(test_ends_with_the_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
