/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AddDevice and RemoveDevice: the rules as AllowDevices and DenyDevices change them, and the node
 * in the /dev of the container that runs in the cgroup. On a worker, for what lies there may keep
 * whoever looks waiting. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act.h"
#include "act-device.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devices.h"
#include "devname.h"
#include "devnode.h"
#include "manager.h"
#include "proc.h"
#include "task.h"
#include "tree.h"

/* A container's first process is among the first of its cgroups. */
#define CANDIDATES_MAX 64
#define STATUS_MAX 8192
/* Where the host shows none of its own. */
#define MODE_DEFAULT 0660

/* The processes of the cgroup and those below, those first that have process 1's number in the
 * fewest pid namespaces. */
struct candidates {
	struct op *op;
	unsigned n;
	struct candidate {
		int32_t pid;
		unsigned rank;
	} list[CANDIDATES_MAX];
};

/* The numbers that the process has, the host's first; of process 1 of a namespace the last is 1. */
static unsigned pid_rank(int proc_fd, int32_t pid)
{
	char path[32], text[STATUS_MAX], *at;
	unsigned levels = 0;
	long last = 0;

	snprintf(path, sizeof(path), "%d/status", pid);
	if (proc_read(proc_fd, path, text, sizeof(text)) < 0)
		return UINT32_MAX;
	at = strstr(text, "\nNSpid:");
	if (!at)
		return UINT32_MAX;
	for (at += strlen("\nNSpid:"); *at == '\t'; levels++)
		last = strtol(at, &at, 10);
	return levels + (last == 1 ? 0 : 1000);
}

static void candidate_add(struct candidates *c, int32_t pid)
{
	unsigned rank = pid_rank(c->op->manager->proc_fd, pid), at = c->n;

	/* What has no namespace's number 1 and comes late is one of many. */
	if (c->n == CANDIDATES_MAX && rank >= c->list[c->n - 1].rank)
		return;
	if (c->n == CANDIDATES_MAX)
		at = --c->n;
	for (; at > 0 && c->list[at - 1].rank > rank; at--)
		c->list[at] = c->list[at - 1];
	c->list[at] = (struct candidate){.pid = pid, .rank = rank};
	c->n++;
}

