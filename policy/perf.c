/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * That an event of a cgroup tells of that cgroup alone is the kernel's doing (kernel/events/core.c,
 * 6.1 to 6.18): it is scheduled in when a task of the cgroup, or of one below, comes to run on the
 * CPU, so it counts and samples these; and records beside samples (mmap, comm, fork, switches) go
 * to events of a CPU only if event_filter_match() says that what runs there now is in their cgroup.
 * What is recorded is done by the task that runs, so these do not reach beyond either; but records
 * of kernel symbols and BPF programs have addresses of the kernel's, those of cgroups the host's
 * paths, and switches the task that comes next, whosever it is.
 */
#include <errno.h>
#include <string.h>

#include "perf-core.h"

#define FLAGS_KNOWN \
	(PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT | PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC)
#define PMU_SHIFT 32	  /* PERF_PMU_TYPE_SHIFT, in the headers from 5.13 on */
#define SOFTWARE_KNOWN 11 /* PERF_COUNT_SW_CGROUP_SWITCHES, from 5.13 on */

/* "AnyThread" of Intel's: what the other task on the same core does is counted too. */
#if defined(__x86_64__) || defined(__i386__)
#	define RAW_ANY_THREAD (UINT64_C(1) << 21)
#else
#	define RAW_ANY_THREAD UINT64_C(0)
#endif

/* ---- what counts it */

static const struct perf_pmu *pmu_find(const struct perf_grant *g, uint32_t type)
{
	for (unsigned k = 0; k < g->n_pmus; k++)
		if (g->pmu[k].type == type)
			return &g->pmu[k];
	return NULL;
}

static bool has_cpu(const struct perf_grant *g)
{
	return g->cpu || g->kernel;
}

/* By a name, or with all that `cpu` stands for. */
static void let(struct perf_class *class, bool cpu, const struct perf_pmu *pmu, bool named)
{
	named = named || (pmu && pmu->granted);
	class->granted = cpu || named;
	class->by = cpu ? PERF_ITEM_CPU : pmu && pmu->granted ? pmu->by : PERF_ITEM_PMU;
}

/* What BPF programs write into their output says as much as they please. It is no CPU's event. */
static void classify_software(const struct perf_grant *g, uint64_t config, struct perf_class *class)
{
	if (config > SOFTWARE_KNOWN || config == PERF_COUNT_SW_BPF_OUTPUT)
		return;
	class->where = PERF_WHERE_SOFTWARE;
	class->generic = true;
	let(class, has_cpu(g), pmu_find(g, PERF_TYPE_SOFTWARE), false);
}

static void classify_tracepoint(
	const struct perf_grant *g, uint64_t config, struct perf_class *class)
{
	class->where = PERF_WHERE_SOFTWARE;
	class->generic = true;
	class->by = PERF_ITEM_TRACEPOINT;
	for (unsigned k = 0; k < g->n_tracepoints; k++)
		class->granted = class->granted || g->tracepoint[k] == config;
}

/* GPUs' have no cpumask in all cases (amdgpu), and are of no task for all that. */
static bool is_device(const struct perf_pmu *pmu)
{
	return !pmu->scoped ||
	       (pmu->granted && (pmu->by == PERF_ITEM_GPU || pmu->by == PERF_ITEM_POWER));
}

static void classify_pmu(const struct perf_grant *g, uint32_t type, struct perf_class *class)
{
	const struct perf_pmu *pmu = pmu_find(g, type);

	if (!pmu)
		return;
	let(class, false, pmu, false);
	class->raw = pmu->cpu;
	class->leaks = pmu->leaks;
	if (pmu->probe)
		class->where = PERF_WHERE_PROBE;
	else if (is_device(pmu))
		class->where = PERF_WHERE_DEVICE;
	else
		class->where = pmu->no_exclude ? PERF_WHERE_PLAIN : PERF_WHERE_HARDWARE;
}

/* The upper half of config names a CPU's PMU, where there are several (PERF_TYPE_HARDWARE and
 * PERF_TYPE_HW_CACHE in perf_init_event()). Any other there is judged as if its type were asked
 * for. */
static void classify_hardware(const struct perf_grant *g, uint64_t config, struct perf_class *class)
{
	uint32_t type = (uint32_t)(config >> PMU_SHIFT);
	const struct perf_pmu *pmu = type ? pmu_find(g, type) : NULL;

	if (type && !(pmu && pmu->cpu && pmu->scoped)) {
		/* the kernel's own types are none that could be named there */
		if (type >= PERF_TYPE_MAX)
			classify_pmu(g, type, class);
		return;
	}
	class->where = PERF_WHERE_HARDWARE;
	class->generic = true;
	let(class, has_cpu(g), pmu, !type && g->raw);
}

static void classify_raw(const struct perf_grant *g, struct perf_class *class)
{
	class->where = PERF_WHERE_HARDWARE;
	class->raw = true;
	let(class, false, pmu_find(g, PERF_TYPE_RAW), g->raw);
}

struct perf_class perf_classify(const struct perf_grant *g, uint32_t type, uint64_t config)
{
	struct perf_class class = {0};

	switch (type) {
	case PERF_TYPE_SOFTWARE:
		classify_software(g, config, &class);
		break;
	case PERF_TYPE_TRACEPOINT:
		classify_tracepoint(g, config, &class);
		break;
	case PERF_TYPE_HARDWARE:
	case PERF_TYPE_HW_CACHE:
		classify_hardware(g, config, &class);
		break;
	case PERF_TYPE_RAW:
		classify_raw(g, &class);
		break;
	default:
		classify_pmu(g, type, &class);
	}
	return class;
}

