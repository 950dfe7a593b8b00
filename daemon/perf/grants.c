/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "grants.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cgroupfs.h"
#include "../cleanup.h"
#include "../log.h"
#include "../manager.h"

_Static_assert(PERF_RECORD_TEXT_MAX <= INSPECT_PERF_TEXT_MAX, "each record can be kept");

const struct hierarchy *perf_hierarchy(const struct manager *m)
{
	static const char controller[] = "perf_event";
	const struct hierarchies *all = &m->hierarchies;
	const struct hierarchy *h = hierarchy_find(all, controller, sizeof(controller) - 1);

	for (unsigned i = 0; !h && !all->v1_perf && i < all->n; i++)
		if (all->list[i].v2)
			h = &all->list[i];
	return h;
}

/*
 * Records.
 */

/* The texts of those that were asked for last, each at a place that its cgroup's id says. */
#define KEPT_MAX 4096

static struct kept {
	uint64_t id; /* 0: nothing is kept here */
	char *text;  /* heap; NULL: the cgroup has none */
} kept[KEPT_MAX];

static struct kept *kept_at(uint64_t id)
{
	/* The upper half counts how often a number was used. */
	return &kept[(id ^ id >> 32) % KEPT_MAX];
}

static void kept_drop(struct kept *k)
{
	free(k->text);
	*k = (struct kept){0};
}

void perf_records_forget(void)
{
	for (unsigned i = 0; i < KEPT_MAX; i++)
		kept_drop(&kept[i]);
}

static const char *text_keep(uint64_t id, const char *text)
{
	struct kept *k = kept_at(id);

	kept_drop(k);
	if (*text)
		k->text = strdup(text);
	/* What there is no memory for is asked for again. */
	if (!*text || k->text)
		k->id = id;
	return text;
}

static void record_clear(struct perf_record *r)
{
	r->limited = false;
	r->given.n = r->limit.n = 0;
}

/* What cannot be read gives nothing, and limits to nothing. */
static void record_read(const char *text, struct perf_record *ret)
{
	record_clear(ret);
	if (*text && perf_record_parse(text, ret) < 0) {
		record_clear(ret);
		ret->limited = true;
	}
}

static int text_get(struct inspector *i, int dirfd, char buf[INSPECT_PERF_TEXT_MAX + 1])
{
	int r = inspect_perf_get(i, dirfd, buf);

	return r < 0 ? r : 0;
}

int perf_record_get(struct inspector *i, int dirfd, struct perf_record *ret)
{
	char buf[INSPECT_PERF_TEXT_MAX + 1];
	int r = text_get(i, dirfd, buf);

	if (r >= 0)
		record_read(buf, ret);
	return r;
}

int perf_record_set(struct inspector *i, int dirfd, const struct perf_record *record)
{
	char buf[PERF_RECORD_TEXT_MAX + 1] = "";
	struct node node;
	int r = cgroup_stat(dirfd, &node);

	if (r >= 0 && !perf_record_empty(record))
		r = perf_record_print(record, buf, sizeof(buf));
	if (r >= 0)
		r = inspect_perf_set(i, dirfd, buf);
	if (r >= 0)
		(void)text_keep(node.id, buf);
	return r;
}

/* The record of the cgroup with this id, by what is kept. */
static int record_kept(struct inspector *i, int dirfd, uint64_t id, struct perf_record *ret)
{
	char buf[INSPECT_PERF_TEXT_MAX + 1];
	const struct kept *k = kept_at(id);
	int r = 0;

	if (k->id == id) {
		record_read(k->text ? k->text : "", ret);
		return 0;
	}
	r = text_get(i, dirfd, buf);
	if (r >= 0)
		record_read(text_keep(id, buf), ret);
	return r;
}

/*
 * The way.
 */

struct way {
	struct manager *manager;
	char path[PATH_TEXT_MAX + 1]; /* up to this level */
	struct perf_record record;
	struct perf_items policy, have;
	int (*each)(void *userdata, const struct perf_level *level);
	void *userdata;
};

static int level_visit(struct way *w, int fd)
{
	const struct perf_level level = {strlen(w->path), &w->record, &w->policy, &w->have};
	struct node node;
	int r = cgroup_stat(fd, &node);

	if (r >= 0)
		r = record_kept(w->manager->inspector, fd, node.id, &w->record);
	w->policy.n = 0;
	if (r >= 0)
		r = grants_perf(&w->manager->grants, w->path, node.uid, &w->policy);
	if (r >= 0)
		r = perf_items_descend(&w->have, &w->record, &w->policy);
	if (r == -EPIPE)
		manager_fail(w->manager, r, "the inspector has ended");
	return r < 0 ? r : w->each(w->userdata, &level);
}

/* One component after the other, each from the directory before it. */
static int way_walk(struct way *w, const struct hierarchy *h, const char *path)
{
	_cleanup_close_ int fd = cgroup_open(h->root_fd, "");
	char name[PATH_NAME_MAX + 1];
	int r = fd < 0 ? fd : level_visit(w, fd);

	for (const char *at = path + 1; r == 0 && *at;) {
		size_t len = strcspn(at, "/");
		int next;

		if (len > PATH_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, at, len);
		name[len] = '\0';
		next = cgroup_open(fd, name);
		if (next < 0)
			return next;
		close_fd(&fd);
		fd = next;
		at += len;
		memcpy(w->path, path, (size_t)(at - path));
		w->path[at - path] = '\0';
		at += *at == '/';
		r = level_visit(w, fd);
	}
	return r;
}

int perf_way(struct manager *m, const struct hierarchy *h, const char *path,
	int (*each)(void *userdata, const struct perf_level *level), void *userdata)
{
	_cleanup_free_ struct way *w = malloc(sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (strlen(path) > PATH_TEXT_MAX)
		return -ENAMETOOLONG;
	w->manager = m;
	strcpy(w->path, "/");
	w->have.n = 0;
	w->each = each;
	w->userdata = userdata;
	return way_walk(w, h, path);
}

/*
 * What a cgroup has.
 */

/* What one level gave. */
struct gift {
	size_t len;
	struct perf_items items;
};

struct gifts {
	struct perf_had *had;
	unsigned n;
	struct gift *gift; /* heap */
};

static int gift_add(struct gifts *g, const struct perf_level *level)
{
	struct gift *bigger;

	if (level->record->given.n == 0 && level->policy->n == 0)
		return 0;
	bigger = reallocarray(g->gift, g->n + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	g->gift = bigger;
	bigger[g->n] = (struct gift){level->len, level->record->given};
	return perf_items_union(&bigger[g->n++].items, level->policy);
}

static int had_visit(void *userdata, const struct perf_level *level)
{
	struct gifts *g = userdata;

	g->had->above = g->had->items;
	g->had->items = *level->have;
	return gift_add(g, level);
}

/* Any of what it has. What was given may have been limited further down. */
static size_t carrier_find(const struct gifts *g)
{
	for (unsigned i = g->n; i-- > 0;) {
		struct perf_items left = g->gift[i].items;

		perf_items_intersect(&left, &g->had->items);
		if (left.n > 0)
			return g->gift[i].len;
	}
	return 0;
}

int perf_had_at(
	struct manager *m, const struct hierarchy *h, const char *path, struct perf_had *ret)
{
	struct gifts gifts = {.had = ret};
	int r;

	ret->items.n = ret->above.n = 0;
	ret->carrier_len = 0;
	r = perf_way(m, h, path, had_visit, &gifts);
	if (r >= 0)
		ret->carrier_len = carrier_find(&gifts);
	free(gifts.gift);
	return r;
}
