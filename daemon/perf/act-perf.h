/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a call about grants of perf names. */
#pragma once

#include "../../policy/perf-items.h"
#include "../op.h"

struct perf_asked {
	struct perf_items items; /* of `items`, or the one `item` */
	struct perf_items left;	 /* RevokePerf: what the policy file gives all the same */
};

/* The words of the call, into op->perf: REASON_PERF_ITEM, with op->reply.detail. */
enum reason perf_question(struct op *op);
struct perf_asked *perf_asked_free(struct perf_asked *a);

/* The cgroup path[:len], on the way to the target, as the caller names it from the top of its
 * scope;
 * "" if that is above. `buf` holds PATH_TEXT_MAX + 1. Needs FACT_SCOPE. */
const char *perf_place(const struct target *t, const char *path, size_t len, char *buf);
