/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sockets that clients connect to. One is ours for as long as we hold an flock on PATH.lock; a
 * stale one (nobody holds the lock, nobody answers) is replaced by bind to a temporary name and
 * rename(2), so that there is never a moment without.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "porter.h"

struct listener;

struct listener_ops {
	void (*accepted)(void *userdata, int fd); /* takes fd, non-blocking and close-on-exec */
	/* How long nobody is to be accepted from now on, in microseconds; 0: no time at all. May be
	 * NULL. */
	uint64_t (*pause)(void *userdata);
	int type;	/* of the socket that is made; 0: SOCK_STREAM */
	bool takes_fds; /* at once, and not only when they were asked for (SO_PASSRIGHTS, 6.16) */
};

/* `porters` may be NULL, see porters_bury(): what waits unaccepted may carry fds.
 * -EADDRINUSE: another instance serves it (left alone). -ENOTSOCK: something else has that name
 * (left alone). Makes the directory (0755) if it is missing. Mode of the socket: 0666. */
int listener_new_path(sd_event *event, struct porters *porters, const char *path,
	const struct listener_ops *ops, void *userdata, struct listener **ret);
/* An inherited listening stream socket of AF_UNIX (LISTEN_FDS); takes fd. -EINVAL: it is not one.
 */
int listener_new_fd(sd_event *event, struct porters *porters, int fd,
	const struct listener_ops *ops, void *userdata, struct listener **ret);
/* Closes; removes a socket that we made, if it is still ours. Returns NULL. */
struct listener *listener_free(struct listener *l);

/* Out of fds: accepts with the spare fd, closes at once, and pauses accepting for 100 ms rather
 * than spin; see listener.c. */
