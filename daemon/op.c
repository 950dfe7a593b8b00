/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "op.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "act-device.h"
#include "cleanup.h"
#include "devices.h"
#include "facts.h"
#include "gather.h"
#include "levels.h"
#include "manager.h"
#include "peer.h"
#include "perf/act-perf.h"
#include "value.h"

/* A verdict asks for new facts each time; there are not so many. */
#define ROUNDS_MAX 16

/* The rest is read only where `have` says so; a map without extents maps nothing. */
static void party_init(struct party *p, struct identity *identity)
{
	p->identity = identity;
	p->pid = identity->pid;
	p->pidfd = -EBADF;
	p->subject.have = 0;
	p->subject.uid = identity->uid;
	p->subject.gid = identity->gid;
	p->subject.uid_map.n = p->subject.gid_map.n = 0;
	p->victim = (struct victim){0};
}

struct op *op_new_of(struct manager *manager, struct identity *requestor)
{
	struct op *op = TAKE_PTR(manager->spare_op);

	if (!op)
		op = malloc(sizeof(*op));
	if (!op)
		return NULL;
	op->manager = manager;
	op->peer = NULL;
	op->account = 0;
	op->message = NULL;
	op->request = (struct request){0};
	op->question = (struct question){0};
	op->devices = NULL;
	op->perf = NULL;
	op->path.absolute = false;
	op->path.n = 0;
	op->path.len = 0;
	op->path.text[0] = '\0';
	party_init(&op->who, requestor);
	op->proxy = NULL;
	op->scm = NULL;
	op->victim_pid = 0;
	op->victim_pidfd = op->pidns_fd = -EBADF;
	op->passed = NULL;
	op->n_targets = 0;
	op->targets = NULL;
	op->reply = (struct reply){0};
	return op;
}

struct op *op_new(struct manager *manager, struct peer *peer)
{
	struct op *op = op_new_of(manager, &peer->identity);

	if (op) {
		op->peer = peer;
		op->account = peer->account->number;
	}
	return op;
}

int op_speak(struct op *op, struct identity *requestor)
{
	op->proxy = malloc(sizeof(*op->proxy));
	if (!op->proxy)
		return -ENOMEM;
	party_init(op->proxy, op->who.identity);
	party_init(&op->who, requestor);
	return 0;
}

static void target_done(struct target *t)
{
	close_fd(&t->dir_fd);
	close_fd(&t->parent_fd);
	close_fd(&t->file_fd);
	value_done(&t->value);
	free(t->proxy);
	free(t->detail);
	levels_free(t->levels);
	device_change_free(t->change);
	for (char **left = t->left; left && *left; left++)
		free(*left);
	free(t->left);
}

struct op *op_free(struct op *op)
{
	struct manager *m = op->manager;

	for (unsigned i = 0; i < op->n_targets; i++)
		target_done(&op->targets[i]);
	if (op->targets != &op->first)
		free(op->targets);
	close_fd(&op->victim_pidfd);
	close_fd(&op->pidns_fd);
	close_fd(&op->who.pidfd);
	if (op->proxy)
		close_fd(&op->proxy->pidfd);
	free(op->proxy);
	reply_done(&op->reply);
	request_done(&op->request);
	passed_free(op->passed);
	device_call_free(op->devices);
	perf_asked_free(op->perf);
	sd_bus_message_unref(op->message);
	if (m->spare_op)
		free(op);
	else
		m->spare_op = op;
	return NULL;
}

void target_fail(struct target *t, int err)
{
	switch (err) {
	case -EBUSY:
	case -ENOTEMPTY:
		t->reason = REASON_BUSY;
		break;
	case -ENODEV:
	case -ENOENT:
		t->reason = REASON_CGROUP_MISSING;
		break;
	case -ESRCH:
		t->reason = REASON_TASK_ENDED;
		break;
	case -EOPNOTSUPP:
		t->reason = REASON_CONTROLLER_OFF;
		break;
	case -EDQUOT:
		t->reason = REASON_QUOTA;
		break;
	case -E2BIG:
	case -EFBIG:
		/* Bounds of our own; the kernel's errno would add nothing. */
		t->reason = REASON_MANY_ENTRIES;
		return;
	default:
		t->reason = REASON_KERNEL;
		break;
	}
	t->err = -err;
}

