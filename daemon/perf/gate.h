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

struct perf_gate;

/* Before the core is confined. `cgroup_fd`: the root of v2. Pinned below `bpffs` if it is not NULL,
 * so that it stays in force while the daemon is away; an earlier one's is taken over. *ret is never
 * NULL on success; gate_why() tells why it is not there. */
int gate_new(const char *bpffs, int cgroup_fd, bool wanted, struct perf_gate **ret);
struct perf_gate *gate_free(struct perf_gate *g);
const char *gate_why(const struct perf_gate *g); /* NULL: it is in force */

/* This cgroup (by its id of v2) and all below it may; or no longer. */
int gate_allow(struct perf_gate *g, uint64_t cgroup_id);
int gate_deny(struct perf_gate *g, uint64_t cgroup_id);
/* All that were allowed are not any more. */
int gate_clear(struct perf_gate *g);
