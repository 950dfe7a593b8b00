/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May this perf_event_open(2) be made for somebody, and how? One pure function: no system call, no
 * allocation, no log, no clock. See policy/decide.h for `need`.
 *
 * What the caller has no grant for is opened AS_CALLER: by a process with the caller's own ids and
 * capabilities in its own user namespace, so that the kernel says what it would have said. What is
 * granted is opened with CAP_PERFMON, from a copy of the attr that holds known fields alone, and
 * never reaches above the scope: the cgroup that carries the grant, or the root of the caller's
 * scope if that lies deeper.
 *
 * Where the item `kernel` is missing, an event of a CPU or cgroup is refused, with EACCES as the
 * kernel does it, upon which perf tools try the user side; one of a task is opened AS_CALLER, for
 * of his own tasks the kernel may show somebody more. What is never opened for anybody is refused
 * where the event is granted; with EINVAL what tools can do without, as by a kernel that does not
 * know it.
 */
#pragma once

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>

#include "perf-items.h"
#include "reason.h"
#include "subject.h"

/* As far as this program knows struct perf_event_attr: up to config3 (PERF_ATTR_SIZE_VER8, 6.3).
 * The headers' own may end before. */
#define PERF_ATTR_BYTES 136
#define PERF_ATTR_BYTES_MAX 4096 /* the kernel's own bound: a page */

struct perf_attr {
	union {
		struct perf_event_attr attr;
		uint8_t bytes[PERF_ATTR_BYTES];
	};
};

/* `bytes`: what the caller's memory holds, `size` of them as its `size` field says (0 there:
 * PERF_ATTR_SIZE_VER0). Negative as perf_copy_attr() (kernel/events/core.c): -E2BIG: too small, too
 * large, or not zero beyond what is known. ret->attr.size is what is to be passed on. */
int perf_attr_copy(const uint8_t *bytes, uint32_t size, struct perf_attr *ret);

/* A PMU of the host, as sysfs tells. */
struct perf_pmu {
	uint32_t type;
	/* It has no cpumask there: its events are of a task or a cgroup if one says so. What `gpu`
	 * or `power` grant never is. */
	bool scoped;
	bool granted; /* by name, or as the GPU's, or as power */
	bool cpu;     /* a CPU's own: `cpu`, `cpu_core`, `armv8_*`; hardware events go there */
	/* kprobe, uprobe: the attr points into its caller's memory, so nobody opens it for another.
	 */
	bool probe;
	/* Of those that are scoped: it refuses exclude bits and only counts: `msr`. What is not
	 * known to be such a one has to exclude the kernel's side. */
	bool no_exclude;
	/* Its data may have the kernel's addresses, or physical ones, whatever is excluded. */
	bool leaks;
	/* What granted it, for the ledger: PMU, GPU or POWER. */
	enum perf_item_kind by;
};

#define PERF_PMUS_MAX 256
#define PERF_TRACEPOINTS_MAX 64

/* What a cgroup has been given, resolved to numbers of the host's kernel. */
struct perf_grant {
	bool cpu, kernel, raw; /* raw: pmu:cpu, pmu:cpu_core ... that is, PERF_TYPE_RAW */
	unsigned n_pmus, n_tracepoints;
	struct perf_pmu pmu[PERF_PMUS_MAX]; /* by type, all of the host's */
	uint64_t tracepoint[PERF_TRACEPOINTS_MAX];
};

enum perf_target_kind {
	PERF_TARGET_SELF,   /* pid 0, or the caller's own thread group by number */
	PERF_TARGET_TASK,   /* another's */
	PERF_TARGET_CPU,    /* pid -1 */
	PERF_TARGET_CGROUP, /* PERF_FLAG_PID_CGROUP */
};

/* A call. The group's fd is only that there is one: who opens has it. */
struct perf_call {
	struct perf_attr attr;
	enum perf_target_kind target;
	int32_t cpu;
	bool has_group;
	uint64_t flags; /* PERF_FLAG_* as they came */
};

enum perf_fact {
	PERF_FACT_PTRACE = 1 << 0, /* TASK: the kernel let it ptrace-read the target, as itself */
	PERF_FACT_CGROUP = 1 << 1, /* CGROUP: the cgroup is the scope or below it */
};

struct perf_facts {
	unsigned have;
	const struct perf_grant *grant;
	bool may_ptrace, in_scope;
};

enum perf_way {
	PERF_REFUSE,
	PERF_AS_CALLER,	  /* as it came, by a process that is to the kernel what the caller is */
	PERF_OPEN_TARGET, /* of the target that was asked for: a task, or a cgroup in the scope */
	PERF_OPEN_SCOPE,  /* of the scope's cgroup, with PERF_FLAG_PID_CGROUP */
	PERF_OPEN_CPU,	  /* of the whole CPU: what cannot be scoped, and was granted by name */
};

struct perf_verdict {
	enum perf_way way;
	unsigned need;
	int err;	    /* REFUSE: a negative errno; EACCES where perf tools then try less */
	enum reason reason; /* REFUSE: for messages and the log */
	/* Its records name tasks: it must be opened from the caller's pid namespace. */
	bool names_tasks;
	struct perf_attr attr; /* what is to be opened; AS_CALLER: as it came */
	uint64_t flags;	       /* with PERF_FLAG_FD_CLOEXEC, whatever the caller's fd shall have */
	/* For the ledger: what let it be opened. AS_CALLER: none. */
	bool counted;
	enum perf_item_kind by;
};

struct perf_verdict perf_decide(const struct perf_call *call, const struct perf_facts *facts);

/* Would that grant still open an event that it once opened, of this type and by this? */
bool perf_still_granted(
	const struct perf_grant *grant, enum perf_item_kind by, uint32_t type, uint64_t config);
