/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's PMUs and tracepoints, from sysfs and tracefs; nothing is cached here. */
#pragma once

#include <stdint.h>

#include "../../policy/perf.h"
#include "../devroots.h"

#define PMUS_MAX 4096

struct pmu {
	char name[PERF_NAME_MAX + 1];
	uint32_t type;
	bool scoped; /* no cpumask: a task's or a cgroup's events can be had */
	bool is_cpu; /* cpu, cpu_core, cpu_atom, armv8_*: of the kind that PERF_TYPE_RAW means */
	bool is_power;
	bool is_probe;	 /* kprobe, uprobe */
	bool no_exclude; /* msr: refuses exclude bits, and only counts */
	bool leaks;	 /* intel_bts, arm_spe: of the kernel's side, whatever is excluded */
};

/* By type, at most PMUS_MAX. *ret is heap. `root`: an fd of /sys. -ENOENT: the kernel has
 * none. */
int pmus_list(int root, struct pmu **ret, unsigned *ret_n);
/* "sched:sched_switch" -> its number. `tracefs`: an fd of it. -ENOENT. */
int tracepoint_find(int tracefs, const char *name, uint64_t *ret);
