/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was opened and would not be any more: disabled, and its holders ended if that is asked for.
 * A holder can enable an event that it still has.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

#include "../cleanup.h"
#include "worker-core.h"

#define REVOKED_MAX 65536

struct revocation {
	struct worker *w;
	bool kill;
	pid_t last; /* the holder that was counted last; they come one after the other */
	/* What was seen of events that several hold. */
	uint64_t *seen;
	size_t n_seen, size;
	struct perf_revoked result;
};

/* 1: for the first time. */
static int see(struct revocation *v, uint64_t id)
{
	for (size_t i = v->n_seen; i > 0; i--)
		if (v->seen[i - 1] == id)
			return 0;
	if (v->n_seen == REVOKED_MAX)
		return -E2BIG;
	if (v->n_seen == v->size) {
		size_t size = v->size * 2 + 64;
		uint64_t *bigger = realloc(v->seen, size * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		v->seen = bigger;
		v->size = size;
	}
	v->seen[v->n_seen++] = id;
	return 1;
}

/* The holder's cgroup is asked for, not that which it had when it opened. */
static bool is_granted(struct worker *w, pid_t pid, const struct perf_entry *e)
{
	struct task *t;

	return task_of(w, pid, &t) >= 0 &&
	       perf_still_granted(&t->facts.grant, (enum perf_item_kind)e->by, e->type, e->config);
}

static void holder_count(struct revocation *v, pid_t pid, int pidfd)
{
	if (v->last == pid)
		return;
	v->last = pid;
	v->result.holders++;
	if (v->kill && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0)
		v->result.killed++;
}

static int event_revoke(void *userdata, pid_t pid, int pidfd, int event, uint64_t id)
{
	struct revocation *v = userdata;
	const struct perf_entry *e = perf_ledger_find(v->w->registry, id);
	int r;

	if (event < 0) {
		v->result.unknown++;
		return 0;
	}
	if (e && is_granted(v->w, pid, e))
		return 0;
	r = see(v, id);
	if (r < 0)
		return r;
	if (!e) {
		v->result.unknown += (unsigned)r;
		return 0;
	}
	if (ioctl(event, PERF_EVENT_IOC_DISABLE, 0) == 0)
		v->result.disabled += (unsigned)r;
	holder_count(v, pid, pidfd);
	return 0;
}

void worker_revoke(struct worker *w, const struct packet *p)
{
	struct perf_revoke asked;
	struct revocation v = {.w = w};

	memcpy(&asked, p->data, sizeof(asked));
	v.kill = asked.kill;
	worker_busy(w);
	v.result.result = p->fd < 0 ? -EBADF : scan_events(w, p->fd, event_revoke, &v);
	v.result.cookie = asked.cookie;
	free(v.seen);
	worker_idle(w);
	if (worker_send(w, PERF_REVOKED, &v.result, sizeof(v.result), -EBADF) < 0)
		worker_fail(w);
}
