/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may say what of perf a cgroup may use: host root of any; else who may set its limits, and
 * then no more than what is above has, which is seen when it is done.
 */
#include "decide-core.h"

bool judge_perf(const struct question *q, const struct facts *f, struct verdict *v)
{
	enum tri host;

	(void)q;
	if (!check_way(f, false, v))
		return false;
	host = subject_is_host_root(f->subject, &v->need);
	if (host == UNKNOWN)
		return want(v, v->need);
	if (host == NO && !check_limits(f, v))
		return false;
	v->widens = host == YES;
	return true;
}

/* For itself everybody may ask; what is opened is judged by what its cgroup has. */
bool judge_perf_own(const struct question *q, const struct facts *f, struct verdict *v)
{
	(void)q, (void)f, (void)v;
	return true;
}
