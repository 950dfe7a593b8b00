/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an opener or a caller takes on of a thread, and what it gives up. The thread waits meanwhile
 * in a system call of its own, so what is read of it here does not change.
 */
#include "spawner-wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../proc.h"
#include "rights.h"

/* systemd's UIDS-GIDS.md: no user ever gets this uid. */
#define NOBODY 65535
#define BIT(cap) (UINT64_C(1) << (cap))
#define STATUS_MAX (1 << 20) /* with 65,536 groups */
/* user_namespaces(7), pid_namespaces(7): nested up to 32 deep */
#define NS_DEPTH 33

struct thread {
	uid_t uid[3];
	gid_t gid[3];
	uint64_t permitted, effective, bounding;
	pid_t tgid;	 /* in its own pid namespace */
	bool nested_pid; /* that is not ours */
};

static bool ids_parse(const char *status, const char *key, unsigned ret[3])
{
	const char *at = strstr(status, key);

	return at && sscanf(at + strlen(key), "%u %u %u", &ret[0], &ret[1], &ret[2]) == 3;
}

static bool caps_parse(const char *status, const char *key, uint64_t *ret)
{
	const char *at = strstr(status, key);
	char *end;

	if (!at)
		return false;
	at += strlen(key);
	*ret = strtoull(at, &end, 16);
	return end > at;
}

/* The last number: in the innermost namespace. */
static bool tgid_parse(const char *status, struct thread *ret)
{
	static const char key[] = "\nNStgid:";
	const char *at = strstr(status, key);
	unsigned n = 0;
	char *end;

	if (!at)
		return false;
	for (at += sizeof(key) - 1; *at == '\t'; at = end, n++)
		ret->tgid = (pid_t)strtol(at + 1, &end, 10);
	ret->nested_pid = n > 1;
	return n > 0;
}

static int thread_read(int proc_fd, pid_t tid, struct thread *ret)
{
	_cleanup_free_ char *status = NULL;
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "%d/status", (int)tid);
	n = proc_read_heap(proc_fd, path, STATUS_MAX, &status);
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	if (!ids_parse(status, "\nUid:\t", ret->uid) || !ids_parse(status, "\nGid:\t", ret->gid) ||
		!caps_parse(status, "\nCapPrm:\t", &ret->permitted) ||
		!caps_parse(status, "\nCapEff:\t", &ret->effective) ||
		!caps_parse(status, "\nCapBnd:\t", &ret->bounding) || !tgid_parse(status, ret))
		return -EPROTO;
	return 0;
}

static int ns_open(int proc_fd, pid_t tid, const char *name)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%d/ns/%s", (int)tid, name);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? (errno == ENOENT ? -ESRCH : -errno) : fd;
}

static bool ns_same(int a, int b)
{
	struct stat s, t;

	return fstat(a, &s) == 0 && fstat(b, &t) == 0 && s.st_dev == t.st_dev &&
	       s.st_ino == t.st_ino;
}

/* The topmost pid namespace below ours in which this one (taken) lies. */
static int pidns_top(int pidns_fd, int own_fd)
{
	_cleanup_close_ int at = pidns_fd;

	for (unsigned i = 0; at >= 0 && i < NS_DEPTH; i++) {
		_cleanup_close_ int parent = ioctl(at, NS_GET_PARENT);

		if (parent < 0)
			return -errno;
		if (ns_same(parent, own_fd))
			return TAKE_FD(at);
		close_fd(&at);
		at = TAKE_FD(parent);
	}
	return at < 0 ? at : -ELOOP;
}

/* What we are in ourselves. */
struct own_ns {
	int pid, user;
};

/* It has a capability of the host's, or could get it, and lives below that pid namespace. */
static bool is_tracer(int proc_fd, pid_t pid, const struct own_ns *own, int top_fd)
{
	_cleanup_close_ int top = -EBADF;
	_cleanup_close_ int user = -EBADF;
	struct thread t;

	if (thread_read(proc_fd, pid, &t) < 0 || !t.nested_pid ||
		!((t.bounding | t.permitted) & BIT(CAP_SYS_PTRACE)))
		return false;
	user = ns_open(proc_fd, pid, "user");
	if (user < 0 || !ns_same(user, own->user))
		return false;
	top = pidns_top(ns_open(proc_fd, pid, "pid"), own->pid);
	return top >= 0 && ns_same(top, top_fd);
}

/* Is there one among its tasks that could trace whoever is there? */
static int scan_for_tracers(int proc_fd, const struct own_ns *own, int top_fd)
{
	int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int r = 0;

	if (!dir) {
		r = -errno;
		close_fd(&fd);
		return r;
	}
	while (r == 0 && (d = readdir(dir))) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid > 0 && is_tracer(proc_fd, pid, own, top_fd))
			r = -EPERM;
	}
	closedir(dir);
	return r;
}

