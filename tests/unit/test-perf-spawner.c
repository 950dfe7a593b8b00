/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The spawner, openers and callers against containers; needs root. Nothing here is judged by a
 * clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/wire.h"
#include "../../daemon/perf/spawner.h"
#include "../../daemon/perf/worker.h"
#include "confine.h"
#include "perfbox.h"

#define CAP_BIT(cap) (UINT64_C(1) << (cap))
/* As Docker has them by default, and without what this test is about. */
#define DOCKER UINT64_C(0xa80425fb)

struct fixture {
	struct box *box;
	int worker_pidfd;
	int core;    /* our end of the worker's channel */
	int spawner; /* the worker's own to the spawner */
	int opener;
};

static struct spawner *spawner;

/* The worker of these tests: hands over its channel to the spawner, so that the test can be it. */
_Noreturn void perf_worker_run(int core, int channel, bool confine)
{
	char byte;

	if (wire_send(core, "x", 1, channel) < 0)
		_exit(1);
	close(channel);
	while (recv(core, &byte, 1, 0) > 0)
		;
	_exit(0);
}

static int setup_all(void **state)
{
	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return spawner_start(CONFINE, &spawner);
}

static int teardown_all(void **state)
{
	spawner = spawner_free(spawner);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];
	char byte;

	*state = f;
	f->core = f->spawner = f->opener = f->worker_pidfd = -EBADF;
	if (!spawner)
		return 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	f->core = fds[0];
	f->worker_pidfd = spawn_worker(spawner, fds[1]);
	assert_true(f->worker_pidfd >= 0);
	close(fds[1]);
	assert_int_equal(wire_recv(f->core, &byte, 1, &f->spawner), 0);
	assert_true(f->spawner >= 0);
	return 0;
}

static void fd_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

static void await_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, BOX_WAIT_MSEC), 1);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fd_end(&f->core);
	fd_end(&f->spawner);
	fd_end(&f->opener);
	if (f->worker_pidfd >= 0)
		await_end(f->worker_pidfd);
	fd_end(&f->worker_pidfd);
	box_free(f->box);
	free(f);
	return 0;
}

static struct fixture *begin(void **state)
{
	if (!spawner)
		skip();
	return *state;
}

static struct perf_order order_of(uint64_t config, pid_t pid, int cpu)
{
	return (struct perf_order){
		.op = PERF_ORDER_OPEN,
		.pid = pid,
		.cpu = cpu,
		.attr.attr = {.type = PERF_TYPE_SOFTWARE,
			.size = PERF_ATTR_SIZE_VER5,
			.config = config,
			.exclude_kernel = 1,
			.exclude_hv = 1},
	};
}

/* The result; what was opened is closed. */
static int order_do(int channel, const struct perf_order *order, int group, int cgroup)
{
	int fd, r = perf_order(channel, order, group, cgroup, &fd);

	if (r == 0)
		close(fd);
	return r;
}

/*
 * Which pids an event's samples have.
 */

static pid_t sampled(int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct perf_event_mmap_page *m =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct {
		struct perf_event_header header;
		uint32_t pid, tid;
	} record;

	assert_ptr_not_equal(m, MAP_FAILED);
	assert_int_equal(poll(&p, 1, BOX_WAIT_MSEC), 1);
	assert_true(__atomic_load_n(&m->data_head, __ATOMIC_ACQUIRE) >= sizeof(record));
	memcpy(&record, (uint8_t *)m + page, sizeof(record));
	munmap(m, 2 * page);
	assert_int_equal(record.header.type, PERF_RECORD_SAMPLE);
	assert_int_equal(record.pid, record.tid);
	return (pid_t)record.pid;
}

static void sample_set(struct perf_attr *attr)
{
	attr->attr.config = PERF_COUNT_SW_CPU_CLOCK;
	attr->attr.sample_period = 1000000;
	attr->attr.sample_type = PERF_SAMPLE_TID;
	attr->attr.wakeup_events = 1;
}

