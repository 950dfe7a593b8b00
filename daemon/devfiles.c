/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files, and what devices.list says. */
#include "devfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "devfiles-core.h"
#include "devname.h"
#include "manager.h"
#include "value.h"

#define LIST "devices.list"

static const struct {
	const char *name;
	mode_t mode;
} files[] = {
	{"devices.allow", 0200},
	{"devices.deny", 0200},
	{LIST, 0444},
};

#define N_FILES (sizeof(files) / sizeof(files[0]))

bool devfiles_is(const struct hierarchy *h, const char *file)
{
	for (size_t i = 0; h->v2 && i < N_FILES; i++)
		if (strcmp(file, files[i].name) == 0)
			return true;
	return false;
}

void devfiles_node(const char *file, const struct node *cgroup, struct node *ret)
{
	*ret = (struct node){.uid = cgroup->uid, .gid = cgroup->gid, .mode = S_IFREG};
	for (size_t i = 0; i < N_FILES; i++)
		if (strcmp(file, files[i].name) == 0)
			ret->mode |= files[i].mode;
}

int devfiles_each(int (*fn)(void *userdata, const char *name), void *userdata)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < N_FILES; i++)
		r = fn(userdata, files[i].name);
	return r;
}

int devfiles_state_of(
	struct manager *m, const struct device_policy *policy, struct device_rules *ret)
{
	_cleanup_rules_ struct device_rules resolved = {0};
	struct device_rules rules = {0};
	int r = device_policy_source(policy->data, policy->size, &rules);

	if (r < 0)
		return r;
	if (rules.v1) {
		*ret = rules;
		return 0;
	}
	r = device_rules_resolve(&rules, devname_ranges, m->devnames, &resolved);
	device_rules_done(&rules);
	return r < 0 ? r : device_v1_from(&resolved, ret);
}

/* 1, or 0: it has none of its own. */
static int state_own(struct manager *m, int fd, struct device_rules *ret)
{
	_cleanup_policy_ struct device_policy policy = {0};
	int r = devprog_policy_get(m->devprog, fd, &policy);

	if (r <= 0)
		return r;
	r = devfiles_state_of(m, &policy, ret);
	return r < 0 ? r : 1;
}

int devfiles_state(struct manager *m, const struct hierarchy *h, int fd, struct device_rules *ret)
{
	_cleanup_close_ int above = -EBADF;
	struct stat st;
	int r;

	while ((r = state_own(m, fd, ret)) == 0) {
		int next;

		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_ino == h->root_id) {
			*ret = (struct device_rules){.allow = true, .v1 = true};
			return 0;
		}
		next = devfiles_above(fd);
		if (next < 0)
			return next;
		close_fd(&above);
		fd = above = next;
	}
	return r < 0 ? r : 0;
}

void devfiles_get(struct op *op, struct target *t)
{
	_cleanup_rules_ struct device_rules rules = {0};
	int r;

	/* As v1's files that are only written answer to who may open them all the same. */
	if (strcmp(t->value.plan.file[0], LIST) != 0) {
		target_fail(t, -EINVAL);
		return;
	}
	r = devfiles_state(op->manager, t->h, t->dir_fd, &rules);
	if (r < 0) {
		devfiles_fail(t, r);
		return;
	}
	op->reply.text = device_v1_list(&rules);
	if (!op->reply.text)
		target_fail(t, -ENOMEM);
	else
		text_strip(op->reply.text, strlen(op->reply.text));
}

void devfiles_fail(struct target *t, int r)
{
	if (r != -EOPNOTSUPP) {
		target_fail(t, r);
		return;
	}
	t->reason = REASON_KEY_MAPPING;
	target_detail(t, t->reason,
		"the cgroup has device rules that cgroup v1 cannot express; see cgm device list");
}
