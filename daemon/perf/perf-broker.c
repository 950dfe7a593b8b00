/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is asked of an account's broker: OpenPerfEvent, and RevokePerf's search. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../facts.h"
#include "../manager.h"
#include "../op.h"
#include "perf-core.h"

static struct perf_life *broker_find(struct perf *p, uint64_t account)
{
	struct perf_life *l;

	LIST_FOREACH(l, &p->lives, list)
	if (l->kind == PERF_SERVE_BROKER && l->account->number == account && !l->over)
		return l;
	return NULL;
}

static int broker_new(struct perf *p, struct account *account, struct perf_life **ret)
{
	int r, slot;

	if (!life_allowed(p, account))
		return -EDQUOT;
	slot = life_slot(p, PERF_SLOT_BROKER, account);
	if (slot < 0)
		return slot;
	r = life_new(p, PERF_SERVE_BROKER, account, (uint32_t)slot, -EBADF, ret);
	if (r < 0)
		perf_slot_put(p->registry, (unsigned)slot);
	return r;
}

/* The account's, with or without a worker. */
static int broker_get(struct perf *p, uint64_t number, struct perf_life **ret)
{
	struct account *account;
	int r;

	*ret = broker_find(p, number);
	if (*ret)
		return 0;
	account = account_get(&p->manager->accounts, number);
	if (!account)
		return -ENOMEM;
	r = broker_new(p, account, ret);
	account_put(account);
	return r;
}

static int wait_new(struct perf *p, struct op *op, int fd, void (*done)(struct op *op),
	struct perf_life **ret_life, struct perf_wait **ret)
{
	struct perf_wait *w;
	int r;

	if (p->off)
		return -EOPNOTSUPP;
	r = broker_get(p, op->account, ret_life);
	if (r < 0)
		return r;
	if ((*ret_life)->n_waits >= PERF_WAITING_MAX)
		return -EDQUOT;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct perf_wait){.cookie = ++p->cookie, .op = op, .done = done, .fd = fd};
	TAILQ_INSERT_TAIL(&(*ret_life)->waits, w, list);
	if ((*ret_life)->n_waits++ == 0)
		(*ret_life)->since = perf_msec();
	*ret = w;
	return 0;
}

static int send_open(struct perf_life *l, const struct perf_wait *w)
{
	const struct request *q = &w->op->request;
	struct perf_open open = {
		.tid = w->op->who.pid,
		.uid = w->op->who.identity->uid,
		.gid = w->op->who.identity->gid,
		.pid = q->pid,
		.cpu = q->cpu,
		.size = (uint32_t)q->attr.size,
		.flags = q->flags,
		.cookie = w->cookie,
		.has_group = w->fd >= 0,
	};

	memcpy(open.attr, q->attr.data, q->attr.size);
	return life_send(l, PERF_OPEN, &open, sizeof(open), w->fd);
}

static int send_revoke(struct perf_life *l, const struct perf_wait *w)
{
	struct perf_revoke revoke = {.cookie = w->cookie, .kill = w->kill};

	return life_send(l, PERF_REVOKE, &revoke, sizeof(revoke), w->fd);
}

void broker_push(struct perf_life *l)
{
	struct perf_wait *w;

	if (l->kind != PERF_SERVE_BROKER || l->channel < 0)
		return;
	TAILQ_FOREACH(w, &l->waits, list)
	{
		if (w->sent)
			continue;
		/* The channel is full, and an answer will come; or the worker is to end. */
		if ((w->revoke ? send_revoke(l, w) : send_open(l, w)) < 0)
			return;
		w->sent = true;
	}
}

static void broker_go(struct perf_life *l)
{
	if (l->pidfd < 0)
		life_start(l);
	else
		broker_push(l);
}

int perf_open_for(struct perf *p, struct op *op, int group_fd, void (*done)(struct op *op))
{
	struct perf_life *l;
	struct perf_wait *w;
	int r;

	if (op->request.attr.size > PERF_ATTR_BYTES_MAX)
		return -E2BIG;
	r = wait_new(p, op, group_fd, done, &l, &w);
	if (r >= 0)
		broker_go(l);
	return r;
}

int perf_revoke_in(
	struct perf *p, struct op *op, int cgroup_fd, bool kill, void (*done)(struct op *op))
{
	struct perf_life *l;
	struct perf_wait *w;
	int r = wait_new(p, op, cgroup_fd, done, &l, &w);

	if (r < 0)
		return r;
	w->revoke = true;
	w->kill = kill;
	broker_go(l);
	return 0;
}

/*
 * Answers.
 */

