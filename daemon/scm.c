/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../dbus/dispatch.h"
#include "../dbus/scm-frame.h"
#include "account.h"
#include "cleanup.h"
#include "hub.h"
#include "inspect.h"
#include "log.h"
#include "manager.h"
#include "peer.h"
#include "porter.h"

/* Pids that are sent in one turn of the loop. */
#define PIDS_A_TURN 64
/* So many time-outs a result may take in all, however steadily it is read. */
#define STEPS_MAX 15
/* Before a porter whose channel is full is tried again. */
#define RETRY_USEC 10000
/* What af_unix takes off SO_SNDBUF for a packet. */
#define PACKET_OVERHEAD 32

struct exchange {
	struct exchange *next, **link; /* manager->exchanges */
	struct manager *manager;
	struct peer *peer;	 /* NULL: has gone */
	struct account *account; /* set: it counts there */
	struct passed *passed;
	sd_bus_message *message; /* holds the request's strings */
	struct op *op;		 /* it is judged, or on a worker */
	struct request request;
	struct identity requestor; /* who is spoken for */
	/* for the log: the peer's */
	pid_t pid;
	uid_t uid;
	uint64_t account_number;

	struct scm_frames frames;
	unsigned piece;
	size_t sent, pids_sent;
	size_t unread; /* as the account counts it */
	uint64_t end;  /* when the result must have been read; 0: nobody has waited yet */
	sd_event_source *io, *timer, *retry;
};

static void exchange_free(struct exchange *ex)
{
	sd_event_source_disable_unref(ex->io);
	sd_event_source_disable_unref(ex->timer);
	sd_event_source_disable_unref(ex->retry);
	passed_free(ex->passed);
	sd_bus_message_unref(ex->message);
	identity_done(&ex->requestor);
	scm_frames_done(&ex->frames);
	if (ex->link) {
		*ex->link = ex->next;
		if (ex->next)
			ex->next->link = ex->link;
	}
	if (ex->account) {
		(void)account_set_unread(ex->account, &ex->unread, 0);
		account_put_exchange(ex->account);
	}
	free(ex);
}

static void exchange_freep(struct exchange **ex)
{
	if (*ex)
		exchange_free(*ex);
}

/*
 * The result. Text of it is sent by the porter, for whoever it reaches could believe it if it came
 * with our credentials.
 */

static void exchange_send(struct exchange *ex);

static int on_writable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void)source;
	(void)fd;
	(void)revents;
	exchange_send(userdata);
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct exchange *ex = userdata;

	(void)source;
	(void)usec;
	ex->retry = sd_event_source_disable_unref(ex->retry);
	exchange_send(ex);
	return 0;
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	exchange_free(userdata);
	return 0;
}

static void exchange_log(const struct exchange *ex, enum reason reason)
{
	log_denial(&(struct log_denial){
		.method = ex->request.method->name,
		.cgroup = ex->request.cgroup,
		.reason = reason_row(reason)->token,
		.pid = ex->pid,
		.uid = ex->uid,
		.account = ex->account_number,
	});
}

/* What lies in our memory until the reader takes it. */
static int unread_count(struct exchange *ex)
{
	const struct scm_frames *f = &ex->frames;
	size_t size = f->n_pids * sizeof(*f->pids) + (f->n > 0 ? f->ends[f->n - 1] : 0);

	return account_set_unread(ex->account, &ex->unread, size);
}

/* The reader has so long from here to take some more. */
static int timer_set(struct exchange *ex)
{
	struct manager *m = ex->manager;
	uint64_t now, step = m->options->scm_usec;
	int r = sd_event_now(m->event, CLOCK_MONOTONIC, &now);

	if (r < 0)
		return r;
	if (ex->end == 0)
		ex->end = now + STEPS_MAX * step;
	now = now + step < ex->end ? now + step : ex->end;
	if (ex->timer)
		return sd_event_source_set_time(ex->timer, now);
	if (unread_count(ex) < 0) {
		exchange_log(ex, REASON_QUOTA);
		return -EDQUOT;
	}
	return sd_event_add_time(m->event, &ex->timer, CLOCK_MONOTONIC, now, 0, on_late, ex);
}

/* Who used much of the loop's time comes after all others here too. */
static int io_turn(struct exchange *ex)
{
	bool later = account_turn(ex->account, clock_monotonic()) != TURN_NOW;

	return sd_event_source_set_priority(
		ex->io, later ? HUB_PRIORITY_LATER : SD_EVENT_PRIORITY_NORMAL);
}

/* Until it can be written to; once, for what goes on then may wait for the porter. */
static int wait_writable(struct exchange *ex)
{
	int r = 0;

	if (!ex->timer)
		r = timer_set(ex);
	if (r >= 0 && !ex->io)
		r = sd_event_add_io(ex->manager->event, &ex->io, passed_fd(ex->passed), EPOLLOUT,
			on_writable, ex);
	if (r >= 0)
		r = io_turn(ex);
	return r < 0 ? r : sd_event_source_set_enabled(ex->io, SD_EVENT_ONESHOT);
}

