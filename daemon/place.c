/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "gather.h"
#include "inspect.h"
#include "manager.h"

/* Every ancestor of a cgroup whose path fits into 4,095 bytes. The loop's thread alone comes here.
 */
#define CHAIN_MAX (PATH_TEXT_MAX / 2 + 2)
static struct node scope_chain[CHAIN_MAX];

/* The length of the prefix of an absolute path that has `depth` components. */
static size_t prefix_len(const char *path, unsigned depth)
{
	size_t len = 0;

	if (depth == 0)
		return 1;
	while (depth-- > 0)
		len += 1 + strcspn(path + len + 1, "/");
	return len;
}

static unsigned prefix_depth(const char *path, size_t len)
{
	unsigned depth = 0;

	for (size_t i = 0; len > 1 && i < len; i++)
		depth += path[i] == '/';
	return depth;
}

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

/* The length in t->own of the path of chain_top()[index]. */
static size_t chain_len(const struct target *t, const struct chain *c, unsigned index)
{
	return prefix_len(t->own, c->depth + 1 - c->n + index);
}

static int chain_extend(const struct target *t, struct chain *c)
{
	struct node *next = &scope_chain[CHAIN_MAX - 1 - c->n];

	if (chain_whole(c))
		return -EXDEV;
	c->n++;
	return cgroup_stat_path(t->h->root_fd, t->h->dev, t->own, chain_len(t, c, 0), next);
}

static int scope_of_chain(struct op *op, struct target *t, size_t *ret_len)
{
	struct chain chain = {.depth = path_depth(t->own)};
	int index, r = chain_extend(t, &chain);

	while (r >= 0) {
		unsigned need = 0;

		index = scope_decide(&op->subject, chain_top(&chain), chain.n, chain_whole(&chain),
			t->have_root ? FACT_ROOT : 0, t->root_id, &need);
		if (index >= 0) {
			*ret_len = chain_len(t, &chain, (unsigned)index);
			return 0;
		}
		r = need & FACT_CHAIN ? chain_extend(t, &chain) : gather_subject(op, t, need);
	}
	return r;
}

static int scope_find(struct op *op, struct target *t, size_t *ret_len)
{
	bool host_root;
	int r = gather_host_root(op, t, &host_root);

	if (r < 0)
		return r;
	if (!host_root)
		return scope_of_chain(op, t, ret_len);
	*ret_len = 1; /* nothing of the chain matters */
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
	memcpy(buf, t->own, len);
	buf[len] = '/';
	memcpy(buf + len + 1, t->rest, rest + 1);
	if (rest == 0 && len > 0)
		buf[len] = '\0';
	return true;
}

int place_scope(struct op *op, struct target *t)
{
	char path[PATH_TEXT_MAX + 1];
	int r = 0;

	if (t->scope_len == 0)
		r = scope_find(op, t, &t->scope_len);
	if (r < 0)
		return r;
	if (!target_path(t, path))
		return -ENAMETOOLONG;
	t->place.in_scope = within_prefix(path, t->own, t->scope_len);
	t->place.is_scope_root = t->place.in_scope && strlen(path) == t->scope_len;
	if (op->victim_pid > 0)
		t->facts.victim_in_scope = within_prefix(t->victim_path, t->own, t->scope_len);
	t->place.have |= FACT_SCOPE;
	return 0;
}

/* An init that moved itself into a leaf still manages its container: a last component of that kind
 * is dropped where it is marked as a leaf or lies right below the root of the cgroup namespace, and
 * the requestor has privilege over the parent. */
static int base_fold(struct op *op, struct target *t)
{
	const char *name = strrchr(t->own, '/');
	_cleanup_close_ int fd = -EBADF;
	struct node parent;
	int r;

	if (strcmp(name, "/init.scope") != 0 && strcmp(name, "/.cgm_leaf") != 0)
		return 0;
	fd = cgroup_open_path(t->h->root_fd, t->own, strlen(t->own));
	if (fd < 0)
		return fd;
	r = cgroup_stat_parent(fd, t->h->dev, &parent);
	/* The top of a hierarchy is nobody's container. */
	if (r <= 0 || parent.id == t->h->root_id)
		return r < 0 ? r : 0;
	r = inspect_mark_get(op->manager->inspector, fd, MARK_LEAF);
	if (r < 0)
		return r;
	if (r == 0) {
		r = t->have_root ? 0 : gather_ns(op, t);
		if (r < 0 || t->root_id != parent.id)
			return r;
	}
	for (;;) {
		unsigned need = 0;
		enum tri over = subject_over_cgroup(&op->subject, &parent, &need);

		if (over == YES)
			t->base_len = name == t->own ? 1 : (size_t)(name - t->own);
		if (over != UNKNOWN)
			return 0;
		r = gather_subject(op, t, need);
		if (r < 0)
			return r;
	}
}