void target_detail(struct target *t, enum reason reason, const char *format, ...)
{
	va_list args;

	free(t->detail);
	t->detail_of = reason;
	va_start(args, format);
	if (vasprintf(&t->detail, format, args) < 0)
		t->detail = NULL;
	va_end(args);
}

/*
 * The question, from the words of the call alone.
 */

static enum reason question_path(struct op *op)
{
	enum reason reason;

	if (!op->request.cgroup)
		return REASON_OK;
	reason = path_parse(op->request.cgroup, &op->path);
	if (reason == REASON_OK && op->request.method->base == BASE_BELOW && op->path.absolute)
		return REASON_PATH_ABSOLUTE;
	return reason;
}

static enum reason question_key(struct op *op, const char *name)
{
	if (!key_name_valid(name))
		return REASON_KEY_NAME;
	op->question.key = key_find(name);
	return REASON_OK;
}

static enum reason question_native(struct op *op)
{
	switch (op->question.action) {
	case ACTION_PERF:
	case ACTION_PERF_READ:
	case ACTION_PERF_OPEN:
		return perf_question(op);
	default:
		return devices_question(op);
	}
}

static enum reason question_build(struct op *op)
{
	const struct request *request = &op->request;
	struct question *q = &op->question;
	enum reason reason = question_path(op);

	q->action = request->method->action;
	q->absolute = request->method->base == BASE_SCOPE;
	q->max_depth = op->manager->options->max_depth;
	q->uid = (uint32_t)request->uid;
	q->gid = (uint32_t)request->gid;
	q->host_ids = op->scm;
	if (reason == REASON_OK && request->key && !key_name_valid(request->key))
		reason = REASON_KEY_NAME;
	if (reason == REASON_OK && request->file && request->file[0]) {
		q->has_file = true;
		reason = question_key(op, request->file);
	}
	if (reason == REASON_OK && q->action == ACTION_CHMOD &&
		(request->mode < 0 || request->mode > 07777))
		reason = REASON_MODE;
	if (reason == REASON_OK && (request->method->flags & METHOD_NATIVE))
		reason = question_native(op);
	if (reason == REASON_OK && request->value && strlen(request->value) > PATH_TEXT_MAX)
		reason = REASON_VALUE_LENGTH;
	return reason;
}

/*
 * Gather and decide.
 */

/* Whose rules, and where, as the caller may know of it. */
static void verdict_note_device(
	struct op *op, struct party *p, struct target *t, const struct verdict *v)
{
	if (!(t->place.have & FACT_SCOPE) && facts_gather(op, p, t, FACT_SCOPE) != REASON_OK)
		return;
	free(t->detail);
	t->detail = devices_detail(op, t, v->reason, v->level);
}

/* What a verdict tells beyond its reason. */
static enum reason verdict_note(
	struct op *op, struct party *p, struct target *t, const struct verdict *v)
{
	/* Of two parties the lesser right. */
	t->controllers &= v->controllers;
	t->widens = v->widens;
	if (v->reason == REASON_DEVICE_WIDER || v->reason == REASON_DEVICE_OVERRIDE)
		verdict_note_device(op, p, t, v);
	if (t->levels &&
		(v->reason == REASON_LEVEL_ABOVE || v->reason == REASON_LEVEL_PRIVILEGE ||
			v->reason == REASON_LEVEL_SYSTEMD || v->reason == REASON_LEVEL_THREADED)) {
		free(t->detail);
		t->detail = levels_detail(t, v->level);
	}
	return v->reason;
}

static enum reason judge_party(struct op *op, struct party *p, struct target *t)
{
	enum reason reason = REASON_OK;

