/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Openers and callers: what they do, and how they come to be. A first child takes on what they
 * shall be, where the container cannot see it; only the process that it then forks is in the
 * container's pid namespace, and has from its first moment on no right, fd or root that would be of
 * use there.
 */
#include "spawner-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../sandbox.h"
#include "../wire.h"
#include "rights.h"

/* linux/pidfd.h, 6.9 */
#ifndef PIDFD_THREAD
#	define PIDFD_THREAD O_EXCL
#endif

int opening_filter(enum spawn_op op, struct sock_fprog *ret)
{
	/* An opener's come first. */
	static const int calls[] = {
		SCMP_SYS(recvmsg),
		SCMP_SYS(sendmsg),
		SCMP_SYS(perf_event_open),
		SCMP_SYS(close),
		SCMP_SYS(restart_syscall),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(exit_group),
		SCMP_SYS(get_robust_list),
		SCMP_SYS(pidfd_open),
		SCMP_SYS(eventfd2),
		SCMP_SYS(fcntl),
		SCMP_SYS(tgkill),
	};
	size_t n = sizeof(calls) / sizeof(*calls);

	return sandbox_only(calls, op == SPAWN_OPENER ? n - 5 : n, ret);
}

static int order_open(const struct perf_order *order, int group_fd, int cgroup_fd, int *ret_fd)
{
	struct perf_attr attr = order->attr;
	uint64_t flags = order->flags | PERF_FLAG_FD_CLOEXEC;
	int pid = order->pid;
	long fd;

	if (attr.attr.size > sizeof(attr))
		return -E2BIG;
	/* 0 would be this process. */
	if (pid == 0 && !order->has_cgroup)
		return -ESRCH;
	if (!order->has_cgroup && (flags & PERF_FLAG_PID_CGROUP))
		return -EBADF;
	if (order->has_cgroup) {
		flags |= PERF_FLAG_PID_CGROUP;
		pid = cgroup_fd;
	}
	fd = syscall(SYS_perf_event_open, &attr, pid, order->cpu, order->has_group ? group_fd : -1,
		flags);
	if (fd < 0)
		return -errno;
	*ret_fd = (int)fd;
	return 0;
}

/* The threads of one process are nobody else's matter, but we are not of the caller's; tgkill(2)
 * tells, which with signal 0 only looks. */
static bool is_callers(const struct caller_of *caller, pid_t pid)
{
	return pid > 0 && (syscall(SYS_tgkill, caller->tgid, pid, 0) == 0 || errno == EPERM);
}

/*
 * As the caller. A program that may not be dumped (it has file capabilities, say) may have an event
 * of itself, but nobody else of it: what the kernel says of all the rest is then found out with an
 * event of our own.
 */
