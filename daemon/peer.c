/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer.h"

#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dbus/dispatch.h"
#include "../policy/reason.h"
#include "cleanup.h"
#include "facts.h"
#include "log.h"
#include "manager.h"
#include "perf/unread.h"
#include "property.h"
#include "scm.h"
#include "whoami.h"

/* Stands for any answer that is no method's: Introspect's is the longest. */
#define ANSWER_OTHER ((size_t)16 << 10)
#define ANSWER_HEAD 256
/* Nobody's: before it was asked for. */
#define ACCOUNT_UNKNOWN UINT64_MAX

/* How long after most connections have ended memory is given back: by then nothing is going on. */
#define TRIM_USEC 1000000
#define TRIM_PEERS 64
/* Connections that an account has left behind in a state in which nobody can close them. */
#define OWED_MAX 64

static uint64_t account_number(const struct peer *peer)
{
	return peer && peer->account ? peer->account->number : ACCOUNT_UNKNOWN;
}

static void log_quota(const struct peer *peer, const char *method)
{
	log_denial(&(struct log_denial){
		.method = method,
		.reason = reason_row(REASON_QUOTA)->token,
		.pid = peer->identity.pid,
		.uid = peer->identity.uid,
		.account = account_number(peer),
	});
}

/* After an answer: what the socket did not take lies in our memory until the client reads. */
static void unread_check(struct peer *peer)
{
	size_t unread = transport_queued(peer->transport) ? peer->unread + peer->answer : 0;

	if (account_set_unread(peer->account, &peer->unread, unread) >= 0)
		return;
	log_quota(peer, "unread answers");
	transport_drop(peer->transport, "too much is unread");
}

static int on_trim(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;

	m->peak_peers = m->accounts.connections;
	malloc_trim(0);
	return 0;
}

/* What a burst of connections took lies between what others still have. */
static void trim_later(struct manager *m)
{
	unsigned n = m->accounts.connections;
	uint64_t now;

	if (m->peak_peers < n + TRIM_PEERS || n > m->peak_peers / 2)
		return;
	m->peak_peers = n;
	if (sd_event_now(m->event, CLOCK_MONOTONIC, &now) >= 0 &&
		sd_event_source_set_time(m->trim, now + TRIM_USEC) >= 0)
		(void)sd_event_source_set_enabled(m->trim, SD_EVENT_ONESHOT);
}

static void peer_link(struct peer *peer)
{
	struct manager *m = peer->manager;

	LIST_INSERT_HEAD(&m->peers, peer, list);
	peer->is_linked = true;
	if (m->accounts.connections > m->peak_peers)
		m->peak_peers = m->accounts.connections;
}

static void peer_rest(struct peer *peer)
{
	struct manager *m = peer->manager;

	if (peer->is_recent) {
		TAILQ_REMOVE(&m->recent, peer, recent);
		peer->is_recent = false;
		m->n_recent--;
	}
	identity_rest(&peer->identity);
}

void peer_wake(struct peer *peer)
{
	struct manager *m = peer->manager;

	if (TAILQ_FIRST(&m->recent) == peer)
		return;
	if (peer->is_recent)
		TAILQ_REMOVE(&m->recent, peer, recent);
	else
		m->n_recent++;
	peer->is_recent = true;
	TAILQ_INSERT_HEAD(&m->recent, peer, recent);
	if (m->n_recent > m->max_recent)
		peer_rest(TAILQ_LAST(&m->recent, recent_peers));
}

static void account_drop(struct peer *peer)
{
	if (!peer->account)
		return;
	waiter_cancel(&peer->waiter);
	(void)account_set_unread(peer->account, &peer->unread, 0);
	if (peer->is_counted)
		account_put_connection(peer->account);
	peer->account = account_put(peer->account);
	trim_later(peer->manager);
}

struct peer *peer_free(struct peer *peer)
{
	if (!peer)
		return NULL;
	/* What a worker does for it is finished, and answered to nobody. */
	if (peer->op)
		peer->op->peer = NULL;
	scm_peer_gone(peer);
	if (peer->is_linked)
		LIST_REMOVE(peer, list);
	peer_rest(peer);
	unread_gone(peer);
	transport_free(peer->transport);
	identity_done(&peer->identity);
	account_drop(peer);
	free(peer);
	return NULL;
}

