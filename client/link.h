/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to the daemon: peer to peer, no bus. Nothing here waits beyond `deadline`,
 * an instant of CLOCK_MONOTONIC in microseconds; link_deadline() makes one. Nothing is printed.
 */
#pragma once

#include <stdint.h>

#include <systemd/sd-bus.h>

#include "invocation.h"

uint64_t link_deadline(unsigned seconds);

/*
 * Connects to the first of `addresses` (NULL at the end) that exists: only -ENOENT makes it try the
 * next one. ret_address (also set on failure) is the one that counted. `fds`: some are to be sent.
 * -ETIMEDOUT: no connection in time; -ECONNRESET: closed while authenticating; -EINVAL: not an
 * address; -E2BIG: a path too long; else what connect(2) gives.
 */
int link_open(const char *const *addresses, bool fds, uint64_t deadline, sd_bus **ret,
	const char **ret_address);

/*
 * Calls and waits for the answer. > 0: ret_error holds the daemon's refusal. -EBADMSG: the answer
 * is not of the promised type; -ETIMEDOUT; -ECONNRESET.
 */
int link_call(sd_bus *bus, const struct invocation *inv, uint64_t deadline, sd_bus_message **ret,
	sd_bus_error *ret_error);

/* Hands a seccomp listener over; it stays the caller's. The connection was opened for fds. As
 * link_call(). */
int link_attach(sd_bus *bus, int listener, uint64_t deadline, sd_bus_error *ret_error);

/* The property Scope, standing at its `a{ss}`. -EOPNOTSUPP: the daemon refuses; else as above. */
int link_get_scope(sd_bus *bus, uint64_t deadline, sd_bus_message **ret);
