/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device-source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
	const uint8_t *at, *end;
};

struct room {
	uint8_t *at, *end;
	bool full;
};

static void put_byte(struct room *to, uint8_t byte)
{
	if (to->at == to->end)
		to->full = true;
	else
		*to->at++ = byte;
}

static void put_number(struct room *to, uint32_t number)
{
	for (; number > 0x7f; number >>= 7)
		put_byte(to, (uint8_t)(number | 0x80));
	put_byte(to, (uint8_t)number);
}

static enum device_source_form form_of(const struct device_rule *rule)
{
	const struct device_range *r = &rule->range;

	if (*rule->name)
		return DEVICE_SOURCE_NAME;
	if (r->major == DEVICE_ANY)
		return DEVICE_SOURCE_RANGE;
	if (r->first == r->last)
		return DEVICE_SOURCE_ONE;
	if (r->first == 0 && r->last == DEVICE_MINOR_MAX)
		return DEVICE_SOURCE_MAJOR;
	return DEVICE_SOURCE_RANGE;
}

static void put_rule(struct room *to, const struct device_rule *rule)
{
	enum device_source_form form = form_of(rule);
	const struct device_range *r = &rule->range;
	uint8_t types = form == DEVICE_SOURCE_NAME ? 0 : r->types;
	size_t len = strlen(rule->name);

	put_byte(to,
		(uint8_t)(rule->allow | (rule->access & DEVICE_ALL) << 1 | types << 4 | form << 6));
	switch (form) {
	case DEVICE_SOURCE_NAME:
		put_byte(to, (uint8_t)len);
		for (size_t i = 0; i < len; i++)
			put_byte(to, (uint8_t)rule->name[i]);
		break;
	case DEVICE_SOURCE_ONE:
		put_number(to, r->major);
		put_number(to, r->first);
		break;
	case DEVICE_SOURCE_MAJOR:
		put_number(to, r->major);
		break;
	case DEVICE_SOURCE_RANGE:
		put_number(to, r->major + 1); /* DEVICE_ANY becomes 0 */
		put_number(to, r->first);
		put_number(to, r->last);
		break;
	}
}

int device_source_put(const struct device_rules *r, uint8_t *buf, size_t size, size_t *ret_used)
{
	struct room to = {buf, buf + size, false};

	for (unsigned i = 0; i < r->n && !to.full; i++)
		put_rule(&to, &r->rule[i]);
	if (to.full)
		return -E2BIG;
	*ret_used = (size_t)(to.at - buf);
	return 0;
}

static bool get_byte(struct bytes *from, uint8_t *ret)
{
	if (from->at == from->end)
		return false;
	*ret = *from->at++;
	return true;
}

static bool get_number(struct bytes *from, uint32_t *ret)
{
	uint64_t number = 0;
	uint8_t byte;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		if (!get_byte(from, &byte))
			return false;
		number |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		*ret = (uint32_t)number;
		/* as put_number() writes it, and no longer way */
		return number <= UINT32_MAX && (byte != 0 || shift == 0);
	}
	return false;
}

static bool get_name(struct bytes *from, char *name)
{
	uint8_t len;

	if (!get_byte(from, &len) || len == 0 || len > DEVICE_NAME_MAX ||
		len > from->end - from->at || memchr(from->at, '\0', len))
		return false;
	memcpy(name, from->at, len);
	name[len] = '\0';
	from->at += len;
	return device_name_valid(name);
}

static bool get_range(struct bytes *from, enum device_source_form form, struct device_range *r)
{
	if (r->types == 0 || !get_number(from, &r->major))
		return false;
	switch (form) {
	case DEVICE_SOURCE_ONE:
		if (!get_number(from, &r->first))
			return false;
		r->last = r->first;
		return true;
	case DEVICE_SOURCE_MAJOR:
		r->first = 0;
		r->last = DEVICE_MINOR_MAX;
		return true;
	case DEVICE_SOURCE_RANGE:
		r->major--;
		return get_number(from, &r->first) && get_number(from, &r->last) &&
		       r->first <= r->last;
	default:
		return false;
	}
}

static bool get_rule(struct bytes *from, struct device_rule *ret)
{
	struct device_rule rule = {.range.access = DEVICE_ALL};
	enum device_source_form form;
	uint8_t byte;

	if (!get_byte(from, &byte))
		return false;
	form = byte >> 6;
	rule.allow = byte & 1;
	rule.access = byte >> 1 & DEVICE_ALL;
	rule.range.types = byte >> 4 & DEVICE_BOTH;
	if (form == DEVICE_SOURCE_NAME) {
		if (rule.range.types != 0 || !get_name(from, rule.name))
			return false;
	} else if (!get_range(from, form, &rule.range)) {
		return false;
	}
	*ret = rule;
	/* one way to write each */
	return form_of(ret) == form;
}

int device_source_get(const uint8_t *buf, size_t size, unsigned n, struct device_rules *r)
{
	struct bytes from = {buf, buf + size};

	if (n > DEVICE_RULES_MAX)
		return -EINVAL;
	r->rule = calloc(n ? n : 1, sizeof(*r->rule));
	if (!r->rule)
		return -ENOMEM;
	r->size = n ? n : 1;
	for (r->n = 0; r->n < n; r->n++) {
		struct device_rule *rule = &r->rule[r->n];

		if (!get_rule(&from, rule))
			return -EINVAL;
		/* exceptions are of the other kind, and only rules of v1 may be for nothing */
		if (r->v1 ? rule->allow == r->allow || *rule->name : rule->access == 0)
			return -EINVAL;
	}
	return from.at == from.end ? 0 : -EINVAL;
}
