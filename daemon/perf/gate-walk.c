/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate follows the grants. All cgroups are looked at again: a grant or a limit says something
 * of all that lies below, and a section of the policy file of cgroups that are yet to come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cgroupfs.h"
#include "../cleanup.h"
#include "../log.h"
#include "../manager.h"
#include "gate-core.h"
#include "gate.h"
#include "grants.h"

/* One turn of the loop looks at that many; a look takes some 50 µs. */
#define SLICE 16

/* A cgroup that is yet to be looked at. */
struct pending {
	struct pending *next;
	bool may; /* its parent */
	char path[];
};

struct gate_walk {
	struct perf_gate *gate;
	struct manager *manager;
	const struct hierarchy *h;
	sd_event_source *timer;
	struct pending *pending;
	bool again; /* something changed since it began */
	bool failed;
	/* What this walk has told; what an earlier one has told besides goes in the end. */
	uint64_t *told;
	unsigned n;
};

static int push(struct gate_walk *w, const char *above, const char *name, bool may)
{
	size_t head = strcmp(above, "/") == 0 ? 0 : strlen(above);
	struct pending *p = malloc(sizeof(*p) + head + strlen(name) + 2);

	if (!p)
		return -ENOMEM;
	memcpy(p->path, above, head);
	p->path[head] = '/';
	strcpy(p->path + head + 1, name);
	p->may = may;
	p->next = w->pending;
	w->pending = p;
	return 0;
}

struct look {
	struct gate_walk *walk;
	const char *path;
	bool may;
};

static int push_child(void *userdata, int dirfd, const char *name)
{
	const struct look *l = userdata;

	(void)dirfd;
	return push(l->walk, l->path, name, l->may);
}

/* What is said of the parent holds unless something is said of it. */
static int tell(struct gate_walk *w, uint64_t id, bool above, bool may)
{
	int r;

	if (may == above)
		return 0;
	if (w->n == GATE_CGROUPS_MAX)
		return -E2BIG;
	r = gate_set(w->gate, id, may);
	if (r >= 0)
		w->told[w->n++] = id;
	return r;
}

/* What goes meanwhile is passed over. */
static int look_at(struct gate_walk *w, const struct pending *p)
{
	_cleanup_close_ int fd = cgroup_open_path(w->h->root_fd, p->path, strlen(p->path));
	struct look l = {w, p->path, false};
	struct perf_had had;
	struct node node;
	int r = fd < 0 ? fd : cgroup_stat(fd, &node);

	if (r >= 0)
		r = perf_had_at(w->manager, w->h, p->path, &had);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	l.may = had.items.n > 0;
	r = tell(w, node.id, p->may, l.may);
	return r < 0 ? r : cgroup_each(fd, true, push_child, &l);
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of cgroups that are gone, or of which nothing is to be said any more. */
static int sweep(struct gate_walk *w)
{
	_cleanup_free_ uint64_t *ids = NULL;
	unsigned n;
	int r = gate_list(w->gate, &ids, &n);

	qsort(w->told, w->n, sizeof(*w->told), compare);
	for (unsigned i = 0; r >= 0 && i < n; i++)
		if (!bsearch(&ids[i], w->told, w->n, sizeof(*w->told), compare))
			r = gate_forget(w->gate, ids[i]);
	return r;
}

static void pending_drop(struct gate_walk *w)
{
	while (w->pending) {
		struct pending *p = w->pending;

		w->pending = p->next;
		free(p);
	}
}

static bool policy_has_perf(const struct manager *m)
{
	for (unsigned i = 0; i < m->grants.n; i++)
		if (m->grants.grant[i].perf)
			return true;
	return false;
}

static int timer_set(struct gate_walk *w, uint64_t usec)
{
	int r = sd_event_source_set_time_relative(w->timer, usec);

	return r < 0 ? r : sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int walk_begin(struct gate_walk *w)
{
	w->again = false;
	w->n = 0;
	return push(w, "/", "", false);
}

/* What could not be told: whoever is not let through that should be is refused, not the reverse. */
static void walk_failed(struct gate_walk *w, int error)
{
	pending_drop(w);
	if (!w->failed)
		log_line(LOG_WARNING, "the gate of perf events does not know all grants: %s",
			strerror(-error));
	w->failed = true;
}

static int walk_slice(struct gate_walk *w)
{
	int r = w->pending ? 0 : walk_begin(w);

	for (unsigned i = 0; r >= 0 && i < SLICE && w->pending; i++) {
		_cleanup_free_ struct pending *p = w->pending;

		w->pending = p->next;
		r = look_at(w, p);
	}
	if (r >= 0 && !w->pending)
		r = sweep(w);
	return r;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct gate_walk *w = userdata;
	int r = walk_slice(w);

	if (r < 0)
		walk_failed(w, r);
	else if (!w->pending)
		w->failed = false;
	if (w->pending || (w->again && r >= 0))
		return timer_set(w, 0);
	if (w->again || r < 0 || policy_has_perf(w->manager))
		return timer_set(w, GATE_SEC * UINT64_C(1000000));
	return 0;
}

static int walk_new(struct perf_gate *g, struct manager *m)
{
	struct gate_walk *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	g->walk = w;
	w->gate = g;
	w->manager = m;
	w->h = perf_hierarchy(m);
	w->told = calloc(GATE_CGROUPS_MAX, sizeof(*w->told));
	if (!w->told)
		return -ENOMEM;
	return sd_event_add_time(m->event, &w->timer, CLOCK_MONOTONIC, 0, 1, on_timer, w);
}

int gate_follow(struct perf_gate *g, struct manager *m)
{
	int r;

	if (gate_why(g) || !perf_hierarchy(m))
		return 0;
	if (!g->walk) {
		r = walk_new(g, m);
		if (r < 0)
			return r;
	}
	g->walk->again = g->walk->pending != NULL;
	return timer_set(g->walk, 0);
}

void gate_walk_free(struct gate_walk *w)
{
	if (!w)
		return;
	pending_drop(w);
	sd_event_source_disable_unref(w->timer);
	free(w->told);
	free(w);
}
