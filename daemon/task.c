/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "task.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../policy/path.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "proc.h"

/* linux/pidfd.h, 6.13 (its first 64 bytes): the ids as the initial user namespace has them. */
struct pidfd_ids {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	uint32_t spare;
};
#define PIDFD_GET_IDS _IOWR(0xff, 11, struct pidfd_ids)
#define PIDFD_IDS_CREDS (1 << 1)

/* Before 6.13 there is no such question, and no need to ask it twice. */
static _Atomic bool no_info;

bool task_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, 0);
	while (r < 0 && errno == EINTR);
	return r == 0;
}

int task_ids(int proc_root_fd, pid_t pid, int pidfd, struct victim *ret, bool *ret_alone)
{
	struct pidfd_ids ids = {.mask = PIDFD_IDS_CREDS};
	struct proc_status status;
	int r;

	if (ret_alone)
		*ret_alone = false;
	r = no_info ? -1 : ioctl(pidfd, PIDFD_GET_IDS, &ids);
	if (r == 0 && (ids.mask & PIDFD_IDS_CREDS)) {
		ret->ruid = ids.ruid;
		ret->euid = ids.euid;
		ret->suid = ids.suid;
		return 0;
	}
	if (r < 0 && !no_info && errno == ESRCH)
		return -ESRCH;
	if (r < 0 && errno == ENOTTY)
		no_info = true;
	r = proc_status_read_pid(proc_root_fd, pid, &status);
	if (r < 0)
		return r;
	ret->ruid = status.ruid;
	ret->euid = status.euid;
	ret->suid = status.suid;
	if (ret_alone)
		*ret_alone = status.threads == 1;
	return 0;
}

/* A line for each hierarchy. */
#define CGROUP_TEXT_MAX ((size_t)128 * 1024)

static int place_read(int proc_root_fd, pid_t pid, const struct hierarchy *h, struct node *ret)
{
	_cleanup_free_ char *text = NULL;
	char name[32], path[PATH_TEXT_MAX + 1];
	ssize_t n;
	int r;

	snprintf(name, sizeof(name), "%d/cgroup", (int)pid);
	n = proc_read_heap(proc_root_fd, name, CGROUP_TEXT_MAX, &text);
	if (n < 0)
		return (int)n;
	r = hierarchy_path(h, text, (unsigned)n, path);
	return r < 0 ? r : cgroup_stat_path(h->root_fd, h->dev, path, strlen(path), ret);
}

int task_is_in(int proc_root_fd, pid_t pid, const struct hierarchy *h, uint64_t id)
{
	struct node node;
	int r = place_read(proc_root_fd, pid, h, &node);

	/* One that has been removed, or that nobody could have named. */
	if (r == -ENOENT || r == -ESTALE || r == -EXDEV || r == -ENAMETOOLONG)
		return 0;
	if (r < 0)
		return r;
	/* After its cgroup: what was read while it lived is true. */
	r = proc_exiting_pid(proc_root_fd, pid);
	return r < 0 ? r : !r && node.id == id;
}
