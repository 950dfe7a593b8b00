/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property.h"

#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "cleanup.h"
#include "facts.h"
#include "manager.h"
#include "perf/perf.h"

static void value_api_version(struct peer *peer, struct reply *ret)
{
	(void)peer;
	ret->number = CGM_API_VERSION;
}

static void text_set(struct reply *ret, const char *text)
{
	ret->text = strdup(text);
	if (!ret->text)
		ret->reason = REASON_INTERNAL;
}

static void value_Version(struct peer *peer, struct reply *ret)
{
	(void)peer;
	text_set(ret, CGM_VERSION);
}

static void value_Layout(struct peer *peer, struct reply *ret)
{
	const struct hierarchies *all = &peer->manager->hierarchies;
	bool v1 = false, v2 = false;

	for (unsigned i = 0; i < all->n; i++) {
		v1 |= !all->list[i].v2;
		v2 |= all->list[i].v2;
	}
	text_set(ret, !v2 ? "v1" : v1 ? "hybrid" : "v2");
}

static bool has_devices_v1(const struct manager *m)
{
	const struct hierarchies *all = &m->hierarchies;

	for (unsigned i = 0; i < all->n; i++)
		if (!all->list[i].v2 && hierarchy_governs_devices(&all->list[i]))
			return true;
	return false;
}

static void value_Features(struct peer *peer, struct reply *ret)
{
	const struct manager *m = peer->manager;
	enum devprog_kind kind = devprog_kind(m->devprog);
	const struct {
		const char *name;
		bool has;
	} features[] = {
		{"devices-v1", has_devices_v1(m)},
		{"devices-v2", kind != DEVPROG_NONE},
		/* A program for each distinct policy: storage is what the kernel lacks. */
		{"devices-programs", kind == DEVPROG_PROGRAMS},
		{"gpu", m->devnames},
		{"perf", !perf_off(m->perf)},
	};
	const size_t max = sizeof(features) / sizeof(features[0]);
	size_t n = 0;

	ret->names = calloc(max + 1, sizeof(*ret->names));
	for (size_t i = 0; ret->names && i < max; i++) {
		if (!features[i].has)
			continue;
		ret->names[n] = strdup(features[i].name);
		if (!ret->names[n++])
			ret->reason = REASON_INTERNAL;
	}
	if (!ret->names)
		ret->reason = REASON_INTERNAL;
}

static enum reason scope_append(struct op *op, struct target *t, struct reply *ret)
{
	struct reply_pair *pair = &ret->pairs[ret->n_pairs];

	t->reason = op_judge(op, t);
	if (t->reason == REASON_OK)
		act_find(op->request.method)->run(op, t);
	if (t->reason != REASON_OK)
		return REASON_OK;
	pair->key = strdup(t->h->name);
	pair->value = TAKE_PTR(op->reply.text);
	ret->n_pairs++;
	return pair->key ? REASON_OK : REASON_INTERNAL;
}

static enum reason scope_gather(struct op *op, struct reply *ret)
{
	enum reason reason = facts_self(op);

	ret->pairs = calloc(HIERARCHIES_MAX, sizeof(*ret->pairs));
	if (!ret->pairs)
		return REASON_INTERNAL;
	for (unsigned i = 0; reason == REASON_OK && i < op->n_targets; i++)
		if (op->targets[i].reason == REASON_OK)
			reason = scope_append(op, &op->targets[i], ret);
	return reason == REASON_OK ? facts_requestor_still(op) : reason;
}

static void value_Scope(struct peer *peer, struct reply *ret)
{
	struct op *op = op_new(peer->manager, peer);

	if (!op) {
		ret->reason = REASON_INTERNAL;
		return;
	}
	op->request = (struct request){.method = &methods[METHOD_GetPidCgroupAbs]};
	op->question.action = op->request.method->action;
	op->question.absolute = true;
	ret->reason = scope_gather(op, ret);
	op_free(op);
}

static void (*const values[PROPERTY_MAX])(struct peer *peer, struct reply *ret) = {
#define PROPERTY(name, type, interface, changes) [PROPERTY_##name] = value_##name,
#include "../dbus/properties.def"
#undef PROPERTY
};

void property_value(struct peer *peer, enum property_id id, struct reply *ret)
{
	values[id](peer, ret);
}
