/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SetValue: all that is to be written is known, checked and open before the first write. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/throttle.h"
#include "act.h"
#include "cgroupfs.h"
#include "cleanup.h"
#include "devices-v1.h"
#include "devfiles.h"
#include "inspect.h"
#include "log.h"
#include "manager.h"
#include "ops.h"
#include "perf/perf.h"
#include "value.h"

/* One SetValue at work. */
struct change {
	struct op *op;
	struct target *t;
	struct texts old; /* of the plan's files */
	unsigned n;
	struct plan_write writes[PLAN_FILES_MAX];
	int fd[PLAN_FILES_MAX];
	char value[PLAN_TEXT_MAX];
};

static struct change *change_new(struct op *op, struct target *t)
{
	struct change *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->op = op;
	c->t = t;
	c->old = (struct texts){0};
	c->n = 0;
	for (unsigned i = 0; i < PLAN_FILES_MAX; i++)
		c->fd[i] = -EBADF;
	return c;
}

static void change_done(struct change **change)
{
	struct change *c = *change;

	if (!c)
		return;
	texts_done(&c->old);
	for (unsigned i = 0; i < PLAN_FILES_MAX; i++)
		close_fd(&c->fd[i]);
	free(c);
}

/* One file, which is not read first: it is opened for the write. */
static bool is_direct(const struct plan *p)
{
	return !p->setting || ((p->flags & PLAN_BLIND) && p->n == 1);
}

static enum reason set_prepare(struct op *op, struct target *t)
{
	const struct key *key = op->question.key;

	/* What is refused by its name alone is not even opened. */
	if (key && (key->class == KEY_LIMIT || key->class == KEY_HOST))
		value_open(op, t, is_direct(&t->value.plan) ? O_WRONLY : O_RDONLY);
	return REASON_OK;
}

static enum reason set_error(const struct target *t, const struct key *key, int err)
{
	_cleanup_close_ int fd = -EBADF;

	switch (err) {
	case -ENOENT:
		return REASON_KEY_MISSING;
	case -EISDIR:
		return REASON_KEY_NOT_FILE;
	case -EINVAL:
	case -ERANGE:
	case -E2BIG:
	case -ENOSPC:
	case -EACCES:
	case -EOVERFLOW:
		return REASON_VALUE_REFUSED;
	case -EPERM:
		/* v1's devices: the parent does not have what the rule gives. */
		return key->flags & KEY_ADMIN ? REASON_VALUE_WIDER : REASON_OK;
	case -ENODEV:
	case -ENXIO:
		/* Of a cgroup that was removed meanwhile nothing can be opened any more. */
		fd = cgroup_open_file(t->dir_fd, "cgroup.procs", O_RDONLY, NULL);
		return fd >= 0 ? REASON_VALUE_DEVICE : REASON_OK;
	}
	return REASON_OK;
}

/* What went wrong with one file, by whose name the caller may not know it. */
static void set_fail(struct change *c, const char *file, int err)
{
	struct target *t = c->t;
	enum reason reason = set_error(t, key_find(file), err);

	target_fail(t, err);
	if (reason != REASON_OK)
		t->reason = reason;
	if (strcmp(file, c->op->request.key) != 0)
		target_detail(t, t->reason, "%s: %s", file, strerror(-err));
}

/* The writes that the value comes to. */
static bool change_plan(struct change *c)
{
	const struct plan *p = &c->t->value.plan;
	const char *value = c->op->request.value, *why = NULL;
	struct target *t = c->t;
	int r;

	if (c->op->question.device) {
		if (!value_device(value, c->value)) {
			t->reason = REASON_VALUE_DEVICE;
			return false;
		}
		value = c->value;
	}
	if (!p->setting) {
		c->n = 1;
		c->writes[0].file = p->file[0];
		snprintf(c->writes[0].text, sizeof(c->writes[0].text), "%s", value);
		return true;
	}
	r = is_direct(p) ? 0 : value_read(t, &c->old);
	if (r < 0) {
		target_fail(t, r);
		return false;
	}
	t->reason = plan_set(p, value, (const char *const *)c->old.text, c->writes, &c->n, &why);
	if (t->reason != REASON_OK && why)
		target_detail(t, t->reason, "%s", why);
	return t->reason == REASON_OK;
}

/* v1's throttling is not hierarchical: the ancestors' lines count, and may only be narrowed. */
static enum reason check_throttle(const struct target *t, const struct plan_write *w)
{
	_cleanup_free_ char *lines = NULL;
	char path[PATH_TEXT_MAX + 1];
	int r;

	if (!target_path(t, path))
		return REASON_PATH_LENGTH;
	r = throttle_ancestors(t->h, path, w->file, &lines);
	if (r < 0)
		return REASON_INTERNAL;
	r = throttle_narrows(lines, w->text);
	if (r < 0)
		return REASON_VALUE_REFUSED;
	return r > 0 ? REASON_OK : REASON_VALUE_WIDER;
}

