/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../../policy/perf.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* PMUs of a host that has some of each kind. */
enum {
	BREAKPOINT = PERF_TYPE_BREAKPOINT,
	KPROBE,
	UPROBE,
	MSR = 9,
	ATOM,
	PT,
	I915,
	POWER,
	UNCORE,
	AMDGPU,
	BTS,
};

enum {
	CPU_ = 1 << 0,
	KERNEL_ = 1 << 1,
	RAW_ = 1 << 2,
	GPU_ = 1 << 3,
	POWER_ = 1 << 4,
	TRACE_ = 1 << 5,
	ALL_ = (1 << 6) - 1,
};
#define NAMED(type) ((unsigned)(type) << 8 | 1u << 6)

#define SW_CGROUP_SWITCHES 11
#define SOFTWARE(what) .type = PERF_TYPE_SOFTWARE, .config = (what)
#define CLOCK SOFTWARE(PERF_COUNT_SW_CPU_CLOCK)
#define DUMMY SOFTWARE(PERF_COUNT_SW_DUMMY)
#define CYCLES .type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_CPU_CYCLES
#define ON(pmu) .type = PERF_TYPE_HARDWARE, .config = (uint64_t)(pmu) << 32
#define CACHE(pmu) .type = PERF_TYPE_HW_CACHE, .config = (uint64_t)(pmu) << 32 | 0x10000
#define TRACEPOINT(id) .type = PERF_TYPE_TRACEPOINT, .config = (id)
#define USER .exclude_kernel = 1, .exclude_hv = 1
#define TIDS (PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME)
#define SAMPLED(more) .sample_freq = 4000, .freq = 1, .sample_type = TIDS | (more)
#define SAMPLES .sample_freq = 4000, .freq = 1, .wakeup_events = 1
#define CHAINS SAMPLED(PERF_SAMPLE_CALLCHAIN)
#define BRANCHES(of) .sample_type = TIDS | PERF_SAMPLE_BRANCH_STACK, .branch_sample_type = (of)
#define STACKS                                                                \
	.sample_type = TIDS | PERF_SAMPLE_STACK_USER | PERF_SAMPLE_REGS_USER, \
	.sample_stack_user = 8192, .sample_regs_user = 255
#define NEVER_SAMPLES \
	(PERF_SAMPLE_RAW | PERF_SAMPLE_REGS_INTR | PERF_SAMPLE_PHYS_ADDR | PERF_SAMPLE_AUX)
#define FORBIDDEN_SAMPLES (NEVER_SAMPLES | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER)

enum of {
	SELF,
	TASK,
	TASK_FOREIGN,
	CPU,
	CPU_ANY,
	CGROUP,
	CGROUP_OUTSIDE,
};

struct expected {
	enum perf_way way;
	enum reason reason;
	int err;
};
#define TARGET                                 \
	{                                      \
		PERF_OPEN_TARGET, REASON_OK, 0 \
	}
#define SCOPE                                 \
	{                                     \
		PERF_OPEN_SCOPE, REASON_OK, 0 \
	}
#define WHOLE                               \
	{                                   \
		PERF_OPEN_CPU, REASON_OK, 0 \
	}
#define CALLER                               \
	{                                    \
		PERF_AS_CALLER, REASON_OK, 0 \
	}
#define NO(reason, err)                            \
	{                                          \
		PERF_REFUSE, REASON_##reason, -err \
	}

static const struct row {
	const char *what;
	enum of of;
	unsigned granted;
	struct expected expected;
	struct perf_event_attr attr;
} rows[] = {
/* clang-format off */
#define ROW(what, of, granted, expected, ...) {what, of, granted, expected, {__VA_ARGS__}},
#include "perf-rows.def"
#undef ROW
	/* clang-format on */
};

