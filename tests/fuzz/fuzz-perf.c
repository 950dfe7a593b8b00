/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Perf events: what is granted, of what the event is, flags, and an attr's size and bytes. Whatever
 * they are, what is opened with privilege keeps the promises of policy/perf.h, told anew here.
 */
#include <errno.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/perf.h"
#include "fuzz.h"

enum { KPROBE = 6, UPROBE, MSR = 9, ATOM, PT, I915, POWER, UNCORE, AMDGPU };

#define FLAGS_KNOWN \
	(PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT | PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC)
#define SAMPLES_NEVER \
	(PERF_SAMPLE_RAW | PERF_SAMPLE_REGS_INTR | PERF_SAMPLE_PHYS_ADDR | PERF_SAMPLE_AUX)
#define BRANCHES_KERNEL (PERF_SAMPLE_BRANCH_KERNEL | PERF_SAMPLE_BRANCH_HV)

struct granted {
	uint8_t items; /* cpu, kernel, raw, gpu, power, tracepoints 7 and 42 */
	uint8_t named; /* a PMU's type */
};

static void grant_make(struct perf_grant *g, struct granted of)
{
	static const struct perf_pmu pmus[] = {
		{.type = PERF_TYPE_SOFTWARE, .scoped = true},
		{.type = PERF_TYPE_TRACEPOINT, .scoped = true},
		{.type = PERF_TYPE_RAW, .scoped = true, .cpu = true},
		{.type = PERF_TYPE_BREAKPOINT, .scoped = true},
		{.type = KPROBE, .scoped = true, .probe = true},
		{.type = UPROBE, .scoped = true, .probe = true},
		{.type = MSR, .scoped = true, .no_exclude = true},
		{.type = ATOM, .scoped = true, .cpu = true},
		{.type = PT, .scoped = true},
		{.type = I915},
		{.type = POWER},
		{.type = UNCORE},
		{.type = AMDGPU, .scoped = true},
	};

	*g = (struct perf_grant){.cpu = of.items & 1,
		.kernel = of.items & 2,
		.raw = of.items & 4,
		.n_pmus = sizeof(pmus) / sizeof(pmus[0]),
		.n_tracepoints = of.items & 32 ? 2 : 0,
		.tracepoint = {7, 42}};
	memcpy(g->pmu, pmus, sizeof(pmus));
	for (unsigned k = 0; k < g->n_pmus; k++) {
		struct perf_pmu *p = &g->pmu[k];
		bool gpu = of.items & 8 && (p->type == I915 || p->type == AMDGPU);
		bool power = of.items & 16 && p->type == POWER;

		p->granted = gpu || power || (of.named && p->type == of.named);
		p->by = gpu ? PERF_ITEM_GPU : power ? PERF_ITEM_POWER : PERF_ITEM_PMU;
	}
}

/* The type of the PMU that counts it. */
static uint32_t counted_by(const struct perf_event_attr *a)
{
	bool names = a->type == PERF_TYPE_HARDWARE || a->type == PERF_TYPE_HW_CACHE;

	return names && a->config >> 32 ? (uint32_t)(a->config >> 32) : a->type;
}

static bool is_device(uint32_t type)
{
	return type == I915 || type == POWER || type == UNCORE || type == AMDGPU;
}

static void check_granted(const struct perf_grant *g, const struct perf_event_attr *a)
{
	uint32_t by = counted_by(a);
	bool granted = false;

	for (unsigned k = 0; k < g->n_pmus; k++)
		granted = granted || (g->pmu[k].type == by && g->pmu[k].granted);
	if (by == PERF_TYPE_TRACEPOINT)
		CHECK(g->n_tracepoints && (a->config == 7 || a->config == 42));
	else if (by == PERF_TYPE_RAW)
		CHECK(granted || g->raw || (a->type != PERF_TYPE_RAW && (g->cpu || g->kernel)));
	else if (by == PERF_TYPE_HARDWARE || by == PERF_TYPE_HW_CACHE)
		CHECK(g->cpu || g->kernel || g->raw);
	else if (by == PERF_TYPE_SOFTWARE || (by == ATOM && a->type != ATOM))
		CHECK(granted || g->cpu || g->kernel);
	else
		CHECK(granted);
	CHECK(by != KPROBE && by != UPROBE && by < AMDGPU + 1);
}

