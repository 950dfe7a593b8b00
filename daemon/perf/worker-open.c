/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How an event is opened: here; by an opener, which sits in the caller's pid namespace; or by a
 * child that is to the kernel what the caller is.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../cleanup.h"
#include "worker-core.h"

static int open_here(const struct perf_verdict *v, pid_t pid, int cpu, int group_fd)
{
	int fd = (int)syscall(SYS_perf_event_open, &v->attr, pid, cpu,
		group_fd >= 0 ? group_fd : -1, (unsigned long)(v->flags | PERF_FLAG_FD_CLOEXEC));

	return fd < 0 ? -errno : fd;
}

/*
 * Openers. They are few: those of the pid namespaces that asked last stay.
 */

static struct worker_opener *opener_place(struct worker *w, uint64_t pidns)
{
	struct worker_opener *oldest = &w->openers[0];

	for (unsigned i = 0; i < WORKER_OPENERS_MAX; i++) {
		struct worker_opener *o = &w->openers[i];

		if (o->pidns == pidns)
			return o;
		if (o->used < oldest->used)
			oldest = o;
	}
	return oldest;
}

static void opener_end(struct worker_opener *o)
{
	if (o->pidns != 0)
		close_fd(&o->channel);
	*o = (struct worker_opener){.channel = -EBADF};
}

/* With its spawner the daemon ends, too. What was taken is not for us to refuse then: it stands in
 * the registry, for the next one. */
static int spawned(struct worker *w, int r)
{
	struct pollfd spawner = {.fd = w->spawner};

	if (r < 0 && poll(&spawner, 1, 0) == 1 && (spawner.revents & POLLHUP))
		worker_fail(w);
	return r;
}

static int opener_for(struct worker *w, const struct task *t, struct worker_opener **ret)
{
	struct worker_opener *o = opener_place(w, t->pidns);
	int r;

	if (o->pidns != t->pidns) {
		int channel;

		opener_end(o);
		r = spawned(w, spawn_opener(w->spawner, t->tid, &channel));
		if (r < 0)
			return r;
		*o = (struct worker_opener){.pidns = t->pidns, .channel = channel};
	}
	o->used = ++w->clock;
	*ret = o;
	return 0;
}

static bool has_ended(int r)
{
	return r == -EPIPE || r == -ETIMEDOUT;
}

/* One that has ended since it was last used is replaced, once. */
static int open_there(struct worker *w, const struct task *t, const struct perf_order *order,
	int group_fd, int cgroup_fd)
{
	int event = -EBADF, r = -EPIPE;

	for (unsigned i = 0; i < 2 && r == -EPIPE; i++) {
		struct worker_opener *o;

		r = opener_for(w, t, &o);
		if (r < 0)
			break;
		r = perf_order(o->channel, order, group_fd, cgroup_fd, &event);
		if (has_ended(r))
			opener_end(o);
	}
	/* Nothing of this is the caller's doing. */
	if (has_ended(r))
		return -EAGAIN;
	return r < 0 ? r : event;
}

/*
 * Callers.
 */

static int caller_order(struct worker *w, const struct worker_call *call,
	const struct perf_order *order, int *ret_fd)
{
	_cleanup_close_ int channel = -EBADF;
	int r;

	bucket_charge(&w->bucket, COST_CALLER);
	r = call->listener >= 0
		    ? spawn_caller(w->spawner, call->tid, &channel)
		    : spawn_caller_loose(w->spawner, call->tid, call->uid, call->gid, &channel);
	r = spawned(w, r);
	if (r < 0)
		return r == -ESRCH ? -ESTALE : r == -EPERM ? -EACCES : -EAGAIN;
	/* What it was made like was that thread, if that still waits. */
	if (!call_valid(call))
		return -ESTALE;
	r = perf_order(channel, order, call->group_fd, call->cgroup_fd, ret_fd);
	return has_ended(r) ? -EAGAIN : r;
}

int call_trace(struct worker *w, const struct worker_call *call, int *ret_pidfd)
{
	struct perf_order order = {.op = PERF_ORDER_TRACE, .pid = call->pid, .cpu = -1};
	struct worker_call bare = *call;

	bare.group_fd = bare.cgroup_fd = -EBADF;
	return caller_order(w, &bare, &order, ret_pidfd);
}

/*
 * What the verdict says.
 */

/* As the worker counts them. */
static pid_t own_here(const struct worker_call *call, const struct task *t)
{
	return call->pid == 0 || call->pid == t->own_tid ? t->tid : t->tgid;
}

static int open_ordered(struct worker *w, const struct worker_call *call, struct task *t,
	const struct perf_verdict *v, int32_t pid, int cgroup_fd)
{
	struct perf_order order = {
		.op = PERF_ORDER_OPEN,
		.pid = pid,
		.cpu = call->cpu,
		.has_group = call->group_fd >= 0,
		.has_cgroup = cgroup_fd >= 0,
		.flags = v->flags | PERF_FLAG_FD_CLOEXEC,
		.attr = v->attr,
	};
	int r = task_numbers(w, t);

	if (r < 0)
		return r;
	if (pid == 0)
		order.pid = t->own_tid;
	return open_there(w, t, &order, call->group_fd, cgroup_fd);
}

