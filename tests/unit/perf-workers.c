/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "perf-workers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/hierarchy.h"
#include "../../daemon/wire.h"
#include "confine.h"
#include "frames.h"

static struct hierarchies all;
static struct stage *stage;

/*
 * The spawner's part, in the worker.
 */

#define OPENER 1
#define CALLER 2

static int kind_of[1024];

static int channel_new(int kind)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0 && fd < (int)(sizeof(kind_of) / sizeof(kind_of[0])))
		kind_of[fd] = kind;
	return fd;
}

int spawn_opener(int spawner_channel, pid_t tid, int *ret_channel)
{
	(void)spawner_channel, (void)tid;
	stage->n_openers++;
	*ret_channel = channel_new(OPENER);
	return 0;
}

int spawn_caller(int spawner_channel, pid_t tid, int *ret_channel)
{
	(void)spawner_channel, (void)tid;
	stage->n_callers++;
	*ret_channel = channel_new(CALLER);
	return 0;
}

int spawn_caller_loose(int spawner_channel, pid_t tid, uid_t uid, gid_t gid, int *ret_channel)
{
	(void)uid, (void)gid;
	return spawn_caller(spawner_channel, tid, ret_channel);
}

int perf_order(
	int channel, const struct perf_order *order, int group_fd, int cgroup_fd, int *ret_fd)
{
	if (order->op == PERF_ORDER_TRACE) {
		stage->n_traces++;
		if (stage->traces_left > 0 && --stage->traces_left == 0)
			stage->trace_result = -EACCES;
		*ret_fd = stage->trace_result < 0 ? -EBADF : pidfd_open(order->pid, 0);
		return stage->trace_result;
	}
	stage->last = *order;
	if (kind_of[channel] == CALLER && stage->caller_result < 0)
		return stage->caller_result;
	if (kind_of[channel] == OPENER && stage->openers_that_die > 0) {
		stage->openers_that_die--;
		return -EPIPE;
	}
	*ret_fd = (int)syscall(SYS_perf_event_open, &order->attr,
		order->has_cgroup ? cgroup_fd : order->pid, order->cpu,
		order->has_group ? group_fd : -1, (unsigned long)order->flags);
	return *ret_fd < 0 ? -errno : 0;
}

_Noreturn void perf_worker_lxc(struct worker *w)
{
	worker_done(w);
}

_Noreturn void perf_worker_oci(struct worker *w)
{
	worker_done(w);
}

/*
 * The worker.
 */

void show_send(struct show *s, uint32_t type, const void *data, size_t size, int fd)
{
	struct worker end = {.core = s->core};

	assert_int_equal(worker_send(&end, type, data, size, fd), 0);
}

void show_worker(struct show *s, enum perf_serve_kind kind)
{
	unsigned slot = kind == PERF_SERVE_BROKER ? 1 : 0;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	s->core = pair[0];
	s->slot = &s->registry->slot[slot];
	s->worker = fork();
	assert_true(s->worker >= 0);
	if (s->worker == 0) {
		close(pair[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		perf_worker_run(pair[1], -EBADF, CONFINE);
	}
	close(pair[1]);
	s->serve.kind = kind;
	s->serve.slot = slot;
	show_send(s, PERF_REGISTRY, NULL, 0, s->registry_fd);
	show_send(s, PERF_SERVE, &s->serve, sizeof(s->serve),
		kind == PERF_SERVE_NOTIFY ? s->listener : -EBADF);
}

static int reap(pid_t *pid)
{
	int status = -1;

	if (*pid > 0)
		while (waitpid(*pid, &status, 0) < 0 && errno == EINTR)
			;
	*pid = 0;
	return status;
}

void show_worker_kill(struct show *s)
{
	if (s->worker > 0)
		kill(s->worker, SIGKILL);
	reap(&s->worker);
	close_fd(&s->core);
}

static void facts_answer(struct show *s, pid_t tid)
{
	static struct perf_facts_are facts;
	struct stat st;

	assert_int_equal(fstat(s->top, &st), 0);
	facts = (struct perf_facts_are){
		.tid = tid,
		.result = s->facts_result,
		.generation = atomic_load(&s->registry->generation),
		.scope_id = st.st_ino,
		.own_pidns = s->own_pidns,
		.grant = s->grant,
	};
	show_send(s, PERF_FACTS_ARE, &facts, sizeof(facts), s->facts_result < 0 ? -EBADF : s->top);
}

/* 0: the worker has ended. */
static bool core_take(struct show *s)
{
	struct packet *p = packet_take(s->core);
	struct perf_ask ask = {0};

	if (!p)
		return false;
	if (p->size == sizeof(ask))
		memcpy(&ask, p->data, sizeof(ask));
	switch (p->type) {
	case PERF_FACTS:
		s->n_facts++;
		if (!s->silent)
			facts_answer(s, ask.tid);
		break;
	case PERF_NEWS:
		assert_true(ask.news < PERF_NEWS_MAX);
		s->n_news[ask.news]++;
		break;
	case PERF_DONE:
		s->done = true;
		break;
	case PERF_OPENED:
		assert_int_equal(p->size, sizeof(s->opened));
		memcpy(&s->opened, p->data, sizeof(s->opened));
		close_fd(&s->opened_fd);
		s->opened_fd = TAKE_FD(p->fd);
		s->n_opened++;
		break;
	case PERF_REVOKED:
		assert_int_equal(p->size, sizeof(s->revoked));
		memcpy(&s->revoked, p->data, sizeof(s->revoked));
		s->n_revoked++;
		break;
	default:
		fail_msg("a packet of type %u", p->type);
	}
	packet_free(p);
	return true;
}

bool show_until(struct show *s, bool (*is_so)(struct show *s))
{
	while (!is_so(s) && !patience_is_over()) {
		struct pollfd p = {.fd = s->core, .events = POLLIN};

		if (poll(&p, 1, 20) > 0 && !core_take(s))
			break;
	}
	return is_so(s);
}

/*
 * The client.
 */

struct question {
	client_fn fn;
	uint8_t data[CLIENT_DATA_MAX];
};

static int trap(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int fd = -1;

	if (filter &&
		seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(perf_event_open), 0) == 0 &&
		seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(acct), 0) == 0 &&
		seccomp_load(filter) == 0)
		fd = seccomp_notify_fd(filter);
	return fd;
}

