/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker on a real listener, with perf events of the kernel's; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf-workers.h"

/*
 * What is opened.
 */

static void test_cpu_becomes_scope(void **state)
{
	struct show *s = *state;
	struct perf_entry *e;
	int fd;

	SKIP(s);
	fd = open_software(s, -1, 0);
	assert_true(fd >= 0);
	assert_int_equal(show_run(s, client_flags, &fd, sizeof(fd)), FD_CLOEXEC);
	assert_int_equal(s->stage->n_callers + s->stage->n_openers, 0);
	e = &s->slot->ledger[0];
	assert_int_not_equal(e->id, 0);
	assert_int_equal(e->type, PERF_TYPE_SOFTWARE);
	assert_int_equal(e->cpu, 0);
	assert_int_equal(e->by, PERF_ITEM_CPU);
	assert_int_equal(perf_ledger_count(s->registry, e->scope_id, 0), 1);
	assert_int_equal(s->slot->calls, 1);
	assert_int_equal(s->slot->refused, 0);
}

/* A burner outside of the scope is not counted: only the client's part is. */
static int client_scope_time(const void *data)
{
	int fd = *(const int *)data;
	uint64_t value = 0;

	usleep(200000);
	return read(fd, &value, sizeof(value)) != sizeof(value) ? -errno : (int)(value / 1000000);
}

static void test_scope_does_not_see_the_host(void **state)
{
	struct show *s = *state;
	pid_t burner;
	int fd, msec;

	SKIP(s);
	fd = open_software(s, -1, 0);
	burner = fork();
	while (burner == 0)
		;
	msec = show_run(s, client_scope_time, &fd, sizeof(fd));
	kill(burner, SIGKILL);
	waitpid(burner, NULL, 0);
	assert_in_range(msec, 0, 100);
}

static void test_self(void **state)
{
	struct show *s = *state;
	int fd;

	SKIP(s);
	fd = open_software(s, 0, -1);
	assert_true(fd >= 0);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 1);
	assert_int_equal(s->slot->ledger[0].cpu, PERF_CPUS_MAX);
	fd = open_software(s, s->client, -1);
	assert_true(fd >= 0);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 1);
	/* One question for all of it. */
	assert_int_equal(s->n_facts, 1);
}

static void test_cloexec_as_asked(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);
	int fd;

	SKIP(s);
	o.flags = 0;
	fd = show_run(s, client_open, &o, sizeof(o));
	assert_int_equal(show_run(s, client_flags, &fd, sizeof(fd)), 0);
}

static int thread_result;

static void *thread_open(void *data)
{
	thread_result = call(((struct order *)data)->attr, data);
	return NULL;
}

static int client_thread(const void *data)
{
	struct order o = *(const struct order *)data;
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_open, &o) != 0)
		return -EAGAIN;
	pthread_join(thread, NULL);
	return thread_result;
}

static void test_thread(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	assert_true(show_run(s, client_thread, &o, sizeof(o)) >= 0);
	/* With a group, which is in the thread's table. */
	o.group = open_software(s, -1, 0);
	o.pid = -1;
	o.cpu = 0;
	assert_true(show_run(s, client_thread, &o, sizeof(o)) >= 0);
}

static void test_no_grant_is_the_callers(void **state)
{
	struct show *s = *state;

	SKIP(s);
	s->grant.cpu = false;
	s->stage->caller_result = -EACCES;
	assert_int_equal(open_software(s, -1, 0), -EACCES);
	assert_int_equal(s->stage->n_callers, 1);
	assert_int_equal(s->stage->last.pid, -1);
	assert_int_equal(open_software(s, 0, -1), -EACCES);
	assert_int_equal(s->stage->last.pid, s->client); /* 0 would be the child */
	assert_int_equal(s->slot->refused, 2);
	assert_int_equal(s->slot->n_ledger, 0);
}

static void test_grant_that_comes_and_goes(void **state)
{
	struct show *s = *state;

	SKIP(s);
	s->grant.cpu = false;
	s->stage->caller_result = -EACCES;
	assert_int_equal(open_software(s, -1, 0), -EACCES);
	s->grant.cpu = true;
	atomic_fetch_add(&s->registry->generation, 1);
	assert_true(open_software(s, -1, 0) >= 0);
	s->grant.cpu = false;
	atomic_fetch_add(&s->registry->generation, 1);
	assert_int_equal(open_software(s, -1, 0), -EACCES);
}

