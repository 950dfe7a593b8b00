/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "governed.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "account.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devices.h"
#include "devprog.h"
#include "log.h"
#include "manager.h"
#include "perf/perf.h"
#include "tree.h"

#define BUCKETS 1024

/* A look takes some 4 µs: an open, a stat, a query. Each is looked at every few seconds. */
#define SLICE 256
#define TICK_USEC ((uint64_t)3 * 1000 * 1000)
#define COLLECT_SLICE 64
/* Of what one account has; as large as a thousand of the largest policies. */
#define ACCOUNT_POLICIES_MAX ((size_t)64 << 20)

/* Names of how many cgroups are looked up, and how long that takes, is up to containers. */
#define RENEW_USEC ((uint64_t)2 * 1000)
#define RENEW_AT_START_USEC ((uint64_t)1000 * 1000)

/* The bytes of a policy, which containers of one kind share. */
struct shared {
	LIST_ENTRY(shared) list;
	unsigned refs;
	bool names; /* its rules have names, which may come to stand for other devices */
	struct device_policy policy;
};

/* What the policies of an account take. */
struct use {
	LIST_ENTRY(use) list;
	uint64_t account;
	size_t bytes;
};

struct entry {
	LIST_ENTRY(entry) by_id;
	struct use *use; /* NULL: nobody's */
	size_t counted;	 /* there */
	uint64_t id;
	unsigned index; /* in the list */
	struct shared *shared;
	char path[];
};

LIST_HEAD(entry_bucket, entry);
LIST_HEAD(use_list, use);
LIST_HEAD(shared_bucket, shared);

struct governed {
	struct manager *manager;
	const struct hierarchy *h; /* NULL: no device programs */
	sd_event_source *timer, *renewal;
	struct entry **list;
	unsigned n, size;
	unsigned cursor;  /* that many are left in this pass */
	unsigned renewed; /* and that many whose names are to be looked up again */
	bool changed;	  /* there was news during the pass: another one after it */
	bool unchanged;	  /* names stand for other devices, and rules were being changed then */
	bool uncollected; /* pins may be left of what is gone */
	struct use_list uses;
	struct entry_bucket by_id[BUCKETS];
	struct shared_bucket shared[BUCKETS];
};

/*
 * Policies.
 */

static struct shared_bucket *bucket_of_policy(struct governed *g, const struct device_policy *p)
{
	const unsigned char *at = p->data;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < p->size; i++)
		hash = (hash ^ at[i]) * 0x100000001b3u;
	return &g->shared[(hash >> 20) % BUCKETS];
}

static bool has_names(const struct device_policy *p)
{
	struct device_rules rules = {0};
	bool found = false;

	if (device_policy_source(p->data, p->size, &rules) < 0)
		return false;
	for (unsigned i = 0; i < rules.n; i++)
		found |= rules.rule[i].name[0] != '\0';
	device_rules_done(&rules);
	return found;
}

static struct shared *shared_put(struct shared *s)
{
	if (s && --s->refs == 0) {
		LIST_REMOVE(s, list);
		device_policy_done(&s->policy);
		free(s);
	}
	return NULL;
}

static struct shared *shared_take(struct governed *g, const struct device_policy *p)
{
	struct shared_bucket *bucket = bucket_of_policy(g, p);
	struct shared *s;

	LIST_FOREACH(s, bucket, list)
	if (s->policy.size == p->size && memcmp(s->policy.data, p->data, p->size) == 0) {
		s->refs++;
		return s;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->policy.data = malloc(p->size);
	if (!s->policy.data) {
		free(s);
		return NULL;
	}
	memcpy(s->policy.data, p->data, p->size);
	s->policy.size = p->size;
	s->refs = 1;
	s->names = has_names(p);
	LIST_INSERT_HEAD(bucket, s, list);
	return s;
}

/*
 * Quotas.
 */

static struct use *use_find(const struct governed *g, uint64_t account)
{
	struct use *u = LIST_FIRST(&g->uses);

