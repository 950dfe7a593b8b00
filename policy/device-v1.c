/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device-v1.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel's isspace(), with the no-break space of Latin-1 (lib/ctype.c). */
static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '\xa0';
}

/* Up to 11 digits, of which 32 bits must be enough; DEVICE_ANY written as a number is any, too. */
static bool take_number(const char **text, uint32_t *ret)
{
	uint64_t value = 0;
	unsigned digits = 0;

	if (**text == '*') {
		(*text)++;
		*ret = DEVICE_ANY;
		return true;
	}
	for (; **text >= '0' && **text <= '9' && digits < 11; (*text)++, digits++)
		value = value * 10 + (uint64_t)(**text - '0');
	if (digits == 0 || value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* Three letters at most; what follows is never looked at. An end of line or of the text ends it,
 * at once too: then it is for no access. */
static bool take_access(const char *text, const char *end, uint8_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < 3 && text + i < end && text[i] != '\n'; i++) {
		if (text[i] == 'r')
			*ret |= DEVICE_READ;
		else if (text[i] == 'w')
			*ret |= DEVICE_WRITE;
		else if (text[i] == 'm')
			*ret |= DEVICE_MKNOD;
		else
			return false;
	}
	return true;
}

int device_v1_parse(bool allow, const char *text, struct device_v1_write *ret)
{
	struct device_v1_write w = {.allow = allow};
	const char *end;

	while (is_space(*text))
		text++;
	for (end = text + strlen(text); end > text && is_space(end[-1]);)
		end--;
	if (*text == 'a') {
		w.all = true;
		*ret = w;
		return 0;
	}
	w.type = *text == 'b' ? DEVICE_BLOCK : *text == 'c' ? DEVICE_CHAR : 0;
	/* a space that was stripped is no space */
	if (!w.type || text + 1 == end || !is_space(text[1]))
		return -EINVAL;
	text += 2;
	if (!take_number(&text, &w.major) || *text++ != ':' || !take_number(&text, &w.minor) ||
		text == end || !is_space(*text) || !take_access(text + 1, end, &w.access))
		return -EINVAL;
	*ret = w;
	return 0;
}

static struct device_range range_of(const struct device_v1_write *w)
{
	bool any = w->minor == DEVICE_ANY;

	return (struct device_range){
		.types = w->type,
		.access = DEVICE_ALL,
		.major = w->major,
		.first = any ? 0 : w->minor,
		.last = any ? DEVICE_MINOR_MAX : w->minor,
	};
}

static bool is_any_minor(const struct device_range *r)
{
	return r->first != r->last;
}

static bool is_same(const struct device_range *a, const struct device_range *b)
{
	return a->types == b->types && a->major == b->major && a->first == b->first &&
	       a->last == b->last;
}

static bool contains(const struct device_range *outer, const struct device_range *inner)
{
	return outer->types == inner->types &&
	       (outer->major == DEVICE_ANY || outer->major == inner->major) &&
	       (is_any_minor(outer) || is_same(&(struct device_range){inner->types, DEVICE_ALL,
						       inner->major, outer->first, outer->last},
					       inner));
}

static bool overlaps(const struct device_range *a, const struct device_range *b)
{
	return a->types == b->types &&
	       (a->major == DEVICE_ANY || b->major == DEVICE_ANY || a->major == b->major) &&
	       (is_any_minor(a) || is_any_minor(b) || a->first == b->first);
}

/* Does one exception contain all of it? */
static bool is_contained(
	const struct device_rules *r, const struct device_range *range, uint8_t access)
{
	for (unsigned i = 0; i < r->n; i++)
		if (contains(&r->rule[i].range, range) && (access & ~r->rule[i].access) == 0)
			return true;
	return false;
}

/* Does any exception touch some of it? */
static bool is_touched(
	const struct device_rules *r, const struct device_range *range, uint8_t access)
{
	for (unsigned i = 0; i < r->n; i++)
		if (overlaps(&r->rule[i].range, range) && (access & r->rule[i].access))
			return true;
	return false;
}

/* May a cgroup with this behaviour have the exception, below that parent? */
static bool parent_has(const struct device_rules *parent, bool behaviour_allow,
	const struct device_range *range, uint8_t access)
{
	if (!parent->allow)
		return is_contained(parent, range, access);
	/* a child of behaviour ALLOW only gives up more */
	return behaviour_allow || !is_touched(parent, range, access);
}

static int add(struct device_rules *own, const struct device_range *range, uint8_t access)
{
	struct device_rule rule = {.allow = !own->allow, .access = access, .range = *range};

	for (unsigned i = 0; i < own->n; i++)
		if (is_same(&own->rule[i].range, range)) {
			own->rule[i].access |= access;
			return 0;
		}
	/* the kernel's list has no end but its memory */
	return device_rules_add(own, &rule) < 0 ? -ENOMEM : 0;
}

static void subtract(struct device_rules *own, const struct device_range *range, uint8_t access)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < own->n; i++) {
		if (is_same(&own->rule[i].range, range)) {
			own->rule[i].access &= (uint8_t)~access;
			if (!own->rule[i].access)
				continue;
		}
		own->rule[kept++] = own->rule[i];
	}
	own->n = kept;
}

