/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acts that mark and remove cgroups. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "inspect.h"
#include "leaf.h"
#include "manager.h"
#include "ops.h"
#include "tree.h"
#include "watch.h"

/*
 * Remove.
 */

struct removal {
	struct op *op;
	struct target *t;
	bool own; /* '': the children of the base, not the base */
};

/* Below the target each cgroup is judged for itself: out of the parent that it has now. */
static bool may_remove(const struct op *op, const struct target *t, int fd)
{
	struct node parent, node;
	unsigned need = 0;

	return cgroup_stat(fd, &node) >= 0 && cgroup_stat_parent(fd, t->h->dev, &parent) > 0 &&
	       subject_may_remove(&op->who.subject, &parent, &node, &need) == YES &&
	       (!op->proxy ||
		       subject_may_remove(&op->proxy->subject, &parent, &node, &need) == YES);
}

static bool is_top(const char *path)
{
	return path && !*path;
}

/* Who may remove a cgroup may remove its leaf. */
static bool is_leaf(const struct op *op, const struct target *t, int fd, const char *path)
{
	return t->h->v2 && leaf_is(op->manager->inspector, fd, path) == 1;
}

/* In both passes, for on v1 a cgroup can be renamed in between. */
static int remove_allowed(void *userdata, int fd, const char *path)
{
	const struct removal *removal = userdata;

	if (is_top(path))
		return 0;
	if (is_leaf(removal->op, removal->t, fd, path))
		/* In the base's own stands the requestor. */
		return removal->own && !strchr(path, '/') ? 1 : 0;
	return may_remove(removal->op, removal->t, fd) ? 0 : -EACCES;
}

/* The first pass: nothing is removed while anything in the tree could not be. */
static int remove_check(void *userdata, int fd, const char *path)
{
	const struct removal *removal = userdata;
	int r = remove_allowed(userdata, fd, path);

	if (r != 0 || (removal->own && is_top(path)))
		return r;
	r = cgroup_populated(removal->t->h, fd);
	return r > 0 ? -EBUSY : r;
}

