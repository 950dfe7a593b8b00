/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SetDevices, AllowDevices, DenyDevices: what was planned is written, in one hierarchy after the
 * other, and taken back where the next refuses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "act-device.h"
#include "cleanup.h"
#include "devices-v1.h"
#include "governed.h"
#include "log.h"
#include "manager.h"
#include "perf/perf.h"

/* The kernel's word, where it has changed since it was looked at. */
static void write_fail(struct target *t, int r)
{
	switch (r) {
	case -EPERM:
		t->reason = t->h->v2 ? REASON_DEVICE_OVERRIDE : REASON_DEVICE_WIDER;
		break;
	case -E2BIG:
		t->reason = REASON_DEVICE_MANY;
		break;
	case -EINVAL:
		target_fail(t, -EBUSY);
		break;
	case -EAGAIN:
		t->reason = REASON_DEVICE_BUSY;
		break;
	default:
		target_fail(t, r);
	}
}

static int v1_write(struct manager *m, int dirfd, struct device_change_v1 *c)
{
	bool denies = c->after.allow && c->after.n > 0;
	int r;

	if (denies)
		devices_denies_v1(m, dirfd, true);
	r = devices_write_v1(m, c);
	if (r >= 0 && !c->after.allow && c->before.allow)
		devices_denies_v1(m, dirfd, false);
	return r;
}

void device_change_run(struct op *op, struct target *t)
{
	struct device_change *c = t->change;
	int r = t->widens ? devices_widen(op, t) : 0;

	if (r >= 0 && c->v1)
		r = v1_write(op->manager, t->dir_fd, c->v1);
	else if (r >= 0 && !c->same)
		r = devprog_policy_change(op->manager->devprog, t->dir_fd, &c->before, &c->after);
	c->written = r >= 0;
	if (r >= 0)
		return;
	devices_narrow(op, t);
	write_fail(t, r);
}

void device_change_undo(struct op *op, struct target *t)
{
	struct device_change *c = t->change;
	int r = 0;

	if (!c || !c->written)
		return;
	c->written = false;
	if (c->v1)
		r = devices_restore_v1(op->manager, c->v1);
	else if (!c->same)
		r = devprog_policy_change(op->manager->devprog, t->dir_fd, &c->after, &c->before);
	devices_narrow(op, t);
	if (r < 0)
		log_limited(LOG_WARNING, op->account,
			"device rules that were set in part could not be set back: %s",
			strerror(-r));
}

void device_change_settle(struct op *op, struct target *t)
{
	const struct device_change *c = t->change;
	int r = 0;

	if (!c->written)
		return;
	/* Whoever may use a GPU may use its PMU. */
	perf_changed(op->manager->perf);
	if (!c->v1) {
		r = governed_look(op->manager->governed, t->dir_fd, c->way->path);
		governed_owe(op->manager->governed, t->dir_fd, op->account);
	}
	if (r >= 0 && t->widens)
		r = devices_widened(op, t);
	if (r < 0)
		log_limited(LOG_NOTICE, op->account, "%s is not watched over: %s, ignoring",
			c->way->path, strerror(-r));
}

const struct act act_set_devices = {.prepare = devices_prepare,
	.run = device_change_run,
	.settle = device_change_settle,
	.undo = device_change_undo};
const struct act act_allow_devices = {.prepare = devices_prepare,
	.run = device_change_run,
	.settle = device_change_settle,
	.undo = device_change_undo};
const struct act act_deny_devices = {.prepare = devices_prepare,
	.run = device_change_run,
	.settle = device_change_settle,
	.undo = device_change_undo};
