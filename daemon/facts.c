/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "facts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cgroupfs.h"
#include "devices.h"
#include "devprog.h"
#include "gather.h"
#include "inspect.h"
#include "leaf.h"
#include "levels.h"
#include "manager.h"
#include "peer.h"
#include "perf/grants.h"
#include "perf/perf.h"
#include "proc.h"
#include "value.h"

static void target_init(struct target *t, const struct hierarchy *h)
{
	t->h = h;
	t->reason = REASON_OK;
	t->err = 0;
	t->rest = t->name = t->missing = "";
	t->dir_fd = t->parent_fd = t->file_fd = -EBADF;
	t->place = (struct place){0};
	t->facts = (struct facts){.v2 = h->v2};
	value_init(&t->value);
	t->detail = NULL;
	t->detail_of = REASON_OK;
	t->levels = NULL;
	t->controllers = UINT_MAX;
	t->change = NULL;
	t->widens = false;
	t->who.scope_len = 0;
	t->who.have_root = false;
	t->proxy = NULL;
	t->scope_len = 0;
	t->existed = t->done = false;
	t->left = NULL;
}

static enum reason hierarchies_of_list(
	const struct hierarchies *all, const char *list, const struct hierarchy **ret, unsigned *n)
{
	for (const char *at = list;; at++) {
		size_t len = strcspn(at, ",");
		const struct hierarchy *h = hierarchy_find(all, at, (unsigned)len);
		unsigned i = 0;

		if (!h)
			return REASON_CONTROLLER_UNKNOWN;
		while (i < *n && ret[i] != h)
			i++;
		if (i == *n)
			ret[(*n)++] = h;
		at += len;
		if (*at == '\0')
			return REASON_OK;
	}
}

static enum reason hierarchies_of_controller(
	struct op *op, const struct hierarchy **ret, unsigned *n)
{
	const struct hierarchies *all = &op->manager->hierarchies;
	const char *name = op->request.controller;
	bool many = op->request.method->flags & METHOD_MANY;

	ret[0] = hierarchy_find(all, name, (unsigned)strlen(name));
	if (ret[0])
		*n = 1;
	else if (!many)
		return strchr(name, ',') || strcmp(name, "all") == 0 ? REASON_CONTROLLER_MANY
								     : REASON_CONTROLLER_UNKNOWN;
	else if (strcmp(name, "all") == 0)
		for (; *n < all->n; (*n)++)
			ret[*n] = &all->list[*n];
	else
		return hierarchies_of_list(all, name, ret, n);
	return REASON_OK;
}

static enum reason hierarchies_of_devices(struct op *op, const struct hierarchy **ret, unsigned *n)
{
	const struct hierarchies *all = &op->manager->hierarchies;

	/* v2 first: what was written there can be taken back exactly. */
	for (unsigned i = 0; i < all->n; i++)
		if (all->list[i].v2 && devprog_kind(op->manager->devprog) != DEVPROG_NONE)
			ret[(*n)++] = &all->list[i];
	for (unsigned i = 0; i < all->n; i++)
		if (!all->list[i].v2 && hierarchy_governs_devices(&all->list[i]))
			ret[(*n)++] = &all->list[i];
	/* What is about no cgroup still asks who it is that asks. */
	if (*n == 0 && all->n > 0 && op->question.action == ACTION_DEVICE_NAMES)
		ret[(*n)++] = &all->list[0];
	if (*n > 0)
		return REASON_OK;
	op->reply.detail = strdup(devprog_why(op->manager->devprog));
	return REASON_DEVICES_OFF;
}

/* Where perf is off it can still be said why. */
static enum reason hierarchies_of_perf(struct op *op, const struct hierarchy **ret, unsigned *n)
{
	const struct hierarchies *all = &op->manager->hierarchies;
	const char *why;

	ret[0] = perf_hierarchy(op->manager);
	if (!ret[0] && op->question.action == ACTION_PERF_OPEN && all->n > 0)
		ret[0] = &all->list[0];
	*n = ret[0] ? 1 : 0;
	if (*n > 0)
		return REASON_OK;
	why = op->manager->perf ? perf_off(op->manager->perf) : NULL;
	if (why)
		op->reply.detail = strdup(why);
	return REASON_PERF_OFF;
}

static enum reason hierarchies_native(struct op *op, const struct hierarchy **ret, unsigned *n)
{
	switch (op->question.action) {
	case ACTION_PERF:
	case ACTION_PERF_READ:
	case ACTION_PERF_OPEN:
		return hierarchies_of_perf(op, ret, n);
	default:
		return hierarchies_of_devices(op, ret, n);
	}
}

static enum reason targets_init(struct op *op, const struct hierarchy *const *found, unsigned n)
{
	op->targets = n == 1 ? &op->first : calloc(n, sizeof(*op->targets));
	if (!op->targets)
		return REASON_INTERNAL;
	op->n_targets = n;
	for (unsigned i = 0; i < n; i++)
		target_init(&op->targets[i], found[i]);
	return REASON_OK;
}

enum reason facts_hierarchies(struct op *op)
{
	const struct hierarchy *found[HIERARCHIES_MAX];
	enum reason reason;
	unsigned n = 0;

	reason = op->request.controller ? hierarchies_of_controller(op, found, &n)
					: hierarchies_native(op, found, &n);
	if (reason == REASON_OK)
		reason = targets_init(op, found, n);
	for (unsigned i = 0; reason == REASON_OK && i < n; i++)
		if (op->question.action == ACTION_CREATE && op->targets[i].h->v2)
			levels_want(&op->targets[i], op->request.controller);
	return reason;
}

