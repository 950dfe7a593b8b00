/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "gather.h"
#include "inspect.h"
#include "leaf.h"
#include "manager.h"

/* Every ancestor of a cgroup whose path fits into 4,095 bytes. The loop's thread alone comes here.
 */
#define CHAIN_MAX (PATH_TEXT_MAX / 2 + 2)
static struct node scope_chain[CHAIN_MAX];

/* The requestor's ancestors, its own cgroup last in scope_chain, read from there upward. */
struct chain {
	unsigned depth; /* of its own cgroup */
	unsigned n;	/* known */
};

static const struct node *chain_top(const struct chain *c)
{
	return &scope_chain[CHAIN_MAX - c->n];
}

static bool chain_whole(const struct chain *c)
{
	return c->n == c->depth + 1;
}

/* The length in s->own of the path of chain_top()[index]. */
static size_t chain_len(const struct standing *s, const struct chain *c, unsigned index)
{
	return path_prefix(s->own, c->depth + 1 - c->n + index);
}

static int chain_extend(const struct hierarchy *h, const struct standing *s, struct chain *c)
{
	struct node *next = &scope_chain[CHAIN_MAX - 1 - c->n];

	if (chain_whole(c))
		return -EXDEV;
	c->n++;
	return cgroup_stat_path(h->root_fd, h->dev, s->own, chain_len(s, c, 0), next);
}

static bool chain_has(const struct chain *c, uint64_t id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (chain_top(c)[i].id == id)
			return true;
	return false;
}

/* A cgroup namespace that was made in the leaf of one of the party's ancestors: its root is that
 * ancestor. Only where the chain is whole and its root is not in it. */
static int root_unfold(struct op *op, const struct target *t, struct standing *s, struct chain *c)
{
	struct inspector *inspector = op->manager->inspector;

	if (!t->h->v2 || !chain_whole(c) || !s->have_root || s->root_id == 0 ||
		chain_has(c, s->root_id))
		return 0;
	for (unsigned i = c->n; i-- > 0;) {
		size_t len = chain_len(s, c, i);
		_cleanup_close_ int dir = cgroup_open_path(t->h->root_fd, s->own, len);
		_cleanup_close_ int leaf = dir < 0 ? dir : leaf_open(inspector, dir);
		struct node node;
		int r = leaf < 0 ? leaf : cgroup_stat(leaf, &node);

		if (r < 0 && r != -ENOENT)
			return r;
		if (r >= 0 && node.id == s->root_id) {
			s->root_id = chain_top(c)[i].id;
			return 0;
		}
	}
	return 0;
}

static int scope_of_chain(struct op *op, struct party *p, struct target *t, size_t *ret_len)
{
	struct standing *s = party_standing(op, p, t);
	struct chain chain = {.depth = path_depth(s->own)};
	int index, r = chain_extend(t->h, s, &chain);

	while (r >= 0) {
		unsigned need = 0;

		index = scope_decide(&p->subject, chain_top(&chain), chain.n, chain_whole(&chain),
			s->have_root ? FACT_ROOT : 0, s->root_id, &need);
		if (index >= 0) {
			*ret_len = chain_len(s, &chain, (unsigned)index);
			return 0;
		}
		r = need & FACT_CHAIN ? chain_extend(t->h, s, &chain)
				      : gather_subject(op, p, t, need);
		if (r >= 0)
			r = root_unfold(op, t, s, &chain);
	}
	return r;
}

/* Once for a party and hierarchy. */
static int scope_find(struct op *op, struct party *p, struct target *t)
{
	struct standing *s = party_standing(op, p, t);
	bool host_root;
	int r;

	if (s->scope_len > 0)
		return 0;
	r = gather_host_root(op, p, t, &host_root);
	if (r < 0)
		return r;
	if (!host_root)
		return scope_of_chain(op, p, t, &s->scope_len);
	s->scope_len = 1; /* nothing of the chain matters */
	return 0;
}

