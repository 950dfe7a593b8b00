/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One function a method; each is a row of checks in a fixed order, where every check lets pass or
 * fills the verdict. A check that lacks a fact stops there as well: a later check could only give a
 * reason that more facts would replace.
 *
 * First comes what the words of the call settle, then whether the cgroup is in scope (so that no
 * later reason tells that something is there), then whether the way to it may be passed, then the
 * right.
 */
#include <linux/capability.h>

#include "controller.h"
#include "decide-core.h"

enum {
	SEARCH = 1,
	WRITE = 2,
	READ = 4,
};

static bool check_access(const struct facts *f, const struct node *n, unsigned bits, enum reason no,
	struct verdict *v)
{
	return settle(v, subject_access(f->subject, n, bits, &v->need), no);
}

static bool check_in_scope(const struct place *p, struct verdict *v)
{
	if (p->have & FACT_SCOPE)
		return p->in_scope || refuse(v, REASON_CGROUP_OUTSIDE);
	return p->base_in_scope || want(v, FACT_SCOPE);
}

/* In scope, and every cgroup that must be passed lets the caller pass: up to the target, and the
 * target too if something in it is accessed. */
bool check_way(const struct facts *f, bool inside, struct verdict *v)
{
	const struct place *p = f->place;
	unsigned passed = p->missing > 0 || inside ? p->n : p->n - 1;

	if (!check_in_scope(p, v))
		return false;
	for (unsigned i = 0; i < passed; i++)
		if (!check_access(f, &p->way[i], SEARCH, REASON_NO_SEARCH, v))
			return false;
	return p->missing == 0 || refuse(v, REASON_CGROUP_MISSING);
}

static const struct node *target(const struct facts *f)
{
	return &f->place->way[f->place->n - 1];
}

/* What lies below another cgroup of the scope is not the scope's root. */
static bool check_below_scope_root(const struct place *p, struct verdict *v)
{
	if (p->have & FACT_SCOPE)
		return !p->is_scope_root || refuse(v, REASON_SCOPE_ROOT);
	return p->n > 1 || want(v, FACT_SCOPE);
}

static bool check_over(
	const struct facts *f, const struct node *n, enum reason no, struct verdict *v)
{
	return settle(v, subject_over_cgroup(f->subject, n, &v->need), no);
}

static bool check_over_parent(const struct facts *f, struct verdict *v)
{
	const struct place *p = f->place;
	const struct node *parent = &p->parent;

	if (p->n > 1)
		parent = &p->way[p->n - 2];
	else if (!(p->have & FACT_PARENT))
		return want(v, FACT_PARENT);
	else if (!p->has_parent)
		return refuse(v, REASON_SCOPE_ROOT);
	return check_over(f, parent, REASON_PARENT_PRIVILEGE, v);
}

/* Root in its user namespace with the capability, or host root. The maps and capabilities that the
 * first asks for are host root's too, so it is asked first. */
static bool check_root(const struct subject *s, int cap, enum reason no, struct verdict *v)
{
	unsigned need_ns = 0, need_host = 0;
	enum tri ns = subject_is_ns_root(s, cap, &need_ns);
	enum tri host = subject_is_host_root(s, &need_host);

	if (ns == YES || host == YES)
		return true;
	if (ns == UNKNOWN || host == UNKNOWN)
		return want(v, ns == UNKNOWN ? need_ns : need_host);
	return refuse(v, no);
}

static bool judge_none(const struct question *q, const struct facts *f, struct verdict *v)
{
	(void)q, (void)f, (void)v;
	return true;
}

/* A component of the path that exists must be readable, and passable where there is more behind it;
 * the base is no component. */
static bool check_existing(const struct facts *f, struct verdict *v)
{
	const struct place *p = f->place;

	for (unsigned i = 0; i < p->n; i++) {
		bool passed = i + 1 < p->n || p->missing > 0;

		if (passed && !check_access(f, &p->way[i], SEARCH, REASON_NO_SEARCH, v))
			return false;
		if (i > 0 && !check_access(f, &p->way[i], READ, REASON_NO_READ, v))
			return false;
	}
	return true;
}

