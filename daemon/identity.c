/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "identity.h"
#include "proc.h"
#include "task.h"

#ifndef SO_PEERPIDFD
#	define SO_PEERPIDFD 77 /* 6.5 */
#endif

/* -ENOPROTOOPT: the kernel has no such question. */
static int peer_pidfd(int sock)
{
	socklen_t size = sizeof(int);
	int fd;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0)
		return fd;
	/* Reaped already; a newer kernel gives a pidfd all the same. */
	return errno == ENODATA || errno == ESRCH || errno == EINVAL ? -ESRCH : -errno;
}

static int number_pidfd(pid_t pid)
{
	int fd = pidfd_open(pid, 0);

	if (fd >= 0)
		return fd;
	/* The number of a thread that is no process. */
	return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
}

int identity_take(struct identity *ret, int sock, int proc_root_fd, bool strict)
{
	struct identity id = IDENTITY_NONE;
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int r = 0;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH; /* not visible in our pid namespace */
	id.pid = cred.pid;
	id.uid = cred.uid;
	id.gid = cred.gid;
	id.sock = sock;
	id.proc_root_fd = proc_root_fd;
	id.pidfd = peer_pidfd(sock);
	if (id.pidfd == -ENOPROTOOPT && !strict) {
		id.raced = true;
		id.pidfd = number_pidfd(id.pid);
	}
	if (id.pidfd < 0)
		return id.pidfd == -ENOPROTOOPT ? -EOPNOTSUPP : id.pidfd;
	/* Whoever got the number in between must at least be the same user. */
	if (id.raced)
		r = identity_check(&id);
	else if (!task_alive(id.pidfd))
		r = -ESRCH;
	if (r < 0) {
		identity_done(&id);
		return r == -EPERM ? -ESRCH : r;
	}
	*ret = id;
	return 0;
}

int identity_claim(struct identity *ret, const struct ucred *cred, int proc_root_fd)
{
	struct identity id = IDENTITY_NONE;
	int r;

	if (cred->pid <= 0)
		return -ESRCH;
	id.pid = cred->pid;
	id.uid = cred->uid;
	id.gid = cred->gid;
	id.claimed = true;
	id.proc_root_fd = proc_root_fd;
	id.pidfd = number_pidfd(id.pid);
	if (id.pidfd < 0)
		return id.pidfd;
	r = identity_check(&id);
	if (r < 0) {
		identity_done(&id);
		return r;
	}
	*ret = id;
	return 0;
}

/* The /proc/PID directory itself belongs to the effective ids, whatever dumpable says. */
static int ids_effective(int proc_fd, uid_t *ret_uid, gid_t *ret_gid)
{
	struct stat st;

	if (fstat(proc_fd, &st) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret_uid = st.st_uid;
	*ret_gid = st.st_gid;
	return 0;
}

int identity_thread(struct identity *ret, pid_t tid, int proc_root_fd)
{
	struct identity id = IDENTITY_NONE;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "%d", (int)tid);
	id.pid = tid;
	id.claimed = true;
	id.proc_root_fd = proc_root_fd;
	id.proc_fd = openat(proc_root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (id.proc_fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = ids_effective(id.proc_fd, &id.uid, &id.gid);
	if (r < 0) {
		identity_done(&id);
		return r;
	}
	*ret = id;
	return 0;
}

void identity_done(struct identity *i)
{
	close_fd(&i->pidfd);
	close_fd(&i->proc_fd);
	close_fd(&i->cgroup_fd);
	close_fd(&i->pidns_fd);
	i->pidns_known = false;
}

void identity_rest(struct identity *i)
{
	if (i->claimed)
		return;
	/* Without SO_PEERPIDFD nothing but the pidfd of accept still tells who connected. */
	if (!i->raced)
		close_fd(&i->pidfd);
	close_fd(&i->proc_fd);
	close_fd(&i->cgroup_fd);
	if (i->pidns_fd >= 0)
		i->pidns_known = false;
	close_fd(&i->pidns_fd);
}

int identity_pidfd(struct identity *i)
{
	if (i->pidfd < 0) {
		int fd = i->sock < 0 || i->raced ? -ESRCH : peer_pidfd(i->sock);

		if (fd < 0)
			return fd;
		i->pidfd = fd;
	}
	return i->pidfd;
}

/* Opened by number. The pidfd's process still being alive afterwards is what ties the directory to
 * it: hence this order, whenever it is opened. */
int identity_proc(struct identity *i)
{
	char name[16];
	int fd, pidfd;

	if (i->proc_fd >= 0)
		return i->proc_fd;
	snprintf(name, sizeof(name), "%d", (int)i->pid);
	fd = openat(i->proc_root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	pidfd = identity_pidfd(i);
	if (pidfd < 0 || !task_alive(pidfd)) {
		close(fd);
		return pidfd < 0 ? pidfd : -ESRCH;
	}
	return i->proc_fd = fd;
}

bool identity_alive(struct identity *i)
{
	int pidfd = identity_pidfd(i);

	return pidfd >= 0 && task_alive(pidfd);
}

static int ids_real(int proc_fd, uid_t *ret_uid, gid_t *ret_gid)
{
	static struct proc_status status;
	int r = proc_status_read(proc_fd, &status);

	if (r < 0)
		return r;
	*ret_uid = status.ruid;
	*ret_gid = status.rgid;
	return 0;
}

int identity_check(struct identity *i)
{
	int proc_fd = identity_proc(i), r;
	uid_t uid = 0;
	gid_t gid = 0;

	if (proc_fd < 0)
		return proc_fd;
	/* What a dead process shows is root's. So it is looked at first, and known to be alive
	 * afterwards. */
	r = i->claimed ? ids_real(proc_fd, &uid, &gid) : ids_effective(proc_fd, &uid, &gid);
	if (r < 0)
		return r;
	if (!task_alive(i->pidfd))
		return -ESRCH;
	return uid == i->uid && gid == i->gid ? 0 : -EPERM;
}