static void grant_make(struct perf_grant *g, unsigned granted)
{
	static const struct perf_pmu pmus[] = {
		{.type = PERF_TYPE_SOFTWARE, .scoped = true},
		{.type = PERF_TYPE_TRACEPOINT, .scoped = true},
		{.type = PERF_TYPE_RAW, .scoped = true, .cpu = true},
		{.type = BREAKPOINT, .scoped = true},
		{.type = KPROBE, .scoped = true, .probe = true},
		{.type = UPROBE, .scoped = true, .probe = true},
		{.type = MSR, .scoped = true, .no_exclude = true},
		{.type = ATOM, .scoped = true, .cpu = true},
		{.type = PT, .scoped = true},
		{.type = I915},
		{.type = POWER},
		{.type = UNCORE},
		{.type = AMDGPU, .scoped = true},
		{.type = BTS, .scoped = true, .leaks = true},
	};

	*g = (struct perf_grant){.cpu = granted & CPU_,
		.kernel = granted & KERNEL_,
		.raw = granted & RAW_,
		.n_pmus = N(pmus),
		.n_tracepoints = granted & TRACE_ ? 2 : 0,
		.tracepoint = {7, 42}};
	memcpy(g->pmu, pmus, sizeof(pmus));
	for (unsigned k = 0; k < N(pmus); k++) {
		struct perf_pmu *p = &g->pmu[k];
		bool gpu = p->type == I915 || p->type == AMDGPU;

		p->by = gpu && granted & GPU_ ? PERF_ITEM_GPU
			: p->type == POWER    ? PERF_ITEM_POWER
					      : PERF_ITEM_PMU;
		p->granted = (gpu && granted & GPU_) || (p->type == POWER && granted & POWER_) ||
			     (granted & 1 << 6 && granted >> 8 == p->type);
	}
}

static struct perf_call call_make(const struct perf_event_attr *attr, enum of of)
{
	struct perf_call call = {.cpu = of == CPU_ANY ? -1 : 0};

	call.attr.attr = *attr;
	call.attr.attr.size = sizeof(*attr);
	call.target = of == SELF			     ? PERF_TARGET_SELF
		      : of == TASK || of == TASK_FOREIGN     ? PERF_TARGET_TASK
		      : of == CGROUP || of == CGROUP_OUTSIDE ? PERF_TARGET_CGROUP
							     : PERF_TARGET_CPU;
	if (call.target == PERF_TARGET_CGROUP)
		call.flags = PERF_FLAG_PID_CGROUP;
	return call;
}

/* Gives the facts when they are asked for. */
static struct perf_verdict ask(const struct perf_call *call, struct perf_facts facts)
{
	struct perf_verdict v = perf_decide(call, &facts);

	while (v.need) {
		/* never for one that is there */
		assert_int_equal(v.need & facts.have, 0);
		assert_int_equal(v.way, PERF_REFUSE);
		assert_true(v.err < 0);
		facts.have |= v.need;
		v = perf_decide(call, &facts);
	}
	return v;
}

static void check_opened(const struct row *row, const struct perf_call *call,
	const struct perf_grant *g, const struct perf_verdict *v)
{
	const struct perf_event_attr *a = &v->attr.attr;

	assert_true(v->flags & PERF_FLAG_FD_CLOEXEC);
	if (v->way == PERF_AS_CALLER) {
		assert_memory_equal(&v->attr, &call->attr, sizeof(call->attr));
		assert_int_equal(v->flags, call->flags | PERF_FLAG_FD_CLOEXEC);
		assert_false(v->counted || v->names_tasks);
		return;
	}
	assert_true(v->counted);
	assert_int_equal(a->type, row->attr.type);
	assert_int_equal(a->config, row->attr.config);
	assert_int_equal(a->sample_type, row->attr.sample_type);
	assert_int_equal(a->exclude_kernel, row->attr.exclude_kernel);
	assert_int_equal(!!(v->flags & PERF_FLAG_PID_CGROUP),
		v->way == PERF_OPEN_SCOPE || call->target == PERF_TARGET_CGROUP);
	assert_true(perf_still_granted(g, v->by, a->type, a->config));
	/* what opens it is needed */
	if (v->by == PERF_ITEM_KERNEL)
		assert_true(g->kernel);
}

