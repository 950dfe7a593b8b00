/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The spawner's own end. It waits for questions alone: what is made for a worker is made by a child
 * of its own and answers over a channel of its own. That child's child is by CLONE_PARENT ours, so
 * that it ends when we do and nobody waits for it.
 *
 * Whatever is in a container's pid namespace may be stopped there, where a uid is its own, and
 * would not see that its channel closes. So each worker has a bounded number of them: beyond it the
 * oldest is ended, and all with the worker.
 */
#include "spawner-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "../child.h"
#include "../cleanup.h"
#include "../sandbox.h"
#include "../wire.h"
#include "keeper.h"
#include "rights.h"
#include "worker.h"

#define WORKERS_MAX (2 * PERF_SLOTS_MAX) /* with connections that have no slot yet */
#define OPENERS_MAX 8			 /* of a worker; each is for one pid namespace */
#define CALLERS_MAX 4
#define IDLE_SEC 10 /* so long an opener is seen in a container after its last order */

/* The last that were made of a kind. */
struct ring {
	int pidfd[OPENERS_MAX];
	unsigned next;
};

struct worker_end {
	uint32_t id;
	int sock;
	struct ring openers, callers;
};

struct spawner_child {
	int sock, proc_fd;
	int report_in, report_out; /* both ends; the latter is for children */
	pid_t pid;
	bool confined;
	struct sock_fprog opener, caller;
	uint32_t last_id;
	unsigned n;
	struct worker_end workers[WORKERS_MAX];
	struct pollfd polled[WORKERS_MAX + 2];
};

static void ring_init(struct ring *r)
{
	for (unsigned i = 0; i < OPENERS_MAX; i++)
		r->pidfd[i] = -EBADF;
	r->next = 0;
}

static void ring_end(int *pidfd)
{
	if (*pidfd >= 0)
		pidfd_send_signal(*pidfd, SIGKILL, NULL, 0);
	close_fd(pidfd);
}

static void ring_put(struct ring *r, unsigned max, int pidfd)
{
	ring_end(&r->pidfd[r->next]);
	r->pidfd[r->next] = pidfd;
	r->next = (r->next + 1) % max;
}

static void worker_forget(struct spawner_child *s, unsigned at)
{
	struct worker_end *w = &s->workers[at];

	for (unsigned i = 0; i < OPENERS_MAX; i++) {
		ring_end(&w->openers.pidfd[i]);
		ring_end(&w->callers.pidfd[i]);
	}
	close_fd(&w->sock);
	s->workers[at] = s->workers[--s->n];
}

/* By clone(2), so that the pidfd is surely its own: nobody reaps it before. Not clone3(2), which
 * systemd's RestrictNamespaces= refuses, for no filter sees its flags. */
static pid_t fork_with_pidfd(int *ret_pidfd)
{
	int pidfd = -EBADF;
#ifdef __s390__
	long pid = syscall(SYS_clone, NULL, SANDBOX_ZYGOTE_CLONE, &pidfd, NULL, 0);
#else
	long pid = syscall(SYS_clone, SANDBOX_ZYGOTE_CLONE, NULL, &pidfd, NULL, 0);
#endif

	if (pid < 0)
		return -errno;
	if (pid > 0)
		*ret_pidfd = pidfd;
	return (pid_t)pid;
}

/* Dies with the spawner; after the credentials, for a change of these can take it back. */
static int follow(const struct spawner_child *s)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == s->pid ? 0 : -EPIPE;
}

static _Noreturn void worker_start(const struct spawner_child *s, int channel, int spawner)
{
	/* The last two are for the events that a container's tasks hold: their fds are listed in
	 * directories that are theirs, and --kill ends them. */
	static const int kept[] = {CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_KILL};
	int fds[] = {0, 1, 2, channel, spawner};

	prctl(PR_SET_NAME, "cgmd-perf");
	if (fds_keep(fds, 5) < 0 || rights_keep(kept, sizeof(kept) / sizeof(*kept)) < 0 ||
		follow(s) < 0)
		_exit(1);
	perf_worker_run(fds[3], fds[4], s->confined);
}

