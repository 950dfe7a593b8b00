/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of a policy, for user space and for policy/bpf/device.bpf.c. Host byte order. All zero:
 * no opinion, which allows.
 */
#pragma once

/* To be laid out with the program: header, tables of breakpoints, the rules' source behind them. */
#define DEVICE_POLICY_VERSION 1
#define DEVICE_POLICY_CLASSES                 \
	{                                     \
		240, 1008, 4080, 16368, 65520 \
	}