/* The op is its caller's again. */
static struct op *wait_end(struct perf_life *l, struct perf_wait *w, void (**ret)(struct op *op))
{
	struct op *op = w->op;

	*ret = w->done;
	TAILQ_REMOVE(&l->waits, w, list);
	l->n_waits--;
	l->since = perf_msec();
	free(w);
	return op;
}

static struct perf_wait *wait_find(struct perf_life *l, uint64_t cookie, bool revoke)
{
	struct perf_wait *w;

	TAILQ_FOREACH(w, &l->waits, list)
	if (w->sent && w->cookie == cookie && w->revoke == revoke)
		return w;
	return NULL;
}

static void kernel_says(struct reply *reply, int err)
{
	/* As the caller itself would have heard: it has no more right than that. */
	if (err == -EACCES || err == -EPERM) {
		reply->reason = REASON_PERF_GRANT;
		return;
	}
	reply->reason = REASON_KERNEL;
	reply->detail = strdup(strerror(-err));
}

static void opened_fill(struct op *op, const struct perf_opened *opened, int *fd)
{
	struct reply *reply = &op->reply;

	/* By number until here: of whom it was asked is perhaps somebody else now. */
	if (op->peer && facts_requestor_still(op) != REASON_OK) {
		reply->reason = REASON_REQUESTOR_GONE;
	} else if (opened->result >= 0 && *fd >= 0) {
		reply->has_fd = true;
		reply->fd = TAKE_FD(*fd);
	} else if (opened->result >= 0) {
		reply->reason = REASON_INTERNAL;
	} else if (opened->reason > REASON_OK && opened->reason < REASON_MAX) {
		reply->reason = opened->reason;
	} else {
		kernel_says(reply, opened->result);
	}
}

int broker_opened(struct perf_life *l, const struct perf_opened *opened, int fd)
{
	struct perf_wait *w = wait_find(l, opened->cookie, false);
	_cleanup_close_ int owned = fd;
	void (*done)(struct op * op);
	struct op *op;

	if (!w)
		return -EPROTO;
	op = wait_end(l, w, &done);
	opened_fill(op, opened, &owned);
	broker_push(l);
	done(op);
	return 0;
}

static int pair_add(struct reply *reply, const char *key, const char *value)
{
	struct reply_pair *bigger = reallocarray(reply->pairs, reply->n_pairs + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	reply->pairs = bigger;
	bigger[reply->n_pairs++] = (struct reply_pair){strdup(key), strdup(value)};
	return 0;
}

static int number_add(struct reply *reply, const char *key, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return pair_add(reply, key, text);
}

static int remains_add(struct reply *reply, const struct perf_revoked *v)
{
	unsigned left = v->holders > v->killed ? v->holders - v->killed : 0;
	char text[256] = "nothing that is known of";
	size_t len = 0;

	if (left > 0)
		len = (size_t)snprintf(text, sizeof(text),
			"%u processes hold events that were disabled, and can enable them again; "
			"they lose them when they end",
			left);
	if (v->unknown > 0)
		snprintf(text + len, sizeof(text) - len,
			"%s%u perf events were left alone, of which it is not known who opened "
			"them",
			len ? "; " : "", v->unknown);
	return pair_add(reply, "remains", text);
}

static void revoked_fill(struct reply *reply, const struct perf_revoked *v)
{
	int r;

	if (v->result < 0) {
		kernel_says(reply, v->result);
		return;
	}
	r = number_add(reply, "disabled", v->disabled);
	if (r >= 0)
		r = number_add(reply, "holders", v->holders);
	if (r >= 0)
		r = number_add(reply, "killed", v->killed);
	if (r >= 0)
		r = number_add(reply, "unknown", v->unknown);
	if (r >= 0)
		r = remains_add(reply, v);
	if (r < 0)
		reply->reason = REASON_INTERNAL;
}

int broker_revoked(struct perf_life *l, const struct perf_revoked *revoked)
{
	struct perf_wait *w = wait_find(l, revoked->cookie, true);
	void (*done)(struct op * op);
	struct op *op;

	if (!w)
		return -EPROTO;
	op = wait_end(l, w, &done);
	revoked_fill(&op->reply, revoked);
	broker_push(l);
	done(op);
	return 0;
}

void broker_fail(struct perf_life *l, bool sent, enum reason reason)
{
	struct perf_wait *w, *next;

	for (w = TAILQ_FIRST(&l->waits); w; w = next) {
		void (*done)(struct op * op);
		struct op *op;

		next = TAILQ_NEXT(w, list);
		if (sent && !w->sent)
			continue;
		op = wait_end(l, w, &done);
		op->reply.reason = reason;
		done(op);
	}
}
