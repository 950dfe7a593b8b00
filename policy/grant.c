/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "grant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"

#define BLANKS " \t"
#define UID_NONE ((uid_t)-1)

void grants_done(struct grants *g)
{
	for (unsigned k = 0; k < g->n; k++) {
		free(g->grant[k].pattern);
		free(g->grant[k].device);
		free(g->grant[k].perf);
	}
	free(g->grant);
	*g = (struct grants){0};
}

/* ---- patterns */

/* One component, with `*` for any number of characters. */
static bool component_matches(const char *p, size_t p_len, const char *c, size_t c_len)
{
	size_t i = 0, j = 0, star = p_len, after = 0;

	while (j < c_len) {
		if (i < p_len && p[i] == '*') {
			star = i++;
			after = j;
		} else if (i < p_len && p[i] == c[j]) {
			i++;
			j++;
		} else if (star < p_len) {
			/* the last star takes one character more */
			i = star + 1;
			j = ++after;
		} else {
			return false;
		}
	}
	while (i < p_len && p[i] == '*')
		i++;
	return i == p_len;
}

static bool is_any_depth(const char *p, size_t len)
{
	return len == 2 && memcmp(p, "**", 2) == 0;
}

/* What is behind the component that `text` begins with, and its "/". */
static const char *component_next(const char *text, size_t *ret_len)
{
	*ret_len = strcspn(text, "/");
	return text + *ret_len + (text[*ret_len] == '/');
}

/* As component_matches(), of components: of several `**` the last alone has to be tried again. */
bool grant_pattern_matches(const char *pattern, const char *path)
{
	const char *p = pattern + 1, *c = path + 1, *star = NULL, *after = NULL;
	size_t p_len, c_len;

	if (pattern[0] != '/' || path[0] != '/')
		return false;
	while (*c) {
		const char *p_next = component_next(p, &p_len), *c_next = component_next(c, &c_len);

		if (is_any_depth(p, p_len)) {
			/* in the end at least one */
			if (!*p_next)
				return true;
			star = p = p_next;
			after = c;
		} else if (*p && component_matches(p, p_len, c, c_len)) {
			p = p_next;
			c = c_next;
		} else if (star) {
			p = star;
			c = after = component_next(after, &c_len);
		} else {
			return false;
		}
	}
	return !*p;
}

static int fail(const char *text, const char **why)
{
	*why = text;
	return -EINVAL;
}