/* Until the porter has done some of what it has to do. */
static int wait_porter(struct exchange *ex)
{
	struct manager *m = ex->manager;
	uint64_t now;
	int r = ex->timer ? 0 : timer_set(ex);

	if (r >= 0)
		r = sd_event_now(m->event, CLOCK_MONOTONIC, &now);
	if (r >= 0)
		r = sd_event_add_time(
			m->event, &ex->retry, CLOCK_MONOTONIC, now + RETRY_USEC, 0, on_retry, ex);
	return r;
}

static void on_sent(void *userdata, int result, const struct ucred *none)
{
	struct exchange *ex = userdata;

	(void)none;
	if (result == -EAGAIN) {
		if (wait_writable(ex) < 0)
			exchange_free(ex);
		return;
	}
	if (result < 0 || (ex->timer && timer_set(ex) < 0)) {
		exchange_free(ex);
		return;
	}
	/* Only a stream takes a part. */
	ex->sent += (size_t)result;
	if (ex->sent == ex->frames.ends[ex->piece])
		ex->piece++;
	exchange_send(ex);
}

static int send_piece(struct exchange *ex)
{
	size_t size = ex->frames.ends[ex->piece] - ex->sent;
	int r;

	/* Of a packet it would be too much: piece_max(). */
	if (size > PASSED_SEND_MAX)
		size = PASSED_SEND_MAX;
	r = passed_send(ex->passed, ex->frames.data + ex->sent, size, on_sent, ex);
	return r == -EAGAIN ? wait_porter(ex) : r;
}

/* They go with others' credentials, so the byte means nothing. */
static int send_pids(struct exchange *ex)
{
	const struct scm_frames *f = &ex->frames;
	size_t begin = ex->pids_sent;

	while (ex->pids_sent < f->n_pids && ex->pids_sent < begin + PIDS_A_TURN) {
		int r = -ENOTCONN;

		if (passed_is_pair(ex->passed))
			r = inspect_send_pids(ex->manager->inspector, passed_fd(ex->passed),
				f->pids + ex->pids_sent, f->n_pids - ex->pids_sent);
		if (r == -EPIPE)
			manager_fail(ex->manager, r, "the inspector has ended");
		if (r < 0)
			return r;
		if (r == 0)
			break;
		ex->pids_sent += (size_t)r;
	}
	if (ex->pids_sent == f->n_pids)
		return -ENODATA;
	if (ex->pids_sent > begin && ex->timer && timer_set(ex) < 0)
		return -ENOMEM;
	/* It takes no more now, or it is others' turn. */
	return wait_writable(ex);
}

/* Goes on until it has to wait, and in the end ends it. */
static void exchange_send(struct exchange *ex)
{
	uint64_t now, begun = clock_monotonic();
	int r = ex->piece < ex->frames.n ? send_piece(ex) : send_pids(ex);

	now = clock_monotonic();
	account_charge(ex->account, now, now - begun);
	if (r < 0)
		exchange_free(ex);
}

/* The longest packet that the passed socket can carry. */
static size_t piece_max(const struct exchange *ex)
{
	int type = 0, size = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(passed_fd(ex->passed), SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		getsockopt(passed_fd(ex->passed), SOL_SOCKET, SO_SNDBUF, &size, &len) < 0 ||
		type == SOCK_STREAM || size < PACKET_OVERHEAD)
		return SIZE_MAX;
	size -= PACKET_OVERHEAD;
	return size < PASSED_SEND_MAX ? (size_t)size : PASSED_SEND_MAX;
}

/* Takes the reply, and in the end the exchange. */
static void exchange_finish(struct exchange *ex, struct reply *reply)
{
	const struct method *method = ex->request.method;
	int r;

	if (reply->reason != REASON_OK)
		exchange_log(ex, reply->reason);
	identity_done(&ex->requestor);
	r = scm_frames(method, reply, piece_max(ex), &ex->frames);
	if (r == -EMSGSIZE) {
		reply->reason = REASON_MANY_ENTRIES;
		exchange_log(ex, reply->reason);
		r = scm_frames(method, reply, SIZE_MAX, &ex->frames);
	}
	if (r < 0)
		exchange_free(ex);
	else
		exchange_send(ex);
}

static void exchange_fail(struct exchange *ex, enum reason reason)
{
	struct reply reply = {.reason = reason};

	exchange_finish(ex, &reply);
}

void scm_answer(struct op *op)
{
	struct exchange *ex = op->scm;

	ex->op = NULL;
	exchange_finish(ex, &op->reply);
	op_free(op);
}

/*
 * Who is asking, and for whom.
 */

static bool is_peer(const struct peer *peer, const struct ucred *cred)
{
	const struct identity *i = &peer->identity;

	return cred->pid == i->pid && cred->uid == i->uid && cred->gid == i->gid;
}

static enum reason requestor_find(struct exchange *ex, struct op *op, const struct ucred *cred)
{
	int r;

