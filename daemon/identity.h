/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who connected, from the kernel alone: SO_PEERCRED, a pidfd (SO_PEERPIDFD, 6.5; before that
 * pidfd_open and a second look), and an O_PATH fd of /proc/PID, which reads nothing once that
 * process is gone.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct identity {
	pid_t pid; /* all as the initial namespaces have them, frozen at connect(2) */
	uid_t uid;
	gid_t gid;
	int pidfd;
	int proc_fd;
	int cgroup_fd; /* /proc/PID/cgroup, when first needed; -EBADF before */
	int pidns_fd;  /* the pid namespace, when first needed; -EBADF before */
	bool raced; /* no SO_PEERPIDFD: the pid could have been reused between connect and accept */
};

#define IDENTITY_NONE       \
	((struct identity){ \
		.pidfd = -EBADF, .proc_fd = -EBADF, .cgroup_fd = -EBADF, .pidns_fd = -EBADF})

/* -ESRCH: it is gone already. -EOPNOTSUPP: no SO_PEERPIDFD and `strict`. */
int identity_take(struct identity *ret, int sock, int proc_root_fd, bool strict);
void identity_done(struct identity *i);

/* By polling the pidfd: a zombie is not alive. */
bool identity_alive(const struct identity *i);

/*
 * 0: alive and its effective uid and gid are those of connect (CVE-2013-4288). -ESRCH: gone.
 * -EPERM: other credentials now. Two system calls.
 */
int identity_check(const struct identity *i);
