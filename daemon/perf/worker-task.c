/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of a thread that asked. The core is asked once; then it is enough to see that it
 * still is that thread, in that cgroup. On v2 the kernel tells the cgroup's id by a pidfd (6.13),
 * which costs a tenth of reading /proc/TID/cgroup, and no cgroup above one that has a task can have
 * gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../cgroupfs.h"
#include "../cleanup.h"
#include "../proc.h"
#include "../tree.h"
#include "worker-core.h"

/* Of what no generation tells: a thread that enters another cgroup namespace, a directory that
 * somebody else gave away. */
#define FACTS_MSEC 5000
#define TEXT_MAX 4096
#define TRIES 4

/* linux/pidfd.h, which Debian 12's headers do not have as much of. */
#define THREAD_PIDFD O_EXCL
#define INFO_CGROUPID (UINT64_C(1) << 2)
struct info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
#define GET_INFO _IOWR(0xff, 11, struct info)

_Static_assert(sizeof(struct info) == 64, "PIDFD_INFO_SIZE_VER0");

static struct task *task_free(struct task *t)
{
	if (!t)
		return NULL;
	close_fd(&t->cgroup_fd);
	close_fd(&t->pidfd);
	close_fd(&t->scope_fd);
	free(t->text);
	free(t);
	return NULL;
}

static struct task **place_of(struct worker *w, pid_t tid)
{
	return &w->tasks[(unsigned)tid % WORKER_TASKS_MAX];
}

void task_drop(struct worker *w, struct task *t)
{
	struct task **place = place_of(w, t->tid);

	if (*place == t)
		*place = task_free(t);
}

static int group_of(struct worker *w, pid_t tid, pid_t *ret)
{
	char name[32], text[4096], *at;
	ssize_t n;

	snprintf(name, sizeof(name), "%d/status", (int)tid);
	n = proc_read(w->proc, name, text, sizeof(text));
	if (n < 0 && n != -EFBIG)
		return (int)n;
	at = n < 0 ? NULL : strstr(text, "\nTgid:");
	if (!at)
		return -EIO;
	*ret = atoi(at + strlen("\nTgid:"));
	return 0;
}

int task_pidfd(struct worker *w, struct task *t)
{
	pid_t group;
	int r;

	if (t->pidfd >= 0)
		return t->pidfd;
	t->pidfd = pidfd_open(t->tid, THREAD_PIDFD);
	if (t->pidfd < 0 && errno == EINVAL) {
		r = group_of(w, t->tid, &group);
		if (r < 0)
			return r;
		t->pidfd = pidfd_open(group, 0);
	}
	if (t->pidfd < 0) {
		r = -errno;
		t->pidfd = -EBADF;
		return r;
	}
	return t->pidfd;
}

/* 0: the kernel does not tell. */
static uint64_t cgroup_id_of(int pidfd)
{
	struct info info = {.mask = INFO_CGROUPID};

	return ioctl(pidfd, GET_INFO, &info) == 0 && (info.mask & INFO_CGROUPID) ? info.cgroupid
										 : 0;
}

static ssize_t text_read(const struct task *t, char *buf)
{
	ssize_t n = pread(t->cgroup_fd, buf, TEXT_MAX, 0);

	if (n < 0)
		return -errno;
	/* The kernel cuts it there: it is not known to be all. */
	return n >= TEXT_MAX - 1 ? -EFBIG : n;
}

static bool text_same(const struct task *t)
{
	char buf[TEXT_MAX];
	ssize_t n = text_read(t, buf);

	return n >= 0 && (size_t)n == t->n_text && memcmp(buf, t->text, n) == 0;
}

static int text_take(struct task *t)
{
	char buf[TEXT_MAX];
	ssize_t n = text_read(t, buf);

	if (n < 0)
		return (int)n;
	free(t->text);
	t->text = malloc(n ? n : 1);
	if (!t->text)
		return -ENOMEM;
	memcpy(t->text, buf, n);
	t->n_text = (uint32_t)n;
	return 0;
}

/* A cgroup of the same name may be another: the scope must not have gone. */
static bool scope_alive(const struct task *t)
{
	struct stat st;

	return fstatat(t->scope_fd, "cgroup.procs", &st, 0) == 0;
}

static bool same_place(const struct task *t)
{
	if (t->cgroup_id)
		return cgroup_id_of(t->pidfd) == t->cgroup_id;
	return text_same(t) && scope_alive(t);
}

static bool task_holds(const struct worker *w, const struct task *t)
{
	return t->facts.generation == atomic_load(&w->registry->generation) &&
	       worker_msec() - t->msec < FACTS_MSEC && same_place(t);
}

static int facts_ask(struct worker *w, struct task *t)
{
	struct perf_ask ask = {.tid = t->tid};
	int r;

	/* However long the core takes, that is not this worker's fault. */
	worker_idle(w);
	bucket_charge(&w->bucket, COST_FACTS);
	r = worker_send(w, PERF_FACTS, &ask, sizeof(ask), -EBADF);
	while (r >= 0) {
		struct packet *p = worker_await(w, PERF_FACTS_ARE, sizeof(t->facts));

		memcpy(&t->facts, p->data, sizeof(t->facts));
		close_fd(&t->scope_fd);
		t->scope_fd = TAKE_FD(p->fd);
		packet_free(p);
		if (t->facts.tid == t->tid)
			break;
	}
	if (r < 0)
		return r;
	if (t->facts.result < 0)
		return t->facts.result;
	return t->scope_fd < 0 ? -EPROTO : 0;
}

