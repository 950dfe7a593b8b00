/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lxc-next.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../cleanup.h"
#include "worker-core.h"

static int next_connect(struct lxc_next *next, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	/* EAGAIN: its queue of connections is full. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	next->fd = TAKE_FD(fd);
	return 0;
}

static int packet_send(int sock, const void *packet, size_t size, const struct wire_fds *fds)
{
	union {
		char buf[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)packet, size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(fds->n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(fds->n * sizeof(int));
	memcpy(CMSG_DATA(c), fds->fd, fds->n * sizeof(int));
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Over the connection that there is, or a new one where that has been closed meanwhile. */
static int next_send(struct lxc_next *next, struct worker *w, const void *packet, size_t size,
	const struct wire_fds *fds)
{
	int r = next->fd < 0 ? -EPIPE : packet_send(next->fd, packet, size, fds);

	if (r != -EPIPE && r != -ECONNRESET)
		return r;
	close_fd(&next->fd);
	r = next_connect(next, w->serve.next);
	return r < 0 ? r : packet_send(next->fd, packet, size, fds);
}

static int next_receive(struct lxc_next *next, struct worker *w, const struct lxc_call *call,
	struct seccomp_notif_resp *ret)
{
	uint8_t answer[sizeof(*call) + 1];
	ssize_t n;

	if (!worker_wait(w, next->fd, POLLIN, LXC_NEXT_MSEC))
		return -ETIMEDOUT;
	/* Without room for fds none come. */
	n = recv(next->fd, answer, sizeof(answer), MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	return lxc_answer_parse(answer, (size_t)n, call, ret);
}

int lxc_next_ask(struct lxc_next *next, struct worker *w, const void *packet, size_t size,
	const struct wire_fds *fds, const struct lxc_call *call, struct seccomp_notif_resp *ret)
{
	int r = next_send(next, w, packet, size, fds);

	r = r ?: next_receive(next, w, call, ret);
	/* What it may yet answer must not be taken for the answer to the next. */
	if (r < 0)
		close_fd(&next->fd);
	return r;
}
