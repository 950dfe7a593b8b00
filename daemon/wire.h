/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon's processes say to each other: packets over a SOCK_SEQPACKET pair, each a struct
 * of fixed size, perhaps a tail, and at most one fd. All are the same program, so there are no
 * versions.
 */
#pragma once

#include <stddef.h>

/* `fd` < 0: none. The fd stays the caller's. Waits as the socket does; -EAGAIN: it does not, or its
 * time-out. -EPIPE: the other end is gone. */
int wire_send(int sock, const void *data, size_t size, int fd);

/*
 * Receives one packet of exactly `size` bytes; the fd in it, or -EBADF, goes to *ret_fd. -EPIPE:
 * the other end is gone. -EPROTO: another size, or an fd that did not arrive. -EAGAIN: the socket's
 * time-out.
 */
int wire_recv(int sock, void *data, size_t size, int *ret_fd);

/* Bytes behind it, in the same packet. */
struct wire_tail {
	void *data;
	size_t size; /* to receive: how many there may be, and then how many there are */
};
int wire_send_tail(int sock, const void *data, size_t size, const struct wire_tail *tail, int fd);
int wire_recv_tail(int sock, void *data, size_t size, struct wire_tail *tail, int *ret_fd);