/* Its channel to us, with which it asks and waits. */
static int worker_pair(int *ret_ours, int *ret_theirs)
{
	const struct timeval timeout = {.tv_sec = 5};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*ret_ours = fds[0];
	*ret_theirs = fds[1];
	if (setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(fds[1], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
		fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int make_worker(struct spawner_child *s, int channel, int *ret_pidfd)
{
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	struct worker_end *w = &s->workers[s->n];
	pid_t pid;
	int r;

	if (channel < 0)
		return -EPROTO;
	if (s->n == WORKERS_MAX)
		return -EDQUOT;
	r = worker_pair(&ours, &theirs);
	if (r < 0)
		return r;
	pid = fork_with_pidfd(ret_pidfd);
	if (pid == 0)
		worker_start(s, channel, theirs);
	if (pid < 0)
		return pid;
	w->id = ++s->last_id;
	w->sock = TAKE_FD(ours);
	ring_init(&w->openers);
	ring_init(&w->callers);
	s->n++;
	return 0;
}

/* Outlives us and the core, in a session of its own. */
static _Noreturn void keeper_start(int sock, bool confined)
{
	/* To look at its peer's user namespace. */
	static const int kept[] = {CAP_SYS_PTRACE};
	int fds[] = {sock};

	prctl(PR_SET_NAME, "cgmd-keeper");
	if (setsid() < 0 || fds_keep(fds, 1) < 0 || rights_keep(kept, 1) < 0)
		_exit(1);
	keeper_run(fds[0], confined);
}

static int make_keeper(const struct spawner_child *s, int sock)
{
	pid_t pid;

	if (sock < 0)
		return -EPROTO;
	pid = fork();
	if (pid == 0)
		keeper_start(sock, s->confined);
	return pid < 0 ? -errno : 0;
}

/* 0: go on. */
static int serve_core(struct spawner_child *s)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_close_ int pidfd = -EBADF;
	struct spawn_request q;
	struct spawn_reply reply = {.result = -EINVAL};
	int r = wire_recv(s->sock, &q, sizeof(q), &fd);

	if (r < 0)
		return r;
	reply.seq = q.seq;
	if (q.op == SPAWN_WORKER)
		reply.result = make_worker(s, fd, &pidfd);
	else if (q.op == SPAWN_KEEPER)
		reply.result = make_keeper(s, fd);
	/* While nothing is in it that could be the last of its kind. */
	close_fd(&fd);
	r = wire_send(s->sock, &reply, sizeof(reply), pidfd);
	if (r == 0 || r == -EPIPE)
		return r;
	/* Root's others may have too many fds in flight. Its channel is closed: it ends. */
	reply.result = r == -EAGAIN ? -ENOBUFS : r;
	return wire_send(s->sock, &reply, sizeof(reply), -EBADF);
}

static int order_pair(int *ret_worker, int *ret_child)
{
	const struct timeval idle = {.tv_sec = IDLE_SEC};
	const struct timeval timeout = {
		.tv_sec = PERF_ORDER_MSEC / 1000, .tv_usec = PERF_ORDER_MSEC % 1000 * 1000};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*ret_worker = fds[0];
	*ret_child = fds[1];
	if (setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) < 0)
		return -errno;
	return 0;
}

static int make_opening(struct spawner_child *s, const struct worker_end *w,
	const struct spawn_request *q, int *ret_channel)
{
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	bool opener = q->op == SPAWN_OPENER;
	pid_t pid;
	int r;

	if (q->op < SPAWN_OPENER || q->op > SPAWN_CALLER_LOOSE || q->tid <= 0)
		return -EINVAL;
	r = order_pair(&ours, &theirs);
	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0) {
		const struct opening o = {
			.worker = w->id,
			.op = q->op,
			.tid = q->tid,
			.uid = q->uid,
			.gid = q->gid,
			.channel = theirs,
			.report = s->report_out,
			.proc_fd = s->proc_fd,
			.filter = !s->confined ? NULL
				  : opener     ? &s->opener
					       : &s->caller,
		};

		opening_run(&o);
	}
	if (pid < 0)
		return -errno;
	*ret_channel = TAKE_FD(ours);
	return 0;
}

/* Nothing that it sends is waited for, nor received with fds: it has to do with containers. */
static int serve_worker(struct spawner_child *s, struct worker_end *w)
{
	_cleanup_close_ int channel = -EBADF;
	struct spawn_request q;
	struct spawn_reply reply;
	ssize_t n = recv(w->sock, &q, sizeof(q), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n != sizeof(q))
		return n == 0 ? -EPIPE : -EPROTO;
	reply.seq = q.seq;
	reply.result = make_opening(s, w, &q, &channel);
	return wire_send(w->sock, &reply, sizeof(reply), channel);
}