static _Noreturn void client(int sock)
{
	struct question q;
	int fd, result = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The test moves it first. */
	if (wire_recv(sock, &q, sizeof(q), &fd) < 0)
		_exit(2);
	fd = trap();
	if (wire_send(sock, &result, sizeof(result), fd) < 0)
		_exit(3);
	close(fd);
	while (wire_recv(sock, &q, sizeof(q), &fd) == 0) {
		result = q.fn(q.data);
		if (wire_send(sock, &result, sizeof(result), -EBADF) < 0)
			break;
	}
	_exit(0);
}

void show_run_begin(struct show *s, client_fn fn, const void *data, size_t size)
{
	struct question q = {.fn = fn};

	assert_true(size <= sizeof(q.data));
	if (size > 0)
		memcpy(q.data, data, size);
	assert_int_equal(wire_send(s->client_sock, &q, sizeof(q), -EBADF), 0);
}

int show_result(struct show *s)
{
	for (;;) {
		struct pollfd p[] = {{.fd = s->client_sock, .events = POLLIN},
			{.fd = s->core, .events = POLLIN}};
		int result, fd;

		assert_false(patience_is_over());
		if (poll(p, 2, 1000) <= 0)
			continue;
		if (p[1].revents && !core_take(s))
			fail_msg("the worker has ended: %x", reap(&s->worker));
		if (!p[0].revents)
			continue;
		assert_int_equal(wire_recv(s->client_sock, &result, sizeof(result), &fd), 0);
		return result;
	}
}

int show_run(struct show *s, client_fn fn, const void *data, size_t size)
{
	show_run_begin(s, fn, data, size);
	return show_result(s);
}