static void test_rows(void **state)
{
	static struct perf_grant grant;

	(void)state;
	assert_true(N(rows) >= 80);
	for (size_t k = 0; k < N(rows); k++) {
		const struct row *row = &rows[k];
		struct perf_call call = call_make(&row->attr, row->of);
		struct perf_facts facts = {.grant = &grant,
			.may_ptrace = row->of != TASK_FOREIGN,
			.in_scope = row->of != CGROUP_OUTSIDE};
		struct perf_verdict v, all;

		grant_make(&grant, row->granted);
		v = ask(&call, facts);
		if (v.way != row->expected.way || v.err != row->expected.err ||
			v.reason != row->expected.reason)
			fail_msg("%zu, %s: way %d, %d, %s", k, row->what, v.way, v.err,
				reason_row(v.reason)->token);
		/* what was known at first does not change it */
		facts.have = PERF_FACT_PTRACE | PERF_FACT_CGROUP;
		all = perf_decide(&call, &facts);
		assert_memory_equal(&v.attr, &all.attr, sizeof(v.attr));
		assert_int_equal(all.need, 0);
		assert_true(v.way == all.way && v.err == all.err && v.reason == all.reason);
		assert_true(v.flags == all.flags && v.by == all.by && v.counted == all.counted);
		if (v.way != PERF_REFUSE)
			check_opened(row, &call, &grant, &v);
		else
			assert_int_equal(reason_row(v.reason)->kind == KIND_OK, false);
	}
}

static struct perf_verdict decide_one(
	unsigned granted, enum of of, const struct perf_event_attr *attr, uint64_t flags)
{
	static struct perf_grant grant;
	const struct perf_facts facts = {.have = PERF_FACT_PTRACE | PERF_FACT_CGROUP,
		.grant = &grant,
		.may_ptrace = true,
		.in_scope = true};
	struct perf_call call = call_make(attr, of);

	grant_make(&grant, granted);
	call.flags |= flags;
	return perf_decide(&call, &facts);
}

static void test_flags(void **state)
{
	static const struct perf_event_attr clock = {CLOCK};
	const uint64_t fine = PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT | PERF_FLAG_FD_CLOEXEC;
	struct perf_verdict v = decide_one(CPU_, CPU, &clock, fine);

	(void)state;
	assert_int_equal(v.way, PERF_OPEN_SCOPE);
	assert_int_equal(v.flags, fine | PERF_FLAG_PID_CGROUP);
	assert_int_equal(decide_one(CPU_, SELF, &clock, fine).flags, fine);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t flag = UINT64_C(1) << bit;

		if (fine & flag)
			continue;
		v = decide_one(CPU_, CPU, &clock, flag);
		assert_int_equal(v.way, PERF_REFUSE);
		assert_int_equal(v.err, -EINVAL);
		assert_int_equal(v.reason, REASON_PERF_FLAGS);
		/* the kernel's to refuse */
		v = decide_one(0, CPU, &clock, flag);
		assert_int_equal(v.way, PERF_AS_CALLER);
		assert_true(v.flags & flag);
	}
}

static void test_names_tasks(void **state)
{
	static const struct {
		struct perf_event_attr attr;
		bool names;
	} table[] = {
		{{CLOCK}, false},
		{{CLOCK, .sample_type = TIDS, .sample_id_all = 1}, false},
		{{CLOCK, .freq = 1}, false},
		{{CLOCK, SAMPLES, USER}, true},
		{{CLOCK, .sample_period = 1, USER}, true},
		{{DUMMY, .mmap = 1}, true},
		{{DUMMY, .mmap2 = 1}, true},
		{{DUMMY, .mmap_data = 1}, true},
		{{DUMMY, .comm = 1}, true},
		{{DUMMY, .task = 1}, true},
		{{DUMMY, .context_switch = 1}, true},
	};

	(void)state;
	for (size_t k = 0; k < N(table); k++)
		for (enum of of = SELF; of <= CGROUP; of++) {
			struct perf_verdict v = decide_one(CPU_ | KERNEL_, of, &table[k].attr, 0);

			if (of != CPU_ANY)
				assert_int_equal(v.names_tasks, table[k].names);
		}
}

