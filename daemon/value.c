/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "value.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../policy/controller.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devfiles.h"
#include "governed.h"
#include "manager.h"

#define VALUE_MAX ((size_t)512 * 1024)

void value_init(struct value *v)
{
	v->plan.setting = NULL;
	v->plan.n = 0;
	v->plan.flags = 0;
	v->by_program = false;
	v->change = NULL;
	for (unsigned i = 0; i < PLAN_FILES_MAX; i++)
		v->fd[i] = -EBADF;
}

void value_done(struct value *v)
{
	for (unsigned i = 0; i < PLAN_FILES_MAX; i++)
		close_fd(&v->fd[i]);
	v->change = devfiles_change_free(v->change);
}

/* The name is the file. */
static void plan_itself(struct plan *p, const char *name)
{
	p->setting = NULL;
	p->name = name;
	p->n = 1;
	p->file[0] = name;
	p->optional[0] = false;
}

/* How much is asked of who sets a key; what has no row and what is only read is not set at all. */
static unsigned strictness(const struct key *key)
{
	static const unsigned by_class[] = {
		[KEY_LIMIT] = 0,
		[KEY_HOST] = 1,
		[KEY_STAT] = 2,
		[KEY_DELEGATE] = 2,
		[KEY_PIDS] = 3,
		[KEY_NEVER] = 3,
	};

	return by_class[key->class];
}

/* The strictest of the rows of what may be written, with all their flags, and that of the name
 * itself. What is a statistic is only read for it. */
static void key_of_plan(struct op *op, const struct plan *p, const struct key *own)
{
	const struct key *strictest = own;
	unsigned flags = own ? own->flags : 0;

	for (unsigned i = 0; i < p->n; i++) {
		const struct key *key = key_find(p->file[i]);

		if (!key || key->class == KEY_STAT)
			continue;
		flags |= key->flags;
		if (!strictest || strictness(key) > strictness(strictest))
			strictest = key;
	}
	if (!strictest)
		return;
	op->key = *strictest;
	op->key.flags = flags;
	op->question.key = &op->key;
}

static enum reason plan_limit(struct op *op, struct target *t, const char **why)
{
	const char *name = op->request.key;
	const struct key *own = key_find(name);
	struct plan *p = &t->value.plan;
	enum reason reason;

	op->question.key = own;
	/* What nobody sets by this name is not set by what it corresponds to either. */
	if (own && strictness(own) > strictness(&(struct key){.class = KEY_HOST})) {
		plan_itself(p, name);
		return REASON_OK;
	}
	reason = plan_write(name, t->h->v2, p, why);
	if (reason != REASON_OK)
		return reason;
	if (p->setting)
		key_of_plan(op, p, own);
	else
		plan_itself(p, name);
	op->question.device = (p->flags & PLAN_DEVICE) && plan_device(op->request.value) > 0;
	return REASON_OK;
}

static enum reason plan_value(struct op *op, struct target *t, const char **why)
{
	struct plan *p = &t->value.plan;
	enum reason reason = plan_read(op->request.key, t->h->v2, p, why);

	if (reason != REASON_OK)
		return reason;
	if (!p->setting)
		plan_itself(p, op->request.key);
	op->question.key = p->n == 1 ? key_find(p->file[0]) : NULL;
	return REASON_OK;
}

/* What v2 has no file for, and perhaps a program. */
static enum reason plan_by_program(const struct op *op, struct target *t, const char **why)
{
	const struct question *q = &op->question;
	struct value *v = &t->value;

	v->by_program = v->plan.n == 1 && devfiles_is(t->h, v->plan.file[0]);
	if (v->by_program && q->action == ACTION_LIMIT &&
		governed_full(op->manager->governed, op->account))
		return REASON_QUOTA;
	/* What is only read is refused for that. */
	if (!v->by_program || t->h->devices ||
		(q->action == ACTION_LIMIT && q->key->class != KEY_LIMIT))
		return REASON_OK;
	*why = "cgroup v2 has device rules as programs alone, and here they are another "
	       "hierarchy's "
	       "or cannot be had";
	return REASON_KEY_MAPPING;
}

enum reason value_plan(struct op *op)
{
	struct target *t = &op->first;
	const char *why = NULL;
	enum reason reason;

