/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/devices.h"
#include "cleanup.h"
#include "devices-v1.h"
#include "devname.h"
#include "facts.h"
#include "gather.h"
#include "governed.h"
#include "manager.h"

struct device_call *device_call_free(struct device_call *c)
{
	if (!c)
		return NULL;
	device_rules_done(&c->rules);
	device_rules_done(&c->resolved);
	for (unsigned i = 0; i < c->n_own; i++)
		devway_free(c->own[i]);
	free(c);
	return NULL;
}

struct device_change *device_change_free(struct device_change *c)
{
	if (!c)
		return NULL;
	devlock_put(&c->lock);
	devway_free(c->way);
	free(c->facts);
	device_change_v1_free(c->v1);
	device_policy_done(&c->before);
	device_policy_done(&c->after);
	free(c);
	return NULL;
}

/*
 * The words.
 */

static enum reason rules_error(int r)
{
	return r >= 0 ? REASON_OK : r == -E2BIG ? REASON_DEVICE_MANY : REASON_INTERNAL;
}

/* A list that allows something and says nothing of the rest means that alone; one that only denies
 * means no more than that. */
static enum reason rules_parse(const char **text, struct device_rules *ret, const char **why)
{
	bool said = false, allows = false;

	for (; text && *text; text++) {
		struct device_rule rule;
		bool is_default = false;
		enum reason reason = device_rule_parse(*text, &rule, &is_default, why);

		if (reason != REASON_OK)
			return reason;
		if (is_default) {
			said = true;
			ret->allow = rule.allow;
			continue;
		}
		allows |= rule.allow;
		reason = rules_error(device_rules_add(ret, &rule));
		if (reason != REASON_OK)
			return reason;
	}
	if (!said)
		ret->allow = !allows;
	return REASON_OK;
}

static enum device_verb verb_of(const struct method *method)
{
	switch (method->id) {
	case METHOD_SetDevices:
		return DEVICE_VERB_SET;
	case METHOD_DenyDevices:
	case METHOD_RemoveDevice:
		return DEVICE_VERB_DENY;
	default:
		return DEVICE_VERB_ALLOW;
	}
}

static enum reason words_parse(struct op *op, struct device_call *c, const char **why)
{
	const struct request *q = &op->request;
	struct device_rule rule;
	enum reason reason;

	if (q->method->id == METHOD_SetDevices) {
		c->clears = !q->rules || !q->rules[0];
		return rules_parse(q->rules, &c->rules, why);
	}
	if (q->method->id == METHOD_ListGpus || q->method->id == METHOD_ListDevices)
		return REASON_OK;
	reason = device_parse(
		q->device ? q->device : q->name, q->access ? q->access : "rwm", &rule, why);
	if (reason != REASON_OK)
		return reason;
	rule.allow = c->verb != DEVICE_VERB_DENY;
	return rules_error(device_rules_add(&c->rules, &rule));
}

enum reason devices_question(struct op *op)
{
	const char *why = NULL;
	enum reason reason;

	op->devices = calloc(1, sizeof(*op->devices));
	if (!op->devices)
		return REASON_INTERNAL;
	op->devices->verb = verb_of(op->request.method);
	reason = words_parse(op, op->devices, &why);
	if (reason != REASON_OK && why)
		op->reply.detail = strdup(why);
	op->question.clears = op->devices->clears;
	op->question.grantable = op->devices->verb == DEVICE_VERB_ALLOW;
	op->question.gives_node = op->request.method->id == METHOD_AddDevice;
	return reason;
}

/*
 * Names.
 */

/* What the requestor's own cgroups may have, wherever they are. */
static enum reason own_read(struct op *op)
{
	struct device_call *c = op->devices;
	int r = gather_host_root(op, &op->who, &op->targets[0], &c->host_root);

	for (unsigned i = 0; r >= 0 && !c->host_root && i < op->n_targets; i++) {
		const struct target *t = &op->targets[i];

		/* Without a place nothing is known of where it stands there. */
		if (c->n_own == 2 || !t->facts.place || !hierarchy_governs_devices(t->h))
			continue;
		r = devway_read(
			op->manager, t->h, t->who.own, -EBADF, DEVWAY_READ, &c->own[c->n_own]);
		c->n_own += r >= 0;
	}
	c->own_known = r >= 0;
	return r < 0 ? gather_error(r) : REASON_OK;
}

/* That a node may be made says nothing of a device: all containers may make all. */
bool devices_visible(struct op *op, const struct device_range *range)
{
	const struct device_call *c = op->devices;
	bool reads = c->own_known, writes = c->own_known;

	for (unsigned i = 0; !c->host_root && i < c->n_own; i++) {
		reads &= devway_allows(c->own[i], range, DEVICE_READ, NULL, NULL) != NO;
		writes &= devway_allows(c->own[i], range, DEVICE_WRITE, NULL, NULL) != NO;
	}
	return reads || writes;
}

