/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a worker gives up. Linked with libcap and libseccomp as sandbox.c is. */
#include <errno.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "rights.h"
#include "worker-core.h"

static const int calls[] = {
	SCMP_SYS(perf_event_open),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(kcmp),
	SCMP_SYS(ioctl),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(socketpair),
	SCMP_SYS(connect),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(read),
	SCMP_SYS(pread64),
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(fcntl64),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(getdents64),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(fstat),
	SCMP_SYS(fstat64),
	SCMP_SYS(newfstatat),
	SCMP_SYS(fstatat64),
	SCMP_SYS(statx),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getrandom),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(tgkill),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int keep_if_had(cap_t caps, cap_t now, cap_value_t value)
{
	cap_flag_value_t had = CAP_CLEAR;

	cap_get_flag(now, value, CAP_PERMITTED, &had);
	if (had != CAP_SET)
		return 0;
	return cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_SET) < 0 ||
			       cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_SET) < 0
		       ? -errno
		       : 0;
}

static int drop(bool broker)
{
	cap_t caps = cap_init(), now = cap_get_proc();
	int r = caps && now ? 0 : -ENOMEM;

	/* What the spawner found this kernel to ask for. */
	for (int cap = 0; r >= 0 && cap < 64; cap++)
		if (rights_perfmon() & (UINT64_C(1) << cap))
			r = keep_if_had(caps, now, cap);
	if (r >= 0)
		r = keep_if_had(caps, now, CAP_SYS_PTRACE);
	if (r >= 0)
		r = keep_if_had(caps, now, CAP_DAC_READ_SEARCH);
	if (r >= 0 && broker)
		r = keep_if_had(caps, now, CAP_KILL);
	if (r >= 0 && cap_set_proc(caps) < 0)
		r = -errno;
	cap_free(caps);
	cap_free(now);
	return r;
}

/* Memory for data, none for code; sockets of the one kind that there is a peer for. */
static int rules(scmp_filter_ctx filter)
{
	const uint32_t pass = SCMP_ACT_ALLOW;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		r = seccomp_rule_add(filter, pass, calls[i], 0);
	if (r >= 0)
		r = seccomp_rule_add(
			filter, pass, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r >= 0)
		r = seccomp_rule_add(filter, pass, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r >= 0)
		r = seccomp_rule_add(
			filter, pass, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	return r;
}

int worker_confine(bool broker)
{
	scmp_filter_ctx filter;
	int r;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = drop(broker);
	if (r < 0)
		return r;
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return 0; /* no seccomp here, which the core has said */
	r = rules(filter);
	if (r >= 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
