/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "levels.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../policy/controller.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "gather.h"
#include "give.h"
#include "manager.h"

/* Passes of moving tasks out of the way; what forks faster than that is given up. */
#define PASSES_MAX 16
/* Between the first two of them if there was nothing to move; later up to 16 times that. */
#define ENDING_USEC 1000

#define CONTROL "cgroup.subtree_control"

void levels_want(struct target *t, const char *controller)
{
	struct enabling *e = &t->facts.enabling;

	e->optional = strcmp(controller, "all") == 0 || strcmp(controller, t->h->name) == 0;
	e->wanted = controllers_of(t->h->name);
	/* Of several names some are of other hierarchies. */
	if (!e->optional)
		e->wanted &= controllers_of(controller);
}

struct levels *levels_free(struct levels *l)
{
	if (!l)
		return NULL;
	for (unsigned i = 0; i < l->n; i++) {
		close_fd(&l->rung[i].fd);
		evacuation_done(&l->rung[i].evacuation);
	}
	free(l->level);
	free(l->rung);
	free(l);
	return NULL;
}

static struct levels *levels_new(unsigned n)
{
	struct levels *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->level = calloc(n, sizeof(*l->level));
	l->rung = calloc(n, sizeof(*l->rung));
	if (!l->level || !l->rung)
		return levels_free(l);
	for (unsigned i = 0; i < n; i++)
		l->rung[i] = (struct rung){.fd = -EBADF, .evacuation = EVACUATION_NONE};
	return l;
}

static int set_read(int fd, const char *file, unsigned *ret)
{
	char text[512];
	ssize_t n = cgroup_read_small(fd, file, text, sizeof(text));

	if (n < 0)
		return (int)n;
	*ret = controllers_of(text);
	return 0;
}

static int domain_read(int fd, enum domain *ret)
{
	char text[32];
	ssize_t n = cgroup_read_small(fd, "cgroup.type", text, sizeof(text));

	/* The hierarchy's root has none, and neither have kernels before 4.14. */
	if (n < 0 && n != -ENOENT)
		return (int)n;
	if (n < 0 || strcmp(text, "domain") == 0)
		*ret = DOMAIN_PLAIN;
	else if (strcmp(text, "domain threaded") == 0)
		*ret = DOMAIN_THREAD_ROOT;
	else
		*ret = strcmp(text, "threaded") == 0 ? DOMAIN_THREADED : DOMAIN_INVALID;
	return 0;
}

/* The rest of a cgroup that lacks something. What systemd manages is the host's root's. */
static int level_read(struct op *op, int fd, struct level *l)
{
	int r = set_read(fd, "cgroup.controllers", &l->has);

	if (r >= 0)
		r = domain_read(fd, &l->domain);
	if (r >= 0 && l->node.uid == 0)
		r = inspect_systemd(op->manager->inspector, fd);
	l->systemd = r > 0;
	return r;
}

/* The cgroup of the target's path with `depth` components; below the start it must be the one that
 * was passed. */
static int level_open(const struct target *t, const char *path, unsigned depth, struct node *ret)
{
	unsigned start = path_depth(path) - t->place.missing - (t->place.n - 1);
	_cleanup_close_ int fd = cgroup_open_path(t->h->root_fd, path, path_prefix(path, depth));
	int r = fd < 0 ? fd : cgroup_stat(fd, ret);

	if (r < 0)
		return r;
	if (depth >= start && ret->id != t->way[depth - start].id)
		return -ENOENT;
	return TAKE_FD(fd);
}

/* From the parent of the target upwards, in that order. */
static int climb(struct op *op, struct target *t, const char *path, struct levels *l)
{
	const struct enabling *e = &t->facts.enabling;
	unsigned depth = path_depth(path) - (t->place.missing ? t->place.missing : 1);
	unsigned floor = depth + 1 - (t->place.n - (t->place.missing == 0));
	bool scope_known = e->optional;

	for (;; depth--) {
		struct level *level = &l->level[l->n];
		_cleanup_close_ int fd = level_open(t, path, depth, &level->node);
		int r = fd < 0 ? fd : set_read(fd, CONTROL, &level->gives);

		if (r < 0 || (e->wanted & ~level->gives) == 0)
			return r;
		r = level_read(op, fd, level);
		if (r < 0)
			return r;
		l->rung[l->n++].fd = TAKE_FD(fd);
		/* Of what is optional each may be lacking somewhere else. */
		if (!e->optional && (e->wanted & ~level->has) == 0)
			return 0;
		if (depth == floor && !scope_known) {
			r = place_scope(op, t);
			if (r < 0)
				return r;
			floor = path_prefix_depth(path, t->scope_len);
			scope_known = true;
		}
		if (depth <= floor)
			return 0;
	}
}

static void reverse(struct levels *l)
{
	for (unsigned i = 0; i < l->n / 2; i++) {
		struct level level = l->level[i];
		struct rung rung = l->rung[i];

		l->level[i] = l->level[l->n - 1 - i];
		l->rung[i] = l->rung[l->n - 1 - i];
		l->level[l->n - 1 - i] = level;
		l->rung[l->n - 1 - i] = rung;
	}
}