	while (u && u->account != account)
		u = LIST_NEXT(u, list);
	return u;
}

static void use_put(struct entry *e)
{
	struct use *u = e->use;

	e->use = NULL;
	if (u && (u->bytes -= e->counted) == 0) {
		LIST_REMOVE(u, list);
		free(u);
	}
}

/* What it takes now: the kernel has a copy of each policy, and we one of those that differ. */
static void use_count(struct entry *e)
{
	if (!e->use)
		return;
	e->use->bytes -= e->counted;
	e->counted = sizeof(*e) + strlen(e->path) + e->shared->policy.size;
	e->use->bytes += e->counted;
}

bool governed_full(const struct governed *g, uint64_t account)
{
	const struct use *u = account != 0 ? use_find(g, account) : NULL;

	return u && u->bytes >= ACCOUNT_POLICIES_MAX;
}

/*
 * Cgroups.
 */

static struct entry *entry_find(struct governed *g, uint64_t id)
{
	struct entry *e;

	LIST_FOREACH(e, &g->by_id[id % BUCKETS], by_id)
	if (e->id == id)
		return e;
	return NULL;
}

static void entry_drop(struct governed *g, struct entry *e)
{
	LIST_REMOVE(e, by_id);
	/* A pass goes from the end to the begin: what is moved from there was looked at. */
	g->list[e->index] = g->list[--g->n];
	g->list[e->index]->index = e->index;
	if (g->cursor > g->n)
		g->cursor = g->n;
	if (g->renewed > g->n)
		g->renewed = g->n;
	use_put(e);
	shared_put(e->shared);
	free(e);
}

/* None while there is nothing to look after. */
static void timer_set(struct governed *g)
{
	bool on = g->n > 0 || g->uncollected || g->unchanged;
	uint64_t usec = 0;

	(void)sd_event_now(g->manager->event, CLOCK_MONOTONIC, &usec);
	(void)sd_event_source_set_time(g->timer, usec + TICK_USEC);
	(void)sd_event_source_set_enabled(g->timer, on ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int list_grow(struct governed *g)
{
	unsigned size = g->size ? g->size * 2 : 16;
	struct entry **list;

	if (g->n < g->size)
		return 0;
	list = reallocarray(g->list, size, sizeof(*list));
	if (!list)
		return -ENOMEM;
	g->list = list;
	g->size = size;
	return 0;
}

static int entry_new(struct governed *g, uint64_t id, const char *path, struct shared *shared)
{
	size_t len = strlen(path);
	struct entry *e;
	int r = list_grow(g);

	e = r < 0 ? NULL : malloc(sizeof(*e) + len + 1);
	if (!e)
		return -ENOMEM;
	*e = (struct entry){.id = id, .index = g->n, .shared = shared};
	memcpy(e->path, path, len + 1);
	g->list[g->n++] = e;
	LIST_INSERT_HEAD(&g->by_id[id % BUCKETS], e, by_id);
	if (g->n == 1)
		timer_set(g);
	return 0;
}

static int entry_set(
	struct governed *g, uint64_t id, const char *path, const struct device_policy *policy)
{
	struct entry *e = entry_find(g, id);
	struct shared *shared = shared_take(g, policy);
	int r;

	if (!shared)
		return -ENOMEM;
	if (e) {
		shared_put(e->shared);
		e->shared = shared;
		use_count(e);
		return 0;
	}
	r = entry_new(g, id, path, shared);
	if (r < 0)
		shared_put(shared);
	return r;
}

int governed_set_id(
	struct governed *g, uint64_t id, const char *path, const struct device_policy *policy)
{
	struct entry *e;

	if (!g->h)
		return 0;
	if (policy && policy->data)
		return entry_set(g, id, path, policy);
	e = entry_find(g, id);
	if (e)
		entry_drop(g, e);
	return 0;
}

int governed_set(struct governed *g, int fd, const char *path, const struct device_policy *policy)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return governed_set_id(g, st.st_ino, path, policy);
}

int governed_look(struct governed *g, int fd, const char *path)
{
	struct device_policy policy = {0};
	int r = g->h ? devprog_policy_get(g->manager->devprog, fd, &policy) : 0;

	if (r >= 0)
		r = governed_set(g, fd, path, &policy);
	device_policy_done(&policy);
	return r;
}

void governed_owe(struct governed *g, int fd, uint64_t account)
{
	struct stat st;

	if (fstat(fd, &st) >= 0)
		governed_owe_id(g, st.st_ino, account);
}

void governed_owe_id(struct governed *g, uint64_t id, uint64_t account)
{
	struct entry *e = entry_find(g, id);
	struct use *u = account != 0 ? use_find(g, account) : NULL;

	if (!e || (e->use && e->use == u))
		return;
	if (account != 0 && !u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			return;
		u->account = account;
		LIST_INSERT_HEAD(&g->uses, u, list);
	}
	use_put(e);
	e->use = u;
	e->counted = 0;
	use_count(e);
}

unsigned governed_count(const struct governed *g)
{
	return g->n;
}

/*
 * The look.
 */

/* The very cgroup, or a negative errno; -ENOENT: it is gone. */
static int entry_open(const struct governed *g, const struct entry *e)
{
	int fd = cgroup_open_path(g->h->root_fd, e->path, strlen(e->path));
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || st.st_ino != e->id) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

static bool is_gone(int r)
{
	return r == -ENOENT || r == -ENODEV || r == -ENOTDIR;
}

static bool any_ours(const struct devprog_attached *a)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->one[i].ours)
			return true;
	return false;
}