static int caller_open(const struct perf_order *order, const struct caller_of *caller, int group_fd,
	int cgroup_fd, int *ret_fd)
{
	struct perf_attr attr = order->attr;
	int r = order_open(order, group_fd, cgroup_fd, ret_fd);
	long fd;

	if (r != -EACCES || order->has_cgroup || !is_callers(caller, order->pid))
		return r;
	fd = syscall(
		SYS_perf_event_open, &attr, 0, order->cpu, -1, order->flags | PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	close((int)fd);
	return PERF_ORDER_ITS_OWN;
}

/*
 * What stands for a thread as long as nobody else can have its number. Before Linux 6.9 there is no
 * pidfd of a thread that leads no process; an owner of SIGIO is held by the kernel as the thread
 * itself, is nobody for F_GETOWN_EX once that has gone (5.12), and takes no right to name.
 */
static int target_hold(pid_t pid)
{
	const struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = pid};
	_cleanup_close_ int fd = -EBADF;

	fd = (int)syscall(SYS_pidfd_open, pid, PIDFD_THREAD);
	if (fd >= 0 || (errno != EINVAL && errno != ENOSYS))
		return fd >= 0 ? TAKE_FD(fd) : -errno;
	fd = eventfd(1, EFD_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_SETOWN_EX, &owner) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/*
 * May it read the target as ptrace(2) has it (PTRACE_MODE_READ_REALCREDS, what perf_event_open asks
 * for)? get_robust_list(2) asks the kernel just that, of any thread, on every kernel, whatever
 * hidepid or Yama (which looks at attaching alone) say.
 */
static int may_trace(const struct caller_of *caller, pid_t pid)
{
	void *head;
	size_t size;

	if (caller->perfmon || is_callers(caller, pid))
		return 0;
	if (syscall(SYS_get_robust_list, pid, &head, &size) == 0)
		return 0;
	return errno == EPERM ? -EACCES : -errno;
}

static int order_trace(const struct perf_order *order, const struct caller_of *caller, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (order->pid <= 0)
		return -ESRCH;
	fd = target_hold(order->pid);
	r = fd < 0 ? fd : may_trace(caller, order->pid);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

/* `caller` NULL: an opener. */
static int serve_one(int channel, const struct caller_of *caller)
{
	int fds[2] = {-EBADF, -EBADF}, fd = -EBADF, r;
	struct perf_order order;
	struct perf_order_reply reply = {.result = -EINVAL};

	r = order_wire_recv(channel, &order, sizeof(order), fds, 2);
	if (r < 0)
		return r;
	if (!order.has_group && order.has_cgroup) {
		fds[1] = fds[0];
		fds[0] = -EBADF;
	}
	if (order.op == PERF_ORDER_OPEN && caller)
		reply.result = caller_open(&order, caller, fds[0], fds[1], &fd);
	else if (order.op == PERF_ORDER_OPEN)
		reply.result = order_open(&order, fds[0], fds[1], &fd);
	else if (order.op == PERF_ORDER_TRACE && caller)
		reply.result = order_trace(&order, caller, &fd);
	close_fd(&fds[0]);
	close_fd(&fds[1]);
	r = order_wire_send(channel, &reply, sizeof(reply), &fd, 1);
	close_fd(&fd);
	return r;
}

static _Noreturn void serve(const struct opening *o, const struct caller_of *caller)
{
	const struct perf_order_reply ready = {0};
	int channel = o->channel, r;

	if (fds_keep(&channel, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
	if (o->filter && sandbox_load(o->filter) < 0)
		_exit(1);
	r = order_wire_send(channel, &ready, sizeof(ready), NULL, 0);
	if (caller && r == 0)
		r = serve_one(channel, caller);
	while (!caller && r == 0)
		r = serve_one(channel, NULL);
	_exit(r < 0);
}

/* In the other pid namespace, as the spawner's own child. */
static long fork_sibling(int *ret_pidfd)
{
	const unsigned long flags = CLONE_PARENT | CLONE_PIDFD | SIGCHLD;
#ifdef __s390__
	return syscall(SYS_clone, NULL, flags, ret_pidfd, NULL, 0);
#else
	return syscall(SYS_clone, flags, NULL, ret_pidfd, NULL, 0);
#endif
}

static int make(const struct opening *o)
{
	const struct spawn_report report = {.worker = o->worker, .op = o->op};
	struct caller_of caller;
	int pidfd = -EBADF, r;
	long pid;

	r = o->op == SPAWN_OPENER ? place_opener(o) : place_caller(o, &caller);
	if (r < 0)
		return r;
	pid = fork_sibling(&pidfd);
	/* ENOMEM: the namespace's init has ended (pid_namespaces(7)), or there is none. */
	if (pid < 0)
		return errno == ENOMEM ? -ESRCH : -errno;
	if (pid == 0)
		serve(o, o->op == SPAWN_OPENER ? NULL : &caller);
	/* Unknown it could not be ended. */
	if (wire_send(o->report, &report, sizeof(report), pidfd) < 0)
		(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	return 0;
}

_Noreturn void opening_run(const struct opening *opening)
{
	int fds[] = {opening->channel, opening->report, opening->proc_fd};
	struct perf_order_reply reply;
	struct opening o = *opening;

	if (fds_keep(fds, 3) < 0)
		_exit(1);
	o.channel = fds[0];
	o.report = fds[1];
	o.proc_fd = fds[2];
	prctl(PR_SET_NAME, o.op == SPAWN_OPENER ? "cgmd-opener" : "cgmd-caller");
	reply.result = make(&o);
	if (reply.result < 0)
		order_wire_send(o.channel, &reply, sizeof(reply), NULL, 0);
	_exit(0);
}