int levels_gather(struct op *op, struct target *t)
{
	struct enabling *e = &t->facts.enabling;
	char path[PATH_TEXT_MAX + 1];
	int r;

	if (!target_path(t, path))
		return -ENAMETOOLONG;
	levels_free(t->levels);
	t->levels = levels_new(path_depth(path) + 1);
	if (!t->levels)
		return -ENOMEM;
	r = climb(op, t, path, t->levels);
	if (r < 0)
		return r;
	reverse(t->levels);
	e->levels = t->levels->level;
	e->n = t->levels->n;
	e->have |= FACT_LEVELS;
	return 0;
}

static unsigned lacking(const struct target *t, unsigned index)
{
	return t->controllers & ~t->levels->level[index].gives;
}

bool levels_lack(const struct target *t)
{
	for (unsigned i = 0; t->reason == REASON_OK && t->levels && i < t->levels->n; i++)
		if (lacking(t, i))
			return true;
	return false;
}

/* How the caller would name the cgroup with `depth` components on the way to its target. */
static void level_name(
	const struct target *t, const char *path, unsigned depth, char *buf, size_t size)
{
	unsigned base = path_prefix_depth(t->who.own, t->start_len);
	size_t from = path_prefix(path, base), to = path_prefix(path, depth);

	if (depth == base)
		snprintf(buf, size, "your own cgroup");
	else if (depth > base)
		snprintf(
			buf, size, "%.*s", (int)(to - from - (from > 1)), path + from + (from > 1));
	else if (to <= t->scope_len)
		snprintf(buf, size, "the top of your scope");
	else
		snprintf(buf, size, "%.*s", (int)(to - t->scope_len), path + t->scope_len);
}

/* The depth of a level: they reach up from the parent of the target without a gap. */
static unsigned level_depth(const struct target *t, const char *path, unsigned index)
{
	unsigned parent = path_depth(path) - (t->place.missing ? t->place.missing : 1);

	return parent - (t->levels->n - 1 - index);
}

static char *detail(const struct target *t, unsigned index, unsigned set)
{
	char path[PATH_TEXT_MAX + 1], name[PATH_TEXT_MAX + 1], names[256], *text = NULL;

	if (!target_path(t, path))
		return NULL;
	level_name(t, path, level_depth(t, path, index), name, sizeof(name));
	controllers_text(set, '\0', names, sizeof(names));
	return asprintf(&text, "%s in %s", names, name) < 0 ? NULL : text;
}

char *levels_detail(const struct target *t, unsigned index)
{
	const struct enabling *e = &t->facts.enabling;
	const struct level *l;

	if (!t->levels || index >= t->levels->n)
		return NULL;
	l = &t->levels->level[index];
	/* The first level lacks it itself, or it does not give it. */
	return detail(t, index, e->wanted & ~l->has ? e->wanted & ~l->has : e->wanted & ~l->gives);
}

/* The number that a file of a cgroup holds, or of its lines the one that begins with `field`;
 * UINT64_MAX for "max" and where there is none. */
static uint64_t number_read(int fd, const char *file, const char *field)
{
	char text[512];
	const char *at = text;

	if (cgroup_read_small(fd, file, text, sizeof(text)) < 0)
		return UINT64_MAX;
	if (field)
		at = strstr(text, field);
	if (!at || strcmp(at, "max") == 0)
		return UINT64_MAX;
	return strtoull(at + (field ? strlen(field) : 0), NULL, 10);
}

char *levels_full(const struct target *t, unsigned made)
{
	char path[PATH_TEXT_MAX + 1], name[PATH_TEXT_MAX + 1], *text = NULL;
	unsigned parent, base = path_prefix_depth(t->who.own, t->start_len);

	if (!target_path(t, path))
		return NULL;
	parent = path_depth(path) - t->place.missing + made;
	for (unsigned depth = parent + 1; depth-- > base;) {
		_cleanup_close_ int fd =
			cgroup_open_path(t->h->root_fd, path, path_prefix(path, depth));
		uint64_t below =
			fd < 0 ? UINT64_MAX : number_read(fd, "cgroup.max.descendants", NULL);
		uint64_t levels = fd < 0 ? UINT64_MAX : number_read(fd, "cgroup.max.depth", NULL);
		bool deep = levels <= parent - depth;

		if (!deep && (below == UINT64_MAX ||
				     number_read(fd, "cgroup.stat", "nr_descendants ") < below))
			continue;
		level_name(t, path, depth, name, sizeof(name));
		return asprintf(&text, "cgroup.max.%s is %" PRIu64 " in %s",
			       deep ? "depth" : "descendants", deep ? levels : below, name) < 0
			       ? NULL
			       : text;
	}
	return NULL;
}

