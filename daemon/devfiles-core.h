/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of devfiles share. */
#pragma once

#include <errno.h>
#include <fcntl.h>

#include "../policy/device-v1.h"
#include "devfiles.h"

static inline void cleanup_rules(struct device_rules *r)
{
	device_rules_done(r);
}

static inline void cleanup_policy(struct device_policy *p)
{
	device_policy_done(p);
}

#define _cleanup_rules_ __attribute__((cleanup(cleanup_rules)))
#define _cleanup_policy_ __attribute__((cleanup(cleanup_policy)))

/* What a policy means as a state of v1's. -EOPNOTSUPP: it is none that v1 could have. */
int devfiles_state_of(
	struct manager *m, const struct device_policy *policy, struct device_rules *ret);

/* The parent's directory. A cgroup of v2 has the same all its life. */
static inline int devfiles_above(int fd)
{
	int above = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return above < 0 ? -errno : above;
}

/* The state that the cgroup has, its own or one from above. */
int devfiles_state(struct manager *m, const struct hierarchy *h, int fd, struct device_rules *ret);

/* Fails it by a negative errno of these. */
void devfiles_fail(struct target *t, int r);
