/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What governs the devices of a cgroup, as the kernel has it now. On v2 the programs that are
 * attached to it and to each cgroup above, all of which must allow; on v1 the cgroup's own state
 * alone, as devices.list shows it. Nothing is judged here.
 */
#pragma once

#include "../policy/decide.h"
#include "../policy/path.h"
#include "devprog.h"
#include "hierarchy.h"

struct device_change_v1;
struct manager;

/* A cgroup on the way that has something to say. */
struct devway_level {
	size_t len; /* its path is the way's path[:len] */
	int fd;	    /* its directory; -EBADF: the target's, or it was not kept */
	bool v1;    /* the kernel's own rules, in `policy` */
	/* v1: what is denied is not shown where all else is allowed ("a *:* rwm"). */
	bool hidden;
	bool denies; /* ... and that there is something is known, but not what; with DEVWAY_MARKS */
	struct devprog_attached attached;
	struct device_policy policy; /* data NULL: none of cgmd's */
	unsigned n_others;
	struct devprog_foreign *others; /* one without a name could not be looked at */
	/* What a grant of the policy file made of it; see devices_widen(). */
	struct device_policy wider;
	struct device_change_v1 *wider_v1;
};

/* Topmost first. The last is always the target's. */
struct devway {
	char path[PATH_TEXT_MAX + 1];
	unsigned n;
	struct devway_level *level;
};

enum devway_flags {
	DEVWAY_READ = 1 << 0,  /* policies and instructions too, not only what is attached */
	DEVWAY_KEEP = 1 << 1,  /* the fds of those levels that have a policy */
	DEVWAY_ALL = 1 << 2,   /* v1: the cgroups above as well */
	DEVWAY_MARKS = 1 << 3, /* v1: has cgmd denied there, or above, what is not shown? */
};

/* `fd`: the target's directory, or -EBADF. Negative errno. */
int devway_read(struct manager *m, const struct hierarchy *h, const char *path, int fd,
	unsigned flags, struct devway **ret);
struct devway *devway_free(struct devway *w);

/* Does it allow all of the range? With DEVWAY_READ. */
enum tri devway_ours(
	const struct devway_level *l, const struct device_range *range, uint8_t access);
/* All other programs there; *ret_which (may be NULL) is the one that denies or is unknown. */
enum tri devway_others(const struct devway_level *l, const struct device_range *range,
	uint8_t access, unsigned *ret_which);

/* Of the whole way: NO if any level denies, whose index goes to *ret_level; the topmost. Else
 * UNKNOWN if any is. `ret_other` -1: it is cgmd's or the kernel's own. Both may be NULL. */
enum tri devway_allows(const struct devway *w, const struct device_range *range, uint8_t access,
	unsigned *ret_level, int *ret_other);

/* v1: a cgroup's state. *ret_hidden: see devway_level. */
int devway_state_v1(int dirfd, struct device_rules *ret, bool *ret_hidden);

/* The rules of cgmd's policy at a level as they were written; none: default allow. */
int devway_rules(const struct devway_level *l, struct device_rules *ret);