static void test_what_it_is_counted_as(void **state)
{
	static const struct {
		unsigned granted;
		struct perf_event_attr attr;
		enum perf_item_kind by;
	} table[] = {
		{CPU_, {CLOCK}, PERF_ITEM_CPU},
		{KERNEL_, {CLOCK}, PERF_ITEM_CPU},
		{ALL_, {CLOCK, SAMPLES, USER}, PERF_ITEM_CPU},
		{ALL_, {CLOCK, SAMPLES}, PERF_ITEM_KERNEL},
		{ALL_, {CYCLES, USER}, PERF_ITEM_CPU},
		{ALL_, {CYCLES}, PERF_ITEM_KERNEL},
		{ALL_, {CYCLES, USER, SAMPLES, .precise_ip = 1}, PERF_ITEM_KERNEL},
		{ALL_, {CLOCK, USER, SAMPLES, STACKS}, PERF_ITEM_KERNEL},
		{ALL_, {DUMMY, USER, .context_switch = 1}, PERF_ITEM_KERNEL},
		{ALL_, {TRACEPOINT(7)}, PERF_ITEM_TRACEPOINT},
		{ALL_, {TRACEPOINT(7), SAMPLES}, PERF_ITEM_KERNEL},
		{ALL_, {.type = PERF_TYPE_RAW, USER}, PERF_ITEM_PMU},
		{ALL_, {.type = PERF_TYPE_RAW}, PERF_ITEM_KERNEL},
		{ALL_, {.type = I915}, PERF_ITEM_GPU},
		{ALL_, {.type = POWER}, PERF_ITEM_POWER},
		{NAMED(I915), {.type = I915}, PERF_ITEM_PMU},
		{NAMED(MSR) | ALL_, {.type = MSR}, PERF_ITEM_PMU},
	};

	(void)state;
	for (size_t k = 0; k < N(table); k++) {
		struct perf_verdict v = decide_one(table[k].granted, CPU, &table[k].attr, 0);

		if (v.way == PERF_REFUSE || !v.counted || v.by != table[k].by)
			fail_msg("%zu: way %d, by %d", k, v.way, v.by);
	}
}

static void test_what_is_left_of_an_attr(void **state)
{
	static const struct perf_event_attr extras = {
		CYCLES, USER, .config1 = 1, .config2 = 2, .bp_type = 3};
	static const struct perf_event_attr raw = {
		.type = PERF_TYPE_RAW, USER, .config1 = 1, .config2 = 2, .bp_type = 3};
	static const struct perf_event_attr chains = {CLOCK, CHAINS, USER};
	static const struct perf_event_attr none = {CLOCK, SAMPLES, USER};
	static const struct perf_event_attr branches = {
		CYCLES, SAMPLES, USER, BRANCHES(PERF_SAMPLE_BRANCH_ANY)};
	struct perf_verdict v = decide_one(CPU_, CPU, &extras, 0);

	(void)state;
	assert_true(!v.attr.attr.config1 && !v.attr.attr.config2 && !v.attr.attr.bp_type);
	v = decide_one(RAW_, CPU, &raw, 0);
	assert_int_equal(v.attr.attr.config1, 1);
	assert_int_equal(v.attr.attr.config2, 2);
	v = decide_one(CPU_, CPU, &chains, 0);
	assert_true(v.attr.attr.exclude_callchain_kernel);
	v = decide_one(CPU_ | KERNEL_, CPU, &chains, 0);
	assert_false(v.attr.attr.exclude_callchain_kernel);
	v = decide_one(CPU_, CPU, &none, 0);
	assert_false(v.attr.attr.exclude_callchain_kernel);
	assert_int_equal(v.attr.attr.branch_sample_type, 0);
	v = decide_one(CPU_, CPU, &branches, 0);
	assert_int_equal(
		v.attr.attr.branch_sample_type, PERF_SAMPLE_BRANCH_ANY | PERF_SAMPLE_BRANCH_USER);
	v = decide_one(KERNEL_, CPU, &branches, 0);
	assert_int_equal(v.attr.attr.branch_sample_type, PERF_SAMPLE_BRANCH_ANY);
}