static void test_numbers(void **state)
{
	struct fixture *f = begin(state);
	const struct box_who who = {.uid = 1000};
	struct perf_order order = order_of(0, 2, -1);
	int fd;

	f->box = box_new(true, 0, &who, 1);
	sample_set(&order.attr);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[1].host, &f->opener), 0);
	assert_int_equal(perf_order(f->opener, &order, -EBADF, -EBADF, &fd), 0);
	box_do(f->box, 1, BOX_BURN, 0, 0);
	assert_int_equal(sampled(fd), 2);
	close(fd);
	/* Without it, they are the host's. */
	fd = (int)syscall(SYS_perf_event_open, &order.attr, f->box->task[1].host, -1, -1, 0);
	assert_true(fd >= 0);
	assert_int_equal(sampled(fd), f->box->task[1].host);
	close(fd);
}

static void test_order_wrong(void **state)
{
	struct fixture *f = begin(state);
	struct perf_order order = order_of(PERF_COUNT_SW_DUMMY, 1, -1);

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), 0);
	order.pid = 0;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -ESRCH);
	order.pid = 77;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -ESRCH);
	order.pid = 1;
	order.attr.attr.size = sizeof(order.attr) + 8;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -E2BIG);
	order.attr.attr.size = PERF_ATTR_SIZE_VER5;
	order.flags = PERF_FLAG_PID_CGROUP;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -EBADF);
	order.flags = 0;
	order.has_group = 1;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -EBADF);
	order.has_group = 0;
	order.op = PERF_ORDER_TRACE; /* is a caller's */
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -EINVAL);
	order.op = PERF_ORDER_OPEN;
	order.attr.attr.config = 9999;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -ENOENT);
	/* It serves on. */
	order.attr.attr.config = PERF_COUNT_SW_DUMMY;
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), 0);
}

/* Of the hierarchy that has perf events. */
static int cgroup_open(void)
{
	static const char *const paths[] = {"/sys/fs/cgroup/perf_event",
		"/sys/fs/cgroup/cpu,cpuacct,perf_event", "/sys/fs/cgroup/unified",
		"/sys/fs/cgroup"};

	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct perf_order order = order_of(PERF_COUNT_SW_DUMMY, 0, 0);
		int fd = open(paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		long event = fd < 0 ? -1
				    : syscall(SYS_perf_event_open, &order.attr, fd, 0, -1,
					      PERF_FLAG_PID_CGROUP);

		if (event >= 0) {
			close((int)event);
			return fd;
		}
		if (fd >= 0)
			close(fd);
	}
	skip();
	return -1;
}

static void test_group_and_cgroup(void **state)
{
	struct fixture *f = begin(state);
	struct perf_order order = order_of(PERF_COUNT_SW_DUMMY, 0, 0);
	int cgroup = cgroup_open(), leader, member;
	uint64_t values[3];

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	order.attr.attr.read_format = PERF_FORMAT_GROUP;
	order.has_cgroup = 1;
	assert_int_equal(perf_order(f->opener, &order, -EBADF, cgroup, &leader), 0);
	order.has_group = 1;
	assert_int_equal(perf_order(f->opener, &order, leader, cgroup, &member), 0);
	assert_int_equal(read(leader, values, sizeof(values)), sizeof(values));
	assert_int_equal(values[0], 2);
	close(member);
	/* What is no event, and what is no cgroup. */
	assert_int_equal(order_do(f->opener, &order, cgroup, cgroup), -EBADF);
	assert_int_equal(order_do(f->opener, &order, leader, leader), -EBADF);
	close(leader);
	/* A group without a cgroup. */
	order = order_of(PERF_COUNT_SW_DUMMY, 1, -1);
	order.attr.attr.read_format = PERF_FORMAT_GROUP;
	assert_int_equal(perf_order(f->opener, &order, -EBADF, -EBADF, &leader), 0);
	order.has_group = 1;
	assert_int_equal(perf_order(f->opener, &order, leader, -EBADF, &member), 0);
	assert_int_equal(read(leader, values, sizeof(values)), sizeof(values));
	assert_int_equal(values[0], 2);
	close(member);
	close(leader);
	close(cgroup);
}

