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

/* As it is known, without asking the file system. */
static bool device_of(int fd, struct statx *ret)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, ret) == 0;
}

static bool same_device(const struct statx *st, uint32_t major, uint32_t minor)
{
	return st->stx_dev_major == major && st->stx_dev_minor == minor;
}

/* An anonymous file, or of the file system that /proc is. */
static bool can_close(const struct worker *w, const struct statx *proc, int fd)
{
	struct statx st;

	return fd < 0 || (device_of(fd, &st) &&
				 (same_device(&st, proc->stx_dev_major, proc->stx_dev_minor) ||
					 (st.stx_ino == w->anon_ino &&
						 same_device(&st, w->anon_major, w->anon_minor))));
}

void wire_fds_close(struct worker *w, struct wire_fds *fds)
{
	static struct statx proc;

	/* It stays what it is: it is held. */
	if (proc.stx_ino == 0 && !device_of(w->proc, &proc))
		worker_fail(w);
	for (unsigned i = 0; i < fds->n; i++) {
		if (can_close(w, &proc, fds->fd[i]))
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
