/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GrantPerf and RevokePerf. On the loop: a record is one question to the inspector. */
#include "act-perf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../act.h"
#include "../log.h"
#include "../manager.h"
#include "../peer.h"
#include "grants.h"
#include "perf.h"

struct perf_asked *perf_asked_free(struct perf_asked *a)
{
	free(a);
	return NULL;
}

static enum reason item_add(struct op *op, const char *text)
{
	struct perf_item item;

	if (perf_item_parse(text, &item) < 0) {
		if (asprintf(&op->reply.detail, "'%.128s'", text) < 0)
			op->reply.detail = NULL;
		return REASON_PERF_ITEM;
	}
	return perf_items_add(&op->perf->items, &item) < 0 ? REASON_PERF_MANY : REASON_OK;
}

enum reason perf_question(struct op *op)
{
	const struct request *q = &op->request;
	enum reason reason = REASON_OK;

	op->perf = calloc(1, sizeof(*op->perf));
	if (!op->perf)
		return REASON_INTERNAL;
	for (const char **text = q->items; reason == REASON_OK && text && *text; text++)
		reason = item_add(op, *text);
	if (reason == REASON_OK && q->item)
		reason = item_add(op, q->item);
	return reason;
}

const char *perf_place(const struct target *t, const char *path, size_t len, char *buf)
{
	size_t top = t->scope_len == 1 ? 0 : t->scope_len;

	buf[0] = '\0';
	if (len < t->scope_len)
		return buf;
	memcpy(buf, path + top, len - top);
	buf[len - top] = '\0';
	if (!buf[0])
		strcpy(buf, "/");
	return buf;
}

/*
 * Changes of a record.
 */

struct change {
	struct perf_record record;
	struct perf_had had;
	char before[PERF_RECORD_TEXT_MAX + 1], after[PERF_RECORD_TEXT_MAX + 1];
};

static void change_fail(struct target *t, int r)
{
	if (r == -E2BIG)
		t->reason = REASON_PERF_MANY;
	else
		target_fail(t, r);
}

static int change_begin(struct op *op, const struct target *t, struct change *c)
{
	char path[PATH_TEXT_MAX + 1];
	int r;

	if (!target_path(t, path))
		return -ENAMETOOLONG;
	r = perf_record_get(op->manager->inspector, t->dir_fd, &c->record);
	if (r >= 0)
		r = perf_record_print(&c->record, c->before, sizeof(c->before));
	return r < 0 ? r : perf_had_at(op->manager, t->h, path, &c->had);
}

/* What the cgroup would have must fit too. What says the same as before makes nobody ask again. */
static int change_end(struct op *op, const struct target *t, struct change *c)
{
	int r = perf_items_descend(&c->had.above, &c->record, NULL);

	if (r >= 0)
		r = perf_record_print(&c->record, c->after, sizeof(c->after));
	if (r < 0 || strcmp(c->before, c->after) == 0)
		return r;
	r = perf_record_set(op->manager->inspector, t->dir_fd, &c->record);
	if (r >= 0)
		perf_changed(op->manager->perf);
	if (r == -EPIPE)
		manager_fail(op->manager, r, "the inspector has ended");
	return r;
}

static void grant_run(struct op *op, struct target *t)
{
	struct change *c = malloc(sizeof(*c));
	const struct perf_item *beyond = NULL;
	int r = c ? change_begin(op, t, c) : -ENOMEM;

	if (r >= 0)
		r = perf_record_grant(
			&c->record, &c->had.above, t->widens, &op->perf->items, &beyond);
	if (r >= 0)
		r = change_end(op, t, c);
	if (r == -EACCES && beyond) {
		char text[PERF_ITEM_TEXT_MAX + 1];

		perf_item_print(beyond, text);
		t->reason = REASON_PERF_WIDER;
		target_detail(t, REASON_PERF_WIDER, "'%s'", text);
	} else if (r < 0) {
		change_fail(t, r);
	}
	free(c);
}

const struct act act_grant_perf = {.run = grant_run};

/*
 * RevokePerf: what was opened by it is looked for, and ended if the call says so.
 */

static enum reason revoke_record(struct op *op, struct target *t)
{
	struct change *c = malloc(sizeof(*c));
	int r = c ? change_begin(op, t, c) : -ENOMEM;

	if (r >= 0)
		r = perf_record_revoke(&c->record, &c->had.above, &op->perf->items);
	if (r >= 0)
		r = change_end(op, t, c);
	if (r < 0)
		change_fail(t, r);
	free(c);
	return t->reason;
}

/* Nothing can be open: without perf there is nobody who would have opened it. */
static int on_nothing(sd_event_source *source, void *userdata)
{
	struct op *op = userdata;

	(void)source;
	peer_answer(op);
	return 0;
}

/* What the policy file gives to the very cgroup is not a call's to take. */
static int policy_tell(void *userdata, const struct perf_level *level)
{
	struct op *op = userdata;

	op->perf->left = *level->policy;
	perf_items_intersect(&op->perf->left, &op->perf->items);
	return 0;
}

static enum reason revoke_report(struct op *op, struct target *t)
{
	char path[PATH_TEXT_MAX + 1], text[PERF_RECORD_TEXT_MAX + 1];
	struct perf_record left = {0};

	if (!target_path(t, path) || perf_way(op->manager, t->h, path, policy_tell, op) < 0)
		return REASON_INTERNAL;
	left.given = op->perf->left;
	if (left.given.n == 0 || perf_record_print(&left, text, sizeof(text)) < 0)
		return REASON_OK;
	op->reply.pairs = calloc(1, sizeof(*op->reply.pairs));
	if (!op->reply.pairs)
		return REASON_INTERNAL;
	op->reply.pairs[0] = (struct reply_pair){strdup("policy"), strdup(text)};
	op->reply.n_pairs = 1;
	return REASON_OK;
}

static enum reason revoke_begin(struct op *op)
{
	struct target *t = &op->targets[0];
	bool kill = op->request.options.given && op->request.options.kill;
	enum reason reason;
	int r;

	/* Among the holders may be tasks that are not the caller's to end: they are not judged one
	 * by one. */
	if (kill && !t->widens)
		return REASON_PERF_HOST;
	reason = revoke_record(op, t);
	if (reason == REASON_OK)
		reason = revoke_report(op, t);
	if (reason != REASON_OK)
		return reason;
	if (perf_off(op->manager->perf))
		r = sd_event_add_defer(op->manager->event, NULL, on_nothing, op);
	else
		r = perf_revoke_in(op->manager->perf, op, t->dir_fd, kill, peer_answer);
	return r >= 0 ? REASON_OK : r == -EDQUOT ? REASON_QUOTA : REASON_INTERNAL;
}

const struct act act_revoke_perf = {.begin = revoke_begin};
