/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <string.h>

#include "program-area.h"

/* BPF_REG_AX, behind the frame pointer, is the kernel's own: constants go through it where they are
 * blinded (net.core.bpf_jit_harden). */
#define N_REGS 12
#define BUDGET_COVERS (UINT64_C(1) << 27)

enum value_kind {
	VALUE_UNKNOWN,
	VALUE_CONSTANT,
	VALUE_CONTEXT, /* a pointer, `n` bytes into the context */
	VALUE_MAJOR,   /* the major plus n, in 32 bits */
	VALUE_MINOR,
};

struct value {
	enum value_kind kind;
	uint64_t n;
};

struct run {
	const struct bpf_insn *insns;
	size_t n, pc;
	struct program_area *area;
	struct value reg[N_REGS];
};

static const struct value unknown = {VALUE_UNKNOWN, 0};

static struct value constant(uint64_t n)
{
	return (struct value){VALUE_CONSTANT, n};
}

static uint32_t *value_span(const struct run *r, const struct value *v)
{
	return v->kind == VALUE_MAJOR ? r->area->major : r->area->minor;
}

static bool value_is_number(const struct value *v)
{
	return v->kind == VALUE_MAJOR || v->kind == VALUE_MINOR;
}

static uint64_t value_first(const struct run *r, const struct value *v)
{
	return value_is_number(v) ? (uint32_t)(value_span(r, v)[0] + v->n) : v->n;
}

/* Of one single device all is constant. */
static struct value value_settle(const struct run *r, struct value v)
{
	if (value_is_number(&v) && value_span(r, &v)[0] == value_span(r, &v)[1])
		return constant(value_first(r, &v));
	return v;
}

static struct value run_source(const struct run *r, const struct bpf_insn *i)
{
	if (BPF_SRC(i->code) == BPF_X)
		return value_settle(r, r->reg[i->src_reg]);
	return constant((uint64_t)(int64_t)i->imm);
}

/* ---- arithmetic */

static bool shift(uint8_t op, uint64_t a, unsigned by, bool wide, uint64_t *ret)
{
	by &= wide ? 63 : 31;
	switch (op) {
	case BPF_LSH:
		*ret = a << by;
		return true;
	case BPF_RSH:
		*ret = (wide ? a : (uint32_t)a) >> by;
		return true;
	case BPF_ARSH:
		*ret = wide ? (uint64_t)((int64_t)a >> by) : (uint64_t)((int32_t)a >> by);
		return true;
	}
	return false;
}

/* Division by zero gives 0, and the remainder of it what was divided. */
static bool compute(uint8_t op, uint64_t a, uint64_t b, bool wide, uint64_t *ret)
{
	switch (op) {
	case BPF_ADD:
		*ret = a + b;
		return true;
	case BPF_SUB:
		*ret = a - b;
		return true;
	case BPF_MUL:
		*ret = a * b;
		return true;
	case BPF_DIV:
		*ret = b ? a / b : 0;
		return true;
	case BPF_MOD:
		*ret = b ? a % b : a;
		return true;
	case BPF_OR:
		*ret = a | b;
		return true;
	case BPF_AND:
		*ret = a & b;
		return true;
	case BPF_XOR:
		*ret = a ^ b;
		return true;
	case BPF_MOV:
		*ret = b;
		return true;
	case BPF_NEG:
		*ret = -a;
		return true;
	}
	return shift(op, a, b, wide, ret);
}

static struct value compute_constants(const struct bpf_insn *i, uint64_t a, uint64_t b)
{
	bool wide = BPF_CLASS(i->code) == BPF_ALU64;
	uint64_t n;

	if (!wide) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	if (!compute(BPF_OP(i->code), a, b, wide, &n))
		return unknown;
	return constant(wide ? n : (uint32_t)n);
}

/* Numbers of devices stay what they are when copied, and in 32 bits when something is added. */
static struct value compute_number(const struct bpf_insn *i, struct value a, const struct value *b)
{
	uint8_t op = BPF_OP(i->code);

	if (BPF_CLASS(i->code) != BPF_ALU || b->kind != VALUE_CONSTANT ||
		(op != BPF_ADD && op != BPF_SUB))
		return unknown;
	a.n = (uint32_t)(op == BPF_ADD ? a.n + b->n : a.n - b->n);
	return a;
}

static struct value run_compute(const struct run *r, const struct bpf_insn *i)
{
	uint8_t op = BPF_OP(i->code);
	bool wide = BPF_CLASS(i->code) == BPF_ALU64;
	struct value b = run_source(r, i), a = value_settle(r, r->reg[i->dst_reg]);

	/* swapped bytes; sign extension and signed division, by their offset (6.6) */
	if (op == BPF_END || i->off)
		return unknown;
	if (op == BPF_MOV && b.kind != VALUE_CONSTANT)
		return wide || value_is_number(&b) ? b : unknown;
	/* each of the two has one operand */
	if (op == BPF_MOV)
		a = constant(0);
	if (op == BPF_NEG)
		b = constant(0);
	if (value_is_number(&a))
		return compute_number(i, a, &b);
	if (a.kind != VALUE_CONSTANT || b.kind != VALUE_CONSTANT)
		return unknown;
	return compute_constants(i, a.n, b.n);
}