/* Everything that can be known before it is tried. */
static bool change_check(struct change *c)
{
	struct target *t = c->t;

	for (unsigned i = 0; t->reason == REASON_OK && i < c->n; i++) {
		const struct plan_write *w = &c->writes[i];
		const struct key *key = key_find(w->file);

		/* The verdict went by the rows of all that may be written. */
		if (!key || (key->class != KEY_LIMIT && key->class != KEY_HOST))
			t->reason = REASON_KEY_UNLISTED;
		else if (key->flags & KEY_THROTTLE)
			t->reason = check_throttle(t, w);
		if (t->reason != REASON_OK)
			break;
		c->fd[i] = is_direct(&t->value.plan)
				   ? TAKE_FD(t->value.fd[0])
				   : cgroup_open_file(t->dir_fd, w->file, O_WRONLY, NULL);
		if (c->fd[i] < 0)
			set_fail(c, w->file, c->fd[i]);
	}
	return t->reason == REASON_OK;
}

static int write_line(struct change *c, unsigned i, const char *text, size_t len)
{
	char line[PLAN_TEXT_MAX + 1];

	/* The core does not have the capability that the kernel asks for. */
	if (key_find(c->writes[i].file)->flags & KEY_ADMIN) {
		if (strcmp(c->writes[i].file, "devices.deny") == 0 && text[0] != 'a')
			devices_denies_v1(c->op->manager, c->t->dir_fd, true);
		return inspect_write_devices(c->op->manager->inspector, c->fd[i], text);
	}
	memcpy(line, text, len);
	line[len] = '\n';
	return cgroup_write_fd(c->fd[i], line, len + 1);
}

static const char *old_text(const struct change *c, const char *file)
{
	const struct plan *p = &c->t->value.plan;

	for (unsigned i = 0; i < p->n; i++)
		if (strcmp(p->file[i], file) == 0)
			return c->old.text[i];
	return NULL;
}

/* Of a file with a line for each device the one that was there for the device that was written. */
static int undo_throttle(struct change *c, unsigned i, const char *old)
{
	const char *text = c->writes[i].text;
	struct throttle_line line;
	char back[64];
	int n;

	if (throttle_next(&text, &line) != 1)
		return -EINVAL;
	n = snprintf(back, sizeof(back), "%u:%u %llu", line.major, line.minor,
		(unsigned long long)throttle_limit(old, line.major, line.minor));
	return write_line(c, i, back, (size_t)n);
}

static int undo_one(struct change *c, unsigned i)
{
	const char *file = c->writes[i].file, *old = old_text(c, file);

	if (!old)
		return -ENODATA;
	if (key_find(file)->flags & KEY_THROTTLE)
		return undo_throttle(c, i, old);
	return strlen(old) < PLAN_TEXT_MAX ? write_line(c, i, old, strlen(old)) : -E2BIG;
}

/* Of those before `failed` what was there before is written again, the last first. */
static void change_undo(struct change *c, unsigned failed)
{
	for (unsigned i = failed; i-- > 0;) {
		int r = undo_one(c, i);

		if (r < 0)
			log_limited(LOG_WARNING, c->op->account,
				"%s of a value that was set in part could not be set back: %s",
				c->writes[i].file, strerror(-r));
	}
}

static bool change_write(struct change *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		const struct plan_write *w = &c->writes[i];
		int r = write_line(c, i, w->text, strlen(w->text));

		if (r >= 0)
			continue;
		set_fail(c, w->file, r);
		change_undo(c, i);
		return false;
	}
	return true;
}

/* v1 shows shares within these bounds. */
#define SHARES_MIN 2
#define SHARES_MAX 262144

/* Several numbers of shares are one weight: the one that was set is what its reader expects. */
static void keep_shares(const struct change *c)
{
	unsigned long long shares;
	int r;

	if (!c->t->h->v2 || strcmp(c->op->request.key, "cpu.shares") != 0)
		return;
	shares = strtoull(c->op->request.value, NULL, 0);
	if (shares < SHARES_MIN)
		shares = SHARES_MIN;
	if (shares > SHARES_MAX)
		shares = SHARES_MAX;
	r = inspect_note_set(c->op->manager->inspector, c->t->dir_fd, NOTE_SHARES, shares);
	if (r < 0)
		log_limited(LOG_NOTICE, c->op->account,
			"cpu.shares could not be kept: %s, ignoring", strerror(-r));
}

static void set_run(struct op *op, struct target *t)
{
	__attribute__((cleanup(change_done))) struct change *c = NULL;

	if (op->request.value[0] == '\0')
		return;
	if (t->value.by_program) {
		devfiles_set(op, t);
		return;
	}
	c = change_new(op, t);
	if (!c)
		target_fail(t, -ENOMEM);
	else if (change_plan(c) && change_check(c) && change_write(c))
		keep_shares(c);
}

static void set_settle(struct op *op, struct target *t)
{
	if (t->value.by_program)
		devfiles_settle(op, t);
	/* Whoever may use a GPU may use its PMU. */
	if (t->value.by_program || (!t->h->v2 && hierarchy_governs_devices(t->h)))
		perf_changed(op->manager->perf);
}

const struct act act_set = {.prepare = set_prepare, .run = set_run, .settle = set_settle};
