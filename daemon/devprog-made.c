/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kind PROGRAMS: a program for each distinct policy, which all cgroups that have it share. They are
 * replaced where they are attached.
 *
 * Nobody tells when the last cgroup that has one is removed, so one that was not found attached for
 * long goes. Should it be attached all the same it is adopted again, as after a restart.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "devprog-core.h"

#define KEPT_SEC 3600
#define KEPT 64

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static void made_remove(struct devprog *d, unsigned i)
{
	close_fd(&d->made[i].prog_fd);
	device_policy_done(&d->made[i].policy);
	d->made[i] = d->made[--d->n_made];
}

void made_done(struct devprog *d)
{
	while (d->n_made > 0)
		made_remove(d, d->n_made - 1);
	free(d->made);
	d->made = NULL;
}

void made_expire(struct devprog *d)
{
	uint64_t time = now();

	for (unsigned i = d->n_made; d->n_made > KEPT && i-- > 0;)
		if (time - d->made[i].seen > KEPT_SEC)
			made_remove(d, i);
}

struct made *made_find(struct devprog *d, uint32_t id)
{
	for (unsigned i = 0; i < d->n_made; i++)
		if (d->made[i].id == id) {
			d->made[i].seen = now();
			return &d->made[i];
		}
	return NULL;
}

static int made_add(struct devprog *d, const struct device_policy *policy, struct made **ret)
{
	struct made *more = reallocarray(d->made, d->n_made + 1, sizeof(*more));
	struct made made = {.seen = now()};
	int r;

	if (!more)
		return -ENOMEM;
	d->made = more;
	r = device_policy_copy(policy->data, policy->size, &made.policy);
	if (r < 0)
		return r;
	r = program_load(policy, &made.prog_fd, &made.id);
	if (r < 0) {
		device_policy_done(&made.policy);
		return r;
	}
	d->made[d->n_made] = made;
	*ret = &d->made[d->n_made++];
	return 0;
}

static int made_get(struct devprog *d, const struct device_policy *policy, struct made **ret)
{
	for (unsigned i = 0; i < d->n_made; i++) {
		struct made *m = &d->made[i];

		if (m->policy.size != policy->size ||
			memcmp(m->policy.data, policy->data, policy->size) != 0)
			continue;
		m->seen = now();
		*ret = m;
		return 0;
	}
	return made_add(d, policy, ret);
}

int made_drop_all(struct devprog *d, int fd, uint64_t cgroup, const struct devprog_attached *have,
	const struct made *but)
{
	int result = 0;

	for (unsigned i = 0; i < have->n; i++) {
		const struct made *m = made_find(d, have->one[i].id);
		int r = 0;

		if (m && m != but)
			r = pin_detach(d, fd, cgroup, NO_CLASS, m->id, m->prog_fd);
		if (r == -ENOENT)
			r = -EBUSY; /* a link that somebody else holds */
		result = result < 0 ? result : r;
	}
	return result;
}

/* In the place of another one of ours, by the link or directly. */
static int made_replace(
	struct devprog *d, int fd, uint64_t cgroup, const struct made *old, const struct made *made)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI | BPF_F_REPLACE,
		.replace_prog_fd = old->prog_fd);
	LIBBPF_OPTS(bpf_link_update_opts, same, .flags = BPF_F_REPLACE,
		.old_prog_fd = (uint32_t)old->prog_fd);
	_cleanup_close_ int link = pin_open(d, cgroup, NO_CLASS);

	if (link >= 0 && bpf_link_update(link, made->prog_fd, &same) == 0)
		return 0;
	return bpf_prog_attach_opts(made->prog_fd, fd, BPF_CGROUP_DEVICE, &options);
}

static int made_attach(struct devprog *d, int fd, uint64_t cgroup, const struct made *made)
{
	int link = -EBADF, r = pin_attach(d, fd, made->prog_fd, &link);

	return r < 0 || link < 0 ? r : pin_keep(d, fd, cgroup, NO_CLASS, made->prog_fd, link);
}

int made_set(struct devprog *d, int fd, uint64_t cgroup, const struct device_policy *policy)
{
	struct devprog_attached have;
	struct made *made, *old = NULL;
	bool attached = false;
	int r;

	if (!class_for(d, policy->size))
		return -E2BIG;
	if (class_for(d, policy->size)->size != policy->size)
		return -EINVAL;
	r = made_get(d, policy, &made);
	if (r >= 0)
		r = devprog_query_locked(d, fd, &have);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < have.n; i++) {
		attached = attached || have.one[i].id == made->id;
		old = have.one[i].id != made->id && have.one[i].ours ? made_find(d, have.one[i].id)
								     : old;
	}
	if (!attached && (!old || made_replace(d, fd, cgroup, old, made) < 0))
		r = made_attach(d, fd, cgroup, made);
	if (r >= 0 && old)
		r = devprog_query_locked(d, fd, &have);
	/* What could not be replaced, or a fault left behind. */
	return r < 0 ? r : made_drop_all(d, fd, cgroup, &have, made);
}
