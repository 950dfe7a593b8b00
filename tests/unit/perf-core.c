/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "perf-core.h"

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
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "frames.h"

struct fake workers[WORKERS_MAX_HERE];
unsigned n_workers;
int spawn_error;
int kept[PERF_SLOTS_MAX], kept_registry;
pid_t asked_about;
int facts_error;
unsigned n_done;
struct heard heard;

/*
 * What the core has around it.
 */

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

static void on_go(struct waiter *w)
{
	(void)w;
	fail();
}

void begin(struct fixture *f)
{
	assert_int_equal(perf_new(&f->manager, (struct spawner *)(uintptr_t)1, NULL, &f->perf), 0);
	assert_null(perf_off(f->perf));
}

int setup(void **state)
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

void fakes_end(void)
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

int teardown(void **state)
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

int hear(unsigned w, size_t size)
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

bool is_silent(unsigned w)
{
	struct pollfd p = {.fd = workers[w].channel, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

bool is_closed(unsigned w)
{
	struct pollfd p = {.fd = workers[w].channel, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

void say(unsigned w, uint32_t type, const void *data, size_t size, int fd)
{
	unsigned char packet[sizeof(struct perf_head) + 256] = {0};

	memcpy(packet, &type, sizeof(type));
	if (size)
		memcpy(packet + sizeof(struct perf_head), data, size);
	assert_int_equal(send_fds(workers[w].channel, packet, sizeof(struct perf_head) + size, &fd,
				 fd >= 0, 0),
		sizeof(struct perf_head) + size);
}

void turn(struct fixture *f)
{
	while (sd_event_run(f->manager.event, 0) > 0)
		;
}

void die(struct fixture *f, unsigned w)
{
	kill(workers[w].pid, SIGKILL);
	assert_int_equal(waitpid(workers[w].pid, NULL, 0), workers[w].pid);
	workers[w].pid = 0;
	turn(f);
}

bool was_killed(unsigned w)
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

int listener_new(int *ret_users)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_users = fds[1];
	return fds[0];
}

uint32_t hear_begin(unsigned w, enum perf_serve_kind kind)
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

uint32_t attach(struct fixture *f, uint64_t account, int *ret_users)
{
	unsigned before = n_workers;

	assert_int_equal(perf_attach(f->perf, account, listener_new(ret_users)), 0);
	assert_int_equal(n_workers, before + 1);
	return hear_begin(before, PERF_SERVE_NOTIFY);
}

unsigned n_slots(struct fixture *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PERF_SLOTS_MAX; i++)
		n += atomic_load(&f->perf->registry->slot[i].kind) != PERF_SLOT_FREE;
	return n;
}

/*
 * What is asked of a broker.
 */

struct op *op_here(struct fixture *f, uint64_t account)
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

void on_done(struct op *op)
{
	(void)op;
	n_done++;
}

void op_gone(struct op *op)
{
	reply_done(&op->reply);
	free(op);
}