/* Somebody has detached it: it comes back. */
static void repair(struct governed *g, struct entry *e, int fd)
{
	int r = devprog_policy_set(g->manager->devprog, fd, &e->shared->policy);

	if (is_gone(r))
		return;
	if (r < 0)
		log_limited(LOG_WARNING, e->id,
			"the device rules of %s were taken away and cannot be set again: %s",
			e->path, strerror(-r));
	else
		log_limited(LOG_WARNING, e->id,
			"the device rules of %s were taken away; they are set again", e->path);
}

/* `locked`: by the caller. */
static void look(struct governed *g, struct entry *e, bool locked)
{
	_cleanup_devlock_ struct devlock lock = {0};
	_cleanup_close_ int fd = entry_open(g, e);
	struct devprog_attached attached;
	int r = fd < 0 ? fd : devprog_query(g->manager->devprog, fd, &attached);

	if (is_gone(r)) {
		g->uncollected = true;
		entry_drop(g, e);
	} else if (r >= 0 && !any_ours(&attached) &&
		   (locked || devlock_try(g->manager->devlocks, &lock, e->path, e->path, false) >=
				      0)) {
		repair(g, e, fd);
	}
}

bool governed_miss(struct governed *g, uint64_t id, bool locked)
{
	struct entry *e = g->h ? entry_find(g, id) : NULL;

	if (!e)
		return false;
	look(g, e, locked);
	return true;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct governed *g = userdata;

	if (g->cursor == 0)
		g->cursor = g->n;
	for (unsigned i = 0; i < SLICE && g->cursor > 0; i++)
		look(g, g->list[--g->cursor], false);
	if (g->unchanged && g->renewed == 0)
		governed_changed(g);
	if (g->uncollected)
		g->uncollected =
			devprog_collect(g->manager->devprog, COLLECT_SLICE) == COLLECT_SLICE;
	timer_set(g);
	return 0;
}

/*
 * Names.
 */

/* What an entry's names stand for now, if that is something else. */
static int renew(struct governed *g, struct entry *e)
{
	struct device_rules rules = {0};
	struct device_policy policy = {0};
	const struct device_policy *old = &e->shared->policy;
	_cleanup_devlock_ struct devlock lock = {0};
	int r = devlock_try(g->manager->devlocks, &lock, e->path, e->path, false);

	if (r >= 0)
		r = device_policy_source(old->data, old->size, &rules);
	if (r >= 0)
		r = devices_compile(g->manager, &rules, &policy);
	device_rules_done(&rules);
	if (r >= 0 &&
		(policy.size != old->size || memcmp(policy.data, old->data, policy.size) != 0)) {
		_cleanup_close_ int fd = entry_open(g, e);

		r = fd < 0 ? fd : devprog_policy_set(g->manager->devprog, fd, &policy);
		if (r >= 0)
			r = entry_set(g, e->id, e->path, &policy);
	}
	device_policy_done(&policy);
	return r;
}

static void renew_one(struct governed *g, struct entry *e)
{
	int r = e->shared->names ? renew(g, e) : 0;

	if (r == -EBUSY)
		g->unchanged = true; /* again at the next look */
	else if (r < 0 && !is_gone(r))
		log_limited(LOG_WARNING, e->id,
			"the devices of %s changed and its rules could not follow: %s", e->path,
			strerror(-r));
}

