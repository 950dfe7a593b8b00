/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Perf in the core, with workers that are this test: what it says to them, what it believes of what
 * they say, and what becomes of a slot when they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/manager.h"
#include "../../daemon/op.h"
#include "../../daemon/perf/perf-core.h"
#include "frames.h"

#define WORKERS_MAX_HERE 32
#define MINE 1000
#define OTHERS 2000

/* A worker: its end of the channel, and a process to be killed. */
static struct fake {
	int channel;
	pid_t pid;
} workers[WORKERS_MAX_HERE];
static unsigned n_workers;
static int spawn_error;

/* What the keeper holds. */
static int kept[PERF_SLOTS_MAX], kept_registry;
static pid_t asked_about;
static int facts_error;

int __wrap_spawner_pidfd(const struct spawner *s);
int __wrap_spawn_worker(struct spawner *s, int channel);
int __wrap_keeper_open(struct spawner *s, const char *path, struct keeper **ret, int *ret_registry,
	int listener[PERF_SLOTS_MAX]);
struct keeper *__wrap_keeper_free(struct keeper *k);
int __wrap_keeper_store_registry(struct keeper *k, int fd);
int __wrap_keeper_store(struct keeper *k, unsigned slot, int listener);
int __wrap_keeper_drop(struct keeper *k, unsigned slot);
int __wrap_perf_facts_of(
	struct manager *m, pid_t tid, struct perf_facts_are *ret, int *ret_scope_fd);
void __wrap_manager_fail(struct manager *m, int err, const char *what);

static int never = -EBADF;

int __wrap_spawner_pidfd(const struct spawner *s)
{
	(void)s;
	return never;
}

int __wrap_spawn_worker(struct spawner *s, int channel)
{
	struct fake *w = &workers[n_workers];
	int gate[2];
	char c;

	(void)s;
	if (spawn_error)
		return spawn_error;
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	assert_true(n_workers < WORKERS_MAX_HERE);
	w->channel = fcntl(channel, F_DUPFD_CLOEXEC, 3);
	w->pid = fork();
	if (w->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		closefrom(3);
		for (;;)
			pause();
	}
	n_workers++;
	/* Until it has closed what it has of ours. */
	close(gate[1]);
	assert_int_equal(read(gate[0], &c, 1), 0);
	close(gate[0]);
	return pidfd_open(w->pid, 0);
}

int __wrap_keeper_open(struct spawner *s, const char *path, struct keeper **ret, int *ret_registry,
	int listener[PERF_SLOTS_MAX])
{
	(void)s, (void)path;
	*ret = NULL;
	if (kept_registry >= 0)
		*ret_registry = fcntl(kept_registry, F_DUPFD_CLOEXEC, 3);
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		if (kept[i] >= 0)
			listener[i] = fcntl(kept[i], F_DUPFD_CLOEXEC, 3);
	return 0;
}

struct keeper *__wrap_keeper_free(struct keeper *k)
{
	(void)k;
	return NULL;
}

int __wrap_keeper_store_registry(struct keeper *k, int fd)
{
	(void)k;
	close_fd(&kept_registry);
	kept_registry = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return 0;
}

int __wrap_keeper_store(struct keeper *k, unsigned slot, int listener)
{
	(void)k;
	assert_true(kept[slot] < 0);
	kept[slot] = fcntl(listener, F_DUPFD_CLOEXEC, 3);
	return 0;
}

int __wrap_keeper_drop(struct keeper *k, unsigned slot)
{
	(void)k;
	close_fd(&kept[slot]);
	return 0;
}

