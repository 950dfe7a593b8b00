/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker-wire.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cleanup.h"
#include "worker-core.h"

static void fds_take(const struct cmsghdr *c, struct wire_fds *fds)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	assert(n <= WIRE_FDS_MAX && fds->n <= WIRE_FDS_MAX);
	memcpy(fds->fd + fds->n, CMSG_DATA(c), n * sizeof(int));
	fds->n += (unsigned)n;
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
	struct cmsghdr *c;

	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		fds_take(c, fds);
	if (msg.msg_flags & MSG_CTRUNC)
		fds->cut = true;
	return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

/* On the file system that /proc is? As it is known, without asking it. */
static bool is_proc(const struct worker *w, int fd)
{
	const int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
	struct statx st, proc;

	return statx(fd, "", flags, STATX_INO, &st) == 0 &&
	       statx(w->proc, "", flags, STATX_INO, &proc) == 0 &&
	       st.stx_dev_major == proc.stx_dev_major && st.stx_dev_minor == proc.stx_dev_minor;
}

void wire_fds_close(struct worker *w, struct wire_fds *fds)
{
	for (unsigned i = 0; i < fds->n; i++) {
		if (fds->fd[i] < 0 || worker_is_anon(w, fds->fd[i]) || is_proc(w, fds->fd[i]))
			close_fd(&fds->fd[i]);
		else
			worker_strand(w, &fds->fd[i]);
	}
	fds->n = 0;
	fds->cut = false;
}

_Noreturn void wire_end(struct worker *w)
{
	/* The core's copy of it is closed some time later. */
	shutdown(w->channel, SHUT_RDWR);
	worker_done(w);
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
