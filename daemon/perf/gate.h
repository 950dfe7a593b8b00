/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate: a BPF LSM program on perf_event_open (lsm_cgroup, Linux 6.0, `bpf` among the kernel's
 * LSMs), attached to the root of cgroup v2, for hosts that have lowered perf_event_paranoid. It
 * refuses perf_event_open to every task outside the initial user namespace whose cgroup has no
 * grant, and leaves the rest to the kernel. What it opens for containers cgmd opens from the
 * initial user namespace.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct manager;
struct perf_gate;

/* Before the core is confined. `cgroup_fd`: the root of v2, or negative. Pinned below `bpffs`
 * (NULL: /sys/fs/bpf), so that it stays in force while the daemon is away; an earlier one's is
 * taken over with all that it lets through, or removed if it is not `wanted` any more. *ret is
 * never NULL on success; gate_why() tells why it is not there. */
int gate_new(const char *bpffs, int cgroup_fd, bool wanted, struct perf_gate **ret);
struct perf_gate *gate_free(struct perf_gate *g); /* stays in force; returns NULL */
const char *gate_why(const struct perf_gate *g);  /* NULL: it is in force */

/* A cgroup of the hierarchy that perf events have theirs in, by its id there, and all below it but
 * those that are told otherwise: may they? Where it is not in force these do nothing. */
int gate_set(struct perf_gate *g, uint64_t cgroup_id, bool may);
int gate_forget(struct perf_gate *g, uint64_t cgroup_id);
/* All that were told, in no order; ids is heap. -E2BIG. */
int gate_list(const struct perf_gate *g, uint64_t **ret_ids, unsigned *ret_n);

/*
 * Follows the grants: looks at all cgroups of that hierarchy, in slices from the loop, whenever
 * perf_changed() is called, which calls gate_follow(), and every GATE_SEC where the policy file has
 * grants, for cgroups that have come since.
 */
#define GATE_SEC 5
int gate_follow(struct perf_gate *g, struct manager *m);
