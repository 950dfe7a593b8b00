/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ResolveDevice and ListGpus. Who is not host root sees what its own cgroup may have, and the rest
 * does not exist. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "cleanup.h"
#include "devices.h"
#include "devname.h"
#include "manager.h"

/* What cannot be told as a range is told one by one. */
#define MINORS_MAX 256
#define DEVICES_MAX 4096

static int device_add(
	struct reply *reply, char type, uint32_t major, uint32_t minor, const char *node)
{
	struct reply_device *bigger;

	if (reply->n_devices == DEVICES_MAX)
		return -E2BIG;
	bigger = reallocarray(reply->devices, reply->n_devices + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	reply->devices = bigger;
	bigger[reply->n_devices++] = (struct reply_device){.type = type,
		.major = major,
		.minor = minor,
		.node = node[0] ? strdup(node) : NULL};
	return 0;
}

static int type_add(
	struct reply *reply, char type, const struct device_range *range, const char *node)
{
	int r = 0;

	if (range->first == 0 && range->last == DEVICE_MINOR_MAX)
		return device_add(reply, type, range->major, UINT32_MAX, node);
	if (range->last - range->first >= MINORS_MAX)
		return -E2BIG;
	for (uint32_t minor = range->first; r >= 0 && minor <= range->last; minor++)
		r = device_add(reply, type, range->major, minor, node);
	return r;
}

static int range_add(struct reply *reply, const struct device_range *range, const char *node)
{
	int r = 0;

	if (range->types & DEVICE_CHAR)
		r = type_add(reply, 'c', range, node);
	if (r >= 0 && (range->types & DEVICE_BLOCK))
		r = type_add(reply, 'b', range, node);
	return r;
}

static int resolve(struct op *op, const struct device_rule *rule)
{
	_cleanup_free_ struct devname_entry *entry = NULL;
	unsigned n = 0;
	int r;

	if (!rule->name[0])
		return range_add(&op->reply, &rule->range, ""); /* tells nothing */
	r = devname_resolve(op->manager->devnames, rule->name, &entry, &n);
	for (unsigned i = 0; r >= 0 && i < n; i++)
		if (devices_visible(op, &entry[i].range))
			r = range_add(&op->reply, &entry[i].range, entry[i].node);
	return r;
}

/* That there is something to tell was seen in devices_prepare(). */
static void resolve_collect(struct op *op)
{
	int r = resolve(op, &op->devices->rules.rule[0]);

	if (r < 0)
		op->reply.reason = r == -E2BIG	  ? REASON_MANY_ENTRIES
				   : r == -ENOMEM ? REASON_INTERNAL
						  : REASON_DEVICE_MISSING;
}

static enum reason resolve_prepare(struct op *op, struct target *t)
{
	enum reason reason = devices_own_prepare(op, t);

	return reason == REASON_OK ? devices_prepare(op, t) : reason;
}

const struct act act_resolve_device = {.prepare = resolve_prepare, .collect = resolve_collect};

/*
 * ListGpus.
 */

static bool node_visible(struct op *op, const struct gpu_node *node)
{
	const struct device_range range = {.types = DEVICE_CHAR,
		.access = DEVICE_ALL,
		.major = node->major,
		.first = node->minor,
		.last = node->minor};

	return devices_visible(op, &range);
}

static char *text_or_null(const char *text)
{
	return text[0] ? strdup(text) : NULL;
}

static int gpu_add(struct op *op, const struct gpu *gpu, char **nodes)
{
	struct reply *reply = &op->reply;
	struct reply_gpu *bigger = reallocarray(reply->gpus, reply->n_gpus + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	reply->gpus = bigger;
	bigger[reply->n_gpus++] = (struct reply_gpu){
		.address = text_or_null(gpu->address),
		.id = text_or_null(gpu->id),
		.driver = text_or_null(gpu->driver),
		.pmu = text_or_null(gpu->pmu),
		.region = text_or_null(gpu->region),
		.nodes = nodes,
	};
	return 0;
}

static int gpu_show(struct op *op, const struct gpu *gpu)
{
	char **nodes = calloc(GPU_NODES_MAX + 1, sizeof(*nodes));
	unsigned n = 0, seen = 0;
	int r;

	if (!nodes)
		return -ENOMEM;
	for (unsigned i = 0; i < gpu->n_nodes; i++) {
		if (!node_visible(op, &gpu->node[i]))
			continue;
		seen++;
		if (gpu->node[i].path[0])
			nodes[n++] = strdup(gpu->node[i].path);
	}
	r = seen > 0 || op->devices->host_root ? gpu_add(op, gpu, nodes) : 1;
	for (unsigned i = 0; r != 0 && i < n; i++)
		free(nodes[i]);
	if (r != 0)
		free(nodes);
	return r;
}

static void gpus_collect(struct op *op)
{
	_cleanup_free_ struct gpu *gpus = NULL;
	unsigned n = 0;
	int r = devname_gpus(op->manager->devnames, &gpus, &n);

	for (unsigned i = 0; r >= 0 && i < n; i++)
		r = gpu_show(op, &gpus[i]);
	if (r < 0)
		op->reply.reason = REASON_INTERNAL;
}

const struct act act_list_gpus = {.prepare = devices_own_prepare, .collect = gpus_collect};