	/* Neither call takes several controllers. */
	if (op->n_targets != 1)
		return REASON_INTERNAL;
	reason = op->question.action == ACTION_LIMIT ? plan_limit(op, t, &why)
						     : plan_value(op, t, &why);
	if (reason == REASON_OK)
		reason = plan_by_program(op, t, &why);
	if (reason != REASON_OK && why)
		target_detail(t, reason, "%s", why);
	return reason;
}

static int has_controller(int dirfd, unsigned set)
{
	char text[1024];
	int r = cgroup_read_small(dirfd, "cgroup.controllers", text, sizeof(text));

	return r < 0 ? r : !!(controllers_of(text) & set);
}

/* Not there: on v2 perhaps only because nobody has enabled its controller. */
static enum reason file_missing(struct target *t, const char *name)
{
	unsigned set = t->h->v2 ? controller_of_file(name) : 0;
	int has = set ? has_controller(t->dir_fd, set) : 1;
	char text[64];

	if (has == -ENOENT || has == -ENODEV)
		return REASON_CGROUP_MISSING; /* it was removed meanwhile */
	if (has != 0 || has_controller(t->h->root_fd, set) <= 0) {
		if (strcmp(name, t->value.plan.name) != 0)
			target_detail(t, REASON_KEY_MISSING, "%s", name);
		return REASON_KEY_MISSING;
	}
	controllers_text(set, '\0', text, sizeof(text));
	target_detail(t, REASON_KEY_OFF, "%s", text);
	return REASON_KEY_OFF;
}

static enum reason file_failed(struct target *t, const char *name, int err)
{
	switch (err) {
	case -ENOENT:
		return file_missing(t, name);
	case -ENODEV:
		return REASON_CGROUP_MISSING;
	case -EISDIR:
	case -ELOOP:
		return REASON_KEY_NOT_FILE;
	}
	target_detail(t, REASON_KERNEL, "%s: %s", name, strerror(-err));
	return REASON_KERNEL;
}

void value_open(struct op *op, struct target *t, int flags)
{
	struct value *v = &t->value;
	unsigned n = 0;

	if (v->by_program) {
		devfiles_node(v->plan.file[0], &t->way[t->place.n - 1], &v->node[n++]);
		t->facts.file = v->node;
		return;
	}
	for (unsigned i = 0; t->place.missing == 0 && i < v->plan.n; i++) {
		v->fd[i] = cgroup_open_file(t->dir_fd, v->plan.file[i], flags, &v->node[n]);
		if (v->fd[i] >= 0) {
			n++;
			continue;
		}
		if (v->fd[i] == -ENOENT && v->plan.optional[i])
			continue;
		t->facts.key = op->question.action == ACTION_READ && v->fd[i] == -EACCES
				       ? REASON_NO_READ
				       : file_failed(t, v->plan.file[i], v->fd[i]);
		return;
	}
	if (n > 0) {
		t->facts.file = v->node;
		t->facts.more_files = n - 1;
	} else if (t->place.missing == 0) {
		t->facts.key = file_missing(t, v->plan.file[0]);
	}
}

int value_read(const struct target *t, struct texts *ret)
{
	const struct value *v = &t->value;

	for (unsigned i = 0; i < v->plan.n; i++) {
		size_t len;
		int r;

		if (v->fd[i] < 0)
			continue;
		r = cgroup_read(v->fd[i], VALUE_MAX, &ret->text[i], &len);
		if (r < 0)
			return r;
		text_strip(ret->text[i], len);
	}
	return 0;
}

void text_strip(char *text, size_t len)
{
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
}

void texts_done(struct texts *texts)
{
	for (unsigned i = 0; i < PLAN_FILES_MAX; i++)
		free(texts->text[i]);
}

bool value_device(const char *value, char *ret)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	static const char dev[] = "/dev/";
	size_t len = plan_device(value);
	_cleanup_close_ int dir = -EBADF;
	_cleanup_close_ int fd = -EBADF;
	char path[PLAN_TEXT_MAX];
	struct stat st;
	int n;

	if (len < sizeof(dev) || len >= sizeof(path))
		return false;
	memcpy(path, value, len);
	path[len] = '\0';
	dir = open(dev, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	fd = (int)syscall(SYS_openat2, dir, path + sizeof(dev) - 1, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return false;
	n = snprintf(
		ret, PLAN_TEXT_MAX, "%u:%u%s", major(st.st_rdev), minor(st.st_rdev), value + len);
	return n > 0 && n < PLAN_TEXT_MAX;
}
