/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the core must not close itself. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "porter-core.h"

#define HELD_MAX 64
#define IDLE_USEC 1000000

/* The undertaker of now, or a new one. A full one ends only here: while the last that it was sent
 * is still open in the core, its end would leave that to be closed by us. */
static int undertaker_get(struct porters *all, struct porter **ret)
{
	int r;

	if (all->undertaker && all->undertaker->n >= HELD_MAX)
		porter_end(all->undertaker, false);
	if (!all->undertaker) {
		r = porter_new(all, ACCOUNT_UNDERTAKER, &all->undertaker);
		if (r < 0)
			return r;
	}
	*ret = all->undertaker;
	return 0;
}

/* Closing it is not the last reference then: the one in the channel, or the undertaker's own. */
static int keep(struct porters *all, int fd)
{
	struct porter *p;
	int r = undertaker_get(all, &p);

	if (r < 0)
		return r;
	r = porter_send(p, PORTER_HOLD, 0, 0, 0, fd);
	if (r == -EAGAIN || r == -EPIPE) {
		/* It does not get on with it; what it was sent goes with it. */
		porter_end(p, true);
		r = undertaker_get(all, &p);
		if (r == 0)
			r = porter_send(p, PORTER_HOLD, 0, 0, 0, fd);
	}
	if (r < 0)
		return r;
	p->since = porters_now(all);
	p->n++;
	return 0;
}

/* For later; without memory even for this it stays open, which costs an fd. */
static void put_off(struct porters *all, uint64_t account, int fd)
{
	struct burial *b = malloc(sizeof(*b));

	if (!b)
		return;
	*b = (struct burial){.next = all->unburied, .account = account, .fd = fd};
	all->unburied = b;
	porters_tick_on(all);
}

void porters_bury(struct porters *all, int fd)
{
	if (!all || keep(all, fd) == 0)
		close(fd);
	else
		put_off(all, UINT64_MAX, fd);
}

/*
 * Whether no fd is in the queue of a socket that nothing can be sent to any more: all `left` bytes
 * of it are seen by a peek, which shows fds as MSG_CTRUNC, and installs none. (Bytes that MSG_OOB
 * has set aside count in `left`, and a peek passes over them.)
 */
static bool queue_is_plain(int fd, int left)
{
	static char sink[65536];
	struct iovec iov = {sink, (size_t)left + 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return left < (int)sizeof(sink) && recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT) == left &&
	       !(msg.msg_flags & MSG_CTRUNC);
}

int porters_disarm(struct porters *all, uint64_t account, int fd)
{
	int left = 0, copy;

	/* From here on nothing more can be sent to it. */
	(void)shutdown(fd, SHUT_RDWR);
	if (!all || (ioctl(fd, SIOCINQ, &left) == 0 && (left == 0 || queue_is_plain(fd, left))))
		return 0;
	if (keep(all, fd) == 0)
		return 0;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	put_off(all, account, copy);
	return 0;
}

void porters_close(struct porters *all, uint64_t account, int fd)
{
	if (porters_disarm(all, account, fd) == 0)
		close(fd);
	else
		put_off(all, account, fd);
}

unsigned porters_owed(const struct porters *all, uint64_t account)
{
	unsigned n = 0;

	for (const struct burial *b = all->unburied; b; b = b->next)
		n += b->account == account;
	return n;
}

static void unburied_retry(struct porters *all)
{
	while (all->unburied) {
		struct burial *b = all->unburied;

		if (keep(all, b->fd) < 0)
			return;
		close(b->fd);
		all->unburied = b->next;
		free(b);
	}
}

void undertaker_tick(struct porters *all, uint64_t now)
{
	unburied_retry(all);
	if (all->undertaker && now - all->undertaker->since >= IDLE_USEC)
		porter_end(all->undertaker, false);
}
