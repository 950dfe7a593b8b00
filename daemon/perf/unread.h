/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events that were sent and that their clients have perhaps not read. The kernel counts fds in
 * flight by their sender's uid, and refuses that to send more when they are as many as it may have
 * open (unix(7), ETOOMANYREFS): a client that reads none would keep the daemon from passing any to
 * anybody, porters and workers among them. So an account has few, and they are its own also when
 * the connection has ended but the client still holds its end.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#define PERF_UNREAD_MAX 64

struct account;
struct manager;
struct peer;

/* Where a connection has ended with some unread. */
struct perf_unread {
	LIST_ENTRY(perf_unread) list;
	struct account *account;
	int fd; /* ours of the connection */
	unsigned n;
};
LIST_HEAD(perf_unreads, perf_unread);

/* One more is about to be sent. -EDQUOT. Host root's are not counted. */
int unread_take(struct peer *peer);
/* The connection ends; before its transport goes. */
void unread_gone(struct peer *peer);
/* Looks which have been read; true: some are left. */
bool unread_sweep(struct manager *m);
/* All are forgotten. */
void unread_done(struct manager *m);
