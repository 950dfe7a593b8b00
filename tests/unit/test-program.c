/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../policy/program.h"
#include "chains.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* The requests that the kernel makes. */
static const uint8_t asked[] = {
	0, DEVICE_MKNOD, DEVICE_READ, DEVICE_WRITE, DEVICE_READ | DEVICE_WRITE};

/* clang-format off */
/* What every container gets (OCI runtime specification, "Default Devices"), as runc orders it. */
static const struct chain oci = {false, 10, {
	{true, DEVICE_BLOCK, DEVICE_MKNOD, CHAIN_ANY, CHAIN_ANY},
	{true, DEVICE_CHAR, DEVICE_MKNOD, CHAIN_ANY, CHAIN_ANY},
	{true, DEVICE_CHAR, DEVICE_ALL, 1, 3}, {true, DEVICE_CHAR, DEVICE_ALL, 1, 5},
	{true, DEVICE_CHAR, DEVICE_ALL, 1, 7}, {true, DEVICE_CHAR, DEVICE_ALL, 1, 8},
	{true, DEVICE_CHAR, DEVICE_ALL, 1, 9}, {true, DEVICE_CHAR, DEVICE_ALL, 5, 0},
	{true, DEVICE_CHAR, DEVICE_ALL, 5, 2}, {true, DEVICE_CHAR, DEVICE_ALL, 136, CHAIN_ANY}}};
/* clang-format on */

static uint64_t seed = 0x243f6a8885a308d3;

static uint32_t random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 32) % n;
}

static enum program_answer answer_of(bool allows)
{
	return allows ? PROGRAM_ALLOWS : PROGRAM_DENIES;
}

/* Numbers that a chain can tell apart: around its constants. */
static uint32_t random_number(const struct chain *c, bool major)
{
	uint32_t max = major ? DEVICE_MAJOR_MAX : DEVICE_MINOR_MAX;
	const struct chain_rule *r = &c->rule[random_below(c->n ? c->n : 1)];
	long n = major ? r->major : r->minor;

	if (c->n == 0 || n == CHAIN_ANY || random_below(8) == 0)
		return random_below(max + 1);
	n += (long)random_below(3) - 1;
	return n < 0 ? 0 : n;
}

static void random_chain(struct chain *c, unsigned max, bool mixed)
{
	c->allow = mixed && random_below(2);
	c->n = random_below(max + 1);
	for (unsigned k = 0; k < c->n; k++) {
		struct chain_rule *r = &c->rule[k];

		r->allow = mixed ? random_below(2) : true;
		r->type = random_below(3);
		r->access = random_below(2) ? DEVICE_ALL : 1 + random_below(7);
		r->major = random_below(5) ? random_below(6) * random_below(40) : CHAIN_ANY;
		r->minor = random_below(5) ? random_below(6) * random_below(40) : CHAIN_ANY;
	}
}

static void test_chains_answer_as_their_rules(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX];
	struct chain c = {0};

	(void)state;
	for (unsigned k = 0; k < 6000; k++) {
		size_t n;

		random_chain(&c, k % 100 ? 12 : CHAIN_RULES_MAX, true);
		n = chain_build(k % CHAIN_STYLES, &c, insns);
		for (unsigned j = 0; j < 50; j++) {
			uint8_t type = 1 + random_below(2), access = random_below(8);
			uint32_t major = random_number(&c, true), minor = random_number(&c, false);
			bool expected = chain_allows(&c, type, major, minor, access);

			assert_int_equal(program_check(insns, n, type, major, minor, access),
				answer_of(expected));
		}
	}
}

static void expect_rules_as_chain(const struct chain *c, const struct device_rules *rules)
{
	for (unsigned j = 0; j < 400; j++) {
		uint8_t type = 1 + random_below(2), access = asked[random_below(N(asked))];
		uint32_t major = random_number(c, true), minor = random_number(c, false);

		if (!rules->v1 && access == 0)
			continue;
		assert_int_equal(device_check(rules, type, major, minor, access),
			chain_allows(c, type, major, minor, access));
	}
}