/* What nobody gets with privilege. */
static void check_attr(const struct perf_attr *of)
{
	const struct perf_event_attr *a = &of->attr;

	CHECK(!a->sigtrap && !a->aux_output && !a->ksymbol && !a->bpf_event && !a->text_poke);
	CHECK(!a->namespaces && !a->cgroup);
	CHECK(!a->__reserved_1 && !a->__reserved_2 && !a->__reserved_3);
	CHECK(!(a->sample_type & SAMPLES_NEVER) && a->sample_type < PERF_SAMPLE_MAX);
	CHECK(a->read_format < 32 && a->branch_sample_type < 1 << 20);
	CHECK(!a->sample_regs_intr && !a->aux_watermark && !a->aux_sample_size && !a->sig_data);
	CHECK(a->type != PERF_TYPE_SOFTWARE || a->config != PERF_COUNT_SW_BPF_OUTPUT);
	CHECK(a->size >= PERF_ATTR_SIZE_VER0 && a->size <= PERF_ATTR_BYTES);
	for (uint32_t k = a->size; k < PERF_ATTR_BYTES; k++)
		CHECK(!of->bytes[k]);
}

static void check_user_side(const struct perf_event_attr *a)
{
	uint32_t by = counted_by(a);
	bool numbers = by == PERF_TYPE_SOFTWARE || by == PERF_TYPE_TRACEPOINT || by == MSR;

	if (!is_device(by) && (!numbers || a->sample_period))
		CHECK(a->exclude_kernel);
	if (a->sample_type & PERF_SAMPLE_CALLCHAIN)
		CHECK(a->exclude_callchain_kernel);
	CHECK(!(a->branch_sample_type & BRANCHES_KERNEL));
	CHECK(!a->precise_ip && !a->context_switch);
}

static void check_way(
	const struct perf_call *call, const struct perf_facts *facts, const struct perf_verdict *v)
{
	const struct perf_event_attr *a = &v->attr.attr;
	bool cgroup = v->way == PERF_OPEN_SCOPE || call->target == PERF_TARGET_CGROUP;

	CHECK(!(v->flags & ~(uint64_t)FLAGS_KNOWN) && v->flags & PERF_FLAG_FD_CLOEXEC);
	CHECK(!!(v->flags & PERF_FLAG_PID_CGROUP) == cgroup);
	CHECK((v->way == PERF_OPEN_CPU) == is_device(counted_by(a)));
	if (call->target == PERF_TARGET_CPU)
		CHECK(v->way != PERF_OPEN_TARGET && call->cpu >= 0);
	else
		CHECK(v->way == PERF_OPEN_TARGET);
	CHECK(call->target != PERF_TARGET_TASK || facts->may_ptrace);
	CHECK(call->target != PERF_TARGET_CGROUP || (facts->in_scope && call->cpu >= 0));
	if (cgroup && !facts->grant->kernel)
		CHECK(!(a->sample_type & (PERF_SAMPLE_STACK_USER | PERF_SAMPLE_REGS_USER)));
	if (cgroup || v->way == PERF_OPEN_CPU)
		CHECK(!a->pinned && !a->exclusive);
	/* of the whole CPU nothing but numbers */
	if (v->way == PERF_OPEN_CPU)
		CHECK(!a->sample_period && !a->mmap && !a->mmap2 && !a->mmap_data && !a->comm &&
			!a->task && !a->context_switch);
	CHECK(v->names_tasks == (a->sample_period || a->mmap || a->mmap2 || a->mmap_data ||
					a->comm || a->task || a->context_switch));
}

/* What is opened is what was asked for. */
static void check_same(const struct perf_event_attr *a, const struct perf_event_attr *asked)
{
	CHECK(a->type == asked->type && a->config == asked->config && a->size == asked->size);
	CHECK(a->sample_period == asked->sample_period && a->sample_type == asked->sample_type);
	CHECK(a->exclude_kernel == asked->exclude_kernel && a->exclude_user == asked->exclude_user);
	CHECK(a->read_format == asked->read_format && a->disabled == asked->disabled);
}

