/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One call of perf_event_open(2): what it asks for, and what is decided about it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../cleanup.h"
#include "worker-core.h"

#define ATTR_PAGE 4096 /* of the smallest pages that there are */

/*
 * Whose system call it is.
 */

static const uint32_t abis[] = {
	SCMP_ARCH_NATIVE,
#ifdef __x86_64__
	SCMP_ARCH_X86,
	SCMP_ARCH_X32,
#elif defined(__aarch64__)
	SCMP_ARCH_ARM,
#elif defined(__s390x__)
	SCMP_ARCH_S390,
#elif defined(__powerpc64__)
	SCMP_ARCH_PPC,
#elif defined(__mips64)
	SCMP_ARCH_MIPS,
	SCMP_ARCH_MIPS64N32,
#endif
};

#define N_ABIS (sizeof(abis) / sizeof(abis[0]))

/* As struct seccomp_data has it: X32 is x86_64 with a bit in the number. */
static uint32_t audit_arch(uint32_t abi)
{
	if (abi == SCMP_ARCH_NATIVE)
		return seccomp_arch_native();
	return abi == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : abi;
}

bool worker_is_ours(const struct seccomp_data *data)
{
	static int numbers[N_ABIS];

	for (size_t i = 0; i < N_ABIS; i++) {
		if (numbers[i] == 0)
			numbers[i] = seccomp_syscall_resolve_name_arch(abis[i], "perf_event_open");
		if (numbers[i] > 0 && data->nr == numbers[i] && data->arch == audit_arch(abis[i]))
			return true;
	}
	return false;
}