static void test_rules_answer_as_the_chain(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX];
	struct chain c = {0};
	unsigned found = 0;

	(void)state;
	for (unsigned k = 0; k < 3000; k++) {
		struct device_rules rules = {0};
		size_t n;
		int r;

		random_chain(&c, 8, k % 2);
		n = chain_build(k % CHAIN_STYLES, &c, insns);
		r = program_rules(insns, n, &rules);
		assert_true(r == 0 || r == -EOPNOTSUPP);
		if (r == 0) {
			found++;
			expect_rules_as_chain(&c, &rules);
		}
		device_rules_done(&rules);
	}
	assert_true(found > 1000);
}

/* What the runtimes make: each device by its major, the default denies, nothing is taken back. */
static void test_lists_of_what_is_allowed_always_have_rules(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX];
	struct chain c = {0};

	(void)state;
	for (unsigned k = 0; k < 3000; k++) {
		struct device_rules rules = {0};
		size_t n;

		random_chain(&c, 10, false);
		n = chain_build(k % CHAIN_STYLES, &c, insns);
		assert_int_equal(program_rules(insns, n, &rules), 0);
		assert_true(rules.v1 || rules.allow);
		expect_rules_as_chain(&c, &rules);
		device_rules_done(&rules);
	}
}

static void print_number(char *buf, size_t size, uint32_t first, uint32_t last)
{
	if (first == 0 && last == DEVICE_MINOR_MAX)
		snprintf(buf, size, "*");
	else if (first == last)
		snprintf(buf, size, "%u", first);
	else
		snprintf(buf, size, "%u-%u", first, last);
}

/* "default deny; allow c 1:3 rwm; ..." */
static void print_rules(const struct device_rules *rules, char *buf, size_t size)
{
	size_t n = snprintf(
		buf, size, "default %s%s", rules->allow ? "allow" : "deny", rules->v1 ? " v1" : "");

	for (unsigned k = 0; k < rules->n; k++) {
		const struct device_rule *r = &rules->rule[k];
		char major[16] = "*", minor[32];

		assert_string_equal(r->name, "");
		assert_int_equal(r->range.access, DEVICE_ALL);
		if (r->range.major != DEVICE_ANY)
			snprintf(major, sizeof(major), "%u", r->range.major);
		print_number(minor, sizeof(minor), r->range.first, r->range.last);
		n += snprintf(buf + n, size - n, "; %s %s %s:%s %s%s%s",
			r->allow ? "allow" : "deny", r->range.types == DEVICE_CHAR ? "c" : "b",
			major, minor, r->access & DEVICE_READ ? "r" : "",
			r->access & DEVICE_WRITE ? "w" : "", r->access & DEVICE_MKNOD ? "m" : "");
		assert_true(n < size);
	}
}

