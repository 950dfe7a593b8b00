/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rights.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(cap) (UINT64_C(1) << (cap))

/* Without libcap, whose sets are for one cap at a time: what /proc/PID/status says goes in as it
 * is.
 */
static int caps_set(uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct data[2] = {
		{.permitted = (uint32_t)permitted, .effective = (uint32_t)effective},
		{.permitted = (uint32_t)(permitted >> 32),
			.effective = (uint32_t)(effective >> 32)},
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int rights_get(uint64_t *ret)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	*ret = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

void rights_unbind(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			break;
}

/* With these effective alone; what is permitted stays. */
static bool may_open(uint64_t have, uint64_t effective)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = PERF_ATTR_SIZE_VER0,
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.disabled = 1,
	};
	long fd = -1;

	if (caps_set(have, effective) == 0)
		fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

uint64_t rights_perfmon(void)
{
	static uint64_t found; /* by who forks all others */
	uint64_t have;

	if (found)
		return found;
	/* -EINVAL for what the kernel does not know. */
	if (prctl(PR_CAPBSET_READ, CAP_PERFMON, 0, 0, 0) < 0)
		return found = BIT(CAP_SYS_ADMIN);
	found = BIT(CAP_PERFMON);
	if (rights_get(&have) < 0 || !(have & BIT(CAP_SYS_ADMIN)))
		return found;
	/* Distributions' kernels have a level 3 of perf_event_paranoid at which CAP_PERFMON is not
	 * asked for. */
	if (!may_open(have, found) && may_open(have, found | BIT(CAP_SYS_ADMIN)))
		found |= BIT(CAP_SYS_ADMIN);
	(void)caps_set(have, have);
	return found;
}

int rights_set(uint64_t permitted, uint64_t effective)
{
	int r = caps_set(permitted, effective);

	if (r == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		r = -errno;
	/* After the credentials, whose change sets it to what fs.suid_dumpable says. */
	if (r == 0 && (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		r = -errno;
	return r;
}

int rights_keep(const int *caps, unsigned n)
{
	uint64_t have, want = 0;
	int r = rights_get(&have);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < n; i++)
		want |= caps[i] == CAP_PERFMON ? rights_perfmon() : BIT(caps[i]);
	return rights_set(have & want, have & want);
}

int fds_keep(int *fds, unsigned n)
{
	/* First all out of the way. One that is not there (a daemon without standard input) stays
	 * so. */
	for (unsigned i = 0; i < n; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, (int)n);
		if (fds[i] < 0 && errno != EBADF)
			return -errno;
	}
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0 && dup2(fds[i], (int)i) < 0)
			return -errno;
		if (fds[i] >= 0)
			fds[i] = (int)i;
		else
			close((int)i);
	}
	closefrom((int)n);
	return 0;
}