static int remove_one(void *userdata, int parent_fd, const char *name, const char *path)
{
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int remove_tree(struct removal *removal)
{
	static const struct tree_ops check = {.enter = remove_check};
	static const struct tree_ops act = {.enter = remove_allowed, .leave = remove_one};
	int r = tree_walk(removal->t->dir_fd, &check, removal);

	return r < 0 ? r : tree_walk(removal->t->dir_fd, &act, removal);
}

static void remove_run(struct op *op, struct target *t)
{
	struct removal removal = {.op = op, .t = t, .own = t->place.n == 1};
	int r = 0;

	t->existed = true;
	if (act_walks(op, t))
		r = remove_tree(&removal);
	else if (t->h->v2 && t->way[t->place.n - 1].children == 1)
		/* It stays where the cgroup does. */
		r = cgroup_populated(t->h, t->dir_fd) > 0
			    ? -EBUSY
			    : leaf_remove(op->manager->inspector, t->dir_fd);
	if (r >= 0 && !removal.own && unlinkat(t->parent_fd, t->name, AT_REMOVEDIR) < 0 &&
		errno != ENOENT)
		r = -errno;
	if (r == -EACCES)
		t->reason = REASON_NO_WRITE;
	else if (r < 0)
		target_fail(t, r);
}

static void existed_in_any(struct op *op)
{
	op->reply.number = -1;
	for (unsigned i = 0; i < op->n_targets; i++)
		if (op->targets[i].reason == REASON_OK && op->targets[i].existed)
			op->reply.number = 1;
}

const struct act act_remove = {.run = remove_run, .collect = existed_in_any};

/*
 * RemoveOnEmpty and Prune.
 */

static int mark(struct op *op, const struct target *t, int fd, const char *path)
{
	struct inspector *inspector = op->manager->inspector;
	int r = inspect_mark_set(inspector, fd, MARK_RELEASE);

	if (r < 0)
		return r;
	r = watch_add(op->manager->watch, t->h, fd, path, op->account);
	/* What was refused is not to be taken up by the scan after a restart. */
	if (r < 0)
		inspect_mark_clear(inspector, fd, MARK_RELEASE);
	return r;
}

static void release_settle(struct op *op, struct target *t)
{
	char path[PATH_TEXT_MAX + 1];
	int r = target_path(t, path) ? mark(op, t, t->dir_fd, path) : -ENAMETOOLONG;

	if (r < 0)
		target_fail(t, r);
}

const struct act act_release = {.settle = release_settle};

/* Busy cgroups that one Prune marks. */
#define LEFT_MAX 1024

struct prune {
	struct op *op;
	struct target *t;
	size_t n, size;
};

/* Busy, so it stays and is marked later, by its path below the target. */
static int left_append(struct prune *prune, const char *path)
{
	char **left = prune->t->left;

	/* Each is marked from the loop, which others wait for. */
	if (prune->n >= LEFT_MAX)
		return -E2BIG;
	if (prune->n + 2 > prune->size) {
		prune->size = prune->size ? prune->size * 2 : 16;
		left = realloc(left, prune->size * sizeof(*left));
		if (!left)
			return -ENOMEM;
		prune->t->left = left;
	}
	left[prune->n] = strdup(path);
	left[prune->n + 1] = NULL;
	return left[prune->n++] ? 0 : -ENOMEM;
}

/* What the requestor could not remove by itself stays as it is, unmarked. */
static int prune_enter(void *userdata, int fd, const char *path)
{
	const struct prune *prune = userdata;

	return is_top(path) || is_leaf(prune->op, prune->t, fd, path) ||
			       may_remove(prune->op, prune->t, fd)
		       ? 0
		       : 1;
}

static int prune_one(void *userdata, int parent_fd, const char *name, const char *path)
{
	const struct prune *prune = userdata;

	if (unlinkat(parent_fd, name, AT_REMOVEDIR) >= 0 || errno == ENOENT)
		return 0;
	/* A leaf goes with its parent. */
	if (leaf_is_child(prune->op->manager->inspector, prune->t->h, parent_fd, name))
		return 0;
	return path ? left_append(userdata, path) : 0;
}

/* The target itself, but never the base: it is where the requestor stands. */
static int prune_target(struct prune *prune)
{
	const struct target *t = prune->t;

	if (t->place.n == 1 || !may_remove(prune->op, t, t->dir_fd))
		return 0;
	if (unlinkat(t->parent_fd, t->name, AT_REMOVEDIR) >= 0 || errno == ENOENT)
		return 0;
	return left_append(prune, "");
}

static void prune_run(struct op *op, struct target *t)
{
	static const struct tree_ops ops = {.enter = prune_enter, .leave = prune_one};
	struct prune prune = {.op = op, .t = t};
	int r = tree_walk(t->dir_fd, &ops, &prune);

	if (r >= 0)
		r = prune_target(&prune);
	if (r < 0)
		target_fail(t, r);
}

static void prune_settle(struct op *op, struct target *t)
{
	char base[PATH_TEXT_MAX + 1], path[2 * (PATH_TEXT_MAX + 1)];

	if (!target_path(t, base))
		return;
	for (char **left = t->left; left && *left; left++) {
		_cleanup_close_ int fd = cgroup_open(t->dir_fd, *left);
		struct node node;
		size_t len = strlen(base), more = strlen(*left);

		if (fd < 0)
			continue;
		memcpy(path, base, len + 1);
		if (more > 0) {
			len = len == 1 ? 0 : len;
			path[len] = '/';
			memcpy(path + len + 1, *left, more + 1);
		}
		/* A leftover that cannot be watched was gone, or is over the cap: it stays,
		 * ignoring. */
		if (strlen(path) <= PATH_TEXT_MAX && mark(op, t, fd, path) >= 0 &&
			cgroup_stat(fd, &node) >= 0)
			/* It was busy; what was in it may have left since. */
			watch_touch(op->manager->watch, t->h, node.id);
	}
}

const struct act act_prune = {.run = prune_run, .settle = prune_settle};
