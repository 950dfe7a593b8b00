/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

/* Root-owned cgroup files need none of these; directories that a container owns need DAC_OVERRIDE,
 * giving away needs CHOWN and FOWNER (capabilities(7)); cpuset and cpu ask SYS_NICE of whoever
 * moves a task with capabilities that the mover has not (the kernel's cap_task_setscheduler()). */
static const cap_value_t kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SYS_NICE};

/* Of no use to the core, nor to the spawner and what that forks, but to an intruder. */
static const int refused[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(fsopen),
	SCMP_SYS(fspick),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(acct),
	SCMP_SYS(quotactl),
};

/* Nor these to the core alone: those of its helpers that make them have begun by then. */
static const int refused_core[] = {
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(chroot),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(setuid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setreuid),
	SCMP_SYS(memfd_create),
};

/* A porter's: its channel, sockets, links below /proc, the time, its end. */
static const int porter_calls[] = {
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(setsockopt),
	SCMP_SYS(readlinkat),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(close),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(exit_group),
};

/* Which of its arguments they are. */
#ifdef __s390__
#	define CLONE_FLAGS SCMP_A1
#else
#	define CLONE_FLAGS SCMP_A0
#endif

/* What makes a porter of a fork besides. */
static const int zygote_calls[] = {
	SCMP_SYS(prctl),
	SCMP_SYS(getppid),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(close_range),
};

static int keep(cap_t caps, int n, const cap_value_t *values)
{
	return cap_set_flag(caps, CAP_PERMITTED, n, values, CAP_SET) < 0 ||
			       cap_set_flag(caps, CAP_EFFECTIVE, n, values, CAP_SET) < 0
		       ? -errno
		       : 0;
}

/* Where it is there: CAP_BPF came with 5.8. */
static int keep_if_had(cap_t caps, cap_value_t value)
{
	cap_flag_value_t had = CAP_CLEAR;
	cap_t now = cap_get_proc();
	int r = now ? 0 : -errno;

	if (now)
		cap_get_flag(now, value, CAP_PERMITTED, &had);
	cap_free(now);
	return had == CAP_SET ? keep(caps, 1, &value) : r;
}

int sandbox_capabilities(const struct sandbox_bpf *bpf)
{
	cap_t caps = cap_init();
	int r;

	if (!caps)
		return -errno;
	r = keep(caps, sizeof(kept) / sizeof(kept[0]), kept);
	if (r >= 0 && bpf->calls)
		r = keep_if_had(caps, CAP_NET_ADMIN);
	if (r >= 0 && bpf->capability)
		r = keep_if_had(caps, CAP_BPF);
	if (r >= 0 && bpf->loads)
		r = keep_if_had(caps, CAP_PERFMON);
	if (r >= 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || cap_set_proc(caps) < 0))
		r = -errno;
	cap_free(caps);
	return r;
}

/*
 * bpf(2)'s first argument.
 */

static const int bpf_calls[] = {
	BPF_MAP_LOOKUP_ELEM,
	BPF_MAP_UPDATE_ELEM,
	BPF_OBJ_PIN,
	BPF_OBJ_GET,
	BPF_PROG_ATTACH,
	BPF_PROG_DETACH,
	BPF_OBJ_GET_INFO_BY_FD,
	BPF_PROG_QUERY,
	BPF_LINK_CREATE,
	BPF_LINK_UPDATE,
	BPF_LINK_DETACH,
};

static const int bpf_loads[] = {
	BPF_MAP_CREATE,
	BPF_MAP_FREEZE,
	BPF_PROG_LOAD,
	BPF_BTF_LOAD,
};

static const int bpf_keys[] = {
	BPF_MAP_UPDATE_ELEM,
	BPF_MAP_DELETE_ELEM,
	BPF_MAP_GET_NEXT_KEY,
};

static bool is_in(const int *list, size_t n, int value)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == value)
			return true;
	return false;
}

static bool bpf_passes(const struct sandbox_bpf *bpf, int command)
{
	return (bpf->calls &&
		       is_in(bpf_calls, sizeof(bpf_calls) / sizeof(bpf_calls[0]), command)) ||
	       (bpf->loads &&
		       is_in(bpf_loads, sizeof(bpf_loads) / sizeof(bpf_loads[0]), command)) ||
	       (bpf->keys && is_in(bpf_keys, sizeof(bpf_keys) / sizeof(bpf_keys[0]), command));
}

