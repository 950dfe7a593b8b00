/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acts that list, find and move tasks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "facts.h"
#include "inspect.h"
#include "leaf.h"
#include "log.h"
#include "manager.h"
#include "ops.h"
#include "pidns.h"
#include "task.h"
#include "tree.h"
#include "watch.h"

/* Pids in one answer: 800 KB, below what a client that does not read may cost. */
#define PIDS_MAX ((size_t)200000)
#define PIDS_TEXT_MAX (PIDS_MAX * 12)

static enum reason tasks_prepare(struct op *op, struct target *t)
{
	if (t->place.missing > 0)
		return REASON_CGROUP_MISSING;
	t->file_fd = cgroup_open_file(t->dir_fd, "cgroup.procs", O_RDONLY, &t->file);
	if (t->file_fd < 0) {
		t->err = -t->file_fd;
		return t->file_fd == -ENODEV ? REASON_CGROUP_MISSING : REASON_KERNEL;
	}
	t->facts.file = &t->file;
	return REASON_OK;
}

/* It judges each cgroup's own file when it comes there, so none is held while it waits. */
static enum reason tasks_recursive_prepare(struct op *op, struct target *t)
{
	enum reason reason = tasks_prepare(op, t);

	close_fd(&t->file_fd);
	return reason;
}

/* What has no number there is left out. */
static void pids_compact(int32_t *pids, size_t from, size_t *n)
{
	size_t kept = from;

	for (size_t i = from; i < *n; i++)
		if (pids[i] > 0)
			pids[kept++] = pids[i];
	*n = kept;
}

/* In place: what the requestor's pid namespace does not have is left out. */
static int pids_translate(const struct op *op, int32_t *pids, size_t from, size_t *n)
{
	int r = pidns_from_host(op->manager->inspector, op->pidns_fd, pids + from, *n - from);

	if (r >= 0)
		pids_compact(pids, from, n);
	return r;
}

int tasks_append(struct op *op, const char *text)
{
	struct reply *reply = &op->reply;
	size_t from = reply->n_pids;
	int r = pids_append(text, &reply->pids, &reply->n_pids, PIDS_MAX);

	/* -EBADF: the requestor's pid namespace is the daemon's own. */
	if (r >= 0 && op->pidns_fd >= 0)
		r = pids_translate(op, reply->pids, from, &reply->n_pids);
	return r;
}

static int tasks_read(struct op *op, int fd)
{
	_cleanup_free_ char *text = NULL;
	int r = cgroup_read(fd, PIDS_TEXT_MAX, &text, NULL);

	return r < 0 ? r : tasks_append(op, text);
}

int tasks_of_leaf(struct op *op, const struct target *t, const char *file)
{
	_cleanup_close_ int leaf = -EBADF;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (!t->h->v2)
		return 0;
	leaf = leaf_open(op->manager->inspector, t->dir_fd);
	fd = leaf < 0 ? leaf : cgroup_open_file(leaf, file, O_RDONLY, NULL);
	r = fd < 0 ? fd : tasks_read(op, fd);
	/* It goes just now, or its parent has become threaded. */
	return r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP ? 0 : r;
}

/* In one of these no process is listed, and to the other none moved. */
static bool is_threaded(const struct target *t)
{
	char type[32];

	return t->h->v2 && cgroup_read_small(t->dir_fd, "cgroup.type", type, sizeof(type)) > 0 &&
	       (strcmp(type, "threaded") == 0 || strcmp(type, "domain invalid") == 0);
}

void tasks_fail(struct target *t, int err)
{
	target_fail(t, err);
	if (err == -EOPNOTSUPP && is_threaded(t))
		t->reason = REASON_THREADED;
}

static void tasks_failed(struct target *t, int r)
{
	if (r == -E2BIG || r == -EFBIG)
		t->reason = REASON_MANY_TASKS;
	else
		tasks_fail(t, r);
}

static void tasks_run(struct op *op, struct target *t)
{
	int r = tasks_read(op, t->file_fd);

	/* In this order, for what is moved meanwhile goes to the leaf. */
	if (r >= 0)
		r = tasks_of_leaf(op, t, "cgroup.procs");
	if (r < 0)
		tasks_failed(t, r);
}

static bool may_list(const struct party *p, const struct node *dir, const struct node *file)
{
	unsigned need = 0;

	return subject_access(&p->subject, dir, 1, &need) == YES &&
	       subject_access(&p->subject, file, 4, &need) == YES;
}

static bool may_list_all(const struct op *op, const struct node *dir, const struct node *file)
{
	return may_list(&op->who, dir, file) && (!op->proxy || may_list(op->proxy, dir, file));
}

static int tasks_enter(void *userdata, int fd, const char *path)
{
	struct op *op = userdata;
	struct node node, dir;
	_cleanup_close_ int file = cgroup_open_file(fd, "cgroup.procs", O_RDONLY, &node);
	int r = cgroup_stat(fd, &dir);

	if (file < 0)
		return file == -ENOENT || file == -ENODEV ? 1 : file;
	/* What may not be read is as good as not there. A leaf is its parent, which may. */
	if (r < 0 ||
		(!may_list_all(op, &dir, &node) && leaf_is(op->manager->inspector, fd, path) != 1))
		return 1;
	r = tasks_read(op, file);
	/* A threaded cgroup's processes are listed in its domain, above. */
	return r == -ENODEV || r == -EOPNOTSUPP ? 0 : r;
}

static void tasks_recursive_run(struct op *op, struct target *t)
{
	static const struct tree_ops ops = {.enter = tasks_enter};
	int r = tree_walk(t->dir_fd, &ops, op);

	if (r < 0)
		tasks_failed(t, r);
}

