/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"

void device_rules_done(struct device_rules *r)
{
	free(r->rule);
	*r = (struct device_rules){};
}

static int reserve(struct device_rules *r, unsigned n)
{
	struct device_rule *grown;
	unsigned size = r->size;

	if (n <= r->size)
		return 0;
	while (size < n)
		size = size ? size * 2 : 16;
	grown = realloc(r->rule, size * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->rule = grown;
	r->size = size;
	return 0;
}

int device_rules_copy(struct device_rules *to, const struct device_rules *from)
{
	struct device_rules copy = {.allow = from->allow, .v1 = from->v1};
	int r = reserve(&copy, from->n);

	if (r < 0)
		return r;
	if (from->n > 0)
		memcpy(copy.rule, from->rule, from->n * sizeof(*copy.rule));
	copy.n = from->n;
	*to = copy;
	return 0;
}

static int append(struct device_rules *r, const struct device_rule *rule, unsigned max)
{
	int error;

	if (r->n >= max)
		return -E2BIG;
	error = reserve(r, r->n + 1);
	if (error < 0)
		return error;
	r->rule[r->n++] = *rule;
	return 0;
}

static bool is_same_range(const struct device_range *a, const struct device_range *b)
{
	return a->types == b->types && a->major == b->major && a->first == b->first &&
	       a->last == b->last && a->access == b->access;
}

static bool is_same_device(const struct device_rule *a, const struct device_rule *b)
{
	if (*a->name || *b->name)
		return strcmp(a->name, b->name) == 0;
	return is_same_range(&a->range, &b->range);
}

/* What the last rule decides anew for the very same devices is not decided by an earlier one. */
static void drop_decided(struct device_rules *r)
{
	const struct device_rule *last = &r->rule[r->n - 1];
	unsigned kept = 0;

	for (unsigned i = 0; i < r->n; i++) {
		if (&r->rule[i] != last && is_same_device(&r->rule[i], last))
			r->rule[i].access &= (uint8_t)~last->access;
		if (!r->rule[i].access)
			continue;
		if (kept < i)
			r->rule[kept] = r->rule[i];
		kept++;
	}
	r->n = kept;
}

/* Will an earlier rule make room for this one? */
static bool replaces(const struct device_rules *r, const struct device_rule *rule)
{
	for (unsigned i = 0; i < r->n && !r->v1; i++)
		if (is_same_device(&r->rule[i], rule) && (r->rule[i].access & ~rule->access) == 0)
			return true;
	return false;
}

int device_rules_add(struct device_rules *r, const struct device_rule *rule)
{
	int error;

	if (r->n >= DEVICE_RULES_MAX && !replaces(r, rule))
		return -E2BIG;
	error = append(r, rule, DEVICE_RULES_MAX + 1);
	if (error < 0)
		return error;
	if (!r->v1)
		drop_decided(r);
	return 0;
}

/* A name may give less of some devices than the rule asks for. */
static int append_range(
	struct device_rules *to, const struct device_rule *rule, const struct device_range *range)
{
	struct device_rule one = {
		.allow = rule->allow,
		.access = rule->access & range->access,
		.range = *range,
	};

	one.range.access = DEVICE_ALL;
	/* only rules of v1 may be for nothing */
	return one.access || to->v1 ? append(to, &one, DEVICE_RESOLVED_MAX) : 0;
}

static int append_fixed(struct device_rules *to, const struct device_rule *rule, const char *text)
{
	struct device_range range;
	const char *driver;
	size_t len;
	int r = 0;

	while (r == 0 && device_form_next(&text, &range, &driver, &len))
		r = append_range(to, rule, &range);
	return r;
}

/* What is not there, or is no device any more, is no device of this name. */
static bool is_nothing(int error)
{
	return error == -ENOENT || error == -ENXIO || error == -ENOTSUP || error == -EINVAL;
}

static int append_named(struct device_rules *to, const struct device_rule *rule,
	device_resolve resolve, void *userdata)
{
	const struct device_form *form = device_form_find(rule->name);
	struct device_range *ranges = NULL;
	unsigned n = 0;
	int r;

	if (form && form->kind == DEVICE_FORM_FIXED)
		return append_fixed(to, rule, form->text);
	r = resolve ? resolve(userdata, rule->name, &ranges, &n) : -ENOENT;
	if (is_nothing(r)) {
		n = 0;
		r = 0;
	}
	for (unsigned i = 0; i < n && r == 0; i++)
		r = append_range(to, rule, &ranges[i]);
	free(ranges);
	return r;
}

int device_rules_resolve(const struct device_rules *r, device_resolve resolve, void *userdata,
	struct device_rules *ret)
{
	struct device_rules out = {.allow = r->allow, .v1 = r->v1};
	int error = 0;

	for (unsigned i = 0; i < r->n && error == 0; i++)
		error = *r->rule[i].name ? append_named(&out, &r->rule[i], resolve, userdata)
					 : append_range(&out, &r->rule[i], &r->rule[i].range);
	if (error < 0) {
		device_rules_done(&out);
		return error;
	}
	*ret = out;
	return 0;
}

static bool matches(const struct device_range *r, uint8_t type, uint32_t major, uint32_t minor)
{
	return (r->types & type) && (r->major == DEVICE_ANY || r->major == major) &&
	       r->first <= minor && minor <= r->last;
}

/* The behaviour ALLOW denies what any exception touches, DENY allows what one exception contains:
 * with access 0, nothing is touched, and all contain it (security/device_cgroup.c, 6.1). */
static bool check_v1(
	const struct device_rules *r, uint8_t type, uint32_t major, uint32_t minor, uint8_t access)
{
	for (unsigned i = 0; i < r->n; i++) {
		uint8_t excepted = r->rule[i].access;

		if (!matches(&r->rule[i].range, type, major, minor))
			continue;
		if (r->allow ? (access & excepted) != 0 : (access & ~excepted) == 0)
			return !r->allow;
	}
	return r->allow;
}

bool device_check(
	const struct device_rules *r, uint8_t type, uint32_t major, uint32_t minor, uint8_t access)
{
	uint8_t allowed = r->allow ? DEVICE_ALL : 0;

	if (r->v1)
		return check_v1(r, type, major, minor, access);
	for (unsigned i = 0; i < r->n; i++) {
		const struct device_rule *rule = &r->rule[i];
		uint8_t bits = rule->access & rule->range.access;

		if (!matches(&rule->range, type, major, minor))
			continue;
		if (rule->allow)
			allowed |= bits;
		else
			allowed &= (uint8_t)~bits;
	}
	if (access == 0)
		return r->allow || allowed != 0;
	return (access & ~allowed) == 0;
}
