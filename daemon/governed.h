/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cgroups of v2 that have a policy of cgmd's: what the daemon remembers of them, and no more
 * than the kernel can tell again. For three things: a policy with names is made anew when devices
 * come or go; what somebody detaches is attached again; and pins of cgroups that are gone are
 * collected. On the loop.
 *
 * Cgroups of v2 keep their names, so a path and an id are enough. Policies with the same bytes are
 * kept once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../policy/device.h"

struct governed;
struct manager;

/* Where there are no device programs, all that follows does nothing. */
int governed_new(struct manager *m, struct governed **ret);
struct governed *governed_free(struct governed *g);

/* Looks at every cgroup once: what an earlier daemon governed is taken over. Before the daemon
 * answers, so that nothing is listed that it does not know. */
int governed_walk(struct governed *g);

/* The cgroup that fd is, at `path`, has this policy now; data NULL: none. -ENOMEM: it goes on, but
 * is not watched over. */
int governed_set(struct governed *g, int fd, const char *path, const struct device_policy *policy);

/* The same of the cgroup with this id: without a system call. */
int governed_set_id(
	struct governed *g, uint64_t id, const char *path, const struct device_policy *policy);

/* The same by what the kernel has: who planned a policy need not have been the last to set one. */
int governed_look(struct governed *g, int fd, const char *path);

/* After that: whose quota its policy takes up from now on; 0: nobody's. What was there when the
 * daemon began is nobody's. */
void governed_owe(struct governed *g, int fd, uint64_t account);
void governed_owe_id(struct governed *g, uint64_t id, uint64_t account);
/* Has the account all that it may have? It may go over that once. */
bool governed_full(const struct governed *g, uint64_t account);

/* Nothing of ours was found attached to this cgroup: if it has a policy it is attached again, and
 * true returned. `locked`: the caller has the lock of its path. Without a system call if it has
 * none. */
bool governed_miss(struct governed *g, uint64_t id, bool locked);

/* devnames' `changed`: userdata is the governed. */
void governed_changed(void *userdata);

/* How many there are. */
unsigned governed_count(const struct governed *g);
