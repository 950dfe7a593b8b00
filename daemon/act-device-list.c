/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ListDevices and CheckDevice: what holds for a cgroup, whoever made it so. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/program.h"
#include "act.h"
#include "cleanup.h"
#include "devices.h"
#include "manager.h"

/* Lines of one answer, which a client may leave unread. */
#define LINES_MAX 8192
#define BYTES_MAX ((size_t)4 << 20)
#define WHOSE_MAX 64

/* What was denied in both is known from v2's rules. */
static bool v2_tells(const struct op *op)
{
	for (unsigned i = 0; i < op->n_targets; i++)
		if (op->targets[i].h->v2 && op->targets[i].reason == REASON_OK)
			return true;
	return false;
}

static int way_read(struct op *op, struct target *t, struct devway **ret)
{
	unsigned flags = v2_tells(op) ? DEVWAY_READ : DEVWAY_READ | DEVWAY_MARKS;
	char path[PATH_TEXT_MAX + 1];

	if (!target_path(t, path))
		return -ENAMETOOLONG;
	return devices_way(op, t, path, flags, false, ret);
}

static void devway_freep(struct devway **w)
{
	devway_free(*w);
}

#define _cleanup_way_ __attribute__((cleanup(devway_freep)))

/*
 * ListDevices.
 */

/* The lines of one level: rule, cgroup, whose. */
struct lines {
	struct reply *reply;
	const char *place, *whose;
	size_t *bytes; /* of all levels */
};

static int line_add(const struct lines *l, const char *rule)
{
	struct reply *reply = l->reply;
	struct reply_triple *bigger;

	*l->bytes += strlen(rule) + strlen(l->place) + strlen(l->whose);
	if (reply->n_triples == LINES_MAX || *l->bytes > BYTES_MAX)
		return -E2BIG;
	/* Room grows by doubling. */
	if ((reply->n_triples & (reply->n_triples - 1)) == 0) {
		size_t size = reply->n_triples ? reply->n_triples * 2 : 1;

		bigger = reallocarray(reply->triples, size, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		reply->triples = bigger;
	}
	reply->triples[reply->n_triples] =
		(struct reply_triple){{strdup(rule), strdup(l->place), strdup(l->whose)}};
	reply->n_triples++;
	return 0;
}

static int rules_list(const struct lines *l, const struct device_rules *rules)
{
	char text[DEVICE_RULE_TEXT_MAX];
	int r;

	device_default_text(rules, text);
	r = line_add(l, text);
	for (unsigned i = 0; r >= 0 && i < rules->n; i++) {
		device_rule_text(&rules->rule[i], text);
		r = line_add(l, text);
	}
	return r;
}

static int ours_list(const struct lines *l, const struct devway_level *level)
{
	struct device_rules rules = {0};
	int r = devway_rules(level, &rules);

	if (r >= 0)
		r = rules_list(l, &rules);
	device_rules_done(&rules);
	return r;
}

static int other_list(const struct lines *l, const struct devprog_foreign *f)
{
	struct device_rules rules = {0};
	int r = f->insns ? program_rules(f->insns, f->n_insns, &rules) : -EOPNOTSUPP;

	if (r >= 0)
		r = rules_list(l, &rules);
	else if (r != -ENOMEM)
		r = line_add(l, "unknown");
	device_rules_done(&rules);
	return r;
}

static int level_list(
	struct op *op, const struct target *t, const struct devway *w, unsigned i, size_t *bytes)
{
	const struct devway_level *level = &w->level[i];
	char place[PATH_TEXT_MAX + 1], whose[WHOSE_MAX];
	const struct lines l = {&op->reply, devices_place(t, w, i, place), whose, bytes};
	int r = 0;

	devices_whose(level, -1, whose, sizeof(whose));
	if (level->policy.data)
		r = ours_list(&l, level);
	if (r >= 0 && level->denies)
		r = line_add(&l, "unknown");
	for (unsigned k = 0; r >= 0 && k < level->n_others; k++) {
		devices_whose(level, (int)k, whose, sizeof(whose));
		r = other_list(&l, &level->others[k]);
	}
	return r;
}

static void list_run(struct op *op, struct target *t)
{
	_cleanup_way_ struct devway *way = NULL;
	int r = way_read(op, t, &way);
	size_t bytes = 0;

	for (unsigned i = 0; r >= 0 && i < way->n; i++)
		r = level_list(op, t, way, i, &bytes);
	if (r < 0)
		target_fail(t, r);
}

const struct act act_list_devices = {.run = list_run};

/*
 * CheckDevice.
 */

static const char *const words[] = {
	[NO] = "denied: by ",
	[YES] = "allowed: by all that is set",
	[UNKNOWN] = "unknown: nobody can tell what is decided by ",
};

/* What the programs of v2 or the rules of v1 say, and who of them. */
struct answer {
	enum tri tri;
	unsigned level;
	int other;
};

static struct answer way_answer(const struct devway *w, const struct device_rules *asked)
{
	struct answer a = {.tri = YES, .other = -1};

	for (unsigned i = 0; i < asked->n && a.tri != NO; i++) {
		struct answer one = {.other = -1};

		one.tri = devway_allows(
			w, &asked->rule[i].range, asked->rule[i].access, &one.level, &one.other);
		if (one.tri != YES && (a.tri == YES || one.tri == NO))
			a = one;
	}
	return a;
}

/* "denied" says more than "unknown", and that more than "allowed". */
static bool is_stronger(enum tri a, enum tri b)
{
	return a == NO ? b != NO : a == UNKNOWN && b == YES;
}

static void answer_tell(
	struct op *op, const struct target *t, const struct devway *w, const struct answer *a)
{
	const struct devway_level *l = &w->level[a->level];
	char place[PATH_TEXT_MAX + 1], whose[WHOSE_MAX];
	struct reply *reply = &op->reply;
	const char *what = l->v1	  ? "the rules of cgroup "
			   : a->other < 0 ? "the rules of "
					  : "the program ";

	free(reply->who);
	free(reply->why);
	reply->who = reply->why = NULL;
	whose[0] = '\0';
	if (a->tri == YES) {
		what = "";
	} else {
		devices_whose(l, a->other, whose, sizeof(whose));
		reply->who = strdup(devices_place(t, w, a->level, place));
	}
	if (asprintf(&reply->why, "%s%s%s", words[a->tri], what, whose) < 0)
		reply->why = NULL;
	reply->allowed = a->tri == YES;
}

static void check_run(struct op *op, struct target *t)
{
	_cleanup_way_ struct devway *way = NULL;
	int r = way_read(op, t, &way);
	struct answer a;

	if (r < 0) {
		target_fail(t, r);
		return;
	}
	a = way_answer(way, &op->devices->resolved);
	if (op->reply.why && !is_stronger(a.tri, op->devices->answer))
		return;
	op->devices->answer = a.tri;
	answer_tell(op, t, way, &a);
}

/* A name that stands for nothing now can be neither allowed nor denied. */
static enum reason check_prepare(struct op *op, struct target *t)
{
	enum reason reason = devices_prepare(op, t);

	return reason == REASON_OK && op->devices->resolved.n == 0 ? REASON_DEVICE_MISSING : reason;
}

const struct act act_check_device = {.prepare = check_prepare, .run = check_run};