static void client_begin(struct show *s)
{
	struct question q = {0};
	int pair[2], result;
	char pid[16];
	int procs = openat(s->top, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	assert_true(procs >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	s->client = fork();
	assert_true(s->client >= 0);
	if (s->client == 0) {
		close(pair[0]);
		client(pair[1]);
	}
	close(pair[1]);
	s->client_sock = pair[0];
	assert_true(write(procs, pid, snprintf(pid, sizeof(pid), "%d", (int)s->client)) > 0);
	close(procs);
	assert_int_equal(wire_send(s->client_sock, &q, sizeof(q), -EBADF), 0);
	assert_int_equal(wire_recv(s->client_sock, &result, sizeof(result), &s->listener), 0);
	assert_true(s->listener >= 0);
}

/*
 * All of it.
 */

static void name_of(char *buf, size_t size)
{
	snprintf(buf, size, "cgmd-test-perf-%d", (int)getpid());
}

static const struct hierarchy *host(void)
{
	const struct hierarchy *h;
	char what[64];

	if (geteuid() != 0 ||
		(all.n == 0 && hierarchies_discover(&all, NULL, NULL, what, sizeof(what)) < 0))
		return NULL;
	h = hierarchy_find(&all, "perf_event", strlen("perf_event"));
	return h ? h : hierarchy_find(&all, "unified", strlen("unified"));
}

static bool can_open(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr)};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* On v2 cgroups have perf's part only once the kernel has gone over the controllers of any. */
static void implicit_begin(int root_fd)
{
	int fd = openat(root_fd, "cgroup.subtree_control", O_RDWR | O_CLOEXEC);
	char text[8];

	if (fd >= 0 && read(fd, text, sizeof(text)) <= 1)
		(void)(write(fd, "+pids", 5) == 5 && write(fd, "-pids", 5));
	close_fd(&fd);
}

int show_begin(void **state)
{
	struct show *s = calloc(1, sizeof(*s));
	const struct hierarchy *h = host();
	char name[32];

	assert_non_null(s);
	*state = s;
	s->core = s->listener = s->client_sock = s->opened_fd = s->top = s->below = -EBADF;
	name_of(name, sizeof(name));
	if (!h || !can_open() || mkdirat(h->root_fd, name, 0755) < 0) {
		print_message("not root, no cgroup2 that can be written, or no perf: skipped\n");
		s->skipped = true;
		return 0;
	}
	patience_begin();
	implicit_begin(h->root_fd);
	s->top = openat(h->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(s->top, "below", 0755), 0);
	s->below = openat(s->top, "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->registry_fd = perf_registry_new(&s->registry);
	assert_true(s->registry_fd >= 0);
	assert_int_equal(perf_slot_take(s->registry, PERF_SLOT_NOTIFY, 0), 0);
	assert_int_equal(perf_slot_take(s->registry, PERF_SLOT_BROKER, 0), 1);
	s->stage = stage = mmap(
		NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(stage != MAP_FAILED);
	s->own_pidns = true;
	s->grant.cpu = true;
	s->serve = (struct perf_serve){.rate = 100000, .burst = 100000, .max_events = 64};
	client_begin(s);
	show_worker(s, PERF_SERVE_NOTIFY);
	return 0;
}

int show_end(void **state)
{
	struct show *s = *state;
	char name[32];

	if (s->skipped) {
		free(s);
		return 0;
	}
	if (s->client > 0)
		kill(s->client, SIGKILL);
	reap(&s->client);
	show_worker_kill(s);
	close_fd(&s->client_sock);
	close_fd(&s->listener);
	close_fd(&s->opened_fd);
	close_fd(&s->top);
	close_fd(&s->below);
	perf_registry_unmap(s->registry);
	close(s->registry_fd);
	munmap(s->stage, sizeof(*s->stage));
	name_of(name, sizeof(name));
	for (unsigned i = 0; i < 100; i++) {
		char below[48];

		snprintf(below, sizeof(below), "%s/below", name);
		unlinkat(host()->root_fd, below, AT_REMOVEDIR);
		if (unlinkat(host()->root_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			break;
		usleep(10000); /* who was killed is still on its way out */
	}
	free(s);
	assert_false(patience_end());
	return 0;
}

struct perf_event_attr *attr_of(struct order *o)
{
	return (struct perf_event_attr *)o->attr;
}

struct order software(int pid, int cpu)
{
	struct order o = {.pid = pid, .cpu = cpu, .group = -1, .flags = PERF_FLAG_FD_CLOEXEC};

	attr_of(&o)->type = PERF_TYPE_SOFTWARE;
	attr_of(&o)->config = PERF_COUNT_SW_TASK_CLOCK;
	attr_of(&o)->size = PERF_ATTR_SIZE_VER5;
	return o;
}

int call(const void *attr, const struct order *o)
{
	int fd = (int)syscall(
		SYS_perf_event_open, attr, o->pid, o->cpu, o->group, (unsigned long)o->flags);

	return fd < 0 ? -errno : fd;
}

/*
 * In the client.
 */

int client_open(const void *data)
{
	const struct order *o = data;

	return call(o->attr, o);
}

int client_close(const void *data)
{
	return close(*(const int *)data);
}

/* Is it an event, and of what flags? */
int client_flags(const void *data)
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
int client_counts(const void *data)
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

int open_software(struct show *s, int pid, int cpu)
{
	struct order o = software(pid, cpu);
	int r = show_run(s, client_open, &o, sizeof(o));

	if (r < 0)
		print_message("perf_event_open of %d, %d: %s\n", pid, cpu, strerror(-r));
	return r;
}