/* What it may have of itself, and of which nobody else may have it. Another's number might be
 * somebody else's by now. */
static int open_its_own(struct worker *w, const struct worker_call *call, struct task *t,
	const struct perf_verdict *v, int32_t pid)
{
	int r = task_numbers(w, t);

	if (r < 0)
		return r;
	if (pid != t->own_tid)
		return -EACCES;
	return t->facts.own_pidns ? open_here(v, t->tid, call->cpu, call->group_fd)
				  : open_ordered(w, call, t, v, pid, -EBADF);
}

/* What is no cgroup is the kernel's to refuse, in the order in which it looks at things: by
 * something that is none either, and of no use to anybody. */
static int cgroup_as_caller(struct worker *w, struct worker_call *call, struct task *t)
{
	return call_cgroup(w, call, t) < 0 ? w->watched : call->cgroup_fd;
}

static int open_as_caller(
	struct worker *w, struct worker_call *call, struct task *t, const struct perf_verdict *v)
{
	bool of_cgroup = call->flags & PERF_FLAG_PID_CGROUP;
	struct perf_order order = {
		.op = PERF_ORDER_OPEN,
		.pid = call->pid,
		.cpu = call->cpu,
		.has_group = call->group_fd >= 0,
		.has_cgroup = of_cgroup,
		.flags = v->flags,
		.attr = v->attr,
	};
	struct worker_call asked = *call;
	int event = -EBADF, r = 0;

	if (of_cgroup)
		asked.cgroup_fd = cgroup_as_caller(w, call, t);
	/* 0 is the caller, and would be the child. */
	else if (call->pid == 0) {
		r = task_numbers(w, t);
		order.pid = t->own_tid;
	}
	if (r >= 0)
		r = caller_order(w, &asked, &order, &event);
	if (r == PERF_ORDER_ITS_OWN)
		return open_its_own(w, call, t, v, order.pid);
	return r < 0 ? r : event;
}

/*
 * By number in the caller's pid namespace; it was the judged one's if that is still there. The
 * kernel asks whether it may be read while none of its exec(2)s can end; here one may have, of a
 * setuid program, since that was asked. So it is asked once more: what became of it by then is all
 * that the event was opened for. Until then the event stands still, for its records may already go
 * to where the caller reads. (An event that is there when a setuid program is executed ends.)
 */
static int open_task(struct worker *w, const struct worker_call *call, struct task *t,
	const struct perf_verdict *v, int target_fd)
{
	_cleanup_close_ int event = -EBADF;
	_cleanup_close_ int again = -EBADF;
	struct perf_verdict still = *v;
	int r;

	if (target_fd < 0)
		return -EACCES;
	still.attr.attr.disabled = 1;
	event = t->facts.own_pidns ? open_here(&still, call->pid, call->cpu, call->group_fd)
				   : open_ordered(w, call, t, &still, call->pid, -EBADF);
	r = event < 0 ? event : call_trace(w, call, &again);
	if (r < 0)
		return r;
	if (!perf_target_alive(target_fd))
		return -ESRCH;
	if (!v->attr.attr.disabled && ioctl(event, PERF_EVENT_IOC_ENABLE, 0) < 0)
		return -errno;
	return TAKE_FD(event);
}

/* Of a cgroup, or of a CPU where there is none (-1). */
static int open_cpu(struct worker *w, const struct worker_call *call, struct task *t,
	const struct perf_verdict *v, int cgroup_fd)
{
	if (v->names_tasks && !t->facts.own_pidns)
		return open_ordered(w, call, t, v, -1, cgroup_fd);
	return open_here(v, cgroup_fd >= 0 ? cgroup_fd : -1, call->cpu, call->group_fd);
}

static int open_target(struct worker *w, const struct worker_call *call, struct task *t,
	const struct perf_verdict *v, enum perf_target_kind kind, int target_fd)
{
	switch (kind) {
	case PERF_TARGET_SELF:
		if (v->names_tasks && !t->facts.own_pidns)
			return open_ordered(w, call, t, v, call->pid, -EBADF);
		return open_here(v, own_here(call, t), call->cpu, call->group_fd);
	case PERF_TARGET_TASK:
		return open_task(w, call, t, v, target_fd);
	case PERF_TARGET_CGROUP:
		return call->cgroup_fd < 0 ? -EBADF : open_cpu(w, call, t, v, call->cgroup_fd);
	case PERF_TARGET_CPU:
		return open_cpu(w, call, t, v, -1);
	}
	return -EINVAL;
}

int call_open(struct worker *w, struct worker_call *call, struct task *t,
	const struct perf_verdict *v, enum perf_target_kind kind, int target_fd)
{
	switch (v->way) {
	case PERF_AS_CALLER:
		return open_as_caller(w, call, t, v);
	case PERF_OPEN_TARGET:
		return open_target(w, call, t, v, kind, target_fd);
	case PERF_OPEN_SCOPE:
		return open_cpu(w, call, t, v, t->scope_fd);
	case PERF_OPEN_CPU:
		return open_cpu(w, call, t, v, -EBADF);
	case PERF_REFUSE:
		break;
	}
	return -EACCES;
}
