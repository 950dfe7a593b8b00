/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GrantPerf, RevokePerf, ListPerf, CheckPerf and ShowPerf. */
#include "act-perf.h"

#include <stdlib.h>

#include "../act.h"

struct perf_asked *perf_asked_free(struct perf_asked *a)
{
	free(a);
	return NULL;
}

enum reason perf_question(struct op *op)
{
	op->perf = calloc(1, sizeof(*op->perf));
	return op->perf ? REASON_OK : REASON_INTERNAL;
}

static enum reason off_prepare(struct op *op, struct target *t)
{
	(void)op, (void)t;
	return REASON_PERF_OFF;
}

const struct act act_grant_perf = {.prepare = off_prepare};
const struct act act_revoke_perf = {.prepare = off_prepare};
const struct act act_list_perf = {.prepare = off_prepare};
const struct act act_check_perf = {.prepare = off_prepare};
const struct act act_show_perf = {.prepare = off_prepare};
