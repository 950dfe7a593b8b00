/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes with fds from somebody who is not the core: LXC's packets, an OCI runtime's message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct worker;

#define WIRE_FDS_MAX 4

struct wire_fds {
	unsigned n;
	bool cut; /* there were more */
	int fd[2 * WIRE_FDS_MAX];
};

/* What there is, without waiting; its fds, WIRE_FDS_MAX at most, are added to *fds, which has no
 * more yet. As recvmsg(2), but a negative errno; larger than `size` (of SOCK_SEQPACKET): -EMSGSIZE.
 */
ssize_t wire_receive(int sock, void *buf, size_t size, struct wire_fds *fds);
/* Closes what can be closed: a file system of the peer's may make that wait for ever. */
void wire_fds_close(struct worker *w, struct wire_fds *fds);

/* The connection is over, and so the worker. */
_Noreturn void wire_end(struct worker *w);

/* A seccomp listener? Asks nobody's file system. */
bool wire_is_listener(const struct worker *w, int fd);