/*
 * Callers.
 */

static int as_caller(struct fixture *f, pid_t tid, const struct perf_order *order)
{
	int channel, r = spawn_caller(f->spawner, tid, &channel);

	if (r < 0)
		return r;
	r = order_do(channel, order, -EBADF, -EBADF);
	/* One order, and no more. */
	assert_int_equal(order_do(channel, order, -EBADF, -EBADF), -EPIPE);
	close(channel);
	return r;
}

static int paranoid(void)
{
	FILE *file = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
	int level = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &level), 1);
	fclose(file);
	return level;
}

/* What the kernel says to the task it says to the caller. */
static void test_caller_opens(void **state)
{
	struct fixture *f = begin(state);
	const struct box_who who[] = {{.uid = 1000}};

	f->box = box_new(true, 0, who, 1);
	for (unsigned i = 0; i < 2; i++) {
		struct perf_order own = order_of(PERF_COUNT_SW_TASK_CLOCK, (pid_t)i + 1, -1);
		struct perf_order all = order_of(PERF_COUNT_SW_TASK_CLOCK, -1, 0);
		pid_t tid = f->box->task[i].host;

		assert_int_equal(as_caller(f, tid, &own), box_do(f->box, i, BOX_PERF, 0, 0));
		assert_int_equal(as_caller(f, tid, &all), box_do(f->box, i, BOX_PERF, 0, 1));
		if (paranoid() == 1 || paranoid() == 2) {
			assert_int_equal(as_caller(f, tid, &own), 0);
			assert_int_equal(as_caller(f, tid, &all), -EACCES);
		}
	}
}

/* What may not be dumped may be looked at by itself alone, and no more than others may. */
static void test_caller_undumpable(void **state)
{
	struct fixture *f = begin(state);
	const struct box_who who[] = {{.uid = 1000, .undumpable = true}, {.uid = 1000}};
	struct perf_order own = order_of(PERF_COUNT_SW_TASK_CLOCK, 2, -1);
	struct perf_order other = order_of(PERF_COUNT_SW_TASK_CLOCK, 3, -1);
	struct perf_order unknown = order_of(9999, 2, -1);
	pid_t tid;

	if (paranoid() < 1 || paranoid() > 2)
		skip();
	f->box = box_new(true, 0, who, 2);
	tid = f->box->task[1].host;
	assert_int_equal(box_do(f->box, 1, BOX_PERF, 0, 0), 0);
	assert_int_equal(as_caller(f, tid, &own), PERF_ORDER_ITS_OWN);
	assert_int_equal(as_caller(f, tid, &unknown), -ENOENT);
	assert_int_equal(as_caller(f, tid, &other), 0);
	assert_int_equal(as_caller(f, f->box->task[2].host, &own), -EACCES);
	own.attr.attr.exclude_kernel = 0;
	if (paranoid() == 2)
		assert_int_equal(as_caller(f, tid, &own), -EACCES);
}

/* With the host's own capabilities it may what these allow, and without it may not. */
static void test_caller_host(void **state)
{
	struct fixture *f = begin(state);
	struct perf_order all = order_of(PERF_COUNT_SW_TASK_CLOCK, -1, 0);

	assert_int_equal(as_caller(f, getpid(), &all), 0);
	f->box = box_new(false, DOCKER, NULL, 0);
	assert_int_equal(
		as_caller(f, f->box->task[0].host, &all), box_do(f->box, 0, BOX_PERF, 0, 1));
	if (paranoid() > 0)
		assert_int_equal(as_caller(f, f->box->task[0].host, &all), -EACCES);
}

static int trace(struct fixture *f, unsigned at, pid_t pid, int *ret_fd)
{
	struct perf_order order = {.op = PERF_ORDER_TRACE, .pid = pid};
	int channel, r;

	assert_int_equal(spawn_caller(f->spawner, f->box->task[at].host, &channel), 0);
	r = perf_order(channel, &order, -EBADF, -EBADF, ret_fd);
	close(channel);
	return r;
}

