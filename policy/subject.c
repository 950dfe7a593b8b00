/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/capability.h>
#include <sys/stat.h>

#include "reason.h"
#include "subject.h"

/* UNKNOWN, and what would settle it: the caller of a right knows the facts that are still missing.
 */
static enum tri ask(unsigned facts, unsigned *need)
{
	*need |= facts;
	return UNKNOWN;
}

static enum tri tri_of(bool b)
{
	return b ? YES : NO;
}

static bool knows(const struct subject *s, enum fact fact)
{
	return s->have & fact;
}

static bool has_cap(const struct subject *s, int cap)
{
	return (s->caps >> cap) & 1;
}

/*
 * One of two alternatives suffices. Only the first that is open asks for its facts: they may make
 * the other's unnecessary.
 */
static enum tri either(enum tri a, unsigned need_a, enum tri b, unsigned need_b, unsigned *need)
{
	if (a == YES || b == YES)
		return YES;
	if (a == UNKNOWN)
		return ask(need_a, need);
	if (b == UNKNOWN)
		return ask(need_b, need);
	return NO;
}

enum tri subject_is_host_root(const struct subject *s, unsigned *need)
{
	if (s->uid != 0)
		return NO;
	if (knows(s, FACT_NS) && !(s->own_userns && s->own_pidns && s->own_cgroupns))
		return NO;
	if (knows(s, FACT_CAPS) && !has_cap(s, CAP_SYS_ADMIN))
		return NO;
	if (!knows(s, FACT_NS))
		return ask(FACT_NS, need);
	if (!knows(s, FACT_CAPS))
		return ask(FACT_CAPS, need);
	return YES;
}

enum tri subject_is_ns_root(const struct subject *s, int cap, unsigned *need)
{
	uint32_t inside;

	if (knows(s, FACT_MAPS) && !(idmap_to_inside(&s->uid_map, s->uid, &inside) && inside == 0))
		return NO;
	if (knows(s, FACT_CAPS) && !has_cap(s, cap))
		return NO;
	/* the maps first: they alone refuse every plain user */
	if (!knows(s, FACT_MAPS))
		return ask(FACT_MAPS, need);
	if (!knows(s, FACT_CAPS))
		return ask(FACT_CAPS, need);
	return YES;
}

static bool maps_uid(const struct subject *s, uid_t uid)
{
	uint32_t inside;

	return idmap_to_inside(&s->uid_map, uid, &inside);
}

static bool maps_gid(const struct subject *s, gid_t gid)
{
	uint32_t inside;

	return idmap_to_inside(&s->gid_map, gid, &inside);
}

enum tri subject_over_cgroup(const struct subject *s, const struct node *n, unsigned *need)
{
	unsigned need_host = 0, need_ns = 0;
	enum tri host, ns;

	if (n->uid == s->uid)
		return YES;
	host = subject_is_host_root(s, &need_host);
	if (knows(s, FACT_MAPS) && !(maps_uid(s, n->uid) && maps_gid(s, n->gid)))
		ns = NO;
	else
		ns = subject_is_ns_root(s, CAP_DAC_OVERRIDE, &need_ns);
	return either(host, need_host, ns, need_ns, need);
}

static bool in_group(const struct subject *s, gid_t gid)
{
	if (s->gid == gid)
		return true;
	if (!knows(s, FACT_GROUPS))
		return false;
	for (unsigned i = 0; i < s->n_groups; i++)
		if (s->groups[i] == gid)
			return true;
	return false;
}

/* The first class that matches decides, as inode_permission() does it: a group may have less than
 * others. */
static enum tri access_by_class(
	const struct subject *s, const struct node *n, unsigned bits, unsigned *need)
{
	bool owner = ((n->mode >> 6) & bits) == bits;
	bool group = ((n->mode >> 3) & bits) == bits;
	bool other = (n->mode & bits) == bits;

	if (n->uid == s->uid)
		return tri_of(owner);
	if (group == other || in_group(s, n->gid))
		return tri_of(group);
	if (!knows(s, FACT_GROUPS))
		return ask(FACT_GROUPS, need);
	/* one of the groups that were cut may be this one, and then its bits decide */
	return tri_of(other && !s->groups_cut);
}

enum tri subject_access(
	const struct subject *s, const struct node *n, unsigned bits, unsigned *need)
{
	unsigned need_class = 0, need_host = 0, need_ns = 0;
	enum tri class, host, ns;

	class = access_by_class(s, n, bits, &need_class);
	if (class == YES)
		return YES;
	host = subject_is_host_root(s, &need_host);
	if (knows(s, FACT_MAPS) && !maps_uid(s, n->uid))
		ns = NO;
	else
		ns = subject_is_ns_root(s, CAP_DAC_OVERRIDE, &need_ns);
	host = either(host, need_host, ns, need_ns, &need_host);
	return either(class, need_class, host, need_host, need);
}

enum tri subject_may_remove(const struct subject *s, const struct node *parent,
	const struct node *child, unsigned *need)
{
	enum tri may = subject_access(s, parent, 2 | 1, need);

	if (may != YES || !(parent->mode & S_ISVTX) || parent->uid == s->uid)
		return may;
	return subject_over_cgroup(s, child, need);
}

static enum tri over_task_ids(const struct subject *s, const struct victim *v, unsigned *need)
{
	if (v->ruid == s->uid && v->euid == s->uid && v->suid == s->uid)
		return YES;
	if (knows(s, FACT_MAPS) &&
		!(maps_uid(s, v->ruid) && maps_uid(s, v->euid) && maps_uid(s, v->suid)))
		return NO;
	return subject_is_ns_root(s, CAP_KILL, need);
}

enum tri subject_over_task(
	const struct subject *s, const struct victim *v, unsigned *need, int *ret_why)
{
	unsigned need_host = 0, need_ids = 0;
	enum tri host = subject_is_host_root(s, &need_host);
	enum tri ids = over_task_ids(s, v, &need_ids);
	enum tri rest = ids;
	int why = REASON_TASK_IDS;

	/* The ids come first also where the namespace is known already, so that the reason does not
	 * depend on what was asked before. */
	if (ids == YES) {
		why = REASON_TASK_USERNS;
		if (v->have & FACT_VICTIM_NS)
			rest = tri_of(v->below_userns);
		else
			rest = ask(FACT_VICTIM_NS, &need_ids);
	}
	host = either(host, need_host, rest, need_ids, need);
	if (host == NO)
		*ret_why = why;
	return host;
}
