/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walks a tree of cgroups however deep it is: iteratively, with one open directory at a time,
 * climbing by ".." (a cgroup cannot be moved to another parent). May run on a worker.
 */
#pragma once

#include <stdint.h>

struct tree_ops {
	/* A cgroup before its children. 0: go on; 1: pass over it, its children and its leave();
	 * negative: end with it. */
	int (*enter)(void *userdata, int fd, const char *path);
	/* A cgroup (not the top) after its children, by its parent. Negative: end with it. */
	int (*leave)(void *userdata, int parent_fd, const char *name, const char *path);
};

/* The cgroups of one walk; it bounds time and memory. */
#define TREE_CGROUPS_MAX 65536

/* -E2BIG: there are more than TREE_CGROUPS_MAX below the top. `path` in the callbacks is relative
 * to the top, "" for it; what is deeper than PATH_TEXT_MAX can tell comes with a NULL path. What
 * disappears on the way is passed over. Either callback may be NULL. */
int tree_walk(int top_fd, const struct tree_ops *ops, void *userdata);