/* May the controllers that this cgroup does not give its children be enabled in it? Whether tasks
 * in it are in the way is seen when it is done, and each is judged then. */
static bool check_level(
	const struct facts *f, const struct level *l, unsigned set, struct verdict *v)
{
	unsigned domain = set & ~controllers_threaded(set);

	if (l->systemd)
		return refuse(v, REASON_LEVEL_SYSTEMD);
	if (!check_over(f, &l->node, REASON_LEVEL_PRIVILEGE, v))
		return false;
	/* cgroup_vet_subtree_control_enable() */
	return (l->domain != DOMAIN_INVALID && (l->domain == DOMAIN_PLAIN || !domain)) ||
	       refuse(v, REASON_LEVEL_THREADED);
}

static bool check_levels(const struct facts *f, unsigned set, struct verdict *v)
{
	const struct enabling *e = &f->enabling;

	if (e->n > 0 && (set & ~e->levels[0].has))
		return refuse(v, REASON_LEVEL_ABOVE);
	for (unsigned i = 0; i < e->n; i++)
		if ((set & ~e->levels[i].gives) &&
			!check_level(f, &e->levels[i], set & ~e->levels[i].gives, v)) {
			v->level = i;
			return false;
		}
	return true;
}

/* v2: the cgroup shall have these controllers. '' is where the requestor stands, and has what it
 * has. */
static bool check_enabling(const struct facts *f, struct verdict *v)
{
	const struct enabling *e = &f->enabling;
	unsigned set = e->wanted;

	if (set == 0 || (f->place->missing == 0 && f->place->n == 1))
		return true;
	if (!(e->have & FACT_LEVELS))
		return want(v, FACT_LEVELS);
	if (e->optional && e->n > 0)
		set &= e->levels[0].has;
	if (!check_levels(f, set, v)) {
		if (v->need || !e->optional)
			return false;
		/* Where nothing has to be enabled for it, it is there. */
		for (unsigned i = 0; i < e->n; i++)
			set &= e->levels[i].gives;
	}
	v->controllers = set;
	return true;
}

static bool judge_create(const struct question *q, const struct facts *f, struct verdict *v)
{
	const struct place *p = f->place;

	if (!check_in_scope(p, v))
		return false;
	if (p->missing > 0 && p->depth > q->max_depth)
		return refuse(v, REASON_TREE_DEPTH);
	if (!check_existing(f, v))
		return false;
	if (p->missing > 0 && !check_access(f, target(f), WRITE, REASON_NO_WRITE, v))
		return false;
	return check_enabling(f, v);
}

/* -1 leaves it as it is; the host's ids are always given. */
static bool id_valid(const struct idmap *map, uint32_t id, bool host)
{
	uint32_t other;

	if (host)
		return idmap_to_inside(map, id, &other);
	return id == IDMAP_INVALID || idmap_to_outside(map, id, &other);
}

static bool check_ids(const struct question *q, const struct subject *s, struct verdict *v)
{
	if (q->uid == IDMAP_INVALID && q->gid == IDMAP_INVALID && !q->host_ids)
		return true;
	if (!(s->have & FACT_MAPS))
		return want(v, FACT_MAPS);
	if (!id_valid(&s->uid_map, q->uid, q->host_ids))
		return refuse(v, REASON_UID_UNMAPPED);
	return id_valid(&s->gid_map, q->gid, q->host_ids) || refuse(v, REASON_GID_UNMAPPED);
}

/* Chown and Chmod of a cgroup. Who is no root learns that before anything about the cgroup. */
static bool check_hand_over(const struct facts *f, struct verdict *v)
{
	return check_way(f, false, v) && check_over(f, target(f), REASON_NO_PRIVILEGE, v) &&
	       check_below_scope_root(f->place, v);
}

static bool judge_chown(const struct question *q, const struct facts *f, struct verdict *v)
{
	return check_root(f->subject, CAP_CHOWN, REASON_NOT_NS_ROOT, v) &&
	       check_ids(q, f->subject, v) && check_hand_over(f, v);
}

