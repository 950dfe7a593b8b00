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

/* Takes back what was made, unless the name is another cgroup's by now. */
static void remove_same(int parent_fd, const char *name, uint64_t id)
{
	struct stat st;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == id)
		unlinkat(parent_fd, name, AT_REMOVEDIR);
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
		remove_same(parent_fd, name, ret->id);
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
		remove_same(fd, name, made[n - 1].id);
}

static void create_run(struct op *op, struct target *t)
{
	_cleanup_close_ int fd = -EBADF;
	char name[PATH_NAME_MAX + 1];
	const char *at = t->missing;
	int parent_fd = t->dir_fd;

	t->existed = *at == '\0' && t->place.n > 1;
	/* The ids of what is made go behind those of what was there. */
	for (unsigned i = 0; *at; i++) {
		int child;

		component(&at, name);
		child = create_one(op, t->h, parent_fd, name, &t->way[t->place.n + i]);
		if (child < 0) {
			for (; i > 0; i--)
				create_remove_last(t, i);
			target_fail(t, child);
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

/* In both passes, for on v1 a cgroup can be renamed in between. */
static int remove_allowed(void *userdata, int fd, const char *path)
{
	const struct removal *removal = userdata;

	return is_top(path) || may_remove(removal->op, removal->t, fd) ? 0 : -EACCES;
}

/* The first pass: nothing is removed while anything in the tree could not be. */
static int remove_check(void *userdata, int fd, const char *path)
{
	const struct removal *removal = userdata;
	int r = remove_allowed(userdata, fd, path);

	if (r < 0 || (removal->own && is_top(path)))
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

	return is_top(path) || may_remove(prune->op, prune->t, fd) ? 0 : 1;
}

static int prune_one(void *userdata, int parent_fd, const char *name, const char *path)
{
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) >= 0 || errno == ENOENT)
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
