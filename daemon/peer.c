/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dbus/dispatch.h"
#include "../policy/reason.h"
#include "cleanup.h"
#include "facts.h"
#include "log.h"
#include "manager.h"
#include "whoami.h"

/* What clients of one account may leave unread, in all their connections. */
#define UNREAD_MAX ((size_t)16 << 20)
/* Stands for any answer that is no method's: Introspect's is the longest. */
#define ANSWER_OTHER ((size_t)16 << 10)
#define ANSWER_HEAD 256
/* Nobody's: before it was asked for. */
#define ACCOUNT_UNKNOWN UINT64_MAX

/* Is one more connection of this account within the quotas? */
static bool quota_allows(const struct manager *m, uint64_t account)
{
	unsigned n = 0;

	if (account == 0)
		return m->n_peers < m->max_peers;
	if (m->n_peers >= m->max_peers - m->kept_peers)
		return false;
	/* Below the quota in all there is nothing to count. */
	if (m->n_peers < m->max_peers_account)
		return true;
	for (const struct peer *peer = m->peers; peer; peer = peer->next)
		n += peer->account == account;
	return n < m->max_peers_account;
}

static void log_quota(const struct peer *peer, const char *method)
{
	log_denial(&(struct log_denial){
		.method = method,
		.reason = reason_row(REASON_QUOTA)->token,
		.pid = peer->identity.pid,
		.uid = peer->identity.uid,
		.account = peer->account,
	});
}

/* After an answer: what the socket did not take lies in our memory until the client reads. */
static void unread_check(struct peer *peer)
{
	size_t sum = 0;

	if (!transport_queued(peer->transport)) {
		peer->unread = 0;
		return;
	}
	peer->unread += peer->answer;
	for (struct peer *p = peer->manager->peers; p; p = p->next) {
		if (p->unread == 0 || p->account != peer->account)
			continue;
		if (!transport_queued(p->transport))
			p->unread = 0;
		sum += p->unread;
	}
	if (sum <= UNREAD_MAX)
		return;
	log_quota(peer, "unread answers");
	transport_drop(peer->transport, "too much is unread");
}

static void peer_link(struct peer *peer)
{
	struct manager *m = peer->manager;

	peer->next = m->peers;
	peer->link = &m->peers;
	if (m->peers)
		m->peers->link = &peer->next;
	m->peers = peer;
	m->n_peers++;
}

struct peer *peer_free(struct peer *peer)
{
	if (!peer)
		return NULL;
	/* What a worker does for it is finished, and answered to nobody. */
	if (peer->op)
		peer->op->peer = NULL;
	if (peer->link) {
		*peer->link = peer->next;
		if (peer->next)
			peer->next->link = peer->link;
		peer->manager->n_peers--;
	}
	transport_free(peer->transport);
	identity_done(&peer->identity);
	free(peer);
	return NULL;
}

static void on_call(void *userdata, sd_bus_message *m, const struct request *request)
{
	struct peer *peer = userdata;
	struct op *op = op_new(peer->manager, peer);

	if (!op) {
		struct reply reply = {.reason = REASON_INTERNAL};

		dispatch_reply(m, request, &reply);
		return;
	}
	op->message = sd_bus_message_ref(m);
	op->request = *request;
	op_run(op);
}

static void log_refusal(const struct peer *peer, const struct request *request, const char *method,
	enum reason reason)
{
	log_denial(&(struct log_denial){
		.method = method,
		.cgroup = request ? request->cgroup : NULL,
		.reason = reason_row(reason)->token,
		.pid = peer->identity.pid,
		.uid = peer->identity.uid,
		.account = peer->account,
	});
}

static void on_refused(void *userdata, sd_bus_message *m, enum reason reason)
{
	log_refusal(userdata, NULL, sd_bus_message_get_member(m), reason);
}

static bool on_may_know_host(void *userdata)
{
	struct peer *peer = userdata;
	struct op *op = op_new(peer->manager, peer);
	bool is = op && facts_host_root(op);

	if (op)
		op_free(op);
	return is;
}

static uint64_t *on_unique(void *userdata)
{
	return &((struct peer *)userdata)->unique;
}

static void on_ids(void *userdata, bool of_client, struct dispatch_ids *ret)
{
	whoami(userdata, of_client, ret);
}

static const struct dispatch_ops dispatch_ops = {
	.call = on_call,
	.refused = on_refused,
	.may_know_host = on_may_know_host,
	.unique = on_unique,
	.ids = on_ids,
};

static int on_message(void *userdata, sd_bus_message *m)
{
	struct peer *peer = userdata;
	int r;

	peer->answer = ANSWER_OTHER;
	r = dispatch_message(m, &dispatch_ops, peer);
	unread_check(peer);
	return r;
}

static void on_closed(void *userdata, const char *why)
{
	struct peer *peer = userdata;

	log_line(LOG_DEBUG, "connection of pid %d uid %u ended: %s", peer->identity.pid,
		peer->identity.uid, why);
	peer_free(peer);
}

static const struct transport_ops transport_ops = {.message = on_message, .closed = on_closed};

static int account_take(struct peer *peer)
{
	struct manager *m = peer->manager;
	int r = inspect_account(
		m->inspector, peer->identity.pid, peer->identity.uid, &peer->account);

	if (r == -EPIPE)
		manager_fail(m, r, "the inspector has ended");
	/* Alive now, so it was its number that was asked about. */
	return r >= 0 && !identity_alive(&peer->identity) ? -ESRCH : r;
}

/* `peer` may be NULL. */
static void log_not_taken(const struct peer *peer, int err)
{
	uint64_t account = peer ? peer->account : ACCOUNT_UNKNOWN;

	log_limited(LOG_WARNING, account, "a client was not taken: %s", strerror(-err));
}

void peer_accept(struct manager *manager, int fd)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int r = -ENOMEM;

	if (peer) {
		peer->manager = manager;
		peer->identity = IDENTITY_NONE;
		peer->account = ACCOUNT_UNKNOWN;
		r = identity_take(&peer->identity, fd, manager->proc_fd, manager->options->strict);
	}
	if (r >= 0)
		r = account_take(peer);
	if (r >= 0 && !quota_allows(manager, peer->account)) {
		log_quota(peer, "connect");
		r = -EDQUOT;
	}
	if (r < 0) {
		/* Whoever is gone, or over a quota, sees the end of the connection. */
		if (r != -ESRCH && r != -EDQUOT)
			log_not_taken(peer, r);
		close(fd);
		peer_free(peer);
		return;
	}
	r = transport_new(manager->event, fd, &manager->options->limits, &transport_ops, peer,
		&peer->transport);
	if (r < 0) {
		log_not_taken(peer, r);
		peer_free(peer);
		return;
	}
	peer_link(peer);
}

void peer_answer(struct op *op)
{
	struct peer *peer = op->peer;
	int r;

	if (peer) {
		bool later = peer->op == op;

		if (op->reply.reason != REASON_OK)
			log_refusal(peer, &op->request, op->request.method->name, op->reply.reason);
		peer->answer = ANSWER_HEAD + reply_size(&op->reply);
		r = dispatch_reply(op->message, &op->request, &op->reply);
		if (r < 0)
			log_line(LOG_DEBUG, "no answer could be sent to pid %d: %s, ignoring",
				peer->identity.pid, strerror(-r));
		if (later) {
			peer->op = NULL;
			unread_check(peer);
			transport_flush(peer->transport);
			transport_resume(peer->transport);
		}
	}
	op_free(op);
}
