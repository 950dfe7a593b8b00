/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ShowPerf. */
#include "../act.h"

static enum reason off_prepare(struct op *op, struct target *t)
{
	(void)op, (void)t;
	return REASON_PERF_OFF;
}

const struct act act_show_perf = {.prepare = off_prepare};