static void test_listing_is_readable(void **state)
{
	/* clang-format off */
	static const struct {
		struct chain chain;
		const char *expected; /* NULL: there are no such rules */
	} rows[] = {
		{{true, 0, {{0}}}, "default allow"},
		{{false, 0, {{0}}}, "default deny v1"},
		{{false, 1, {{true, 0, DEVICE_ALL, CHAIN_ANY, CHAIN_ANY}}}, "default allow"},
		{{false, 1, {{true, DEVICE_CHAR, DEVICE_READ, 10, 229}}},
			"default deny v1; allow c 10:229 r"},
		/* a node of its own beside all of a major, all majors of a minor */
		{{false, 3, {{true, DEVICE_CHAR, DEVICE_READ, 10, CHAIN_ANY},
				{true, DEVICE_CHAR, DEVICE_WRITE, 10, 229},
				{true, DEVICE_BLOCK, DEVICE_ALL, CHAIN_ANY, 7}}},
			"default deny v1; allow c 10:* r; allow c 10:229 w; allow b *:7 rwm"},
		{{true, 2, {{false, DEVICE_CHAR, DEVICE_ALL, 10, 232},
				{false, DEVICE_BLOCK, DEVICE_ALL, 8, CHAIN_ANY}}},
			"default allow; deny c 10:232 rwm; deny b 8:* rwm"},
		/* taken out of what is allowed */
		{{false, 2, {{false, DEVICE_CHAR, DEVICE_ALL, 240, 7},
				{true, DEVICE_CHAR, DEVICE_ALL, 240, CHAIN_ANY}}},
			"default deny v1; allow c 240:0-6 rwm; allow c 240:8-1048575 rwm"},
		{{false, 2, {{false, DEVICE_CHAR, DEVICE_ALL, 240, CHAIN_ANY},
				{true, DEVICE_CHAR, DEVICE_ALL, CHAIN_ANY, CHAIN_ANY}}},
			"default deny; allow c *:* rwm; deny c 240:* rwm"},
		{{false, 3, {{false, DEVICE_CHAR, DEVICE_ALL, 240, 7},
				{true, DEVICE_CHAR, DEVICE_ALL, 240, CHAIN_ANY},
				{false, 0, DEVICE_ALL, CHAIN_ANY, 9}}},
			"default deny v1; allow c 240:0-6 rwm; allow c 240:8-1048575 rwm"},
		/* to write is denied, but to read and write is not */
		{{true, 1, {{false, DEVICE_CHAR, DEVICE_WRITE, 240, 7}}}, NULL},
	};
	/* clang-format on */
	struct bpf_insn insns[CHAIN_INSNS_MAX];
	char text[1024];

	(void)state;
	for (size_t k = 0; k < N(rows); k++)
		for (unsigned style = 0; style < CHAIN_STYLES; style++) {
			struct device_rules rules = {0};
			size_t n = chain_build(style, &rows[k].chain, insns);
			int r = program_rules(insns, n, &rules);

			assert_int_equal(r, rows[k].expected ? 0 : -EOPNOTSUPP);
			if (r == 0) {
				print_rules(&rules, text, sizeof(text));
				assert_string_equal(text, rows[k].expected);
			}
			device_rules_done(&rules);
		}
}

static void test_listing_of_a_container(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX];
	struct device_rules rules = {0};
	char text[1024];

	(void)state;
	assert_int_equal(program_rules(insns, chain_build(CHAIN_RUNC, &oci, insns), &rules), 0);
	print_rules(&rules, text, sizeof(text));
	device_rules_done(&rules);
	assert_string_equal(text,
		"default deny v1; allow c *:* m; allow c 1:3 rwm; allow c 1:5 rwm; "
		"allow c 1:7-9 rwm; allow c 5:0 rwm; allow c 5:2 rwm; allow c 136:* rwm; "
		"allow b *:* m");
}

/* ---- what a range is covered by */

