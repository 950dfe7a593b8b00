/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cleanup.h"
#include "worker-core.h"

static void fds_take(const struct cmsghdr *c, struct wire_fds *fds)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		if (fds->n < WIRE_FDS_MAX) {
			fds->fd[fds->n++] = fd;
		} else {
			fds->cut = true;
			close(fd);
		}
	}
}

ssize_t wire_receive(int sock, void *buf, size_t size, struct wire_fds *fds)
{
	union {
		char buf[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {buf, size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			fds_take(c, fds);
	if (msg.msg_flags & MSG_CTRUNC)
		fds->cut = true;
	return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

void wire_fds_close(struct wire_fds *fds)
{
	for (unsigned i = 0; i < fds->n; i++)
		close_fd(&fds->fd[i]);
	fds->n = 0;
}

bool wire_is_listener(const struct worker *w, int fd)
{
	static const char listener[] = "anon_inode:seccomp notify";
	char path[32], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "self/fd/%d", fd);
	n = readlinkat(w->proc, path, target, sizeof(target));
	return n == sizeof(listener) - 1 && memcmp(target, listener, sizeof(listener) - 1) == 0;
}
