/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the decision about perf events share. */
#pragma once

#include "perf.h"

/* Where an event is counted, by its type and the PMU that its config may name. */
enum perf_where {
	PERF_WHERE_UNKNOWN,  /* no item stands for it */
	PERF_WHERE_PROBE,    /* its attr points into its caller's memory */
	PERF_WHERE_SOFTWARE, /* software events and tracepoints: counting shows numbers alone */
	PERF_WHERE_HARDWARE, /* a CPU's counters, and all else that tells user and kernel apart */
	PERF_WHERE_PLAIN,    /* does not tell them apart: msr */
	PERF_WHERE_DEVICE,   /* no task's: of the whole CPU, socket or card */
};

struct perf_class {
	enum perf_where where;
	bool granted;
	enum perf_item_kind by; /* if granted */
	bool generic;		/* the kernel's own event: config1 to config3 say nothing */
	bool leaks;		/* see perf_pmu */
	bool raw;		/* config is for a CPU's registers */
};

struct perf_class perf_classify(const struct perf_grant *grant, uint32_t type, uint64_t config);

/* What is refused of an attr, whatever it counts. */
struct perf_refusal {
	enum reason reason;
	int err;     /* EINVAL: tools leave it out then, as for a kernel that does not know it */
	bool kernel; /* the item `kernel` allows it */
};

bool perf_attr_samples(const struct perf_attr *a);
/* It has records of what tasks do beside samples. */
bool perf_attr_tells(const struct perf_attr *a);
/* It shows what the kernel does: NULL, or why it needs `kernel`. */
const struct perf_refusal *perf_attr_kernel_side(
	const struct perf_attr *a, const struct perf_class *class);
/* The first of what needs more than an item for the event, or NULL. `wide`: of a CPU or cgroup.
 * `kernel`: that item is there, so what it allows is not told. */
const struct perf_refusal *perf_attr_beyond(const struct perf_attr *a, bool wide, bool kernel);
/* Has it anything that is not known? */
bool perf_attr_known(const struct perf_attr *a);
/* For PERF_WHERE_DEVICE: nothing in it has to do with samples or tasks. */
bool perf_attr_counts_alone(const struct perf_attr *a);
/* What is opened with privilege. */
void perf_attr_reduce(struct perf_attr *a, const struct perf_class *class, bool kernel);