static void test_covers(void **state)
{
	/* clang-format off */
	static const struct {
		struct device_range range;
		uint8_t access;
		enum program_answer expected;
	} rows[] = {
		{{DEVICE_CHAR, DEVICE_ALL, 1, 3, 3}, DEVICE_ALL, PROGRAM_ALLOWS},
		{{DEVICE_CHAR, DEVICE_ALL, 1, 3, 4}, DEVICE_ALL, PROGRAM_DENIES},
		{{DEVICE_CHAR, DEVICE_ALL, 1, 3, 4}, DEVICE_MKNOD, PROGRAM_ALLOWS},
		{{DEVICE_CHAR, DEVICE_MKNOD, 1, 3, 4}, DEVICE_ALL, PROGRAM_ALLOWS},
		{{DEVICE_CHAR, DEVICE_ALL, 1, 7, 9}, DEVICE_READ, PROGRAM_ALLOWS},
		{{DEVICE_CHAR, DEVICE_ALL, 1, 6, 9}, DEVICE_READ, PROGRAM_DENIES},
		{{DEVICE_CHAR, DEVICE_ALL, 1, 7, 10}, DEVICE_READ, PROGRAM_DENIES},
		{{DEVICE_CHAR, DEVICE_ALL, 136, 0, DEVICE_MINOR_MAX}, DEVICE_ALL, PROGRAM_ALLOWS},
		{{DEVICE_CHAR, DEVICE_ALL, DEVICE_ANY, 3, 3}, DEVICE_READ, PROGRAM_DENIES},
		{{DEVICE_BOTH, DEVICE_ALL, DEVICE_ANY, 0, DEVICE_MINOR_MAX}, DEVICE_MKNOD, PROGRAM_ALLOWS},
		{{DEVICE_BOTH, DEVICE_ALL, 1, 3, 3}, DEVICE_READ, PROGRAM_DENIES},
	};
	/* clang-format on */
	struct bpf_insn insns[CHAIN_INSNS_MAX];

	(void)state;
	for (unsigned style = 0; style < CHAIN_STYLES; style++) {
		size_t n = chain_build(style, &oci, insns);

		for (size_t k = 0; k < N(rows); k++)
			assert_int_equal(program_covers(insns, n, &rows[k].range, rows[k].access),
				rows[k].expected);
	}
}

/* What the kernel asks for `access` at once, or when a node is made and then opened. */
static bool chain_allows_all(const struct chain *c, uint32_t major, uint32_t minor, uint8_t access)
{
	uint8_t make = access & DEVICE_MKNOD, open = access & (DEVICE_READ | DEVICE_WRITE);

	return (!make || chain_allows(c, DEVICE_CHAR, major, minor, make)) &&
	       (!open || chain_allows(c, DEVICE_CHAR, major, minor, open));
}

/* One device that is denied is found wherever in the range it lies. */
static void test_covers_as_each_device(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX];
	struct chain c = {0};

	(void)state;
	for (unsigned k = 0; k < 2000; k++) {
		struct device_range range = {DEVICE_CHAR, DEVICE_ALL, 0, 0, 0};
		uint8_t access = 1 + random_below(7);
		bool all = true;
		size_t n;

		random_chain(&c, 8, true);
		n = chain_build(k % CHAIN_STYLES, &c, insns);
		range.major = random_number(&c, true);
		range.first = random_below(100);
		range.last = range.first + random_below(100);
		for (uint32_t minor = range.first; minor <= range.last; minor++)
			all = all && chain_allows_all(&c, range.major, minor, access);
		assert_int_equal(program_covers(insns, n, &range, access), answer_of(all));
	}
}

/* ---- other shapes */

/* clang-format off */
#define LOAD_MINOR {BPF_LDX | BPF_MEM | BPF_W, 2, 1, 8, 0}
#define MOV(dst, imm) {BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm}
#define EXIT {BPF_JMP | BPF_EXIT}
/* clang-format on */

/* What compilers make of `minor >= 64 && minor <= 127`: one comparison of a difference. */
static void test_ranges(void **state)
{
	const struct bpf_insn insns[] = {LOAD_MINOR, {BPF_ALU | BPF_ADD | BPF_K, 2, 0, 0, -64},
		MOV(0, 1), {BPF_JMP32 | BPF_JLT | BPF_K, 2, 0, 1, 64}, MOV(0, 0), EXIT};
	struct device_rules rules = {0};
	char text[256];

	(void)state;
	assert_int_equal(program_rules(insns, N(insns), &rules), 0);
	print_rules(&rules, text, sizeof(text));
	device_rules_done(&rules);
	assert_string_equal(text, "default deny v1; allow c *:64-127 rwm; allow b *:64-127 rwm");
}

