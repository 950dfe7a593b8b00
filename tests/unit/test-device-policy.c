/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The compiled form against the naive evaluator, on rules that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../policy/device-policy.h"
#include "../../policy/device.h"

static uint64_t seed = 1;

/* xorshift64*: the same numbers each time */
static uint32_t draw(uint32_t below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dull >> 32) % below);
}

/* Few of each, with the ends, so that rules meet. */
static uint32_t draw_major(void)
{
	static const uint32_t majors[] = {0, 1, 2, 7, 8, 10, 136, 4094, DEVICE_MAJOR_MAX};

	return majors[draw(sizeof(majors) / sizeof(majors[0]))];
}

static uint32_t draw_minor(void)
{
	static const uint32_t minors[] = {
		0, 1, 2, 3, 4, 5, 63, 64, 255, 256, 1048573, 1048574, DEVICE_MINOR_MAX};

	return minors[draw(sizeof(minors) / sizeof(minors[0]))];
}

static struct device_rule draw_rule(bool v1, bool allow)
{
	struct device_rule rule = {
		.allow = v1 ? !allow : draw(2),
		.access = (uint8_t)(1 + draw(DEVICE_ALL)),
		.range = {.types = (uint8_t)(1 + draw(v1 ? 2 : 3)),
			.access = DEVICE_ALL,
			.major = draw(8) ? draw_major() : DEVICE_ANY,
			.last = DEVICE_MINOR_MAX},
	};
	uint32_t how = draw(8), other;

	if (how == 0)
		return rule;
	rule.range.first = rule.range.last = draw_minor();
	if (v1 || how > 2)
		return rule;
	other = draw_minor();
	if (other < rule.range.first)
		rule.range.first = other;
	else
		rule.range.last = other;
	return rule;
}

static struct device_rules draw_rules(void)
{
	struct device_rules r = {.allow = draw(2), .v1 = draw(3) == 0};
	unsigned n = draw(3) ? draw(12) : draw(40);

	for (unsigned i = 0; i < n; i++) {
		struct device_rule rule = draw_rule(r.v1, r.allow);

		assert_int_equal(device_rules_add(&r, &rule), 0);
	}
	return r;
}

static void assert_same_rules(const struct device_rules *a, const struct device_rules *b)
{
	char one[DEVICE_RULE_TEXT_MAX], two[DEVICE_RULE_TEXT_MAX];

	assert_int_equal(a->allow, b->allow);
	assert_int_equal(a->v1, b->v1);
	assert_int_equal(a->n, b->n);
	for (unsigned i = 0; i < a->n; i++) {
		device_rule_text(&a->rule[i], one);
		device_rule_text(&b->rule[i], two);
		assert_string_equal(one, two);
		assert_int_equal(a->rule[i].range.access, b->rule[i].range.access);
	}
}

static void show(const struct device_rules *r)
{
	char text[DEVICE_RULE_TEXT_MAX];

	device_default_text(r, text);
	print_message("%s%s\n", text, r->v1 ? " (v1)" : "");
	for (unsigned i = 0; i < r->n; i++) {
		device_rule_text(&r->rule[i], text);
		print_message("%s\n", text);
	}
}

static uint32_t near(uint32_t number, uint32_t max)
{
	uint32_t by = draw(4);

	if (by == 1 && number > 0)
		return number - 1;
	if (by == 2 && number < max)
		return number + 1;
	return number;
}

static void compare(const struct device_rules *r, const struct device_policy *p, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		uint8_t type = (uint8_t)(1 + draw(2)), access = (uint8_t)draw(8);
		uint32_t major = near(draw_major(), DEVICE_MAJOR_MAX);
		uint32_t minor = near(draw_minor(), DEVICE_MINOR_MAX);

		if (device_check(r, type, major, minor, access) ==
			device_policy_check(p->data, p->size, type, major, minor, access))
			continue;
		show(r);
		fail_msg("type %u %u:%u access %u", type, major, minor, access);
	}
}

static void test_compiled_is_as_naive(void **state)
{
	(void)state;
	seed = 1;
	for (unsigned round = 0; round < 10000; round++) {
		struct device_rules r = draw_rules(), source;
		struct device_policy p, again;

		assert_int_equal(device_policy_compile(&r, &r, DEVICE_POLICY_SIZE_MAX, &p), 0);
		compare(&r, &p, 100);
		assert_int_equal(device_policy_source(p.data, p.size, &source), 0);
		assert_same_rules(&r, &source);
		/* what was read makes the same bytes */
		assert_int_equal(
			device_policy_compile(&source, &source, DEVICE_POLICY_SIZE_MAX, &again), 0);
		assert_int_equal(p.size, again.size);
		assert_memory_equal(p.data, again.data, p.size);
		device_policy_done(&p);
		device_policy_done(&again);
		device_rules_done(&r);
		device_rules_done(&source);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compiled_is_as_naive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
