/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devway.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/device-policy.h"
#include "../policy/device-v1.h"
#include "../policy/program.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devices-v1.h"
#include "manager.h"

#define LIST_FILE "devices.list"
#define LIST_MAX ((size_t)1024 * 1024)

static void level_done(struct devway_level *l)
{
	for (unsigned i = 0; i < l->n_others; i++)
		devprog_foreign_done(&l->others[i]);
	free(l->others);
	device_policy_done(&l->policy);
	device_policy_done(&l->wider);
	device_change_v1_free(l->wider_v1);
	close_fd(&l->fd);
}

struct devway *devway_free(struct devway *w)
{
	if (!w)
		return NULL;
	for (unsigned i = 0; i < w->n; i++)
		level_done(&w->level[i]);
	free(w->level);
	free(w);
	return NULL;
}

static void devway_freep(struct devway **w)
{
	devway_free(*w);
}

static struct devway_level *level_add(struct devway *w, size_t len)
{
	struct devway_level *bigger = reallocarray(w->level, w->n + 1, sizeof(*bigger));

	if (!bigger)
		return NULL;
	w->level = bigger;
	bigger[w->n] = (struct devway_level){.len = len, .fd = -EBADF};
	return &bigger[w->n++];
}

/*
 * v2.
 */

static int others_read(struct manager *m, struct devway_level *l)
{
	l->others = calloc(l->attached.n, sizeof(*l->others));
	if (!l->others)
		return -ENOMEM;
	for (unsigned i = 0; i < l->attached.n; i++) {
		struct devprog_foreign *f = &l->others[l->n_others];
		int r;

		if (l->attached.one[i].ours)
			continue;
		r = devprog_foreign_get(m->inspector, l->attached.one[i].id, f);
		/* It was detached meanwhile. */
		if (r == -ENOENT)
			continue;
		if (r == -ENOMEM || r == -EPIPE)
			return r;
		if (r < 0)
			*f = (struct devprog_foreign){.name = ""};
		l->n_others++;
	}
	return 0;
}

static bool has_ours(const struct devprog_attached *a)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->one[i].ours)
			return true;
	return false;
}

static bool has_others(const struct devprog_attached *a)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!a->one[i].ours)
			return true;
	return false;
}

static int level_read_v2(struct manager *m, struct devway_level *l, int fd, unsigned flags)
{
	bool ours = has_ours(&l->attached);
	int r = 0;

	if (!(flags & DEVWAY_READ))
		return 0;
	if (ours)
		r = devprog_policy_read(m->devprog, fd, &l->attached, &l->policy);
	if (r >= 0 && has_others(&l->attached))
		r = others_read(m, l);
	return r;
}

static int way_read_v2(struct manager *m, const struct hierarchy *h, int target_fd, unsigned flags,
	struct devway *w)
{
	unsigned depth = path_depth(w->path);

	for (unsigned i = 0; i <= depth; i++) {
		size_t len = path_prefix(w->path, i);
		bool last = i == depth;
		_cleanup_close_ int own = -EBADF;
		struct devprog_attached attached;
		struct devway_level *l;
		int fd = target_fd, r;

		if (!last || fd < 0)
			fd = own = cgroup_open_path(h->root_fd, w->path, len);
		r = fd < 0 ? fd : devprog_query(m->devprog, fd, &attached);
		if (r < 0)
			return r;
		if (attached.n == 0 && !last)
			continue;
		l = level_add(w, len);
		if (!l)
			return -ENOMEM;
		l->attached = attached;
		r = level_read_v2(m, l, fd, flags);
		if (r < 0)
			return r;
		if ((flags & DEVWAY_KEEP) && l->policy.data)
			l->fd = TAKE_FD(own);
	}
	return 0;
}

/*
 * v1.
 */

static void rule_of_write(const struct device_v1_write *w, struct device_rule *ret)
{
	bool any = w->minor == DEVICE_ANY;

	*ret = (struct device_rule){.allow = true, .access = w->access};
	ret->range = (struct device_range){.types = w->type,
		.access = DEVICE_ALL,
		.major = w->major,
		.first = any ? 0 : w->minor,
		.last = any ? DEVICE_MINOR_MAX : w->minor};
}

/* Where all is allowed that one line is all. */
static int state_parse(char *text, struct device_rules *ret)
{
	char *save = NULL;
	int r = 0;

	for (char *line = strtok_r(text, "\n", &save); r >= 0 && line;
		line = strtok_r(NULL, "\n", &save)) {
		struct device_v1_write w;
		struct device_rule rule;

		r = device_v1_parse(true, line, &w);
		if (r >= 0 && w.all) {
			ret->allow = true;
			return 0;
		}
		if (r < 0)
			break;
		rule_of_write(&w, &rule);
		r = device_rules_add(ret, &rule);
	}
	return r;
}

