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

static struct device_policy compile(const struct device_rules *r)
{
	struct device_policy p;

	assert_int_equal(device_policy_compile(r, r, DEVICE_POLICY_SIZE_MAX, &p), 0);
	return p;
}

static const uint32_t majors[] = {
	0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 135, 136, 137, 4093, 4094, DEVICE_MAJOR_MAX};
static const uint32_t minors[] = {0, 1, 2, 3, 4, 5, 6, 62, 63, 64, 65, 254, 255, 256, 257, 1048572,
	1048573, 1048574, DEVICE_MINOR_MAX};

/* By every device on either side of where any rule begins or ends. */
static bool covers(const struct device_rules *r, const struct device_range *range, uint8_t access)
{
	for (unsigned i = 0; i < sizeof(majors) / sizeof(majors[0]); i++)
		for (unsigned k = 0; k < sizeof(minors) / sizeof(minors[0]); k++)
			for (uint8_t type = 1; type <= 2; type++)
				if ((range->types & type) &&
					(range->major == DEVICE_ANY || range->major == majors[i]) &&
					range->first <= minors[k] && minors[k] <= range->last &&
					!device_check(r, type, majors[i], minors[k], access))
					return false;
	return true;
}

static void test_covers_is_as_naive(void **state)
{
	unsigned yes = 0, no = 0;

	(void)state;
	seed = 2;
	for (unsigned round = 0; round < 3000; round++) {
		struct device_rules r = draw_rules();
		struct device_policy p = compile(&r);

		for (unsigned i = 0; i < 20; i++) {
			struct device_range range = draw_rule(false, false).range;
			uint8_t access = (uint8_t)draw(8);
			bool is = covers(&r, &range, access);

			if (device_policy_covers(p.data, p.size, &range, access) != is) {
				show(&r);
				fail_msg("types %u %u:%u-%u access %u", range.types, range.major,
					range.first, range.last, access);
			}
			yes += is;
			no += !is;
		}
		device_policy_done(&p);
		device_rules_done(&r);
	}
	assert_true(yes > 5000 && no > 5000);
}

/* A new cgroup's storage. */
static void test_zero_is_no_opinion(void **state)
{
	static const uint32_t zero[60];
	const struct device_range all = {DEVICE_BOTH, DEVICE_ALL, DEVICE_ANY, 0, DEVICE_MINOR_MAX};
	struct device_rules r;

	(void)state;
	assert_true(device_policy_check(zero, sizeof(zero), DEVICE_CHAR, 1, 3, DEVICE_ALL));
	assert_true(device_policy_check(zero, sizeof(zero), DEVICE_BLOCK, 4095, 0, 0));
	assert_true(device_policy_covers(zero, sizeof(zero), &all, DEVICE_ALL));
	assert_int_equal(device_policy_source(zero, sizeof(zero), &r), -ENODATA);
	assert_int_equal(device_policy_source(zero, 0, &r), -ENODATA);
}

/* No rules but a default are an opinion. */
static void test_default_alone(void **state)
{
	(void)state;
	for (unsigned allow = 0; allow < 2; allow++) {
		struct device_rules r = {.allow = allow}, source;
		struct device_policy p = compile(&r);

		assert_int_equal(p.size, 240);
		for (uint8_t access = 0; access <= DEVICE_ALL; access++)
			assert_int_equal(
				device_policy_check(p.data, p.size, DEVICE_CHAR, 1, 3, access),
				allow);
		assert_int_equal(device_policy_source(p.data, p.size, &source), 0);
		assert_int_equal(source.allow, allow);
		assert_int_equal(source.n, 0);
		device_rules_done(&source);
		device_policy_done(&p);
	}
}

static void add(struct device_rules *r, const char *text)
{
	struct device_rule rule;
	bool def;

	assert_int_equal(device_rule_parse(text, &rule, &def, NULL), REASON_OK);
	assert_int_equal(device_rules_add(r, &rule), 0);
}