enum reason devices_own_prepare(struct op *op, struct target *t)
{
	(void)t;
	return op->devices->own_known ? REASON_OK : own_read(op);
}

static enum reason resolve_error(const struct op *op, int r)
{
	/* What lies in the host's /dev is its own affair. */
	if (!op->devices->host_root && (r == -ENOTSUP || r == -ENXIO))
		r = -ENOENT;
	switch (r) {
	case -ENOENT:
		return REASON_DEVICE_MISSING;
	case -ENOTSUP:
		return REASON_DEVICE_PATH;
	case -ENXIO:
		return REASON_DEVICE_NODE;
	case -EINVAL:
		return REASON_DEVICE_NAME;
	case -E2BIG:
		return REASON_DEVICE_MANY;
	default:
		return REASON_INTERNAL;
	}
}

/* Names that say of the host what is there; the rest are numbers that everybody knows. */
static bool is_telling(const char *name)
{
	const struct device_form *form = device_form_find(name);

	return form && form->kind != DEVICE_FORM_FIXED;
}

/* Names of one card or node: where it is not, the name is wrong; others stand for none. */
static bool is_one(const char *name)
{
	const struct device_form *form = device_form_find(name);

	return form && (form->kind == DEVICE_FORM_PATH || strstr(form->form, "<ADDRESS>") ||
			       strstr(form->form, "<N>"));
}

static enum reason range_append(
	const struct device_rule *rule, const struct device_range *range, struct device_rules *ret)
{
	struct device_rule one = {.allow = rule->allow, .range = *range};

	one.access = rule->access & range->access;
	one.range.access = DEVICE_ALL;
	return one.access ? rules_error(device_rules_add(ret, &one)) : REASON_OK;
}

/* What it may be given it may know of. */
static bool any_granted(
	struct op *op, const struct device_rule *rule, const struct device_range *range)
{
	for (unsigned i = 0; i < op->n_targets; i++)
		if (op->targets[i].reason == REASON_OK &&
			devices_granted(op, &op->targets[i], rule, range, 1))
			return true;
	return false;
}

enum reason devices_ranges(struct op *op, const struct device_rule *rule, struct device_rules *ret)
{
	_cleanup_free_ struct device_range *range = NULL;
	enum reason reason = REASON_OK;
	unsigned n = 0, seen = 0;
	bool tells;
	int r;

	if (!rule->name[0])
		return range_append(rule, &rule->range, ret);
	tells = is_telling(rule->name);
	if (tells)
		reason = devices_own_prepare(op, NULL);
	if (reason != REASON_OK)
		return reason;
	r = devname_ranges(op->manager->devnames, rule->name, &range, &n);
	if (r < 0)
		return resolve_error(op, r);
	for (unsigned i = 0; reason == REASON_OK && i < n; i++) {
		if (tells && !devices_visible(op, &range[i]) && !any_granted(op, rule, &range[i]))
			continue;
		seen++;
		reason = range_append(rule, &range[i], ret);
	}
	/* Of what only some is not to be had, that is left out. If it is all, the answer is that of
	 * a host that has none. */
	return reason == REASON_OK && n > 0 && seen == 0 && is_one(rule->name)
		       ? REASON_DEVICE_MISSING
		       : reason;
}

enum reason devices_prepare(struct op *op, struct target *t)
{
	struct device_call *c = op->devices;
	enum reason reason = REASON_OK;

	if (c->is_resolved)
		return REASON_OK;
	c->resolved.allow = c->rules.allow;
	for (unsigned i = 0; reason == REASON_OK && i < c->rules.n; i++) {
		reason = devices_ranges(op, &c->rules.rule[i], &c->resolved);
		if (reason != REASON_OK && c->rules.n > 1)
			target_detail(t, reason, "%s", c->rules.rule[i].name);
	}
	c->is_resolved = reason == REASON_OK;
	return reason;
}

/*
 * Facts.
 */

static enum tri ours_cover(const struct devway_level *l, const struct device_rules *wanted)
{
	for (unsigned i = 0; i < wanted->n; i++)
		if (wanted->rule[i].allow &&
			devway_ours(l, &wanted->rule[i].range, wanted->rule[i].access) == NO)
			return NO;
	return YES;
}

static enum tri others_cover(const struct devway_level *l, const struct device_rules *wanted)
{
	enum tri answer = YES;

