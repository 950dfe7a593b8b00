/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device programs as others build them: a block for each rule, the first that matches returns. */
#pragma once

#include "../../policy/program.h"

#define CHAIN_RULES_MAX 64
#define CHAIN_ANY (-1L)

struct chain_rule {
	bool allow;
	uint8_t type; /* 0: both */
	uint8_t access;
	long major, minor; /* CHAIN_ANY */
};

struct chain {
	bool allow; /* where none matches */
	unsigned n;
	struct chain_rule rule[CHAIN_RULES_MAX];
};

enum chain_style {
	CHAIN_RUNC,    /* constants in 32 bits, jumps that compare 64 */
	CHAIN_CRUN,    /* constants in 64 bits */
	CHAIN_LXC,     /* the access is tested with an AND before all else */
	CHAIN_SYSTEMD, /* who matches jumps to one end */
	CHAIN_NARROW,  /* loads of 16 bits, jumps that compare 32, as clang makes them */
	CHAIN_BLINDED, /* with bpf_jit_harden=2 */
	CHAIN_STYLES,
};

#define CHAIN_INSNS_MAX (16 + CHAIN_RULES_MAX * 24)

/* Returns how many instructions there are. */
size_t chain_build(enum chain_style style, const struct chain *c, struct bpf_insn *insns);
bool chain_allows(
	const struct chain *c, uint8_t type, uint32_t major, uint32_t minor, uint8_t access);
