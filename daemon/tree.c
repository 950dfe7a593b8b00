/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/path.h"
#include "cgroupfs.h"
#include "cleanup.h"

/* One directory on the way down: what is left to do in it. */
struct visit {
	struct visit *up;
	char *names; /* NUL-terminated, one after the other; an empty one ends them */
	char *at;
	size_t size, len;
	size_t path_len; /* of the path of this directory */
	bool passed_over;
};

struct walk {
	const struct tree_ops *ops;
	void *userdata;
	struct visit *level;
	int fd;
	unsigned n;	   /* names listed so far */
	unsigned too_deep; /* levels below the last whose path could be told */
	char path[PATH_TEXT_MAX + 1];
};

static int name_append(void *userdata, int dirfd, const char *name)
{
	struct walk *w = userdata;
	struct visit *level = w->level;
	size_t len = strlen(name) + 1;

	if (++w->n > TREE_CGROUPS_MAX)
		return -E2BIG;
	if (level->len + len + 1 > level->size) {
		size_t size = level->size * 2 + len + 64;
		char *bigger = realloc(level->names, size);

		if (!bigger)
			return -ENOMEM;
		level->names = bigger;
		level->size = size;
	}
	memcpy(level->names + level->len, name, len);
	level->len += len;
	level->names[level->len] = '\0';
	return 0;
}

static void level_pop(struct walk *w)
{
	struct visit *level = w->level;

	w->level = level->up;
	free(level->names);
	free(level);
}

static const char *walk_path(const struct walk *w)
{
	return w->too_deep ? NULL : w->path;
}

/* Calls enter() for the directory that is open and lists its children. */
static int level_push(struct walk *w)
{
	struct visit *level = calloc(1, sizeof(*level));
	bool passed_over;
	int r = 0;

	if (!level)
		return -ENOMEM;
	level->up = w->level;
	level->path_len = strlen(w->path);
	w->level = level;
	if (w->ops->enter)
		r = w->ops->enter(w->userdata, w->fd, walk_path(w));
	passed_over = r == 1;
	if (r == 0)
		r = cgroup_each(w->fd, true, name_append, w);
	level->at = level->names;
	level->passed_over = passed_over;
	return r < 0 && r != -ENOENT && r != -ENODEV ? r : 0;
}

static void path_push(struct walk *w, const char *name)
{
	size_t len = strlen(w->path), more = strlen(name);

	if (w->too_deep || len + 1 + more > PATH_TEXT_MAX) {
		w->too_deep++;
		return;
	}
	if (len > 0)
		w->path[len++] = '/';
	memcpy(w->path + len, name, more + 1);
}

static void path_pop(struct walk *w)
{
	if (w->too_deep)
		w->too_deep--;
	else
		w->path[w->level->path_len] = '\0';
}

static int descend(struct walk *w, const char *name)
{
	int fd = cgroup_open(w->fd, name);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENODEV ? 0 : fd;
	close_fd(&w->fd);
	w->fd = fd;
	path_push(w, name);
	return level_push(w);
}

/* Back to the parent, whose list still stands at the child's name. */
static int climb(struct walk *w)
{
	int fd = openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), r = 0;
	bool passed_over = w->level->passed_over;

	if (fd < 0)
		return -errno;
	close_fd(&w->fd);
	w->fd = fd;
	level_pop(w);
	if (w->ops->leave && !passed_over)
		r = w->ops->leave(w->userdata, w->fd, w->level->at, walk_path(w));
	path_pop(w);
	w->level->at += strlen(w->level->at) + 1;
	return r;
}

int tree_walk(int top_fd, const struct tree_ops *ops, void *userdata)
{
	struct walk w = {.ops = ops, .userdata = userdata, .fd = cgroup_open(top_fd, "")};
	int r = w.fd < 0 ? w.fd : level_push(&w);

	while (r >= 0 && w.level) {
		if (w.level->at && *w.level->at) {
			const struct visit *before = w.level;

			r = descend(&w, w.level->at);
			if (r >= 0 && w.level == before)
				w.level->at += strlen(w.level->at) + 1;
		} else if (w.level->up) {
			r = climb(&w);
		} else {
			break;
		}
	}
	while (w.level)
		level_pop(&w);
	close_fd(&w.fd);
	return r;
}
