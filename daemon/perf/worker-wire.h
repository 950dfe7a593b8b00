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
	int fd[WIRE_FDS_MAX];
};

/* What there is, without waiting; its fds are added to *fds, the caller's. As recvmsg(2), but a
 * negative errno; larger than `size` (of SOCK_SEQPACKET): -EMSGSIZE. */
ssize_t wire_receive(int sock, void *buf, size_t size, struct wire_fds *fds);
void wire_fds_close(struct wire_fds *fds);
#define _cleanup_wire_fds_ __attribute__((cleanup(wire_fds_close)))

/* A seccomp listener? Asks nobody's file system. */
bool wire_is_listener(const struct worker *w, int fd);