static void on_call(void *userdata, sd_bus_message *m, struct request *request)
{
	struct peer *peer = userdata;
	struct op *op;

	if (request->method->flags & METHOD_SCM) {
		scm_start(peer, m, request);
		return;
	}
	op = op_new(peer->manager, peer);
	if (!op) {
		struct reply reply = {.reason = REASON_INTERNAL};

		dispatch_reply(m, request, &reply);
		return;
	}
	op->message = sd_bus_message_ref(m);
	op->request = request_take(request);
	op->passed = transport_take_passed(peer->transport);
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
		.account = account_number(peer),
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

static void on_property(void *userdata, enum property_id id, struct reply *ret)
{
	struct peer *peer = userdata;

	property_value(peer, id, ret);
	peer->answer += reply_size(ret);
}

static const struct dispatch_ops dispatch_ops = {
	.call = on_call,
	.refused = on_refused,
	.may_know_host = on_may_know_host,
	.unique = on_unique,
	.ids = on_ids,
	.property = on_property,
};

static int on_message(void *userdata, sd_bus_message *m)
{
	struct peer *peer = userdata;
	int r;

	peer_wake(peer);
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

static enum turn on_turn(void *userdata, uint64_t now)
{
	struct peer *peer = userdata;
	enum turn turn = account_turn(peer->account, now);

	if (turn == TURN_WAIT)
		account_wait(peer->account, &peer->waiter);
	return turn;
}

static void on_worked(void *userdata, uint64_t now, uint64_t cost)
{
	struct peer *peer = userdata;

	account_charge(peer->account, now, cost);
	if (peer->unread > 0 && !transport_queued(peer->transport))
		(void)account_set_unread(peer->account, &peer->unread, 0);
}

static void on_go(struct waiter *w)
{
	struct peer *peer = (struct peer *)((char *)w - offsetof(struct peer, waiter));

	transport_resume(peer->transport);
}

static const struct transport_ops transport_ops = {
	.message = on_message,
	.closed = on_closed,
	.turn = on_turn,
	.worked = on_worked,
};

int peers_init(struct manager *m)
{
	int r;

	TAILQ_INIT(&m->recent);
	r = sd_event_add_time(m->event, &m->trim, CLOCK_MONOTONIC, 0, 0, on_trim, m);
	if (r >= 0)
		r = sd_event_source_set_enabled(m->trim, SD_EVENT_OFF);
	return r < 0 ? r : accounts_init(&m->accounts, m->event, on_go);
}

void peers_done(struct manager *m)
{
	while (!LIST_EMPTY(&m->peers))
		peer_free(LIST_FIRST(&m->peers));
	m->trim = sd_event_source_disable_unref(m->trim);
}

static int account_take(struct peer *peer)
{
	struct manager *m = peer->manager;
	uint64_t number;
	int r = inspect_account(m->inspector, peer->identity.pid, peer->identity.uid, &number);

	if (r == -EPIPE)
		manager_fail(m, r, "the inspector has ended");
	if (r < 0)
		return r;
	/* Alive now, so it was its number that was asked about. */
	if (!identity_alive(&peer->identity))
		return -ESRCH;
	peer->account = account_get(&m->accounts, number);
	/* What its last ones left cannot be given away: no more of that. */
	if (number != 0 && porters_owed(m->porters, number) >= OWED_MAX)
		return peer->account ? -EDQUOT : -ENOMEM;
	return peer->account ? account_take_connection(peer->account) : -ENOMEM;
}

/* `peer` may be NULL. */
static void log_not_taken(const struct peer *peer, int err)
{
	/* Whoever is gone sees nothing, and whoever is over a quota the end of the connection. */
	if (err == -EDQUOT)
		log_quota(peer, "connect");
	else if (err != -ESRCH)
		log_limited(LOG_WARNING, account_number(peer), "a client was not taken: %s",
			strerror(-err));
}

/* Leaves `fd` to the caller. */
static int peer_identify(struct peer *peer, int fd)
{
	struct manager *m = peer->manager;
	int r = identity_take(&peer->identity, fd, m->proc_fd, m->options->strict);

	if (r >= 0)
		r = account_take(peer);
	if (r < 0)
		return r;
	peer->is_counted = true;
	identity_rest(&peer->identity);
	return 0;
}

void peer_accept(struct manager *manager, int fd)
{
	uint64_t begun = clock_monotonic(), now;
	struct peer *peer = calloc(1, sizeof(*peer));
	int r = -ENOMEM;

	if (peer) {
		peer->manager = manager;
		peer->identity = IDENTITY_NONE;
		r = peer_identify(peer, fd);
	}
	if (r < 0)
		porters_close(manager->porters, account_number(peer), fd);
	else
		r = transport_new(manager->event, manager->porters, peer->account->number, fd,
			&manager->options->limits, &transport_ops, peer, &peer->transport);
	now = clock_monotonic();
	if (peer && peer->account)
		account_charge_accept(peer->account, now, now - begun);
	if (r < 0) {
		log_not_taken(peer, r);
		peer_free(peer);
		return;
	}
	peer_link(peer);
}

uint64_t peers_pause(struct manager *m)
{
	return accounts_pause(&m->accounts, clock_monotonic());
}

/* Of an op that was on a worker: the connection goes on. */
static void peer_go_on(struct peer *peer, uint64_t begun)
{
	uint64_t now;

	peer->op = NULL;
	unread_check(peer);
	transport_flush(peer->transport);
	transport_resume(peer->transport);
	now = clock_monotonic();
	account_charge(peer->account, now, now - begun);
}

void peer_answer(struct op *op)
{
	uint64_t begun = clock_monotonic();
	struct peer *peer = op->peer;
	int r;

	if (op->scm) {
		scm_answer(op);
		return;
	}
	if (peer) {
		bool later = peer->op == op;

		if (op->reply.reason != REASON_OK)
			log_refusal(peer, &op->request, op->request.method->name, op->reply.reason);
		peer->answer = ANSWER_HEAD + reply_size(&op->reply);
		r = dispatch_reply(op->message, &op->request, &op->reply);
		if (r < 0)
			log_line(LOG_DEBUG, "no answer could be sent to pid %d: %s, ignoring",
				peer->identity.pid, strerror(-r));
		if (later)
			peer_go_on(peer, begun);
	}
	op_free(op);
}
