/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an attr says, field by field. Each row names bits of it in an attr of its own; whichever of
 * these are set in the one that is judged, in whatever field, the row holds.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "perf-core.h"

#define WORDS (PERF_ATTR_BYTES / 8)
#define ATTR(...)                       \
	{                               \
		.attr = { __VA_ARGS__ } \
	}
#define ANY32 UINT32_MAX
#define ANY64 UINT64_MAX

/* The kernel's, of which older headers lack the last. */
#define BRANCH_KERNEL (PERF_SAMPLE_BRANCH_KERNEL | PERF_SAMPLE_BRANCH_HV)
#define BRANCH_LEVELS (PERF_SAMPLE_BRANCH_USER | BRANCH_KERNEL)
#define BRANCH_KNOWN ((UINT64_C(1) << 20) - 1)
#define FORMAT_KNOWN ((UINT64_C(1) << 5) - 1)
#define SAMPLE_KNOWN ((UINT64_C(1) << 25) - 1)

/* The headers' struct may end before. */
#define CONFIG3_WORD (PERF_ATTR_SIZE_VER7 / 8)

_Static_assert(
	sizeof(struct perf_attr) >= PERF_ATTR_BYTES, "an attr is shorter than what is known");
_Static_assert(offsetof(struct perf_event_attr, sig_data) == PERF_ATTR_SIZE_VER7 - 8,
	"the fields are not where the kernel has them");

struct row {
	struct perf_attr any;
	struct perf_refusal refusal;
};

#define FEATURE                                   \
	{                                         \
		REASON_PERF_NEVER, -EINVAL, false \
	}
#define NEVER                                     \
	{                                         \
		REASON_PERF_NEVER, -EACCES, false \
	}
#define WITH_KERNEL(reason)                    \
	{                                      \
		REASON_##reason, -EACCES, true \
	}

static const struct row rows[] = {
	/* What tools do without comes first. Records about all of the kernel, or with its addresses
	   and its paths. */
	{ATTR(.ksymbol = 1), FEATURE},
	{ATTR(.bpf_event = 1), FEATURE},
	{ATTR(.text_poke = 1), FEATURE},
	{ATTR(.cgroup = 1), FEATURE},
	{ATTR(.namespaces = 1), NEVER},
	/* The signal is sent, and the trace written, with the right of whoever opened the event. */
	{ATTR(.sigtrap = 1), NEVER},
	{ATTR(.sig_data = ANY64), NEVER},
	{ATTR(.aux_output = 1), NEVER},
	{ATTR(.aux_watermark = ANY32), NEVER},
	{ATTR(.aux_sample_size = ANY32), NEVER},
	{ATTR(.sample_type = PERF_SAMPLE_AUX), NEVER},
	{ATTR(.sample_type = PERF_SAMPLE_PHYS_ADDR), NEVER},
	/* The kernel's registers, where it was interrupted. */
	{ATTR(.sample_type = PERF_SAMPLE_REGS_INTR), NEVER},
	{ATTR(.sample_regs_intr = ANY64), NEVER},
	/* A tracepoint's arguments are about whatever task or device it pleases. */
	{ATTR(.sample_type = PERF_SAMPLE_RAW), NEVER},
	{ATTR(.branch_sample_type = BRANCH_KERNEL), WITH_KERNEL(PERF_KERNEL_SIDE)},
	{ATTR(.precise_ip = 3), WITH_KERNEL(PERF_PRECISE)},
	/* Of the CPU's, the record names the task of another cgroup that comes next. */
	{ATTR(.context_switch = 1), WITH_KERNEL(PERF_SWITCHES)},
};

/* Of events of a CPU or cgroup. */
static const struct row wide_rows[] = {
	/* The kernel asks for the right to trace a task whose stack is copied; here nobody is
	 * asked. */
	{ATTR(.sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER),
		WITH_KERNEL(PERF_STACKS)},
	/* These go before the host's own events: they are of the CPU's context like those. */
	{ATTR(.pinned = 1, .exclusive = 1), {REASON_PERF_EXCLUSIVE, -EACCES, false}},
};

/* All that has a name here. */
static const struct perf_attr known = ATTR(.type = ANY32, .size = ANY32, .config = ANY64,
	.sample_period = ANY64, .sample_type = SAMPLE_KNOWN, .read_format = FORMAT_KNOWN,
	.disabled = 1, .inherit = 1, .pinned = 1, .exclusive = 1, .exclude_user = 1,
	.exclude_kernel = 1, .exclude_hv = 1, .exclude_idle = 1, .mmap = 1, .comm = 1, .freq = 1,
	.inherit_stat = 1, .enable_on_exec = 1, .task = 1, .watermark = 1, .precise_ip = 3,
	.mmap_data = 1, .sample_id_all = 1, .exclude_host = 1, .exclude_guest = 1,
	.exclude_callchain_kernel = 1, .exclude_callchain_user = 1, .mmap2 = 1, .comm_exec = 1,
	.use_clockid = 1, .context_switch = 1, .write_backward = 1, .build_id = 1,
	.inherit_thread = 1, .remove_on_exec = 1, .wakeup_events = ANY32, .bp_type = ANY32,
	.config1 = ANY64, .config2 = ANY64, .branch_sample_type = BRANCH_KNOWN,
	.sample_regs_user = ANY64, .sample_stack_user = ANY32, .clockid = -1,
	.sample_max_stack = UINT16_MAX, .namespaces = 1, .ksymbol = 1, .bpf_event = 1,
	.aux_output = 1, .cgroup = 1, .text_poke = 1, .sigtrap = 1, .sample_regs_intr = ANY64,
	.aux_watermark = ANY32, .aux_sample_size = ANY32, .sig_data = ANY64);