/* As many as there is time for; the rest when others have had as much. */
static void renew_some(struct governed *g, uint64_t usec)
{
	uint64_t until = clock_monotonic() / 1000 + usec;

	while (g->renewed > 0 && clock_monotonic() / 1000 < until)
		renew_one(g, g->list[--g->renewed]);
	if (g->renewed == 0 && g->changed) {
		g->changed = false;
		g->renewed = g->n;
	}
	/* Names of GPUs stand for others now. */
	if (g->renewed == 0)
		perf_changed(g->manager->perf);
	else
		(void)sd_event_source_set_time_relative(g->renewal, usec);
	(void)sd_event_source_set_enabled(
		g->renewal, g->renewed > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_renewal(sd_event_source *source, uint64_t usec, void *userdata)
{
	renew_some(userdata, RENEW_USEC);
	return 0;
}

void governed_changed(void *userdata)
{
	struct governed *g = userdata;

	if (!g)
		return;
	/* A pass is not begun anew: with news all the time nobody's turn would come at its end. */
	if (g->renewed > 0) {
		g->changed = true;
		return;
	}
	g->unchanged = false;
	g->renewed = g->n;
	renew_some(g, RENEW_USEC);
}

/*
 * The walk.
 */

static int walk_one(struct governed *g, int fd, const char *path)
{
	struct manager *m = g->manager;
	struct devprog_attached attached;
	struct device_policy policy = {0};
	int r = devprog_query(m->devprog, fd, &attached);

	if (r < 0 || attached.n == 0)
		return 0;
	r = devprog_adopt(m->devprog, m->inspector, fd, &attached);
	if (r == -EPROTO)
		log_line(LOG_WARNING, "%s has device rules of another cgmd that cannot be read",
			path);
	else if (r < 0 && !is_gone(r))
		log_line(LOG_WARNING, "device rules of %s cannot be taken over: %s", path,
			strerror(-r));
	r = devprog_policy_get(m->devprog, fd, &policy);
	if (r > 0)
		r = governed_set(g, fd, path, &policy);
	device_policy_done(&policy);
	return r == -ENOMEM ? r : 0;
}

static int walk_enter(void *userdata, int fd, const char *path)
{
	char whole[PATH_TEXT_MAX + 2];

	/* Nothing that deep can be named. */
	if (!path || strlen(path) >= PATH_TEXT_MAX)
		return 0;
	whole[0] = '/';
	strcpy(whole + 1, path);
	return walk_one(userdata, fd, whole);
}

int governed_walk(struct governed *g)
{
	static const struct tree_ops ops = {.enter = walk_enter};
	int r;

	if (!g->h)
		return 0;
	r = tree_walk(g->h->root_fd, &ops, g);
	/* Names may stand for other devices than when they were written. */
	g->renewed = g->n;
	renew_some(g, RENEW_AT_START_USEC);
	g->uncollected = true;
	timer_set(g);
	return r;
}

int governed_new(struct manager *m, struct governed **ret)
{
	struct governed *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->manager = m;
	for (unsigned i = 0; i < m->hierarchies.n; i++)
		if (m->hierarchies.list[i].v2 && devprog_kind(m->devprog) != DEVPROG_NONE)
			g->h = &m->hierarchies.list[i];
	r = sd_event_add_time(m->event, &g->timer, CLOCK_MONOTONIC, 0, 0, on_timer, g);
	if (r >= 0)
		r = sd_event_source_set_enabled(g->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(m->event, &g->renewal, CLOCK_MONOTONIC, 0, 1, on_renewal, g);
	if (r >= 0)
		r = sd_event_source_set_enabled(g->renewal, SD_EVENT_OFF);
	if (r < 0) {
		governed_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

struct governed *governed_free(struct governed *g)
{
	if (!g)
		return NULL;
	while (g->n > 0)
		entry_drop(g, g->list[g->n - 1]);
	free(g->list);
	sd_event_source_disable_unref(g->timer);
	sd_event_source_disable_unref(g->renewal);
	free(g);
	return NULL;
}
