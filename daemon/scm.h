/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Scm exchange: a call whose requestor, and whom it is about, come as credentials over a socket
 * that the client passes, and whose result goes there. It is how a proxy speaks for others.
 *
 *   call -> socket judged by a porter -> '1' and the empty D-Bus reply -> credentials, by the
 *   porter -> an op like any other, with a requestor and, if that is not the peer itself, a proxy
 *   -> result in pieces, at the pace of the reader
 *
 * Several may be under way on one connection; none holds up its other calls. The core sends
 * no more on the socket than the first '1': a client can connect it to somebody who believes our
 * credentials, so it must be a socketpair's, and what the client can choose goes by the porter,
 * whose credentials mean nothing. Each step that waits for the client has a time-out.
 */
#pragma once

#include "op.h"

struct exchange;

/* A call of a twin. Answers it on the bus, now. */
void scm_start(struct peer *peer, sd_bus_message *m, const struct request *request);

/* The result of an op with op->scm. Frees the op. */
void scm_answer(struct op *op);

/* The connection ends: what waits for credentials ends with it; what is being done is done, and
 * what is being sent is sent. */
void scm_peer_gone(struct peer *peer);

/* All that are left. */
void scm_finish(struct manager *manager);