static void check_opened(
	const struct perf_call *call, const struct perf_facts *facts, const struct perf_verdict *v)
{
	static struct perf_grant nothing;

	CHECK(v->counted && v->reason == REASON_OK && v->err == 0);
	check_granted(facts->grant, &v->attr.attr);
	check_attr(&v->attr);
	if (!facts->grant->kernel)
		check_user_side(&v->attr.attr);
	check_way(call, facts, v);
	check_same(&v->attr.attr, &call->attr.attr);
	CHECK(v->by != PERF_ITEM_KERNEL || facts->grant->kernel);
	CHECK(perf_still_granted(facts->grant, v->by, v->attr.attr.type, v->attr.attr.config));
	grant_make(&nothing, (struct granted){0});
	CHECK(!perf_still_granted(&nothing, v->by, v->attr.attr.type, v->attr.attr.config));
}

static void check_verdict(
	const struct perf_call *call, const struct perf_facts *facts, const struct perf_verdict *v)
{
	if (v->way == PERF_REFUSE) {
		CHECK(v->err == -EACCES || v->err == -EINVAL);
		CHECK(v->reason != REASON_OK && v->reason != REASON_INTERNAL);
	} else if (v->way == PERF_AS_CALLER) {
		CHECK(memcmp(&v->attr, &call->attr, sizeof(v->attr)) == 0);
		CHECK(v->flags == (call->flags | PERF_FLAG_FD_CLOEXEC) && !v->counted);
		/* whose memory would be read? */
		CHECK(call->attr.attr.type != KPROBE && call->attr.attr.type != UPROBE);
	} else {
		check_opened(call, facts, v);
	}
}

/* Fact by fact, as they are asked for, it comes to the same. */
static void check_facts(
	const struct perf_call *call, struct perf_facts facts, const struct perf_verdict *expected)
{
	struct perf_verdict v;

	facts.have = 0;
	for (v = perf_decide(call, &facts); v.need; v = perf_decide(call, &facts)) {
		CHECK(!(v.need & facts.have) && v.way == PERF_REFUSE && v.err < 0);
		facts.have |= v.need;
	}
	CHECK(v.way == expected->way && v.err == expected->err && v.reason == expected->reason);
	CHECK(v.flags == expected->flags && v.by == expected->by);
	CHECK(memcmp(&v.attr, &expected->attr, sizeof(v.attr)) == 0);
}

/* -E2BIG, or the same bytes. */
static bool attr_take(const uint8_t *bytes, uint32_t size, struct perf_attr *ret)
{
	int r = perf_attr_copy(bytes, size, ret);

	CHECK(r == 0 || r == -E2BIG);
	if (r < 0) {
		CHECK(size && (size < PERF_ATTR_SIZE_VER0 || size > PERF_ATTR_BYTES));
		return false;
	}
	CHECK(ret->attr.size == (size == 0			 ? (uint32_t)PERF_ATTR_SIZE_VER0
					: size > PERF_ATTR_BYTES ? (uint32_t)PERF_ATTR_BYTES
								 : size));
	CHECK(memcmp(ret->bytes, bytes, 4) == 0);
	CHECK(memcmp(ret->bytes + 8, bytes + 8, ret->attr.size - 8) == 0);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct perf_grant grant;
	static uint8_t bytes[PERF_ATTR_BYTES_MAX];
	struct input in = {data, size};
	struct granted granted = {.items = input_byte(&in), .named = input_byte(&in)};
	uint8_t how = input_byte(&in);
	struct perf_call call = {.target = how & 3,
		.cpu = how & 4 ? -1 : how >> 6,
		.has_group = how & 8,
		.flags = input_byte(&in)};
	struct perf_facts facts = {.have = PERF_FACT_PTRACE | PERF_FACT_CGROUP,
		.grant = &grant,
		.may_ptrace = how & 16,
		.in_scope = how & 32};
	uint32_t said = input_u32(&in);
	size_t left;
	_cleanup_free_ char *rest = input_rest(&in, &left);
	struct perf_verdict v;

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, rest, left < sizeof(bytes) ? left : sizeof(bytes));
	if (!attr_take(bytes, said, &call.attr))
		return 0;
	grant_make(&grant, granted);
	v = perf_decide(&call, &facts);
	CHECK(v.need == 0);
	check_verdict(&call, &facts, &v);
	check_facts(&call, facts, &v);
	return 0;
}
