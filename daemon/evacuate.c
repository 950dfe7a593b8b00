/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "evacuate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "inspect-wire.h"
#include "leaf.h"
#include "log.h"
#include "manager.h"
#include "ops.h"
#include "proc.h"
#include "task.h"

#define PROCS "cgroup.procs"
#define TASKS_MAX ((size_t)1 << 20)
#define BATCH INSPECT_PIDS_MAX

/* Some of the tasks, each held. */
struct batch {
	size_t n;
	int32_t pid[BATCH];
	bool listed[BATCH]; /* it was in cgroup.procs when it was held already */
	int pidfd[BATCH];
	int32_t near_who[BATCH], near_proxy[BATCH]; /* see inspect_victims() */
};

static void batch_done(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		close_fd(&b->pidfd[i]);
	b->n = 0;
}

/* Those before them have left, so they are at the beginning of the list; those that are not there
 * may have gone elsewhere. */
static int batch_list(struct batch *b, int from_fd)
{
	_cleanup_free_ int32_t *pids = NULL;
	char text[4096], *end;
	ssize_t n = pread(from_fd, text, sizeof(text) - 1, 0);
	size_t n_pids = 0;
	int r;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	/* The last line may have been cut. */
	end = strrchr(text, '\n');
	end = end ? end : text;
	*end = '\0';
	r = pids_append(text, &pids, &n_pids, sizeof(text));
	if (r < 0)
		return r;
	pids_sort_unique(pids, &n_pids);
	for (size_t i = 0; i < b->n; i++)
		b->listed[i] = pids_have(pids, n_pids, b->pid[i]);
	return 0;
}

/* Those that have ended already are left out. */
static int batch_hold(struct batch *b, const int32_t *pids, size_t n)
{
	b->n = 0;
	for (size_t i = 0; i < n; i++) {
		int fd = pidfd_open(pids[i], 0);

		/* EINVAL, ENOENT since 6.16: a thread's number, which cgroup.procs does not list
		 * but for one whose process has just ended. */
		if (fd < 0 && errno != ESRCH && errno != EINVAL && errno != ENOENT)
			return -errno;
		if (fd < 0)
			continue;
		b->pid[b->n] = pids[i];
		b->pidfd[b->n++] = fd;
	}
	return 0;
}

static bool is_host_root(const struct party *p)
{
	unsigned need = 0;

	return subject_is_host_root(&p->subject, &need) == YES;
}

static int batch_inspect(struct op *op, const struct party *p, const struct batch *b, int32_t *ret)
{
	int r;

	/* Nothing of this counts for host root. */
	if (b->n == 0 || is_host_root(p))
		return 0;
	r = inspect_victims(op->manager->inspector, p->pid, b->pid, b->n, ret);
	/* Else the number could have been another's, and the answer too. */
	if (r == -ESRCH || (r >= 0 && !task_alive(p->pidfd)))
		return -EOWNERDEAD;
	return r;
}

/* The facts about the party are all there: see facts_for_act(). */
static bool may_move(const struct party *p, const struct victim *ids, int32_t near)
{
	struct victim v = *ids;
	unsigned need = 0;
	int why;

	if (is_host_root(p))
		return true;
	v.have = FACT_VICTIM_NS;
	v.below_userns = near > 0;
	return near > 0 && subject_over_task(&p->subject, &v, &need, &why) == YES;
}

/* It has no namespaces any more: it is about to end, whatever else it still shows. */
static bool is_ending(const struct party *p, int32_t near)
{
	return near == -ESRCH && !is_host_root(p);
}

static int note_left(struct evacuation *e, int32_t pid)
{
	e->left++;
	e->left_pid = pid;
	return 0;
}

static int note_moved(struct evacuation *e, int32_t pid)
{
	if (e->n == e->size) {
		size_t size = e->size ? e->size * 2 : 256;
		int32_t *bigger = realloc(e->moved, size * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		e->moved = bigger;
		e->size = size;
	}
	e->moved[e->n++] = pid;
	return 0;
}

/* From a cgroup to a file of another. */
struct way {
	const struct hierarchy *h;
	uint64_t from;
	int from_fd; /* its cgroup.procs */
	int procs_fd;
	struct evacuation *e;
};

static int put(int procs_fd, int32_t pid)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", pid);

	return write(procs_fd, text, (size_t)len) < 0 ? -errno : 0;
}

/* 1 moved, 0 it has ended, or is not there any more. Its ids are read last, for it may execute a
 * setuid program meanwhile. */
static int move_one(struct op *op, const struct way *way, const struct batch *b, size_t i)
{
	int proc_fd = op->manager->proc_fd;
	struct evacuation *e = way->e;
	struct victim ids = {0};
	bool alone = false;
	int r = b->listed[i] ? 1 : task_is_in(proc_fd, b->pid[i], way->h, way->from);

	if (r > 0)
		r = task_ids(proc_fd, b->pid[i], b->pidfd[i], &ids, &alone);
	else if (r == 0)
		return 0;
	/* Of a process whose main thread has ended cgroup.procs lists where that was then, and
	 * moving it moves the other threads, which may be somewhere else by now. */
	if (r >= 0 && !alone)
		r = proc_exiting_pid(proc_fd, b->pid[i]);
	if (r > 0)
		return note_left(e, b->pid[i]);
	if (r == -ESRCH || !task_alive(b->pidfd[i]))
		return 0;
	if (r < 0)
		return r;
	if (is_ending(&op->who, b->near_who[i]) ||
		(op->proxy && is_ending(op->proxy, b->near_proxy[i])))
		return note_left(e, b->pid[i]);
	if (!may_move(&op->who, &ids, b->near_who[i]) ||
		(op->proxy && !may_move(op->proxy, &ids, b->near_proxy[i])))
		return -EBUSY;
	r = note_moved(e, b->pid[i]);
	if (r >= 0)
		r = put(way->procs_fd, b->pid[i]);
	if (r == -ESRCH)
		return 0;
	/* A kernel thread that is bound to its place. */
	if (r == -EINVAL)
		return -EBUSY;
	if (r < 0)
		return r;
	/* Alive after the write: the number was the judged task's all the time. */
	if (!task_alive(b->pidfd[i]))
		log_limited(LOG_NOTICE, op->account,
			"a task ended while it was moved to a leaf; its pid %d may have been "
			"reused",
			b->pid[i]);
	return 1;
}

