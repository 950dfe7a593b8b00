/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the decision share: a check lets pass, or fills the verdict and returns false.
 * In that order: the words of the call, the scope, the way, the right.
 */
#pragma once

#include "decide.h"

static inline bool refuse(struct verdict *v, enum reason reason)
{
	*v = (struct verdict){.reason = reason};
	return false;
}

static inline bool want(struct verdict *v, unsigned facts)
{
	*v = (struct verdict){.reason = REASON_INTERNAL, .need = facts};
	return false;
}

/* A right that was computed with &v->need. */
static inline bool settle(struct verdict *v, enum tri right, enum reason no)
{
	if (right == YES)
		return true;
	return right == NO ? refuse(v, no) : want(v, v->need);
}

/* In scope, there, and every cgroup that must be passed lets the caller pass: up to the target, and
 * the target too if something in it is accessed. */
bool check_way(const struct facts *f, bool inside, struct verdict *v);
/* Not the scope's own root, and privilege over the parent. */
bool check_limits(const struct facts *f, struct verdict *v);
bool check_systemd(const struct facts *f, struct verdict *v);

bool judge_devices(const struct question *q, const struct facts *f, struct verdict *v);
bool judge_device_names(const struct question *q, const struct facts *f, struct verdict *v);
bool judge_perf(const struct question *q, const struct facts *f, struct verdict *v);
bool judge_perf_own(const struct question *q, const struct facts *f, struct verdict *v);
