/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "facts.h"
#include "gather.h"
#include "inspect.h"
#include "leaf.h"
#include "manager.h"
#include "peer.h"
#include "pidns.h"
#include "proc.h"
#include "task.h"

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

/* 1: the party's pid namespace shows the process that the host has as `pid`. */
static int pid_visible(struct op *op, struct party *p, pid_t pid)
{
	int32_t number = pid;
	int r, fd = gather_pidns(op, p);

	if (fd < 0 || fd == op->manager->pidns_fd)
		return fd < 0 ? fd : 1;
	r = pidns_from_host(op->manager->inspector, fd, &number, 1);
	return r < 0 ? r : number > 0;
}

/*
 * Translate, hold, translate again: the same answer means that the pidfd is of that very process.
 * `pidns_fd` is that of the numbers that the call uses: the requestor's, or where credentials
 * carried the victim's, which the kernel translated, the daemon's own.
 */
static int victim_hold(struct op *op, int pidns_fd)
{
	struct inspector *inspector = op->manager->inspector;
	int pid = pidns_to_host(inspector, pidns_fd, op->request.pid);

	if (pid < 0)
		return pid;
	op->victim_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (op->victim_pidfd < 0)
		return -ESRCH;
	if (pidns_to_host(inspector, pidns_fd, op->request.pid) != pid)
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
	return proc_exiting_pid(op->manager->proc_fd, op->victim_pid) != 0;
}

static int victim_ids(const struct op *op, struct victim *ret)
{
	return task_ids(op->manager->proc_fd, op->victim_pid, op->victim_pidfd, ret, NULL);
}

int facts_victim_again(const struct op *op)
{
	struct victim now;
	int r = victim_ids(op, &now);

	if (r < 0 || !task_alive(op->victim_pidfd))
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
		return r == -ESRCH ? REASON_TASK_MISSING : gather_error(r);
	r = victim_visible(op);
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
				leaf_fold(op->manager->inspector, t->h, t->victim_path) < 0 ||
				place_victim(t) < 0))
			t->reason = REASON_TASK_OUTSIDE;
		doubtful |= t->reason == REASON_OK && gather_doubtful(t->h, t->victim_path);
	}
	/* Cgroup first: a dead main thread's says "/" or is stale. */
	if ((doubtful && victim_exiting(op)) || !task_alive(op->victim_pidfd))
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