static int apply_all(struct device_rules *own, const struct device_rules *parent, bool has_children,
	const struct device_v1_write *w)
{
	struct device_rules now = {.v1 = true};
	int r;

	if (has_children)
		return -EINVAL;
	if (w->allow && parent && !parent->allow)
		return -EPERM;
	if (w->allow && parent) {
		r = device_rules_copy(&now, parent);
		if (r < 0)
			return r;
	}
	now.allow = w->allow;
	now.v1 = true;
	device_rules_done(own);
	*own = now;
	return 0;
}

int device_v1_apply(struct device_rules *own, const struct device_rules *parent, bool has_children,
	const struct device_v1_write *w)
{
	struct device_range range = range_of(w);

	if (w->all)
		return apply_all(own, parent, has_children, w);
	if (!w->allow && own->allow)
		return add(own, &range, w->access);
	if (!w->allow) {
		subtract(own, &range, w->access);
		return 0;
	}
	if (own->allow) {
		/* no part of what the parent denies is given back */
		if (parent && is_touched(parent, &range, w->access))
			return -EPERM;
		subtract(own, &range, w->access);
		return 0;
	}
	if (parent && !parent_has(parent, false, &range, w->access))
		return -EPERM;
	return add(own, &range, w->access);
}

int device_v1_propagate(struct device_rules *own, const struct device_rules *parent,
	const struct device_v1_write *w)
{
	struct device_range range = range_of(w);
	unsigned kept = 0;
	int r = 0;

	/* "a" is refused where there are children. With behaviour ALLOW, all above have it too. */
	if (w->all || w->allow)
		return 0;
	if (own->allow)
		r = add(own, &range, w->access);
	else
		subtract(own, &range, w->access);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < own->n; i++)
		if (parent_has(parent, own->allow, &own->rule[i].range, own->rule[i].access))
			own->rule[kept++] = own->rule[i];
	own->n = kept;
	return 0;
}

/* "c 4294967295:4294967295 rwm\n" */
#define LINE_MAX_V1 32

char *device_v1_list(const struct device_rules *own)
{
	size_t size = (own->allow ? 1 : own->n) * LINE_MAX_V1 + 1, len = 0;
	char *text = calloc(1, size);

	if (!text)
		return NULL;
	if (own->allow) {
		snprintf(text, size, "a *:* rwm\n");
		return text;
	}
	for (unsigned i = 0; i < own->n; i++) {
		const struct device_rule *rule = &own->rule[i];
		char major[16] = "*", minor[16] = "*";

		if (rule->range.major != DEVICE_ANY)
			snprintf(major, sizeof(major), "%u", rule->range.major);
		if (!is_any_minor(&rule->range))
			snprintf(minor, sizeof(minor), "%u", rule->range.first);
		len += (size_t)snprintf(text + len, size - len, "%c %s:%s %s%s%s\n",
			rule->range.types == DEVICE_BLOCK ? 'b' : 'c', major, minor,
			rule->access & DEVICE_READ ? "r" : "",
			rule->access & DEVICE_WRITE ? "w" : "",
			rule->access & DEVICE_MKNOD ? "m" : "");
	}
	return text;
}