/* config3, which not all headers have a name for. */
static void test_the_last_field(void **state)
{
	static struct perf_grant grant;
	const struct perf_facts facts = {.grant = &grant};
	struct perf_call call = call_make(&(const struct perf_event_attr){CLOCK}, CPU);
	struct perf_verdict v;

	(void)state;
	grant_make(&grant, CPU_ | NAMED(MSR));
	call.attr.attr.size = PERF_ATTR_BYTES;
	call.attr.bytes[PERF_ATTR_BYTES - 1] = 1;
	v = perf_decide(&call, &facts);
	assert_int_equal(v.way, PERF_OPEN_SCOPE);
	assert_int_equal(v.attr.bytes[PERF_ATTR_BYTES - 1], 0);
	call.attr.attr.type = MSR;
	v = perf_decide(&call, &facts);
	assert_int_equal(v.way, PERF_OPEN_SCOPE);
	assert_int_equal(v.attr.bytes[PERF_ATTR_BYTES - 1], 1);
}

/* Of Intel's: what the core's other thread does, whosever it is. */
static void test_any_thread(void **state)
{
	static const struct perf_event_attr any = {.type = PERF_TYPE_RAW,
						    .config = 1 << 21 | 0x3c,
						    USER},
					    named = {.type = ATOM, .config = 1 << 21, USER};

	(void)state;
#if defined(__x86_64__) || defined(__i386__)
	assert_int_equal(decide_one(RAW_ | KERNEL_, CPU, &any, 0).way, PERF_REFUSE);
	assert_int_equal(decide_one(RAW_ | KERNEL_, CPU, &any, 0).reason, REASON_PERF_NEVER);
	assert_int_equal(decide_one(RAW_, SELF, &any, 0).reason, REASON_PERF_NEVER);
	assert_int_equal(decide_one(NAMED(ATOM), CPU, &named, 0).reason, REASON_PERF_NEVER);
#else
	assert_int_equal(decide_one(RAW_, CPU, &any, 0).way, PERF_OPEN_SCOPE);
	assert_int_equal(decide_one(NAMED(ATOM), CPU, &named, 0).way, PERF_OPEN_SCOPE);
#endif
}

static void test_still_granted(void **state)
{
	static const struct {
		unsigned granted;
		enum perf_item_kind by;
		uint32_t type;
		uint64_t config;
		bool still;
	} table[] = {
		{CPU_, PERF_ITEM_CPU, PERF_TYPE_SOFTWARE, 0, true},
		{0, PERF_ITEM_CPU, PERF_TYPE_SOFTWARE, 0, false},
		{KERNEL_, PERF_ITEM_CPU, PERF_TYPE_SOFTWARE, 0, true},
		{CPU_, PERF_ITEM_KERNEL, PERF_TYPE_SOFTWARE, 0, false},
		{KERNEL_, PERF_ITEM_KERNEL, PERF_TYPE_HARDWARE, 0, true},
		{CPU_, PERF_ITEM_CPU, PERF_TYPE_HARDWARE, (uint64_t)ATOM << 32, true},
		{CPU_, PERF_ITEM_PMU, PERF_TYPE_HARDWARE, (uint64_t)I915 << 32, false},
		{CPU_ | KERNEL_, PERF_ITEM_PMU, PERF_TYPE_RAW, 5, false},
		{RAW_, PERF_ITEM_PMU, PERF_TYPE_RAW, 5, true},
		{RAW_, PERF_ITEM_KERNEL, PERF_TYPE_RAW, 5, false},
		{GPU_, PERF_ITEM_GPU, I915, 0, true},
		{POWER_ | CPU_, PERF_ITEM_GPU, I915, 0, false},
		{NAMED(I915), PERF_ITEM_GPU, I915, 0, true},
		{POWER_, PERF_ITEM_POWER, POWER, 0, true},
		{GPU_, PERF_ITEM_POWER, POWER, 0, false},
		{TRACE_, PERF_ITEM_TRACEPOINT, PERF_TYPE_TRACEPOINT, 42, true},
		{TRACE_, PERF_ITEM_TRACEPOINT, PERF_TYPE_TRACEPOINT, 43, false},
		{TRACE_, PERF_ITEM_KERNEL, PERF_TYPE_TRACEPOINT, 42, false},
		{ALL_, PERF_ITEM_PMU, MSR, 0, false},
		{NAMED(MSR), PERF_ITEM_PMU, MSR, 0, true},
		{ALL_, PERF_ITEM_PMU, 99, 0, false},
	};
	static struct perf_grant grant;

	(void)state;
	for (size_t k = 0; k < N(table); k++) {
		grant_make(&grant, table[k].granted);
		if (perf_still_granted(&grant, table[k].by, table[k].type, table[k].config) !=
			table[k].still)
			fail_msg("%zu", k);
	}
}

