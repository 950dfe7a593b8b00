/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "chains.h"

#include <assert.h>
#include <stddef.h>

#define TYPE BPF_REG_2
#define ACCESS BPF_REG_3
#define MAJOR BPF_REG_4
#define MINOR BPF_REG_5
#define AX 11

struct building {
	enum chain_style style;
	struct bpf_insn *insns;
	size_t n;
	size_t open[8]; /* jumps that go behind the block */
	unsigned n_open;
	size_t to_end[CHAIN_RULES_MAX];
	unsigned n_to_end;
};

static size_t add(
	struct building *b, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	b->insns[b->n] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
	return b->n++;
}

/* An operation with a constant; blinded: through a register, in two parts. */
static size_t add_imm(struct building *b, uint8_t code, uint8_t dst, int32_t imm)
{
	const int32_t random = 0x5eed1234;
	uint8_t class = BPF_CLASS(code) == BPF_JMP ? BPF_ALU64 : BPF_ALU;

	if (b->style != CHAIN_BLINDED)
		return add(b, code, dst, 0, 0, imm);
	add(b, class | BPF_MOV | BPF_K, AX, 0, 0, random ^ imm);
	add(b, class | BPF_XOR | BPF_K, AX, 0, 0, random);
	return add(b, (code & ~BPF_X) | BPF_X, dst, AX, 0, 0);
}

static void skip_unless(struct building *b, uint8_t reg, int32_t imm)
{
	uint8_t class = b->style == CHAIN_NARROW ? BPF_JMP32 : BPF_JMP;

	b->open[b->n_open++] = add_imm(b, class | BPF_JNE | BPF_K, reg, imm);
}

static void skip_unless_within(struct building *b, uint8_t access)
{
	if (access == DEVICE_ALL)
		return;
	if (b->style == CHAIN_LXC || b->style == CHAIN_NARROW) {
		/* no bit beside those */
		b->open[b->n_open++] =
			add_imm(b, BPF_JMP | BPF_JSET | BPF_K, ACCESS, DEVICE_ALL & ~access);
		return;
	}
	add(b, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, ACCESS, 0, 0);
	add_imm(b, BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, access);
	b->open[b->n_open++] = add(b, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_1, ACCESS, 0, 0);
}

static void end_with(struct building *b, bool allow)
{
	uint8_t class = b->style == CHAIN_CRUN ? BPF_ALU64 : BPF_ALU;

	add_imm(b, class | BPF_MOV | BPF_K, BPF_REG_0, allow);
	add(b, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void begin(struct building *b)
{
	const size_t type = offsetof(struct bpf_cgroup_dev_ctx, access_type);

	if (b->style == CHAIN_NARROW) {
		add(b, BPF_LDX | BPF_MEM | BPF_H, TYPE, BPF_REG_1, type, 0);
		add(b, BPF_LDX | BPF_MEM | BPF_H, ACCESS, BPF_REG_1, type + 2, 0);
	} else {
		add(b, BPF_LDX | BPF_MEM | BPF_W, TYPE, BPF_REG_1, type, 0);
		add_imm(b, BPF_ALU | BPF_AND | BPF_K, TYPE, 0xffff);
		add(b, BPF_LDX | BPF_MEM | BPF_W, ACCESS, BPF_REG_1, type, 0);
		add_imm(b, BPF_ALU | BPF_RSH | BPF_K, ACCESS, 16);
	}
	add(b, BPF_LDX | BPF_MEM | BPF_W, MAJOR, BPF_REG_1,
		offsetof(struct bpf_cgroup_dev_ctx, major), 0);
	add(b, BPF_LDX | BPF_MEM | BPF_W, MINOR, BPF_REG_1,
		offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
}

static void add_rule(struct building *b, const struct chain_rule *rule, bool default_allow)
{
	b->n_open = 0;
	if (b->style == CHAIN_LXC)
		skip_unless_within(b, rule->access);
	if (rule->type)
		skip_unless(b, TYPE, rule->type);
	if (b->style != CHAIN_LXC)
		skip_unless_within(b, rule->access);
	if (rule->major != CHAIN_ANY)
		skip_unless(b, MAJOR, rule->major);
	if (rule->minor != CHAIN_ANY)
		skip_unless(b, MINOR, rule->minor);
	if (b->style == CHAIN_SYSTEMD && rule->allow != default_allow)
		b->to_end[b->n_to_end++] = add(b, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	else
		end_with(b, rule->allow);
	for (unsigned k = 0; k < b->n_open; k++)
		b->insns[b->open[k]].off = b->n - b->open[k] - 1;
}

size_t chain_build(enum chain_style style, const struct chain *c, struct bpf_insn *insns)
{
	struct building b = {.style = style, .insns = insns};

	begin(&b);
	for (unsigned k = 0; k < c->n; k++)
		add_rule(&b, &c->rule[k], c->allow);
	end_with(&b, c->allow);
	for (unsigned k = 0; k < b.n_to_end; k++)
		insns[b.to_end[k]].off = b.n - b.to_end[k] - 1;
	if (b.n_to_end)
		end_with(&b, !c->allow);
	assert(b.n <= CHAIN_INSNS_MAX);
	return b.n;
}

bool chain_allows(
	const struct chain *c, uint8_t type, uint32_t major, uint32_t minor, uint8_t access)
{
	for (unsigned k = 0; k < c->n; k++) {
		const struct chain_rule *r = &c->rule[k];

		if ((!r->type || r->type == type) && !(access & ~r->access) &&
			(r->major == CHAIN_ANY || r->major == major) &&
			(r->minor == CHAIN_ANY || r->minor == minor))
			return r->allow;
	}
	return c->allow;
}
