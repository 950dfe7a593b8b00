/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who changes the device rules of which part of the v2 tree. A change by v1's rules (devfiles.h)
 * reads a cgroup and all below it and then writes there, on a worker: nobody else's change may come
 * in between. Changes of parts that are not in each other do not wait for one another; of the
 * others the larger part, once it was asked for, comes before all that is asked for in it later.
 */
#pragma once

#include <stdbool.h>

struct devlocks;

int devlocks_new(struct devlocks **ret);
struct devlocks *devlocks_free(struct devlocks *l);
/* Nobody waits any more: before the workers are waited for. */
void devlocks_end(struct devlocks *l);

/* A part of the tree that is held: a cgroup and all below. All zero: nothing is held. */
struct devlock {
	struct devlock *next;
	struct devlocks *locks;
	char *path;
};

/* Waits until nothing is held that is in this part or has it in it. On a worker alone. 0, -ENOMEM,
 * -ECANCELED: the daemon ends. */
int devlock_take(struct devlocks *l, struct devlock *lock, const char *path);
/* Does not wait, for the loop: -EBUSY. For a few seconds nothing below `wish` is taken then, so
 * that the next try has it when those that hold parts of it now have put them. It is what the
 * caller has a right to: others wait for it. `first`: the caller waits for no such wish. */
int devlock_try(
	struct devlocks *l, struct devlock *lock, const char *path, const char *wish, bool first);
void devlock_put(struct devlock *lock);

static inline void cleanup_devlock(struct devlock *lock)
{
	devlock_put(lock);
}

#define _cleanup_devlock_ __attribute__((cleanup(cleanup_devlock)))
