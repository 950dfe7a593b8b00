/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device programs of others (crun, runc, LXC, systemd), read as their instructions: what does one
 * answer, and what would the rules be that it was made from? Pure.
 *
 * Such programs load from their context, compare, and jump, and use neither maps nor helpers; for
 * these the answer is exactly the kernel's, also where constants are blinded (bpf_jit_harden). For
 * anything else it is "unknown". No instruction is run twice, nothing beyond `n` is read.
 */
#pragma once

#include <linux/bpf.h>

#include "device.h"

enum program_answer {
	PROGRAM_DENIES,
	PROGRAM_ALLOWS,
	PROGRAM_UNKNOWN, /* a map, a helper, the stack, a loop, cut short */
};

#define PROGRAM_INSNS_MAX 65536

/* `type` one of DEVICE_BLOCK, DEVICE_CHAR; access 0 to 7. The context's access_type is
 * access << 16 | type, as BPF_CGROUP_DEVICE has it. */
enum program_answer program_check(const struct bpf_insn *insns, size_t n, uint8_t type,
	uint32_t major, uint32_t minor, uint8_t access);

/*
 * Rules (numbers alone) that give the same answer to every request that the kernel makes: to make a
 * node, to read, to write, to read and write. The readable way: the default, then exceptions. With
 * `v1` one of them must cover the whole request. Without it access(2) with F_OK, which asks for no
 * access at all, may be answered another way. -EOPNOTSUPP: unknown, or no such rules (as where
 * writing is denied and reading together with writing is not); -ENOMEM.
 */
int program_rules(const struct bpf_insn *insns, size_t n, struct device_rules *ret);

/* Is all of it allowed: of each device, to make a node and, at once, to read and write, as far as
 * they are in `access`? */
enum program_answer program_covers(
	const struct bpf_insn *insns, size_t n, const struct device_range *range, uint8_t access);
