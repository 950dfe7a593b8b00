/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What workers must know of a thread: judged as its own call would be. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "../cgroupfs.h"
#include "../cleanup.h"
#include "../devway.h"
#include "../facts.h"
#include "../gather.h"
#include "../manager.h"
#include "../proc.h"
#include "grants.h"
#include "worker.h"

struct ways {
	struct devway *way[PERF_WAYS_MAX];
	unsigned n;
};

static void ways_done(struct ways *w)
{
	for (unsigned i = 0; i < w->n; i++)
		devway_free(w->way[i]);
}

#define _cleanup_ways_ __attribute__((cleanup(ways_done)))

static bool has_gpu(const struct perf_items *items)
{
	const struct perf_item gpu = {.kind = PERF_ITEM_GPU};

	return perf_items_have(items, &gpu);
}

/* The rules of its own cgroups, which in another hierarchy need not have the same name. */
static int ways_of(struct op *op, struct ways *ret)
{
	const struct hierarchies *all = &op->manager->hierarchies;
	ssize_t len = proc_read(
		identity_proc(op->who.identity), "cgroup", gather_text, sizeof(gather_text));
	int r = len < 0 ? (int)len : 0;

	for (unsigned i = 0; r >= 0 && i < all->n && ret->n < PERF_WAYS_MAX; i++) {
		const struct hierarchy *h = &all->list[i];
		char path[PATH_TEXT_MAX + 1];

		if (!hierarchy_governs_devices(h))
			continue;
		if (gather_path(h, gather_text, (size_t)len, path) != REASON_OK)
			return -EXDEV;
		r = devway_read(op->manager, h, path, -EBADF, DEVWAY_READ, &ret->way[ret->n]);
		ret->n += r >= 0;
	}
	return r;
}

static int grant_of(struct op *op, const struct perf_items *items, struct perf_grant *ret)
{
	_cleanup_ways_ struct ways ways = {0};
	struct perf_items less = *items;
	int r = has_gpu(items) ? ways_of(op, &ways) : 0;

	/* Of rules that cannot be told no GPU is allowed. */
	if (r < 0) {
		const struct perf_item gpu = {.kind = PERF_ITEM_GPU};

		perf_items_remove(&less, &gpu);
	}
	return perf_grant_resolve(
		op->manager, &less, (const struct devway *const *)ways.way, ways.n, ret);
}

/*
 * What its events count with, of a scope own[:len]. Whoever may make cgroups makes scopes of them
 * too, each in the one before, and all their events are of the task that runs in the last: so below
 * what carries the grant all scopes that lie in one cgroup count as one.
 */
static size_t counted_len(const char *own, size_t carrier, size_t len)
{
	size_t from = carrier + (carrier > 1);

	return carrier == 0 || carrier >= len ? len : from + strcspn(own + from, "/");
}

static uint32_t levels(const char *own, size_t from, size_t to)
{
	uint32_t n = 0;

	for (size_t i = from; i < to; i++)
		n += own[i] == '/';
	return n;
}

/* The deeper of what carries the grant and the root of its scope. */
static int scope_open(
	const struct target *t, size_t carrier, struct perf_facts_are *ret, int *ret_fd)
{
	size_t len = carrier > t->scope_len ? carrier : t->scope_len;
	size_t counted = counted_len(t->who.own, carrier, len);
	_cleanup_close_ int fd = cgroup_open_path(t->h->root_fd, t->who.own, len);
	_cleanup_close_ int above = cgroup_open_path(t->h->root_fd, t->who.own, counted);
	struct node node;
	int r = fd < 0 ? fd : above < 0 ? above : cgroup_stat(above, &node);

	if (r < 0)
		return r;
	ret->scope_id = node.id;
	ret->up = levels(t->who.own, counted, len);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A directory that is no cgroup's, in which no event can be opened. */
static int nowhere_open(const struct manager *m, int *ret_fd)
{
	int fd = openat(m->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* 0: all is known. 1: where it is cannot be told, or not any more. */
static int gather(struct op *op, struct perf_facts_are *ret, int *ret_scope_fd)
{
	enum reason reason = facts_hierarchies(op);
	struct target *t = op->targets;
	struct perf_had had;
	int r;

	if (reason == REASON_OK)
		reason = facts_open(op);
	if (reason == REASON_OK)
		reason = facts_gather(op, &op->who, t, FACT_NS | FACT_SCOPE);
	if (reason == REASON_REQUESTOR_GONE)
		return -ESRCH;
	if (reason == REASON_INTERNAL)
		return -EIO;
	if (reason != REASON_OK)
		return 1;
	ret->own_pidns = op->who.subject.own_pidns;
	r = perf_had_at(op->manager, t->h, t->who.own, &had);
	if (r >= 0)
		r = grant_of(op, &had.items, &ret->grant);
	if (r >= 0)
		r = scope_open(t, had.carrier_len, ret, ret_scope_fd);
	return r == -ENOENT || r == -ENODEV ? 1 : r;
}

/* Last: whoever lives still had that number all the time. */
static int alive(struct identity *identity)
{
	int r = proc_exiting(identity->proc_fd);

	return r == 0 ? 0 : r == 1 || r == -ENOENT ? -ESRCH : r;
}

int perf_facts_of(struct manager *m, pid_t tid, struct perf_facts_are *ret, int *ret_scope_fd)
{
	_cleanup_close_ int scope = -EBADF;
	struct identity identity;
	struct op *op;
	int r;

	ret->tid = tid;
	ret->scope_id = 0;
	ret->own_pidns = ret->up = 0;
	memset(&ret->grant, 0, sizeof(ret->grant));
	r = identity_thread(&identity, tid, m->proc_fd);
	if (r < 0)
		return ret->result = r;
	op = op_new_of(m, &identity);
	if (op) {
		op->request = (struct request){.method = &methods[METHOD_ShowPerf]};
		op->question.action = op->request.method->action;
		r = gather(op, ret, &scope);
		op_free(op);
	} else {
		r = -ENOMEM;
	}
	if (r > 0) {
		memset(&ret->grant, 0, sizeof(ret->grant));
		ret->scope_id = 0;
		r = nowhere_open(m, &scope);
	}
	if (r >= 0)
		r = alive(&identity);
	identity_done(&identity);
	if (r >= 0)
		*ret_scope_fd = TAKE_FD(scope);
	return ret->result = r < 0 ? r : 0;
}
