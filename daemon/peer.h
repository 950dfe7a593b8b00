/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One client: who it is, its connection, and the one call of it that is under way. */
#pragma once

#include <sys/types.h>

#include "account.h"
#include "identity.h"
#include "op.h"
#include "transport.h"

struct manager;

struct peer {
	struct manager *manager;
	LIST_ENTRY(peer) list;
	TAILQ_ENTRY(peer) recent;
	struct identity identity;
	struct account *account; /* whose quotas it uses up: inspect_account() */
	struct waiter waiter;
	struct transport *transport;
	uint64_t unique; /* dispatch_ops.unique */
	/* Bytes of the answer that was sent last, and of those that the client has not read. */
	size_t answer, unread;
	struct op *op;	 /* on a worker; the connection is held meanwhile */
	unsigned events; /* see perf/unread.h */
	bool is_counted, is_linked, is_recent;
};

/* What all peers share, in the manager. */
int peers_init(struct manager *manager);
/* Ends all connections. */
void peers_done(struct manager *manager);

/* Takes `fd`. Who is over a quota, or already gone, is closed and logged. */
void peer_accept(struct manager *manager, int fd);
/* How long no more are to be accepted, in microseconds. */
uint64_t peers_pause(struct manager *manager);
struct peer *peer_free(struct peer *peer);

/* It is about to be looked at: whoever was not for longest holds nothing more. */
void peer_wake(struct peer *peer);

/* The answer of an op that was on a worker (or not). Frees the op. */
void peer_answer(struct op *op);