	t->facts.subject = &p->subject;
	t->facts.victim = &p->victim;
	for (unsigned round = 0; reason == REASON_OK && round < ROUNDS_MAX; round++) {
		struct verdict v = decide(&op->question, &t->facts);

		if (v.need == 0)
			return verdict_note(op, p, t, &v);
		reason = facts_gather(op, p, t, v.need);
	}
	return reason == REASON_OK ? REASON_INTERNAL : reason;
}

/* Through a proxy a call has the lesser of both rights. */
enum reason op_judge(struct op *op, struct target *t)
{
	enum reason reason = judge_party(op, &op->who, t);

	return reason == REASON_OK && op->proxy ? judge_party(op, op->proxy, t) : reason;
}

static enum reason judge(struct op *op, struct target *t, const struct act *act)
{
	enum reason reason = act->prepare ? act->prepare(op, t) : REASON_OK;

	return reason == REASON_OK ? op_judge(op, t) : reason;
}

/* What was refused, or cannot be known of, in one of several hierarchies is passed over there. */
static bool is_denial(enum reason reason)
{
	switch (reason_row(reason)->kind) {
	case KIND_ACCESS_DENIED:
	case KIND_NOT_FOUND:
		return true;
	case KIND_NO_SUCH_PROCESS:
		return reason != REASON_TASK_ENDED;
	default:
		return false;
	}
}

/*
 * A native call acts in every hierarchy that has a say, and what is refused in one of them is
 * refused: rules that the other does not keep would promise too much. But where there is no such
 * cgroup, or the requestor was never put into one and so has no right to anything, nothing is
 * promised.
 */
static bool is_passed_over(const struct op *op, const struct target *t)
{
	if (!(op->request.method->flags & METHOD_NATIVE))
		return is_denial(t->reason);
	switch (t->reason) {
	case REASON_CGROUP_MISSING:
	case REASON_CGROUP_OUTSIDE:
	case REASON_NO_SCOPE:
		return true;
	case REASON_NO_READ:
	case REASON_NO_SEARCH:
	case REASON_PARENT_PRIVILEGE:
	case REASON_SCOPE_ROOT:
		return t->place.base_is_top;
	default:
		return false;
	}
}

/* Everything is judged before anything is done. */
static enum reason judge_all(struct op *op, const struct act *act)
{
	enum reason denied = REASON_OK;
	unsigned granted = 0;

	for (unsigned i = 0; i < op->n_targets; i++) {
		struct target *t = &op->targets[i];

		if (t->reason == REASON_OK)
			t->reason = judge(op, t, act);
		if (t->reason == REASON_OK)
			granted++;
		else if (op->question.action == ACTION_REMOVE && t->reason == REASON_CGROUP_MISSING)
			granted++; /* "did not exist" is an answer */
		else if (is_passed_over(op, t))
			denied = denied == REASON_OK ? t->reason : denied;
		else if (op->question.action != ACTION_MOVE)
			return t->reason;
	}
	return granted > 0 ? REASON_OK : denied == REASON_OK ? REASON_INTERNAL : denied;
}

/* The requestor's, of the act's own: what is the connection's may go meanwhile. */
static enum reason pidns_for_act(struct op *op)
{
	int fd = gather_pidns(op, &op->who);

	if (fd < 0)
		return gather_error(fd);
	if (fd == op->manager->pidns_fd)
		return REASON_OK;
	op->pidns_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return op->pidns_fd < 0 ? REASON_INTERNAL : REASON_OK;
}

/* So that a number that has become somebody else's is noticed. */
static enum reason pidfd_for_act(struct party *p)
{
	int fd = p->pidfd >= 0 ? p->pidfd : identity_pidfd(p->identity);

	if (fd >= 0 && p->pidfd < 0)
		p->pidfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return p->pidfd >= 0 ? REASON_OK : fd < 0 ? gather_error(fd) : REASON_INTERNAL;
}

/* Tasks will be moved or reached into, and each judged only then. */
static enum reason facts_for_tasks(struct op *op)
{
	enum reason reason = pidfd_for_act(&op->who);

	return reason == REASON_OK && op->proxy ? pidfd_for_act(op->proxy) : reason;
}

