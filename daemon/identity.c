/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "identity.h"

#ifndef SO_PEERPIDFD
#	define SO_PEERPIDFD 77 /* 6.5 */
#endif

static bool pidfd_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, 0);
	while (r < 0 && errno == EINTR);
	return r == 0;
}

/* The peer's pidfd; *ret_raced if the kernel could only be asked by number. */
static int peer_pidfd(int sock, pid_t pid, bool strict, bool *ret_raced)
{
	socklen_t size = sizeof(int);
	int fd;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) {
		*ret_raced = false;
		return fd;
	}
	if (errno == ENODATA || errno == ESRCH || errno == EINVAL)
		return -ESRCH; /* reaped already; a newer kernel gives a pidfd all the same */
	if (errno != ENOPROTOOPT)
		return -errno;
	if (strict)
		return -EOPNOTSUPP;
	*ret_raced = true;
	fd = pidfd_open(pid, 0);
	return fd < 0 ? -errno : fd;
}

int identity_take(struct identity *ret, int sock, int proc_root_fd, bool strict)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	_cleanup_close_ int pidfd = -EBADF;
	_cleanup_close_ int proc_fd = -EBADF;
	struct identity id = IDENTITY_NONE;
	char name[16];
	int r;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH; /* not visible in our pid namespace */
	pidfd = peer_pidfd(sock, cred.pid, strict, &id.raced);
	if (pidfd < 0)
		return pidfd;
	snprintf(name, sizeof(name), "%d", (int)cred.pid);
	proc_fd = openat(proc_root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (proc_fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;

	/* The pidfd's process still being alive ties the directory, opened by number, to it. */
	id = (struct identity){
		.pid = cred.pid,
		.uid = cred.uid,
		.gid = cred.gid,
		.pidfd = pidfd,
		.proc_fd = proc_fd,
		.cgroup_fd = -EBADF,
		.pidns_fd = -EBADF,
		.raced = id.raced,
	};
	if (id.raced) {
		/* Whoever got the number in between must at least be the same user. */
		r = identity_check(&id);
		if (r < 0)
			return r == -EPERM ? -ESRCH : r;
	} else if (!pidfd_alive(pidfd)) {
		return -ESRCH;
	}
	(void)TAKE_FD(pidfd);
	(void)TAKE_FD(proc_fd);
	*ret = id;
	return 0;
}

void identity_done(struct identity *i)
{
	close_fd(&i->pidfd);
	close_fd(&i->proc_fd);
	close_fd(&i->cgroup_fd);
	close_fd(&i->pidns_fd);
}

bool identity_alive(const struct identity *i)
{
	return pidfd_alive(i->pidfd);
}

int identity_check(const struct identity *i)
{
	struct stat st;

	/* The /proc/PID directory itself belongs to the effective ids, whatever dumpable says; that
	 * of a dead process to root. Hence the order: looked at first, known to be alive
	 * afterwards. */
	if (fstat(i->proc_fd, &st) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	if (!pidfd_alive(i->pidfd))
		return -ESRCH;
	return st.st_uid == i->uid && st.st_gid == i->gid ? 0 : -EPERM;
}
