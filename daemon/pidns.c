/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pidns.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "cleanup.h"

/* linux/nsfs.h, 6.11 */
#ifndef NS_GET_PID_FROM_PIDNS
#	define NS_GET_PID_FROM_PIDNS _IOR(0xb7, 0x6, int)
#endif
#ifndef NS_GET_TGID_FROM_PIDNS
#	define NS_GET_TGID_FROM_PIDNS _IOR(0xb7, 0x7, int)
#endif
#ifndef NS_GET_PID_IN_PIDNS
#	define NS_GET_PID_IN_PIDNS _IOR(0xb7, 0x8, int)
#endif

/* Numbers of one question to the inspector. */
#define BATCH ((size_t)64)

/* The kernel has no such ioctls. */
static atomic_bool without;

typedef int ask_fn(struct inspector *i, int pidns_fd, int32_t *pids, size_t n);

/* > 0, 0: there is none such, or -ENOTTY: the kernel cannot tell. */
static int kernel_tells(int pidns_fd, unsigned long what, int32_t pid)
{
	int r;

	if (atomic_load_explicit(&without, memory_order_relaxed))
		return -ENOTTY;
	r = ioctl(pidns_fd, what, pid);
	if (r >= 0)
		return r;
	if (errno == ESRCH)
		return 0;
	if (errno == ENOTTY)
		atomic_store_explicit(&without, true, memory_order_relaxed);
	return -errno;
}

/* What is the daemon's own number needs no translation. */
static bool is_own(int pidns_fd)
{
	struct stat own, other;

	return stat("/proc/self/ns/pid", &own) == 0 && fstat(pidns_fd, &other) == 0 &&
	       own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

static int inspector_tells(struct inspector *i, int pidns_fd, ask_fn *ask, int32_t *pids, size_t n)
{
	int r = 0;

	if (is_own(pidns_fd))
		return 0;
	for (size_t at = 0; r >= 0 && at < n; at += BATCH)
		r = ask(i, pidns_fd, pids + at, n - at < BATCH ? n - at : BATCH);
	return r < 0 ? r : 0;
}

static int translate_all(
	struct inspector *i, int pidns_fd, unsigned long what, ask_fn *ask, int32_t *pids, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		int r = kernel_tells(pidns_fd, what, pids[k]);

		if (r == -ENOTTY)
			return inspector_tells(i, pidns_fd, ask, pids + k, n - k);
		if (r < 0)
			return r;
		pids[k] = r;
	}
	return 0;
}

int pidns_to_host(struct inspector *i, int pidns_fd, int32_t pid)
{
	_cleanup_close_ int pidfd = -EBADF;
	int r = kernel_tells(pidns_fd, NS_GET_TGID_FROM_PIDNS, pid);

	if (r >= 0)
		return r > 0 ? r : -ESRCH;
	if (r != -ENOTTY)
		return r;
	r = inspector_tells(i, pidns_fd, inspect_pids_from, &pid, 1);
	if (r < 0)
		return r;
	/* Threads have credentials too, but no pidfd. */
	pidfd = pid > 0 ? pidfd_open(pid, 0) : -EBADF;
	return pidfd < 0 ? -ESRCH : pid;
}

int pidns_from_host(struct inspector *i, int pidns_fd, int32_t *pids, size_t n)
{
	return translate_all(i, pidns_fd, NS_GET_PID_IN_PIDNS, inspect_pids_in, pids, n);
}

int pidns_all_to_host(struct inspector *i, int pidns_fd, int32_t *pids, size_t n)
{
	return translate_all(i, pidns_fd, NS_GET_PID_FROM_PIDNS, inspect_pids_from, pids, n);
}