	for (unsigned i = 0; i < wanted->n && answer != NO; i++) {
		enum tri one;

		if (!wanted->rule[i].allow)
			continue;
		one = devway_others(l, &wanted->rule[i].range, wanted->rule[i].access, NULL);
		answer = one == YES ? answer : one;
	}
	return answer;
}

static bool any_allowed(const struct device_rules *r)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->rule[i].allow)
			return true;
	return false;
}

static int facts_v2(const struct device_call *call, struct device_change *c)
{
	c->facts = calloc(c->way->n, sizeof(*c->facts));
	if (!c->facts)
		return -ENOMEM;
	c->n_facts = c->way->n;
	for (unsigned i = 0; i < c->n_facts; i++) {
		const struct devway_level *l = &c->way->level[i];

		c->facts[i].flags_ok = devprog_ancestor_allows(&l->attached);
		/* The target's own are what changes. */
		c->facts[i].ours = i + 1 == c->n_facts ? YES : ours_cover(l, &call->resolved);
		c->facts[i].others = others_cover(l, &call->resolved);
	}
	return 0;
}

static void rules_donep(struct device_rules *r)
{
	device_rules_done(r);
}

#define _cleanup_rules_ __attribute__((cleanup(rules_donep)))

int devices_compile(struct manager *m, const struct device_rules *rules, struct device_policy *ret)
{
	_cleanup_rules_ struct device_rules resolved = {0};
	int r = device_rules_resolve(rules, devname_ranges, m->devnames, &resolved);

	return r < 0 ? r
		     : device_policy_compile(rules, &resolved, devprog_policy_max(m->devprog), ret);
}

static int rules_join(struct device_rules *to, const struct device_rules *from)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < from->n; i++)
		r = device_rules_add(to, &from->rule[i]);
	return r;
}

/* The cgroup's rules as they shall be. From here on people's: the last that matches decides. */
static int rules_wanted(
	const struct device_call *call, const struct devway_level *own, struct device_rules *ret)
{
	int r;

	if (call->verb == DEVICE_VERB_SET)
		return device_rules_copy(ret, &call->rules);
	r = devway_rules(own, ret);
	ret->v1 = false;
	return r < 0 ? r : rules_join(ret, &call->rules);
}

static int plan_v2(struct op *op, struct target *t, struct device_change *c)
{
	const struct device_call *call = op->devices;
	struct devway_level *own = &c->way->level[c->way->n - 1];
	_cleanup_rules_ struct device_rules rules = {0};
	int r = 0;

	if (!own->policy.data)
		r = devprog_policy_read(
			op->manager->devprog, t->dir_fd, &own->attached, &own->policy);
	if (r >= 0 && !call->clears)
		r = rules_wanted(call, own, &rules);
	/* To allow something where all is allowed needs no policy. */
	if (r >= 0 && !call->clears && (own->policy.data || call->verb != DEVICE_VERB_ALLOW))
		r = devices_compile(op->manager, &rules, &c->after);
	if (r < 0)
		return r;
	c->before = own->policy;
	own->policy = (struct device_policy){0};
	c->same = device_policy_same(&c->before, &c->after);
	return 0;
}

static bool is_ours(const struct devway *w, size_t len)
{
	for (unsigned i = 0; i < w->n; i++)
		for (unsigned k = 0; w->level[i].len == len && k < w->level[i].attached.n; k++)
			if (w->level[i].attached.one[k].ours)
				return true;
	return false;
}

/* What was detached from the target or from a cgroup between it and the base is attached again now,
 * or what is planned would be planned without it. */
static bool any_missed(
	const struct op *op, const struct target *t, const struct devway *w, bool locked)
{
	unsigned depth = path_depth(w->path), n = t->place.n;
	bool any = false;

	for (unsigned i = 0; i < n && i <= depth; i++)
		if (!is_ours(w, path_prefix(w->path, depth - i)))
			any |= governed_miss(op->manager->governed, t->way[n - 1 - i].id, locked);
	return any;
}

int devices_way(struct op *op, struct target *t, const char *path, unsigned flags, bool locked,
	struct devway **ret)
{
	int r = devway_read(op->manager, t->h, path, t->dir_fd, flags, ret);

	if (r < 0 || !t->h->v2 || t->place.missing > 0 || !any_missed(op, t, *ret, locked))
		return r;
	*ret = devway_free(*ret);
	return devway_read(op->manager, t->h, path, t->dir_fd, flags, ret);
}

