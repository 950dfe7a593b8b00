/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The events that the tasks of a cgroup and below hold, by their fds. What hangs where no fd shows
 * it is not found.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../cgroupfs.h"
#include "../cleanup.h"
#include "../tree.h"
#include "worker-core.h"

#define PROCS_BYTES_MAX (1U << 20)
#define SCAN_PIDS_MAX 65536
#define SCAN_MSEC_MAX 20000
#define THREAD_PIDFD O_EXCL /* 6.9 */
#define LINK "anon_inode:[perf_event]"

struct scan {
	struct worker *w;
	scan_event_fn fn;
	void *userdata;
	uint64_t end;
	int32_t *pids;
	size_t n_pids;
	/* The process, and the thread whose table of fds is looked at. */
	pid_t pid, tid;
	int pidfd, thread_pidfd;
};

static int in_time(const struct scan *s)
{
	return worker_msec() < s->end ? 0 : -E2BIG;
}

static bool is_event(int dirfd, const char *name)
{
	char text[sizeof(LINK)];
	ssize_t n = readlinkat(dirfd, name, text, sizeof(text));

	return n == (ssize_t)strlen(LINK) && memcmp(text, LINK, n) == 0;
}

/* The number may be another file's by now, so it is looked at again when it is ours. */
static int event_copy(struct scan *s, int number)
{
	char name[32];
	int fd = pidfd_getfd(s->thread_pidfd, number, 0);

	if (fd < 0)
		return -errno;
	snprintf(name, sizeof(name), "self/fd/%d", fd);
	if (worker_is_anon(s->w, fd) && is_event(s->w->proc, name))
		return fd;
	if (worker_is_anon(s->w, fd))
		close(fd);
	else
		worker_strand(s->w, &fd);
	return -EBADF;
}

static int fd_look(void *userdata, int dirfd, const char *name)
{
	_cleanup_close_ int event = -EBADF;
	struct scan *s = userdata;
	uint64_t id;

	if (!is_event(dirfd, name))
		return in_time(s);
	if (s->thread_pidfd < 0)
		return s->fn(s->userdata, s->pid, s->pidfd, -EBADF, 0);
	event = event_copy(s, atoi(name));
	if (event < 0 || ioctl(event, PERF_EVENT_IOC_ID, &id) < 0)
		return 0;
	return s->fn(s->userdata, s->pid, s->pidfd, event, id);
}

static int table_look(struct scan *s)
{
	_cleanup_close_ int dir = -EBADF;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "%d/fd", (int)s->tid);
	dir = openat(s->w->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return 0;
	r = cgroup_each(dir, false, fd_look, s);
	/* It has gone on the way. */
	return r == -ESRCH || r == -ENOENT ? 0 : r;
}

/* A thread may have a table of its own (CLONE_FILES). */
static int thread_look(void *userdata, int dirfd, const char *name)
{
	struct scan *s = userdata;
	pid_t tid = atoi(name);
	int r;

	(void)dirfd;
	if (tid == s->pid || syscall(SYS_kcmp, s->pid, tid, KCMP_FILES, 0, 0) <= 0)
		return in_time(s);
	s->thread_pidfd = pidfd_open(tid, THREAD_PIDFD);
	if (s->thread_pidfd < 0 && errno != EINVAL)
		return 0;
	s->tid = tid;
	r = table_look(s);
	close_fd(&s->thread_pidfd);
	return r;
}

static int process_look(struct scan *s, pid_t pid)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	_cleanup_close_ int tasks = -EBADF;
	char name[32];
	int r;

	if (pidfd < 0)
		return 0;
	/* One that hangs shall not take the rest of the time along. */
	worker_busy(s->w);
	s->pid = s->tid = pid;
	s->pidfd = s->thread_pidfd = pidfd;
	r = table_look(s);
	snprintf(name, sizeof(name), "%d/task", (int)pid);
	tasks = openat(s->w->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r >= 0 && tasks >= 0)
		r = cgroup_each(tasks, true, thread_look, s);
	return r == -ESRCH || r == -ENOENT ? 0 : r;
}

/* Below a threaded domain only threads can be listed (EOPNOTSUPP); their processes are the
 * domain's. */
static int cgroup_look(void *userdata, int fd, const char *path)
{
	_cleanup_close_ int file = cgroup_open_file(fd, "cgroup.procs", O_RDONLY, NULL);
	_cleanup_free_ char *text = NULL;
	struct scan *s = userdata;
	size_t len;
	int r;

	(void)path;
	if (file < 0)
		return file == -ENOENT || file == -ENODEV ? 0 : file;
	r = cgroup_read(file, PROCS_BYTES_MAX, &text, &len);
	if (r == -EOPNOTSUPP || r == -ENODEV)
		return 0;
	if (r < 0)
		return r == -EFBIG ? -E2BIG : r;
	r = pids_append(text, &s->pids, &s->n_pids, SCAN_PIDS_MAX);
	return r < 0 ? r : in_time(s);
}

int scan_events(struct worker *w, int cgroup_fd, scan_event_fn fn, void *userdata)
{
	static const struct tree_ops ops = {.enter = cgroup_look};
	struct scan s = {
		.w = w,
		.fn = fn,
		.userdata = userdata,
		.end = worker_msec() + SCAN_MSEC_MAX,
	};
	int r = tree_walk(cgroup_fd, &ops, &s);

	pids_sort_unique(s.pids, &s.n_pids);
	for (size_t i = 0; r >= 0 && i < s.n_pids; i++)
		if (s.pids[i] > 0)
			r = process_look(&s, s.pids[i]);
	free(s.pids);
	worker_busy(w);
	return r < 0 ? r : 0;
}
