/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What differs between v1 and v2, one row each; and what a controller of v1 wants of a new cgroup.
 */
#pragma once

#include <stdbool.h>

#include "hierarchy.h"

struct manager;

struct cgroup_ops {
	/* Makes a new cgroup usable before anybody gets it: a cpuset's cpus and mems, hierarchical
	 * memory, the ancestors' throttle lines. */
	int (*configure)(const struct hierarchy *h, int parent_fd, int fd);
	/* The files that delegation hands over with the directory, NULL after the last. */
	const char *const *(*delegation)(const struct manager *m);
};

/* Tasks in it, or (v2) anywhere below it: 1, 0 or a negative errno. */
int cgroup_populated(const struct hierarchy *h, int fd);

const struct cgroup_ops *cgroup_ops(const struct hierarchy *h);

/* v1 blkio: writes into `fd` every throttle line of `parent_fd` that it lacks or has wider. */
int throttle_tighten(int parent_fd, int fd);
/* The lines of `key` in every ancestor of the cgroup at `path` (absolute), one text; caller frees.
 */
int throttle_ancestors(const struct hierarchy *h, const char *path, const char *key, char **ret);
/* Tightens every cgroup from the hierarchy's root down to the one at `path`. */
int throttle_path(const struct hierarchy *h, const char *path);
bool hierarchy_throttles(const struct hierarchy *h);