/* CURRENT with a leading '/': from the top that the requestor's cgroup namespace shows, and the
 * result must be its base or lie below it. */
static int rest_from_top(struct op *op, struct target *t)
{
	size_t top = 1;
	char below[PATH_TEXT_MAX + 1];
	const char *rest;
	size_t len;
	int r = 0;

	if (!t->have_root)
		r = gather_ns(op, t);
	if (r < 0)
		return r;
	if (!op->subject.own_cgroupns) {
		struct chain chain = {.depth = path_depth(t->own)};

		do
			r = chain_extend(t, &chain);
		while (r >= 0 && chain_top(&chain)->id != t->root_id);
		if (r < 0)
			return r;
		top = chain_len(t, &chain, 0);
	}
	/* "/" + what the text says, against "/" + what lies between the top and the base. */
	len = t->base_len > top ? t->base_len - top - (top == 1 ? 0 : 1) : 0;
	if (t->base_len < top)
		return -EXDEV;
	below[0] = '/';
	memcpy(below + 1, t->own + t->base_len - len, len);
	below[len + 1] = '\0';
	if (op->path.len + 1 > PATH_TEXT_MAX)
		return -EXDEV;
	{
		char wanted[PATH_TEXT_MAX + 1];

		wanted[0] = '/';
		memcpy(wanted + 1, op->path.text, op->path.len + 1);
		if (!path_is_within(wanted, below, &rest))
			return -EXDEV;
		t->rest = op->path.text + (op->path.len - strlen(rest));
	}
	return 0;
}

static enum reason start_find(struct op *op, struct target *t)
{
	int r = 0;

	t->base_len = strlen(t->own);
	t->scope_len = 0;
	t->start_len = t->base_len;
	t->rest = op->path.text;
	r = base_fold(op, t);
	if (r < 0)
		return r == -ENOENT ? REASON_REQUESTOR_REMOVED : gather_error(r);
	t->start_len = t->base_len;
	switch (op->request.method->base) {
	case BASE_CURRENT:
		if (op->path.absolute)
			r = rest_from_top(op, t);
		break;
	case BASE_SCOPE:
		r = scope_find(op, t, &t->scope_len);
		t->start_len = t->scope_len;
		break;
	default:
		break;
	}
	if (r == -EXDEV)
		return REASON_CGROUP_OUTSIDE;
	return r < 0 ? gather_error(r) : REASON_OK;
}

/* One component after the other, each from the directory before it; `way` is what was passed. */
static int walk(struct target *t)
{
	struct place *place = &t->place;
	const char *at = t->rest;
	char name[PATH_NAME_MAX + 1];
	int r;

	t->dir_fd = cgroup_open_path(t->h->root_fd, t->own, t->start_len);
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

	t->facts.subject = &op->subject;
	t->facts.place = place;
	t->facts.victim = &op->victim;
	place->way = t->way;
	/* The walk begins at the requestor's own cgroup or at the scope's root. */
	place->base_in_scope = true;
	place->base_is_top = t->start_len == 1;
	if (reason != REASON_OK)
		return reason;
	if (op->request.method->action == ACTION_LOCATE) {
		t->way[0] = (struct node){0};
		place->n = 1;
		return REASON_OK;
	}
	r = walk(t);
	if (r == -ENOENT || r == -ENODEV)
		return REASON_REQUESTOR_REMOVED;
	if (r < 0) {
		t->err = -r;
		return REASON_KERNEL;
	}
	place->depth = prefix_depth(t->own, t->start_len) + place->n - 1 + place->missing;
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
	t->facts.victim_below = within_prefix(t->victim_path, t->own, t->base_len);
	t->facts.target_below_victim = path_is_within(path, t->victim_path, NULL);
	t->facts.names_may_change = !t->h->v2;
	return 0;
}

/* The loop's thread alone comes here, and each target is judged before the next is gathered. */
static struct node levels[CHAIN_MAX];

static int levels_read(struct target *t, const char *path, size_t len)
{
	unsigned depth = prefix_depth(path, len);
	unsigned from = prefix_depth(t->own, t->scope_len), n = 0;
	int r = 0;

	for (unsigned i = from; r >= 0 && i <= depth; i++)
		r = cgroup_stat_path(
			t->h->root_fd, t->h->dev, path, prefix_len(path, i), &levels[n++]);
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
	t->facts.ancestor_in_scope = within_prefix(path, t->own, t->scope_len);
	t->facts.have |= FACT_ANCESTOR;
	return 0;
}
