/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One connection of an OCI runtime's, which sends the state of a container with the listener of its
 * seccomp filter (policy/oci-state.h), once. From there on the listener is served, not the
 * connection. Runtimes connect before they start a container, at whose end without a byte it was
 * not started.
 */
#include <errno.h>
#include <poll.h>

#include "../../policy/oci-state.h"
#include "../cleanup.h"
#include "worker-core.h"
#include "worker-wire.h"

/* From its first byte to its last. */
#define STATE_MSEC 5000

struct oci {
	struct worker *w;
	uint64_t deadline; /* 0: nothing came yet */
	size_t size;
	char text[OCI_STATE_MAX + 1];
	struct wire_fds fds;
};

/* Negative: the connection is over, for a reason that was told or for none. */
static int drop(struct oci *o, enum perf_news news)
{
	worker_news(o->w, news);
	return -EPIPE;
}

/* 1: there is more; else as drop(). */
static int more_wait(struct oci *o)
{
	uint64_t now = worker_msec();
	int msec = -1;

	if (o->deadline != 0)
		msec = now < o->deadline ? (int)(o->deadline - now) : 0;
	return worker_wait(o->w, o->w->channel, POLLIN, msec) ? 1 : drop(o, PERF_NEWS_HALF);
}

static int state_refuse(struct oci *o, int error)
{
	switch (error) {
	case -E2BIG:
		return drop(o, PERF_NEWS_SIZE);
	case -EAGAIN:
		return o->size == sizeof(o->text) ? drop(o, PERF_NEWS_SIZE) : 0;
	default:
		return drop(o, PERF_NEWS_JSON);
	}
}

/* 1: all of it is there; 0: not yet; else as drop(). */
static int state_read(struct oci *o)
{
	ssize_t n =
		wire_receive(o->w->channel, o->text + o->size, sizeof(o->text) - o->size, &o->fds);
	int r;

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0)
		return o->size > 0 || o->fds.n > 0 ? drop(o, PERF_NEWS_HALF) : -EPIPE;
	if (o->deadline == 0)
		o->deadline = worker_msec() + STATE_MSEC;
	o->size += (size_t)n;
	if (o->fds.cut || o->fds.n > 1)
		return drop(o, PERF_NEWS_FDS);
	r = oci_state_check(o->text, o->size);
	return r < 0 ? state_refuse(o, r) : 1;
}

/* The listener, or as drop(). */
static int listener_receive(struct oci *o)
{
	int r;

	do {
		r = more_wait(o);
		if (r > 0)
			r = state_read(o);
	} while (r == 0);
	if (r < 0)
		return r;
	if (o->fds.n != 1 || !wire_is_listener(o->w, o->fds.fd[0]))
		return drop(o, PERF_NEWS_FDS);
	return TAKE_FD(o->fds.fd[0]);
}

_Noreturn void perf_worker_oci(struct worker *w)
{
	static struct oci o;
	int listener;

	o.w = w;
	listener = listener_receive(&o);
	if (listener < 0) {
		wire_fds_close(w, &o.fds);
		wire_end(w);
	}
	worker_found(w, listener);
}
