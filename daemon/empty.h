/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Removes cgroups that are empty, by path and id. -ESTALE: another cgroup has that path now. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hierarchy.h"
#include "inspect.h"

/* As empty_check, by the cgroup's own directory. */
int empty_look(const struct hierarchy *h, int dirfd, bool *ret_frozen);

/* 1: a task is in it, or on v2 below it; 0: none. *ret_frozen is set on v2 alone. */
int empty_check(const struct hierarchy *h, const char *path, uint64_t id, bool *ret_frozen);

/* 1 and the parent's id: it has gone, and its leaf with it. -EBUSY: something is in it. */
int empty_remove(struct inspector *i, const struct hierarchy *h, const char *path, uint64_t id,
	uint64_t *ret_parent);