int levels_write(int fd, unsigned set, char sign)
{
	char text[256];

	if (set == 0)
		return 0;
	controllers_text(set, sign, text, sizeof(text));
	return cgroup_write(fd, CONTROL, text, strlen(text));
}

/*
 * Controllers that work beside tasks are enabled there by the kernel, but that makes a thread root
 * of the cgroup, whose children can then hold no processes (cgroup_is_thread_root()). So tasks make
 * room for any, but where somebody wants threads. 1: one came in between, and it was taken back.
 *
 * What another call has enabled since it was judged is not this one's to take back.
 */
static int enable_once(struct rung *rung, const struct level *level, unsigned set)
{
	enum domain domain = level->domain;
	unsigned now = 0;
	int r = set_read(rung->fd, CONTROL, &now);

	if (r >= 0)
		r = levels_write(rung->fd, set & ~now, '+');
	if (r < 0)
		return r;
	if (level->domain == DOMAIN_PLAIN)
		r = domain_read(rung->fd, &domain);
	if (r >= 0 && domain == level->domain) {
		rung->enabled = set & ~now;
		return 0;
	}
	/* The error that is told is the first one. */
	levels_write(rung->fd, set & ~now, '-');
	return r < 0 ? r : 1;
}

/* Where tasks are in nobody's way. The root of the daemon's cgroup namespace may be another. */
static bool is_the_kernels_root(int fd)
{
	struct stat st;

	return fstatat(fd, "cgroup.type", &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* Moves tasks out of the way as often as some are found there. */
static int rung_enable(struct op *op, struct target *t, unsigned index, unsigned set)
{
	const struct level *level = &t->levels->level[index];
	struct rung *rung = &t->levels->rung[index];
	struct evacuation *e = &rung->evacuation;
	bool threads = level->domain != DOMAIN_PLAIN || is_the_kernels_root(rung->fd);
	unsigned stuck = 0; /* passes that only found the same one, which cannot be moved */
	int32_t left = 0;

	for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
		int moved = threads ? 0 : evacuate(op, t->h, rung->fd, &level->node, e);
		int r = moved < 0 ? moved : enable_once(rung, level, set);

		/* -EBUSY where those that were listed have ended by themselves: others came. */
		if (r <= 0 && (r != -EBUSY || moved < 0))
			return r;
		stuck = moved == 0 && e->left > 0 && e->left_pid == left ? stuck + 1 : 0;
		left = e->left_pid;
		/* Who has ended is counted till it is off its processor (7.0). */
		if (moved == 0)
			usleep(ENDING_USEC << (pass < 4 ? pass : 4));
	}
	return e->listed == 0 || stuck >= PASSES_MAX / 2 ? -EBUSY : -EAGAIN;
}

void levels_undo(struct op *op, struct target *t)
{
	for (unsigned i = t->levels ? t->levels->n : 0; i-- > 0;) {
		struct rung *rung = &t->levels->rung[i];

		/* What somebody uses meanwhile stays, ignoring. */
		levels_write(rung->fd, rung->enabled, '-');
		rung->enabled = 0;
		evacuate_undo(op, t->h, rung->fd, &rung->evacuation);
	}
}

/* New files of a cgroup that is there are the kernel's root's: they go to who would have got them
 * by writing cgroup.subtree_control himself. */
static int give_next(const struct op *op, const struct target *t, unsigned index, unsigned set)
{
	int fd = index + 1 < t->levels->n ? t->levels->rung[index + 1].fd : t->dir_fd;

	if (index + 1 == t->levels->n && t->place.missing > 0)
		return 0;
	return give_files(fd, &op->who.subject, set);
}

static enum reason enable_error(int err)
{
	switch (err) {
	case -EBUSY:
		return REASON_LEVEL_BUSY;
	case -EAGAIN:
		return REASON_LEVEL_FORKS;
	case -EOPNOTSUPP:
		return REASON_LEVEL_THREADED;
	case -EMLINK:
		return REASON_TREE_FULL;
	case -EOWNERDEAD:
		return REASON_REQUESTOR_GONE;
	case -ENOENT:
		/* The cgroup above does not give it any more. */
		return REASON_LEVEL_ABOVE;
	default:
		return REASON_OK;
	}
}

int levels_enable(struct op *op, struct target *t)
{
	for (unsigned i = 0; t->levels && i < t->levels->n; i++) {
		unsigned set = lacking(t, i);
		int r = set ? rung_enable(op, t, i, set) : 0;

		if (r >= 0 && set)
			r = give_next(op, t, i, set);
		if (r >= 0)
			continue;
		levels_undo(op, t);
		if (t->facts.enabling.optional) {
			/* What needed nothing is there all the same. */
			for (unsigned k = 0; k < t->levels->n; k++)
				t->controllers &= t->levels->level[k].gives;
			return 0;
		}
		target_fail(t, r);
		if (enable_error(r) != REASON_OK) {
			t->reason = enable_error(r);
			t->detail = detail(t, i, set);
		}
		return r;
	}
	return 0;
}