static void test_moved_is_asked_again(void **state)
{
	struct show *s = *state;
	char pid[16];
	int procs, n;

	SKIP(s);
	assert_true(open_software(s, -1, 0) >= 0);
	assert_true(open_software(s, -1, 0) >= 0);
	assert_int_equal(s->n_facts, 1);
	procs = openat(s->below, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	n = snprintf(pid, sizeof(pid), "%d", (int)s->client);
	assert_int_equal(write(procs, pid, n), n);
	close(procs);
	assert_true(open_software(s, -1, 0) >= 0);
	assert_int_equal(s->n_facts, 2);
}

static void test_facts_refused(void **state)
{
	struct show *s = *state;

	SKIP(s);
	s->facts_result = -EIO;
	assert_int_equal(open_software(s, -1, 0), -EIO);
	s->facts_result = 0;
	assert_true(open_software(s, -1, 0) >= 0);
}

/*
 * Openers and callers.
 */

static struct order sampling(int pid, int cpu)
{
	struct order o = software(pid, cpu);

	attr_of(&o)->config = PERF_COUNT_SW_CPU_CLOCK;
	attr_of(&o)->exclude_kernel = 1;
	attr_of(&o)->sample_period = 1000000;
	attr_of(&o)->sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID;
	return o;
}

static void test_names_go_by_an_opener(void **state)
{
	struct show *s = *state;
	struct order o = sampling(0, -1);

	SKIP(s);
	assert_true(show_run(s, client_open, &o, sizeof(o)) >= 0);
	assert_int_equal(s->stage->n_openers, 0); /* the worker's own pid namespace */
	s->own_pidns = false;
	atomic_fetch_add(&s->registry->generation, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_true(show_run(s, client_open, &o, sizeof(o)) >= 0);
	assert_int_equal(s->stage->n_openers, 1);
	assert_int_equal(s->stage->last.pid, s->client);
	o = sampling(-1, 0);
	assert_true(show_run(s, client_open, &o, sizeof(o)) >= 0);
	assert_true(s->stage->last.has_cgroup);
	assert_true(s->stage->last.flags & PERF_FLAG_PID_CGROUP);
	assert_int_equal(s->stage->n_openers, 1);
}

static void test_opener_that_ended(void **state)
{
	struct show *s = *state;
	struct order o = sampling(0, -1);

	SKIP(s);
	s->own_pidns = false;
	s->stage->openers_that_die = 1;
	assert_true(show_run(s, client_open, &o, sizeof(o)) >= 0);
	assert_int_equal(s->stage->n_openers, 2);
	s->stage->openers_that_die = 5;
	assert_int_equal(show_run(s, client_open, &o, sizeof(o)), -EAGAIN);
	assert_int_equal(s->stage->n_openers, 3); /* one that was there, one anew */
}

static void test_another_task(void **state)
{
	struct show *s = *state;
	pid_t other;
	int fd;

	SKIP(s);
	other = fork();
	while (other == 0)
		;
	s->own_pidns = false;
	fd = open_software(s, other, -1);
	/* It stands still until the target was looked at again. */
	assert_true(s->stage->last.attr.attr.disabled);
	assert_int_equal(show_run(s, client_counts, &fd, sizeof(fd)), 1);
	s->stage->n_traces = 0;
	s->stage->trace_result = -EACCES;
	assert_int_equal(open_software(s, other, -1), -EACCES);
	assert_int_equal(s->stage->n_traces, 1);
	s->stage->trace_result = 0;
	assert_true(open_software(s, other, -1) >= 0);
	/* It may be another program by the time it was opened. */
	s->stage->traces_left = 2;
	assert_int_equal(open_software(s, other, -1), -EACCES);
	s->stage->trace_result = 0;
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	s->stage->trace_result = -ESRCH;
	assert_int_equal(open_software(s, other, -1), -ESRCH);
}

/*
 * Groups and cgroups.
 */

static int client_group_of(const void *data)
{
	struct order o = *(const struct order *)data;
	int fd = o.group == 1	? eventfd(0, EFD_CLOEXEC)
		 : o.group == 2 ? open("/proc/self/status", O_RDONLY | O_CLOEXEC)
				: 999;

	o.group = fd;
	return call(o.attr, &o);
}

static void test_group(void **state)
{
	struct show *s = *state;
	struct order o = software(-1, 0);
	int leader;

	SKIP(s);
	leader = show_run(s, client_open, &o, sizeof(o));
	assert_true(leader >= 0);
	o.group = leader;
	assert_true(show_run(s, client_open, &o, sizeof(o)) >= 0);
	for (int i = 1; i <= 3; i++) {
		o.group = i;
		assert_int_equal(show_run(s, client_group_of, &o, sizeof(o)), -EBADF);
	}
	o.group = -7;
	assert_int_equal(show_run(s, client_open, &o, sizeof(o)), -EBADF);
	/* Still there for the next. */
	o.group = -1;
	assert_true(show_run(s, client_open, &o, sizeof(o)) >= 0);
}

struct cgroup_order {
	struct order o;
	char path[128];
};

static int client_cgroup(const void *data)
{
	struct cgroup_order c = *(const struct cgroup_order *)data;
	int fd = open(c.path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -1000;
	c.o.pid = fd;
	r = call(c.o.attr, &c.o);
	close(fd);
	return r;
}

static int open_cgroup(struct show *s, int dirfd, const char *suffix)
{
	struct cgroup_order c = {.o = software(0, 0)};
	char link[64], path[100];
	ssize_t n;

	c.o.flags |= PERF_FLAG_PID_CGROUP;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	snprintf(c.path, sizeof(c.path), "%s%s", path, suffix);
	return show_run(s, client_cgroup, &c, sizeof(c));
}

static void test_cgroup(void **state)
{
	struct show *s = *state;

	SKIP(s);
	assert_true(open_cgroup(s, s->top, "") >= 0);
	assert_true(open_cgroup(s, s->below, "") >= 0);
	assert_true(open_cgroup(s, s->top, "/..") < 0);
	assert_true(open_cgroup(s, s->top, "/../..") < 0);
	assert_int_equal(s->slot->n_ledger, 2);
	assert_int_equal(open_cgroup(s, s->top, "/cgroup.procs"), -EBADF);
	/* Without a grant the kernel judges: by the cgroup, and by what is none. */
	s->grant.cpu = false;
	atomic_fetch_add(&s->registry->generation, 1);
	assert_true(open_cgroup(s, s->top, "") >= 0);
	assert_true(s->stage->last.has_cgroup);
	assert_int_equal(open_cgroup(s, s->top, "/cgroup.procs"), -EBADF);
	assert_true(s->stage->last.has_cgroup);
	assert_int_equal(s->stage->n_callers, 2);
}

/*
 * What is bad.
 */

static int client_bad_pointer(const void *data)
{
	struct order o = *(const struct order *)data;

	return call((void *)(uintptr_t)o.pad, &o);
}

static void test_bad_pointer(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	for (unsigned i = 0; i < 3; i++) {
		o.pad = i * 8;
		assert_int_equal(show_run(s, client_bad_pointer, &o, sizeof(o)), -EFAULT);
	}
}

/* As the last bytes before what cannot be read. */
static int client_at_end(const void *data)
{
	const struct order *o = data;
	size_t size = o->pad;
	uint8_t *page =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(page + 4096, 4096, PROT_NONE);
	memcpy(page + 4096 - size, o->attr, size);
	return call(page + 4096 - size, o);
}

static void test_sizes(void **state)
{
	static const struct {
		uint32_t size;
		int tail, expected; /* a byte behind what is known; 1: an event */
	} rows[] = {
		{0, 0, 1},
		{1, 0, -E2BIG},
		{63, 0, -E2BIG},
		{64, 0, 1},
		{72, 0, 1},
		{112, 0, 1},
		{136, 0, 1},
		{144, 0, 1},
		{200, 0, 1},
		{200, 1, -E2BIG},
		{4097, 0, -E2BIG},
		{UINT32_MAX, 0, -E2BIG},
	};
	struct show *s = *state;

	SKIP(s);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct order o = software(0, -1);
		int r;

		attr_of(&o)->size = rows[i].size;
		o.attr[199] = (uint8_t)rows[i].tail;
		r = show_run(s, client_open, &o, sizeof(o));
		if (r < 0 ? r != rows[i].expected : rows[i].expected != 1)
			fail_msg("size %u: %d", rows[i].size, r);
	}
}

static void test_end_of_memory(void **state)
{
	static const uint32_t sizes[] = {64, 72, 112, 136};
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		attr_of(&o)->size = o.pad = sizes[i];
		assert_true(show_run(s, client_at_end, &o, sizeof(o)) >= 0);
		/* It says more than there is. */
		attr_of(&o)->size = sizes[i] + 8;
		assert_int_equal(show_run(s, client_at_end, &o, sizeof(o)), -EFAULT);
	}
	o.pad = 40;
	assert_int_equal(show_run(s, client_at_end, &o, sizeof(o)), -EFAULT);
}

static void test_unknown_flags(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);

	SKIP(s);
	for (unsigned bit = 4; bit < 64; bit += 7) {
		o.flags = UINT64_C(1) << bit;
		assert_int_equal(show_run(s, client_open, &o, sizeof(o)), -EINVAL);
	}
}

