/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Acting: what a granted call does, through the very fds that were judged.
 *
 * An act may run on a worker: it touches its op and target alone. What belongs to the loop (marks,
 * watches) is done in `settle`, on the loop's thread, afterwards.
 */
#pragma once

#include <stdbool.h>

#include "op.h"

struct act {
	/* Opens and stats what the verdict will need beyond the way: a key's file. NULL: nothing.
	 */
	enum reason (*prepare)(struct op *op, struct target *t);
	/* One hierarchy. Failure: target_fail(). */
	void (*run)(struct op *op, struct target *t);
	/* After all hierarchies, where the act ran: the reply from what they gave. NULL: nothing.
	 */
	void (*collect)(struct op *op);
	/* On the loop, per hierarchy. NULL: nothing. */
	void (*settle)(struct op *op, struct target *t);
	/* On the loop, for the whole op and instead of the rest: OK: it has begun, and
	 * peer_answer() gets the op later, from the loop and never within this; else the call is
	 * refused. NULL: nothing of the kind. */
	enum reason (*begin)(struct op *op);
	/* A hierarchy failed after others were done: takes back what this one did. NULL: cannot. */
	void (*undo)(struct op *op, struct target *t);
};

/* The act of a method, by its row. */
const struct act *act_find(const struct method *method);
/* Does it go through a tree below the target, and judge there? */
bool act_walks(const struct op *op, const struct target *t);
/* Does it reach into a container that runs in the target? */
bool act_reaches(const struct op *op);
/* May it wait in the kernel? */
bool act_blocks(const struct op *op);

#define METHOD(name, in, in_names, out, out_names, action, base, flags, fn) \
	extern const struct act act_##fn;
#include "../dbus/methods.def"
#undef METHOD

/* The tasks of one text of pids, as the requestor's pid namespace has them, onto op->reply. */
int tasks_append(struct op *op, const char *text);
/* As that those of the target's leaf, which are its own, from this file. */
int tasks_of_leaf(struct op *op, const struct target *t, const char *file);
/* As target_fail(), for what only a threaded cgroup cannot do. */
void tasks_fail(struct target *t, int err);
