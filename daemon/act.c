/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "levels.h"
#include "manager.h"

static const struct act *const acts[METHOD_MAX] = {
#define METHOD(name, in, in_names, out, out_names, action, base, flags, fn) \
	[METHOD_##name] = &act_##fn,
#include "../dbus/methods.def"
#undef METHOD
};

/* Ping. */
const struct act act_nothing = {0};

static void controllers_collect(struct op *op)
{
	const struct hierarchies *all = &op->manager->hierarchies;
	char **names = calloc(all->n + 1, sizeof(*names));

	op->reply.names = names;
	for (unsigned i = 0; names && i < all->n; i++)
		names[i] = strdup(all->list[i].name);
}

const struct act act_controllers = {.collect = controllers_collect};

const struct act *act_find(const struct method *method)
{
	return acts[method->id];
}

bool act_walks(const struct op *op, const struct target *t)
{
	/* What was passed over may have no place at all. */
	if (t->reason != REASON_OK || t->place.n == 0)
		return false;
	switch (op->question.action) {
	case ACTION_REMOVE:
		/* Where there is nothing below, one rmdir(2) is all. */
		return t->place.n == 1 || (op->request.recursive != 0 && t->place.missing == 0 &&
						  t->way[t->place.n - 1].children > 0);
	case ACTION_PRUNE:
		return true;
	case ACTION_TASKS:
		return op->request.method->flags & METHOD_RECURSIVE;
	default:
		return false;
	}
}

static bool any_walks(const struct op *op)
{
	for (unsigned i = 0; i < op->n_targets; i++)
		if (act_walks(op, &op->targets[i]))
			return true;
	return false;
}

/* Controllers are to be enabled, and tasks perhaps to be moved for that. */
static bool any_lacks(const struct op *op)
{
	for (unsigned i = 0; i < op->n_targets; i++)
		if (levels_lack(&op->targets[i]))
			return true;
	return false;
}

/* Listing takes time for each. */
#define MANY_CHILDREN 64

bool act_reaches(const struct op *op)
{
	return op->request.method->id == METHOD_AddDevice ||
	       op->request.method->id == METHOD_RemoveDevice;
}

bool act_blocks(const struct op *op)
{
	const struct target *t = &op->first;

	switch (op->question.action) {
	case ACTION_CREATE:
		return any_lacks(op);
	case ACTION_LIMIT:
		return (op->question.key->flags & KEY_BLOCKS) || t->value.by_program;
	case ACTION_REMOVE:
		return any_walks(op);
	case ACTION_TASKS:
	case ACTION_PRUNE:
		return true;
	case ACTION_LIST:
		return !(op->request.method->flags & METHOD_KEYS) &&
		       t->way[t->place.n - 1].children > MANY_CHILDREN;
	case ACTION_READ:
		return op->question.key && op->question.key->class == KEY_PIDS;
	case ACTION_DEVICES:
		return act_reaches(op);
	default:
		return false;
	}
}
