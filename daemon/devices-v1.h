/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A change of a cgroup's devices on v1, as writes to its devices.allow and devices.deny. They are
 * tried on copies of the states first, by the kernel's own rules; what only the kernel knows (see
 * devway_level.hidden) shows when they are written.
 */
#pragma once

#include "../policy/device-v1.h"
#include "devices.h"

struct device_change_v1 {
	struct device_rules before, after;
	bool hidden; /* `before` does not show all */
	int allow_fd, deny_fd;
	unsigned n;
	struct device_v1_write *write;
};

/* What is to be written to make the call's change in the cgroup that dirfd is. 0; -EPERM: the
 * parent does not have it; -EBUSY: it has children, and takes no change from all to none or back;
 * -EOPNOTSUPP: v1 has no such rules; -ENOMEM ... */
int devices_plan_v1(
	struct op *op, int dirfd, bool is_top, bool has_children, struct device_change_v1 **ret);
/* Whether something is denied in the cgroup of v1 that devices.list does not show; see MARK_DENIES.
 * Before the write that denies, and after one that does away with it. */
void devices_denies_v1(struct manager *m, int dirfd, bool denies);
int devices_plan_v1_target(struct op *op, struct target *t, struct device_change_v1 **ret);
struct device_change_v1 *device_change_v1_free(struct device_change_v1 *c);

/* Writes all, or takes back what was written and returns why. */
int devices_write_v1(struct manager *m, struct device_change_v1 *c);
int devices_restore_v1(struct manager *m, struct device_change_v1 *c);