/* The kernel looks at 32 bits of it and the filter at 64: what is larger than all commands that
 * pass is refused with whatever it has in its upper half. */
static int refuse_bpf(scmp_filter_ctx filter, const struct sandbox_bpf *bpf)
{
	const uint32_t refusal = SCMP_ACT_ERRNO(EPERM);
	int last = BPF_LINK_DETACH, r = 0;

	if (!bpf->calls && !bpf->keys)
		return seccomp_rule_add(filter, refusal, SCMP_SYS(bpf), 0);
	for (int i = 0; r >= 0 && i < last; i++)
		if (!bpf_passes(bpf, i))
			r = seccomp_rule_add(
				filter, refusal, SCMP_SYS(bpf), 1, SCMP_A0(SCMP_CMP_EQ, i));
	if (r >= 0)
		r = seccomp_rule_add(filter, refusal, SCMP_SYS(bpf), 1, SCMP_A0(SCMP_CMP_GT, last));
	return r;
}

static int refuse(scmp_filter_ctx filter, const int *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
	return r;
}

int sandbox_syscalls(const struct sandbox_bpf *bpf)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -EOPNOTSUPP;
	r = refuse(filter, refused, sizeof(refused) / sizeof(refused[0]));
	if (r >= 0)
		r = refuse(filter, refused_core, sizeof(refused_core) / sizeof(refused_core[0]));
	if (r >= 0)
		r = refuse_bpf(filter, bpf);
	if (r >= 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_NE, AF_UNIX));
	if (r >= 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

static int allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

/* Through a pipe, which takes more than any filter of ours at once. */
static int program(scmp_filter_ctx filter, struct sock_fprog *ret)
{
	_cleanup_close_ int out = -EBADF;
	_cleanup_close_ int in = -EBADF;
	_cleanup_free_ struct sock_filter *code = NULL;
	size_t size = BPF_MAXINSNS * sizeof(*code);
	ssize_t n;
	int r, fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	in = fds[0];
	out = fds[1];
	code = malloc(size);
	if (!code)
		return -ENOMEM;
	r = seccomp_export_bpf(filter, out);
	if (r < 0)
		return r;
	n = read(in, code, size);
	if (n <= 0 || n % sizeof(*code) != 0)
		return n < 0 ? -errno : -EIO;
	*ret = (struct sock_fprog){.len = n / sizeof(*code), .filter = TAKE_PTR(code)};
	return 0;
}

static int only(bool forks, struct sock_fprog *ret)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!filter)
		return -EOPNOTSUPP;
	r = allow(filter, porter_calls, sizeof(porter_calls) / sizeof(porter_calls[0]));
	if (r >= 0)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL));
	if (r >= 0 && forks)
		r = allow(filter, zygote_calls, sizeof(zygote_calls) / sizeof(zygote_calls[0]));
	if (r >= 0 && forks)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			CLONE_FLAGS(SCMP_CMP_EQ, SANDBOX_ZYGOTE_CLONE));
	if (r >= 0)
		r = program(filter, ret);
	seccomp_release(filter);
	return r;
}

int sandbox_porter(struct sock_fprog *ret)
{
	return only(false, ret);
}

int sandbox_zygote(struct sock_fprog *ret)
{
	return only(true, ret);
}

int sandbox_only(const int *calls, size_t n, struct sock_fprog *ret)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter ? allow(filter, calls, n) : -EOPNOTSUPP;

	if (r >= 0)
		r = program(filter, ret);
	seccomp_release(filter);
	return r;
}

int sandbox_without(const int *calls, size_t n)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = filter ? refuse(filter, refused, sizeof(refused) / sizeof(refused[0]))
		       : -EOPNOTSUPP;

	if (r >= 0)
		r = refuse(filter, calls, n);
	if (r >= 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r == -EINVAL ? -EOPNOTSUPP : r;
}

int sandbox_load(const struct sock_fprog *filter)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter, 0, 0) == 0)
		return 0;
	return errno == EINVAL ? -EOPNOTSUPP : -errno;
}
