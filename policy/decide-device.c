/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may change which devices a cgroup may use: who may set its limits. And what the cgroups above
 * say to it, for of all programs on the way each must allow, and none may come out of force.
 */
#include "decide-core.h"

static bool refuse_level(struct verdict *v, enum reason reason, unsigned level)
{
	*v = (struct verdict){.reason = reason, .level = level};
	return false;
}

/* ANDing holds for BPF_F_ALLOW_MULTI alone. */
static bool check_flags(const struct question *q, const struct facts *f, struct verdict *v)
{
	for (unsigned i = 0; !q->clears && i < f->n_devices; i++)
		if (!f->devices[i].flags_ok)
			return refuse_level(v, REASON_DEVICE_OVERRIDE, i);
	return true;
}

/* What shall be allowed: the first cgroup on the way that does not. */
static bool check_covered(const struct facts *f, bool granted, bool *ret_widens, struct verdict *v)
{
	for (unsigned i = 0; i < f->n_devices; i++) {
		const struct device_level *l = &f->devices[i];

		/* Another's program is never changed, whoever is granted what. */
		if (l->others == NO || (l->ours == NO && !granted))
			return refuse_level(v, REASON_DEVICE_WIDER, i);
		*ret_widens |= l->ours == NO;
	}
	return true;
}

static bool any_not_covered(const struct facts *f)
{
	for (unsigned i = 0; i < f->n_devices; i++)
		if (f->devices[i].ours == NO)
			return true;
	return false;
}

/* As for limits. Who may not set them may do what the policy file grants. */
static bool check_right(
	const struct question *q, const struct facts *f, bool *ret_granted, struct verdict *v)
{
	if (check_limits(f, v) && check_systemd(f, v))
		return true;
	if (v->need || !q->grantable)
		return false;
	if (!(f->have & FACT_GRANT))
		return want(v, FACT_GRANT);
	*ret_granted = f->granted;
	return f->granted;
}

/*
 * A node that can be opened, with an owner that the caller chooses, is more than leave to use the
 * device: where no rules say which devices a cgroup may use, the owners and modes of the host's
 * nodes are all that protects them. So it is host root's to give, or the policy file's.
 */
static bool check_node(const struct question *q, const struct facts *f, struct verdict *v)
{
	enum tri host = q->gives_node ? subject_is_host_root(f->subject, &v->need) : YES;

	if (host != NO)
		return settle(v, host, REASON_NODE_RIGHT);
	if (!(f->have & FACT_GRANT))
		return want(v, FACT_GRANT);
	return f->granted || settle(v, NO, REASON_NODE_RIGHT);
}

bool judge_devices(const struct question *q, const struct facts *f, struct verdict *v)
{
	bool granted = false, widens = false;

	if (!check_way(f, false, v) || !check_right(q, f, &granted, v))
		return false;
	if (!(f->have & FACT_DEVICES))
		return want(v, FACT_DEVICES);
	if (!check_flags(q, f, v))
		return false;
	if (q->grantable && !granted && any_not_covered(f)) {
		if (!(f->have & FACT_GRANT))
			return want(v, FACT_GRANT);
		granted = f->granted;
	}
	if (!check_covered(f, granted, &widens, v) || !check_node(q, f, v))
		return false;
	v->widens = widens;
	return true;
}

/* Everybody may ask. Who is not host root gets what its own cgroup may have. */
bool judge_device_names(const struct question *q, const struct facts *f, struct verdict *v)
{
	enum tri host = subject_is_host_root(f->subject, &v->need);

	(void)q;
	return host != UNKNOWN || want(v, v->need);
}