static void test_comparisons(void **state)
{
	/* the minor against 100 (or -100), and those of 99, 100, 101, 0 that jump */
	static const struct {
		uint8_t op;
		int32_t with;
		bool jumps[4];
	} rows[] = {
		{BPF_JEQ, 100, {0, 1, 0, 0}},
		{BPF_JNE, 100, {1, 0, 1, 1}},
		{BPF_JGT, 100, {0, 0, 1, 0}},
		{BPF_JGE, 100, {0, 1, 1, 0}},
		{BPF_JLT, 100, {1, 0, 0, 1}},
		{BPF_JLE, 100, {1, 1, 0, 1}},
		{BPF_JSGT, 100, {0, 0, 1, 0}},
		{BPF_JSGE, 100, {0, 1, 1, 0}},
		{BPF_JSLT, 100, {1, 0, 0, 1}},
		{BPF_JSLE, 100, {1, 1, 0, 1}},
		{BPF_JGT, -100, {0, 0, 0, 0}},
		{BPF_JLT, -100, {1, 1, 1, 1}},
		{BPF_JSGT, -100, {1, 1, 1, 1}},
		{BPF_JSLT, -100, {0, 0, 0, 0}},
		{BPF_JSET, 100, {1, 1, 1, 0}},
	};
	static const uint32_t minors[] = {99, 100, 101, 0};

	(void)state;
	for (size_t k = 0; k < N(rows); k++)
		for (unsigned wide = 0; wide < 2; wide++) {
			uint8_t class = wide ? BPF_JMP : BPF_JMP32;
			const struct bpf_insn insns[] = {LOAD_MINOR, MOV(0, 1),
				{class | rows[k].op | BPF_K, 2, 0, 1, rows[k].with}, MOV(0, 0),
				EXIT};
			const struct bpf_insn turned[] = {LOAD_MINOR, MOV(0, 1),
				MOV(3, rows[k].with), {class | rows[k].op | BPF_X, 2, 3, 1, 0},
				MOV(0, 0), EXIT};

			for (unsigned j = 0; j < N(minors); j++) {
				assert_int_equal(program_check(insns, N(insns), 1, 1, minors[j], 2),
					answer_of(rows[k].jumps[j]));
				assert_int_equal(
					program_check(turned, N(turned), 1, 1, minors[j], 2),
					answer_of(rows[k].jumps[j]));
			}
		}
}

static void test_arithmetic(void **state)
{
	static const struct {
		uint8_t op;
		int32_t a, b;
		uint64_t wide, narrow;
	} rows[] = {
		{BPF_ADD, -1, 2, 1, 1},
		{BPF_SUB, 1, 2, UINT64_MAX, UINT32_MAX},
		{BPF_MUL, -1, 3, (uint64_t)-3, (uint32_t)-3},
		{BPF_DIV, -4, 2, UINT64_MAX / 2 - 1, UINT32_MAX / 2 - 1},
		{BPF_DIV, 7, 0, 0, 0},
		{BPF_MOD, 7, 4, 3, 3},
		{BPF_MOD, -1, 0, UINT64_MAX, UINT32_MAX},
		{BPF_OR, 5, 2, 7, 7},
		{BPF_AND, -1, 0xff, 0xff, 0xff},
		{BPF_XOR, -1, 1, (uint64_t)-2, (uint32_t)-2},
		{BPF_LSH, 1, 31, UINT64_C(1) << 31, UINT32_C(1) << 31},
		{BPF_LSH, 1, 33, UINT64_C(1) << 33, 2},
		{BPF_RSH, -1, 16, UINT64_MAX >> 16, UINT32_MAX >> 16},
		{BPF_ARSH, -16, 2, (uint64_t)-4, (uint32_t)-4},
		{BPF_NEG, 1, 0, UINT64_MAX, UINT32_MAX},
		{BPF_MOV, 1, -1, UINT64_MAX, UINT32_MAX},
	};

	(void)state;
	for (size_t k = 0; k < N(rows); k++)
		for (unsigned wide = 0; wide < 2; wide++) {
			uint64_t expected = wide ? rows[k].wide : rows[k].narrow;
			const struct bpf_insn insns[] = {MOV(2, rows[k].a), MOV(3, rows[k].b),
				{(wide ? BPF_ALU64 : BPF_ALU) | rows[k].op |
						(rows[k].op == BPF_NEG ? 0 : BPF_X),
					2, 3, 0, 0},
				{BPF_LD | BPF_IMM | BPF_DW, 4, 0, 0, (int32_t)expected},
				{0, 0, 0, 0, (int32_t)(expected >> 32)}, MOV(0, 1),
				{BPF_JMP | BPF_JEQ | BPF_X, 2, 4, 1, 0}, MOV(0, 0), EXIT};

			assert_int_equal(
				program_check(insns, N(insns), 1, 1, 1, 2), PROGRAM_ALLOWS);
		}
}