/* ---- loads: of the context alone; what was put on the stack is forgotten */

static struct value run_load(const struct run *r, const struct bpf_insn *i)
{
	static const unsigned sizes[] = {[BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1};
	uint32_t type = (uint32_t)r->area->access << 16 | r->area->type, n32 = 0;
	const struct value *from = &r->reg[i->src_reg];
	uint64_t at = from->n + (uint64_t)(int64_t)i->off;
	unsigned size = BPF_SIZE(i->code) == BPF_DW ? 8 : sizes[BPF_SIZE(i->code) >> 3];
	uint16_t n16;

	if (BPF_MODE(i->code) != BPF_MEM || from->kind != VALUE_CONTEXT)
		return unknown;
	if (size == 4 && at == offsetof(struct bpf_cgroup_dev_ctx, major))
		return (struct value){VALUE_MAJOR, 0};
	if (size == 4 && at == offsetof(struct bpf_cgroup_dev_ctx, minor))
		return (struct value){VALUE_MINOR, 0};
	if (size > sizeof(type) || at > sizeof(type) - size)
		return unknown;
	/* a part of it, as this machine orders bytes */
	if (size == sizeof(n16)) {
		memcpy(&n16, (const uint8_t *)&type + at, sizeof(n16));
		return constant(n16);
	}
	if (size == 1)
		return constant(((const uint8_t *)&type)[at]);
	memcpy(&n32, &type, sizeof(n32));
	return constant(n32);
}

/* ---- jumps */

static bool compare(uint8_t op, uint64_t a, uint64_t b, bool wide, bool *ret)
{
	int64_t sa = wide ? (int64_t)a : (int32_t)a, sb = wide ? (int64_t)b : (int32_t)b;

	if (!wide) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	switch (op) {
	case BPF_JEQ:
		*ret = a == b;
		return true;
	case BPF_JNE:
		*ret = a != b;
		return true;
	case BPF_JSET:
		*ret = a & b;
		return true;
	case BPF_JGT:
		*ret = a > b;
		return true;
	case BPF_JGE:
		*ret = a >= b;
		return true;
	case BPF_JLT:
		*ret = a < b;
		return true;
	case BPF_JLE:
		*ret = a <= b;
		return true;
	case BPF_JSGT:
		*ret = sa > sb;
		return true;
	case BPF_JSGE:
		*ret = sa >= sb;
		return true;
	case BPF_JSLT:
		*ret = sa < sb;
		return true;
	case BPF_JSLE:
		*ret = sa <= sb;
		return true;
	}
	return false;
}

/*
 * Cuts the area where a comparison with `against` may turn out another way: at that number and
 * behind it, and, for what was added to the number may have gone round, at 0 and, with signs, at
 * 2^31. To cut where nothing changes does no harm.
 */
static void run_cut(const struct run *r, const struct value *v, uint32_t against)
{
	const uint32_t where[] = {0, against, against + 1, UINT32_C(1) << 31};
	uint32_t *span = value_span(r, v);

	for (size_t k = 0; k < sizeof(where) / sizeof(where[0]); k++) {
		uint32_t at = where[k] - (uint32_t)v->n;

		if (span[0] < at && at <= span[1])
			span[1] = at - 1;
	}
}

/* Whether it jumps; false: that cannot be told. */
static bool run_compare(const struct run *r, const struct bpf_insn *i, bool *ret)
{
	struct value a = value_settle(r, r->reg[i->dst_reg]), b = run_source(r, i);
	bool wide = BPF_CLASS(i->code) == BPF_JMP;

	if (value_is_number(&a) && b.kind == VALUE_CONSTANT && BPF_OP(i->code) != BPF_JSET)
		run_cut(r, &a, b.n);
	else if (a.kind == VALUE_CONSTANT && value_is_number(&b) && BPF_OP(i->code) != BPF_JSET)
		run_cut(r, &b, a.n);
	else if (a.kind != VALUE_CONSTANT || b.kind != VALUE_CONSTANT)
		return false;
	return compare(BPF_OP(i->code), value_first(r, &a), value_first(r, &b), wide, ret);
}

/* Where it goes on; false: not to be followed. */
static bool run_jump(struct run *r, const struct bpf_insn *i)
{
	bool wide = BPF_CLASS(i->code) == BPF_JMP, jumps;
	int64_t to = (int64_t)r->pc + i->off;

	if (BPF_OP(i->code) == BPF_JA)
		/* far jumps (6.6) */
		to = wide ? to : (int64_t)r->pc + i->imm;
	else if (!run_compare(r, i, &jumps))
		return false;
	else if (!jumps)
		return true;
	if (to < 0)
		return false;
	r->pc = to;
	return true;
}

/* ---- the whole */

/* A constant in two instructions; where a register is named it is a map's address instead. */
static struct value run_wide_constant(struct run *r, const struct bpf_insn *i)
{
	if (i->code != (BPF_LD | BPF_IMM | BPF_DW) || r->pc == r->n)
		return unknown;
	r->pc++;
	if (i->src_reg)
		return unknown;
	return constant((uint64_t)(uint32_t)i[1].imm << 32 | (uint32_t)i->imm);
}

/* One instruction; `pc` is behind it. False: what it does is not known here. */
static bool run_step(struct run *r, const struct bpf_insn *i)
{
	if (i->dst_reg >= N_REGS || i->src_reg >= N_REGS)
		return false;
	switch (BPF_CLASS(i->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		r->reg[i->dst_reg] = run_compute(r, i);
		return true;
	case BPF_LDX:
		r->reg[i->dst_reg] = run_load(r, i);
		return true;
	case BPF_LD:
		/* packets' loads, which no device program has, are 4 bytes wide at most */
		r->reg[i->dst_reg] = run_wide_constant(r, i);
		return BPF_SIZE(i->code) == BPF_DW;
	case BPF_ST:
	case BPF_STX:
		/* atomic ones change registers, too */
		return BPF_MODE(i->code) == BPF_MEM;
	case BPF_JMP:
	case BPF_JMP32:
		return BPF_OP(i->code) != BPF_CALL && run_jump(r, i);
	}
	return false;
}

static enum program_answer run_end(const struct run *r)
{
	struct value v = value_settle(r, r->reg[BPF_REG_0]);

	/* the verifier has programs of this type return 0 or 1 */
	if (v.kind != VALUE_CONSTANT || (uint32_t)v.n > 1)
		return PROGRAM_UNKNOWN;
	return (uint32_t)v.n ? PROGRAM_ALLOWS : PROGRAM_DENIES;
}

enum program_answer program_run(
	const struct bpf_insn *insns, size_t n, struct program_area *area, uint64_t *budget)
{
	struct run r = {.insns = insns, .n = n, .area = area};

	if (n > PROGRAM_INSNS_MAX)
		return PROGRAM_UNKNOWN;
	r.reg[BPF_REG_1].kind = VALUE_CONTEXT;
	/* without loops no instruction is run twice */
	for (size_t steps = 0; steps < n && r.pc<n && * budget> 0; steps++, --*budget) {
		const struct bpf_insn *i = &insns[r.pc++];

		if (i->code == (BPF_JMP | BPF_EXIT))
			return run_end(&r);
		if (!run_step(&r, i))
			break;
	}
	return PROGRAM_UNKNOWN;
}

enum program_answer program_check(const struct bpf_insn *insns, size_t n, uint8_t type,
	uint32_t major, uint32_t minor, uint8_t access)
{
	struct program_area one = {type, access, {major, major}, {minor, minor}};
	uint64_t budget = PROGRAM_INSNS_MAX;

	return program_run(insns, n, &one, &budget);
}

/* Of a range and one access: by what is allowed to all of it, strip by strip of majors. */
static enum program_answer covers_access(
	const struct bpf_insn *insns, size_t n, const struct program_area *all, uint64_t *budget)
{
	enum program_answer worst = PROGRAM_ALLOWS;
	uint32_t major = all->major[0], minor, end;

	for (;; major = end + 1) {
		end = all->major[1];
		for (minor = all->minor[0];;) {
			struct program_area a = {
				all->type, all->access, {major, end}, {minor, all->minor[1]}};
			enum program_answer answer = program_run(insns, n, &a, budget);

			if (answer == PROGRAM_DENIES)
				return answer;
			if (answer == PROGRAM_UNKNOWN)
				worst = answer;
			end = a.major[1];
			if (a.minor[1] == all->minor[1])
				break;
			minor = a.minor[1] + 1;
		}
		if (end == all->major[1])
			return worst;
	}
}

enum program_answer program_covers(
	const struct bpf_insn *insns, size_t n, const struct device_range *range, uint8_t access)
{
	const uint8_t bits = access & range->access,
		      parts[] = {bits & DEVICE_MKNOD, bits & (DEVICE_READ | DEVICE_WRITE)};
	enum program_answer worst = PROGRAM_ALLOWS;
	bool any = range->major == DEVICE_ANY;
	uint64_t budget = BUDGET_COVERS;

	for (uint8_t type = DEVICE_BLOCK; type <= DEVICE_CHAR; type++)
		for (size_t k = 0; k < sizeof(parts); k++) {
			const struct program_area all = {type, parts[k],
				{any ? 0 : range->major, any ? DEVICE_MAJOR_MAX : range->major},
				{range->first, range->last}};
			enum program_answer answer;

			if (!(range->types & type) || !parts[k])
				continue;
			answer = covers_access(insns, n, &all, &budget);
			if (answer == PROGRAM_DENIES)
				return answer;
			if (answer == PROGRAM_UNKNOWN)
				worst = answer;
		}
	return worst;
}