/* To judge all before one is moved would cost the same and prove nothing: they change. What was
 * moved is moved back if one is refused. */
static int move_all(struct op *op, const struct way *way, const int32_t *pids, size_t n)
{
	struct batch b = {.n = 0};
	int moved = 0, r = 0;

	for (size_t at = 0; r >= 0 && at < n; at += BATCH) {
		r = batch_hold(&b, pids + at, n - at < BATCH ? n - at : BATCH);
		if (r >= 0)
			r = batch_list(&b, way->from_fd);
		if (r >= 0)
			r = batch_inspect(op, &op->who, &b, b.near_who);
		if (r >= 0 && op->proxy)
			r = batch_inspect(op, op->proxy, &b, b.near_proxy);
		for (size_t i = 0; r >= 0 && i < b.n; i++) {
			r = move_one(op, way, &b, i);
			moved += r > 0;
		}
		batch_done(&b);
	}
	return r < 0 ? r : moved;
}

static int pids_read(int fd, int32_t **ret, size_t *ret_n)
{
	_cleanup_free_ char *text = NULL;
	int r = fd < 0 ? fd : cgroup_read(fd, TASKS_MAX * 12, &text, NULL);

	return r < 0 ? r : pids_append(text, ret, ret_n, TASKS_MAX);
}

int evacuate(struct op *op, const struct hierarchy *h, int dirfd, const struct node *node,
	struct evacuation *e)
{
	struct way way = {.h = h, .from = node->id, .e = e};
	_cleanup_close_ int from_fd = cgroup_open_file(dirfd, PROCS, O_RDONLY, NULL);
	_cleanup_close_ int procs_fd = -EBADF;
	_cleanup_free_ int32_t *pids = NULL;
	size_t n = 0;
	int r = pids_read(from_fd, &pids, &n);

	way.from_fd = from_fd;
	e->left = 0;
	e->listed = n;
	if (r < 0 || n == 0)
		return r;
	if (e->leaf_fd < 0) {
		int fd = leaf_make(op->manager->inspector, dirfd, node,
			cgroup_ops(h)->delegation(op->manager), &e->made);

		if (fd < 0)
			return fd == -EEXIST ? -EBUSY : fd == -EAGAIN ? -EMLINK : fd;
		e->leaf_fd = fd;
	}
	way.procs_fd = procs_fd = cgroup_open_file(e->leaf_fd, PROCS, O_WRONLY, NULL);
	return procs_fd < 0 ? procs_fd : move_all(op, &way, pids, n);
}

/* One that has ended or gone elsewhere needs nothing, ignoring. */
static void put_back_one(struct op *op, const struct way *way, int32_t pid)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);

	if (pidfd >= 0 && task_is_in(op->manager->proc_fd, pid, way->h, way->from) > 0 &&
		task_alive(pidfd))
		put(way->procs_fd, pid);
}

/* Those of the leaf that came with this call; if the leaf did too, all, forks among them. */
static void put_back(struct op *op, const struct hierarchy *h, int dirfd, struct evacuation *e)
{
	struct way way = {.h = h};
	struct node leaf;
	_cleanup_close_ int procs_fd = cgroup_open_file(dirfd, PROCS, O_WRONLY, NULL);
	_cleanup_close_ int from_fd = cgroup_open_file(e->leaf_fd, PROCS, O_RDONLY, NULL);
	_cleanup_free_ int32_t *pids = NULL;
	size_t n = 0, at = 0;

	if (procs_fd < 0 || cgroup_stat(e->leaf_fd, &leaf) < 0 || pids_read(from_fd, &pids, &n) < 0)
		return;
	way.from = leaf.id;
	way.procs_fd = procs_fd;
	pids_sort_unique(pids, &n);
	pids_sort_unique(e->moved, &e->n);
	for (size_t i = 0; i < n; i++) {
		while (at < e->n && e->moved[at] < pids[i])
			at++;
		if (e->made || (at < e->n && e->moved[at] == pids[i]))
			put_back_one(op, &way, pids[i]);
	}
}

void evacuate_undo(struct op *op, const struct hierarchy *h, int dirfd, struct evacuation *e)
{
	if (e->leaf_fd < 0)
		return;
	put_back(op, h, dirfd, e);
	/* What forked in between is still in it. */
	for (unsigned pass = 0;
		e->made && pass < 16 && leaf_remove(op->manager->inspector, dirfd) < 0; pass++)
		put_back(op, h, dirfd, e);
	evacuation_done(e);
}

void evacuation_done(struct evacuation *e)
{
	close_fd(&e->leaf_fd);
	free(e->moved);
	*e = EVACUATION_NONE;
}
