/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Items as numbers of the running kernel's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../devname.h"
#include "../devway.h"
#include "../manager.h"
#include "grants.h"
#include "pmus.h"

#define DRM_MAJOR 226

/*
 * The host's PMUs. Some of a server's hundred need four system calls each: the list is kept until
 * the kernel tells that devices have come or gone.
 */

static struct {
	uint64_t state; /* of the devnames, of which the list is; 0: of none */
	struct pmu *pmu;
	unsigned n;
} kept;

static int pmus_refresh(struct manager *m)
{
	uint64_t state = devnames_state(m->devnames);
	struct pmu *pmu = NULL;
	unsigned n = 0;
	int r;

	if (state != 0 && state == kept.state)
		return 0;
	r = pmus_list(m->sys_fd, &pmu, &n);
	if (r < 0 && r != -ENOENT)
		return r;
	free(kept.pmu);
	kept.pmu = pmu;
	kept.n = n;
	kept.state = state;
	return 0;
}

/*
 * GPUs.
 */

static bool way_allows(const struct devway *way, const struct device_range *range)
{
	return devway_allows(way, range, DEVICE_READ | DEVICE_WRITE, NULL, NULL) == YES;
}

static bool node_allowed(
	const struct gpu_node *node, const struct devway *const *way, unsigned n_ways)
{
	const struct device_range range = {.types = DEVICE_CHAR,
		.access = DEVICE_READ | DEVICE_WRITE,
		.major = node->major,
		.first = node->minor,
		.last = node->minor};

	/* What cards of one kind share says nothing of one. */
	if (node->major != DRM_MAJOR)
		return false;
	for (unsigned i = 0; i < n_ways; i++)
		if (!way_allows(way[i], &range))
			return false;
	return true;
}

static bool gpu_allowed(const struct gpu *gpu, const struct devway *const *way, unsigned n_ways)
{
	for (unsigned i = 0; i < gpu->n_nodes; i++)
		if (node_allowed(&gpu->node[i], way, n_ways))
			return true;
	return false;
}

/* The names of the PMUs of those that may be used, each as an item. */
static int gpu_pmus(
	struct manager *m, const struct devway *const *way, unsigned n_ways, struct perf_items *ret)
{
	_cleanup_free_ struct gpu *gpus = NULL;
	unsigned n = 0;
	int r = devname_gpus(m->devnames, &gpus, &n);

	for (unsigned i = 0; r >= 0 && i < n; i++) {
		struct perf_item item = {.kind = PERF_ITEM_PMU};

		if (!gpus[i].pmu[0] || !gpu_allowed(&gpus[i], way, n_ways))
			continue;
		strcpy(item.name, gpus[i].pmu);
		r = perf_items_add(ret, &item);
	}
	/* The rest of so many is not granted. */
	return r == -E2BIG ? 0 : r;
}

int perf_ways_at(
	struct manager *m, const char *path, struct devway *ret[PERF_WAYS_MAX], unsigned *ret_n)
{
	const struct hierarchies *all = &m->hierarchies;
	int r = 0;

	*ret_n = 0;
	for (unsigned i = 0; r >= 0 && i < all->n && *ret_n < PERF_WAYS_MAX; i++) {
		char at[PATH_TEXT_MAX + 1], *end;

		if (!hierarchy_governs_devices(&all->list[i]))
			continue;
		strcpy(at, path);
		while ((r = devway_read(m, &all->list[i], at, -EBADF, DEVWAY_READ, &ret[*ret_n])) ==
				-ENOENT &&
			at[1]) {
			end = strrchr(at, '/');
			end[end == at] = '\0';
		}
		*ret_n += r >= 0;
	}
	return r;
}

/*
 * All of it.
 */

/* One of which more is to be said than that nobody may have it, as of one that is not known. */
static bool matters(const struct perf_pmu *pmu)
{
	return pmu->granted || pmu->cpu || pmu->probe || pmu->scoped;
}

static bool has_kind(const struct perf_items *items, enum perf_item_kind kind)
{
	const struct perf_item item = {.kind = kind};

	return perf_items_have(items, &item);
}

static void pmu_resolve(const struct pmu *pmu, const struct perf_items *items,
	const struct perf_items *gpus, struct perf_pmu *ret)
{
	struct perf_item item = {.kind = PERF_ITEM_PMU};

	*ret = (struct perf_pmu){.type = pmu->type,
		.scoped = pmu->scoped,
		.granted = true,
		.cpu = pmu->is_cpu,
		.probe = pmu->is_probe,
		.leaks = pmu->leaks,
		.no_exclude = pmu->no_exclude};
	strcpy(item.name, pmu->name);
	if (perf_items_have(items, &item))
		ret->by = PERF_ITEM_PMU;
	else if (perf_items_have(gpus, &item))
		ret->by = PERF_ITEM_GPU;
	else if (pmu->is_power && has_kind(items, PERF_ITEM_POWER))
		ret->by = PERF_ITEM_POWER;
	else
		ret->granted = false;
}

/* Of a server's hundreds of uncore PMUs those that nobody may have are left out first. */
static void pmus_resolve(
	const struct perf_items *items, const struct perf_items *gpus, struct perf_grant *ret)
{
	unsigned room = PERF_PMUS_MAX;
	struct perf_pmu pmu;

	for (unsigned i = 0; i < kept.n; i++) {
		pmu_resolve(&kept.pmu[i], items, gpus, &pmu);
		ret->raw |= pmu.cpu && pmu.granted;
		room -= room > 0 && matters(&pmu);
	}
	for (unsigned i = 0; i < kept.n && ret->n_pmus < PERF_PMUS_MAX; i++) {
		pmu_resolve(&kept.pmu[i], items, gpus, &pmu);
		if (!matters(&pmu) && room == 0)
			continue;
		room -= !matters(&pmu);
		ret->pmu[ret->n_pmus++] = pmu;
	}
}

/* One that is not there is granted to nobody. */
static void tracepoints_resolve(
	struct manager *m, const struct perf_items *items, struct perf_grant *ret)
{
	for (unsigned i = 0; i < items->n && ret->n_tracepoints < PERF_TRACEPOINTS_MAX; i++) {
		if (items->item[i].kind != PERF_ITEM_TRACEPOINT)
			continue;
		if (tracepoint_find(m->tracefs_fd, items->item[i].name,
			    &ret->tracepoint[ret->n_tracepoints]) >= 0)
			ret->n_tracepoints++;
	}
}

int perf_grant_resolve(struct manager *m, const struct perf_items *items,
	const struct devway *const *way, unsigned n_ways, struct perf_grant *ret)
{
	struct perf_items gpus;
	int r = pmus_refresh(m);

	*ret = (struct perf_grant){
		.cpu = has_kind(items, PERF_ITEM_CPU), .kernel = has_kind(items, PERF_ITEM_KERNEL)};
	gpus.n = 0;
	if (r >= 0 && has_kind(items, PERF_ITEM_GPU))
		r = gpu_pmus(m, way, n_ways, &gpus);
	if (r < 0)
		return r;
	pmus_resolve(items, &gpus, ret);
	tracepoints_resolve(m, items, ret);
	return 0;
}
