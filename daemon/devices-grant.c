/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the policy file grants beyond what the cgroups above allow: cgmd's own rules on the way
 * follow, from the topmost down, and go back if the call fails. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../policy/grant.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devices-v1.h"
#include "devname.h"
#include "gather.h"
#include "governed.h"
#include "log.h"
#include "manager.h"

static void rules_donep(struct device_rules *r)
{
	device_rules_done(r);
}

#define _cleanup_rules_ __attribute__((cleanup(rules_donep)))

/*
 * Is it granted?
 */

/* By what the names in the policy file stand for now. */
static bool granted_by_number(struct manager *m, const char *path, uid_t uid, uint8_t access,
	const struct device_range *range, unsigned n)
{
	_cleanup_rules_ struct device_rules rules = {0}, resolved = {0};
	int r = grants_rules(&m->grants, path, uid, &rules);

	if (r >= 0)
		r = device_rules_resolve(&rules, devname_ranges, m->devnames, &resolved);
	return r >= 0 && grants_cover(&resolved, range, n, access);
}

static bool granted_to(struct op *op, const char *path, uid_t uid, const struct device_rule *rule,
	const struct device_range *range, unsigned n)
{
	struct manager *m = op->manager;

	return grants_allow(&m->grants, path, uid, rule) ||
	       granted_by_number(m, path, uid, rule->access, range, n);
}

bool devices_granted(struct op *op, struct target *t, const struct device_rule *rule,
	const struct device_range *range, unsigned n)
{
	const struct subject *s = &op->who.subject;
	char path[PATH_TEXT_MAX + 1];
	uint32_t root;

	if (op->manager->grants.n == 0 || !op->question.grantable || !target_path(t, path))
		return false;
	if (granted_to(op, path, s->uid, rule, range, n))
		return true;
	/* A container is named by what its root is. */
	if (!(s->have & FACT_MAPS) && gather_subject(op, &op->who, t, FACT_MAPS) < 0)
		return false;
	return idmap_to_outside(&s->uid_map, 0, &root) && root != s->uid &&
	       granted_to(op, path, root, rule, range, n);
}

int devices_gather_grant(struct op *op, struct target *t)
{
	const struct device_call *c = op->devices;
	struct device_rule rule = c->rules.rule[0];
	_cleanup_free_ struct device_range *range = calloc(c->resolved.n + 1, sizeof(*range));

	if (!range)
		return -ENOMEM;
	for (unsigned i = 0; i < c->resolved.n; i++)
		range[i] = c->resolved.rule[i].range;
	/* Its owner opens a node for what he likes; the cgroup may have no rules to say less. */
	if (op->question.gives_node)
		rule.access |= DEVICE_READ | DEVICE_WRITE;
	t->facts.granted = devices_granted(op, t, &rule, range, c->resolved.n);
	t->facts.have |= FACT_GRANT;
	return 0;
}

/*
 * The cgroups on the way.
 */

static bool is_short(const struct device_call *call, const struct devway_level *l)
{
	for (unsigned i = 0; i < call->resolved.n; i++)
		if (devway_ours(l, &call->resolved.rule[i].range, call->resolved.rule[i].access) ==
			NO)
			return true;
	return false;
}

static int widen_v2(struct op *op, struct devway_level *l)
{
	_cleanup_rules_ struct device_rules rules = {0};
	struct device_policy policy = {0};
	int r = devway_rules(l, &rules);

	rules.v1 = false;
	if (r >= 0)
		r = device_rules_add(&rules, &op->devices->rules.rule[0]);
	if (r >= 0)
		r = devices_compile(op->manager, &rules, &policy);
	if (r >= 0)
		r = devprog_policy_change(op->manager->devprog, l->fd, &l->policy, &policy);
	if (r < 0) {
		device_policy_done(&policy);
		return r;
	}
	l->wider = policy;
	return 0;
}

static int widen_v1(struct op *op, struct devway_level *l)
{
	struct device_change_v1 *c;
	int r = devices_plan_v1(op, l->fd, l->len == 1, true, &c);

	if (r < 0)
		return r;
	r = devices_write_v1(op->manager, c);
	if (r < 0) {
		device_change_v1_free(c);
		return r;
	}
	l->wider_v1 = c;
	return 0;
}

