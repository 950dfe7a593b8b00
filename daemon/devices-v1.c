/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices-v1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroupfs.h"
#include "cleanup.h"
#include "log.h"
#include "manager.h"

#define LINE_MAX_V1 64

struct device_change_v1 *device_change_v1_free(struct device_change_v1 *c)
{
	if (!c)
		return NULL;
	device_rules_done(&c->before);
	device_rules_done(&c->after);
	close_fd(&c->allow_fd);
	close_fd(&c->deny_fd);
	free(c->write);
	free(c);
	return NULL;
}

static void change_freep(struct device_change_v1 **c)
{
	device_change_v1_free(*c);
}

static void rules_donep(struct device_rules *r)
{
	device_rules_done(r);
}

#define _cleanup_rules_ __attribute__((cleanup(rules_donep)))

static int write_add(struct device_change_v1 *c, const struct device_v1_write *w)
{
	struct device_v1_write *bigger = reallocarray(c->write, c->n + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	c->write = bigger;
	bigger[c->n++] = *w;
	return 0;
}

static int write_all(struct device_change_v1 *c, bool allow)
{
	return write_add(c, &(struct device_v1_write){.allow = allow, .all = true});
}

/* As many exceptions as v1 needs for it. */
#define MINORS_MAX 256

static int write_minors(struct device_change_v1 *c, bool allow, uint8_t type,
	const struct device_range *range, uint8_t access)
{
	struct device_v1_write w = {.allow = allow,
		.type = type,
		.major = range->major,
		.minor = DEVICE_ANY,
		.access = access};
	int r = 0;

	if (range->first == 0 && range->last == DEVICE_MINOR_MAX)
		return write_add(c, &w);
	if (range->last - range->first >= MINORS_MAX)
		return -EOPNOTSUPP;
	for (w.minor = range->first; r >= 0 && w.minor <= range->last; w.minor++)
		r = write_add(c, &w);
	return r;
}

static int write_rule(
	struct device_change_v1 *c, bool allow, const struct device_range *range, uint8_t access)
{
	int r = 0;

	for (uint8_t type = DEVICE_BLOCK; r >= 0 && type <= DEVICE_CHAR; type++)
		if (range->types & type)
			r = write_minors(c, allow, type, range, access);
	return r;
}

/* The access that `r` has for exactly these devices. */
static uint8_t access_of(const struct device_rules *r, const struct device_range *range)
{
	for (unsigned i = 0; i < r->n; i++) {
		const struct device_range *own = &r->rule[i].range;

		if (own->types == range->types && own->major == range->major &&
			own->first == range->first && own->last == range->last)
			return r->rule[i].access;
	}
	return 0;
}

/* The exceptions of `from` that `to` lacks, or has with less access. */
static int write_missing(struct device_change_v1 *c, bool allow, const struct device_rules *from,
	const struct device_rules *to)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < from->n; i++) {
		const struct device_rule *rule = &from->rule[i];
		uint8_t access = rule->access & ~access_of(to, &rule->range);

		if (access)
			r = write_rule(c, allow, &rule->range, access);
	}
	return r;
}

/* First what is allowed, then what is not any more, so that nothing is refused in between. */
static int writes_plan(struct device_change_v1 *c, const struct device_rules *from,
	const struct device_rules *to, bool reset)
{
	static const struct device_rules none = {0};
	int r = 0;

	if (reset || from->allow != to->allow) {
		r = write_all(c, to->allow);
		from = &none;
	}
	if (r >= 0)
		r = write_missing(c, !to->allow, to, from);
	if (r >= 0)
		r = write_missing(c, to->allow, from, to);
	return r;
}

/* What the kernel will say to it. */
static int writes_try(
	const struct device_change_v1 *c, const struct device_rules *parent, bool has_children)
{
	_cleanup_rules_ struct device_rules own = {0};
	int r = device_rules_copy(&own, &c->before);

	for (unsigned i = 0; r >= 0 && i < c->n; i++)
		r = device_v1_apply(&own, parent, has_children, &c->write[i]);
	return r == -EINVAL ? -EBUSY : r;
}

static int rules_append(struct device_rules *to, const struct device_rules *from)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < from->n; i++)
		r = device_rules_add(to, &from->rule[i]);
	return r;
}

/*
 * The rules as people write them that the cgroup shall have. `default allow` means all that the
 * parent allows, which on v1 has to be said where the parent does not allow all.
 */
static int rules_wanted(const struct device_call *call, const struct device_rules *own,
	const struct device_rules *parent, struct device_rules *ret)
{
	bool set = call->verb == DEVICE_VERB_SET;
	const struct device_rules *base = set ? &call->resolved : own;
	int r;

	if (set && base->allow && !parent->allow)
		base = parent;
	*ret = (struct device_rules){.allow = base->allow};
	r = base == &call->resolved ? 0 : rules_append(ret, base);
	return r < 0 ? r : rules_append(ret, &call->resolved);
}

static int state_wanted(const struct device_call *call, const struct device_rules *own,
	const struct device_rules *parent, struct device_rules *ret)
{
	_cleanup_rules_ struct device_rules rules = {0};
	int r;

	if (call->clears)
		return device_rules_copy(ret, parent);
	r = rules_wanted(call, own, parent, &rules);
	return r < 0 ? r : device_v1_from(&rules, ret);
}