static void test_copy(void **state)
{
	static uint8_t bytes[PERF_ATTR_BYTES_MAX + 1];
	struct perf_attr a, before;

	(void)state;
	memset(bytes, 7, PERF_ATTR_BYTES);
	/* as it says nothing: as the first there was */
	assert_int_equal(perf_attr_copy(bytes, 0, &a), 0);
	assert_int_equal(a.attr.size, PERF_ATTR_SIZE_VER0);
	assert_int_equal(a.bytes[PERF_ATTR_SIZE_VER0 - 1], 7);
	assert_int_equal(a.bytes[PERF_ATTR_SIZE_VER0], 0);
	for (uint32_t size = PERF_ATTR_SIZE_VER0; size <= PERF_ATTR_BYTES_MAX; size++) {
		memset(&a, 1, sizeof(a));
		assert_int_equal(perf_attr_copy(bytes, size, &a), 0);
		assert_int_equal(
			a.attr.size, size < PERF_ATTR_BYTES ? size : (unsigned)PERF_ATTR_BYTES);
		assert_memory_equal(a.bytes, bytes, 4);
		assert_memory_equal(a.bytes + 8, bytes + 8, a.attr.size - 8);
		for (uint32_t k = a.attr.size; k < sizeof(a); k++)
			assert_int_equal(((uint8_t *)&a)[k], 0);
	}
	memset(&a, 1, sizeof(a));
	before = a;
	for (uint32_t size = 1; size < PERF_ATTR_SIZE_VER0; size++)
		assert_int_equal(perf_attr_copy(bytes, size, &a), -E2BIG);
	assert_int_equal(perf_attr_copy(bytes, PERF_ATTR_BYTES_MAX + 1, &a), -E2BIG);
	assert_int_equal(perf_attr_copy(bytes, UINT32_MAX, &a), -E2BIG);
	/* one byte beyond what is known */
	bytes[PERF_ATTR_BYTES] = 1;
	assert_int_equal(perf_attr_copy(bytes, PERF_ATTR_BYTES + 1, &a), -E2BIG);
	assert_int_equal(perf_attr_copy(bytes, PERF_ATTR_BYTES_MAX, &a), -E2BIG);
	assert_memory_equal(&a, &before, sizeof(a));
	assert_int_equal(perf_attr_copy(bytes, PERF_ATTR_BYTES, &a), 0);
	bytes[PERF_ATTR_BYTES] = 0;
	bytes[PERF_ATTR_BYTES_MAX - 1] = 1;
	assert_int_equal(perf_attr_copy(bytes, PERF_ATTR_BYTES_MAX, &a), -E2BIG);
	assert_int_equal(perf_attr_copy(bytes, PERF_ATTR_BYTES_MAX - 1, &a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_names_tasks),
		cmocka_unit_test(test_what_it_is_counted_as),
		cmocka_unit_test(test_what_is_left_of_an_attr),
		cmocka_unit_test(test_the_last_field),
		cmocka_unit_test(test_any_thread),
		cmocka_unit_test(test_still_granted),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