static int way_read(struct op *op, struct target *t)
{
	struct device_change *c = t->change;
	char path[PATH_TEXT_MAX + 1];

	if (c->way)
		return 0;
	if (!target_path(t, path))
		return -ENAMETOOLONG;
	return devway_read(op->manager, t->h, path, t->dir_fd,
		DEVWAY_READ | DEVWAY_KEEP | DEVWAY_ALL, &c->way);
}

int devices_widen(struct op *op, struct target *t)
{
	struct device_change *c = t->change;
	int r = way_read(op, t);

	for (unsigned i = 0; r >= 0 && i + 1 < c->way->n; i++) {
		struct devway_level *l = &c->way->level[i];

		if (is_short(op->devices, l))
			r = l->v1 ? widen_v1(op, l) : widen_v2(op, l);
	}
	/* Of v1 there could be no plan before. */
	if (r >= 0 && !t->h->v2 && !c->v1)
		r = devices_plan_v1_target(op, t, &c->v1);
	return r;
}

static int narrow_one(struct manager *m, struct devway_level *l)
{
	int r = 0;

	if (l->wider_v1)
		r = devices_restore_v1(m, l->wider_v1);
	else if (l->wider.data)
		r = devprog_policy_change(m->devprog, l->fd, &l->wider, &l->policy);
	l->wider_v1 = device_change_v1_free(l->wider_v1);
	device_policy_done(&l->wider);
	l->wider = (struct device_policy){0};
	return r;
}

void devices_narrow(struct op *op, struct target *t)
{
	struct devway *w = t->change->way;

	for (unsigned i = w ? w->n : 0; i-- > 0;) {
		int r = narrow_one(op->manager, &w->level[i]);

		if (r < 0)
			log_limited(LOG_WARNING, op->account,
				"device rules of %.*s that were widened could not be set back: %s",
				(int)w->level[i].len, w->path, strerror(-r));
	}
}

/*
 * Who else has it now.
 */

struct siblings {
	struct op *op;
	const char *place; /* as the caller names the parent */
	const char *but;   /* the child on the way */
	size_t but_len;
};

static int name_add(struct reply *reply, char *name)
{
	size_t n = 0;
	char **bigger;

	while (reply->names && reply->names[n])
		n++;
	bigger = name ? reallocarray(reply->names, n + 2, sizeof(*bigger)) : NULL;
	if (!bigger) {
		free(name);
		return -ENOMEM;
	}
	reply->names = bigger;
	bigger[n] = name;
	bigger[n + 1] = NULL;
	return 0;
}

static int sibling_add(void *userdata, int dirfd, const char *name)
{
	const struct siblings *s = userdata;
	char *text = NULL;

	(void)dirfd;
	if (strlen(name) == s->but_len && memcmp(name, s->but, s->but_len) == 0)
		return 0;
	if (strcmp(name, LEAF_NAME) == 0)
		return 0;
	if (asprintf(&text, "%s/%s", s->place[1] ? s->place : "", name) < 0)
		text = NULL;
	return name_add(&s->op->reply, text);
}

/* Those above the caller's scope are the administrator's to know. */
static int level_tell(struct op *op, const struct target *t, unsigned level)
{
	const struct devway *w = t->change->way;
	const struct devway_level *l = &w->level[level];
	char place[PATH_TEXT_MAX + 1];
	const char *next = w->path + l->len + (l->len > 1);
	struct siblings s = {op, place, next, strcspn(next, "/")};

	log_limited(LOG_NOTICE, op->account,
		"%s is granted a device by the policy file: the rules of %.*s are wider now",
		w->path, (int)l->len, w->path);
	if (!*devices_place(t, w, level, place))
		return 0;
	return cgroup_each(l->fd, true, sibling_add, &s);
}

int devices_widened(struct op *op, struct target *t)
{
	struct devway *w = t->change->way;
	int r = 0;

	for (unsigned i = 0; r >= 0 && i + 1 < w->n; i++) {
		struct devway_level *l = &w->level[i];
		char path[PATH_TEXT_MAX + 1];

		if (!l->wider.data && !l->wider_v1)
			continue;
		memcpy(path, w->path, l->len);
		path[l->len] = '\0';
		if (l->wider.data)
			r = governed_look(op->manager->governed, l->fd, path);
		if (r >= 0)
			r = level_tell(op, t, i);
	}
	return r;
}
