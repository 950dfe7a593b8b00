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

	if (!peer->identity.pidns_known) {
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
		peer->identity.pidns_known = true;
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
	int pid = pid_translate(op);

	if (pid < 0)
		return pid;
	op->victim_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (op->victim_pidfd < 0)
		return -ESRCH;
	if (pid_translate(op) != pid)
		return -ESRCH;
	op->victim_pid = pid;
	return 0;
}

/* By its number: what was read counts once the pidfd has been polled afterwards. */
static ssize_t victim_read(const struct op *op, const char *file, char *buf, size_t size)
{
	char name[32];

	snprintf(name, sizeof(name), "%d/%s", op->victim_pid, file);
	return proc_read(op->manager->proc_fd, name, buf, size);
}

static bool victim_exiting(const struct op *op)
{
	char text[2048];

	return victim_read(op, "stat", text, sizeof(text)) < 0 || proc_exiting_parse(text) != 0;
}

/* linux/pidfd.h, 6.13 (its first 64 bytes): the ids as the initial user namespace has them. */
struct pidfd_ids {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	uint32_t spare;
};
#define PIDFD_GET_IDS _IOWR(0xff, 11, struct pidfd_ids)
#define PIDFD_IDS_CREDS (1 << 1)

static int victim_ids(const struct op *op, struct victim *ret)
{
	static struct proc_status status;
	struct pidfd_ids ids = {.mask = PIDFD_IDS_CREDS};
	int r;

	if (ioctl(op->victim_pidfd, PIDFD_GET_IDS, &ids) == 0 && (ids.mask & PIDFD_IDS_CREDS)) {
		ret->ruid = ids.ruid;
		ret->euid = ids.euid;
		ret->suid = ids.suid;
		return 0;
	}
	if (errno == ESRCH)
		return -ESRCH;
	/* An older kernel. */
	r = proc_status_read_pid(op->manager->proc_fd, op->victim_pid, &status);
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
	bool doubtful = false;
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
	len = victim_read(op, "cgroup", gather_text, sizeof(gather_text));
	if (len < 0)
		return REASON_TASK_MISSING;
	for (unsigned i = 0; i < op->n_targets; i++) {
		struct target *t = &op->targets[i];

		if (t->reason == REASON_OK &&
			(gather_path(t->h, gather_text, (size_t)len, t->victim_path) != REASON_OK ||
				place_victim(t) < 0))
			t->reason = REASON_TASK_OUTSIDE;
		doubtful |= t->reason == REASON_OK && gather_doubtful(t->h, t->victim_path);
	}
	/* Cgroup first: a dead main thread's says "/" or is stale. */
	if ((doubtful && victim_exiting(op)) || !pidfd_alive(op->victim_pidfd))
		return REASON_TASK_MISSING;
	if (op->request.method->action == ACTION_MOVE && victim_ids(op, &op->victim) < 0)
		return REASON_TASK_MISSING;
	return op->n_targets == 1 ? op->targets[0].reason : REASON_OK;
}
