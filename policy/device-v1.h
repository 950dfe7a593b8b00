/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices.allow, devices.deny and devices.list of cgroup v1, for where a program does their work:
 * the kernel's own rules (security/device_cgroup.c, 6.1), move by move. Pure.
 *
 * A cgroup's state is struct device_rules with `v1`: the behaviour is its default, the exceptions
 * are its rules, in their order. A new cgroup begins with a copy of its parent's; the topmost with
 * behaviour ALLOW and none.
 */
#pragma once

#include "device.h"

struct device_v1_write {
	bool allow;	       /* devices.allow, else devices.deny */
	bool all;	       /* "a" */
	uint8_t type;	       /* else one of DEVICE_BLOCK, DEVICE_CHAR */
	uint32_t major, minor; /* DEVICE_ANY */
	uint8_t access;
};

/* The text that was written, by the kernel's parser: blanks around it do not count, three letters
 * of access are all it reads, numbers may have 32 bits. 0 or -EINVAL. */
int device_v1_parse(bool allow, const char *text, struct device_v1_write *ret);

/* Does it to `own`. `parent` is the state of the cgroup above, NULL for the topmost. 0, -EPERM,
 * -EINVAL, -ENOMEM (also where there are DEVICE_RULES_MAX exceptions); but for 0 nothing changes.
 */
int device_v1_apply(struct device_rules *own, const struct device_rules *parent, bool has_children,
	const struct device_v1_write *w);

/* What a successful deny at the cgroup above does to a descendant, whose direct parent's state
 * (changed already) is `parent`. Allows never reach down. 0 or -ENOMEM. */
int device_v1_propagate(struct device_rules *own, const struct device_rules *parent,
	const struct device_v1_write *w);

/* Text of devices.list, heap; NULL: no memory. */
char *device_v1_list(const struct device_rules *own);

/* Rules as people write them (resolved, without names) as v1 would hold them: behaviour and
 * exceptions that give the very same verdict to every request. -EOPNOTSUPP: v1 has none (a hole in
 * what is allowed, a range of more than 256 minors, more than DEVICE_RULES_MAX exceptions).
 * -ENOMEM. */
int device_v1_from(const struct device_rules *resolved, struct device_rules *ret);
