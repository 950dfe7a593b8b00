/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* daemon/porter.h without a process: what is passed here is ours and harmless, so it is looked at
 * at once. The answer comes from the loop, as it does from a porter. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/cleanup.h"
#include "../../daemon/porter.h"
#include "fuzz.h"
#include "porters.h"

#define FDS_MAX 8

struct porters {
	sd_event *event;
};

struct passed {
	int fd;
};

struct judging {
	sd_event_source *source;
	int result;
	struct passed *passed;
	void (*done)(void *userdata, int result, struct passed *passed);
	void *userdata;
};

static unsigned n_things;

static void *thing_new(size_t size)
{
	void *p = calloc(1, size);

	CHECK(p);
	n_things++;
	return p;
}

static void thing_free(void *p)
{
	n_things -= p != NULL;
	free(p);
}

unsigned porters_fake_n(void)
{
	return n_things;
}

struct porters *porters_fake_new(sd_event *event)
{
	struct porters *p = thing_new(sizeof(*p));

	p->event = sd_event_ref(event);
	return p;
}

struct porters *porters_free(struct porters *p)
{
	sd_event_unref(p->event);
	thing_free(p);
	return NULL;
}

static bool is_unix(int fd)
{
	int domain;
	socklen_t size = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/* The fds on the first `size` bytes, or behind them. */
static unsigned peek_fds(int conn, size_t size, int *fds)
{
	static char data[65536];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {};
	struct iovec iov = {data, size < sizeof(data) ? size : sizeof(data)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	unsigned n = 0;

	if (recvmsg(conn, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	return n;
}

static int judge(int conn, size_t size, struct passed **ret)
{
	int fds[FDS_MAX];
	unsigned n = peek_fds(conn, size, fds);

	if (n == 0)
		return 0;
	if (n == 1 && is_unix(fds[0])) {
		*ret = thing_new(sizeof(**ret));
		(*ret)->fd = fds[0];
		return 1;
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	return -EBADMSG;
}

static int on_judged(sd_event_source *source, void *userdata)
{
	struct judging *j = userdata, copy = *j;

	(void)source;
	j->passed = NULL;
	judging_cancel(j);
	copy.done(copy.userdata, copy.result, copy.passed);
	return 0;
}

int porters_judge(struct porters *p, uint64_t account, int conn, size_t size,
	void (*done)(void *userdata, int result, struct passed *passed), void *userdata,
	struct judging **ret)
{
	struct judging *j;

	(void)account;
	CHECK(p && size > 0);
	j = thing_new(sizeof(*j));
	j->done = done;
	j->userdata = userdata;
	j->result = judge(conn, size, &j->passed);
	CHECK(sd_event_add_defer(p->event, &j->source, on_judged, j) >= 0);
	*ret = j;
	return 0;
}

struct judging *judging_cancel(struct judging *j)
{
	if (!j)
		return NULL;
	sd_event_source_disable_unref(j->source);
	passed_free(j->passed);
	thing_free(j);
	return NULL;
}

int passed_fd(const struct passed *p)
{
	return p->fd;
}

enum passed_kind passed_kind(const struct passed *p)
{
	(void)p;
	return PASSED_SOCKET;
}

int passed_receive(struct passed *p, unsigned rounds, uint64_t usec,
	void (*done)(void *userdata, int result, const struct ucred *creds), void *userdata)
{
	(void)p, (void)rounds, (void)usec, (void)done, (void)userdata;
	return -EPIPE;
}

struct passed *passed_free(struct passed *p)
{
	if (p)
		close(p->fd);
	thing_free(p);
	return NULL;
}

void porters_bury(struct porters *p, int fd)
{
	(void)p;
	close(fd);
}

int porters_disarm(struct porters *p, uint64_t account, int fd)
{
	(void)p;
	return shutdown(fd, SHUT_RDWR) < 0 && errno != ENOTCONN ? -errno : 0;
}

void porters_close(struct porters *p, uint64_t account, int fd)
{
	(void)porters_disarm(p, account, fd);
	close(fd);
}
