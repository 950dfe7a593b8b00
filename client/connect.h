/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How an invocation reaches the daemon, and what is told where it does not. Nothing is printed. */
#pragma once

#include <stdint.h>

#include <systemd/sd-bus.h>

#include "invocation.h"

/*
 * To the daemon that the invocation names, else the first that is there; see link_open(). On
 * failure ret_error holds what to tell, which the caller frees, NULL: there is no memory for it.
 * ret_address is the invocation's or static.
 */
int connect_daemon(const struct invocation *inv, bool fds, uint64_t deadline, sd_bus **ret,
	const char **ret_address, char **ret_error);

/* What to tell of a call that failed with -r (as link_call()), the caller's; NULL: no memory. */
char *call_error_text(const struct invocation *inv, const char *address, int r);

/* What the daemon said when it refused; never NULL. */
const char *refusal_text(const sd_bus_error *error);
