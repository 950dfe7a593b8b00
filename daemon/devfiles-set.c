/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices.allow and devices.deny: all that is to be written, in this cgroup and below it, is worked
 * out before the first write. In the order of the writes nothing is wider at any moment than before
 * or after: what the children had becomes their own before their parent gets more, and what is
 * denied is denied from above. If one fails, those before it are taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "devfiles-core.h"
#include "devlock.h"
#include "governed.h"
#include "leaf.h"
#include "log.h"
#include "manager.h"
#include "tree.h"

/* What the copies of one call may take, but host root's: it is the kernel's memory, and whoever
 * owns a cgroup makes any number of children. */
#define COPIES_MAX ((size_t)64 << 20)

struct write {
	char *path; /* from the target, "" */
	uint64_t id;
	struct device_policy before, after; /* before: data NULL, there was none */
	bool is_copy;			    /* `after` is the change's */
	bool done;
};

/* A cgroup on the way down, and the state that it will have; not own: its parent's. */
struct step {
	bool own;
	struct device_rules state;
};

struct devfiles_change {
	struct op *op;
	struct target *t;
	char path[PATH_TEXT_MAX + 1];
	struct devlock lock;
	struct device_v1_write wanted;
	struct device_rules above, old, now; /* the parent's state; the cgroup's own two */
	struct device_policy before;	     /* data NULL: it has no policy of its own */
	struct device_policy copy;	     /* `old`, for the children; data NULL: for none yet */
	size_t copied;
	bool has_children;
	bool many_rules; /* what is too much is rules */
	size_t n, size;
	struct write *writes;
	unsigned n_steps;
	struct step *steps;
};

static bool is_missing(int r)
{
	return r == -ENOENT || r == -ENODEV;
}

static void steps_drop(struct devfiles_change *c, unsigned from)
{
	while (c->n_steps > from)
		device_rules_done(&c->steps[--c->n_steps].state);
}

struct devfiles_change *devfiles_change_free(struct devfiles_change *c)
{
	if (!c)
		return NULL;
	devlock_put(&c->lock);
	for (size_t i = 0; i < c->n; i++) {
		free(c->writes[i].path);
		device_policy_done(&c->writes[i].before);
		if (!c->writes[i].is_copy)
			device_policy_done(&c->writes[i].after);
	}
	free(c->writes);
	steps_drop(c, 0);
	free(c->steps);
	device_rules_done(&c->above);
	device_rules_done(&c->old);
	device_rules_done(&c->now);
	device_policy_done(&c->before);
	device_policy_done(&c->copy);
	free(c);
	return NULL;
}

static bool is_same(const struct device_rules *a, const struct device_rules *b)
{
	if (a->allow != b->allow || a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++) {
		const struct device_range *x = &a->rule[i].range, *y = &b->rule[i].range;

		if (a->rule[i].access != b->rule[i].access || x->types != y->types ||
			x->major != y->major || x->first != y->first || x->last != y->last)
			return false;
	}
	return true;
}

/* v1 has no bound but memory. */
static int rules_many(struct devfiles_change *c, const struct device_rules *rules, int r)
{
	if (r == -ENOMEM && rules->n >= DEVICE_RULES_MAX)
		r = -E2BIG;
	c->many_rules |= r == -E2BIG;
	return r;
}

static int compile(
	struct devfiles_change *c, const struct device_rules *rules, struct device_policy *ret)
{
	size_t max = devprog_policy_max(c->op->manager->devprog);

	return rules_many(c, rules, device_policy_compile(rules, rules, max, ret));
}

/* One more write: of the cgroup that fd is, whose policy goes over to what the caller puts into
 * *ret. */
static int write_add(struct devfiles_change *c, int fd, const char *path,
	struct device_policy *before, struct write **ret)
{
	struct write *w;
	struct node node;
	int r = cgroup_stat(fd, &node);