static void test_trace(void **state)
{
	struct fixture *f = begin(state);
	static const struct box_who who[] = {
		{.uid = 1000},			   /* 2 */
		{.uid = 1000},			   /* 3 */
		{.uid = 1001},			   /* 4 */
		{.uid = 1000, .undumpable = true}, /* 5, and 6 its thread */
		{.uid = 1000, .thread = true},	   /* 6, 7 */
	};
	/* By 2. 8 does not exist. */
	static const int expected[] = {[1] = -EACCES, 0, 0, -EACCES, -EACCES, 0, 0, -ESRCH};

	f->box = box_new(true, 0, who, 5);
	for (pid_t pid = 1; pid < 9; pid++) {
		for (unsigned at = 0; at < 5; at++) {
			int fd = -1, r = trace(f, at, pid, &fd);
			int oracle = box_do(f->box, at, BOX_READ, pid, 0);

			assert_int_equal(r == 0, oracle == 0);
			if (at == 1)
				assert_int_equal(r, expected[pid]);
			if (r == 0)
				assert_true(perf_target_alive(fd));
			if (r == 0)
				close(fd);
		}
	}
	assert_int_equal(trace(f, 0, 0, NULL), -ESRCH);
	assert_int_equal(trace(f, 0, -1, NULL), -ESRCH);
}

/* An undumpable process is its own. */
static void test_trace_own(void **state)
{
	struct fixture *f = begin(state);
	static const struct box_who who[] = {{.uid = 1000, .undumpable = true, .thread = true}};
	int fd;

	f->box = box_new(true, 0, who, 1);
	assert_int_equal(trace(f, 1, 2, &fd), 0);
	close(fd);
	assert_int_equal(trace(f, 1, 3, &fd), 0);
	close(fd);
	assert_int_equal(trace(f, 1, 1, &fd), -EACCES);
}

static void test_target_ends(void **state)
{
	struct fixture *f = begin(state);
	static const struct box_who who[] = {{.uid = 1000}, {.uid = 1000}, {.thread = true}};
	int fd, thread, pidfd;

	f->box = box_new(true, 0, who, 3);
	assert_int_equal(trace(f, 1, 3, &fd), 0);
	assert_int_equal(trace(f, 0, 5, &thread), 0);
	assert_true(perf_target_alive(fd));
	assert_true(perf_target_alive(thread));
	for (unsigned i = 2; i < 4; i++) {
		pidfd = pidfd_open(f->box->task[i].host, 0);
		assert_true(pidfd >= 0);
		kill(f->box->task[i].host, SIGKILL);
		await_end(pidfd);
		close(pidfd);
	}
	assert_false(perf_target_alive(fd));
	assert_false(perf_target_alive(thread));
	close(fd);
	close(thread);
}

/*
 * What a container can do to them.
 */

/* Of that name, in the box's pid namespace. */
static pid_t find(const struct box *b, const char *comm)
{
	DIR *dir = opendir("/proc");
	struct stat ns, other;
	struct dirent *d;
	pid_t found = -1;
	char path[300];

	assert_non_null(dir);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", b->task[0].host);
	assert_int_equal(stat(path, &ns), 0);
	while (found < 0 && (d = readdir(dir))) {
		char name[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/ns/pid", d->d_name);
		if (atoi(d->d_name) <= 0 || stat(path, &other) < 0 || other.st_ino != ns.st_ino)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", d->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) &&
			strncmp(name, comm, strlen(comm)) == 0)
			found = atoi(d->d_name);
		if (file)
			fclose(file);
	}
	closedir(dir);
	return found;
}

static void test_untouchable(void **state)
{
	struct fixture *f = begin(state);
	pid_t opener, number;

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	opener = find(f->box, "cgmd-opener");
	assert_true(opener > 0);
	number = box_number(opener);
	assert_int_equal(box_do(f->box, 0, BOX_KILL, number, 0), -EPERM);
	assert_int_equal(box_do(f->box, 0, BOX_KILL, number, SIGKILL), -EPERM);
	assert_int_equal(box_do(f->box, 0, BOX_SEIZE, number, 0), -EPERM);
	assert_int_equal(box_do(f->box, 0, BOX_READ, number, 0), -EPERM);
}

