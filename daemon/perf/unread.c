/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "../cleanup.h"
#include "../manager.h"
#include "../peer.h"
#include "perf.h"

/* Also what is no event counts here: who reads reads all. The other end's close empties its queue.
 */
static bool is_read(int fd)
{
	int left = 0;

	return ioctl(fd, SIOCOUTQ, &left) < 0 || left == 0;
}

static struct perf_unread *unread_free(struct manager *m, struct perf_unread *u)
{
	LIST_REMOVE(u, list);
	u->account->events -= u->n;
	porters_close(m->porters, u->account->number, u->fd);
	account_put(u->account);
	free(u);
	return NULL;
}

bool unread_sweep(struct manager *m)
{
	struct perf_unread *u, *next;

	for (u = LIST_FIRST(&m->unread); u; u = next) {
		next = LIST_NEXT(u, list);
		if (is_read(u->fd))
			unread_free(m, u);
	}
	return !LIST_EMPTY(&m->unread);
}

int unread_take(struct peer *peer)
{
	struct account *a = peer->account;

	if (a->number == 0)
		return 0;
	if (peer->events > 0 && is_read(peer->identity.sock)) {
		a->events -= peer->events;
		peer->events = 0;
	}
	if (a->events >= PERF_UNREAD_MAX)
		(void)unread_sweep(peer->manager);
	if (a->events >= PERF_UNREAD_MAX)
		return -EDQUOT;
	peer->events++;
	a->events++;
	return 0;
}

void unread_gone(struct peer *peer)
{
	struct manager *m = peer->manager;
	struct perf_unread *u = NULL;
	int fd = -EBADF;

	if (peer->events == 0)
		return;
	if (!is_read(peer->identity.sock))
		fd = fcntl(peer->identity.sock, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0)
		u = calloc(1, sizeof(*u));
	if (u)
		u->account = account_get(&m->accounts, peer->account->number);
	if (u && u->account) {
		u->fd = fd;
		u->n = peer->events;
		LIST_INSERT_HEAD(&m->unread, u, list);
		perf_look(m->perf);
		return;
	}
	peer->account->events -= peer->events;
	/* The transport has it too, and ends it as it should be. */
	close_fd(&fd);
	free(u);
}

void unread_done(struct manager *m)
{
	while (!LIST_EMPTY(&m->unread))
		unread_free(m, LIST_FIRST(&m->unread));
}