static int candidates_of(void *userdata, int fd, const char *path)
{
	struct candidates *c = userdata;
	_cleanup_free_ int32_t *pids = NULL;
	char text[16384];
	size_t n = 0;

	(void)path;
	/* Of a threaded one nothing can be read; of a very full one the first are enough. */
	if (cgroup_read_small(fd, "cgroup.procs", text, sizeof(text)) < 0 ||
		pids_append(text, &pids, &n, sizeof(text)) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (pids[i] > 0)
			candidate_add(c, pids[i]);
	return 0;
}

static bool is_host_root(const struct party *p)
{
	unsigned need = 0;

	return subject_is_host_root(&p->subject, &need) == YES;
}

/* The facts about the requestor are all there: see facts_for_act(). */
static bool may_use(struct op *op, int32_t pid, int pidfd)
{
	struct victim v = {0};
	unsigned need = 0;
	int32_t near = 0;
	int why;

	if (is_host_root(&op->who))
		return true;
	if (inspect_victims(op->manager->inspector, op->who.pid, &pid, 1, &near) < 0 || near <= 0 ||
		task_ids(op->manager->proc_fd, pid, pidfd, &v, NULL) < 0)
		return false;
	v.have = FACT_VICTIM_NS;
	v.below_userns = true;
	return subject_over_task(&op->who.subject, &v, &need, &why) == YES;
}

/* In the first container that there is. -ESRCH: none that the requestor may reach into. -EXDEV:
 * what runs there sees the host's own /dev. */
static int node_in(struct op *op, const struct candidates *c, struct devnode *node)
{
	int result = -ESRCH;

	for (unsigned i = 0; i < c->n; i++) {
		_cleanup_close_ int pidfd = pidfd_open(c->list[i].pid, 0);
		int r;

		if (pidfd < 0 || !may_use(op, c->list[i].pid, pidfd) || !task_alive(op->who.pidfd))
			continue;
		node->task = c->list[i].pid;
		node->pidfd = pidfd;
		r = devnode_change(op->manager->inspector, node);
		if (r != -ESRCH && r != -EXDEV)
			return r;
		result = r == -EXDEV ? r : result;
	}
	return result;
}

/* What is asked for, or what the host's own node has. */
static mode_t node_mode(const struct request_options *o, const char *path)
{
	struct stat st;

	if (o->given & 1U << OPTION_AddDevice_mode)
		return o->mode & 0777;
	if (path[0] && stat(path, &st) == 0)
		return st.st_mode & 0777;
	return MODE_DEFAULT;
}

static bool id_outside(
	const struct op *op, const struct idmap *map, bool given, uint32_t id, uint32_t *ret)
{
	*ret = DEVNODE_OWNER;
	if (!given)
		return true;
	if (is_host_root(&op->who)) {
		*ret = id;
		return id != DEVNODE_OWNER;
	}
	return idmap_to_outside(map, id, ret);
}

static enum reason node_prepare(const struct op *op, struct devnode *ret)
{
	const struct request_options *o = &op->request.options;
	const struct subject *s = &op->who.subject;

	*ret = (struct devnode){.pidfd = -EBADF};
	ret->requestor = is_host_root(&op->who) ? 0 : op->who.pid;
	ret->remove = op->request.method->id == METHOD_RemoveDevice;
	if ((o->given & 1U << OPTION_AddDevice_mode) && o->mode > 0777)
		return REASON_MODE;
	if ((o->given & 1U << OPTION_AddDevice_path) && !devnode_path(o->path, ret->path))
		return REASON_NODE_PATH;
	if (!id_outside(op, &s->uid_map, o->given & 1U << OPTION_AddDevice_uid, o->uid, &ret->uid))
		return REASON_UID_UNMAPPED;
	if (!id_outside(op, &s->gid_map, o->given & 1U << OPTION_AddDevice_gid, o->gid, &ret->gid))
		return REASON_GID_UNMAPPED;
	return REASON_OK;
}

static enum reason node_error(int r)
{
	switch (r) {
	case -ESRCH:
		return REASON_NODE_NOBODY;
	case -EXDEV:
		return REASON_NODE_HOST;
	case -EPERM:
		return REASON_NODE_FOREIGN;
	case -EEXIST:
		return REASON_NODE_EXISTS;
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
		return REASON_NODE_PATH;
	case -ETIMEDOUT:
		return REASON_NODE_TIMEOUT;
	default:
		return REASON_KERNEL;
	}
}

/* Is it among those that the rules now speak of? What the requestor may not know of is not. */
static bool is_meant(const struct device_rules *resolved, const struct device_range *r)
{
	for (unsigned i = 0; i < resolved->n; i++) {
		const struct device_range *known = &resolved->rule[i].range;

		if (known->types == r->types && known->major == r->major &&
			known->first == r->first && known->last == r->last)
			return true;
	}
	return false;
}

/* One of the devices that the name stands for. Those of which there are many have no node. */
static int node_one(struct op *op, const struct candidates *c, struct devnode *node,
	const struct devname_entry *e, char **paths)
{
	bool given = op->request.options.given & 1U << OPTION_AddDevice_path;
	char *more = NULL;
	int r;

	if (e->range.major == DEVICE_ANY || e->range.first != e->range.last ||
		e->range.types == DEVICE_BOTH || !is_meant(&op->devices->resolved, &e->range))
		return 0;
	if (!node->remove && !given && !devnode_path(e->node, node->path))
		return 0;
	node->is_char = e->range.types == DEVICE_CHAR;
	node->major = e->range.major;
	node->minor = e->range.first;
	node->mode = node_mode(&op->request.options, e->node);
	if (node->remove)
		node->path[0] = '\0';
	r = node_in(op, c, node);
	if (r < 0 || node->remove)
		return r;
	if (asprintf(&more, "%s%s/dev/%s", *paths ? *paths : "", *paths ? "\n" : "", node->path) <
		0)
		return -ENOMEM;
	free(*paths);
	*paths = more;
	return 1;
}

/* What the device of the call stands for, with nodes. */
static int entries_find(struct op *op, struct devname_entry **ret, unsigned *n)
{
	const struct device_rule *rule = &op->devices->rules.rule[0];

	if (op->devices->rules.n != 1)
		return -EINVAL;
	if (rule->name[0])
		return devname_resolve(op->manager->devnames, rule->name, ret, n);
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	(*ret)->range = rule->range;
	return (int)(*n = 1) - 1;
}

static void nodes_fail(struct target *t, int r)
{
	target_fail(t, r);
	if (node_error(r) != REASON_KERNEL) {
		t->reason = node_error(r);
		t->err = 0;
	}
}

/* Those that were made before one failed. */
static void nodes_take_back(struct op *op, const struct candidates *c, struct devnode *node,
	const struct devname_entry *list, unsigned n)
{
	char *none = NULL;

	node->remove = true;
	for (unsigned i = 0; i < n; i++)
		(void)node_one(op, c, node, &list[i], &none);
	node->remove = false;
}

static void nodes_change(struct op *op, struct target *t)
{
	static const struct tree_ops ops = {.enter = candidates_of};
	_cleanup_free_ struct devname_entry *list = NULL;
	struct candidates c = {.op = op};
	struct devnode node;
	unsigned n = 0, made = 0;
	int r;

	t->reason = node_prepare(op, &node);
	if (t->reason != REASON_OK)
		return;
	for (unsigned i = 0; i < op->n_targets; i++)
		if (op->targets[i].reason == REASON_OK)
			(void)tree_walk(op->targets[i].dir_fd, &ops, &c);
	r = entries_find(op, &list, &n);
	for (unsigned i = 0; r >= 0 && i < n; i++) {
		r = node_one(op, &c, &node, &list[i], &op->reply.text);
		made += r > 0;
		/* Nothing of ours is there, or nobody any more. */
		if (node.remove && (r == -ENOENT || r == -ESRCH || r == -EXDEV))
			r = 0;
		if (r < 0 && !node.remove)
			nodes_take_back(op, &c, &node, list, i);
	}
	if (r < 0)
		nodes_fail(t, r);
	else if (!node.remove && made == 0)
		t->reason = REASON_NODE_NONE;
}

/* The last hierarchy in which the call acts. */
static bool is_last(const struct op *op, const struct target *t)
{
	for (const struct target *u = t + 1; u < op->targets + op->n_targets; u++)
		if (u->reason == REASON_OK)
			return false;
	return true;
}

void device_unlock(struct op *op)
{
	for (unsigned i = 0; i < op->n_targets; i++)
		if (op->targets[i].change)
			devlock_put(&op->targets[i].change->lock);
}

static int lock(struct op *op, struct target *t)
{
	struct device_change *c = t->change;

	if (!t->h->v2 || c->lock.path)
		return 0;
	return devlock_take(op->manager->devlocks, &c->lock, c->way->path);
}

static void rules_run(struct op *op, struct target *t)
{
	int r = lock(op, t);

	if (r < 0)
		target_fail(t, r);
	else
		device_change_run(op, t);
}

static void add_run(struct op *op, struct target *t)
{
	rules_run(op, t);
	if (t->reason != REASON_OK || !is_last(op, t))
		return;
	device_unlock(op);
	nodes_change(op, t);
	if (t->reason == REASON_OK)
		return;
	for (struct target *u = op->targets; u <= t; u++)
		if (u == t || u->done)
			(void)lock(op, u);
	device_change_undo(op, t);
}

/* What the rules deny is denied, whatever becomes of the node. */
static void remove_run(struct op *op, struct target *t)
{
	rules_run(op, t);
	if (t->reason == REASON_OK && is_last(op, t)) {
		device_unlock(op);
		nodes_change(op, t);
	}
	if (t->reason != REASON_OK && t->change && t->change->written && !t->detail)
		target_detail(t, t->reason, "it is denied, but its node may still be there");
}

const struct act act_add_device = {.prepare = devices_prepare,
	.run = add_run,
	.settle = device_change_settle,
	.undo = device_change_undo};
const struct act act_remove_device = {
	.prepare = devices_prepare, .run = remove_run, .settle = device_change_settle};