/* What no path of a cgroup can match is refused, for somebody meant something by it. */
static int pattern_check(const char *pattern, const char **why)
{
	const char *at = pattern + 1, *next;
	size_t len;

	if (pattern[0] != '/')
		return fail("a pattern begins with /", why);
	if (strlen(pattern) > GRANT_PATTERN_MAX)
		return fail("the pattern is too long", why);
	for (at = pattern; *at; at++)
		if (path_control(at))
			return fail("a control character in a pattern", why);
	for (at = pattern + 1; *at; at = next) {
		next = component_next(at, &len);
		if (len == 0 || (!*next && at[len] == '/'))
			return fail("a pattern ends in / or has two", why);
		if (at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.')))
			return fail("a pattern with . or ..", why);
		for (size_t k = 1; k < len && !is_any_depth(at, len); k++)
			if (at[k] == '*' && at[k - 1] == '*')
				return fail("** stands for whole components alone", why);
	}
	return 0;
}

/* ---- the file */

/* Makes room for one more; false: no memory. */
static bool list_grow(void **list, unsigned n, unsigned *size, size_t one)
{
	unsigned more = n ? 2 * n : 4;
	void *larger;

	if (n < *size)
		return true;
	larger = realloc(*list, more * one);
	if (!larger)
		return false;
	*list = larger;
	*size = more;
	return true;
}

/* "KIND PATTERN": the pattern, or NULL. */
static const char *section_pattern(const char *section, const char *kind)
{
	size_t len = strlen(kind), blanks;

	if (strncmp(section, kind, len) != 0)
		return NULL;
	blanks = strspn(section + len, BLANKS);
	return blanks ? section + len + blanks : NULL;
}

static int grant_new(struct grants *g, const char *pattern, bool perf)
{
	void *list = g->grant;
	struct grant *grant;

	if (!list_grow(&list, g->n, &g->size, sizeof(*g->grant)))
		return -ENOMEM;
	g->grant = list;
	grant = &g->grant[g->n];
	*grant = (struct grant){.any_uid = true, .uid = UID_NONE};
	grant->pattern = malloc(strlen(pattern) + 1);
	grant->perf = perf ? calloc(1, sizeof(*grant->perf)) : NULL;
	if (!grant->pattern || (perf && !grant->perf)) {
		free(grant->pattern);
		free(grant->perf);
		return -ENOMEM;
	}
	memcpy(grant->pattern, pattern, strlen(pattern) + 1);
	g->n++;
	return 0;
}

int grants_section(struct grants *g, const char *section, const char **why)
{
	const char *devices = section_pattern(section, "devices");
	const char *perf = section_pattern(section, "perf");
	const char *pattern = devices ? devices : perf;
	int r;

	if (!pattern)
		return fail("sections are [devices PATTERN] and [perf PATTERN]", why);
	r = pattern_check(pattern, why);
	if (r < 0)
		return r;
	if (g->n == GRANTS_MAX)
		return fail("there are more than 1024 sections", why);
	return grant_new(g, pattern, perf);
}

static int set_uid(struct grant *grant, const char *value, const char **why)
{
	uint64_t uid = 0;
	size_t len = strlen(value);

	if (!grant->any_uid)
		return fail("uid is there twice", why);
	if (len == 0 || len > 10 || strspn(value, "0123456789") != len)
		return fail("uid is a number, as the host has it", why);
	for (const char *at = value; *at; at++)
		uid = uid * 10 + (uint64_t)(*at - '0');
	if (uid >= UID_NONE)
		return fail("uid is too large", why);
	grant->any_uid = false;
	grant->uid = (uid_t)uid;
	return 0;
}

static int set_access(struct grant *grant, const char *value, const char **why)
{
	struct device_rule rule;

	if (grant->access)
		return fail("access is there twice", why);
	if (value[strcspn(value, BLANKS)])
		return fail("access is one to three of r, w and m", why);
	if (device_parse("a", value, &rule, why) != REASON_OK)
		return -EINVAL;
	grant->access = rule.access;
	return 0;
}

static int add_device(struct grant *grant, const char *device, const char **why)
{
	void *list = grant->device;
	struct device_rule rule;

	if (device_parse(device, "rwm", &rule, why) != REASON_OK)
		return fail(*why ? *why : "no device is named in this way", why);
	if (grant->n == GRANT_DEVICES_MAX)
		return fail("there are more than 256 devices", why);
	if (!list_grow(&list, grant->n, &grant->size, sizeof(*grant->device)))
		return -ENOMEM;
	grant->device = list;
	grant->device[grant->n++] = rule;
	return 0;
}

/* Of the devices of a list, which blanks or commas are between, the next: `c 10:229` is one. */
static const char *device_next(const char *at, size_t *ret_len)
{
	size_t len, type;

	at += strspn(at, BLANKS ",");
	len = strcspn(at, BLANKS ",");
	if (len == 1 && strchr("abc", *at)) {
		type = len + strspn(at + len, BLANKS);
		if (at[type] && strchr("0123456789*", at[type]))
			len = type + strcspn(at + type, BLANKS ",");
	}
	*ret_len = len;
	return at;
}

static int add_devices(struct grant *grant, const char *value, const char **why)
{
	char device[DEVICE_RULE_TEXT_MAX];
	unsigned n = 0;
	size_t len;
	int r = 0;

	for (value = device_next(value, &len); r == 0 && len > 0;
		value = device_next(value + len, &len), n++) {
		if (len >= sizeof(device))
			return fail("a device's name is too long", why);
		memcpy(device, value, len);
		device[len] = '\0';
		r = add_device(grant, device, why);
	}
	return r == 0 && n == 0 ? fail("no device", why) : r;
}

static int add_item(struct perf_items *items, const char *text, const char **why)
{
	struct perf_item item;

	if (perf_item_parse(text, &item) < 0)
		return fail(
			"items are cpu, kernel, gpu, power, pmu:NAME, tracepoint:SYSTEM:NAME", why);
	if (perf_items_add(items, &item) < 0)
		return fail("there are more than 64 items", why);
	return 0;
}

static int add_items(struct perf_items *items, const char *value, const char **why)
{
	char text[PERF_ITEM_TEXT_MAX + 1];
	unsigned n = 0;
	size_t len;
	int r = 0;

	for (value += strspn(value, BLANKS ","); r == 0 && *value;
		value += strspn(value, BLANKS ","), n++) {
		len = strcspn(value, BLANKS ",");
		if (len >= sizeof(text))
			return fail("an item's name is too long", why);
		memcpy(text, value, len);
		text[len] = '\0';
		value += len;
		r = add_item(items, text, why);
	}
	return r == 0 && n == 0 ? fail("no item", why) : r;
}

static int perf_key(struct grant *grant, const char *key, const char *value, const char **why)
{
	if (strcmp(key, "grant") == 0)
		return add_items(grant->perf, value, why);
	return fail("the keys of [perf] are uid and grant", why);
}

int grants_key(struct grants *g, const char *key, const char *value, const char **why)
{
	struct grant *grant = g->n ? &g->grant[g->n - 1] : NULL;

	if (!grant)
		return fail("it is in no section", why);
	if (strcmp(key, "uid") == 0)
		return set_uid(grant, value, why);
	if (grant->perf)
		return perf_key(grant, key, value, why);
	if (strcmp(key, "allow") == 0)
		return add_devices(grant, value, why);
	if (strcmp(key, "access") == 0)
		return set_access(grant, value, why);
	return fail("the keys of [devices] are uid, allow and access", why);
}

int grants_section_end(struct grants *g, const char **why)
{
	struct grant *grant = g->n ? &g->grant[g->n - 1] : NULL;

	if (!grant)
		return 0;
	if (grant->perf)
		return grant->perf->n ? 0 : fail("the section grants nothing", why);
	if (!grant->n)
		return fail("the section allows nothing", why);
	if (!grant->access)
		grant->access = DEVICE_ALL;
	for (unsigned k = 0; k < grant->n; k++)
		grant->device[k].access = grant->access;
	return 0;
}

/* ---- questions */

static bool grant_is_for(const struct grant *grant, const char *path, uid_t uid)
{
	return (grant->any_uid || grant->uid == uid) && grant_pattern_matches(grant->pattern, path);
}

int grants_rules(
	const struct grants *g, const char *cgroup_path, uid_t uid, struct device_rules *ret)
{
	struct device_rules rules = {0};
	int r = 0;

	for (unsigned k = 0; k < g->n && r == 0; k++) {
		const struct grant *grant = &g->grant[k];

		for (unsigned j = 0;
			grant_is_for(grant, cgroup_path, uid) && j < grant->n && r == 0; j++)
			r = device_rules_add(&rules, &grant->device[j]);
	}
	if (r < 0)
		device_rules_done(&rules);
	else
		*ret = rules;
	return r;
}

/* One device, and one bit of access to it. */
struct probe {
	uint8_t type, bit;
	uint32_t major, minor;
};

/* The last minor up to which, from the probe's on, it is granted; -1: it is not. */
typedef int64_t (*reach)(const void *userdata, const struct probe *p);

static int64_t rule_reach(const struct device_rule *rule, const struct probe *p)
{
	const struct device_range *r = &rule->range;

	if (!rule->allow || *rule->name || !(r->types & p->type) ||
		!(rule->access & r->access & p->bit) ||
		(r->major != DEVICE_ANY && r->major != p->major) || p->minor < r->first ||
		p->minor > r->last)
		return -1;
	return r->last;
}

static int64_t furthest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t rules_reach(const void *userdata, const struct probe *p)
{
	const struct device_rules *rules = userdata;
	int64_t last = -1;

	for (unsigned k = 0; k < rules->n; k++)
		last = furthest(last, rule_reach(&rules->rule[k], p));
	return last;
}

static bool is_reached(const struct device_range *range, uint8_t type, uint8_t bit, reach reaches,
	const void *userdata)
{
	struct probe p = {type, bit, range->major, range->first};

	for (;;) {
		int64_t last = reaches(userdata, &p);

		if (last < 0)
			return false;
		if (last >= range->last)
			return true;
		p.minor = (uint32_t)last + 1;
	}
}

static bool covers(
	const struct device_range *range, uint8_t access, reach reaches, const void *userdata)
{
	for (uint8_t type = DEVICE_BLOCK; type <= DEVICE_CHAR; type++)
		for (uint8_t bit = DEVICE_MKNOD; bit <= DEVICE_WRITE; bit <<= 1)
			if ((range->types & type) && (range->access & access & bit) &&
				!is_reached(range, type, bit, reaches, userdata))
				return false;
	return true;
}

bool grants_cover(const struct device_rules *granted, const struct device_range *range, unsigned n,
	uint8_t access)
{
	for (unsigned k = 0; k < n; k++)
		if (!covers(&range[k], access, rules_reach, granted))
			return false;
	return n > 0;
}

struct asked {
	const struct grants *grants;
	const char *path;
	uid_t uid;
};

static int64_t grants_reach(const void *userdata, const struct probe *p)
{
	const struct asked *a = userdata;
	int64_t last = -1;

	for (unsigned k = 0; k < a->grants->n; k++) {
		const struct grant *grant = &a->grants->grant[k];

		for (unsigned j = 0; grant_is_for(grant, a->path, a->uid) && j < grant->n; j++)
			last = furthest(last, rule_reach(&grant->device[j], p));
	}
	return last;
}

static uint8_t granted_by_name(const struct asked *a, const char *name)
{
	uint8_t access = 0;

	for (unsigned k = 0; k < a->grants->n; k++) {
		const struct grant *grant = &a->grants->grant[k];

		for (unsigned j = 0; grant_is_for(grant, a->path, a->uid) && j < grant->n; j++)
			if (strcmp(grant->device[j].name, name) == 0)
				access |= grant->device[j].access;
	}
	return access;
}

bool grants_allow(
	const struct grants *g, const char *cgroup_path, uid_t uid, const struct device_rule *rule)
{
	const struct asked a = {g, cgroup_path, uid};

	if (*rule->name)
		return !(rule->access & ~granted_by_name(&a, rule->name));
	return covers(&rule->range, rule->access, grants_reach, &a);
}

int grants_perf(
	const struct grants *g, const char *cgroup_path, uid_t owner, struct perf_items *ret)
{
	struct perf_items items = {0};
	int r = 0;

	for (unsigned k = 0; k < g->n && r == 0; k++)
		if (g->grant[k].perf && grant_is_for(&g->grant[k], cgroup_path, owner))
			r = perf_items_union(&items, g->grant[k].perf);
	if (r == 0)
		*ret = items;
	return r;
}
