/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ShowPerf: how perf stands here, and what of it the caller's account uses; to host root what all
 * do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../act.h"
#include "../gather.h"
#include "../manager.h"
#include "../proc.h"
#include "gate.h"
#include "grants.h"
#include "perf-core.h"

#define PAIRS_MAX 16
#define PARANOID "/proc/sys/kernel/perf_event_paranoid"

static const char mlock_note[] = "memory that events are mapped with counts against "
				 "perf_event_mlock_kb and the mlock limit of "
				 "the host's uid; containers that share uids share that";

static void __attribute__((format(printf, 3, 4)))
pair_add(struct reply *reply, const char *key, const char *format, ...)
{
	struct reply_pair *pair = &reply->pairs[reply->n_pairs];
	va_list args;

	if (reply->n_pairs == PAIRS_MAX)
		return;
	va_start(args, format);
	if (vasprintf(&pair->value, format, args) < 0)
		pair->value = NULL;
	va_end(args);
	pair->key = strdup(key);
	reply->n_pairs++;
}

static void paranoid_add(struct reply *reply)
{
	char text[32];

	if (proc_read(AT_FDCWD, PARANOID, text, sizeof(text)) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	pair_add(reply, "paranoid", "%s", text);
}

static void tally_add(struct reply *reply, const struct perf *p, bool all, uint64_t account)
{
	struct perf_tally tally;

	perf_tally(p, all ? PERF_ALL : account, &tally);
	pair_add(reply, "whose", "%s", all ? "everybody's" : "yours");
	pair_add(reply, "listeners", "%u", tally.listeners);
	pair_add(reply, "events", "%u", tally.events);
	pair_add(reply, "calls", "%" PRIu64, tally.calls);
	pair_add(reply, "refused", "%" PRIu64, tally.refused);
	pair_add(reply, "dropped", "%" PRIu64, tally.dropped);
	if (all)
		pair_add(reply, "stuck", "%u", tally.wedged);
}

static void show_run(struct op *op, struct target *t)
{
	const struct perf *p = op->manager->perf;
	struct reply *reply = &op->reply;
	const char *why = perf_off(p);
	bool host = false;
	int r = gather_host_root(op, &op->who, t, &host);

	if (r >= 0)
		reply->pairs = calloc(PAIRS_MAX, sizeof(*reply->pairs));
	if (r < 0 || !reply->pairs) {
		t->reason = r < 0 ? gather_error(r) : REASON_INTERNAL;
		return;
	}
	pair_add(reply, "perf", "%s", why ? "off" : "on");
	if (why)
		pair_add(reply, "why", "%s", why);
	paranoid_add(reply);
	why = gate_why(p->gate);
	pair_add(reply, "gate", "%s%s", why ? "no: " : "in force", why ? why : "");
	why = perf_off(p);
	if (!why) {
		pair_add(reply, "hierarchy", "%s", t->h->v2 ? "cgroup2" : t->h->name);
		pair_add(reply, "kept", "%s",
			p->keeper ? "listeners outlive the daemon"
				  : "no: listeners end with the daemon");
		tally_add(reply, p, host, op->account);
	}
	pair_add(reply, "note", "%s", mlock_note);
}

const struct act act_show_perf = {.run = show_run};
