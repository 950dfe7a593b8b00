/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filter.h"
#include "own.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#	define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* The ABIs that a kernel of an architecture runs beside its own. */
static const struct {
	uint32_t native, other;
} abis[] = {
	{SCMP_ARCH_X86_64, SCMP_ARCH_X86},
	{SCMP_ARCH_X86_64, SCMP_ARCH_X32},
	{SCMP_ARCH_AARCH64, SCMP_ARCH_ARM},
	{SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS},
	{SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS64N32},
	{SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL},
	{SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL64N32},
	{SCMP_ARCH_PPC64, SCMP_ARCH_PPC},
	{SCMP_ARCH_S390X, SCMP_ARCH_S390},
	{SCMP_ARCH_PARISC64, SCMP_ARCH_PARISC},
};

static void own_filter(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static int filter_add_abis(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(abis) / sizeof(abis[0]); i++) {
		if (abis[i].native != seccomp_arch_native())
			continue;
		r = seccomp_arch_add(filter, abis[i].other);
		if (r == -EEXIST)
			r = 0;
	}
	return r;
}

static int filter_make(scmp_filter_ctx *ret)
{
	OWN(own_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -ENOMEM;
	/* else whoever uses yet another ABI is killed */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
	if (r == 0)
		r = filter_add_abis(filter);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(perf_event_open), 0);
	if (r < 0)
		return r;
	*ret = filter;
	filter = NULL;
	return 0;
}

/* As instructions, which libseccomp 2.5 gives to a file alone. */
static int filter_export(struct sock_filter **ret, unsigned short *ret_n)
{
	OWN(own_filter) scmp_filter_ctx filter = NULL;
	OWN(own_fd) int fd = memfd_create("filter", MFD_CLOEXEC);
	OWN(own_string) char *bytes = NULL;
	off_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = filter_make(&filter);
	if (r == 0)
		r = seccomp_export_bpf(filter, fd);
	if (r < 0)
		return r;
	size = lseek(fd, 0, SEEK_END);
	if (size <= 0 || size > (off_t)(BPF_MAXINSNS * sizeof(struct sock_filter)))
		return -E2BIG;
	bytes = malloc((size_t)size);
	if (!bytes)
		return -ENOMEM;
	if (pread(fd, bytes, (size_t)size, 0) != size)
		return -EIO;
	*ret = (struct sock_filter *)bytes;
	*ret_n = (unsigned short)((size_t)size / sizeof(struct sock_filter));
	bytes = NULL;
	return 0;
}

static int seccomp_listen(const struct sock_fprog *program, unsigned long flags)
{
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, program);

	return fd < 0 ? -errno : (int)fd;
}

/* With a signal that comes while the call is being answered a caller would ask again from the
 * start, with a fast timer for ever: since Linux 5.19 only a deadly one interrupts it. */
static int program_listen(const struct sock_fprog *program)
{
	int fd = seccomp_listen(program, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

	return fd == -EINVAL ? seccomp_listen(program, 0) : fd;
}

static bool notify_exists(void)
{
	uint32_t action = SECCOMP_RET_USER_NOTIF;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* no_new_privs is for good, so whether there is any use in it is tried in a child. */
static int program_try(const struct sock_fprog *program)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno
								   : program_listen(program);

		_exit(r < 0 ? -r : 0);
	}
	/* what it cannot tell is found out in earnest */
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 0;
	return -WEXITSTATUS(status);
}

int filter_load(int *ret_listener)
{
	struct sock_fprog program = {0};
	OWN(own_string) char *bytes = NULL;
	int r;

	if (!notify_exists())
		return -ENOSYS;
	r = filter_export(&program.filter, &program.len);
	if (r < 0)
		return r;
	bytes = (char *)program.filter;
	r = program_listen(&program);
	if (r == -EACCES) {
		r = program_try(&program);
		if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
			r = program_listen(&program);
	}
	if (r < 0)
		return r;
	*ret_listener = r;
	return 0;
}