static void test_what_is_not_known(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct bpf_insn insns[6];
	} rows[] = {
		{"a helper", {{BPF_JMP | BPF_CALL, 0, 0, 0, 5}, MOV(0, 1), EXIT}},
		{"a map", {{BPF_LD | BPF_IMM | BPF_DW, 2, 1, 0, 3}, {0}, MOV(0, 1),
			{BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0, 0}, EXIT}},
		{"half a constant", {MOV(0, 1), MOV(3, 1), MOV(3, 1), MOV(3, 1), MOV(3, 1),
			{BPF_LD | BPF_IMM | BPF_DW, 2, 0, 0, 3}}},
		{"a loop", {MOV(0, 1), {BPF_JMP | BPF_JA, 0, 0, -1, 0}, EXIT}},
		{"out in front", {MOV(0, 1), {BPF_JMP | BPF_JA, 0, 0, -3, 0}, EXIT}},
		{"out behind", {MOV(0, 1), {BPF_JMP | BPF_JA, 0, 0, 4, 0}, EXIT}},
		{"no exit", {MOV(0, 1), MOV(0, 1), MOV(0, 1), MOV(0, 1), MOV(0, 1), MOV(0, 1)}},
		{"a register that is none", {{BPF_ALU64 | BPF_MOV | BPF_K, 12, 0, 0, 1}, MOV(0, 1), EXIT}},
		{"a source that is none", {{BPF_ALU64 | BPF_MOV | BPF_X, 0, 15, 0, 1}, MOV(0, 1), EXIT}},
		{"nothing set", {EXIT}},
		{"neither 0 nor 1", {MOV(0, 2), EXIT}},
		{"the context", {{BPF_ALU64 | BPF_MOV | BPF_X, 0, 1, 0, 0}, EXIT}},
		{"the stack", {MOV(2, 1), {BPF_STX | BPF_MEM | BPF_DW, 10, 2, -8, 0},
			{BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -8, 0}, EXIT}},
		{"an atomic", {MOV(0, 1), {BPF_STX | 0xc0 | BPF_DW, 10, 0, -8, 1}, EXIT}},
		{"a packet", {{BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0}, MOV(0, 1), EXIT}},
		{"behind the context", {{BPF_LDX | BPF_MEM | BPF_W, 2, 1, 12, 0}, MOV(0, 1),
			{BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0, 0}, EXIT}},
		{"part of a minor", {{BPF_LDX | BPF_MEM | BPF_H, 2, 1, 8, 0}, MOV(0, 1),
			{BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0, 0}, EXIT}},
		{"a jump that is none", {MOV(0, 1), {BPF_JMP | 0xe0, 0, 0, 0, 0}, EXIT}},
		{"signed division", {MOV(0, 1), {BPF_ALU64 | BPF_DIV | BPF_K, 0, 0, 1, 1}, EXIT}},
	};
	/* clang-format on */
	const struct device_range range = {DEVICE_BLOCK, DEVICE_ALL, 1, 1, 1};

	(void)state;
	for (size_t k = 0; k < N(rows); k++) {
		struct device_rules rules = {0};

		if (program_check(rows[k].insns, 6, 1, 1, 1, 2) != PROGRAM_UNKNOWN)
			fail_msg("%s: was taken for known", rows[k].what);
		assert_int_equal(program_rules(rows[k].insns, 6, &rules), -EOPNOTSUPP);
		assert_int_equal(program_covers(rows[k].insns, 6, &range, 2), PROGRAM_UNKNOWN);
	}
	assert_int_equal(program_check(NULL, 0, 1, 1, 1, 2), PROGRAM_UNKNOWN);
}