static int stat_of(pid_t pid, struct stat *ret)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return stat(path, ret);
}

/* Who may have executed something since is taken for who he was, with no right that came since. */
static void test_caller_loose(void **state)
{
	struct fixture *f = begin(state);
	const struct box_who who = {.uid = 1000};
	struct perf_order order = {.op = PERF_ORDER_TRACE, .pid = 1};
	struct stat st;
	pid_t tid;
	int fd;

	f->box = box_new(true, 0, &who, 1);
	tid = f->box->task[1].host;
	assert_int_equal(stat_of(tid, &st), 0);
	assert_int_equal(
		spawn_caller_loose(f->spawner, tid, st.st_uid + 1, st.st_gid, &f->opener), -EPERM);
	assert_int_equal(
		spawn_caller_loose(f->spawner, tid, st.st_uid, st.st_gid + 1, &f->opener), -EPERM);
	assert_int_equal(spawn_caller_loose(f->spawner, tid, 0, 0, &f->opener), -EPERM);
	assert_int_equal(spawn_caller_loose(f->spawner, tid, st.st_uid, st.st_gid, &f->opener), 0);
	assert_int_equal(perf_order(f->opener, &order, -EBADF, -EBADF, &fd), -EACCES);
	fd_end(&f->opener);
}

/* It has the task's own ids, so it may be ended; but not traced. */
static void test_caller_untraceable(void **state)
{
	struct fixture *f = begin(state);
	const struct box_who who = {.uid = 1000};
	struct perf_order order = {.op = PERF_ORDER_TRACE, .pid = 2};
	pid_t number;

	f->box = box_new(true, 0, &who, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(spawn_caller(f->spawner, f->box->task[i].host, &f->opener), 0);
		number = box_number(find(f->box, "cgmd-caller"));
		assert_true(number > 0);
		for (unsigned by = 0; by < 2; by++) {
			assert_int_equal(box_do(f->box, by, BOX_SEIZE, number, 0), -EPERM);
			assert_int_equal(box_do(f->box, by, BOX_READ, number, 0), -EPERM);
		}
		assert_int_equal(box_do(f->box, 0, BOX_KILL, number, SIGKILL), 0);
		assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -EPIPE);
		fd_end(&f->opener);
	}
}

/* No user namespace: an opener that nobody could trace may be stopped and killed at most. */
static void test_docker(void **state)
{
	struct fixture *f = begin(state);
	struct perf_order order = order_of(PERF_COUNT_SW_DUMMY, 1, -1);
	int pidfd;
	pid_t number;

	f->box = box_new(false, DOCKER | CAP_BIT(CAP_KILL), NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), 0);
	pidfd = pidfd_open(find(f->box, "cgmd-opener"), 0);
	assert_true(pidfd >= 0);
	number = box_number(find(f->box, "cgmd-opener"));
	assert_int_equal(box_do(f->box, 0, BOX_SEIZE, number, 0), -EPERM);
	assert_int_equal(box_do(f->box, 0, BOX_READ, number, 0), -EPERM);
	assert_int_equal(box_do(f->box, 0, BOX_KILL, number, SIGSTOP), 0);
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -ETIMEDOUT);
	fd_end(&f->opener);
	/* It is stopped and sees nothing of that; with the worker it goes. */
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), 0);
	fd_end(&f->core);
	fd_end(&f->spawner);
	await_end(pidfd);
	close(pidfd);
}

static void test_docker_tracer(void **state)
{
	struct fixture *f = begin(state);

	f->box = box_new(false, DOCKER | CAP_BIT(CAP_SYS_PTRACE), NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), -EPERM);
	assert_int_equal(find(f->box, "cgmd-opener"), -1);
}

/*
 * Their ends.
 */