bool worker_valid(int listener, uint64_t id)
{
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static bool is_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

bool call_valid(const struct worker_call *call)
{
	return call->listener >= 0 ? worker_valid(call->listener, call->id) : is_alive(call->held);
}

/*
 * Its attr. One copy is judged and opened; the size is that which it was copied by, as the kernel
 * does it.
 */

static ssize_t memory_read(pid_t tid, uint64_t address, void *buf, size_t size)
{
	struct iovec to = {buf, size}, from = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_readv(tid, &to, 1, &from, 1, 0);

	if (n < 0)
		return errno == EFAULT ? -EFAULT : errno == ESRCH ? -ESRCH : -EACCES;
	return n;
}

/* At first no more than any program has there, and not over the end of a page. */
static size_t first_size(uint64_t address)
{
	size_t left = ATTR_PAGE - address % ATTR_PAGE;

	if (left < PERF_ATTR_SIZE_VER0)
		return PERF_ATTR_SIZE_VER0;
	return left < PERF_ATTR_BYTES ? left : PERF_ATTR_BYTES;
}

static int attr_read(pid_t tid, uint64_t address, struct perf_attr *ret)
{
	static uint8_t bytes[PERF_ATTR_BYTES_MAX];
	ssize_t n = memory_read(tid, address, bytes, first_size(address));
	uint32_t size;

	if (n < 0)
		return (int)n;
	if ((size_t)n < offsetof(struct perf_event_attr, size) + sizeof(size))
		return -EFAULT;
	memcpy(&size, bytes + offsetof(struct perf_event_attr, size), sizeof(size));
	if (size == 0)
		size = PERF_ATTR_SIZE_VER0;
	if (size < PERF_ATTR_SIZE_VER0 || size > PERF_ATTR_BYTES_MAX)
		return -E2BIG;
	if (size > (size_t)n) {
		n = memory_read(tid, address, bytes, size);
		if (n != (ssize_t)size)
			return n == -ESRCH ? -ESRCH : -EFAULT;
		memcpy(bytes + offsetof(struct perf_event_attr, size), &size, sizeof(size));
	}
	return perf_attr_copy(bytes, size, ret);
}

/*
 * The fds that it names.
 */

static int fd_take(struct worker *w, struct task *t, int number, int *ret)
{
	*ret = task_getfd(w, t, number);
	return *ret == -EMFILE || *ret == -ENFILE || *ret == -ENOMEM ? *ret : *ret < 0 ? -EBADF : 0;
}

/* The kernel sees whether it is an event. */
static int group_take(struct worker *w, struct worker_call *call, struct task *t)
{
	int r;

	if (call->group < 0)
		return call->group == -1 ? 0 : -EBADF;
	if (call->group_fd >= 0)
		return 0;
	r = fd_take(w, t, call->group, &call->group_fd);
	if (r == 0 && !worker_is_anon(w, call->group_fd)) {
		worker_strand(w, &call->group_fd);
		r = -EBADF;
	}
	return r;
}

static enum perf_target_kind target_of(const struct worker_call *call, const struct task *t)
{
	if (call->flags & PERF_FLAG_PID_CGROUP)
		return PERF_TARGET_CGROUP;
	if (call->pid == -1)
		return PERF_TARGET_CPU;
	return call->pid == 0 || call->pid == t->own_tid || call->pid == t->own_tgid
		       ? PERF_TARGET_SELF
		       : PERF_TARGET_TASK;
}

/*
 * The decision.
 */

int call_cgroup(struct worker *w, struct worker_call *call, struct task *t)
{
	int r;

	if (call->cgroup_fd >= 0)
		return 0;
	if (call->listener < 0)
		return -EBADF;
	r = fd_take(w, t, call->pid, &call->cgroup_fd);
	if (r < 0 || task_is_cgroup(t, call->cgroup_fd))
		return r;
	/* Whose file it is nobody knows. */
	if (worker_is_anon(w, call->cgroup_fd))
		close_fd(&call->cgroup_fd);
	else
		worker_strand(w, &call->cgroup_fd);
	return -EBADF;
}

static int cgroup_find(struct worker *w, struct worker_call *call, struct task *t, bool *ret)
{
	int r = call_cgroup(w, call, t);

	*ret = r >= 0 && task_in_scope(t, call->cgroup_fd);
	return r;
}

static int need_find(struct worker *w, struct worker_call *call, struct task *t, unsigned need,
	struct perf_facts *facts, int *ret_target)
{
	int r = 0;

	facts->have |= need;
	if (need & PERF_FACT_CGROUP)
		r = cgroup_find(w, call, t, &facts->in_scope);
	if (r >= 0 && (need & PERF_FACT_PTRACE)) {
		r = call_trace(w, call, ret_target);
		facts->may_ptrace = r >= 0;
		/* The others are its own to know. */
		r = r == -ESRCH || r == -ESTALE || r == -EAGAIN ? r : 0;
	}
	return r;
}

static int decide(struct worker *w, struct worker_call *call, struct task *t,
	enum perf_target_kind kind, struct perf_verdict *ret, int *ret_target)
{
	struct perf_facts facts = {.grant = &t->facts.grant};
	struct perf_call asked = {
		.attr = call->attr,
		.target = kind,
		.cpu = call->cpu,
		.has_group = call->group != -1,
		.flags = call->flags,
	};

	for (;;) {
		unsigned need;
		int r;

		*ret = perf_decide(&asked, &facts);
		need = ret->need & ~facts.have;
		if (!ret->need)
			return ret->way == PERF_REFUSE ? ret->err : 0;
		if (!need)
			return -EACCES;
		r = need_find(w, call, t, need, &facts, ret_target);
		if (r < 0)
			return r;
	}
}

static int event_of(struct worker *w, struct worker_call *call, struct task *t, enum reason *reason)
{
	_cleanup_close_ int target = -EBADF;
	_cleanup_close_ int event = -EBADF;
	enum perf_target_kind kind;
	struct perf_verdict v;
	unsigned cpu;
	int r = 0;

	if (call->pid >= 0 && !(call->flags & PERF_FLAG_PID_CGROUP))
		r = task_numbers(w, t);
	if (r >= 0)
		r = group_take(w, call, t);
	if (r < 0)
		return r;
	kind = target_of(call, t);
	if (kind == PERF_TARGET_SELF && call->listener < 0) {
		/* It does not wait, and may be a program by now that it must not look into. */
		call->pid = call->pid ?: t->own_tid;
		kind = PERF_TARGET_TASK;
	}
	r = decide(w, call, t, kind, &v, &target);
	if (!call_valid(call))
		return -ESTALE;
	if (r < 0) {
		*reason = v.reason;
		return r;
	}
	/* Of the CPU that is asked for; whoever asks for a task's counts there. */
	cpu = v.way == PERF_OPEN_TARGET && kind != PERF_TARGET_CGROUP ? PERF_CPUS_MAX
	      : call->cpu >= 0 && call->cpu < PERF_CPUS_MAX	      ? (unsigned)call->cpu
								      : PERF_CPUS_MAX - 1;
	if (v.counted)
		r = quota_check(w, t, cpu);
	if (r >= 0)
		r = event = call_open(w, call, t, &v, kind, target);
	if (r >= 0 && v.counted)
		r = quota_add(w, t, cpu, &v, event);
	return r < 0 ? r : TAKE_FD(event);
}

/* For the statistics. */
static void count(struct worker *w, int r)
{
	atomic_fetch_add(&w->slot->calls, 1);
	if (r == -ESTALE)
		atomic_fetch_add(&w->slot->dropped, 1);
	else if (r < 0)
		atomic_fetch_add(&w->slot->refused, 1);
}

int call_make(struct worker *w, struct worker_call *call, struct worker_answer *ret)
{
	struct task *t;
	int r;

	*ret = (struct worker_answer){
		.fd = -EBADF,
		.newfd_flags = call->flags & PERF_FLAG_FD_CLOEXEC ? O_CLOEXEC : 0,
	};
	r = task_of(w, call->tid, &t);
	if (r >= 0)
		r = event_of(w, call, t, &ret->reason);
	/* Even the target: the number is the caller's word. */
	if (r == -ESRCH && !call_valid(call))
		r = -ESTALE;
	close_fd(&call->group_fd);
	close_fd(&call->cgroup_fd);
	if (r >= 0)
		ret->fd = r;
	else
		ret->err = r;
	count(w, r);
	return r == -ESTALE ? r : 0;
}

int worker_handle(struct worker *w, int listener, const struct seccomp_notif *notif,
	struct worker_answer *ret)
{
	const __u64 *args = notif->data.args;
	struct worker_call call = {
		.tid = (pid_t)notif->pid,
		.pid = (int32_t)args[1],
		.cpu = (int32_t)args[2],
		.group = (int32_t)args[3],
		.flags = args[4],
		.group_fd = -EBADF,
		.cgroup_fd = -EBADF,
		.listener = listener,
		.id = notif->id,
		.held = -EBADF,
	};
	int r;

	*ret = (struct worker_answer){.fd = -EBADF};
	if (!worker_is_ours(&notif->data)) {
		worker_news(w, PERF_NEWS_CALL);
		ret->err = -ENOSYS;
		return 0;
	}
	r = attr_read(call.tid, args[0], &call.attr);
	if (r == 0)
		return call_make(w, &call, ret);
	ret->err = r;
	if (!worker_valid(listener, call.id))
		r = -ESTALE;
	count(w, r);
	return r == -ESTALE ? r : 0;
}