/*
 * Where a container has no user namespace its capabilities are the host's own, and CAP_SYS_PTRACE
 * is all that it takes to make an opener do what one likes. Nobody there can get what is not in the
 * bounding set of the first; who is put there later, with more, was trusted with that by the host's
 * root.
 */
static int check_tracers(int proc_fd, int pidns_fd)
{
	_cleanup_close_ int own = ns_open(proc_fd, getpid(), "pid");
	_cleanup_close_ int user = ns_open(proc_fd, getpid(), "user");
	_cleanup_close_ int top = -EBADF;
	_cleanup_close_ int owner = -EBADF;

	if (own < 0 || user < 0)
		return own < 0 ? own : user;
	if (ns_same(pidns_fd, own))
		return 0;
	top = pidns_top(fcntl(pidns_fd, F_DUPFD_CLOEXEC, 3), own);
	if (top < 0)
		return top;
	owner = ioctl(top, NS_GET_USERNS);
	if (owner < 0)
		return -errno;
	return ns_same(owner, user)
		       ? scan_for_tracers(proc_fd, &(struct own_ns){.pid = own, .user = user}, top)
		       : 0;
}

/* A directory with nothing mounted below it: /proc/PID/mountinfo is everybody's to read, and shows
 * what lies below the root. */
static int root_empty(int proc_fd)
{
	return fchdir(proc_fd) < 0 || chroot("self/fdinfo") < 0 || chdir("/") < 0 ? -errno : 0;
}

/* Supplementary groups have no say in what is asked of a caller. */
static int ids_set(const uid_t uid[3], const gid_t gid[3])
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
		setresgid(gid[0], gid[1], gid[2]) < 0 || setresuid(uid[0], uid[1], uid[2]) < 0)
		return -errno;
	/* Dumpable again, perhaps, by that: with what it may do still. Nobody of the container sees
	 * it yet. */
	return prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
}

int place_opener(const struct opening *o)
{
	static const uid_t uid[3] = {NOBODY, NOBODY, NOBODY};
	static const gid_t gid[3] = {NOBODY, NOBODY, NOBODY};
	static const int kept[] = {CAP_PERFMON};
	_cleanup_close_ int pidns = ns_open(o->proc_fd, o->tid, "pid");
	int r = pidns < 0 ? pidns : check_tracers(o->proc_fd, pidns);

	if (r < 0)
		return r;
	if (setns(pidns, CLONE_NEWPID) < 0)
		return -errno;
	r = root_empty(o->proc_fd);
	if (r == 0)
		r = ids_set(uid, gid);
	return r < 0 ? r : rights_keep(kept, 1);
}

/* Then all capabilities are had, of that namespace. */
static int userns_enter(int proc_fd, int user_fd)
{
	_cleanup_close_ int own = ns_open(proc_fd, getpid(), "user");
	uint64_t have;
	int r = own < 0 ? own : rights_get(&have);

	if (r < 0)
		return r;
	/* Once more effective: with another uid they are not. */
	r = rights_set(have, have);
	if (r < 0 || ns_same(own, user_fd))
		return r;
	return setns(user_fd, CLONE_NEWUSER) < 0 ? -errno : 1;
}

/* A program that is setuid has others, at least among them. */
static bool ids_are(const struct thread *t, uid_t uid, gid_t gid)
{
	for (unsigned i = 0; i < 3; i++)
		if (t->uid[i] != uid || t->gid[i] != gid)
			return false;
	return true;
}

int place_caller(const struct opening *o, struct caller_of *ret)
{
	bool loose = o->op == SPAWN_CALLER_LOOSE;
	_cleanup_close_ int pidns = ns_open(o->proc_fd, o->tid, "pid");
	_cleanup_close_ int user = ns_open(o->proc_fd, o->tid, "user");
	uint64_t have;
	struct thread t;
	int entered, r;

	if (pidns < 0 || user < 0)
		return pidns < 0 ? pidns : user;
	r = thread_read(o->proc_fd, o->tid, &t);
	if (r == 0 && loose && !ids_are(&t, o->uid, o->gid))
		r = -EPERM;
	if (r < 0)
		return r;
	if (setns(pidns, CLONE_NEWPID) < 0)
		return -errno;
	r = root_empty(o->proc_fd);
	/* While the host's numbers count. */
	if (r == 0)
		r = ids_set(t.uid, t.gid);
	entered = r < 0 ? r : userns_enter(o->proc_fd, user);
	if (entered < 0)
		return entered;
	r = rights_get(&have);
	if (r < 0)
		return r;
	if (loose && geteuid() != 0)
		t.permitted = t.effective = 0;
	*ret = (struct caller_of){.tgid = loose ? 0 : t.tgid};
	if (entered == 0)
		ret->perfmon = t.effective & (BIT(CAP_SYS_ADMIN) | rights_perfmon());
	return rights_set(have & t.permitted, have & t.effective);
}
