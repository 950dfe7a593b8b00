/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OpenPerfEvent and AttachPerfListener. */
#include <errno.h>

#include "../act.h"
#include "../cleanup.h"
#include "../manager.h"
#include "../peer.h"
#include "perf.h"
#include "unread.h"

static enum reason perf_is_on(struct op *op, struct target *t)
{
	const char *why = perf_off(op->manager->perf);

	if (!why)
		return REASON_OK;
	target_detail(t, REASON_PERF_OFF, "%s", why);
	return REASON_PERF_OFF;
}

static bool came(const struct op *op, enum passed_kind kind)
{
	return op->passed && passed_kind(op->passed) == kind;
}

static enum reason reason_of(int err)
{
	switch (err) {
	case -EDQUOT:
		return REASON_QUOTA;
	case -E2BIG:
		return REASON_PERF_ATTR;
	case -EOPNOTSUPP:
		return REASON_PERF_OFF;
	default:
		return REASON_INTERNAL;
	}
}

/* D-Bus cannot leave a file descriptor out: a socket is in the place of none. */
static enum reason open_prepare(struct op *op, struct target *t)
{
	bool none = (op->request.flags & PERF_FLAG_FD_NO_GROUP) && came(op, PASSED_SOCKET);

	return none || came(op, PASSED_PERF) ? perf_is_on(op, t) : REASON_PERF_GROUP;
}

static enum reason open_begin(struct op *op)
{
	int group = came(op, PASSED_PERF) ? passed_fd(op->passed) : -EBADF;
	int r = unread_take(op->peer);

	if (r >= 0)
		r = perf_open_for(op->manager->perf, op, group, peer_answer);

	return r < 0 ? reason_of(r) : REASON_OK;
}

const struct act act_open_perf = {.prepare = open_prepare, .begin = open_begin};

static enum reason attach_prepare(struct op *op, struct target *t)
{
	return came(op, PASSED_SECCOMP) ? perf_is_on(op, t) : REASON_PERF_LISTENER;
}

/* What its notifications may have is judged by whose they are. */
static void attach_run(struct op *op, struct target *t)
{
	int fd = passed_copy(op->passed), r = fd;

	if (fd >= 0)
		r = perf_attach(op->manager->perf, op->account, fd);
	if (r < 0)
		t->reason = reason_of(r);
}

const struct act act_attach_perf = {.prepare = attach_prepare, .run = attach_run};