/* A leaf is as deep as its parent. */
static bool is_too_deep(const char *path)
{
	const char *name = strrchr(path, '/');

	return path_depth(path) > PLACE_DEPTH_MAX + (strcmp(name + 1, LEAF_NAME) == 0);
}

enum reason gather_path(const struct hierarchy *h, const char *text, size_t len, char *ret)
{
	switch (hierarchy_path(h, text, (unsigned)len, ret)) {
	case 0:
		return is_too_deep(ret) ? REASON_REQUESTOR_PLACE : REASON_OK;
	case -ESTALE:
		return REASON_REQUESTOR_REMOVED;
	default:
		return REASON_REQUESTOR_PLACE;
	}
}

/* A v1 path other than "/" proves that the task was not exiting when it was read. */
bool gather_doubtful(const struct hierarchy *h, const char *path)
{
	return h->v2 || path[1] == '\0';
}

/* Who is in a leaf is in its parent: with or without a right over that, as before it had one. */
static enum reason standing_fold(struct op *op, const struct target *t, struct standing *s)
{
	int r = leaf_fold(op->manager->inspector, t->h, s->own);

	if (r == -EPIPE)
		manager_fail(op->manager, r, "the inspector has ended");
	return r < 0 ? gather_error(r) : REASON_OK;
}

/* Where a party stands in each hierarchy. */
static enum reason party_place(struct op *op, struct party *p)
{
	struct identity *identity = p->identity;
	bool doubtful = false;
	int proc_fd = identity_proc(identity);
	ssize_t len;

	if (proc_fd < 0)
		return gather_error(proc_fd);
	len = proc_read_again(
		&identity->cgroup_fd, proc_fd, "cgroup", gather_text, sizeof(gather_text));
	if (len < 0)
		return len == -EFBIG ? REASON_REQUESTOR_PLACE : gather_error((int)len);
	for (unsigned i = 0; i < op->n_targets; i++) {
		struct target *t = &op->targets[i];
		struct standing *s = party_standing(op, p, t);

		if (t->reason != REASON_OK)
			continue;
		t->reason = gather_path(t->h, gather_text, (size_t)len, s->own);
		doubtful |= t->reason == REASON_OK && gather_doubtful(t->h, s->own);
		if (t->reason == REASON_OK)
			t->reason = standing_fold(op, t, s);
	}
	return doubtful && proc_exiting(proc_fd) != 0 ? REASON_REQUESTOR_GONE : REASON_OK;
}

static enum reason proxy_place(struct op *op)
{
	for (unsigned i = 0; i < op->n_targets; i++) {
		op->targets[i].proxy = calloc(1, sizeof(*op->targets[i].proxy));
		if (!op->targets[i].proxy)
			return REASON_INTERNAL;
	}
	return party_place(op, op->proxy);
}

enum reason facts_open(struct op *op)
{
	enum reason reason = party_place(op, &op->who);

	if (reason == REASON_OK && op->proxy)
		reason = proxy_place(op);
	if (reason != REASON_OK)
		return reason;
	for (unsigned i = 0; i < op->n_targets; i++) {
		struct target *t = &op->targets[i];

		if (t->reason == REASON_OK)
			t->reason = place_open(op, t);
		reason = t->reason;
	}
	return op->n_targets == 1 ? reason : REASON_OK;
}

enum reason facts_self(struct op *op)
{
	const struct hierarchies *all = &op->manager->hierarchies;
	const struct hierarchy *found[HIERARCHIES_MAX];
	enum reason reason;

	for (unsigned i = 0; i < all->n; i++)
		found[i] = &all->list[i];
	reason = targets_init(op, found, all->n);
	if (reason == REASON_OK)
		reason = facts_open(op);
	op->victim_pid = op->who.pid;
	for (unsigned i = 0; reason == REASON_OK && i < op->n_targets; i++) {
		struct target *t = &op->targets[i];

		strcpy(t->victim_path, t->who.own);
		if (t->reason == REASON_OK && place_victim(t) < 0)
			t->reason = REASON_TASK_OUTSIDE;
	}
	return reason;
}

enum reason facts_gather(struct op *op, struct party *p, struct target *t, unsigned need)
{
	int r = gather_subject(op, p, t, need);

	if (r >= 0 && (need & FACT_SCOPE))
		r = place_scope(op, t);
	if (r >= 0 && (need & FACT_PARENT)) {
		r = cgroup_stat_parent(t->dir_fd, t->h->dev, &t->place.parent);
		t->place.has_parent = r > 0;
		t->place.have |= FACT_PARENT;
	}
	if (r >= 0 && (need & FACT_ANCESTOR))
		r = place_ancestor(t);
	if (r >= 0 && (need & FACT_LEVELS))
		r = levels_gather(op, t);
	if (r >= 0 && (need & FACT_DEVICES))
		r = devices_gather(op, t);
	if (r >= 0 && (need & FACT_GRANT))
		r = devices_gather_grant(op, t);
	if (r >= 0 && (need & FACT_SYSTEMD)) {
		/* The inspector says so of what is root's alone. */
		r = t->way[t->place.n - 1].uid != 0
			    ? 0
			    : inspect_systemd(op->manager->inspector, t->dir_fd);
		t->facts.by_systemd = r > 0;
		t->facts.have |= FACT_SYSTEMD;
	}
	if (r == -EPIPE)
		manager_fail(op->manager, r, "the inspector has ended");
	if (r >= 0 && (need & FACT_DEVICES))
		return t->reason; /* what no verdict could change */
	return r < 0 ? gather_error(r) : REASON_OK;
}
