/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One connection of LXC's, which takes the notifications of its container itself and sends them
 * here, one at a time (policy/lxc-wire.h). Its answer ends the waiting, so an event is given to the
 * thread without that; with both LXC would log an error a call.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "../../policy/lxc-wire.h"
#include "../cleanup.h"
#include "lxc-next.h"
#include "lxc-peer.h"
#include "worker-core.h"
#include "worker-wire.h"

/* LXC itself reads the answer at once, or has given up. */
#define ANSWER_MSEC 2000

struct lxc {
	struct worker *w;
	struct lxc_peer peer;
	struct lxc_next next;
};

struct lxc_packet {
	struct lxc_call call;
	size_t size;
	uint8_t bytes[LXC_CALL_MAX];
	struct wire_fds fds;
};

/* Dropped: the connection ends, and LXC answers ENOSYS by itself. */
static int drop(struct worker *w, enum perf_news news)
{
	atomic_fetch_add(&w->slot->dropped, 1);
	worker_news(w, news);
	return -EPIPE;
}

/* 0; -EAGAIN: nothing came; -EPIPE: the connection is over. */
static int packet_receive(struct worker *w, struct lxc_packet *p)
{
	ssize_t n = wire_receive(w->channel, p->bytes, sizeof(p->bytes), &p->fds);
	int r;

	if (n == -EAGAIN || n == -EINTR)
		return -EAGAIN;
	if (n == -EMSGSIZE)
		return drop(w, PERF_NEWS_SIZE);
	if (n <= 0)
		return p->fds.n > 0 ? drop(w, PERF_NEWS_HALF) : -EPIPE;
	p->size = (size_t)n;
	r = lxc_call_parse(p->bytes, p->size, &p->call);
	if (r < 0)
		return drop(w, p->size < sizeof(p->call) ? PERF_NEWS_HALF : PERF_NEWS_SIZE);
	if (p->fds.cut || p->fds.n != LXC_CALL_FDS ||
		!wire_is_listener(w, p->fds.fd[LXC_FD_LISTENER]))
		return drop(w, PERF_NEWS_FDS);
	return 0;
}

static int answer_send(struct worker *w, const struct lxc_call *call)
{
	for (;;) {
		ssize_t n = send(w->channel, call, sizeof(*call), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0)
			return 0;
		if (errno != EAGAIN)
			return -EPIPE;
		if (!worker_wait(w, w->channel, POLLOUT, ANSWER_MSEC))
			return drop(w, PERF_NEWS_DEAF);
	}
}

/* The number that the event gets there, or a negative errno. */
static int event_give(const struct lxc_packet *p, int held, const struct worker_answer *a)
{
	/* Its facts were asked for by a number that a packet names. */
	if (!lxc_thread_there(held))
		return -ESTALE;
	return worker_inject(p->fds.fd[LXC_FD_LISTENER], p->call.notif.id, a, false);
}

static int perf_event(struct lxc *l, const struct lxc_packet *p, int held)
{
	struct worker_answer a = {.fd = -EBADF};
	int r = worker_handle(l->w, p->fds.fd[LXC_FD_LISTENER], &p->call.notif, &a);

	if (r >= 0)
		r = a.err < 0 ? a.err : event_give(p, held, &a);
	close_fd(&a.fd);
	return r;
}

static void perf_call(struct lxc *l, const struct lxc_packet *p, struct lxc_call *call)
{
	_cleanup_close_ int held = lxc_thread_hold(l->w->proc, (pid_t)call->notif.pid);
	int r = held < 0 ? held : lxc_peer_check(&l->peer, l->w->proc, held, call);

	if (r == -EPERM) {
		atomic_fetch_add(&l->w->slot->dropped, 1);
		worker_news(l->w, PERF_NEWS_PEER);
	}
	r = r < 0 ? -ENOSYS : perf_event(l, p, held);
	lxc_call_answer(call, r < 0 ? 0 : r, r < 0 ? r : 0, 0);
}

/* 0; negative: nobody answers it. */
static int next_ask(struct lxc *l, struct lxc_packet *p, struct seccomp_notif_resp *ret)
{
	int r;

	if (l->w->serve.next[0] == '\0') {
		worker_news(l->w, PERF_NEWS_CALL);
		return -ENOSYS;
	}
	/* To the next proxy all that comes from here is from host root. */
	if (!l->peer.known || !l->peer.root) {
		worker_news(l->w, PERF_NEWS_PEER);
		return -EPERM;
	}
	r = lxc_next_ask(&l->next, l->w, p->bytes, p->size, &p->fds, &p->call, ret);
	if (r < 0)
		worker_news(l->w, PERF_NEWS_NEXT);
	return r;
}

static void other_call(struct lxc *l, struct lxc_packet *p, struct lxc_call *call)
{
	struct seccomp_notif_resp resp = {.error = -ENOSYS};

	if (next_ask(l, p, &resp) < 0)
		atomic_fetch_add(&l->w->slot->dropped, 1);
	lxc_call_answer(call, resp.val, resp.error, resp.flags);
}

/* Negative: the connection is over. */
static int packet_serve(struct lxc *l, struct lxc_packet *p)
{
	struct lxc_call call;
	int r = packet_receive(l->w, p);

	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	call = p->call;
	worker_pace(l->w);
	if (worker_is_ours(&call.notif.data)) {
		worker_busy(l->w);
		perf_call(l, p, &call);
		worker_idle(l->w);
	} else {
		other_call(l, p, &call);
	}
	return answer_send(l->w, &call);
}

_Noreturn void perf_worker_lxc(struct worker *w)
{
	struct lxc l = {.w = w, .next = {-EBADF}};
	static struct lxc_packet packet;
	int r;

	l.peer = lxc_peer_of(w->channel, w->proc, w->serve.peer_pid, (uid_t)w->serve.peer_uid);
	do {
		worker_wait(w, w->channel, POLLIN, -1);
		r = packet_serve(&l, &packet);
		wire_fds_close(w, &packet.fds);
	} while (r >= 0);
	wire_end(w);
}
