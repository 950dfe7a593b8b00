/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lxc-peer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../proc.h"

#ifndef SO_PEERPIDFD
#	define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* The kernel's own bound of nested namespaces is 32. */
#define LEVELS_MAX 33

/* Of one of whom /proc/PID is `dir`. */
static int ns_open(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

static bool same_ns(int dir, const char *name, int proc)
{
	_cleanup_close_ int theirs = ns_open(dir, name), self = -EBADF, ours = -EBADF;

	if (theirs < 0)
		return false;
	self = openat(proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ours = self < 0 ? -errno : ns_open(self, name);
	return ours >= 0 && same_file(theirs, ours);
}

static bool alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* The pidfd of who connected: unlike its number it is nobody else's. */
static int peer_pidfd(int sock, pid_t pid)
{
	socklen_t size = sizeof(int);
	int fd;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0)
		return fd;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : fd;
}

struct lxc_peer lxc_peer_of(int sock, int proc, pid_t pid, uid_t uid)
{
	_cleanup_close_ int pidfd = peer_pidfd(sock, pid), dir = -EBADF;
	struct lxc_peer peer = {.uid = uid};
	struct proc_status status;

	if (pidfd < 0)
		return peer;
	dir = lxc_thread_hold(proc, pid);
	if (dir < 0)
		return peer;
	peer.known = same_ns(dir, "ns/pid", proc);
	/* Uid 0 is the root of a container without a user namespace too. */
	peer.root = uid == 0 && same_ns(dir, "ns/user", proc) &&
		    proc_status_read(dir, &status) == 0 && status.caps >> CAP_SYS_ADMIN & 1;
	if (!alive(pidfd))
		peer.known = peer.root = false;
	return peer;
}

int lxc_thread_hold(int proc, pid_t tid)
{
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "%d", tid);
	fd = openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

bool lxc_thread_there(int held)
{
	struct stat st;

	/* Looked up anew beneath the directory of a thread that has gone there is nothing. */
	return fstatat(held, "ns", &st, 0) == 0;
}

/* Is `ns` the namespace `above`, or does it descend from it? Takes `ns`. */
static int ns_beneath(int ns, int above)
{
	_cleanup_close_ int at = ns;

	for (unsigned i = 0; i < LEVELS_MAX; i++) {
		int parent;

		if (same_file(at, above))
			return 0;
		parent = ioctl(at, NS_GET_PARENT);
		/* EPERM: above lies nothing that this process could see. */
		if (parent < 0)
			return errno == EPERM ? -EPERM : -errno;
		close(at);
		at = parent;
	}
	return -EPERM;
}

static int beneath(int held, int container, const char *name)
{
	_cleanup_close_ int above = ns_open(container, name);
	int ns;

	if (above < 0)
		return above;
	ns = ns_open(held, name);
	return ns < 0 ? ns : ns_beneath(ns, above);
}

/* The owner of a user namespace may do anything in it and below (user_namespaces(7)). */
static int owns(uid_t uid, int container, int proc)
{
	_cleanup_close_ int ns = ns_open(container, "ns/user");
	uid_t owner;

	if (ns < 0)
		return ns;
	if (ioctl(ns, NS_GET_OWNER_UID, &owner) < 0)
		return -errno;
	return owner == uid && !same_ns(container, "ns/user", proc) ? 0 : -EPERM;
}

int lxc_peer_check(const struct lxc_peer *peer, int proc, int held, const struct lxc_call *call)
{
	_cleanup_close_ int container = -EBADF;
	int r;

	if (!peer->known)
		return -EPERM;
	if (peer->root)
		return 0;
	container = lxc_thread_hold(proc, call->init_pid);
	if (container < 0)
		return container;
	r = owns(peer->uid, container, proc);
	r = r ?: beneath(held, container, "ns/user");
	r = r ?: beneath(held, container, "ns/pid");
	return r < 0 || lxc_thread_there(container) ? r : -ESRCH;
}
