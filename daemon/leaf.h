/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The leaf of a cgroup of v2: a child named LEAF_NAME, marked MARK_LEAF, that holds the tasks of a
 * cgroup which cannot hold them itself since controllers are enabled for its children. To the
 * outside it is no cgroup: its tasks are its parent's, it is not listed, it goes when its parent
 * goes. A directory of that name without the mark is a cgroup like any other.
 *
 * May run on a worker.
 */
#pragma once

#include "../policy/subject.h"
#include "inspect.h"

/* The leaf of the cgroup that dirfd is, or -ENOENT. */
int leaf_open(struct inspector *i, int dirfd);

/* The leaf, made and marked where there is none; it belongs to whom the cgroup (`node`) belongs,
 * and with it its `delegation` files (NULL after the last; see cgroup_ops.delegation). An unmarked
 * directory of that name is taken if nothing is in it and it belongs to the same, else -EEXIST.
 * *ret_made tells whether it was made now. */
int leaf_make(struct inspector *i, int dirfd, const struct node *node,
	const char *const *delegation, bool *ret_made);

/* Is the cgroup that fd is, at `path`, a leaf? 1 or 0. A NULL path is none's. */
int leaf_is(struct inspector *i, int fd, const char *path);

/* Is the child of that name the leaf of the cgroup that dirfd is? */
bool leaf_is_child(struct inspector *i, const struct hierarchy *h, int dirfd, const char *name);

/* The leaf, if there is one, goes to whom its parent goes. (uid_t)-1: unchanged. */
int leaf_chown(struct inspector *i, int dirfd, uid_t uid, gid_t gid, const char *const *delegation);

/* Removes it. 0: it is gone, or there was none; -EBUSY: tasks are in it. */
int leaf_remove(struct inspector *i, int dirfd);

/* Cuts the leaf from an absolute path of a hierarchy where it ends with one. 1 cut, 0 not. */
int leaf_fold(struct inspector *i, const struct hierarchy *h, char *path);