static int files_open(struct device_change_v1 *c, int dirfd)
{
	c->allow_fd = cgroup_open_file(dirfd, "devices.allow", O_WRONLY, NULL);
	if (c->allow_fd < 0)
		return c->allow_fd;
	c->deny_fd = cgroup_open_file(dirfd, "devices.deny", O_WRONLY, NULL);
	return c->deny_fd < 0 ? c->deny_fd : 0;
}

/* The topmost cgroup's is as a new one's: all. */
static int parent_state(int dirfd, bool is_top, struct device_rules *ret)
{
	_cleanup_close_ int fd = -EBADF;
	bool hidden;

	*ret = (struct device_rules){.allow = true, .v1 = true};
	if (is_top)
		return 0;
	fd = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : devway_state_v1(fd, ret, &hidden);
}

static int change_plan(const struct device_call *call, int dirfd, bool is_top, bool has_children,
	struct device_change_v1 *c)
{
	_cleanup_rules_ struct device_rules parent = {0};
	bool reset;
	int r = parent_state(dirfd, is_top, &parent);

	if (r >= 0)
		r = devway_state_v1(dirfd, &c->before, &c->hidden);
	if (r >= 0)
		r = state_wanted(call, &c->before, &parent, &c->after);
	if (r < 0)
		return r;
	/* What is denied and not shown goes only with all. */
	reset = call->verb == DEVICE_VERB_SET && c->before.allow && c->after.allow && !has_children;
	r = writes_plan(c, &c->before, &c->after, reset);
	for (unsigned i = 0;
		r >= 0 && c->hidden && call->verb == DEVICE_VERB_ALLOW && i < call->resolved.n; i++)
		r = write_rule(
			c, true, &call->resolved.rule[i].range, call->resolved.rule[i].access);
	return r < 0 ? r : writes_try(c, &parent, has_children);
}

int devices_plan_v1(
	struct op *op, int dirfd, bool is_top, bool has_children, struct device_change_v1 **ret)
{
	__attribute__((cleanup(change_freep))) struct device_change_v1 *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->allow_fd = c->deny_fd = -EBADF;
	r = files_open(c, dirfd);
	if (r >= 0)
		r = change_plan(op->devices, dirfd, is_top, has_children, c);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

int devices_plan_v1_target(struct op *op, struct target *t, struct device_change_v1 **ret)
{
	return devices_plan_v1(
		op, t->dir_fd, t->place.depth == 0, t->way[t->place.n - 1].children > 0, ret);
}

static char *number_text(uint32_t number, char *buf, size_t size)
{
	if (number == DEVICE_ANY)
		return strcpy(buf, "*");
	snprintf(buf, size, "%u", number);
	return buf;
}

static void write_text(const struct device_v1_write *w, char *buf)
{
	char major[16], minor[16];

	if (w->all) {
		strcpy(buf, "a");
		return;
	}
	snprintf(buf, LINE_MAX_V1, "%c %s:%s %s%s%s", w->type == DEVICE_CHAR ? 'c' : 'b',
		number_text(w->major, major, sizeof(major)),
		number_text(w->minor, minor, sizeof(minor)), w->access & DEVICE_READ ? "r" : "",
		w->access & DEVICE_WRITE ? "w" : "", w->access & DEVICE_MKNOD ? "m" : "");
}

void devices_denies_v1(struct manager *m, int dirfd, bool denies)
{
	int r = denies ? inspect_mark_set(m->inspector, dirfd, MARK_DENIES)
		       : inspect_mark_clear(m->inspector, dirfd, MARK_DENIES);

	if (r < 0 && r != -ENOENT && r != -ENODATA)
		log_line(LOG_NOTICE, "that devices are denied cannot be noted: %s, ignoring",
			strerror(-r));
}

static int writes_do(struct manager *m, const struct device_change_v1 *c)
{
	char text[INSPECT_RULES_MAX + 1] = "";
	size_t len = 0;
	int r = 0;

	/* As many at once as go into one question. */
	for (unsigned i = 0; r >= 0 && i < c->n; i++) {
		const struct device_v1_write *w = &c->write[i];
		bool ends = i + 1 == c->n || c->write[i + 1].allow != w->allow;
		char line[LINE_MAX_V1];

		write_text(w, line);
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "%s%s", len ? "\n" : "", line);
		if (!ends && len + 1 + LINE_MAX_V1 <= sizeof(text))
			continue;
		r = inspect_write_rules(m->inspector, w->allow ? c->allow_fd : c->deny_fd, text);
		len = 0;
	}
	return r;
}

/* From whatever there is now. */
int devices_restore_v1(struct manager *m, struct device_change_v1 *c)
{
	int r;

	c->n = 0;
	r = writes_plan(c, &c->after, &c->before, c->before.allow != c->after.allow);
	return r < 0 ? r : writes_do(m, c);
}

int devices_write_v1(struct manager *m, struct device_change_v1 *c)
{
	int r = writes_do(m, c);

	if (r < 0)
		(void)devices_restore_v1(m, c);
	return r;
}
