/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Create. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "act.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "give.h"
#include "levels.h"
#include "manager.h"
#include "ops.h"

static enum reason create_prepare(struct op *op, struct target *t)
{
	for (const char *at = t->missing; *at;) {
		size_t len = strcspn(at, "/");
		enum reason reason = path_name_check(at, len);

		if (reason != REASON_OK)
			return reason;
		at += len + (at[len] == '/');
	}
	return REASON_OK;
}

/*
 * On v1 whoever may write to the parent may rename in it, also between our mkdir and our open. What
 * is opened is ours only if it is root's and has the mode 0 that nobody else gives: then it is
 * configured and given away, and gets its mode.
 */
static int create_open(int parent_fd, const char *name, struct node *ret)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (mkdirat(parent_fd, name, 0) < 0)
		return -errno;
	fd = cgroup_open(parent_fd, name);
	r = fd < 0 ? fd : cgroup_stat(fd, ret);
	if (r < 0)
		return r;
	if (ret->uid != 0 || ret->gid != 0 || (ret->mode & 07777) != 0)
		return -EBUSY;
	return TAKE_FD(fd);
}

static int create_one(
	struct op *op, const struct hierarchy *h, int parent_fd, const char *name, struct node *ret)
{
	_cleanup_close_ int fd = create_open(parent_fd, name, ret);
	int r;

	if (fd < 0)
		return fd;
	r = cgroup_ops(h)->configure(h, parent_fd, fd);
	if (r >= 0 && fchmod(fd, 0755) < 0)
		r = -errno;
	if (r >= 0)
		r = give(fd, &op->who.subject);
	if (r < 0) {
		/* The error that is told is the first one. */
		cgroup_remove_same(parent_fd, name, ret->id);
		return r;
	}
	return TAKE_FD(fd);
}

/* The component at *at, which moves to the next. */
static void component(const char **at, char *name)
{
	size_t len = strcspn(*at, "/");

	memcpy(name, *at, len);
	name[len] = '\0';
	*at += len + ((*at)[len] == '/');
}

/* Removes the deepest of the first `n` missing components, if all are still those that were made.
 */
static void create_remove_last(const struct target *t, unsigned n)
{
	const struct node *made = &t->way[t->place.n];
	_cleanup_close_ int fd = cgroup_open(t->dir_fd, "");
	char name[PATH_NAME_MAX + 1];
	const char *at = t->missing;
	struct node node;

	for (unsigned i = 0; i + 1 < n && fd >= 0; i++) {
		int next;

		component(&at, name);
		next = cgroup_open(fd, name);
		close_fd(&fd);
		fd = next;
		if (fd < 0 || cgroup_stat(fd, &node) < 0 || node.id != made[i].id)
			return;
	}
	component(&at, name);
	if (fd >= 0)
		cgroup_remove_same(fd, name, made[n - 1].id);
}

static void create_failed(struct target *t, int err, unsigned made)
{
	target_fail(t, err);
	/* mkdir(2) on v2: cgroup.max.depth or cgroup.max.descendants. */
	if (t->h->v2 && err == -EAGAIN) {
		t->reason = REASON_TREE_FULL;
		t->err = 0;
		t->detail = levels_full(t, made);
	}
}

static void create_run(struct op *op, struct target *t)
{
	_cleanup_close_ int fd = -EBADF;
	char name[PATH_NAME_MAX + 1];
	const char *at = t->missing;
	int parent_fd = t->dir_fd;

	/* What is new to one of the controllers is as new as on v1 in that one's hierarchy. */
	t->existed = *at == '\0' && t->place.n > 1 && !levels_lack(t);
	if (levels_lack(t) && levels_enable(op, t) < 0)
		return;
	/* The ids of what is made go behind those of what was there. */
	for (unsigned i = 0; *at; i++) {
		int child;

		component(&at, name);
		/* Nobody is in a new one yet. */
		child = i > 0 && t->h->v2 ? levels_write(parent_fd, t->controllers, '+') : 0;
		if (child >= 0)
			child = create_one(op, t->h, parent_fd, name, &t->way[t->place.n + i]);
		if (child < 0) {
			create_failed(t, child, i);
			for (; i > 0; i--)
				create_remove_last(t, i);
			levels_undo(op, t);
			return;
		}
		close_fd(&fd);
		parent_fd = fd = child;
	}
}

static void create_undo(struct op *op, struct target *t)
{
	for (unsigned i = t->place.missing; i > 0; i--)
		create_remove_last(t, i);
	levels_undo(op, t);
}

static void existed_in_all(struct op *op)
{
	op->reply.number = 1;
	for (unsigned i = 0; i < op->n_targets; i++)
		if (op->targets[i].reason == REASON_OK && !op->targets[i].existed)
			op->reply.number = -1;
}

const struct act act_create = {
	.prepare = create_prepare,
	.run = create_run,
	.collect = existed_in_all,
	.undo = create_undo,
};