bool perf_still_granted(
	const struct perf_grant *grant, enum perf_item_kind by, uint32_t type, uint64_t config)
{
	return perf_classify(grant, type, config).granted &&
	       (by != PERF_ITEM_KERNEL || grant->kernel);
}

/* ---- the verdict */

static bool refuse(struct perf_verdict *v, enum reason reason, int err)
{
	*v = (struct perf_verdict){.way = PERF_REFUSE, .err = err, .reason = reason};
	return false;
}

static bool as_caller(const struct perf_call *call, struct perf_verdict *v)
{
	*v = (struct perf_verdict){.way = PERF_AS_CALLER,
		.attr = call->attr,
		.flags = call->flags | PERF_FLAG_FD_CLOEXEC};
	return false;
}

static bool is_wide(const struct perf_call *call)
{
	return call->target == PERF_TARGET_CPU || call->target == PERF_TARGET_CGROUP;
}

/* What `kernel` would let somebody do, the kernel may let him do to his own tasks. */
static bool beyond(
	const struct perf_call *call, const struct perf_refusal *refusal, struct perf_verdict *v)
{
	if (!is_wide(call) && refusal->kernel)
		return as_caller(call, v);
	return refuse(v, refusal->reason, refusal->err);
}

static bool check_flags(const struct perf_call *call, struct perf_verdict *v)
{
	bool cgroup = call->flags & PERF_FLAG_PID_CGROUP;

	if ((call->flags & ~(uint64_t)FLAGS_KNOWN) ||
		cgroup != (call->target == PERF_TARGET_CGROUP) || (is_wide(call) && call->cpu < 0))
		return refuse(v, REASON_PERF_FLAGS, -EINVAL);
	return true;
}

static bool check_device(const struct perf_call *call, struct perf_verdict *v)
{
	if (call->target != PERF_TARGET_CPU || !perf_attr_counts_alone(&call->attr))
		return refuse(v, REASON_PERF_PMU, -EINVAL);
	return true;
}

static bool check_attr(const struct perf_call *call, const struct perf_class *class, bool kernel,
	struct perf_verdict *v)
{
	bool device = class->where == PERF_WHERE_DEVICE;
	const struct perf_refusal *refusal = perf_attr_beyond(&call->attr, is_wide(call), kernel);

	if (refusal)
		return beyond(call, refusal, v);
	if (!perf_attr_known(&call->attr))
		return refuse(v, REASON_PERF_ATTR, -EINVAL);
	if (class->raw && (call->attr.attr.config & RAW_ANY_THREAD))
		return refuse(v, REASON_PERF_NEVER, -EACCES);
	if (!device && !kernel)
		refusal = perf_attr_kernel_side(&call->attr, class);
	if (refusal)
		return beyond(call, refusal, v);
	return !device || check_device(call, v);
}

static bool check_target(
	const struct perf_call *call, const struct perf_facts *facts, struct perf_verdict *v)
{
	unsigned need = call->target == PERF_TARGET_TASK     ? PERF_FACT_PTRACE
			: call->target == PERF_TARGET_CGROUP ? PERF_FACT_CGROUP
							     : 0;

	if (need & ~facts->have) {
		*v = (struct perf_verdict){
			.way = PERF_REFUSE, .need = need, .reason = REASON_INTERNAL, .err = -EIO};
		return false;
	}
	if (call->target == PERF_TARGET_TASK && !facts->may_ptrace)
		return refuse(v, REASON_PERF_PTRACE, -EACCES);
	if (call->target == PERF_TARGET_CGROUP && !facts->in_scope)
		return refuse(v, REASON_PERF_CGROUP, -EACCES);
	return true;
}

static bool judge(const struct perf_call *call, const struct perf_facts *facts,
	const struct perf_class *class, struct perf_verdict *v)
{
	/* Whoever opens it would have the kernel read its own memory in place of the caller's. */
	if (class->where == PERF_WHERE_PROBE)
		return refuse(v, REASON_PERF_NEVER, -EACCES);
	if (class->where == PERF_WHERE_UNKNOWN || !class->granted)
		return as_caller(call, v);
	return check_flags(call, v) && check_attr(call, class, facts->grant->kernel, v) &&
	       check_target(call, facts, v);
}

/* `kernel` is what it takes if without it the answer were another. */
static enum perf_item_kind granted_by(const struct perf_call *call, const struct perf_class *class)
{
	bool device = class->where == PERF_WHERE_DEVICE;

	if (!device && (perf_attr_kernel_side(&call->attr, class) ||
			       perf_attr_beyond(&call->attr, is_wide(call), false)))
		return PERF_ITEM_KERNEL;
	return class->by;
}

static enum perf_way way_of(const struct perf_call *call, const struct perf_class *class)
{
	if (class->where == PERF_WHERE_DEVICE)
		return PERF_OPEN_CPU;
	return call->target == PERF_TARGET_CPU ? PERF_OPEN_SCOPE : PERF_OPEN_TARGET;
}

struct perf_verdict perf_decide(const struct perf_call *call, const struct perf_facts *facts)
{
	const struct perf_event_attr *attr = &call->attr.attr;
	struct perf_class class = perf_classify(facts->grant, attr->type, attr->config);
	struct perf_verdict v;

	if (!judge(call, facts, &class, &v))
		return v;
	v = (struct perf_verdict){.way = way_of(call, &class),
		.attr = call->attr,
		.flags = call->flags | PERF_FLAG_FD_CLOEXEC,
		.names_tasks = perf_attr_samples(&call->attr) || perf_attr_tells(&call->attr),
		.counted = true,
		.by = granted_by(call, &class)};
	if (v.way == PERF_OPEN_SCOPE)
		v.flags |= PERF_FLAG_PID_CGROUP;
	perf_attr_reduce(&v.attr, &class, facts->grant->kernel);
	return v;
}
