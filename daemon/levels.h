/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Create on v2: the cgroups on the way to the new one that do not give their children the
 * controllers that it shall have. They are found and held while facts are gathered, judged by
 * decide(), and enabled through the same fds.
 *
 * Where tasks are in the way (no internal processes), they go to the cgroup's leaf, each only if
 * the requestor may move it. What could not be finished is taken back: controllers, tasks, the
 * leaf.
 */
#pragma once

#include "evacuate.h"
#include "op.h"

struct rung {
	int fd;		  /* the very cgroup that was judged */
	unsigned enabled; /* by this call, which may be less than what it lacked */
	struct evacuation evacuation;
};

/* Topmost first; the n-th fact is about the n-th rung. */
struct levels {
	unsigned n;
	struct level *level;
	struct rung *rung;
};

/* What the controller argument wants of the v2 hierarchy: named ones, or for "all" and for the list
 * as ListControllers shows it, those that can be had. */
void levels_want(struct target *t, const char *controller);

/* FACT_LEVELS. */
int levels_gather(struct op *op, struct target *t);

/* Has the call to enable anything? Once it is granted. */
bool levels_lack(const struct target *t);

/* "memory pids in /a/b" or NULL; of what is judged. The caller frees. */
char *levels_detail(const struct target *t, unsigned index);

/* Which cgroup on the way has no room for one more below it, by cgroup.max.depth or
 * cgroup.max.descendants: "cgroup.max.depth is 2 in /a". NULL: none that the target's base or what
 * is below it shows. `made`: how many of the missing ones are there by now. */
char *levels_full(const struct target *t, unsigned made);

/* Enables ('+') or disables ('-') a set of controllers for the children of the cgroup that fd is.
 * Nothing to do for the empty set. */
int levels_write(int fd, unsigned set, char sign);

/* May run on a worker. 0, or t->reason and t->detail say what is in the way, and all is as it was.
 */
int levels_enable(struct op *op, struct target *t);
void levels_undo(struct op *op, struct target *t);

struct levels *levels_free(struct levels *l);
