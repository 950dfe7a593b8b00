/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "facts.h"
#include "gather.h"
#include "inspect.h"
#include "manager.h"
#include "peer.h"
#include "proc.h"

#ifndef NS_GET_TGID_FROM_PIDNS
#	define NS_GET_TGID_FROM_PIDNS _IOR(0xb7, 0x7, int) /* linux/nsfs.h, 6.11 */
#endif

/* A process never changes its own pid namespace, so this is asked once a connection. */
int gather_pidns(struct op *op)
{
	struct peer *peer = op->peer;
	int r;

	if (!peer->pidns_known) {
		r = gather_ns(op, NULL);
		if (r < 0)
			return r;
		if (!op->subject.own_pidns) {
			r = inspect_pidns(op->manager->inspector, peer->identity.pid);
			if (r < 0)
				return r;
			if (!identity_alive(&peer->identity)) {
				close(r);
				return -ESRCH;
			}
			peer->identity.pidns_fd = r;
		}
		peer->pidns_known = true;
	}
	op->pidns_fd =
		peer->identity.pidns_fd >= 0 ? peer->identity.pidns_fd : op->manager->pidns_fd;
	return 0;
}

static int pid_translate(const struct op *op)
{
	int pid = ioctl(op->pidns_fd, NS_GET_TGID_FROM_PIDNS, op->request.pid);

	if (pid > 0)
		return pid;
	if (errno == ESRCH)
		return -ESRCH;
	/* An older kernel: what is the daemon's own number needs no translation. */
	return op->pidns_fd == op->manager->pidns_fd ? op->request.pid : -EOPNOTSUPP;
}

static bool pidfd_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* Translate, hold, translate again: the same answer means that the pidfd is of that very process.
 */
static int victim_hold(struct op *op)
{
	char name[16];
	int pid = pid_translate(op);

	if (pid < 0)
		return pid;
	op->victim_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (op->victim_pidfd < 0)
		return -ESRCH;
	if (pid_translate(op) != pid)
		return -ESRCH;
	snprintf(name, sizeof(name), "%d", pid);
	op->victim_proc_fd =
		openat(op->manager->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (op->victim_proc_fd < 0 || !pidfd_alive(op->victim_pidfd))
		return -ESRCH;
	op->victim_pid = pid;
	return 0;
}

static int victim_ids(const struct op *op, struct victim *ret)
{
	static struct proc_status status;
	int r = proc_status_read(op->victim_proc_fd, &status);

	if (r < 0)
		return r;
	ret->ruid = status.ruid;
	ret->euid = status.euid;
	ret->suid = status.suid;
	return 0;
}

int facts_victim_again(const struct op *op)
{
	struct victim now;
	int r = victim_ids(op, &now);

	if (r < 0 || !pidfd_alive(op->victim_pidfd))
		return -ESRCH;
	return now.ruid == op->victim.ruid && now.euid == op->victim.euid &&
			       now.suid == op->victim.suid
		       ? 0
		       : -EPERM;
}

enum reason facts_victim(struct op *op)
{
	ssize_t len;
	int r;

	if (op->request.pid <= 0)
		return REASON_TASK_MISSING;
	r = gather_pidns(op);
	if (r < 0)
		return gather_error(r);
	r = victim_hold(op);
	if (r < 0)
		return r == -ESRCH ? REASON_TASK_MISSING : REASON_CONTROLLER_OFF;
	len = proc_read(op->victim_proc_fd, "cgroup", gather_text, sizeof(gather_text));
	/* Cgroup first: a dead main thread's says "/" or is stale. */
	if (len < 0 || proc_exiting(op->victim_proc_fd) != 0)
		return REASON_TASK_MISSING;
	for (unsigned i = 0; i < op->n_targets; i++) {
		struct target *t = &op->targets[i];

		if (t->reason == REASON_OK &&
			(gather_path(t->h, gather_text, (size_t)len, t->victim_path) != REASON_OK ||
				place_victim(t) < 0))
			t->reason = REASON_TASK_OUTSIDE;
	}
	if (op->request.method->action == ACTION_MOVE && victim_ids(op, &op->victim) < 0)
		return REASON_TASK_MISSING;
	return op->n_targets == 1 ? op->targets[0].reason : REASON_OK;
}
