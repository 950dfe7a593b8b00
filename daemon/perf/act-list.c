/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ListPerf and CheckPerf: what was given to a cgroup, where, and what limits it. Of what lies above
 * the caller's scope it learns no more than what comes from there in the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../act.h"
#include "../devway.h"
#include "../manager.h"
#include "act-perf.h"
#include "grants.h"

#define LINES_MAX 8192

struct looked {
	struct op *op;
	const struct target *t;
	char path[PATH_TEXT_MAX + 1];
	struct perf_had had;
	/* CheckPerf: of the levels that are in scope, and what is above as one */
	bool before, given, limited, by_policy;
	size_t len;
};

static struct looked *looked_new(struct op *op, struct target *t)
{
	struct looked *l = calloc(1, sizeof(*l));
	int r = l ? 0 : -ENOMEM;

	if (l) {
		l->op = op;
		l->t = t;
		r = target_path(t, l->path) ? 0 : -ENAMETOOLONG;
	}
	if (r >= 0)
		r = perf_had_at(op->manager, t->h, l->path, &l->had);
	if (r >= 0)
		return l;
	free(l);
	target_fail(t, r);
	return NULL;
}

static bool in_scope(const struct looked *l, const struct perf_level *level)
{
	return level->len >= l->t->scope_len;
}

/*
 * ListPerf.
 */

static int line_add(
	struct looked *l, const struct perf_level *level, const char *item, const char *whose)
{
	struct reply *reply = &l->op->reply;
	char place[PATH_TEXT_MAX + 1];
	struct reply_triple *bigger;

	if (reply->n_triples == LINES_MAX)
		return -E2BIG;
	bigger = reallocarray(reply->triples, reply->n_triples + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	reply->triples = bigger;
	perf_place(l->t, l->path, level->len, place);
	bigger[reply->n_triples++] =
		(struct reply_triple){{strdup(item), strdup(place), strdup(whose)}};
	return 0;
}

/* Of what is above the scope that which is left of it. */
static int items_list(struct looked *l, const struct perf_level *level,
	const struct perf_items *items, const char *whose)
{
	char text[PERF_ITEM_TEXT_MAX + 1];
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < items->n; i++) {
		if (!in_scope(l, level) && !perf_items_have(&l->had.items, &items->item[i]))
			continue;
		perf_item_print(&items->item[i], text);
		r = line_add(l, level, text, whose);
	}
	return r;
}

static int list_visit(void *userdata, const struct perf_level *level)
{
	const struct perf_record *record = level->record;
	struct looked *l = userdata;
	int r = items_list(l, level, &record->given, "given");

	if (r >= 0)
		r = items_list(l, level, level->policy, "policy");
	if (r < 0 || !record->limited || !in_scope(l, level))
		return r;
	if (record->limit.n == 0)
		return line_add(l, level, "none", "limit");
	return items_list(l, level, &record->limit, "limit");
}

static void list_run(struct op *op, struct target *t)
{
	struct looked *l = looked_new(op, t);
	int r;

	if (!l)
		return;
	r = perf_way(op->manager, t->h, l->path, list_visit, l);
	if (r < 0)
		target_fail(t, r);
	free(l);
}

const struct act act_list_perf = {.run = list_run};

/*
 * CheckPerf.
 */

static int check_visit(void *userdata, const struct perf_level *level)
{
	struct looked *l = userdata;
	const struct perf_item *item = &l->op->perf->items.item[0];
	bool have = perf_items_have(level->have, item);
	bool given = perf_items_have(&level->record->given, item);
	bool policy = perf_items_have(level->policy, item);

	if (have && (given || policy || !l->before)) {
		l->given = true;
		l->by_policy = policy && !given;
		l->len = level->len;
	} else if (!have && l->before && in_scope(l, level)) {
		l->given = false;
		l->limited = true;
		l->len = level->len;
	} else if (!have) {
		l->given = false;
	}
	l->before = have;
	return 0;
}

/* What an item stands for now, where that is nothing. */
static const char *nothing_of(const struct perf_item *item, const struct perf_grant *grant)
{
	bool granted = false;

	for (unsigned i = 0; i < grant->n_pmus; i++)
		granted |= grant->pmu[i].granted;
	switch (item->kind) {
	case PERF_ITEM_GPU:
		return granted ? NULL : "no GPU that its device rules allow has a PMU";
	case PERF_ITEM_POWER:
	case PERF_ITEM_PMU:
		return granted ? NULL : "the host has no such PMU now";
	case PERF_ITEM_TRACEPOINT:
		return grant->n_tracepoints > 0 ? NULL : "the host has no such tracepoint";
	default:
		return NULL;
	}
}

static const char *nothing_now(struct looked *l)
{
	struct perf_items *items = &l->op->perf->items;
	struct devway *way[PERF_WAYS_MAX];
	static struct perf_grant grant;
	unsigned n = 0;
	int r = 0;

	if (items->item[0].kind == PERF_ITEM_GPU)
		r = perf_ways_at(l->op->manager, l->path, way, &n);
	if (r >= 0)
		r = perf_grant_resolve(
			l->op->manager, items, (const struct devway *const *)way, n, &grant);
	for (unsigned i = 0; i < n; i++)
		devway_free(way[i]);
	return r < 0 ? "what it stands for cannot be told" : nothing_of(&items->item[0], &grant);
}

static void check_tell(struct looked *l)
{
	struct reply *reply = &l->op->reply;
	const char *nothing = l->given ? nothing_now(l) : NULL;
	char place[PATH_TEXT_MAX + 1] = "";
	const char *why;

	if (l->given || l->limited)
		perf_place(l->t, l->path, l->len, place);
	if (l->given && !place[0])
		why = "allowed: by what is given above your scope";
	else if (l->given)
		why = l->by_policy ? "allowed: by the policy file" : "allowed: it was given there";
	else if (l->limited)
		why = "denied: it was limited there";
	else
		why = "denied: it was given neither to the cgroup nor to one above";
	reply->allowed = l->given;
	reply->who = strdup(place);
	if (asprintf(&reply->why, "%s%s%s", why, nothing ? "; but " : "", nothing ? nothing : "") <
		0)
		reply->why = NULL;
}

static void check_run(struct op *op, struct target *t)
{
	struct looked *l = looked_new(op, t);
	int r;

	if (!l)
		return;
	r = perf_way(op->manager, t->h, l->path, check_visit, l);
	if (r < 0)
		target_fail(t, r);
	else
		check_tell(l);
	free(l);
}

const struct act act_check_perf = {.run = check_run};
