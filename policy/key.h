/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a cgroup that clients may set, read as pids, or never touch: one row of keys.def
 * each. An allowlist: what has no row is read-only at most (CVE-2022-0492 is what happens
 * otherwise).
 */
#pragma once

#include <stdbool.h>

enum key_class {
	KEY_LIMIT,    /* set by whoever has privilege over the parent */
	KEY_HOST,     /* set by host root alone */
	KEY_STAT,     /* read-only for clients */
	KEY_PIDS,     /* lists tasks; never set by value; read in the caller's own pids */
	KEY_DELEGATE, /* v2's delegation files that are not lists of tasks */
	KEY_NEVER,    /* set for nobody */
};

enum key_flags {
	KEY_BLOCKS =
		1 << 0, /* a write may wait in the kernel: reclaim, rebuild of domains, freezing */
	KEY_ADMIN = 1 << 2,    /* the kernel wants CAP_SYS_ADMIN of the writer */
	KEY_THROTTLE = 1 << 1, /* v1 blkio.throttle: not hierarchical, may only be narrowed */
};

struct key {
	const char *name; /* '*' stands for one run of characters without '.' (hugetlb.*.max) */
	enum key_class class;
	unsigned flags;
};

/* The row, or NULL. `name` is one file name. */
const struct key *key_find(const char *name);

/* One component, not "." or "..", no '/', no control characters, 1 to 255 bytes? */
bool key_name_valid(const char *name);
