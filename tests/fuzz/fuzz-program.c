/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request, and instructions as the kernel hands them out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/program.h"
#include "fuzz.h"

#define INSNS_MAX 256 /* two numbers a jump cut the devices into very many cells */

static bool is_asked(uint8_t access)
{
	return access <= DEVICE_READ || access == DEVICE_WRITE ||
	       access == (DEVICE_READ | DEVICE_WRITE);
}

/* What is said of many devices at once holds for each. */
static void check_covers(const struct bpf_insn *insns, size_t n, const struct device_range *one,
	uint8_t access, enum program_answer answer)
{
	const struct device_range ranges[] = {*one,
		{one->types, DEVICE_ALL, one->major, 0, DEVICE_MINOR_MAX},
		{one->types, DEVICE_ALL, DEVICE_ANY, one->first, one->first},
		{DEVICE_BOTH, DEVICE_ALL, DEVICE_ANY, 0, DEVICE_MINOR_MAX}};

	for (size_t k = 0; k < sizeof(ranges) / sizeof(ranges[0]); k++) {
		enum program_answer all = program_covers(insns, n, &ranges[k], access);

		if (access && is_asked(access))
			CHECK(all != PROGRAM_ALLOWS || answer == PROGRAM_ALLOWS);
	}
}

static void check_rules(const struct bpf_insn *insns, size_t n, const struct device_range *one,
	uint8_t access, enum program_answer answer)
{
	struct device_rules rules = {0};
	int r = program_rules(insns, n, &rules);

	CHECK(r == 0 || r == -EOPNOTSUPP);
	CHECK(r == 0 || !rules.rule);
	CHECK(rules.n <= DEVICE_RULES_MAX);
	/* there are rules only for what answers every request */
	CHECK(r < 0 || answer != PROGRAM_UNKNOWN);
	for (unsigned k = 0; k < rules.n; k++) {
		const struct device_rule *rule = &rules.rule[k];

		CHECK(rule->access && rule->access <= DEVICE_ALL && !*rule->name);
		CHECK(rule->range.first <= rule->range.last);
		CHECK(!rules.v1 || (rule->allow && !rules.allow));
	}
	if (r == 0 && (access || rules.v1))
		CHECK(device_check(&rules, one->types, one->major, one->first, access) ==
			(answer == PROGRAM_ALLOWS));
	device_rules_done(&rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t type = input_byte(&in) & 1 ? DEVICE_CHAR : DEVICE_BLOCK;
	uint8_t access = input_byte(&in) & DEVICE_ALL;
	uint32_t major = input_u32(&in) & DEVICE_MAJOR_MAX,
		 minor = input_u32(&in) & DEVICE_MINOR_MAX;
	const struct device_range one = {type, DEVICE_ALL, major, minor, minor};
	size_t n = in.left / sizeof(struct bpf_insn);
	_cleanup_free_ struct bpf_insn *insns = NULL;
	enum program_answer answer;

	n = n < INSNS_MAX ? n : INSNS_MAX;
	/* of just that size, so that a read behind it shows */
	insns = malloc(n ? n * sizeof(*insns) : 1);
	CHECK(insns);
	memcpy(insns, in.at, n * sizeof(*insns));
	answer = program_check(insns, n, type, major, minor, access);
	CHECK(answer == program_check(insns, n, type, major, minor, access));
	check_covers(insns, n, &one, access, answer);
	if (is_asked(access))
		check_rules(insns, n, &one, access, answer);
	return 0;
}
