/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device rules: a byte with how, then lines of rules up to a NUL, as people write them or as they
 * are written to devices.allow and devices.deny of v1; then bytes that are taken for a policy.
 */
#include <errno.h>
#include <string.h>

#include "../../daemon/cleanup.h"
#include "../../policy/device-policy.h"
#include "../../policy/device-v1.h"
#include "fuzz.h"

enum how {
	HOW_V1 = 1 << 0,
	HOW_FROM = 1 << 1,	     /* to v1's terms, which takes long */
	HOW_CLASS = 1 << 2 | 1 << 3, /* the largest that may be used */
};

#define LINES_MAX 64

static void check_text(const struct device_rule *rule)
{
	char text[DEVICE_RULE_TEXT_MAX], again[DEVICE_RULE_TEXT_MAX];
	struct device_rule read;
	bool def;

	device_rule_text(rule, text);
	CHECK(device_rule_parse(text, &read, &def, NULL) == REASON_OK && !def);
	device_rule_text(&read, again);
	CHECK(strcmp(text, again) == 0);
	CHECK(rule->access && read.access == rule->access && read.allow == rule->allow);
}

static void take_line(struct device_rules *r, const char *line)
{
	struct device_rule rule;
	const char *why = line;
	bool def = false;
	enum reason reason = device_rule_parse(line, &rule, &def, &why);
	int error;

	if (reason != REASON_OK) {
		CHECK(reason_row(reason)->kind == KIND_INVALID_ARGS && why != line);
		return;
	}
	if (def) {
		r->allow = rule.allow;
		return;
	}
	check_text(&rule);
	error = device_rules_add(r, &rule);
	CHECK(error == 0);
	CHECK(r->rule[r->n - 1].access == rule.access);
}

/* 'P' or 'C' for the parent or the child, '+' or '-' for the file, and what is written. */
static void take_write(struct device_rules *parent, struct device_rules *child, const char *line)
{
	struct device_v1_write w;
	int r;

	if (line[0] == '\0' || line[1] == '\0')
		return;
	r = device_v1_parse(line[1] == '+', line + 2, &w);
	CHECK(r == 0 || r == -EINVAL);
	if (r < 0)
		return;
	if (line[0] == 'C') {
		r = device_v1_apply(child, parent, false, &w);
	} else {
		r = device_v1_apply(parent, NULL, true, &w);
		if (r == 0)
			r = device_v1_propagate(child, parent, &w);
	}
	CHECK(r == 0 || r == -EPERM || r == -EINVAL);
}

static void check_list(const struct device_rules *r)
{
	_cleanup_free_ char *list = device_v1_list(r);
	unsigned lines = 0;

	CHECK(list);
	for (const char *at = list; (at = strchr(at, '\n')); at++)
		lines++;
	CHECK(lines == (r->allow ? 1 : r->n));
}

/* Where the range begins and ends, and beside. */
static void check_range(const struct device_rules *resolved, const struct device_policy *p,
	const struct device_range *r)
{
	uint32_t majors[] = {r->major & DEVICE_MAJOR_MAX, (r->major + 1) & DEVICE_MAJOR_MAX};
	uint32_t minors[] = {r->first & DEVICE_MINOR_MAX, r->last & DEVICE_MINOR_MAX,
		(r->last + 1) & DEVICE_MINOR_MAX, (r->first - 1) & DEVICE_MINOR_MAX};

	for (unsigned k = 0; k < 2 * 2 * 4 * 8; k++) {
		uint8_t type = 1 + k % 2, access = k >> 4 & 7;
		uint32_t major = majors[k >> 1 & 1], minor = minors[k >> 2 & 3];

		CHECK(device_check(resolved, type, major, minor, access) ==
			device_policy_check(p->data, p->size, type, major, minor, access));
	}
}

static void check_verdicts(const struct device_rules *resolved, const struct device_policy *p)
{
	const struct device_range none = {.major = 7};

	check_range(resolved, p, &none);
	for (unsigned i = 0; i < resolved->n; i++)
		check_range(resolved, p, &resolved->rule[i].range);
}

