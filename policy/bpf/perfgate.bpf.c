/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The gate: what the kernel runs for each perf_event_open, see daemon/perf/gate.h. A task outside
 * of the initial user namespace needs a cgroup, its own or the nearest above that is in the map,
 * which says yes there.
 *
 * Cgroups are looked at where perf events have theirs, which is a hierarchy of v1 on some hosts; so
 * bpf_get_current_ancestor_cgroup_id(), which knows v2 alone, does not do.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define CGROUPS_MAX 65536
#define LEVELS_MAX 256 /* deeper below a grant nothing is found */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernfs_node {
	__u64 id; /* of its directory: the inode's number */
};
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};
struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct css_set {
	struct cgroup *dfl_cgrp; /* of v2 */
	struct cgroup_subsys_state *subsys[1];
};
struct user_namespace {
	int level;
};
struct cred {
	struct user_namespace *user_ns;
};
struct task_struct {
	const struct cred *cred;
	struct css_set *cgroups;
};
#pragma clang attribute pop

/* Its number depends on what the kernel was built with. */
enum cgroup_subsys_id {
	perf_event_cgrp_id,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CGROUPS_MAX);
	__type(key, __u64);
	__type(value, __u8);
} cgmd_gate_map SEC(".maps");

/* Of v2 the task's own: until somebody enables any controller there, its css is the root's. */
static inline __attribute__((always_inline)) struct cgroup *cgroup_of(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state **slot = __builtin_preserve_access_index(&set->subsys[0]);
	struct cgroup_subsys_state *css = NULL;
	struct cgroup *v2 = BPF_CORE_READ(set, dfl_cgrp), *cgroup;

	slot += bpf_core_enum_value(enum cgroup_subsys_id, perf_event_cgrp_id);
	bpf_probe_read_kernel(&css, sizeof(css), slot);
	cgroup = BPF_CORE_READ(css, cgroup);
	return BPF_CORE_READ(cgroup, root) == BPF_CORE_READ(v2, root) ? v2 : cgroup;
}

SEC("lsm_cgroup/perf_event_open")
int cgmd_gate(void *ctx __attribute__((unused)))
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cgroup *cgroup;

	if (BPF_CORE_READ(task, cred, user_ns, level) == 0)
		return 1;
	cgroup = cgroup_of(task);
	for (int i = 0; cgroup && i < LEVELS_MAX; i++) {
		__u64 id = BPF_CORE_READ(cgroup, kn, id);
		__u8 *allowed = bpf_map_lookup_elem(&cgmd_gate_map, &id);
		struct cgroup_subsys_state *above;

		if (allowed)
			return *allowed != 0;
		above = BPF_CORE_READ(cgroup, self.parent);
		cgroup = above ? BPF_CORE_READ(above, cgroup) : NULL;
	}
	return 0;
}

char perf_license[] SEC("license") = "Dual BSD/GPL";
