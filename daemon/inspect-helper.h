/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A helper: a process of the inspector's in another pid namespace. It does nothing but exchange
 * credentials with the inspector over a SOCK_SEQPACKET pair on which both ends have SO_PASSCRED,
 * for then the kernel translates the numbers in them (unix(7), pid_namespaces(7)).
 *
 * Order: one struct order. For TO_NAMESPACE the inspector then sends the numbers as credentials,
 * and the helper answers with an order that holds what it received. For TO_HOST the order holds the
 * numbers, and the helper answers with credentials.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "inspect-wire.h"
#include "wire.h"

/* One end; the inspector's waits no longer than `until`, nor while the helper is stopped. */
struct channel {
	int sock;
	int pidfd;	/* the helper's; -EBADF: we are the helper, and wait as long as it takes */
	uint64_t until; /* CLOCK_MONOTONIC, milliseconds */
};

enum order_op { TO_NAMESPACE, TO_HOST };

struct order {
	uint32_t op;
	uint32_t n; /* of pids */
	int32_t pids[INSPECT_PIDS_MAX];
};

/* All of these: -EPIPE: the other end is gone; -ESRCH: the helper was stopped; -ETIMEDOUT. */
int order_send(const struct channel *ch, const struct order *order);
int order_receive(const struct channel *ch, struct order *ret);

/* A packet for each number above 0, with its place in the list, and one that ends the list. What
 * our pid namespace does not have is left out. */
int creds_send(const struct channel *ch, const int32_t *pids, uint32_t n);
/* INSPECT_PIDS_MAX numbers; 0 where none came, or our pid namespace does not have it. */
int creds_receive(const struct channel *ch, int32_t *ret);

uint64_t monotonic_msec(void);

/* The helper's own end: takes `sock`, answers until the other end closes. */
_Noreturn void helper_run(int sock);