static int client_acct(const void *data)
{
	(void)data;
	return syscall(SYS_acct, NULL) < 0 ? -errno : 0;
}

static void test_other_call(void **state)
{
	struct show *s = *state;

	SKIP(s);
	assert_int_equal(show_run(s, client_acct, NULL, 0), -ENOSYS);
	assert_int_equal(show_run(s, client_acct, NULL, 0), -ENOSYS);
	assert_true(open_software(s, 0, -1) >= 0);
	assert_int_equal(s->n_news[PERF_NEWS_CALL], 1);
}

static void test_whose_call(void **state)
{
	struct seccomp_data data = {.arch = seccomp_arch_native(), .nr = SYS_perf_event_open};

	(void)state;
	assert_true(worker_is_ours(&data));
	data.nr++;
	assert_false(worker_is_ours(&data));
#ifdef __x86_64__
	data.nr = SYS_perf_event_open | 0x40000000;
	assert_true(worker_is_ours(&data));
	data.arch = SCMP_ARCH_X86;
	data.nr = 336;
	assert_true(worker_is_ours(&data));
	data.nr = SYS_perf_event_open;
	assert_false(worker_is_ours(&data));
	data.arch = SCMP_ARCH_X86_64;
	data.nr = 336;
	assert_false(worker_is_ours(&data));
#endif
}