	if (r < 0)
		return r;
	if (c->n == c->size) {
		size_t size = c->size ? c->size * 2 : 8;
		struct write *bigger = reallocarray(c->writes, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		c->writes = bigger;
		c->size = size;
	}
	w = &c->writes[c->n];
	*w = (struct write){.path = strdup(path), .id = node.id};
	if (!w->path)
		return -ENOMEM;
	c->n++;
	w->before = *before;
	*before = (struct device_policy){0};
	*ret = w;
	return 0;
}

static int write_rules(struct devfiles_change *c, int fd, const char *path,
	struct device_policy *before, const struct device_rules *after)
{
	struct write *w;
	int r = write_add(c, fd, path, before, &w);

	return r < 0 ? r : compile(c, after, &w->after);
}

/* All children get the same bytes. */
static int write_copy(
	struct devfiles_change *c, int fd, const char *path, struct device_policy *before)
{
	struct write *w;
	int r = c->copy.data ? 0 : compile(c, &c->old, &c->copy);

	if (r >= 0 && c->op->account != 0 && c->copied + c->copy.size > COPIES_MAX) {
		c->many_rules = true;
		r = -E2BIG;
	}
	if (r >= 0)
		r = write_add(c, fd, path, before, &w);
	if (r < 0)
		return r;
	c->copied += c->copy.size;
	w->after = c->copy;
	w->is_copy = true;
	return 0;
}

/*
 * The cgroup itself.
 */

/* What is attached from here up must stay in force beside ours. */
static int check_flags(const struct devfiles_change *c)
{
	struct manager *m = c->op->manager;
	_cleanup_close_ int fd = cgroup_open(c->t->dir_fd, "");
	struct devprog_attached attached;
	struct node node;
	int r = fd < 0 ? fd : 0;

	while (r >= 0) {
		int above;

		r = devprog_query(m->devprog, fd, &attached);
		if (r >= 0 && !devprog_ancestor_allows(&attached))
			return -EPERM;
		if (r >= 0)
			r = cgroup_stat(fd, &node);
		if (r < 0 || node.id == c->t->h->root_id)
			break;
		above = devfiles_above(fd);
		close_fd(&fd);
		fd = above;
		r = fd < 0 ? fd : 0;
	}
	return r;
}

static int child_count(void *userdata, int dirfd, const char *name)
{
	struct devfiles_change *c = userdata;

	c->has_children = !leaf_is_child(c->op->manager->inspector, c->t->h, dirfd, name);
	return c->has_children;
}

/* The states as they are. */
static int change_read(struct devfiles_change *c)
{
	struct manager *m = c->op->manager;
	_cleanup_close_ int above = devfiles_above(c->t->dir_fd);
	int r = above < 0 ? above : devfiles_state(m, c->t->h, above, &c->above);

	if (r >= 0)
		r = cgroup_each(c->t->dir_fd, true, child_count, c);
	if (r >= 0)
		r = devprog_policy_get(m->devprog, c->t->dir_fd, &c->before);
	if (r < 0)
		return r;
	return r > 0 ? devfiles_state_of(m, &c->before, &c->old)
		     : device_rules_copy(&c->old, &c->above);
}

/* What v1 says to it. */
static int change_apply(struct devfiles_change *c)
{
	int r = device_rules_copy(&c->now, &c->old);

	if (r >= 0)
		r = device_v1_apply(&c->now, &c->above, c->has_children, &c->wanted);
	return rules_many(c, &c->now, r);
}

/*
 * What is below.
 */

/* A child that follows gets its own copy. */
static int child_copy(void *userdata, int dirfd, const char *name)
{
	struct devfiles_change *c = userdata;
	_cleanup_policy_ struct device_policy before = {0};
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (leaf_is_child(c->op->manager->inspector, c->t->h, dirfd, name))
		return 0;
	fd = cgroup_open(dirfd, name);
	r = fd < 0 ? fd : devprog_policy_get(c->op->manager->devprog, fd, &before);
	if (is_missing(r))
		return 0;
	return r != 0 ? (r < 0 ? r : 0) : write_copy(c, fd, name, &before);
}

static unsigned depth_of(const char *path)
{
	unsigned depth = *path ? 1 : 0;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

static int step_add(struct devfiles_change *c, unsigned depth)
{
	struct step *bigger;

	steps_drop(c, depth);
	bigger = reallocarray(c->steps, depth + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	c->steps = bigger;
	c->steps[depth] = (struct step){0};
	c->n_steps = depth + 1;
	return 0;
}

/* The state that the last level's parent will have. */
static const struct device_rules *state_above(const struct devfiles_change *c)
{
	unsigned i = c->n_steps - 1;

	while (i-- > 1)
		if (c->steps[i].own)
			return &c->steps[i].state;
	return &c->now;
}

/* What was denied above reaches a state of v1's. */
static int denied_below(struct devfiles_change *c, int fd, const char *path)
{
	struct step *step = &c->steps[c->n_steps - 1];
	_cleanup_policy_ struct device_policy before = {0};
	_cleanup_rules_ struct device_rules old = {0};
	int r = devprog_policy_get(c->op->manager->devprog, fd, &before);

	if (r <= 0)
		return r;
	r = device_policy_source(before.data, before.size, &old);
	/* Other rules hold as they are. */
	if (r < 0 || !old.v1)
		return r;
	r = device_rules_copy(&step->state, &old);
	if (r >= 0)
		r = device_v1_propagate(&step->state, state_above(c), &c->wanted);
	step->own = true;
	r = rules_many(c, &step->state, r);
	if (r < 0 || is_same(&step->state, &old))
		return r;
	return write_rules(c, fd, path, &before, &step->state);
}

static int enter_below(void *userdata, int fd, const char *path)
{
	struct devfiles_change *c = userdata;
	int r;

	/* Nothing that deep can be named, and so nothing has a state there. */
	if (!path)
		return 1;
	r = step_add(c, depth_of(path));
	if (r < 0 || !*path)
		return r;
	r = denied_below(c, fd, path);
	return is_missing(r) ? 0 : r;
}

/* All writes in their order. */
static int change_plan(struct devfiles_change *c)
{
	static const struct tree_ops below = {.enter = enter_below};
	bool same = is_same(&c->old, &c->now);
	int r = 0;

	if (c->wanted.allow && !same && c->has_children)
		r = cgroup_each(c->t->dir_fd, true, child_copy, c);
	if (r >= 0 && !same)
		r = write_rules(c, c->t->dir_fd, "", &c->before, &c->now);
	/* The kernel passes on also what changes nothing here. */
	if (r >= 0 && !c->wanted.allow && c->has_children)
		r = tree_walk(c->t->dir_fd, &below, c);
	return r;
}

/*
 * Writing.
 */

/* The very cgroup. */
static int write_open(const struct devfiles_change *c, const struct write *w)
{
	_cleanup_close_ int fd = cgroup_open(c->t->dir_fd, w->path);
	struct node node;
	int r = fd < 0 ? fd : cgroup_stat(fd, &node);

	if (r < 0)
		return r;
	return node.id == w->id ? TAKE_FD(fd) : -ENOENT;
}

static int write_policy(
	const struct devfiles_change *c, const struct write *w, const struct device_policy *policy)
{
	struct devprog *d = c->op->manager->devprog;
	_cleanup_close_ int fd = write_open(c, w);
	_cleanup_close_ int again = -EBADF;
	int r;

	if (fd < 0)
		return fd;
	r = policy->data ? devprog_policy_set(d, fd, policy) : devprog_policy_clear(d, fd);
	if (!is_missing(r))
		return r;
	/* What is missing must be the cgroup, or its parent would get more in spite of it. */
	again = write_open(c, w);
	return again < 0 ? again : -EIO;
}

/* A cgroup below may have gone meanwhile, the target not. */
static bool is_gone(const struct write *w, int r)
{
	return *w->path && is_missing(r);
}

static void change_undo(struct devfiles_change *c)
{
	for (size_t i = c->n; i-- > 0;) {
		struct write *w = &c->writes[i];
		int r = w->done ? write_policy(c, w, &w->before) : 0;

		w->done = false;
		if (r < 0 && !is_gone(w, r))
			log_limited(LOG_WARNING, c->op->account,
				"device rules that were set in part could not be set back: %s",
				strerror(-r));
	}
}

static int change_write(struct devfiles_change *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct write *w = &c->writes[i];
		/* Nobody below is judged any more by the parent alone when that gets more. */
		int r = c->wanted.allow && i > 0 && !*w->path ? devprog_drain() : 0;

		if (r >= 0)
			r = write_policy(c, w, &w->after);

		if (r < 0 && !is_gone(w, r)) {
			change_undo(c);
			return r;
		}
		w->done = r >= 0;
	}
	return 0;
}

/*
 * SetValue.
 */

static void change_fail(struct devfiles_change *c, int r)
{
	if (r == -E2BIG && c->many_rules)
		c->t->reason = REASON_DEVICE_MANY;
	else
		devfiles_fail(c->t, r);
}

/* As v1's file would answer. */
static void apply_fail(struct devfiles_change *c, int r)
{
	struct target *t = c->t;

	if (r == -EPERM)
		t->reason = REASON_VALUE_WIDER;
	else if (r == -EINVAL)
		t->reason = REASON_VALUE_REFUSED;
	else
		change_fail(c, r);
	if (r == -EINVAL && c->has_children)
		target_detail(t, t->reason, "it is for cgroups without children");
}

static void write_fail(struct devfiles_change *c, int r)
{
	c->many_rules = true;
	if (r == -EPERM)
		c->t->reason = REASON_DEVICE_OVERRIDE;
	else
		change_fail(c, r);
}

static void change_run(struct devfiles_change *c)
{
	int r = change_read(c);

	if (r < 0) {
		change_fail(c, r);
		return;
	}
	r = change_apply(c);
	if (r < 0) {
		apply_fail(c, r);
		return;
	}
	r = change_plan(c);
	if (r < 0) {
		change_fail(c, r);
		return;
	}
	r = c->n > 0 ? check_flags(c) : 0;
	if (r >= 0)
		r = change_write(c);
	if (r < 0)
		write_fail(c, r);
}

void devfiles_set(struct op *op, struct target *t)
{
	struct devfiles_change *c = calloc(1, sizeof(*c));
	bool allow = strcmp(t->value.plan.file[0], "devices.allow") == 0;
	int r;

	if (!c) {
		target_fail(t, -ENOMEM);
		return;
	}
	t->value.change = c;
	c->op = op;
	c->t = t;
	if (!target_path(t, c->path)) {
		t->reason = REASON_PATH_LENGTH;
		return;
	}
	r = device_v1_parse(allow, op->request.value, &c->wanted);
	if (r < 0) {
		apply_fail(c, r);
		return;
	}
	r = devlock_take(op->manager->devlocks, &c->lock, c->path);
	if (r < 0) {
		target_fail(t, r);
		return;
	}
	change_run(c);
	/* What was written is held until the loop knows of it. */
	if (t->reason != REASON_OK)
		devlock_put(&c->lock);
}

static int settle_one(struct op *op, const struct devfiles_change *c, const struct write *w)
{
	char path[PATH_TEXT_MAX + 1];
	size_t len = strlen(c->path), more = strlen(w->path);
	int r;

	if (len + 1 + more > PATH_TEXT_MAX)
		return -ENAMETOOLONG;
	memcpy(path, c->path, len + 1);
	if (more > 0) {
		path[len] = '/';
		memcpy(path + len + 1, w->path, more + 1);
	}
	r = governed_set_id(op->manager->governed, w->id, path, &w->after);
	governed_owe_id(op->manager->governed, w->id, op->account);
	return r;
}

void devfiles_settle(struct op *op, struct target *t)
{
	struct devfiles_change *c = t->value.change;

	for (size_t i = 0; c && i < c->n; i++) {
		int r = c->writes[i].done ? settle_one(op, c, &c->writes[i]) : 0;

		if (r < 0)
			log_limited(LOG_NOTICE, op->account,
				"device rules below %s are not watched over: %s, ignoring", c->path,
				strerror(-r));
	}
	if (c)
		devlock_put(&c->lock);
}