static int gather_v2(struct op *op, struct target *t, struct device_change *c)
{
	const struct device_call *call = op->devices;
	unsigned flags = any_allowed(&call->resolved) ? DEVWAY_READ | DEVWAY_KEEP : 0;
	char path[PATH_TEXT_MAX + 1];
	const char *all;
	int r = target_path(t, path) ? 0 : -ENAMETOOLONG;

	if (r >= 0 && !call->clears && governed_full(op->manager->governed, op->account))
		r = -EDQUOT;
	/* What is granted may change cgroups above, too. */
	all = op->question.grantable && op->manager->grants.n > 0 ? "/" : path;
	if (r >= 0)
		r = devlock_try(op->manager->devlocks, &c->lock, all, op->account == 0 ? all : path,
			op->account == 0);
	if (r >= 0)
		r = devices_way(op, t, path, flags, true, &c->way);
	if (r >= 0)
		r = facts_v2(call, c);
	return r < 0 ? r : plan_v2(op, t, c);
}

/* Whether the parent allows it the kernel says, and here its rules as they are known. */
static int gather_v1(struct op *op, struct target *t, struct device_change *c)
{
	int r;

	c->facts = calloc(1, sizeof(*c->facts));
	if (!c->facts)
		return -ENOMEM;
	c->n_facts = 1;
	r = devices_plan_v1_target(op, t, &c->v1);
	c->facts[0] = (struct device_level){
		.flags_ok = true, .ours = r == -EPERM ? NO : YES, .others = YES};
	return r == -EPERM ? 0 : r;
}

/* What the change cannot be, whoever asks. */
static bool plan_fail(struct target *t, int r)
{
	switch (r) {
	case -E2BIG:
		t->reason = REASON_DEVICE_MANY;
		return true;
	case -EOPNOTSUPP:
		t->reason = REASON_DEVICE_V1;
		return true;
	case -EDQUOT:
		t->reason = REASON_QUOTA;
		return true;
	case -EBUSY:
		t->reason = t->h->v2 ? REASON_DEVICE_BUSY : REASON_BUSY;
		if (!t->h->v2)
			target_detail(t, REASON_BUSY,
				"cgroup v1 goes from all devices to some, or back, only without "
				"children");
		return true;
	}
	return false;
}

int devices_gather(struct op *op, struct target *t)
{
	struct device_change *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	device_change_free(t->change);
	t->change = c;
	r = t->h->v2 ? gather_v2(op, t, c) : gather_v1(op, t, c);
	if (r < 0 && !plan_fail(t, r))
		return r;
	t->facts.devices = c->facts;
	t->facts.n_devices = c->n_facts;
	t->facts.have |= FACT_DEVICES;
	return 0;
}

/*
 * Words for people.
 */

const char *devices_place(const struct target *t, const struct devway *w, unsigned level, char *buf)
{
	size_t len = w->level[level].len, top = t->scope_len;

	buf[0] = '\0';
	if (len < top)
		return buf;
	if (top == 1)
		top = 0;
	memcpy(buf, w->path + top, len - top);
	buf[len - top] = '\0';
	if (!buf[0])
		strcpy(buf, "/");
	return buf;
}

void devices_whose(const struct devway_level *l, int other, char *buf, size_t size)
{
	const char *name = other >= 0 ? l->others[other].name : NULL;
	struct device_rules rules = {0};

	if (l->v1)
		snprintf(buf, size, "v1");
	else if (name && name[0])
		snprintf(buf, size, "%.*s", DEVPROG_NAME_MAX, name);
	else if (name)
		snprintf(buf, size, "unknown program");
	else {
		bool v1 = devway_rules(l, &rules) >= 0 && rules.v1;

		snprintf(buf, size, v1 ? "cgmd v1" : "cgmd");
		device_rules_done(&rules);
	}
}

/* The first program that keeps others from being attached below, or that does not allow. */
static int other_of(const struct devway_level *l, const struct device_rules *wanted)
{
	for (unsigned i = 0; i < wanted->n; i++) {
		unsigned which = 0;

		if (wanted->rule[i].allow && devway_others(l, &wanted->rule[i].range,
						     wanted->rule[i].access, &which) == NO)
			return (int)which;
	}
	return -1;
}

char *devices_detail(
	const struct op *op, const struct target *t, enum reason reason, unsigned level)
{
	const struct device_change *c = t->change;
	char place[PATH_TEXT_MAX + 1], whose[64], *text = NULL;
	const struct devway_level *l;
	int other = -1;

	if (!c || !c->way)
		return strdup("the rules of cgroup v1 above it");
	l = &c->way->level[level];
	if (reason == REASON_DEVICE_WIDER && c->facts[level].others == NO)
		other = other_of(l, &op->devices->resolved);
	devices_whose(l, other, whose, sizeof(whose));
	devices_place(t, c->way, level, place);
	if (reason == REASON_DEVICE_OVERRIDE)
		snprintf(whose, sizeof(whose), "a program");
	if (asprintf(&text, "%s in %s", whose, place[0] ? place : "a cgroup above yours") < 0)
		return NULL;
	return text;
}