static bool within_prefix(const char *path, const char *own, size_t len)
{
	char prefix[PATH_TEXT_MAX + 1];

	memcpy(prefix, own, len);
	prefix[len] = '\0';
	return path_is_within(path, prefix, NULL);
}

bool target_path(const struct target *t, char *buf)
{
	size_t len = t->start_len == 1 ? 0 : t->start_len, rest = strlen(t->rest);

	if (len + 1 + rest > PATH_TEXT_MAX)
		return false;
	memcpy(buf, t->who.own, len);
	buf[len] = '/';
	memcpy(buf + len + 1, t->rest, rest + 1);
	if (rest == 0 && len > 0)
		buf[len] = '\0';
	return true;
}

static size_t longer(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* The root of what lies in the scopes of all parties: each scope's root is an ancestor of the
 * requestor's cgroup, so it is the deepest. "The proxy's scope" of the methods that take a path
 * from there is its own cgroup. */
static int scope_of_all(struct op *op, struct target *t)
{
	int r = scope_find(op, &op->who, t);

	t->scope_len = t->who.scope_len;
	if (t->proxy)
		t->scope_len = longer(t->scope_len, t->proxy->scope_len);
	if (t->proxy && op->request.method->base == BASE_SCOPE)
		t->scope_len = longer(t->scope_len, t->proxy->base_len);
	return r;
}

int place_scope(struct op *op, struct target *t)
{
	char path[PATH_TEXT_MAX + 1];
	int r = scope_of_all(op, t);

	if (r < 0)
		return r;
	if (!target_path(t, path))
		return -ENAMETOOLONG;
	t->place.in_scope = within_prefix(path, t->who.own, t->scope_len);
	t->place.is_scope_root = t->place.in_scope && strlen(path) == t->scope_len;
	if (op->victim_pid > 0)
		t->facts.victim_in_scope = within_prefix(t->victim_path, t->who.own, t->scope_len);
	t->place.have |= FACT_SCOPE;
	return 0;
}

/* An init that moved itself into a leaf still manages its container: a last component of that kind
 * is dropped where it lies right below the root of the cgroup namespace, and the requestor has
 * privilege over the parent. (A marked leaf is not even there, see standing_fold().) */
static int base_fold(struct op *op, struct party *p, struct target *t)
{
	struct standing *s = party_standing(op, p, t);
	const char *name = strrchr(s->own, '/');
	_cleanup_close_ int fd = -EBADF;
	struct node parent;
	int r;

	s->base_len = strlen(s->own);
	if (strcmp(name, "/init.scope") != 0 && strcmp(name, "/" LEAF_NAME) != 0)
		return 0;
	fd = cgroup_open_path(t->h->root_fd, s->own, strlen(s->own));
	if (fd < 0)
		return fd;
	r = cgroup_stat_parent(fd, t->h->dev, &parent);
	/* The top of a hierarchy is nobody's container. */
	if (r <= 0 || parent.id == t->h->root_id)
		return r < 0 ? r : 0;
	r = s->have_root ? 0 : gather_ns(op, p, t);
	if (r < 0 || s->root_id != parent.id)
		return r;
	for (;;) {
		unsigned need = 0;
		enum tri over = subject_over_cgroup(&p->subject, &parent, &need);

		if (over == YES)
			s->base_len = name == s->own ? 1 : (size_t)(name - s->own);
		if (over != UNKNOWN)
			return 0;
		r = gather_subject(op, p, t, need);
		if (r < 0)
			return r;
	}
}

/* The length in own of the top that the requestor's cgroup namespace shows. */
static int top_find(struct op *op, struct target *t, size_t *ret_len)
{
	struct standing *s = &t->who;
	struct chain chain = {.depth = path_depth(s->own)};
	int r = s->have_root ? 0 : gather_ns(op, &op->who, t);

	if (r < 0)
		return r;
	if (op->who.subject.own_cgroupns) {
		*ret_len = 1;
		return 0;
	}
	do
		r = chain_extend(t->h, s, &chain);
	while (r >= 0 && chain_top(&chain)->id != s->root_id && !chain_whole(&chain));
	if (r >= 0)
		r = root_unfold(op, t, s, &chain);
	for (unsigned i = 0; r >= 0 && i < chain.n; i++)
		if (chain_top(&chain)[i].id == s->root_id) {
			*ret_len = chain_len(s, &chain, i);
			return 0;
		}
	return r < 0 ? r : -EXDEV;
}

/*
 * CURRENT with a leading '/': from the top that the requestor's cgroup namespace shows, and the
 * result must be the base, or lie below it, of the requestor or of who speaks for it. -EXDEV.
 */
static int rest_from_top(struct op *op, struct target *t)
{
	const char *own = t->who.own, *rest;
	char below[PATH_TEXT_MAX + 1], wanted[PATH_TEXT_MAX + 2];
	size_t top, len, base = t->proxy ? t->proxy->base_len : t->who.base_len;
	int r = top_find(op, t, &top);

	if (r < 0)
		return r;
	if (t->proxy && !within_prefix(own, t->proxy->own, base))
		return -EXDEV;
	if (base < top && !t->proxy)
		return -EXDEV;
	base = longer(base, top);
	/* "/" + what the text says, against "/" + what lies between the top and the base. */
	len = base > top ? base - top - (top == 1 ? 0 : 1) : 0;
	below[0] = '/';
	memcpy(below + 1, own + base - len, len);
	below[len + 1] = '\0';
	wanted[0] = '/';
	memcpy(wanted + 1, op->path.text, op->path.len + 1);
	if (!path_is_within(wanted, below, &rest))
		return -EXDEV;
	t->start_len = base;
	t->rest = op->path.text + (op->path.len - strlen(rest));
	return 0;
}

/* Where a path from the scope starts, of the methods that take one. -EXDEV. */
static int start_at_scope(struct op *op, struct target *t)
{
	int r;

	if (t->proxy) {
		if (!within_prefix(t->who.own, t->proxy->own, t->proxy->base_len))
			return -EXDEV;
		t->start_len = t->proxy->base_len;
		return 0;
	}
	r = scope_find(op, &op->who, t);
	t->start_len = t->who.scope_len;
	return r;
}

/* The requestor must be in the scope of who speaks for it. -EXDEV. */
static int proxy_stand(struct op *op, struct target *t)
{
	int r = base_fold(op, op->proxy, t);

	if (r >= 0)
		r = scope_find(op, op->proxy, t);
	if (r >= 0 && !within_prefix(t->who.own, t->proxy->own, t->proxy->scope_len))
		return -EXDEV;
	return r;
}

static enum reason start_find(struct op *op, struct target *t)
{
	int r = base_fold(op, &op->who, t);

	if (r < 0)
		return r == -ENOENT ? REASON_REQUESTOR_REMOVED : gather_error(r);
	if (op->proxy)
		r = proxy_stand(op, t);
	if (r < 0)
		return r == -EXDEV ? REASON_SPEAK_MISSING : gather_error(r);
	t->start_len = t->who.base_len;
	t->rest = op->path.text;
	if (op->request.method->base == BASE_CURRENT && op->path.absolute)
		r = rest_from_top(op, t);
	else if (op->request.method->base == BASE_SCOPE ||
		 (op->request.method->base == BASE_NATIVE && op->path.absolute))
		r = start_at_scope(op, t);
	if (r == -EXDEV)
		return REASON_CGROUP_OUTSIDE;
	return r < 0 ? gather_error(r) : REASON_OK;
}

/* One component after the other, each from the directory before it; `way` is what was passed. */
static int walk(struct op *op, struct target *t)
{
	struct place *place = &t->place;
	const char *at = t->rest;
	char name[PATH_NAME_MAX + 1];
	int r;

	t->dir_fd = cgroup_open_path(t->h->root_fd, t->who.own, t->start_len);
	if (t->dir_fd < 0)
		return t->dir_fd;
	r = cgroup_stat(t->dir_fd, &t->way[0]);
	for (place->n = 1; r >= 0 && *at; place->n++) {
		size_t len = strcspn(at, "/");
		int fd;

		memcpy(name, at, len);
		name[len] = '\0';
		t->name = at;
		fd = cgroup_open(t->dir_fd, name);
		/* A leaf is no cgroup to the outside. */
		if (fd >= 0 && t->h->v2 && leaf_is(op->manager->inspector, fd, name) == 1) {
			close(fd);
			break;
		}
		if (fd == -ENOENT || fd == -ENOTDIR)
			break;
		if (fd < 0)
			return fd;
		close_fd(&t->parent_fd);
		t->parent_fd = t->dir_fd;
		t->dir_fd = fd;
		r = cgroup_stat(fd, &t->way[place->n]);
		at += len + (at[len] == '/');
	}
	t->missing = at;
	for (; *at; at += strcspn(at, "/"), at += *at == '/')
		place->missing++;
	return r;
}

enum reason place_open(struct op *op, struct target *t)
{
	enum reason reason = start_find(op, t);
	struct place *place = &t->place;
	int r;

	t->facts.place = place;
	place->way = t->way;
	/* The walk begins at the requestor's own cgroup or at its scope's root. Where several
	 * scopes count, that tells nothing. */
	place->base_in_scope = !t->proxy;
	place->base_is_top = t->start_len == 1;
	if (reason != REASON_OK)
		return reason;
	if (op->request.method->action == ACTION_LOCATE) {
		t->way[0] = (struct node){0};
		place->n = 1;
		return REASON_OK;
	}
	r = walk(op, t);
	if (r == -ENOENT || r == -ENODEV)
		return REASON_REQUESTOR_REMOVED;
	if (r < 0) {
		t->err = -r;
		return REASON_KERNEL;
	}
	place->depth = path_prefix_depth(t->who.own, t->start_len) + place->n - 1 + place->missing;
	if (place->n >= 2 && place->missing == 0) {
		place->parent = t->way[place->n - 2];
		place->has_parent = true;
		place->have |= FACT_PARENT;
	}
	return REASON_OK;
}

int place_victim(struct target *t)
{
	char path[PATH_TEXT_MAX + 1];

	if (!target_path(t, path))
		return -ENAMETOOLONG;
	t->facts.victim_below = within_prefix(t->victim_path, t->who.own, t->who.base_len);
	t->facts.target_below_victim = path_is_within(path, t->victim_path, NULL);
	t->facts.names_may_change = !t->h->v2;
	return 0;
}

/* The loop's thread alone comes here, and each target is judged before the next is gathered. */
static struct node levels[CHAIN_MAX];

static int levels_read(struct target *t, const char *path, size_t len)
{
	unsigned depth = path_prefix_depth(path, len);
	unsigned from = path_prefix_depth(t->who.own, t->scope_len), n = 0;
	int r = 0;

	for (unsigned i = from; r >= 0 && i <= depth; i++)
		r = cgroup_stat_path(
			t->h->root_fd, t->h->dev, path, path_prefix(path, i), &levels[n++]);
	t->facts.levels = levels;
	t->facts.n_levels = n;
	return r;
}

int place_ancestor(struct target *t)
{
	char path[PATH_TEXT_MAX + 1];
	size_t len;
	int r;

	if (!target_path(t, path))
		return -ENAMETOOLONG;
	len = path_common(path, t->victim_path);
	r = cgroup_stat_path(t->h->root_fd, t->h->dev, path, len, &t->facts.ancestor);
	if (r >= 0 && t->facts.names_may_change)
		r = levels_read(t, path, len);
	if (r < 0)
		return r;
	path[len] = '\0';
	t->facts.ancestor_in_scope = within_prefix(path, t->who.own, t->scope_len);
	t->facts.have |= FACT_ANCESTOR;
	return 0;
}
