/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who connected, from the kernel alone: SO_PEERCRED, a pidfd (SO_PEERPIDFD, 6.5; before that
 * pidfd_open and a second look), and an O_PATH fd of /proc/PID, which reads nothing once that
 * process is gone. Or whom somebody else speaks for, whose credentials the kernel vouched for.
 *
 * Who connected can be asked of its socket again and again. So its fds are opened when they are
 * needed, and an idle connection holds none of them.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct identity {
	pid_t pid; /* all as the initial namespaces have them, frozen at connect(2) */
	uid_t uid;
	gid_t gid;
	int cgroup_fd;	  /* /proc/PID/cgroup, when first needed; -EBADF before */
	int pidns_fd;	  /* the pid namespace, when first needed; -EBADF before */
	bool pidns_known; /* pidns_fd is settled: -EBADF then means the daemon's own */
	bool raced; /* no SO_PEERPIDFD: the pid could have been reused between connect and accept */
	bool claimed; /* by identity_claim(): the ids are the real ones */
	/* identity.c's own: identity_pidfd() and identity_proc() are asked for them. */
	int sock, proc_root_fd; /* borrowed */
	int pidfd, proc_fd;	/* -EBADF: not there now */
};

#define IDENTITY_NONE                      \
	((struct identity){.sock = -EBADF, \
		.pidfd = -EBADF,           \
		.proc_root_fd = -EBADF,    \
		.proc_fd = -EBADF,         \
		.cgroup_fd = -EBADF,       \
		.pidns_fd = -EBADF})

/* Both fds are borrowed for the identity's life. -ESRCH: it is gone already. -EOPNOTSUPP: no
 * SO_PEERPIDFD and `strict`. */
int identity_take(struct identity *ret, int sock, int proc_root_fd, bool strict);

/*
 * A process that somebody speaks for: SCM_CREDENTIALS, as the initial namespaces have them. The
 * kernel let the sender name any id that it may take on, so cred's ids must be the real ones of the
 * process. -ESRCH: it is gone, or no process. -EPERM: other ids. All fds are held till
 * identity_done().
 */
int identity_claim(struct identity *ret, const struct ucred *cred, int proc_root_fd);

/*
 * A thread, leader or not, with its effective ids as they are now, for what is gathered of it and
 * neither checked nor asked for a pidfd. By number: the caller sees to it that it stays that
 * thread's, as long as it lives. -ESRCH: gone.
 */
int identity_thread(struct identity *ret, pid_t tid, int proc_root_fd);

void identity_done(struct identity *i);

/* Borrowed fds, until identity_rest() or identity_done(): a pidfd, and an O_PATH fd of /proc/PID.
 * -ESRCH: gone. */
int identity_pidfd(struct identity *i);
int identity_proc(struct identity *i);

/* Between two calls: closes what can be had again. */
void identity_rest(struct identity *i);

/* By polling the pidfd: a zombie is not alive. */
bool identity_alive(struct identity *i);

/*
 * 0: alive and its effective uid and gid are those of connect (CVE-2013-4288); of a claimed one,
 * its real ones those that were claimed. -ESRCH: gone. -EPERM: other credentials now. Two system
 * calls, where the fds are there, for who connected.
 */
int identity_check(struct identity *i);
