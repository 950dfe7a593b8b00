/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One client's connection: an sd_bus that never reads a byte which was not judged first.
 *
 * sd-bus reads only from a socketpair of ours, into which we put what was judged: during
 * authentication one line at a time, because sd-bus reads ahead of BEGIN; after it one message at a
 * time. The client's socket is peeked first: a message's size is bounded from its header, and no
 * control buffer is given, so that a passed fd shows as MSG_CTRUNC and is never received.
 *
 * Nor is anything dropped that may be the last reference to a passed fd, which could wait as long
 * as a client likes: once a peek has shown fds nothing is taken before a porter has looked at them
 * and holds them. One fd of enum passed_kind, on a message that comes whole and in one piece from a
 * client that negotiated fds, is what we take: sd-bus is fed a dummy in its place. All else ends
 * the connection, with what is in its queue left to the undertaker.
 *
 * sd-bus cannot be let loose on the client's socket even for one message: what it finds malformed
 * it skips silently, and reads on.
 *
 * Replies go to the client's socket directly. So to sd-bus the peer's credentials are the daemon's
 * own: sd_bus_query_sender_creds() and vtables' privilege checks must not be used; see identity.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "porter.h"

struct transport_limits {
	uint32_t message_max; /* bytes of one message, header included: 65536 */
	/* Replies queued from which on nothing is read: 1, for what is queued is beyond the
	 * socket's buffer, which is full then. */
	unsigned replies_pause;
	unsigned replies_max;  /* ... and dropped: 64 */
	unsigned dispatch_max; /* messages handled in one wake: 16 */
	uint64_t auth_usec;    /* from accept to BEGIN: 5 s */
	uint64_t message_usec; /* from a message's first byte to its last: 5 s. Also how long a peer
				  may read nothing while replies_pause replies wait for it */
	int send_buffer;       /* SO_SNDBUF: 65536 */
};
extern const struct transport_limits transport_limits_default;

struct transport;

enum turn {
	TURN_NOW,
	TURN_LATER, /* when there is nothing else to do */
	TURN_WAIT,  /* not before transport_resume() */
};

struct transport_ops {
	/* An authenticated client's message, judged and parsed. May call transport_hold(); may not
	 * free the transport. A negative errno ends the connection. */
	int (*message)(void *userdata, sd_bus_message *m);
	/* The connection is over (why: static text for the log). Called once, from the loop, never
	 * within another call; the owner frees the transport in it. It may come while the transport
	 * is held, but a peer that only closed is noticed after transport_resume(). */
	void (*closed)(void *userdata, const char *why);
	/* Whose turn it is: asked before the connection is worked on, at `now` (CLOCK_MONOTONIC,
	 * ns). May be NULL: always now. */
	enum turn (*turn)(void *userdata, uint64_t now);
	/* The connection was worked on, and took `cost` ns of the loop's thread up to `now`. May be
	 * NULL. */
	void (*worked)(void *userdata, uint64_t now, uint64_t cost);
};

/* Takes `fd` (also on failure). `limits`, `ops` and `porters` are borrowed for the transport's
 * life. `account`: whose porter looks at fds. `porters` may be NULL, for tests: then every fd ends
 * the connection, and may be waited for. All transports of a process are on one event loop (-EBUSY)
 * of one thread. -EINVAL: message_max is over 65536. */
int transport_new(sd_event *event, struct porters *porters, uint64_t account, int fd,
	const struct transport_limits *limits, const struct transport_ops *ops, void *userdata,
	struct transport **ret);
/* Closes without flushing: a peer that does not read would hold us for ever. Returns NULL. */
struct transport *transport_free(struct transport *t);

/* Within ops->message: what came with the message, or NULL. The caller's then; what is
 * not taken is freed after the callback. The fd that sd-bus shows is not it, and good for nothing.
 */
struct passed *transport_take_passed(struct transport *t);

/* A request is being worked on elsewhere: no message is read until resume, so that the requests of
 * one connection keep their order. */
void transport_hold(struct transport *t);
void transport_resume(struct transport *t);

/* After a reply was sent outside of ops->message. */
void transport_flush(struct transport *t);

/* Does anything wait that the socket did not take? */
bool transport_queued(struct transport *t);
/* Ends the connection from the loop, as if it had ended by itself. `why`: static text. */
void transport_drop(struct transport *t, const char *why);