static int state_read(int dirfd, struct device_rules *ret)
{
	_cleanup_close_ int fd = cgroup_open_file(dirfd, LIST_FILE, O_RDONLY, NULL);
	_cleanup_free_ char *text = NULL;
	struct device_rules rules = {.v1 = true};
	size_t len;
	int r = fd < 0 ? fd : cgroup_read(fd, LIST_MAX, &text, &len);

	if (r >= 0)
		r = state_parse(text, &rules);
	if (r < 0) {
		device_rules_done(&rules);
		return r;
	}
	*ret = rules;
	return 0;
}

/* While an exception goes, the kernel may show it without a letter; soon it does not. */
#define READS_MAX 16

int devway_state_v1(int dirfd, struct device_rules *ret, bool *ret_hidden)
{
	int r = -EINVAL;

	for (unsigned i = 0; r == -EINVAL && i < READS_MAX; i++)
		r = state_read(dirfd, ret);
	if (r < 0)
		return r;
	*ret_hidden = ret->allow;
	return 0;
}

static int level_read_v1(struct devway_level *l, int fd)
{
	struct device_rules rules;
	int r = devway_state_v1(fd, &rules, &l->hidden);

	if (r < 0)
		return r;
	l->v1 = true;
	r = device_policy_compile(&rules, &rules, DEVICE_POLICY_SIZE_MAX, &l->policy);
	device_rules_done(&rules);
	return r;
}

/* A new cgroup has its parent's rules, and no mark. */
static bool marks_find(struct manager *m, const struct hierarchy *h, const struct devway *w)
{
	bool found = false;

	for (unsigned i = path_depth(w->path) + 1; !found && i-- > 0;) {
		_cleanup_close_ int fd =
			cgroup_open_path(h->root_fd, w->path, path_prefix(w->path, i));

		found = fd >= 0 && inspect_mark_get(m->inspector, fd, MARK_DENIES) == 1;
	}
	return found;
}

static int way_read_v1(struct manager *m, const struct hierarchy *h, int target_fd, unsigned flags,
	struct devway *w)
{
	unsigned depth = path_depth(w->path), i = flags & DEVWAY_ALL ? 0 : depth;

	for (; i <= depth; i++) {
		size_t len = path_prefix(w->path, i);
		_cleanup_close_ int own = -EBADF;
		struct devway_level *l = level_add(w, len);
		int fd = target_fd, r;

		if (!l)
			return -ENOMEM;
		if (i < depth || fd < 0)
			fd = own = cgroup_open_path(h->root_fd, w->path, len);
		r = fd < 0 ? fd : level_read_v1(l, fd);
		if (r < 0)
			return r;
		if ((flags & DEVWAY_MARKS) && l->hidden)
			l->denies = marks_find(m, h, w);
		if (flags & DEVWAY_KEEP)
			l->fd = TAKE_FD(own);
	}
	return 0;
}

int devway_read(struct manager *m, const struct hierarchy *h, const char *path, int fd,
	unsigned flags, struct devway **ret)
{
	__attribute__((cleanup(devway_freep))) struct devway *w = malloc(sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->n = 0;
	w->level = NULL;
	strcpy(w->path, path);
	r = h->v2 ? way_read_v2(m, h, fd, flags, w) : way_read_v1(m, h, fd, flags, w);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

/*
 * What it says.
 */

enum tri devway_ours(const struct devway_level *l, const struct device_range *range, uint8_t access)
{
	if (!l->policy.data)
		return YES;
	if (!device_policy_covers(l->policy.data, l->policy.size, range, access))
		return NO;
	return l->denies ? UNKNOWN : YES;
}

enum tri devway_others(const struct devway_level *l, const struct device_range *range,
	uint8_t access, unsigned *ret_which)
{
	enum tri answer = YES;

	for (unsigned i = 0; i < l->n_others && answer != NO; i++) {
		const struct devprog_foreign *f = &l->others[i];
		enum program_answer a = PROGRAM_UNKNOWN;

		if (f->insns)
			a = program_covers(f->insns, f->n_insns, range, access);
		if (a == PROGRAM_ALLOWS)
			continue;
		answer = a == PROGRAM_DENIES ? NO : UNKNOWN;
		if (ret_which)
			*ret_which = i;
	}
	return answer;
}

enum tri devway_allows(const struct devway *w, const struct device_range *range, uint8_t access,
	unsigned *ret_level, int *ret_other)
{
	enum tri answer = YES;

	for (unsigned i = 0; i < w->n && answer != NO; i++) {
		unsigned which = 0;
		enum tri ours = devway_ours(&w->level[i], range, access);
		enum tri others =
			ours == NO ? YES : devway_others(&w->level[i], range, access, &which);

		enum tri one = others == YES ? ours : others;

		if (one == YES || one == answer)
			continue;
		answer = one;
		if (ret_level)
			*ret_level = i;
		if (ret_other)
			*ret_other = others == YES ? -1 : (int)which;
	}
	return answer;
}

int devway_rules(const struct devway_level *l, struct device_rules *ret)
{
	int r = -ENODATA;

	if (l->policy.data)
		r = device_policy_source(l->policy.data, l->policy.size, ret);
	if (r != -ENODATA)
		return r;
	*ret = (struct device_rules){.allow = true};
	return 0;
}