static void check_source(const struct device_rules *r, const void *data, size_t size)
{
	struct device_rules source;

	CHECK(device_policy_source(data, size, &source) == 0);
	CHECK(source.n == r->n && source.allow == r->allow && source.v1 == r->v1);
	for (unsigned i = 0; i < r->n; i++) {
		char one[DEVICE_RULE_TEXT_MAX], two[DEVICE_RULE_TEXT_MAX];

		device_rule_text(&r->rule[i], one);
		device_rule_text(&source.rule[i], two);
		CHECK(strcmp(one, two) == 0);
	}
	device_rules_done(&source);
}

static void check_from(const struct device_rules *resolved)
{
	struct device_rules r;
	int error = device_v1_from(resolved, &r);

	CHECK(error == 0 || error == -EOPNOTSUPP);
	if (error < 0)
		return;
	for (unsigned i = 0; i < resolved->n && i < 8; i++) {
		const struct device_range *range = &resolved->rule[i].range;

		for (unsigned k = 0; k < 16; k++) {
			uint32_t major = (range->major + (k >> 3)) & DEVICE_MAJOR_MAX;

			CHECK(device_check(&r, range->types == 1 ? 1 : 2, major, range->first,
				      k & 7) == device_check(resolved, range->types == 1 ? 1 : 2,
							major, range->first, k & 7));
		}
	}
	device_rules_done(&r);
}

static void check_rules(const struct device_rules *r, uint8_t how)
{
	static const size_t classes[] = DEVICE_POLICY_CLASSES;
	size_t max = how & HOW_CLASS ? classes[(how & HOW_CLASS) >> 2] : DEVICE_POLICY_SIZE_MAX;
	struct device_rules resolved;
	struct device_policy p;
	int error;

	CHECK(device_rules_resolve(r, NULL, NULL, &resolved) == 0);
	error = device_policy_compile(r, &resolved, max, &p);
	CHECK(error == 0 || error == -E2BIG);
	if (error == 0) {
		CHECK(p.size <= max);
		check_source(r, p.data, p.size);
		check_verdicts(&resolved, &p);
		device_policy_done(&p);
	}
	if (how & HOW_FROM)
		check_from(&resolved);
	device_rules_done(&resolved);
}

/* Taken for a policy, whatever it is; what is read from it can be written and read again. */
static void check_bytes(const void *data, size_t size)
{
	const struct device_range range = {DEVICE_BOTH, DEVICE_ALL, DEVICE_ANY, 3, 300};
	struct device_policy p;
	struct device_rules r;
	int error = device_policy_source(data, size, &r);

	for (uint32_t i = 0; i < 64; i++)
		device_policy_check(data, size, 1 + i % 2, i * 67, i * 16661, i % 8);
	device_policy_covers(data, size, &range, DEVICE_READ);
	CHECK(error == 0 || error == -EINVAL || error == -ENODATA);
	if (error < 0)
		return;
	error = device_policy_compile(&r, &(struct device_rules){}, DEVICE_POLICY_SIZE_MAX, &p);
	CHECK(error == 0);
	check_source(&r, p.data, p.size);
	device_policy_done(&p);
	device_rules_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t how = input_byte(&in);
	_cleanup_free_ char *lines = input_text(&in);
	size_t left;
	_cleanup_free_ char *bytes = input_rest(&in, &left);
	struct device_rules r = {.allow = how & HOW_V1, .v1 = how & HOW_V1};
	struct device_rules child = r;
	unsigned n = 0;

	for (char *line = lines, *end; line && n < LINES_MAX; line = end, n++) {
		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		if (how & HOW_V1)
			take_write(&r, &child, line);
		else
			take_line(&r, line);
	}
	check_rules(&r, how);
	if (how & HOW_V1) {
		check_list(&r);
		check_list(&child);
		check_rules(&child, how);
	}
	device_rules_done(&r);
	device_rules_done(&child);
	check_bytes(bytes, left);
	return 0;
}
