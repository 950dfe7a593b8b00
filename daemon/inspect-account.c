/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose quotas a process uses up. */
#include <errno.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>

#include "cleanup.h"
#include "inspect-core.h"
#include "inspect.h"

/* The namespace right below our own in which the one at `*at` lies, which is not ours. */
static int ns_top(int *at, const struct ns_id *own, struct ns_id *id)
{
	for (unsigned level = 0; level < NS_DEPTH; level++) {
		_cleanup_close_ int parent = ioctl(*at, NS_GET_PARENT);
		struct ns_id up = {0};
		int r;

		if (parent < 0)
			return -errno;
		r = ns_of_fd(parent, &up);
		if (r < 0)
			return r;
		if (ns_same(&up, own))
			return 0;
		close_fd(at);
		*at = TAKE_FD(parent);
		*id = up;
	}
	return -ELOOP;
}

int pidns_container(struct child *c, int pidns_fd, struct ns_id *ret)
{
	_cleanup_close_ int at = pidns_fd;
	_cleanup_close_ int owner = -EBADF;
	struct ns_id id = {0}, user = {0};
	int r = at < 0 ? -EBADF : ns_of_fd(at, &id);

	if (r < 0 || ns_same(&id, &c->pidns))
		return r;
	r = ns_top(&at, &c->pidns, &id);
	if (r < 0)
		return r;
	owner = ioctl(at, NS_GET_USERNS);
	r = owner < 0 ? -errno : ns_of_fd(owner, &user);
	if (r < 0 || !ns_same(&user, &c->userns))
		return r;
	*ret = id;
	return 1;
}

static int pid_container(struct child *c, pid_t pid, struct ns_id *ret)
{
	int at = ns_open(c, pid, "pid");

	return at < 0 ? at : pidns_container(c, at, ret);
}

int answer_account(struct child *c, const struct inspect_request *q, struct inspect_reply *reply)
{
	_cleanup_close_ int at = -EBADF;
	struct ns_id id = {0}, pid = {0}, cgroup = {0}, container = {0};
	uid_t owner;
	int r = ns_of_pid(c, q->pid, "user", &id);

	if (r == 0)
		r = ns_of_pid(c, q->pid, "pid", &pid);
	if (r == 0)
		r = ns_of_pid(c, q->pid, "cgroup", &cgroup);
	if (r == 0)
		r = pid_container(c, q->pid, &container);
	if (r < 0)
		return r;
	if (r > 0) {
		reply->number = ACCOUNT_CONTAINER | container.ino;
		return 0;
	}
	reply->number = q->value;
	if (ns_same(&id, &c->userns)) {
		/* A container without a user namespace: uid 0 there is not the host's root. */
		if (!ns_same(&pid, &c->pidns))
			reply->number = ACCOUNT_CONTAINER | pid.ino;
		else if (!ns_same(&cgroup, &c->cgroupns))
			reply->number = ACCOUNT_CONTAINER | cgroup.ino;
		return 0;
	}
	at = ns_open(c, q->pid, "user");
	r = at < 0 ? at : ns_of_fd(at, &id);
	/* It can only have gone further down meanwhile. */
	if (r == 0)
		r = ns_top(&at, &c->userns, &id);
	if (r < 0)
		return r;
	if (ioctl(at, NS_GET_OWNER_UID, &owner) < 0)
		return -errno;
	reply->number = owner != 0 ? owner : ACCOUNT_CONTAINER | id.ino;
	return 0;
}