/* What is written stays, what it means is another thing. */
static void test_names_are_kept(void **state)
{
	struct device_rules r = {}, resolved, source;
	struct device_policy p;

	(void)state;
	add(&r, "allow oci-default rwm");
	add(&r, "allow /dev/fuse rw");
	assert_int_equal(device_rules_resolve(&r, NULL, NULL, &resolved), 0);
	assert_int_equal(device_policy_compile(&r, &resolved, DEVICE_POLICY_SIZE_MAX, &p), 0);
	assert_int_equal(p.size, 240);
	assert_true(device_policy_check(p.data, p.size, DEVICE_CHAR, 1, 3, DEVICE_ALL));
	assert_true(device_policy_check(p.data, p.size, DEVICE_BLOCK, 8, 0, DEVICE_MKNOD));
	assert_false(device_policy_check(p.data, p.size, DEVICE_BLOCK, 8, 0, DEVICE_READ));
	assert_false(device_policy_check(p.data, p.size, DEVICE_CHAR, 10, 229, DEVICE_READ));
	assert_int_equal(device_policy_source(p.data, p.size, &source), 0);
	assert_same_rules(&r, &source);
	device_rules_done(&source);
	device_policy_done(&p);
	device_rules_done(&resolved);
	device_rules_done(&r);
}

/* Rules one by one, no two of them neighbours. */
static struct device_rules many(unsigned n)
{
	struct device_rules r = {};
	struct device_rule rule = {.allow = true,
		.access = DEVICE_ALL,
		.range = {.types = DEVICE_CHAR, .access = DEVICE_ALL}};

	for (unsigned i = 0; i < n; i++) {
		rule.range.major = 1 + i % 512;
		rule.range.first = rule.range.last = i / 512 * 2;
		assert_int_equal(device_rules_add(&r, &rule), 0);
	}
	return r;
}

/* The smallest that fits is taken, and none above `max`. */
static void test_classes(void **state)
{
	static const size_t classes[] = DEVICE_POLICY_CLASSES;
	size_t before = 0;

	(void)state;
	for (unsigned n = 0; n <= DEVICE_RULES_MAX; n += n < 24 ? 1 : 8) {
		struct device_rules r = many(n);
		struct device_policy p = compile(&r), none = {};
		bool known = false;

		for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
			known = known || p.size == classes[i];
		assert_true(known && p.size >= before);
		before = p.size;
		assert_int_equal(device_policy_compile(&r, &r, p.size - 1, &none), -E2BIG);
		assert_null(none.data);
		assert_true(n == 0 || device_policy_check(p.data, p.size, DEVICE_CHAR, 1, 0, 7));
		assert_false(device_policy_check(p.data, p.size, DEVICE_CHAR, 1, 1, 7));
		/* fifteen of them fit the smallest */
		assert_true(n > 15 || p.size == 240);
		device_policy_done(&p);
		device_rules_done(&r);
	}
	assert_int_equal(before, DEVICE_POLICY_SIZE_MAX);
}

static void test_too_large(void **state)
{
	struct device_rule rule = {.allow = true,
		.access = DEVICE_ALL,
		.range = {DEVICE_BLOCK, DEVICE_ALL, DEVICE_ANY, 0, 0}};
	struct device_rules r = {}, names = {};
	struct device_policy p = {};
	unsigned n = 0;

	(void)state;
	/* minors of any major: each a table, and so is what lies between them */
	for (; n < DEVICE_MINORS_MAX; n++) {
		int error;

		rule.range.first = rule.range.last = 3 * n + 1;
		assert_int_equal(device_rules_add(&r, &rule), 0);
		error = device_policy_compile(&r, &r, DEVICE_POLICY_SIZE_MAX, &p);
		assert_true(error == 0 || error == -E2BIG);
		if (error < 0)
			break;
		device_policy_done(&p);
	}
	assert_in_range(n, DEVICE_MINORS_MAX / 2 - 1, DEVICE_MINORS_MAX - 1);
	device_rules_done(&r);
	/* names as long as they may be */
	memset(rule.name, 'x', DEVICE_NAME_MAX);
	memcpy(rule.name, "/dev/", 5);
	for (n = 0; n < 600; n++) {
		rule.name[10] = (char)('a' + n % 26);
		rule.name[11] = (char)('a' + n / 26);
		assert_int_equal(device_rules_add(&names, &rule), 0);
	}
	assert_int_equal(device_policy_compile(&names, &r, DEVICE_POLICY_SIZE_MAX, &p), -E2BIG);
	device_rules_done(&names);
}