/* Back to the host's numbers, in the order of the requestor's. What has ended is left out. */
static int pids_translate_back(const struct op *op, int32_t *pids, size_t *n)
{
	int r = pidns_all_to_host(op->manager->inspector, op->pidns_fd, pids, *n);

	if (r >= 0)
		pids_compact(pids, 0, n);
	return r;
}

static void tasks_collect(struct op *op)
{
	int r = 0;

	pids_sort_unique(op->reply.pids, &op->reply.n_pids);
	/* They go out as credentials, which the kernel translates. */
	if (op->scm && op->pidns_fd >= 0)
		r = pids_translate_back(op, op->reply.pids, &op->reply.n_pids);
	if (r >= 0)
		return;
	op->reply.n_pids = 0;
	op->reply.reason = REASON_INTERNAL;
}

const struct act act_tasks = {.prepare = tasks_prepare, .run = tasks_run, .collect = tasks_collect};
const struct act act_tasks_recursive = {
	.prepare = tasks_recursive_prepare, .run = tasks_recursive_run, .collect = tasks_collect};

/*
 * GetPidCgroup, GetPidCgroupAbs.
 */

static void locate_run(struct op *op, struct target *t)
{
	size_t from = op->question.absolute ? t->start_len : t->who.base_len;
	const char *rest;

	/* From the base or where paths from the scope start, of which the decision knows that it is
	 * an ancestor. */
	rest = t->victim_path + (from == 1 ? 0 : from);
	while (!op->question.absolute && *rest == '/')
		rest++;
	op->reply.text = strdup(*rest ? rest : "/");
	if (!op->reply.text)
		target_fail(t, -ENOMEM);
}

const struct act act_locate = {.run = locate_run};

/*
 * MovePid, MovePidAbs.
 */

/* Controllers are enabled for its children, so that only its leaf can hold tasks. */
static int move_to_new_leaf(struct op *op, struct target *t, const char *text, size_t len)
{
	struct inspector *inspector = op->manager->inspector;
	_cleanup_close_ int leaf = -EBADF;
	bool made = false;
	int r = inspect_systemd(inspector, t->dir_fd);

	if (r != 0)
		return r < 0 ? r : -EREMOTE;
	leaf = leaf_make(inspector, t->dir_fd, &t->way[t->place.n - 1],
		cgroup_ops(t->h)->delegation(op->manager), &made);
	if (leaf < 0)
		return leaf == -EEXIST ? -EBUSY : leaf;
	r = cgroup_write(leaf, "cgroup.procs", text, len);
	if (r < 0 && made)
		(void)leaf_remove(inspector, t->dir_fd);
	return r;
}

/* A thread root takes tasks beside controllers that know threads, and any domain without populated
 * children would become one by it: then cgroups below it could hold no process any more. */
static bool wants_leaf(const struct target *t)
{
	char control[256], type[32];
	ssize_t n =
		cgroup_read_small(t->dir_fd, "cgroup.subtree_control", control, sizeof(control));

	/* The hierarchy's root is of no type, and takes all. */
	return n > 0 && cgroup_read_small(t->dir_fd, "cgroup.type", type, sizeof(type)) > 0 &&
	       strcmp(type, "domain") == 0;
}

static int move_write(struct op *op, struct target *t, const char *text, size_t len)
{
	_cleanup_close_ int leaf = -EBADF;
	int r;

	if (!t->h->v2)
		return cgroup_write(t->dir_fd, "cgroup.procs", text, len);
	leaf = leaf_open(op->manager->inspector, t->dir_fd);
	if (leaf < 0 && leaf != -ENOENT)
		return leaf;
	if (leaf >= 0) {
		r = cgroup_write(leaf, "cgroup.procs", text, len);
		if (r != -ENODEV && r != -ENOENT)
			return r; /* else it went just now */
	}
	if (wants_leaf(t))
		return move_to_new_leaf(op, t, text, len);
	r = cgroup_write(t->dir_fd, "cgroup.procs", text, len);
	return r == -EBUSY ? move_to_new_leaf(op, t, text, len) : r;
}

static void move_fail(struct target *t, int err)
{
	tasks_fail(t, err);
	if (err == -EREMOTE)
		t->reason = REASON_LEVEL_SYSTEMD;
	else if (err == -EAGAIN && t->h->v2)
		t->reason = REASON_TREE_FULL; /* there is no room for a leaf */
}

static void move_run(struct op *op, struct target *t)
{
	char text[16], path[PATH_TEXT_MAX + 1];
	int len = snprintf(text, sizeof(text), "%d\n", op->victim_pid), r = 0;

	/* A setuid program may have been executed since the ids were judged. */
	r = facts_victim_again(op);
	if (r < 0) {
		t->reason = r == -EPERM ? REASON_TASK_IDS : REASON_TASK_ENDED;
		return;
	}
	if (hierarchy_throttles(t->h) && target_path(t, path))
		r = throttle_path(t->h, path);
	if (r >= 0)
		r = move_write(op, t, text, (size_t)len);
	if (r < 0) {
		move_fail(t, r);
		return;
	}
	watch_touch(op->manager->watch, t->h, t->way[t->place.n - 1].id);
	/* Alive after the write: the number was the judged task's all the time. */
	if (!task_alive(op->victim_pidfd)) {
		log_limited(LOG_NOTICE, op->account,
			"a task ended while it was moved; its pid %d may have been reused",
			op->victim_pid);
		t->reason = REASON_TASK_ENDED;
	}
}

const struct act act_move = {.run = move_run};
