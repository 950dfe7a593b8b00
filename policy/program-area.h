/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device program is run for many devices at once: for as many as take the same way through it.
 * For program.c and program-rules.c alone.
 */
#pragma once

#include "program.h"

/* Requests alike in type and access, for majors and minors from [0] to [1]. */
struct program_area {
	uint8_t type, access;
	uint32_t major[2], minor[2];
};

/*
 * What the kernel asks for, a bit for each access: nothing (access(2) with F_OK), to make a node
 * (which it never asks together with another), to read, to write, to read and write.
 */
#define PROGRAM_ASKED                                                        \
	(1 << 0 | 1 << DEVICE_MKNOD | 1 << DEVICE_READ | 1 << DEVICE_WRITE | \
		1 << (DEVICE_READ | DEVICE_WRITE))

/*
 * The answer for the first major and minor of the area, which is cut behind them to where the
 * answer is the same for all. *budget: how many instructions may be run, lessened by those that
 * were; none left: PROGRAM_UNKNOWN.
 */
enum program_answer program_run(
	const struct bpf_insn *insns, size_t n, struct program_area *area, uint64_t *budget);
