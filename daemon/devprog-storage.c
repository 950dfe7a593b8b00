/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kind STORAGE: a cgroup's policy in a class. Its storage is there from the first attaching on, and
 * outlives detaching (5.9): what is attached again has at once what is in it, so that is written
 * right before. A storage that is made by attaching is zero, so it is written right after, and what
 * was in force before is detached only then.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "cleanup.h"
#include "devprog-core.h"

static int storage_put(const struct class *c, uint64_t cgroup, const void *data, size_t size)
{
	const struct bpf_cgroup_storage_key key = {
		.cgroup_inode_id = cgroup, .attach_type = BPF_CGROUP_DEVICE};
	_cleanup_free_ char *padded = NULL;

	if (size < c->size) {
		padded = calloc(1, c->size);
		if (!padded)
			return -ENOMEM;
		memcpy(padded, data, size);
		data = padded;
	}
	return bpf_map_update_elem(c->map_fd, &key, data, BPF_ANY);
}

int storage_get(const struct class *c, uint64_t cgroup, struct device_policy *ret)
{
	const struct bpf_cgroup_storage_key key = {
		.cgroup_inode_id = cgroup, .attach_type = BPF_CGROUP_DEVICE};
	_cleanup_free_ uint32_t *data = malloc(c->size);
	int r;

	if (!data)
		return -ENOMEM;
	r = bpf_map_lookup_elem(c->map_fd, &key, data);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (data[DEVICE_POLICY_HEAD] == 0)
		return 0;
	*ret = (struct device_policy){.size = c->size, .data = TAKE_PTR(data)};
	return 1;
}

int devprog_drain(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0 ? -EBUSY : 0;
}

int storage_silence(int map_fd, size_t size, uint64_t cgroup)
{
	const struct bpf_cgroup_storage_key key = {
		.cgroup_inode_id = cgroup, .attach_type = BPF_CGROUP_DEVICE};
	_cleanup_free_ void *zero = calloc(1, size);

	if (!zero)
		return -ENOMEM;
	if (devprog_drain() < 0)
		return -EBUSY;
	return bpf_map_update_elem(map_fd, &key, zero, BPF_EXIST);
}

/* Its storage stays as it is: to somebody who is being judged just now it may still be all there
 * is. */
static int storage_drop(struct devprog *d, int fd, uint64_t cgroup, const struct class *c)
{
	int r = pin_detach(d, fd, cgroup, c->size, c->id, c->prog_fd);

	return r == -ENOENT ? storage_silence(c->map_fd, c->size, cgroup) : r;
}

/* Detaches all of ours but one. */
int storage_drop_all(struct devprog *d, int fd, uint64_t cgroup,
	const struct devprog_attached *have, const struct class *but)
{
	int result = 0;

	for (unsigned i = 0; i < have->n; i++) {
		const struct class *c = class_by_id(d, have->one[i].id);
		int r = c && c != but ? storage_drop(d, fd, cgroup, c) : 0;

		result = result < 0 ? result : r;
	}
	return result;
}

/* Attached with its policy: what storage there is was written before. */
static int storage_attach(struct devprog *d, int fd, uint64_t cgroup, const struct class *c,
	const struct device_policy *policy, bool written)
{
	_cleanup_close_ int link = -EBADF;
	int r = pin_attach(d, fd, c->prog_fd, &link);

	if (r < 0)
		return r;
	if (!written)
		r = storage_put(c, cgroup, policy->data, policy->size);
	if (r < 0) {
		if (link < 0)
			bpf_prog_detach2(c->prog_fd, fd, BPF_CGROUP_DEVICE);
		return r;
	}
	return link < 0 ? 0 : pin_keep(d, fd, cgroup, c->size, c->prog_fd, TAKE_FD(link));
}

int storage_set(struct devprog *d, int fd, uint64_t cgroup, const struct device_policy *policy)
{
	const struct class *c = class_for(d, policy->size);
	struct devprog_attached have;
	int put, r;

	if (!c)
		return -E2BIG;
	put = storage_put(c, cgroup, policy->data, policy->size);
	if (put < 0 && put != -ENOENT)
		return put;
	r = devprog_query_locked(d, fd, &have);
	if (r < 0)
		return r;
	if (!devprog_has(&have, c->id))
		r = storage_attach(d, fd, cgroup, c, policy, put == 0);
	else
		r = put;
	if (r < 0)
		return r;
	return storage_drop_all(d, fd, cgroup, &have, c);
}