/* Cgroups above the target are named from the scope's root, or not at all. */
static bool names_from_scope(enum action action)
{
	return action == ACTION_DEVICES_READ || action == ACTION_PERF || action == ACTION_PERF_READ;
}

/* An act that goes on judging below its target needs all facts about the requestor at once, and
 * what runs on a worker cannot gather. */
static enum reason facts_for_act(struct op *op)
{
	const struct method *method = op->request.method;
	enum action action = method->action;
	const unsigned all = FACT_CAPS | FACT_GROUPS | FACT_MAPS | FACT_NS;
	enum reason reason = REASON_OK;

	for (unsigned i = 0; reason == REASON_OK && i < op->n_targets; i++) {
		bool reaches = act_reaches(op) && op->targets[i].reason == REASON_OK;

		if (!act_walks(op, &op->targets[i]) && !levels_lack(&op->targets[i]) && !reaches)
			continue;
		reason = facts_gather(op, &op->who, &op->targets[i], all);
		if (reason == REASON_OK && op->proxy)
			reason = facts_gather(op, op->proxy, &op->targets[i], all);
		if (reason == REASON_OK && (levels_lack(&op->targets[i]) || reaches))
			reason = facts_for_tasks(op);
	}
	for (unsigned i = 0; names_from_scope(action) && i < op->n_targets; i++)
		if (reason == REASON_OK && op->targets[i].reason == REASON_OK)
			reason = facts_gather(op, &op->who, &op->targets[i], FACT_SCOPE);
	if (reason == REASON_OK && (method->flags & METHOD_KEYS))
		reason = facts_gather(op, &op->who, &op->targets[0], FACT_MAPS);
	if (reason == REASON_OK &&
		(action == ACTION_TASKS || (action == ACTION_READ && op->question.key &&
						   op->question.key->class == KEY_PIDS)))
		reason = pidns_for_act(op);
	return reason;
}

/*
 * Act.
 */

/* The first failure of an act; what went before it is taken back where that is possible. */
static void act_fail(struct op *op, const struct act *act, unsigned failed)
{
	if (!act->undo)
		return;
	for (unsigned i = failed; i-- > 0;)
		if (op->targets[i].reason == REASON_OK)
			act->undo(op, &op->targets[i]);
}