static void test_channel_end(void **state)
{
	struct fixture *f = begin(state);
	int pidfd;

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	pidfd = pidfd_open(find(f->box, "cgmd-opener"), 0);
	assert_true(pidfd >= 0);
	fd_end(&f->opener);
	await_end(pidfd);
	close(pidfd);
	assert_int_equal(spawn_caller(f->spawner, f->box->task[0].host, &f->opener), 0);
	pidfd = pidfd_open(find(f->box, "cgmd-caller"), 0);
	assert_true(pidfd >= 0);
	fd_end(&f->opener);
	await_end(pidfd);
	close(pidfd);
}

/* Nobody who is not needed stays in a container. */
static void test_idle(void **state)
{
	struct fixture *f = begin(state);
	struct perf_order order = order_of(PERF_COUNT_SW_DUMMY, 1, -1);
	int pidfd;

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	pidfd = pidfd_open(find(f->box, "cgmd-opener"), 0);
	assert_true(pidfd >= 0);
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), 0);
	await_end(pidfd);
	close(pidfd);
	assert_int_equal(order_do(f->opener, &order, -EBADF, -EBADF), -EPIPE);
}

/* Of more than eight the first have ended. */
static void test_many(void **state)
{
	struct fixture *f = begin(state);
	struct perf_order order = order_of(PERF_COUNT_SW_DUMMY, 1, -1);
	int channels[12], pidfd;

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &channels[0]), 0);
	pidfd = pidfd_open(find(f->box, "cgmd-opener"), 0);
	assert_true(pidfd >= 0);
	for (unsigned i = 1; i < 12; i++)
		assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &channels[i]), 0);
	await_end(pidfd);
	close(pidfd);
	assert_int_equal(order_do(channels[0], &order, -EBADF, -EBADF), -EPIPE);
	assert_int_equal(order_do(channels[11], &order, -EBADF, -EBADF), 0);
	for (unsigned i = 0; i < 12; i++)
		close(channels[i]);
}

static void test_gone(void **state)
{
	struct fixture *f = begin(state);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(spawn_opener(f->spawner, pid, &f->opener), -ESRCH);
	assert_int_equal(spawn_caller(f->spawner, pid, &f->opener), -ESRCH);
	assert_int_equal(spawn_opener(f->spawner, 0, &f->opener), -EINVAL);
	assert_int_equal(spawn_opener(f->spawner, -1, &f->opener), -EINVAL);
}

/* When it goes, so do its workers and what it made for them. */
static void test_spawner_end(void **state)
{
	struct fixture *f = begin(state);
	int pidfd;

	f->box = box_new(true, 0, NULL, 0);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), 0);
	pidfd = pidfd_open(find(f->box, "cgmd-opener"), 0);
	assert_true(pidfd >= 0);
	spawner = spawner_free(spawner);
	await_end(pidfd);
	await_end(f->worker_pidfd);
	close(pidfd);
	assert_int_equal(spawn_opener(f->spawner, f->box->task[0].host, &f->opener), -EPIPE);
	assert_int_equal(spawner_start(CONFINE, &spawner), 0);
}

/* Where it could not do its work, it says so and there is none. */
static void test_poor(void **state)
{
	int status;
	pid_t pid;

	begin(state);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct spawner *poor = NULL;

		box_caps(DOCKER);
		_exit(spawner_start(CONFINE, &poor) == -EPERM && !poor ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_numbers),
		TEST(test_order_wrong),
		TEST(test_group_and_cgroup),
		TEST(test_caller_opens),
		TEST(test_caller_undumpable),
		TEST(test_caller_host),
		TEST(test_trace),
		TEST(test_trace_own),
		TEST(test_target_ends),
		TEST(test_untouchable),
		TEST(test_caller_loose),
		TEST(test_caller_untraceable),
		TEST(test_docker),
		TEST(test_docker_tracer),
		TEST(test_channel_end),
		TEST(test_idle),
		TEST(test_many),
		TEST(test_gone),
		TEST(test_spawner_end),
		TEST(test_poor),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