int __wrap_perf_facts_of(
	struct manager *m, pid_t tid, struct perf_facts_are *ret, int *ret_scope_fd)
{
	(void)m;
	asked_about = tid;
	if (facts_error)
		return facts_error;
	ret->scope_id = 77;
	ret->grant.cpu = true;
	*ret_scope_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

void __wrap_manager_fail(struct manager *m, int err, const char *what)
{
	(void)m, (void)err;
	fail_msg("%s", what);
}

struct fixture {
	struct manager manager;
	struct options options;
	struct perf *perf;
	char dir[64], lxc[80], oci[80];
	unsigned n_done;
	unsigned fds_before;
};

static unsigned n_done;

static void on_go(struct waiter *w)
{
	(void)w;
	fail();
}

static void begin(struct fixture *f)
{
	assert_int_equal(perf_new(&f->manager, (struct spawner *)(uintptr_t)1, NULL, &f->perf), 0);
	assert_null(perf_off(f->perf));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	patience_begin();
	strcpy(f->dir, "/tmp/test-perf-core-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->lxc, sizeof(f->lxc), "%s/lxc", f->dir);
	snprintf(f->oci, sizeof(f->oci), "%s/oci", f->dir);
	f->options = (struct options){.bpffs = "/nonexistent",
		.perf_events_max = 64,
		.perf_rate = 10,
		.perf_listeners_max = 2,
		.lxc_socket = f->lxc,
		.oci_socket = f->oci,
		.lxc_next = "/next"};
	f->manager.options = &f->options;
	f->manager.proc_fd = -EBADF;
	kept_registry = -EBADF;
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		kept[i] = -EBADF;
	n_workers = n_done = 0;
	spawn_error = facts_error = 0;
	f->fds_before = count_fds();
	never = eventfd(0, EFD_CLOEXEC);
	assert_true(sd_event_new(&f->manager.event) >= 0);
	assert_true(accounts_init(&f->manager.accounts, f->manager.event, on_go) >= 0);
	begin(f);
	*state = f;
	return 0;
}

static void fakes_end(void)
{
	for (unsigned i = 0; i < n_workers; i++) {
		close_fd(&workers[i].channel);
		if (workers[i].pid > 0) {
			kill(workers[i].pid, SIGKILL);
			waitpid(workers[i].pid, NULL, 0);
		}
	}
	n_workers = 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	unsigned after;

	perf_free(f->perf);
	fakes_end();
	accounts_done(&f->manager.accounts);
	sd_event_unref(f->manager.event);
	close_fd(&kept_registry);
	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		close_fd(&kept[i]);
	close_fd(&never);
	after = count_fds();
	assert_int_equal(after, f->fds_before);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	assert_false(patience_end());
	return 0;
}

/*
 * A worker's part.
 */

static struct heard {
	struct perf_head head;
	union {
		struct perf_serve serve;
		struct perf_facts_are facts;
		struct perf_open open;
		struct perf_revoke revoke;
	};
} heard;

/* The next packet; the fd in it, -EBADF: none. */
static int hear(unsigned w, size_t size)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control;
	struct iovec iov = {&heard, sizeof(heard)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	int fd = -EBADF;

	assert_int_equal(recvmsg(workers[w].channel, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC),
		sizeof(heard.head) + size);
	assert_int_equal(heard.head.zero, 0);
	if (CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static bool is_silent(unsigned w)
{
	struct pollfd p = {.fd = workers[w].channel, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

static bool is_closed(unsigned w)
{
	struct pollfd p = {.fd = workers[w].channel, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

static void say(unsigned w, uint32_t type, const void *data, size_t size, int fd)
{
	unsigned char packet[sizeof(struct perf_head) + 256] = {0};

	memcpy(packet, &type, sizeof(type));
	if (size)
		memcpy(packet + sizeof(struct perf_head), data, size);
	assert_int_equal(send_fds(workers[w].channel, packet, sizeof(struct perf_head) + size, &fd,
				 fd >= 0, 0),
		sizeof(struct perf_head) + size);
}

/* Whatever there is to do. */
static void turn(struct fixture *f)
{
	while (sd_event_run(f->manager.event, 0) > 0)
		;
}

static void die(struct fixture *f, unsigned w)
{
	kill(workers[w].pid, SIGKILL);
	assert_int_equal(waitpid(workers[w].pid, NULL, 0), workers[w].pid);
	workers[w].pid = 0;
	turn(f);
}

/* Whether the core has ended it. */
static bool was_killed(unsigned w)
{
	int status;

	if (waitpid(workers[w].pid, &status, WNOHANG) == 0) {
		/* The signal is on its way, or was never sent. */
		for (unsigned i = 0; i < 100; i++) {
			if (waitpid(workers[w].pid, &status, WNOHANG) != 0)
				break;
			usleep(1000);
			if (i == 99)
				return false;
		}
	}
	workers[w].pid = 0;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* A seccomp listener is to the core what can be polled: this one has users as long as `*ret_users`
 * is open. */
static int listener_new(int *ret_users)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_users = fds[1];
	return fds[0];
}

/* The two first packets, of a listener: its slot. */
static uint32_t hear_begin(unsigned w, enum perf_serve_kind kind)
{
	int fd = hear(w, 0);

	assert_int_equal(heard.head.type, PERF_REGISTRY);
	assert_true(fd >= 0);
	close(fd);
	fd = hear(w, sizeof(struct perf_serve));
	assert_int_equal(heard.head.type, PERF_SERVE);
	assert_int_equal(heard.serve.kind, kind);
	assert_int_equal(heard.serve.rate, 10);
	assert_int_equal(heard.serve.burst, 4096);
	assert_int_equal(heard.serve.max_events, 64);
	assert_string_equal(heard.serve.next, "/next");
	if (kind == PERF_SERVE_BROKER)
		assert_true(fd < 0);
	else
		assert_true(fd >= 0);
	close_fd(&fd);
	return heard.serve.slot;
}

static uint32_t attach(struct fixture *f, uint64_t account, int *ret_users)
{
	unsigned before = n_workers;

	assert_int_equal(perf_attach(f->perf, account, listener_new(ret_users)), 0);
	assert_int_equal(n_workers, before + 1);
	return hear_begin(before, PERF_SERVE_NOTIFY);
}

static unsigned n_slots(struct fixture *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		n += atomic_load(&f->perf->registry->slot[i].kind) != PERF_SLOT_FREE;
	return n;
}

static void test_attach(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	assert_true(kept[slot] >= 0);
	assert_int_equal(atomic_load(&f->perf->registry->slot[slot].kind), PERF_SLOT_NOTIFY);
	assert_int_equal(f->perf->registry->slot[slot].account, MINE);
	close(users);
}

static void test_quota(void **state)
{
	struct fixture *f = *state;
	int users[4], more;

	attach(f, MINE, &users[0]);
	attach(f, MINE, &users[1]);
	assert_int_equal(perf_attach(f->perf, MINE, listener_new(&more)), -EDQUOT);
	close(more);
	assert_int_equal(n_slots(f), 2);
	attach(f, OTHERS, &users[2]);
	/* One that ends makes room. */
	say(0, PERF_DONE, NULL, 0, -EBADF);
	die(f, 0);
	attach(f, MINE, &users[3]);
	for (unsigned i = 0; i < 4; i++)
		close(users[i]);
}

static void test_host_root(void **state)
{
	struct fixture *f = *state;
	int users[4];

	for (unsigned i = 0; i < 4; i++)
		attach(f, 0, &users[i]);
	for (unsigned i = 0; i < 4; i++)
		close(users[i]);
}

static void test_facts(void **state)
{
	struct perf_ask ask = {.tid = 4711};
	struct fixture *f = *state;
	int users, fd;

	attach(f, MINE, &users);
	perf_changed(f->perf);
	say(0, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	turn(f);
	assert_int_equal(asked_about, 4711);
	fd = hear(0, sizeof(struct perf_facts_are));
	assert_int_equal(heard.head.type, PERF_FACTS_ARE);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(heard.facts.tid, 4711);
	assert_int_equal(heard.facts.result, 0);
	assert_int_equal(heard.facts.scope_id, 77);
	assert_int_equal(heard.facts.generation, atomic_load(&f->perf->registry->generation));
	assert_true(heard.facts.grant.cpu);
	facts_error = -ESRCH;
	say(0, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	turn(f);
	assert_true(hear(0, sizeof(struct perf_facts_are)) < 0);
	assert_int_equal(heard.facts.result, -ESRCH);
	assert_false(heard.facts.grant.cpu);
	close(users);
}

/* Another takes its place, in the same slot and with the same listener. */
static void test_death(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	die(f, 0);
	assert_int_equal(n_workers, 2);
	assert_int_equal(hear_begin(1, PERF_SERVE_NOTIFY), slot);
	assert_true(is_closed(0));
	assert_true(kept[slot] >= 0);
	assert_int_equal(n_slots(f), 1);
	close(users);
}

static void test_death_again_and_again(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	for (unsigned i = 0; i < n_workers; i++)
		die(f, i);
	assert_int_equal(n_workers, 10);
	/* It is kept for when the minute is over. */
	assert_true(kept[slot] >= 0);
	LIST_FIRST(&f->perf->lives)->begun -= 60000;
	life_look(LIST_FIRST(&f->perf->lives), perf_msec());
	assert_int_equal(n_workers, 11);
	close(users);
}

static void test_done(void **state)
{
	struct fixture *f = *state;
	int users;
	uint32_t slot = attach(f, MINE, &users);

	say(0, PERF_DONE, NULL, 0, -EBADF);
	turn(f);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	assert_true(kept[slot] < 0);
	assert_true(LIST_EMPTY(&f->perf->lives));
	close(users);
}

/* It says so right before it ends: both come at once. */
static void test_done_and_gone(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	say(0, PERF_DONE, NULL, 0, -EBADF);
	close_fd(&workers[0].channel);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	close(users);
}

static void test_no_users(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	close(users);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
}

static void test_spawner_fails(void **state)
{
	struct fixture *f = *state;
	int users;

	spawn_error = -ENOBUFS;
	assert_int_equal(perf_attach(f->perf, MINE, listener_new(&users)), 0);
	assert_int_equal(n_slots(f), 1);
	spawn_error = 0;
	life_look(LIST_FIRST(&f->perf->lives), perf_msec());
	assert_int_equal(n_workers, 1);
	hear_begin(0, PERF_SERVE_NOTIFY);
	close(users);
}

static void test_busy(void **state)
{
	struct fixture *f = *state;
	struct perf_life *l;
	struct perf_slot *slot;
	int users;

	slot = &f->perf->registry->slot[attach(f, MINE, &users)];
	l = LIST_FIRST(&f->perf->lives);
	atomic_store(&slot->busy, 1000);
	life_look(l, 1000 + PERF_WORKER_MSEC);
	assert_int_equal(atomic_load(&slot->condemned), 0);
	life_look(l, 1000 + PERF_WORKER_MSEC + 1);
	assert_int_equal(atomic_load(&slot->condemned), 1);
	assert_true(was_killed(0));
	turn(f);
	assert_int_equal(n_workers, 2);
	assert_int_equal(atomic_load(&slot->busy), 0);
	assert_int_equal(atomic_load(&slot->condemned), 1);
	assert_ptr_equal(slot, &f->perf->registry->slot[hear_begin(1, PERF_SERVE_NOTIFY)]);
	close(users);
}

/* What it waits for is us. */
static void test_busy_waiting(void **state)
{
	struct perf_ask ask = {.tid = 1};
	struct fixture *f = *state;
	struct perf_slot *slot;
	int users;

	slot = &f->perf->registry->slot[attach(f, MINE, &users)];
	atomic_store(&slot->busy, 1000);
	say(0, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	life_look(LIST_FIRST(&f->perf->lives), 1000000);
	assert_int_equal(atomic_load(&slot->condemned), 0);
	close(users);
}

static void test_wedged(void **state)
{
	struct fixture *f = *state;
	struct perf_life *l;
	int users, more;
	uint32_t slot = attach(f, MINE, &users);

	l = LIST_FIRST(&f->perf->lives);
	/* As if it had been told to end. */
	l->killed = true;
	l->since = 1000;
	life_look(l, 2000);
	assert_false(l->wedged);
	life_look(l, 1000000);
	assert_true(l->wedged);
	assert_true(kept[slot] < 0);
	/* The slot is still written to, perhaps. */
	assert_int_equal(n_slots(f), 1);
	assert_int_equal(perf_attach(f->perf, MINE, listener_new(&more)), -EDQUOT);
	close(more);
	die(f, 0);
	assert_int_equal(n_slots(f), 0);
	assert_int_equal(n_workers, 1);
	attach(f, MINE, &more);
	close(more);
	close(users);
}

static void unbelieved(struct fixture *f, uint32_t type, size_t size)
{
	unsigned char junk[256];
	int users;
	unsigned w = n_workers;

	memset(junk, 0xee, sizeof(junk));
	attach(f, 0, &users);
	close(users);
	say(w, type, junk, size, -EBADF);
	turn(f);
	assert_true(is_closed(w));
	assert_true(was_killed(w));
	turn(f);
	assert_int_equal(n_slots(f), 0);
}

static void test_nonsense(void **state)
{
	struct fixture *f = *state;

	unbelieved(f, PERF_FACTS, sizeof(struct perf_ask) - 1);
	unbelieved(f, PERF_FACTS, sizeof(struct perf_ask) + 1);
	unbelieved(f, PERF_FACTS, 0);
	unbelieved(f, PERF_FACTS, 256);
	unbelieved(f, PERF_FOUND, 0);
	unbelieved(f, PERF_FOUND, 1);
	unbelieved(f, PERF_OPENED, sizeof(struct perf_opened));
	unbelieved(f, PERF_OPENED, 1);
	unbelieved(f, PERF_REVOKED, sizeof(struct perf_revoked));
	unbelieved(f, PERF_NEWS, 0);
	unbelieved(f, PERF_DONE, 1);
	unbelieved(f, 99, 0);
}

static void test_short(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	close(users);
	assert_int_equal(send(workers[0].channel, "abc", 3, 0), 3);
	turn(f);
	assert_true(was_killed(0));
	turn(f);
	assert_int_equal(n_slots(f), 0);
}

/* Neither too many in a second, nor of a kind that there is not. */
static void test_news(void **state)
{
	struct fixture *f = *state;
	int users;

	attach(f, MINE, &users);
	for (uint32_t i = 0; i < PERF_NEWS_MAX + 2; i++) {
		struct perf_ask ask = {.news = i};

		say(0, PERF_NEWS, &ask, sizeof(ask), -EBADF);
	}
	turn(f);
	assert_true(is_silent(0));
	assert_int_equal(n_workers, 1);
	close(users);
}

/*
 * The broker.
 */

static struct op *op_here(struct fixture *f, uint64_t account)
{
	static struct identity who = {.uid = 1000, .gid = 100};
	static const uint8_t attr[64] = {1, 2, 3};
	struct op *op = calloc(1, sizeof(*op));

	assert_non_null(op);
	op->manager = &f->manager;
	op->account = account;
	op->who.pid = 4711;
	op->who.identity = &who;
	op->request.pid = -1;
	op->request.cpu = 3;
	op->request.flags = 8;
	op->request.attr = (struct request_bytes){attr, sizeof(attr)};
	return op;
}

static void on_done(struct op *op)
{
	(void)op;
	n_done++;
}

/* Of a daemon that ends with it still waiting. */
static void op_left(struct fixture *f, struct op *op)
{
	unsigned before = n_done;

	f->perf = perf_free(f->perf);
	assert_int_equal(n_done, before + 1);
	reply_done(&op->reply);
	free(op);
}

static void op_gone(struct op *op)
{
	reply_done(&op->reply);
	free(op);
}

/* What was asked of the broker, and by which cookie. */
static uint64_t hear_open(unsigned w, bool has_group)
{
	int fd = hear(w, sizeof(struct perf_open));

	assert_int_equal(heard.head.type, PERF_OPEN);
	assert_int_equal(heard.open.tid, 4711);
	assert_int_equal(heard.open.pid, -1);
	assert_int_equal(heard.open.cpu, 3);
	assert_int_equal(heard.open.flags, 8);
	assert_int_equal(heard.open.size, 64);
	assert_int_equal(heard.open.attr[2], 3);
	assert_int_equal(heard.open.has_group, has_group);
	assert_int_equal(fd >= 0, has_group);
	close_fd(&fd);
	return heard.open.cookie;
}

static void say_opened(unsigned w, uint64_t cookie, int32_t result, uint32_t reason, int fd)
{
	struct perf_opened opened = {.cookie = cookie, .result = result, .reason = reason};

	say(w, PERF_OPENED, &opened, sizeof(opened), fd);
}

static void test_open(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE), *b = op_here(f, MINE), *c = op_here(f, OTHERS);
	int event = eventfd(0, EFD_CLOEXEC);
	uint64_t first, second;

	assert_int_equal(perf_open_for(f->perf, a, event, on_done), 0);
	assert_int_equal(perf_open_for(f->perf, b, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(perf_open_for(f->perf, c, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 2);
	hear_begin(0, PERF_SERVE_BROKER);
	hear_begin(1, PERF_SERVE_BROKER);
	first = hear_open(0, true);
	second = hear_open(0, false);
	assert_int_not_equal(first, second);
	say_opened(0, second, 0, 0, event);
	turn(f);
	assert_int_equal(n_done, 1);
	assert_int_equal(b->reply.reason, REASON_OK);
	assert_true(b->reply.has_fd);
	say_opened(0, first, -EACCES, REASON_PERF_GRANT, -EBADF);
	turn(f);
	assert_int_equal(n_done, 2);
	assert_int_equal(a->reply.reason, REASON_PERF_GRANT);
	say_opened(1, hear_open(1, false), -ENOENT, REASON_OK, -EBADF);
	turn(f);
	assert_int_equal(n_done, 3);
	assert_int_equal(c->reply.reason, REASON_KERNEL);
	assert_string_equal(c->reply.detail, strerror(ENOENT));
	reply_done(&c->reply);
	c->reply = (struct reply){0};
	assert_int_equal(perf_open_for(f->perf, c, -EBADF, on_done), 0);
	say_opened(1, hear_open(1, false), -EACCES, REASON_OK, -EBADF);
	turn(f);
	assert_int_equal(c->reply.reason, REASON_PERF_GRANT);
	close(event);
	op_gone(a);
	op_gone(b);
	op_gone(c);
}

static void test_open_no_event(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	hear_begin(0, PERF_SERVE_BROKER);
	say_opened(0, hear_open(0, false), 0, 0, -EBADF);
	turn(f);
	assert_int_equal(n_done, 1);
	assert_int_equal(a->reply.reason, REASON_INTERNAL);
	op_gone(a);
}

static void test_open_large(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	a->request.attr.size = PERF_ATTR_BYTES_MAX + 1;
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), -E2BIG);
	assert_int_equal(n_workers, 0);
	op_gone(a);
}

static void test_open_death(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	die(f, 0);
	assert_int_equal(n_done, 1);
	assert_int_equal(a->reply.reason, REASON_INTERNAL);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 2);
	assert_int_equal(n_slots(f), 1);
	op_left(f, a);
}

static void test_open_cookie(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	hear_begin(0, PERF_SERVE_BROKER);
	say_opened(0, hear_open(0, false) + 1, 0, 0, -EBADF);
	turn(f);
	assert_true(was_killed(0));
	turn(f);
	assert_int_equal(n_done, 1);
	op_gone(a);
}

/* More than a channel takes: they go one after the other. */
static void test_open_many(void **state)
{
	struct fixture *f = *state;
	struct op *ops[PERF_WAITING_MAX + 1];

	for (unsigned i = 0; i <= PERF_WAITING_MAX; i++) {
		ops[i] = op_here(f, MINE);
		assert_int_equal(perf_open_for(f->perf, ops[i], -EBADF, on_done),
			i < PERF_WAITING_MAX ? 0 : -EDQUOT);
	}
	hear_begin(0, PERF_SERVE_BROKER);
	for (unsigned i = 0; i < PERF_WAITING_MAX; i++) {
		say_opened(0, hear_open(0, false), -EINVAL, REASON_OK, -EBADF);
		turn(f);
	}
	assert_int_equal(n_done, PERF_WAITING_MAX);
	assert_true(is_silent(0));
	for (unsigned i = 0; i <= PERF_WAITING_MAX; i++)
		op_gone(ops[i]);
}

static void test_broker_idle(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);
	struct perf_life *l;

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	l = LIST_FIRST(&f->perf->lives);
	life_look(l, l->since + 1000000);
	assert_false(is_closed(0));
	hear_begin(0, PERF_SERVE_BROKER);
	say_opened(0, hear_open(0, false), -EINVAL, REASON_OK, -EBADF);
	turn(f);
	life_look(l, l->since + 1);
	assert_false(is_closed(0));
	life_look(l, l->since + 1000000);
	assert_true(is_closed(0));
	/* One that comes while it ends waits for the next. */
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	assert_int_equal(n_workers, 1);
	die(f, 0);
	assert_int_equal(n_workers, 2);
	hear_begin(1, PERF_SERVE_BROKER);
	hear_open(1, false);
	op_left(f, a);
}

static void test_revoke(void **state)
{
	struct perf_revoked revoked = {.disabled = 3, .holders = 2, .killed = 1, .unknown = 4};
	struct fixture *f = *state;
	struct op *a = op_here(f, 0);
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	assert_int_equal(perf_revoke_in(f->perf, a, dir, true, on_done), 0);
	hear_begin(0, PERF_SERVE_BROKER);
	fd = hear(0, sizeof(struct perf_revoke));
	assert_int_equal(heard.head.type, PERF_REVOKE);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(heard.revoke.kill, 1);
	revoked.cookie = heard.revoke.cookie;
	say(0, PERF_REVOKED, &revoked, sizeof(revoked), -EBADF);
	turn(f);
	assert_int_equal(n_done, 1);
	assert_int_equal(a->reply.reason, REASON_OK);
	assert_int_equal(a->reply.n_pairs, 5);
	assert_string_equal(a->reply.pairs[0].key, "disabled");
	assert_string_equal(a->reply.pairs[0].value, "3");
	assert_non_null(strstr(a->reply.pairs[4].value, "1 processes hold"));
	assert_non_null(strstr(a->reply.pairs[4].value, "4 perf events"));
	close(dir);
	op_gone(a);
}

/* Who waits when the daemon ends is answered. */
static void test_free_while_waiting(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);

	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	op_left(f, a);
}

/*
 * What an earlier daemon left.
 */

static void test_take_over(void **state)
{
	struct fixture *f = *state;
	struct op *a = op_here(f, MINE);
	uint64_t generation;
	uint32_t first, second;
	int users[2];

	first = attach(f, MINE, &users[0]);
	second = attach(f, OTHERS, &users[1]);
	assert_int_equal(perf_open_for(f->perf, a, -EBADF, on_done), 0);
	f->perf->registry->slot[first].notif_words[0] = 99;
	generation = atomic_load(&f->perf->registry->generation);
	f->perf = perf_free(f->perf);
	fakes_end();
	/* Meanwhile nobody has the second any more. */
	close_fd(&kept[second]);
	begin(f);
	assert_int_equal(n_workers, 1);
	assert_int_equal(hear_begin(0, PERF_SERVE_NOTIFY), first);
	assert_int_equal(f->perf->registry->slot[first].notif_words[0], 99);
	assert_true(atomic_load(&f->perf->registry->generation) > generation);
	assert_int_equal(atomic_load(&f->perf->registry->slot[second].kind), PERF_SLOT_FREE);
	assert_int_equal(n_slots(f), 1);
	close(users[0]);
	close(users[1]);
	op_gone(a);
}

/* A registry that cannot be read: the listeners are served all the same. */
static void test_take_over_listeners(void **state)
{
	struct fixture *f = *state;
	int users[2];

	f->perf = perf_free(f->perf);
	close_fd(&kept_registry);
	kept_registry = eventfd(0, EFD_CLOEXEC);
	kept[7] = listener_new(&users[0]);
	kept[0] = listener_new(&users[1]);
	begin(f);
	assert_int_equal(n_workers, 2);
	hear_begin(0, PERF_SERVE_NOTIFY);
	hear_begin(1, PERF_SERVE_NOTIFY);
	assert_int_equal(n_slots(f), 2);
	assert_true(kept[7] < 0);
	close(users[0]);
	close(users[1]);
}

/*
 * OCI: a connection without a slot.
 */

static struct perf_life *connection(struct fixture *f, enum perf_serve_kind kind, int *ret_peer)
{
	struct account *account = account_get(&f->manager.accounts, MINE);
	uint32_t slot = PERF_NO_SLOT;
	struct perf_life *l;

	if (kind == PERF_SERVE_LXC)
		slot = (uint32_t)life_slot(f->perf, PERF_SLOT_LXC, account);
	assert_int_equal(life_new(f->perf, kind, account, slot, listener_new(ret_peer), &l), 0);
	account_put(account);
	life_start(l);
	assert_int_equal(hear_begin(n_workers - 1, kind), slot);
	return l;
}

static void test_found(void **state)
{
	struct fixture *f = *state;
	int peer, users, listener = listener_new(&users);
	struct perf_life *l = connection(f, PERF_SERVE_OCI, &peer);
	uint32_t slot;

	assert_int_equal(n_slots(f), 0);
	say(0, PERF_FOUND, NULL, 0, listener);
	close(listener);
	turn(f);
	assert_true(hear(0, sizeof(struct perf_serve)) < 0);
	assert_int_equal(heard.head.type, PERF_SLOT_IS);
	assert_int_equal(heard.serve.kind, PERF_SERVE_NOTIFY);
	slot = heard.serve.slot;
	assert_int_equal(l->slot, slot);
	assert_true(kept[slot] >= 0);
	/* From here on as any other. */
	die(f, 0);
	assert_int_equal(n_workers, 2);
	assert_int_equal(hear_begin(1, PERF_SERVE_NOTIFY), slot);
	close(users);
	close(peer);
}

static void test_found_twice(void **state)
{
	struct fixture *f = *state;
	int peer, users, listener = listener_new(&users);

	connection(f, PERF_SERVE_OCI, &peer);
	say(0, PERF_FOUND, NULL, 0, listener);
	say(0, PERF_FOUND, NULL, 0, listener);
	close(listener);
	close(users);
	turn(f);
	assert_true(was_killed(0));
	close(peer);
	turn(f);
	assert_int_equal(n_slots(f), 0);
}

static void test_found_nothing(void **state)
{
	struct fixture *f = *state;
	struct perf_life *l;
	int peer;

	l = connection(f, PERF_SERVE_OCI, &peer);
	life_look(l, l->since + 1);
	assert_false(is_closed(0));
	life_look(l, l->since + 1000000);
	assert_true(is_closed(0));
	die(f, 0);
	assert_true(LIST_EMPTY(&f->perf->lives));
	close(peer);
}

/* Its connection ends with the worker: LXC connects anew. */
static void test_lxc(void **state)
{
	struct fixture *f = *state;
	int peer;
	char c;

	connection(f, PERF_SERVE_LXC, &peer);
	assert_int_equal(n_slots(f), 1);
	die(f, 0);
	assert_int_equal(n_workers, 1);
	assert_int_equal(n_slots(f), 0);
	assert_int_equal(recv(peer, &c, 1, MSG_DONTWAIT), 0);
	close(peer);
}

static void test_lxc_refused(void **state)
{
	struct fixture *f = *state;
	int peer;

	spawn_error = -ENOBUFS;
	{
		struct account *account = account_get(&f->manager.accounts, MINE);
		struct perf_life *l;
		char c;

		assert_int_equal(life_new(f->perf, PERF_SERVE_OCI, account, PERF_NO_SLOT,
					 listener_new(&peer), &l),
			0);
		account_put(account);
		life_start(l);
		assert_int_equal(recv(peer, &c, 1, MSG_DONTWAIT), 0);
	}
	assert_true(LIST_EMPTY(&f->perf->lives));
	close(peer);
}

static void test_off(void **state)
{
	struct fixture *f = *state;
	struct perf *p;
	int users;

	(void)state;
	assert_int_equal(perf_new(&f->manager, NULL, "a reason", &p), 0);
	assert_string_equal(perf_off(p), "a reason");
	assert_int_equal(perf_attach(p, MINE, listener_new(&users)), -EOPNOTSUPP);
	close(users);
	perf_changed(p);
	perf_free(p);
}

static void test_tally(void **state)
{
	struct fixture *f = *state;
	struct perf_tally t;
	int users[2];
	struct perf_slot *slot = &f->perf->registry->slot[attach(f, MINE, &users[0])];

	attach(f, OTHERS, &users[1]);
	atomic_store(&slot->calls, 5);
	assert_int_equal(
		perf_ledger_add(f->perf->registry, slot, &(struct perf_entry){.id = 9}), 0);
	perf_tally(f->perf, MINE, &t);
	assert_int_equal(t.listeners, 1);
	assert_int_equal(t.calls, 5);
	assert_int_equal(t.events, 1);
	perf_tally(f->perf, OTHERS, &t);
	assert_int_equal(t.calls, 0);
	perf_tally(f->perf, PERF_ALL, &t);
	assert_int_equal(t.listeners, 2);
	close(users[0]);
	close(users[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_attach),
		TEST(test_quota),
		TEST(test_host_root),
		TEST(test_facts),
		TEST(test_death),
		TEST(test_death_again_and_again),
		TEST(test_done),
		TEST(test_done_and_gone),
		TEST(test_no_users),
		TEST(test_spawner_fails),
		TEST(test_busy),
		TEST(test_busy_waiting),
		TEST(test_wedged),
		TEST(test_nonsense),
		TEST(test_short),
		TEST(test_news),
		TEST(test_open),
		TEST(test_open_no_event),
		TEST(test_open_large),
		TEST(test_open_death),
		TEST(test_open_cookie),
		TEST(test_open_many),
		TEST(test_broker_idle),
		TEST(test_revoke),
		TEST(test_free_while_waiting),
		TEST(test_take_over),
		TEST(test_take_over_listeners),
		TEST(test_found),
		TEST(test_found_twice),
		TEST(test_found_nothing),
		TEST(test_lxc),
		TEST(test_lxc_refused),
		TEST(test_off),
		TEST(test_tally),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