static struct order *flipped;
static atomic_bool flipping;

static void *flip(void *data)
{
	struct perf_event_attr *attr = attr_of(flipped);

	(void)data;
	while (flipping) {
		__atomic_store_n(&attr->type, PERF_TYPE_TRACEPOINT, __ATOMIC_SEQ_CST);
		__atomic_store_n(&attr->size, 4000, __ATOMIC_SEQ_CST);
		__atomic_store_n(&attr->type, PERF_TYPE_SOFTWARE, __ATOMIC_SEQ_CST);
		__atomic_store_n(&attr->size, PERF_ATTR_SIZE_VER5, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* How many were opened. */
static int client_flip(const void *data)
{
	static uint8_t memory[8192];
	pthread_t thread;
	int n = 0;

	flipped = (struct order *)memory;
	*flipped = *(const struct order *)data;
	flipping = true;
	if (pthread_create(&thread, NULL, flip, NULL) != 0)
		return -EAGAIN;
	for (unsigned i = 0; i < 900; i++)
		n += call(flipped->attr, flipped) >= 0;
	flipping = false;
	pthread_join(thread, NULL);
	return n;
}

static void test_flipped_attr(void **state)
{
	struct show *s = *state;
	struct order o = software(0, -1);
	int n;

	SKIP(s);
	s->serve.max_events = 4000;
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_NOTIFY);
	s->stage->caller_result = -EACCES;
	n = show_run(s, client_flip, &o, sizeof(o));
	assert_in_range(n, 0, 900);
	assert_int_equal(s->slot->n_ledger, n);
	for (int i = 0; i < n; i++)
		assert_int_equal(s->slot->ledger[i].type, PERF_TYPE_SOFTWARE);
}

#define SHOW(name) cmocka_unit_test_setup_teardown(name, show_begin, show_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOW(test_cpu_becomes_scope),
		SHOW(test_scope_does_not_see_the_host),
		SHOW(test_self),
		SHOW(test_cloexec_as_asked),
		SHOW(test_thread),
		SHOW(test_no_grant_is_the_callers),
		SHOW(test_grant_that_comes_and_goes),
		SHOW(test_moved_is_asked_again),
		SHOW(test_facts_refused),
		SHOW(test_names_go_by_an_opener),
		SHOW(test_opener_that_ended),
		SHOW(test_another_task),
		SHOW(test_group),
		SHOW(test_cgroup),
		SHOW(test_bad_pointer),
		SHOW(test_sizes),
		SHOW(test_end_of_memory),
		SHOW(test_unknown_flags),
		SHOW(test_other_call),
		cmocka_unit_test(test_whose_call),
		SHOW(test_flipped_attr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