	if (is_peer(ex->peer, cred))
		return REASON_OK;
	r = identity_claim(&ex->requestor, cred, ex->manager->proc_fd);
	if (r >= 0)
		r = op_speak(op, &ex->requestor);
	switch (r) {
	case -EPERM:
		return REASON_SPEAK_IDS;
	case -ESRCH:
		return REASON_SPEAK_MISSING;
	default:
		return r < 0 ? REASON_INTERNAL : REASON_OK;
	}
}

static enum reason reason_of(int result)
{
	switch (result) {
	case -ETIMEDOUT:
		return REASON_SCM_TIMEOUT;
	case -EDQUOT:
		return REASON_QUOTA;
	default:
		return REASON_SCM_CREDENTIALS;
	}
}

static void exchange_go_on(struct exchange *ex, int result, const struct ucred *creds)
{
	enum reason reason;
	struct op *op;

	if (result < 0) {
		exchange_fail(ex, reason_of(result));
		return;
	}
	peer_wake(ex->peer);
	op = op_new(ex->manager, ex->peer);
	if (!op) {
		exchange_fail(ex, REASON_INTERNAL);
		return;
	}
	ex->op = op;
	op->scm = ex;
	op->message = sd_bus_message_ref(ex->message);
	op->request = ex->request;
	if (ex->request.method->claim == CLAIM_VICTIM)
		op->request.pid = creds[1].pid;
	op->request.uid = (int32_t)creds[1].uid;
	op->request.gid = (int32_t)creds[1].gid;
	reason = requestor_find(ex, op, &creds[0]);
	if (reason == REASON_OK) {
		op_run(op);
		return;
	}
	op->reply.reason = reason;
	scm_answer(op);
}

static void on_credentials(void *userdata, int result, const struct ucred *creds)
{
	uint64_t now, begun = clock_monotonic();
	struct exchange *ex = userdata;
	struct peer *peer = ex->peer;

	exchange_go_on(ex, result, creds);
	/* The exchange may be over. */
	now = clock_monotonic();
	account_charge(peer->account, now, now - begun);
}

/*
 * The call.
 */

/* The other end is asked for credentials. It must be there, and take the byte at once. */
static enum reason exchange_open(struct exchange *ex)
{
	char byte[] = "1";
	struct iovec iov = {byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fd = passed_fd(ex->passed);

	if (passed_kind(ex->passed) != PASSED_SOCKET || !passed_is_pair(ex->passed) ||
		sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return REASON_SCM_SOCKET;
	return REASON_OK;
}

static enum reason exchange_start(struct exchange *ex)
{
	bool two = ex->request.method->claim != CLAIM_NOTHING;
	enum reason reason;

	if (!ex->passed)
		return REASON_SCM_SOCKET;
	if (account_take_exchange(ex->peer->account) < 0)
		return REASON_QUOTA;
	ex->account = ex->peer->account;
	reason = exchange_open(ex);
	if (reason != REASON_OK)
		return reason;
	ex->next = ex->manager->exchanges;
	ex->link = &ex->manager->exchanges;
	if (ex->next)
		ex->next->link = &ex->next;
	ex->manager->exchanges = ex;
	return passed_receive(ex->passed, two ? 2 : 1, ex->manager->options->scm_usec,
		       on_credentials, ex) < 0
		       ? REASON_INTERNAL
		       : REASON_OK;
}

void scm_start(struct peer *peer, sd_bus_message *m, const struct request *request)
{
	__attribute__((cleanup(exchange_freep))) struct exchange *ex = calloc(1, sizeof(*ex));
	struct reply reply = {.reason = REASON_INTERNAL};

	if (ex) {
		ex->manager = peer->manager;
		ex->peer = peer;
		ex->account_number = peer->account->number;
		ex->passed = transport_take_passed(peer->transport);
		ex->message = sd_bus_message_ref(m);
		ex->request = *request;
		ex->requestor = IDENTITY_NONE;
		ex->pid = peer->identity.pid;
		ex->uid = peer->identity.uid;
		reply.reason = exchange_start(ex);
		if (reply.reason != REASON_OK)
			exchange_log(ex, reply.reason);
	}
	if (dispatch_reply(m, request, &reply) < 0)
		log_line(LOG_DEBUG, "no answer could be sent to pid %d, ignoring",
			peer->identity.pid);
	if (reply.reason == REASON_OK)
		(void)TAKE_PTR(ex);
}

void scm_peer_gone(struct peer *peer)
{
	struct exchange *next;

	for (struct exchange *ex = peer->manager->exchanges; ex; ex = next) {
		next = ex->next;
		if (ex->peer != peer)
			continue;
		ex->peer = NULL;
		if (ex->op)
			ex->op->peer = NULL;
		/* Without the peer nobody is there to be judged. */
		else if (ex->frames.n == 0)
			exchange_free(ex);
	}
}

void scm_finish(struct manager *manager)
{
	while (manager->exchanges)
		exchange_free(manager->exchanges);
}
