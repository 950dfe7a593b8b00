/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acts that make, mark and remove cgroups. */
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
#include "manager.h"
#include "ops.h"
#include "tree.h"
#include "watch.h"

/*
 * Create.
 */

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

/* Not what makes the host run something, not what is the host's to set, and not what only cgmd's
 * judging keeps below the ancestors' limits. */
static bool is_given(const char *name)
{
	const struct key *key = key_find(name);

	return !(key && (key->class == KEY_HOST || (key->flags & KEY_THROTTLE))) &&
	       strcmp(name, "notify_on_release") != 0 && strcmp(name, "release_agent") != 0;
}

static int give_file(void *userdata, int dirfd, const char *name)
{
	const struct subject *s = userdata;

	if (is_given(name) && fchownat(dirfd, name, s->uid, s->gid, AT_SYMLINK_NOFOLLOW) < 0 &&
		errno != ENOENT)
		return -errno;
	return 0;
}

/* The directory last: before that its new owner can do nothing with the rest. */
static int give(int fd, struct subject *s)
{
	int r;

	if (s->uid == 0 && s->gid == 0)
		return 0;
	r = cgroup_each(fd, false, give_file, s);
	if (r >= 0 && fchown(fd, s->uid, s->gid) < 0)
		r = -errno;
	return r;
}

static int create_one(struct op *op, const struct hierarchy *h, int parent_fd, const char *name)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (mkdirat(parent_fd, name, 0755) < 0)
		return -errno;
	fd = cgroup_open(parent_fd, name);
	r = fd < 0 ? fd : cgroup_ops(h)->configure(h, parent_fd, fd);
	if (r >= 0)
		r = give(fd, &op->subject);
	if (r < 0) {
		/* The error that is told is the first one. */
		unlinkat(parent_fd, name, AT_REMOVEDIR);
		return r;
	}
	return TAKE_FD(fd);
}

/* Removes the missing components that were made, deepest first: the first `len` bytes of them. */
static void create_take_back(const struct target *t, size_t len)
{
	char path[PATH_TEXT_MAX + 1];

	memcpy(path, t->missing, len);
	path[len] = '\0';
	while (*path) {
		char *slash = strrchr(path, '/');

		unlinkat(t->dir_fd, path, AT_REMOVEDIR);
		if (slash)
			*slash = '\0';
		else
			*path = '\0';
	}
}

static void create_run(struct op *op, struct target *t)
{
	_cleanup_close_ int fd = -EBADF;
	char name[PATH_NAME_MAX + 1];
	const char *at = t->missing;
	int parent_fd = t->dir_fd;

	t->existed = *at == '\0' && t->place.n > 1;
	while (*at) {
		size_t len = strcspn(at, "/");
		int child;

		memcpy(name, at, len);
		name[len] = '\0';
		child = create_one(op, t->h, parent_fd, name);
		if (child < 0) {
			create_take_back(t, at > t->missing ? (size_t)(at - t->missing) - 1 : 0);
			target_fail(t, child);
			return;
		}
		close_fd(&fd);
		parent_fd = fd = child;
		at += len + (at[len] == '/');
	}
}

static void create_undo(struct op *op, struct target *t)
{
	create_take_back(t, strlen(t->missing));
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

/*
 * Remove.
 */

struct removal {
	struct op *op;
	struct target *t;
	bool own;    /* '': the children of the base, not the base */
	int refused; /* a negative errno that is told in the end */
};

/* The check pass: nothing is removed while anything in the tree could not be. */
static int remove_check(void *userdata, int fd, const char *path)
{
	struct removal *removal = userdata;
	struct node node;
	unsigned need = 0;
	int r = 0;

	if (!(removal->own && path && !*path))
		r = cgroup_ops(removal->t->h)->populated(fd);
	if (r != 0)
		return r < 0 ? r : -EBUSY;
	r = cgroup_stat(fd, &node);
	/* What is below belongs to whoever may write here. */
	if (r >= 0 && subject_access(&removal->op->subject, &node, 2 | 1, &need) != YES)
		return -EACCES;
	return r;
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
	static const struct tree_ops act = {.leave = remove_one};
	int r = tree_walk(removal->t->dir_fd, &check, removal);

	return r < 0 ? r : tree_walk(removal->t->dir_fd, &act, removal);
}

static void remove_run(struct op *op, struct target *t)
{
	struct removal removal = {.op = op, .t = t, .own = t->place.n == 1};
	int r = 0;

	t->existed = true;
	if (op->request.recursive != 0 || removal.own)
		r = remove_tree(&removal);
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
	int r = inspect_mark_set(op->manager->inspector, fd, MARK_RELEASE);

	return r < 0 ? r : watch_add(op->manager->watch, t->h, fd, path);
}

static void release_settle(struct op *op, struct target *t)
{
	char path[PATH_TEXT_MAX + 1];
	int r = target_path(t, path) ? mark(op, t, t->dir_fd, path) : -ENAMETOOLONG;

	if (r < 0)
		target_fail(t, r);
}

const struct act act_release = {.settle = release_settle};

struct prune {
	struct target *t;
	size_t n, size;
};

/* Busy, so it stays and is marked later, by its path below the target. */
static int left_append(struct prune *prune, const char *path)
{
	char **left = prune->t->left;

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

static int prune_one(void *userdata, int parent_fd, const char *name, const char *path)
{
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) >= 0 || errno == ENOENT)
		return 0;
	return path ? left_append(userdata, path) : 0;
}

static void prune_run(struct op *op, struct target *t)
{
	static const struct tree_ops ops = {.leave = prune_one};
	struct prune prune = {.t = t};
	int r = tree_walk(t->dir_fd, &ops, &prune);

	/* The target itself, but never the base: it is where the requestor stands. */
	if (r >= 0 && t->place.n > 1 && unlinkat(t->parent_fd, t->name, AT_REMOVEDIR) < 0 &&
		errno != ENOENT)
		r = left_append(&prune, "");
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
		if (strlen(path) <= PATH_TEXT_MAX)
			mark(op, t, fd, path);
	}
}

const struct act act_prune = {.run = prune_run, .settle = prune_settle};