static bool judge_chmod(const struct question *q, const struct facts *f, struct verdict *v)
{
	if (q->has_file && (!q->key || q->key->class != KEY_STAT))
		return refuse(v, REASON_CHMOD_FILE);
	return check_root(f->subject, CAP_FOWNER, REASON_NOT_NS_ROOT, v) && check_hand_over(f, v);
}

static bool judge_locate(const struct question *q, const struct facts *f, struct verdict *v)
{
	const struct place *p = f->place;

	if (!q->absolute && !f->victim_below)
		return refuse(v, REASON_TASK_OUTSIDE);
	if (p->have & FACT_SCOPE)
		return f->victim_in_scope || refuse(v, REASON_TASK_OUTSIDE);
	/* below a cgroup of the scope is inside the scope */
	return (!q->absolute && p->base_in_scope) || want(v, FACT_SCOPE);
}

/* Where the requestor could have swapped names without having privilege, the paths say nothing of
 * who is whose ancestor, and the cgroup in which it could is the nearest that is sure. */
static bool check_names(const struct facts *f, struct verdict *v)
{
	for (unsigned i = 0; i < f->n_levels; i++) {
		enum tri over = subject_over_cgroup(f->subject, &f->levels[i], &v->need);
		enum tri may = YES;

		if (over != YES)
			may = subject_access(f->subject, &f->levels[i], WRITE, &v->need);
		if (over == YES || may == NO)
			continue;
		return over == NO && may == YES ? refuse(v, REASON_MOVE_ANCESTOR)
						: want(v, v->need);
	}
	return true;
}

/* Moving down escapes nothing; otherwise the kernel's rule on v2 (cgroup_procs_write_permission()):
 * a right over the nearest common ancestor, kept on v1 too. */
static bool check_between(const struct facts *f, struct verdict *v)
{
	if (f->target_below_victim && !f->names_may_change)
		return true;
	if (!(f->have & FACT_ANCESTOR))
		return want(v, FACT_ANCESTOR);
	if (!check_names(f, v))
		return false;
	if (f->target_below_victim)
		return true;
	if (!f->ancestor_in_scope)
		return refuse(v, REASON_MOVE_ANCESTOR);
	return check_over(f, &f->ancestor, REASON_MOVE_ANCESTOR, v);
}

static bool judge_move(const struct question *q, const struct facts *f, struct verdict *v)
{
	int why = REASON_INTERNAL;
	enum tri over;

	(void)q;
	if (!f->victim || !check_way(f, false, v))
		return false;
	if (!(f->place->have & FACT_SCOPE))
		return want(v, FACT_SCOPE);
	if (!f->victim_in_scope)
		return refuse(v, REASON_TASK_OUTSIDE);
	over = subject_over_task(f->subject, f->victim, &v->need, &why);
	return settle(v, over, (enum reason)why) &&
	       check_over(f, target(f), REASON_NO_PRIVILEGE, v) && check_between(f, v);
}

static bool check_key_there(const struct facts *f, struct verdict *v)
{
	return f->key == REASON_OK || refuse(v, f->key);
}

static bool check_files(const struct facts *f, struct verdict *v)
{
	for (unsigned i = 0; f->file && i <= f->more_files; i++)
		if (!check_access(f, &f->file[i], READ, REASON_NO_READ, v))
			return false;
	return f->file;
}

static bool judge_read(const struct question *q, const struct facts *f, struct verdict *v)
{
	(void)q;
	return check_way(f, true, v) && check_key_there(f, v) && check_files(f, v);
}

static bool judge_list(const struct question *q, const struct facts *f, struct verdict *v)
{
	(void)q;
	return check_way(f, true, v) && check_access(f, target(f), READ, REASON_NO_READ, v);
}

