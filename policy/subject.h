/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The requestor as facts, and what rights it has over a cgroup or a task.
 *
 * Facts cost system calls, so a question may be asked before all are known: each right is a `tri`,
 * and UNKNOWN comes with the facts that would settle it added to *need. More facts turn UNKNOWN
 * into YES or NO and never turn one of these into the other; tests/unit/test-decide.c holds it to
 * that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "idmap.h"

enum fact {
	FACT_MAPS = 1 << 0,   /* uid_map, gid_map */
	FACT_CAPS = 1 << 1,   /* effective capabilities */
	FACT_GROUPS = 1 << 9, /* supplementary groups */
	FACT_NS = 1 << 2,     /* which namespaces are the daemon's own */
	FACT_SCOPE = 1 << 3,  /* of a place: where it lies in the requestor's scope */
	FACT_PARENT = 1 << 4, /* of a place: the parent of the target */
	/* of a victim: whether its user namespace is the requestor's or below */
	FACT_VICTIM_NS = 1 << 5,
	FACT_ANCESTOR = 1 << 6, /* of a move: the nearest common ancestor */
	FACT_CHAIN = 1 << 8,	/* of a scope: more of the requestor's ancestors */
	FACT_ROOT = 1 << 7,	/* of a scope: the root of the requestor's cgroup namespace */
	FACT_LEVELS = 1 << 10,	/* of Create on v2: the cgroups that lack a controller */
	FACT_SYSTEMD = 1 << 11, /* of a target: whether systemd keeps it to itself */
	FACT_DEVICES = 1 << 12, /* of a target: the device programs on the way to it */
	FACT_GRANT = 1 << 13,	/* of a target: what the policy file grants there */
};

enum tri { NO, YES, UNKNOWN };

#define SUBJECT_GROUPS_MAX 1024

struct subject {
	unsigned have; /* FACT_MAPS, FACT_CAPS, FACT_GROUPS, FACT_NS */
	uid_t uid;     /* host ids, from SO_PEERCRED */
	gid_t gid;
	/* FACT_NS: compared as namespaces, never by what they contain */
	bool own_userns, own_pidns, own_cgroupns; /* true: the same as the daemon's */
	/* FACT_CAPS */
	uint64_t caps; /* effective, in its own user namespace */
	/* FACT_GROUPS */
	unsigned n_groups;
	bool groups_cut; /* there were more than SUBJECT_GROUPS_MAX; the rest grant nothing */
	gid_t groups[SUBJECT_GROUPS_MAX];
	/* FACT_MAPS */
	struct idmap uid_map, gid_map;
};

/* A cgroup directory or file as fstat(2) tells. */
struct node {
	uid_t uid;
	gid_t gid;
	mode_t mode;
	uint64_t id;	   /* st_ino, the cgroup's id (kernfs, 64 bit) */
	unsigned children; /* of a directory: st_nlink - 2, as kernfs counts */
};

/* A task that shall be moved. All ids are the host's. */
struct victim {
	unsigned have; /* FACT_VICTIM_NS */
	bool below_userns;
	uid_t ruid, euid, suid;
};

/* uid 0 in the daemon's own user, pid and cgroup namespaces, with CAP_SYS_ADMIN effective. */
enum tri subject_is_host_root(const struct subject *s, unsigned *need);

/* Its uid maps to 0 in its user namespace, and `cap` (CAP_CHOWN ...) is effective there. */
enum tri subject_is_ns_root(const struct subject *s, int cap, unsigned *need);

/*
 * Host root; or owner; or root in its user namespace (with CAP_DAC_OVERRIDE) and both the owner and
 * the group are mapped.
 */
enum tri subject_over_cgroup(const struct subject *s, const struct node *n, unsigned *need);

/*
 * Access by mode, bits from 4 read, 2 write, 1 search. Host root: yes. Owner mapped and root in its
 * user namespace: yes. Else the first class of owner, group (supplementary ones count), other that
 * matches decides.
 */
enum tri subject_access(
	const struct subject *s, const struct node *n, unsigned bits, unsigned *need);

/*
 * May it take `child` out of `parent`: write and search there and, where the sticky bit is set, as
 * may_delete() has it: owner of one of the two, or over the child.
 */
enum tri subject_may_remove(const struct subject *s, const struct node *parent,
	const struct node *child, unsigned *need);

/*
 * Host root; or the victim's user namespace is the requestor's or below it, and either all its uids
 * are the requestor's, or all are mapped and the requestor is root in its user namespace
 * (CAP_KILL). Visibility in the pid namespace was settled when the pid was translated. ret_why
 * tells on NO: TASK_USERNS or TASK_IDS.
 */
enum tri subject_over_task(
	const struct subject *s, const struct victim *v, unsigned *need, int *ret_why);
