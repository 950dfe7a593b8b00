/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of a policy, and the one function that reads a verdict from them, which both user space
 * and policy/bpf/device.bpf.c compile. Host byte order. All zero: no opinion, which allows.
 *
 * An array of 32 bit words:
 *
 *	DEVICE_POLICY_HEAD	version | flags << 8 | number of the written rules << 16; never 0
 *	DEVICE_POLICY_SOURCE	where the written rules are, in bytes, and how many bytes << 16
 *	DEVICE_POLICY_TABLE	of block devices, then of character devices: the span of their table
 *	DEVICE_POLICY_MINORS	likewise: the span of their index of minors; 0 without one
 *
 * A span is a word's number and a count << 16. A table of n has n sorted keys, each major << 20 |
 * minor, the first of them 0, and then n bytes. The last key that is not above the device's tells
 * which byte: the verdicts on all eight requests, bit 1 << access.
 *
 * Where a rule names minors of any major there is an index: n sorted minors, the first of them 0,
 * then n spans of tables. The last that is not above the device's minor tells which table.
 */
#pragma once

#include <linux/types.h>

#define DEVICE_POLICY_VERSION 1
/* Powers of two less the 16 bytes that the kernel puts before a value; the last is what its limit
 * leaves, U16_MAX less some 130 bytes (BPF_LOCAL_STORAGE_MAX_VALUE_SIZE, 5.11; before, 4096). */
#define DEVICE_POLICY_CLASSES                 \
	{                                     \
		240, 1008, 4080, 16368, 65280 \
	}
#define DEVICE_POLICY_SIZE_MAX 65280

enum device_policy_word {
	DEVICE_POLICY_HEAD,
	DEVICE_POLICY_SOURCE,
	DEVICE_POLICY_TABLE,
	DEVICE_POLICY_MINORS = DEVICE_POLICY_TABLE + 2,
	DEVICE_POLICY_TABLES = DEVICE_POLICY_MINORS + 2, /* the first that is free */
};

#define DEVICE_POLICY_ALLOW 1 /* the default; for listing, verdicts have it in them */
#define DEVICE_POLICY_V1 2

/* Enough halvings for the 16320 words of the largest class. */
#define DEVICE_POLICY_STEPS 14

/* Keeps a compiler from making a branch of arithmetic, or checking one register and using another:
 * the verifier of the kernel follows each branch, and each value in its own register. */
#define DEVICE_POLICY_KEEP(value) __asm__ volatile("" : "+r"(value))

/* The number of the last word of the span that is not above `key`; `n_words` or more where the span
 * leaves the policy. */
static inline __attribute__((always_inline)) __u64 device_policy_find(
	const __u32 *words, __u64 n_words, __u64 span, __u64 key)
{
	__u64 at = span & 0xffff, left = span >> 16;

#ifdef __clang__
#	pragma clang loop unroll(full)
#endif
	for (int step = 0; step < DEVICE_POLICY_STEPS; step++) {
		__u64 half = left >> 1, probe = at + half, above;

		if (half == 0)
			break;
		DEVICE_POLICY_KEEP(probe);
		if (probe >= n_words)
			return n_words;
		/* all ones where the word is above the key: both have 32 bits */
		above = key - words[probe];
		DEVICE_POLICY_KEEP(above);
		above = (__u64)((__s64)above >> 63);
		DEVICE_POLICY_KEEP(above);
		at += half & ~above;
		left -= half;
	}
	return at;
}

/* May it? `type` is BPF_DEVCG_DEV_BLOCK or BPF_DEVCG_DEV_CHAR. What leaves the policy is denied. */
static inline __attribute__((always_inline)) int device_policy_decide(
	const __u32 *words, __u64 n_words, __u32 type, __u32 major, __u32 minor, __u32 access)
{
	__u64 key = (__u64)(major & 0xfff) << 20 | (minor & 0xfffff);
	__u64 table, minors, first, at;

	if (words[DEVICE_POLICY_HEAD] == 0)
		return 1;
	if (type == 2) {
		table = words[DEVICE_POLICY_TABLE + 1];
		minors = words[DEVICE_POLICY_MINORS + 1];
	} else {
		table = words[DEVICE_POLICY_TABLE];
		minors = words[DEVICE_POLICY_MINORS];
	}
	if (minors) {
		at = device_policy_find(words, n_words, minors, minor & 0xfffff);
		at += minors >> 16;
		DEVICE_POLICY_KEEP(at);
		if (at >= n_words)
			return 0;
		table = words[at];
	}
	first = table & 0xffff;
	at = device_policy_find(words, n_words, table, key) - first;
	at += (first + (table >> 16)) * 4;
	DEVICE_POLICY_KEEP(at);
	if (at >= n_words * 4)
		return 0;
	return ((const __u8 *)words)[at] >> (access & 7) & 1;
}