static bool check_key(const struct key *key, const struct facts *f, struct verdict *v)
{
	if (!key)
		return refuse(v, REASON_KEY_UNLISTED);
	switch (key->class) {
	case KEY_LIMIT:
		return true;
	case KEY_HOST:
		return settle(v, subject_is_host_root(f->subject, &v->need), REASON_KEY_HOST_ONLY);
	case KEY_PIDS:
	case KEY_NEVER:
		return refuse(v, REASON_KEY_NEVER);
	case KEY_STAT:
	case KEY_DELEGATE:
		break;
	}
	return refuse(v, REASON_KEY_UNLISTED);
}

/* Of what lies in /dev only host root learns. */
static bool check_device(const struct question *q, const struct facts *f, struct verdict *v)
{
	return !q->device ||
	       settle(v, subject_is_host_root(f->subject, &v->need), REASON_VALUE_DEVICE);
}

bool check_limits(const struct facts *f, struct verdict *v)
{
	return check_below_scope_root(f->place, v) && check_over_parent(f, v);
}

/* What is the host's root's on v2 may be systemd's, which wants to be the only one to write there.
 */
bool check_systemd(const struct facts *f, struct verdict *v)
{
	if (!f->v2 || f->subject->uid != 0)
		return true;
	if (!(f->have & FACT_SYSTEMD))
		return want(v, FACT_SYSTEMD);
	return !f->by_systemd || refuse(v, REASON_LEVEL_SYSTEMD);
}

static bool judge_limit(const struct question *q, const struct facts *f, struct verdict *v)
{
	return check_key(q->key, f, v) && check_way(f, false, v) && check_limits(f, v) &&
	       check_key_there(f, v) && check_device(q, f, v) && check_systemd(f, v);
}

static bool judge_remove(const struct question *q, const struct facts *f, struct verdict *v)
{
	const struct place *p = f->place;

	(void)q;
	/* '' takes the children of the base; anything else takes the target out of its parent */
	if (p->n == 1)
		return check_way(f, true, v) &&
		       check_access(f, &p->way[0], WRITE, REASON_NO_WRITE, v);
	return check_way(f, false, v) &&
	       settle(v, subject_may_remove(f->subject, &p->way[p->n - 2], target(f), &v->need),
		       REASON_NO_WRITE);
}

static bool judge_release(const struct question *q, const struct facts *f, struct verdict *v)
{
	const struct place *p = f->place;

	(void)q;
	if (!check_way(f, false, v) || !check_access(f, target(f), WRITE, REASON_NO_WRITE, v))
		return false;
	if (p->depth == 0)
		return refuse(v, REASON_SCOPE_ROOT); /* the kernel's own, never removed */
	if ((p->have & FACT_SCOPE) && p->is_scope_root)
		return settle(v, subject_is_host_root(f->subject, &v->need), REASON_SCOPE_ROOT);
	return check_below_scope_root(p, v);
}

static bool judge_prune(const struct question *q, const struct facts *f, struct verdict *v)
{
	(void)q;
	return check_way(f, false, v) && check_access(f, target(f), WRITE, REASON_NO_WRITE, v);
}

static bool (*const judges[ACTION_MAX])(
	const struct question *, const struct facts *, struct verdict *) = {
	[ACTION_NONE] = judge_none,
	[ACTION_CREATE] = judge_create,
	[ACTION_CHOWN] = judge_chown,
	[ACTION_CHMOD] = judge_chmod,
	[ACTION_LOCATE] = judge_locate,
	[ACTION_MOVE] = judge_move,
	[ACTION_READ] = judge_read,
	[ACTION_LIMIT] = judge_limit,
	[ACTION_REMOVE] = judge_remove,
	[ACTION_TASKS] = judge_read,
	[ACTION_LIST] = judge_list,
	[ACTION_RELEASE] = judge_release,
	[ACTION_PRUNE] = judge_prune,
	[ACTION_DEVICES] = judge_devices,
	[ACTION_DEVICES_READ] = judge_list,
	[ACTION_DEVICE_NAMES] = judge_device_names,
	[ACTION_PERF] = judge_perf,
	[ACTION_PERF_READ] = judge_list,
	[ACTION_PERF_OPEN] = judge_perf_own,
};