/* "in memory; done in pids, cpuset": half-done work is reported as it is. */
static char *failure_detail(const struct op *op, const struct act *act, const struct target *t)
{
	bool tells = t->detail_of == REASON_OK || t->detail_of == op->reply.reason;
	const char *before = "; done in ", *detail = tells ? t->detail : NULL;
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if (op->n_targets > 1)
		fprintf(f, "in %s", t->h->name);
	if (detail || t->err)
		fprintf(f, "%s%s", op->n_targets > 1 ? ": " : "",
			detail ? detail : strerror(t->err));
	for (unsigned i = 0; op->n_targets > 1 && !act->undo && i < op->n_targets; i++)
		if (op->targets[i].reason == REASON_OK && op->targets[i].done) {
			fprintf(f, "%s%s", before, op->targets[i].h->name);
			before = ", ";
		}
	if (fclose(f) != 0 || size == 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Why a call was refused before it acted, where that says more than the reason. */
static char *refusal_detail(const struct op *op, const struct act *act)
{
	bool native = op->request.method->flags & METHOD_NATIVE;

	for (unsigned i = 0; (native || op->n_targets == 1) && i < op->n_targets; i++) {
		const struct target *t = &op->targets[i];

		/* The only one is what the call is about, also before it has a reason of its own.
		 */
		if (op->n_targets > 1 && t->reason != op->reply.reason)
			continue;
		/* Which hierarchy it was, where another may have it otherwise. */
		if (t->err || t->detail || (op->n_targets > 1 && !is_passed_over(op, t)))
			return failure_detail(op, act, t);
	}
	return NULL;
}

static void act_run(struct op *op)
{
	const struct act *act = act_find(op->request.method);
	bool goes_on = op->question.action == ACTION_MOVE;
	const struct target *failed = NULL;

	for (unsigned i = 0; i < op->n_targets && (!failed || goes_on); i++) {
		struct target *t = &op->targets[i];

		if (t->reason != REASON_OK)
			continue;
		if (act->run)
			act->run(op, t);
		t->done = t->reason == REASON_OK;
		if (t->done)
			continue;
		failed = failed ? failed : t;
		if (!goes_on)
			act_fail(op, act, i);
	}
	for (unsigned i = 0; goes_on && !failed && i < op->n_targets; i++)
		if (op->targets[i].reason != REASON_OK && !is_denial(op->targets[i].reason))
			failed = &op->targets[i];
	if (failed) {
		op->reply.reason = failed->reason;
		op->reply.detail = failure_detail(op, act, failed);
	} else if (act->collect) {
		act->collect(op);
	}
}

static void act_settle(struct op *op)
{
	const struct act *act = act_find(op->request.method);

	for (unsigned i = 0; act->settle && i < op->n_targets; i++) {
		struct target *t = &op->targets[i];

		if (!t->done)
			continue;
		act->settle(op, t);
		if (t->reason != REASON_OK && op->reply.reason == REASON_OK) {
			op->reply.reason = t->reason;
			op->reply.detail = failure_detail(op, act, t);
		}
	}
}

static struct op *op_of_job(struct job *job)
{
	return (struct op *)((char *)job - offsetof(struct op, job));
}

static void job_run(struct job *job)
{
	act_run(op_of_job(job));
}

static void job_done(struct job *job)
{
	struct op *op = op_of_job(job);

	act_settle(op);
	peer_answer(op);
}

/* What goes to a socket of its own holds up nothing. */
static void op_hold(struct op *op)
{
	if (op->scm)
		return;
	op->peer->op = op;
	transport_hold(op->peer->transport);
}

static int act_submit(struct op *op)
{
	int r;

	op->job = (struct job){.owner = op->account, .run = job_run, .done = job_done};
	r = workers_submit(op->manager->workers, &op->job);
	if (r < 0)
		return r;
	op_hold(op);
	return 0;
}

/*
 * All five.
 */

static enum reason op_prepare(struct op *op, const struct act *act)
{
	enum action action = op->request.method->action;
	enum reason reason = question_build(op);

	if (action == ACTION_NONE)
		return REASON_OK;
	/* For itself everybody speaks: a setuid program has two uids. */
	if (reason == REASON_OK && op->proxy && op->proxy->identity->pid != op->who.identity->pid)
		reason = facts_speech(op);
	if (reason == REASON_OK)
		reason = facts_hierarchies(op);
	if (reason == REASON_OK && op->request.key)
		reason = value_plan(op);
	if (reason == REASON_OK)
		reason = facts_open(op);
	if (reason == REASON_OK && (action == ACTION_MOVE || action == ACTION_LOCATE))
		reason = facts_victim(op);
	if (reason == REASON_OK)
		reason = judge_all(op, act);
	if (reason == REASON_OK)
		reason = facts_for_act(op);
	if (reason == REASON_OK)
		reason = facts_requestor_still(op);
	return reason;
}

void op_run(struct op *op)
{
	const struct act *act = act_find(op->request.method);
	int r;

	op->reply.reason = op_prepare(op, act);
	if (op->reply.reason == REASON_OK && act->begin) {
		op->reply.reason = act->begin(op);
		if (op->reply.reason == REASON_OK) {
			op_hold(op);
			return;
		}
	} else if (op->reply.reason == REASON_OK && act_blocks(op)) {
		if (act_reaches(op))
			device_unlock(op);
		r = act_submit(op);
		if (r >= 0)
			return;
		op->reply.reason = r == -EDQUOT ? REASON_QUOTA : REASON_INTERNAL;
	} else if (op->reply.reason == REASON_OK) {
		act_run(op);
		act_settle(op);
	} else if (!op->reply.detail) {
		op->reply.detail = refusal_detail(op, act);
	}
	peer_answer(op);
}
