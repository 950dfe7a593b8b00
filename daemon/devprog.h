/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device programs in the kernel: ours, one for each class of policies, loaded once at start and
 * shared by all cgroups of v2; and what others have attached. No rule is read or made here.
 *
 * A cgroup's policy lives in the storage that belongs to the attached program's map and the cgroup
 * (BPF_MAP_TYPE_CGROUP_STORAGE, 4.19). It is swapped whole by one update. Always attached with
 * BPF_F_ALLOW_MULTI, by a link that is pinned in bpffs (5.7); without a bpffs directly, which
 * anybody with CAP_NET_ADMIN can detach.
 *
 * What the call may not do once the core has given up its rights (fds by id, other people's
 * instructions) is the inspector's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../policy/device.h"
#include "inspect.h"
#include "sandbox.h"

#define DEVPROG_ATTACHED_MAX 64
#define DEVPROG_NAME_MAX 16

struct devprog;

/* Both none, or the same bytes. */
bool device_policy_same(const struct device_policy *a, const struct device_policy *b);

/* How the policies are kept. */
enum devprog_kind {
	DEVPROG_NONE,	  /* no v2 hierarchy, or the kernel refuses: see devprog_why() */
	DEVPROG_STORAGE,  /* one program a class, storage a cgroup */
	DEVPROG_PROGRAMS, /* a program for each distinct policy, shared; a read-only map in it */
};

/*
 * Loads the programs, or takes those that an earlier daemon pinned in `bpffs`/cgmd if they are the
 * same. Call with all rights, before the core is confined, and after the last fork: nobody else is
 * to have their fds. `bpffs` NULL: /sys/fs/bpf; a directory that is no bpffs gives direct
 * attaching. `force`: DEVPROG_NONE lets it choose. Never fails for what the kernel lacks: the kind
 * is then NONE. -ENOMEM.
 */
int devprog_new(const char *bpffs, enum devprog_kind force, struct devprog **ret);
/* Of kind NONE, for this reason; it is copied. All calls below give -EOPNOTSUPP. */
int devprog_off(const char *why, struct devprog **ret);
/* What is attached stays in force. */
struct devprog *devprog_free(struct devprog *d);
enum devprog_kind devprog_kind(const struct devprog *d);
const char *devprog_why(const struct devprog *d); /* of NONE: "bpf(2): ..." */
bool devprog_pins(const struct devprog *d);
/* What the core must keep for the calls below. */
void devprog_rights(const struct devprog *d, struct sandbox_bpf *ret);
size_t devprog_policy_max(const struct devprog *d); /* the largest class that this kernel takes */

struct devprog_one {
	uint32_t id;
	bool ours;
};

/* What is attached to one cgroup itself. */
struct devprog_attached {
	uint32_t flags; /* BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE or 0; of no meaning if n is 0 */
	unsigned n;
	struct devprog_one one[DEVPROG_ATTACHED_MAX];
};

/* One system call (BPF_PROG_QUERY). `fd`: of the cgroup's directory, O_RDONLY. */
int devprog_query(struct devprog *d, int fd, struct devprog_attached *ret);

/* The cgroup's policy, if a program of ours is attached and has one. 1 and *ret, 0 none. Where a
 * daemon was killed while it changed it: the newer. */
int devprog_policy_get(struct devprog *d, int fd, struct device_policy *ret);
/* The same where `have` was answered just now, without asking again. */
int devprog_policy_read(
	struct devprog *d, int fd, const struct devprog_attached *have, struct device_policy *ret);

/*
 * The policy is in force when this returns, and at every moment before it was the old one (or, in
 * between, both). Attaches where nothing of ours is, which is also how it repairs what somebody
 * has detached; goes to another class by attaching the new one before the old one is detached.
 * -EPERM: an ancestor's or the cgroup's own flags forbid it (see devprog_ancestor_allows());
 * -E2BIG: 64 programs are attached, or the policy is too large; -ENODEV, -ENOENT: removed. -EBUSY:
 * it is in force, and so is an older one, whose link somebody else holds.
 */
int devprog_policy_set(struct devprog *d, int fd, const struct device_policy *policy);
/* The same from what the cgroup is known to have, data NULL: none of ours; -EAGAIN: it has another
 * by now, and keeps it. What was planned on one thread undoes nothing that another one did. */
int devprog_policy_change(struct devprog *d, int fd, const struct device_policy *from,
	const struct device_policy *to);
/* Takes ours away; 0 also if there is nothing. */
int devprog_policy_clear(struct devprog *d, int fd);

/* Waits until all are through who are being judged now, perhaps by what was attached before: a
 * grace period of RCU, some milliseconds. For a change that must not be seen without an earlier
 * one in another cgroup. -EBUSY: the kernel does not wait (nohz_full=). */
int devprog_drain(void);

/*
 * Programs that are attached there and are named as ours, but are not ours: of another version, or
 * of a daemon that had no bpffs. The policy goes over to ours, then they are detached: at every
 * moment it is in force. If ours is attached and has one, that is the newer. Returns how many were
 * detached, 0: there is none. -EPROTO: at least one has a policy that we cannot read; it is left
 * where it is. -EBUSY: ours is in force, and so is one whose link somebody else holds.
 */
int devprog_adopt(
	struct devprog *d, struct inspector *i, int fd, const struct devprog_attached *attached);

/* Would attaching below a cgroup with this keep all of it in force? ANDing holds for ALLOW_MULTI
 * alone: what was attached with ALLOW_OVERRIDE is replaced by a descendant's (4.15), and below what
 * was attached without a flag nothing can be attached. */
bool devprog_ancestor_allows(const struct devprog_attached *above);

/* Removes pins of cgroups that are gone: of at most `n` a call, going round; and programs of kind
 * PROGRAMS that were not found attached for an hour. Returns how many pins were looked at: fewer
 * than `n` when a round is done. */
unsigned devprog_collect(struct devprog *d, unsigned n);

/* Somebody else's program: its instructions, as the kernel shows them, and what it is called. */
struct devprog_foreign {
	char name[DEVPROG_NAME_MAX];
	uint32_t n_maps;
	size_t n_insns;		/* 0: hidden, or too many */
	struct bpf_insn *insns; /* heap */
};
void devprog_foreign_done(struct devprog_foreign *f);
/* By the inspector; -ENOENT: gone; -EACCES: it is not for devices. */
int devprog_foreign_get(struct inspector *i, uint32_t id, struct devprog_foreign *ret);