/* What every judge but Ping's goes by; without it nothing is granted. */
static bool is_complete(const struct question *q, const struct facts *f)
{
	if (q->action == ACTION_NONE)
		return true;
	return f->subject && f->place && (q->action == ACTION_LOCATE || f->place->n > 0);
}

/* uid 0 owns what the host's root owns. Who has that uid and is not host root (a container without
 * a user namespace) has a scope of its own only where somebody has put it into a cgroup. */
static bool check_place(const struct question *q, const struct facts *f, struct verdict *v)
{
	if (q->action == ACTION_NONE || !f->place->base_is_top || f->subject->uid != 0)
		return true;
	return settle(v, subject_is_host_root(f->subject, &v->need), REASON_NO_SCOPE);
}

struct verdict decide(const struct question *q, const struct facts *f)
{
	struct verdict v = {.reason = REASON_INTERNAL};

	if ((unsigned)q->action >= ACTION_MAX || !is_complete(q, f))
		return v;
	if (check_place(q, f, &v) && judges[q->action](q, f, &v))
		return (struct verdict){
			.reason = REASON_OK, .controllers = v.controllers, .widens = v.widens};
	return v;
}

static bool judge_speech(const struct speech *s, struct verdict *v)
{
	uint32_t inside;

	if (!s->visible)
		return refuse(v, REASON_SPEAK_MISSING);
	if (!check_root(s->proxy, CAP_SYS_ADMIN, REASON_SPEAK_ROOT, v))
		return false;
	/* Host root's maps are asked for too: all is mapped there. */
	if (!(s->proxy->have & FACT_MAPS))
		return want(v, FACT_MAPS);
	if (!idmap_to_inside(&s->proxy->uid_map, s->uid, &inside) ||
		!idmap_to_inside(&s->proxy->gid_map, s->gid, &inside))
		return refuse(v, REASON_SPEAK_IDS);
	if (!(s->have & FACT_VICTIM_NS))
		return want(v, FACT_VICTIM_NS);
	return s->below_userns || refuse(v, REASON_SPEAK_MISSING);
}

struct verdict decide_speech(const struct speech *s)
{
	struct verdict v = {.reason = REASON_INTERNAL};

	if (judge_speech(s, &v))
		return (struct verdict){.reason = REASON_OK};
	return v;
}

/* The topmost of the unbroken run from its own cgroup upward over which it has privilege. */
static int scope_by_privilege(
	const struct subject *s, const struct node *chain, unsigned n, unsigned *need)
{
	unsigned top = n;

	while (top > 0) {
		enum tri over = subject_over_cgroup(s, &chain[top - 1], need);

		if (over == UNKNOWN)
			return -1;
		if (over == NO)
			break;
		top--;
	}
	/* none, not even its own: its own */
	return (int)(top < n ? top : n - 1);
}

/* The answer lies above what is known. */
static int want_chain(unsigned *need)
{
	*need |= FACT_CHAIN;
	return -1;
}

int scope_decide(const struct subject *s, const struct node *chain, unsigned n, bool whole,
	unsigned have, uint64_t root_id, unsigned *need)
{
	enum tri host = subject_is_host_root(s, need);
	int top;

	if (host == UNKNOWN)
		return -1;
	if (host == YES)
		return whole ? 0 : want_chain(need);
	if (!(have & FACT_ROOT)) {
		*need |= FACT_ROOT;
		return -1;
	}
	/* From its own upward; the hierarchy's root is no container's. */
	for (unsigned i = n; i > (whole ? 1 : 0) && root_id != 0; i--)
		if (chain[i - 1].id == root_id)
			return (int)i - 1;
	if (root_id != 0 && !whole)
		return want_chain(need);
	if (s->uid == 0)
		return (int)n - 1;
	top = scope_by_privilege(s, chain, n, need);
	return top == 0 && !whole && n > 0 && subject_over_cgroup(s, &chain[0], need) == YES
		       ? want_chain(need)
		       : top;
}
