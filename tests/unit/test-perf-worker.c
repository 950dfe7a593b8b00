/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker on a real listener, with perf events of the kernel's; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "perf-workers.h"

#define SKIP(s)           \
	if ((s)->skipped) \
	return

/* A call as the client makes it; `attr` NULL bytes are software's cpu-clock. */
struct order {
	uint8_t attr[200];
	int32_t pid, cpu, group;
	uint32_t pad;
	uint64_t flags;
};

static struct perf_event_attr *attr_of(struct order *o)
{
	return (struct perf_event_attr *)o->attr;
}

static struct order software(int pid, int cpu)
{
	struct order o = {.pid = pid, .cpu = cpu, .group = -1, .flags = PERF_FLAG_FD_CLOEXEC};

	attr_of(&o)->type = PERF_TYPE_SOFTWARE;
	attr_of(&o)->config = PERF_COUNT_SW_TASK_CLOCK;
	attr_of(&o)->size = PERF_ATTR_SIZE_VER5;
	return o;
}

static int call(const void *attr, const struct order *o)
{
	int fd = (int)syscall(
		SYS_perf_event_open, attr, o->pid, o->cpu, o->group, (unsigned long)o->flags);

	return fd < 0 ? -errno : fd;
}

/*
 * In the client.
 */

static int client_open(const void *data)
{
	const struct order *o = data;

	return call(o->attr, o);
}

static int client_close(const void *data)
{
	return close(*(const int *)data);
}

/* Is it an event, and of what flags? */
static int client_flags(const void *data)
{
	int fd = *(const int *)data;
	uint64_t id = 0;

	if (ioctl(fd, PERF_EVENT_IOC_ID, &id) < 0 || id == 0)
		return -errno;
	return fcntl(fd, F_GETFD);
}

static void burn(void)
{
	for (volatile unsigned i = 0; i < 20000000; i++)
		;
}

/* Does it count what the client does? */
static int client_counts(const void *data)
{
	int fd = *(const int *)data;
	uint64_t before = 0, after = 0;

	if (read(fd, &before, sizeof(before)) != sizeof(before))
		return -errno;
	burn();
	if (read(fd, &after, sizeof(after)) != sizeof(after))
		return -errno;
	return after > before;
}

static int open_software(struct show *s, int pid, int cpu)
{
	struct order o = software(pid, cpu);

	return show_run(s, client_open, &o, sizeof(o));
}

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

	SKIP(s);
	other = fork();
	while (other == 0)
		pause();
	s->stage->trace_result = -EACCES;
	assert_int_equal(open_software(s, other, -1), -EACCES);
	assert_int_equal(s->stage->n_traces, 1);
	s->stage->trace_result = 0;
	assert_true(open_software(s, other, -1) >= 0);
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
	assert_true(open_cgroup(s, s->top, "/cgroup.procs") < 0);
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
	for (unsigned i = 0; i < 2000; i++)
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
	assert_in_range(n, 0, 2000);
	assert_int_equal(s->slot->n_ledger, n);
	for (int i = 0; i < n; i++)
		assert_int_equal(s->slot->ledger[i].type, PERF_TYPE_SOFTWARE);
}

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
	assert_int_equal(s->revoked.disabled, 2);
	assert_int_equal(s->revoked.holders, 1);
	assert_int_equal(s->revoked.killed, 0);
	assert_int_equal(s->revoked.unknown, 0);
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

#include "confine.h"

static void expect_confined(pid_t pid, const char *caps)
{
	char value[64];

	if (!CONFINE)
		return;
	status_line(pid, "CapPrm:\t", value, sizeof(value));
	assert_string_equal(value, caps);
	status_line(pid, "CapEff:\t", value, sizeof(value));
	assert_string_equal(value, caps);
	status_line(pid, "NoNewPrivs:\t", value, sizeof(value));
	assert_string_equal(value, "1");
	status_line(pid, "Seccomp:\t", value, sizeof(value));
	assert_string_equal(value, "2");
}

static void test_confined(void **state)
{
	struct show *s = *state;
	struct order o = software(-1, 0);

	SKIP(s);
	assert_true(open_software(s, 0, -1) >= 0);
	expect_confined(s->worker, "0000004000080004");
	show_worker_kill(s);
	show_worker(s, PERF_SERVE_BROKER);
	assert_int_equal(broker_open(s, &o, 112, -EBADF), 0);
	expect_confined(s->worker, "0000004000080024");
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
		SHOW(test_broker),
		SHOW(test_broker_keeps_order),
		SHOW(test_revoke),
		SHOW(test_revoke_leaves_others),
		SHOW(test_confined),
		SHOW(test_ends_with_the_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
