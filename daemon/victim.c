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

#ifndef NS_GET_PID_IN_PIDNS
#	define NS_GET_PID_IN_PIDNS _IOR(0xb7, 0x8, int) /* linux/nsfs.h, 6.11 */
#endif
#ifndef NS_GET_TGID_FROM_PIDNS
#	define NS_GET_TGID_FROM_PIDNS _IOR(0xb7, 0x7, int) /* linux/nsfs.h, 6.11 */
#endif

/* A process never changes its own pid namespace, so this is asked once a connection. */
int gather_pidns(struct op *op, struct party *p)
{
	struct identity *identity = p->identity;
	int r;

	if (!identity->pidns_known) {
		r = gather_ns(op, p, NULL);
		if (r < 0)
			return r;
		if (!p->subject.own_pidns) {
			r = inspect_pidns(op->manager->inspector, identity->pid);
			if (r < 0)
				return r;
			if (!identity_alive(identity)) {
				close(r);
				return -ESRCH;
			}
			identity->pidns_fd = r;
		}
		identity->pidns_known = true;
	}
	return identity->pidns_fd >= 0 ? identity->pidns_fd : op->manager->pidns_fd;
}

/* `pidns_fd` is that of the numbers that the call uses: the requestor's, or where credentials
 * carried the victim's, which the kernel translated, the daemon's own. */
static int pid_translate(const struct op *op, int pidns_fd)
{
	int pid = ioctl(pidns_fd, NS_GET_TGID_FROM_PIDNS, op->request.pid);

	if (pid > 0)
		return pid;
	if (errno == ESRCH)
		return -ESRCH;
	/* An older kernel: what is the daemon's own number needs no translation. */
	return pidns_fd == op->manager->pidns_fd ? op->request.pid : -EOPNOTSUPP;
}

/* 1: the party's pid namespace shows the process that the host has as `pid`. */
static int pid_visible(struct op *op, struct party *p, pid_t pid)
{
	int fd = gather_pidns(op, p);

	if (fd < 0 || fd == op->manager->pidns_fd)
		return fd < 0 ? fd : 1;
	if (ioctl(fd, NS_GET_PID_IN_PIDNS, pid) > 0)
		return 1;
	return errno == ENOTTY ? -EOPNOTSUPP : 0;
}

static bool pidfd_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* Translate, hold, translate again: the same answer means that the pidfd is of that very process.
 */
static int victim_hold(struct op *op, int pidns_fd)
{
	int pid = pid_translate(op, pidns_fd);

	if (pid < 0)
		return pid;
	op->victim_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (op->victim_pidfd < 0)
		return -ESRCH;
	if (pid_translate(op, pidns_fd) != pid)
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
	return now.ruid == op->who.victim.ruid && now.euid == op->who.victim.euid &&
			       now.suid == op->who.victim.suid
		       ? 0
		       : -EPERM;
}

/* Credentials can carry a pid that a party does not see: the kernel translated it for us. */
static int victim_visible(struct op *op)
{
	int r = op->scm ? pid_visible(op, &op->who, op->victim_pid) : 1;

	return r > 0 && op->proxy ? pid_visible(op, op->proxy, op->victim_pid) : r;
}

static enum reason victim_find(struct op *op)
{
	int r, pidns_fd = op->scm ? op->manager->pidns_fd : gather_pidns(op, &op->who);

	if (op->request.pid <= 0)
		return REASON_TASK_MISSING;
	if (pidns_fd < 0)
		return gather_error(pidns_fd);
	r = victim_hold(op, pidns_fd);
	if (r < 0)
		return r == -ESRCH ? REASON_TASK_MISSING : REASON_CONTROLLER_OFF;
	r = victim_visible(op);
	if (r == -EOPNOTSUPP)
		return REASON_CONTROLLER_OFF;
	return r < 0 ? gather_error(r) : r == 0 ? REASON_TASK_MISSING : REASON_OK;
}

enum reason facts_victim(struct op *op)
{
	enum reason reason = victim_find(op);
	bool doubtful = false;
	ssize_t len;

	if (reason != REASON_OK)
		return reason;
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
	if (op->request.method->action == ACTION_MOVE && victim_ids(op, &op->who.victim) < 0)
		return REASON_TASK_MISSING;
	if (op->proxy) {
		op->proxy->victim = op->who.victim;
		op->proxy->victim.have = 0;
	}
	return op->n_targets == 1 ? op->targets[0].reason : REASON_OK;
}

/*
 * Who speaks for whom.
 */

/* Is the requestor's user namespace the proxy's or below it? */
static int speech_ns(struct op *op, struct speech *s)
{
	struct requestor_ns ns;
	int r = inspect_requestor(
		op->manager->inspector, op->proxy->identity->pid, NULL, op->who.identity->pid, &ns);

	if (r == -EPIPE)
		manager_fail(op->manager, r, "the inspector has ended");
	if (r < 0)
		return r;
	s->below_userns = ns.victim_below;
	s->have |= FACT_VICTIM_NS;
	return 0;
}

enum reason facts_speech(struct op *op)
{
	struct speech s = {
		.proxy = &op->proxy->subject,
		.uid = op->who.identity->uid,
		.gid = op->who.identity->gid,
	};
	int r = pid_visible(op, op->proxy, op->who.identity->pid);

	if (r == -EOPNOTSUPP)
		return REASON_CONTROLLER_OFF;
	s.visible = r > 0;
	while (r >= 0) {
		struct verdict v = decide_speech(&s);

		if (v.need == 0)
			return v.reason;
		if (v.need & FACT_VICTIM_NS)
			r = speech_ns(op, &s);
		if (r >= 0)
			r = gather_subject(op, op->proxy, NULL, v.need & ~FACT_VICTIM_NS);
	}
	return gather_error(r);
}