/* Bytes that are no policy of ours are never read beyond, which ASan sees, and what is read from
 * them is what is written again. */
static void test_corrupted(void **state)
{
	unsigned refused = 0, read = 0;

	(void)state;
	seed = 4;
	for (unsigned round = 0; round < 20000; round++) {
		struct device_rules r = draw_rules(), source;
		struct device_policy p = compile(&r);
		struct device_range range = draw_rule(false, false).range;
		size_t size = draw(8) ? p.size : draw(300);
		uint8_t *bytes = malloc(size ? size : 1);
		int error;

		assert_non_null(bytes);
		memcpy(bytes, p.data, size < p.size ? size : p.size);
		if (size > p.size)
			memset(bytes + p.size, 0xff, size - p.size);
		for (unsigned i = draw(6); i > 0 && size > 0; i--)
			bytes[draw(draw(2) && size > 28 ? 28 : (uint32_t)size)] =
				(uint8_t)draw(256);
		device_policy_check(bytes, size, DEVICE_CHAR, draw_major(), draw_minor(), 7);
		device_policy_check(bytes, size, DEVICE_BLOCK, draw_major(), draw_minor(), 0);
		device_policy_covers(bytes, size, &range, 7);
		error = device_policy_source(bytes, size, &source);
		assert_true(error == 0 || error == -EINVAL || error == -ENODATA);
		refused += error < 0;
		read += error == 0;
		if (error == 0)
			device_rules_done(&source);
		free(bytes);
		device_policy_done(&p);
		device_rules_done(&r);
	}
	assert_true(refused > 2000 && read > 2000);
}

static void test_refused(void **state)
{
	struct device_rules r = {}, source;
	struct device_policy p;
	uint32_t *words, head;

	(void)state;
	add(&r, "allow fuse rw");
	p = compile(&(struct device_rules){});
	device_policy_done(&p);
	assert_int_equal(device_policy_compile(&r, &(struct device_rules){}, 240, &p), 0);
	words = p.data;
	head = words[DEVICE_POLICY_HEAD];
	assert_int_equal(device_policy_source(p.data, p.size, &source), 0);
	device_rules_done(&source);
	words[DEVICE_POLICY_HEAD] = head + 1; /* another version */
	assert_int_equal(device_policy_source(p.data, p.size, &source), -EINVAL);
	words[DEVICE_POLICY_HEAD] = head | 0x8000; /* an unknown flag */
	assert_int_equal(device_policy_source(p.data, p.size, &source), -EINVAL);
	words[DEVICE_POLICY_HEAD] = head + 0x10000; /* one more rule */
	assert_int_equal(device_policy_source(p.data, p.size, &source), -EINVAL);
	words[DEVICE_POLICY_HEAD] = head - 0x10000; /* one less */
	assert_int_equal(device_policy_source(p.data, p.size, &source), -EINVAL);
	words[DEVICE_POLICY_HEAD] = 0; /* not all is zero */
	assert_int_equal(device_policy_source(p.data, p.size, &source), -EINVAL);
	assert_true(device_policy_check(p.data, p.size, DEVICE_CHAR, 1, 3, 7));
	device_policy_done(&p);
	device_rules_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compiled_is_as_naive),
		cmocka_unit_test(test_covers_is_as_naive),
		cmocka_unit_test(test_zero_is_no_opinion),
		cmocka_unit_test(test_default_alone),
		cmocka_unit_test(test_names_are_kept),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_corrupted),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
