/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves the tasks of a cgroup of v2 to its leaf, so that controllers can be enabled for its
 * children. A task is moved only if each party of the call may move it: its ids are judged while a
 * pidfd holds it, just before. May run on a worker.
 */
#pragma once

#include <errno.h>

#include "op.h"

struct evacuation {
	int leaf_fd;	/* -EBADF: nothing was begun */
	bool made;	/* the leaf is of this call */
	int32_t *moved; /* whom */
	size_t n, size;
	size_t listed;	  /* how many the last look found */
	size_t left;	  /* by the last pass: main threads that have ended, or are about to */
	int32_t left_pid; /* one of them */
};
#define EVACUATION_NONE ((struct evacuation){.leaf_fd = -EBADF})

/*
 * All that are in it now. Returns how many were moved; -EBUSY: there is one that may not be moved,
 * or the leaf cannot be made; -EMLINK: there is no room for the leaf; -EOWNERDEAD: a party of the
 * call has ended, so that nothing can be judged by it. What was moved before is kept in `e` for
 * evacuate_undo().
 */
int evacuate(struct op *op, const struct hierarchy *h, int dirfd, const struct node *node,
	struct evacuation *e);

/* Back to where they were, those that still live, and the leaf away if it is of this call. */
void evacuate_undo(struct op *op, const struct hierarchy *h, int dirfd, struct evacuation *e);

void evacuation_done(struct evacuation *e);
