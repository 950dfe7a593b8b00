/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inspector's work for lists of processes that travel as credentials. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inspect-core.h"

/* One byte, and with `pid` > 0 its credentials (unix(7), SCM_CREDENTIALS). */
static int send_pid(int sock, pid_t pid)
{
	union {
		char space[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {0};
	char byte[] = "1";
	struct iovec iov = {byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (pid > 0) {
		const struct ucred cred = {.pid = pid};
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof(cred));
		memcpy(CMSG_DATA(c), &cred, sizeof(cred));
	}
	do
		n = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Its number was announced: when one has ended, another of the list stands for it, and where all
 * have, a byte that names nobody but us. What has ended is not tried again. */
static int send_or_substitute(int sock, int32_t *pids, size_t n, size_t at)
{
	int r = -ESRCH;

	for (size_t i = 0; r == -ESRCH && i < n; i++) {
		int32_t *pid = &pids[(at + i) % n];

		if (*pid > 0)
			r = send_pid(sock, *pid);
		if (r == -ESRCH)
			*pid = 0;
	}
	return r == -ESRCH ? send_pid(sock, 0) : r;
}

int answer_pids(const struct inspect_request *q, int sock)
{
	int32_t pids[INSPECT_PIDS_MAX];
	int domain;
	socklen_t size = sizeof(domain);

	if (sock < 0 || q->n > INSPECT_PIDS_MAX ||
		getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX)
		return -EBADF;
	memcpy(pids, q->pids, sizeof(pids));
	for (uint32_t i = 0; i < q->n; i++) {
		int r = send_or_substitute(sock, pids, q->n, i);

		if (r == -EAGAIN)
			return (int)i;
		if (r < 0)
			return r == -EPIPE ? -ECONNRESET : r;
	}
	return (int)q->n;
}
