/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device programs of others (crun, runc, LXC, systemd), read as their instructions: what does one
 * answer, and what would the rules be that it was made from? Pure.
 *
 * Such programs load from their context, compare, and jump, and use neither maps nor helpers; for
 * these the answer is exactly the kernel's. For anything else it is "unknown".
 */
#pragma once

#include <linux/bpf.h>

#include "device.h"

enum program_answer {
	PROGRAM_DENIES,
	PROGRAM_ALLOWS,
	PROGRAM_UNKNOWN, /* a map, a helper, blinded constants (bpf_jit_harden), a loop */
};

#define PROGRAM_INSNS_MAX 65536

/* `type` one of DEVICE_BLOCK, DEVICE_CHAR; access 0 to 7. The context's access_type is
 * access << 16 | type, as BPF_CGROUP_DEVICE has it. */
enum program_answer program_check(const struct bpf_insn *insns, size_t n, uint8_t type,
	uint32_t major, uint32_t minor, uint8_t access);

/*
 * Rules (numbers alone) that give the same answer to every request, the readable way: the default,
 * then exceptions. By the program's own constants, beside which it cannot tell devices apart.
 * -EOPNOTSUPP: unknown, or no such rules; -ENOMEM.
 */
int program_rules(const struct bpf_insn *insns, size_t n, struct device_rules *ret);

/* Is all of it allowed? */
enum program_answer program_covers(
	const struct bpf_insn *insns, size_t n, const struct device_range *range, uint8_t access);