static int scope_read(struct task *t)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(t->scope_fd, &fs) < 0 || fstat(t->scope_fd, &st) < 0)
		return -errno;
	t->scope_dev = st.st_dev;
	t->scope_ino = st.st_ino;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		t->cgroup_id = 0;
	return 0;
}

/* Facts of a moment in which it did not move. */
static int facts_take(struct worker *w, struct task *t)
{
	for (unsigned i = 0; i < TRIES; i++) {
		int r = text_take(t);

		if (r < 0)
			return r;
		r = task_pidfd(w, t);
		if (r < 0)
			return r;
		t->cgroup_id = cgroup_id_of(r);
		t->msec = worker_msec();
		r = facts_ask(w, t);
		if (r >= 0)
			r = scope_read(t);
		if (r < 0)
			return r;
		if (same_place(t))
			return 0;
	}
	return -EAGAIN;
}

static int task_new(struct worker *w, pid_t tid, struct task **ret)
{
	struct task *t = calloc(1, sizeof(*t));
	char name[32];
	int r;

	if (!t)
		return -ENOMEM;
	t->tid = tid;
	t->pidfd = t->scope_fd = -EBADF;
	snprintf(name, sizeof(name), "%d/cgroup", (int)tid);
	t->cgroup_fd = openat(w->proc, name, O_RDONLY | O_CLOEXEC);
	r = t->cgroup_fd < 0 ? (errno == ENOENT ? -ESRCH : -errno) : facts_take(w, t);
	if (r < 0) {
		task_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

int task_of(struct worker *w, pid_t tid, struct task **ret)
{
	struct task **place = place_of(w, tid);
	int r;

	if (!*place || (*place)->tid != tid || !task_holds(w, *place)) {
		*place = task_free(*place);
		r = task_new(w, tid, place);
		if (r < 0)
			return r;
	}
	*ret = *place;
	return 0;
}

/* The last number of a line of status: that of its own pid namespace. */
static int32_t last_number(const char *text, const char *label)
{
	const char *at = strstr(text, label), *end;

	if (!at)
		return 0;
	at += strlen(label);
	end = at + strcspn(at, "\n");
	while (end > at && end[-1] >= '0' && end[-1] <= '9')
		end--;
	return atoi(end);
}

int task_numbers(struct worker *w, struct task *t)
{
	_cleanup_free_ char *text = NULL;
	char name[32];
	struct stat st;
	ssize_t n;

	if (t->own_tid > 0)
		return 0;
	snprintf(name, sizeof(name), "%d/ns/pid", (int)t->tid);
	if (fstatat(w->proc, name, &st, 0) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	snprintf(name, sizeof(name), "%d/status", (int)t->tid);
	n = proc_read_heap(w->proc, name, 1U << 20, &text);
	if (n < 0)
		return (int)n;
	t->pidns = st.st_ino;
	t->tgid = last_number(text, "\nTgid:");
	t->own_tgid = last_number(text, "\nNStgid:");
	t->own_tid = last_number(text, "\nNSpid:");
	return t->own_tid > 0 && t->own_tgid > 0 && t->tgid > 0 ? 0 : -EIO;
}

int task_getfd(struct worker *w, struct task *t, int number)
{
	int pidfd = task_pidfd(w, t), fd;

	if (pidfd < 0)
		return pidfd;
	fd = pidfd_getfd(pidfd, number, 0);
	return fd < 0 ? -errno : fd;
}

/*
 * Membership.
 */

#define CLIMB_MAX 4096

/* Without asking the file system: it may be anybody's. */
static int node_of(int fd, uint64_t *ret_dev, uint64_t *ret_ino)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_TYPE, &st) < 0)
		return -errno;
	*ret_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	*ret_ino = st.stx_ino;
	return S_ISDIR(st.stx_mode) ? 0 : -ENOTDIR;
}

static int meet(void *userdata, int fd, const char *path)
{
	const uint64_t *sought = userdata;
	uint64_t dev, ino;

	(void)path;
	return node_of(fd, &dev, &ino) == 0 && ino == *sought ? -EEXIST : 0;
}

/* By the way down, where the way up ends at the root of a mount that shows a part only. */
static bool scope_has(const struct task *t, uint64_t ino)
{
	static const struct tree_ops ops = {.enter = meet};

	return tree_walk(t->scope_fd, &ops, &ino) == -EEXIST;
}

bool task_is_cgroup(const struct task *t, int fd)
{
	uint64_t dev, ino;

	return node_of(fd, &dev, &ino) == 0 && dev == t->scope_dev;
}

bool task_in_scope(const struct task *t, int cgroup_fd)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int fd = -EBADF;
	uint64_t dev, ino = 0;

	for (unsigned i = 0; i < CLIMB_MAX; i++) {
		int up;

		if (node_of(fd < 0 ? cgroup_fd : fd, &dev, &ino) < 0 || dev != t->scope_dev)
			return false;
		if (ino == t->scope_ino)
			return true;
		up = (int)syscall(SYS_openat2, fd < 0 ? cgroup_fd : fd, "..", &how, sizeof(how));
		if (up < 0)
			return errno == EXDEV && scope_has(t, ino);
		close_fd(&fd);
		fd = up;
	}
	return false;
}
