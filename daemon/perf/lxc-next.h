/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --lxc-next: another proxy of LXC's, which answers what is not perf_event_open. */
#pragma once

#include "../../policy/lxc-wire.h"
#include "worker-wire.h"

struct worker;

struct lxc_next {
	int fd; /* the connection, or -EBADF */
};

/* LXC itself waits for 30 s. */
#define LXC_NEXT_MSEC 10000

/* Sends LXC's packet as it came, and waits for the answer, while the core is served. *ret is the
 * proxy's word, whatever it is. -ETIMEDOUT and others: it is not there or does not answer. */
int lxc_next_ask(struct lxc_next *next, struct worker *w, const void *packet, size_t size,
	const struct wire_fds *fds, const struct lxc_call *call, struct seccomp_notif_resp *ret);
