/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an earlier daemon attached by programs that we could not take over: ours take their place.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "devprog-core.h"
#include "log.h"

struct old {
	uint32_t id;
	int map_fd, prog_fd;
	struct bpf_map_info map;
};

static void old_done(struct old *o)
{
	close_fd(&o->map_fd);
	close_fd(&o->prog_fd);
}

/* 0: named otherwise, without a map, or gone. */
static int old_open(struct inspector *i, uint32_t id, struct old *ret)
{
	struct old o = {.id = id, .map_fd = inspect_program_map(i, id), .prog_fd = -EBADF};
	uint32_t size = sizeof(o.map);
	int r;

	if (o.map_fd == -EACCES || o.map_fd == -ENOENT || o.map_fd == -ENODATA)
		return 0;
	if (o.map_fd < 0)
		return o.map_fd;
	r = bpf_obj_get_info_by_fd(o.map_fd, &o.map, &size);
	if (r >= 0)
		r = o.prog_fd = inspect_program_fd(i, id);
	if (r < 0) {
		old_done(&o);
		return r == -ENOENT ? 0 : r;
	}
	*ret = o;
	return 1;
}

/* The policy in a map of either kind: 1, 0 if it is zero, -EPROTO if we cannot read it. */
static int old_policy(const struct old *o, uint64_t cgroup, struct device_policy *ret)
{
	const struct bpf_cgroup_storage_key place = {
		.cgroup_inode_id = cgroup, .attach_type = BPF_CGROUP_DEVICE};
	const uint32_t first = 0;
	bool stored = o->map.type == BPF_MAP_TYPE_CGROUP_STORAGE;
	struct device_rules rules = {0};
	_cleanup_free_ uint32_t *data = NULL;
	int r;

	if (o->map.value_size < sizeof(*data) || o->map.value_size > DEVICE_POLICY_SIZE_MAX ||
		o->map.key_size != (stored ? sizeof(place) : sizeof(first)) ||
		(!stored && o->map.type != BPF_MAP_TYPE_ARRAY))
		return -EPROTO;
	data = malloc(o->map.value_size);
	if (!data)
		return -ENOMEM;
	r = bpf_map_lookup_elem(
		o->map_fd, stored ? (const void *)&place : (const void *)&first, data);
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		r = device_policy_source(data, o->map.value_size, &rules);
	device_rules_done(&rules);
	if (r < 0)
		return r == -ENODATA ? 0 : r == -EINVAL ? -EPROTO : r;
	*ret = (struct device_policy){.size = o->map.value_size, .data = TAKE_PTR(data)};
	return 1;
}

/* It may have gone when ours took the place of its pin. */
static int old_detach(struct devprog *d, const struct old *o, int fd, uint64_t cgroup)
{
	bool stored = o->map.type == BPF_MAP_TYPE_CGROUP_STORAGE;
	struct devprog_attached have;
	int r = devprog_query_locked(d, fd, &have);

	if (r < 0 || !devprog_has(&have, o->id))
		return r;
	r = pin_detach(d, fd, cgroup, stored ? o->map.value_size : NO_CLASS, o->id, o->prog_fd);
	if (r == -ENOENT)
		r = stored ? storage_silence(o->map_fd, o->map.value_size, cgroup) : -EBUSY;
	return r;
}

/* The lock is held, so that no newer policy is overwritten. */
static int take_over(struct devprog *d, int fd, struct old *old, unsigned n)
{
	struct device_policy policy = {0};
	bool unread[DEVPROG_ATTACHED_MAX] = {0};
	struct devprog_attached have;
	uint64_t cgroup = 0;
	int found = 0, done = 0, r = cgroup_number(fd, &cgroup);

	if (r >= 0)
		r = devprog_query_locked(d, fd, &have);
	if (r >= 0)
		found = r = devprog_get_locked(d, fd, &have, &policy);
	if (r < 0)
		return r;
	device_policy_done(&policy);
	/* The last that was attached is the newest. */
	for (unsigned i = n; r >= 0 && i-- > 0;) {
		r = old_policy(&old[i], cgroup, &policy);
		unread[i] = r == -EPROTO;
		if (r == 1 && !found) {
			found = 1;
			r = devprog_set_locked(d, fd, &policy);
		}
		device_policy_done(&policy);
		r = unread[i] ? 0 : r;
	}
	for (unsigned i = 0; r >= 0 && i < n; i++)
		if (!unread[i]) {
			r = old_detach(d, &old[i], fd, cgroup);
			done++;
		}
	for (unsigned i = 0; r >= 0 && i < n; i++)
		r = unread[i] ? -EPROTO : r;
	return r < 0 ? r : done;
}

int devprog_adopt(
	struct devprog *d, struct inspector *i, int fd, const struct devprog_attached *attached)
{
	struct old old[DEVPROG_ATTACHED_MAX];
	unsigned n = 0;
	int r = d->kind == DEVPROG_NONE ? -EOPNOTSUPP : 0;

	for (unsigned k = 0; r >= 0 && k < attached->n; k++) {
		if (attached->one[k].ours)
			continue;
		r = old_open(i, attached->one[k].id, &old[n]);
		n += r > 0;
	}
	if (r >= 0 && n > 0) {
		pthread_mutex_lock(&d->lock);
		r = take_over(d, fd, old, n);
		pthread_mutex_unlock(&d->lock);
	}
	for (unsigned k = 0; k < n; k++)
		old_done(&old[k]);
	return n > 0 || r < 0 ? r : 0;
}
