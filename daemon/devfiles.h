/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices.allow, devices.deny and devices.list of cgroup v1 on v2, which has no such files: what
 * v1's controller does, done with device programs (hierarchy.devices tells where they can be had).
 *
 * A cgroup's state is its policy. One without a policy has the state of the nearest above that has
 * one, else the topmost's: all devices. But on v1 a cgroup copies its parent's state when it is
 * made, and on v2 it follows it. So before anything is allowed in a cgroup, its children without a
 * policy get what they had until then as their own. What is denied reaches those that follow by
 * itself; of those that have a state of v1's the kernel's rules change it, too. What was written by
 * people (SetDevices) below holds as it is, for all policies on the way must allow.
 *
 * They are ANDed, where v1 asks the cgroup's own state alone. That makes a difference in one case:
 * v1 lets a child allow with one rule what two of its parent allow together (`c 1:* r` and `c 1:3
 * w`, `c 1:3 rw`). The parent may then not open 1:3 for both at once, and on v2 neither may the
 * child.
 *
 * A leaf (see leaf.h) is no child, and follows.
 */
#pragma once

#include "op.h"

/* What a change has done, for the loop. */
struct devfiles_change;

/* Of a plan's file in this hierarchy: is it one of the three, and not a file? */
bool devfiles_is(const struct hierarchy *h, const char *file);
/* The node that it would have on v1, where it belongs to whom the cgroup belongs. */
void devfiles_node(const char *file, const struct node *cgroup, struct node *ret);
/* Calls fn() with each name, until it gives something else than 0. */
int devfiles_each(int (*fn)(void *userdata, const char *name), void *userdata);

/* GetValue and SetValue. The latter on a worker. */
void devfiles_get(struct op *op, struct target *t);
void devfiles_set(struct op *op, struct target *t);
/* On the loop, after devfiles_set(). */
void devfiles_settle(struct op *op, struct target *t);

struct devfiles_change *devfiles_change_free(struct devfiles_change *c);