/* Records of tasks, with or without samples. */
static const struct perf_attr telling =
	ATTR(.mmap = 1, .comm = 1, .task = 1, .mmap_data = 1, .mmap2 = 1, .context_switch = 1);

/* What an event that is no task's has no use for. sample_type stands for what is in the records
 * that it does not have; perf stat sets IDENTIFIER all the same. */
static const struct perf_attr of_tasks = ATTR(.sample_period = ANY64,
	.sample_type =
		SAMPLE_KNOWN & ~(uint64_t)(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_ID |
					   PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_TIME |
					   PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD | PERF_SAMPLE_READ),
	.mmap = 1, .comm = 1, .freq = 1, .enable_on_exec = 1, .task = 1, .precise_ip = 3,
	.mmap_data = 1, .mmap2 = 1, .comm_exec = 1, .context_switch = 1, .write_backward = 1,
	.build_id = 1, .remove_on_exec = 1, .branch_sample_type = ANY64, .sample_regs_user = ANY64,
	.sample_stack_user = ANY32);

/* ---- by words, whatever the compiler makes of the bits */

static uint64_t word(const struct perf_attr *a, size_t k)
{
	uint64_t value;

	memcpy(&value, a->bytes + 8 * k, sizeof(value));
	return value;
}

static bool meet(const struct perf_attr *a, const struct perf_attr *b)
{
	uint64_t both = 0;

	for (size_t k = 0; k < WORDS; k++)
		both |= word(a, k) & word(b, k);
	return both;
}

int perf_attr_copy(const uint8_t *bytes, uint32_t size, struct perf_attr *ret)
{
	uint32_t taken;

	if (size == 0)
		size = PERF_ATTR_SIZE_VER0;
	if (size < PERF_ATTR_SIZE_VER0 || size > PERF_ATTR_BYTES_MAX)
		return -E2BIG;
	taken = size < PERF_ATTR_BYTES ? size : PERF_ATTR_BYTES;
	for (uint32_t k = taken; k < size; k++)
		if (bytes[k])
			return -E2BIG;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->bytes, bytes, taken);
	ret->attr.size = taken;
	return 0;
}

bool perf_attr_known(const struct perf_attr *a)
{
	for (size_t k = 0; k < CONFIG3_WORD; k++)
		if (word(a, k) & ~word(&known, k))
			return false;
	return true;
}

/* ---- questions */

bool perf_attr_samples(const struct perf_attr *a)
{
	/* of a frequency too: it is the same field */
	return a->attr.sample_period != 0;
}

bool perf_attr_tells(const struct perf_attr *a)
{
	return meet(a, &telling);
}

bool perf_attr_counts_alone(const struct perf_attr *a)
{
	return !meet(a, &of_tasks);
}

const struct perf_refusal *perf_attr_kernel_side(
	const struct perf_attr *a, const struct perf_class *class)
{
	static const struct perf_refusal refusal = WITH_KERNEL(PERF_KERNEL_SIDE);
	bool counts = class->where == PERF_WHERE_SOFTWARE || class->where == PERF_WHERE_PLAIN;

	/* Both drivers ask for the right to see the kernel's side, which whoever opens it has. */
	if (class->leaks)
		return &refusal;
	/* A software event happens in the kernel: what is counted of the user side alone is 0. */
	if (a->attr.exclude_kernel || (counts && !perf_attr_samples(a)))
		return NULL;
	return &refusal;
}

static const struct perf_refusal *first(
	const struct row *row, size_t n, const struct perf_attr *a, bool kernel)
{
	for (size_t k = 0; k < n; k++)
		if (!(kernel && row[k].refusal.kernel) && meet(a, &row[k].any))
			return &row[k].refusal;
	return NULL;
}

const struct perf_refusal *perf_attr_beyond(const struct perf_attr *a, bool wide, bool kernel)
{
	const struct perf_refusal *refusal = first(rows, sizeof(rows) / sizeof(rows[0]), a, kernel);

	if (!refusal && wide)
		refusal = first(wide_rows, sizeof(wide_rows) / sizeof(wide_rows[0]), a, kernel);
	return refusal;
}

void perf_attr_reduce(struct perf_attr *a, const struct perf_class *class, bool kernel)
{
	struct perf_event_attr *attr = &a->attr;

	if (class->generic) {
		attr->bp_type = 0;
		attr->config1 = attr->config2 = 0;
		memset(a->bytes + 8 * (size_t)CONFIG3_WORD, 0, PERF_ATTR_BYTES - 8 * CONFIG3_WORD);
	}
	if (kernel)
		return;
	/* Samples are of the user side then, but an interrupt that comes late finds the kernel's.
	 */
	if (attr->sample_type & PERF_SAMPLE_CALLCHAIN)
		attr->exclude_callchain_kernel = 1;
	/* Without a level the branches are of those that the event counts. */
	if (attr->branch_sample_type && !(attr->branch_sample_type & BRANCH_LEVELS))
		attr->branch_sample_type |= PERF_SAMPLE_BRANCH_USER;
}