static void test_too_long(void **state)
{
	size_t n = PROGRAM_INSNS_MAX + 1;
	struct bpf_insn *insns = calloc(n, sizeof(*insns));

	(void)state;
	assert_non_null(insns);
	insns[0] = (struct bpf_insn)MOV(0, 1);
	insns[1] = (struct bpf_insn)EXIT;
	assert_int_equal(program_check(insns, n, 1, 1, 1, 2), PROGRAM_UNKNOWN);
	assert_int_equal(program_check(insns, n - 1, 1, 1, 1, 2), PROGRAM_ALLOWS);
	free(insns);
}

/* ---- bytes that are no program, before a page that cannot be read */

static struct bpf_insn *fence(struct bpf_insn *end, const struct bpf_insn *insns, size_t n)
{
	struct bpf_insn *at = end - n;

	memcpy(at, insns, n * sizeof(*insns));
	return at;
}

static struct bpf_insn *fence_new(void)
{
	size_t size = 1 << 16;
	char *at = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(at != MAP_FAILED);
	assert_int_equal(mprotect(at + size, size, PROT_NONE), 0);
	return (struct bpf_insn *)(void *)(at + size);
}

/* What is left of a program answers as the whole, or not at all. */
static void test_cut_programs(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX], *end = fence_new();
	unsigned unknown = 0;

	(void)state;
	for (unsigned style = 0; style < CHAIN_STYLES; style++) {
		size_t whole = chain_build(style, &oci, insns);

		for (size_t n = 0; n < whole; n++)
			for (uint32_t minor = 0; minor < 10; minor++) {
				const struct bpf_insn *at = fence(end, insns, n);
				enum program_answer answer =
					program_check(at, n, DEVICE_CHAR, 1, minor, DEVICE_READ);
				bool all = chain_allows(&oci, DEVICE_CHAR, 1, minor, DEVICE_READ);

				unknown += answer == PROGRAM_UNKNOWN;
				assert_true(answer == PROGRAM_UNKNOWN || answer == answer_of(all));
			}
	}
	assert_true(unknown > 0);
}

static void test_garbage(void **state)
{
	struct bpf_insn insns[CHAIN_INSNS_MAX], *end = fence_new();
	struct chain c = {0};

	(void)state;
	for (unsigned k = 0; k < 20000; k++) {
		size_t n;

		random_chain(&c, 6, true);
		n = chain_build(k % CHAIN_STYLES, &c, insns);
		for (unsigned j = 0; j < 1 + k % 8; j++)
			((uint8_t *)insns)[random_below(n * sizeof(*insns))] = random_below(256);
		n = 1 + random_below(n);
		{
			const struct bpf_insn *at = fence(end, insns, n);
			const struct device_range range = {DEVICE_BOTH, DEVICE_ALL,
				random_number(&c, true), 0, random_below(1000)};
			struct device_rules rules = {0};

			program_check(at, n, DEVICE_CHAR, random_number(&c, true),
				random_number(&c, false), DEVICE_READ);
			program_covers(at, n, &range, DEVICE_ALL);
			if (program_rules(at, n, &rules) < 0)
				assert_null(rules.rule);
			device_rules_done(&rules);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains_answer_as_their_rules),
		cmocka_unit_test(test_rules_answer_as_the_chain),
		cmocka_unit_test(test_lists_of_what_is_allowed_always_have_rules),
		cmocka_unit_test(test_listing_is_readable),
		cmocka_unit_test(test_listing_of_a_container),
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_covers_as_each_device),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_comparisons),
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_what_is_not_known),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_cut_programs),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