static int receive_report(struct spawner_child *s)
{
	_cleanup_close_ int pidfd = -EBADF;
	struct spawn_report report;
	int r = wire_recv(s->report_in, &report, sizeof(report), &pidfd);

	if (r < 0 || pidfd < 0)
		return r;
	for (unsigned i = 0; i < s->n; i++) {
		struct worker_end *w = &s->workers[i];

		if (w->id != report.worker)
			continue;
		if (report.op == SPAWN_OPENER)
			ring_put(&w->openers, OPENERS_MAX, TAKE_FD(pidfd));
		else
			ring_put(&w->callers, CALLERS_MAX, TAKE_FD(pidfd));
		return 0;
	}
	/* Of a worker that is no more. */
	ring_end(&pidfd);
	return 0;
}

static void serve(struct spawner_child *s)
{
	for (;;) {
		unsigned n = s->n;

		s->polled[0] = (struct pollfd){.fd = s->sock, .events = POLLIN};
		s->polled[1] = (struct pollfd){.fd = s->report_in, .events = POLLIN};
		for (unsigned i = 0; i < n; i++)
			s->polled[i + 2] =
				(struct pollfd){.fd = s->workers[i].sock, .events = POLLIN};
		if (poll(s->polled, n + 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		/* From the last on: the place of one that goes is taken by a later one. */
		for (unsigned i = n; i-- > 0;)
			if (s->polled[i + 2].revents && serve_worker(s, &s->workers[i]) < 0)
				worker_forget(s, i);
		/* All: each question brings one. */
		while (s->polled[1].revents && receive_report(s) == 0)
			;
		if (s->polled[0].revents && serve_core(s) < 0)
			return;
	}
}

static int channels_open(struct spawner_child *s)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	s->report_in = fds[0];
	s->report_out = fds[1];
	if (fcntl(s->report_in, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	s->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->proc_fd < 0 ? -errno : 0;
}

/* For it and all that it forks. */
static int confine(struct spawner_child *s)
{
	static const int refused[] = {SCMP_SYS(bpf)};
	int r = opening_filter(SPAWN_OPENER, &s->opener);

	if (r == 0)
		r = opening_filter(SPAWN_CALLER, &s->caller);
	if (r == 0)
		r = sandbox_without(refused, sizeof(refused) / sizeof(*refused));
	/* A kernel without filters: as the core does, do without. */
	if (r == -EOPNOTSUPP)
		return 0;
	s->confined = r == 0;
	return r;
}

static int spawner_init(struct spawner_child *s, int sock, pid_t parent, bool confined)
{
	static const int kept[] = {CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_PERFMON, CAP_SETUID,
		CAP_SETGID, CAP_KILL, CAP_SYS_CHROOT, CAP_DAC_READ_SEARCH};
	const struct rlimit endless = {RLIM_INFINITY, RLIM_INFINITY};
	int fds[] = {0, 1, 2, sock}, r;

	prctl(PR_SET_NAME, "cgmd-spawner");
	s->pid = getpid();
	r = child_signals();
	if (r == 0)
		r = fds_keep(fds, 4);
	if (r < 0)
		return r;
	s->sock = fds[3];
	r = chdir("/") < 0 ? -errno : channels_open(s);
	if (r < 0)
		return r;
	/* A caller is forked as somebody who may have many processes of his own. */
	(void)setrlimit(RLIMIT_NPROC, &endless);
	/* /proc/PID/net of those who are seen in containers is everybody's to read. EINVAL: the
	 * kernel has no network namespaces. */
	if (unshare(CLONE_NEWNET) < 0 && errno != EINVAL)
		return -errno;
	/* Nothing is executed here; but by it one tells who could get what. */
	rights_unbind();
	r = rights_keep(kept, sizeof(kept) / sizeof(*kept));
	if (r == 0)
		r = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
	if (r == 0)
		r = getppid() == parent ? 0 : -EPIPE;
	if (r == 0 && confined)
		r = confine(s);
	return r;
}

_Noreturn void spawner_run(int sock, pid_t parent, bool confine_it)
{
	static struct spawner_child s = {.sock = -EBADF};
	struct spawn_reply ready = {.result = spawner_init(&s, sock, parent, confine_it)};

	/* Without it there is no perf, but a daemon. */
	if (wire_send(s.sock >= 0 ? s.sock : sock, &ready, sizeof(ready), -EBADF) < 0 ||
		ready.result < 0)
		_exit(1);
	serve(&s);
	_exit(0);
}
