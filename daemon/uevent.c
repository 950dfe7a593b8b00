/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

#define GROUP_KERNEL 1
/* The kernel's are 2 KiB at most, and what stands before them a path (kobject_uevent.c). */
#define MESSAGE_MAX 8192
/* A burst of events keeps nobody else waiting. */
#define MESSAGES_A_WAKE 64
#define RECEIVE_BUFFER (1 << 20)
#define SETTLE_USEC (100 * 1000)
#define SETTLE_MAX_USEC (1000 * 1000)

struct uevents {
	sd_event *event;
	sd_event_source *io, *settle;
	void (*changed)(void *userdata);
	void *userdata;
	int fd;
	bool waits;	 /* `changed` is still to be called */
	uint64_t latest; /* when, at the latest */
	_Atomic uint64_t state;
};

static void uevents_freep(struct uevents **u)
{
	uevents_free(*u);
}

/* The value of KEY= among the strings of a message, or NULL. */
static const char *value(const char *message, size_t size, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = message, *end = message + size; at < end;) {
		size_t n = strnlen(at, end - at);

		/* One that nothing ends is no string. */
		if (n == (size_t)(end - at))
			return NULL;
		if (n > len && memcmp(at, key, len) == 0 && at[len] == '=')
			return at + len + 1;
		at += n + 1;
	}
	return NULL;
}

static bool either(const char *text, const char *one, const char *other)
{
	return text && (strcmp(text, one) == 0 || strcmp(text, other) == 0);
}

/* A node; a module, which may bring majors that no node is made for; a PMU, whose number may become
 * another's; a PCI device that a driver has taken, which is all that NVIDIA's tells. */
bool uevent_matters(const char *message, size_t size)
{
	const char *action = value(message, size, "ACTION");
	const char *subsystem = value(message, size, "SUBSYSTEM");

	if (subsystem && strcmp(subsystem, "pci") == 0)
		return either(action, "bind", "unbind");
	if (action && strcmp(action, "move") == 0)
		return value(message, size, "MAJOR");
	if (!either(action, "add", "remove"))
		return false;
	return value(message, size, "MAJOR") || either(subsystem, "module", "event_source");
}

/* With CAP_NET_ADMIN others may send to the group, too. */
static bool from_kernel(struct msghdr *m)
{
	const struct sockaddr_nl *from = m->msg_name;

	if (m->msg_namelen != sizeof(*from) || from->nl_family != AF_NETLINK || from->nl_pid != 0 ||
		from->nl_groups != GROUP_KERNEL)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred creds;

			memcpy(&creds, CMSG_DATA(c), sizeof(creds));
			return creds.pid == 0 && creds.uid == 0;
		}
	return false;
}

/* 1: it matters, or something was lost. 0: it does not. -EAGAIN: there is none. */
static int receive(int fd)
{
	char message[MESSAGE_MAX], control[CMSG_SPACE(sizeof(struct ucred))];
	struct sockaddr_nl from = {0};
	struct iovec iov = {message, sizeof(message)};
	struct msghdr m = {.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);

	if (n < 0)
		return errno == ENOBUFS ? 1 : errno == EINTR ? 0 : -errno;
	if (!from_kernel(&m))
		return 0;
	return (m.msg_flags & MSG_TRUNC) || uevent_matters(message, n);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct uevents *u = userdata;

	u->waits = false;
	u->changed(u->userdata);
	return 0;
}

static int settle(struct uevents *u)
{
	uint64_t now, at;
	int r = sd_event_now(u->event, CLOCK_MONOTONIC, &now);

	if (r < 0 || !u->changed)
		return r < 0 ? r : 0;
	if (!u->waits)
		u->latest = now + SETTLE_MAX_USEC;
	u->waits = true;
	at = now + SETTLE_USEC < u->latest ? now + SETTLE_USEC : u->latest;
	r = sd_event_source_set_time(u->settle, at);
	return r < 0 ? r : sd_event_source_set_enabled(u->settle, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct uevents *u = userdata;
	bool matters = false;
	int r = 0;

	/* Odd from before a message leaves the queue until it counts. */
	atomic_fetch_add(&u->state, 1);
	for (int i = 0; r >= 0 && i < MESSAGES_A_WAKE; i++) {
		r = receive(fd);
		matters = matters || r > 0;
	}
	if (!matters) {
		atomic_fetch_sub(&u->state, 1);
		return 0;
	}
	atomic_fetch_add(&u->state, 1);
	return settle(u);
}

uint64_t uevents_state(struct uevents *u)
{
	struct pollfd p;
	uint64_t state;

	if (!u)
		return 0;
	p = (struct pollfd){.fd = u->fd, .events = POLLIN};
	if (poll(&p, 1, 0) != 0)
		return 0;
	state = atomic_load(&u->state);
	return state % 2 == 0 ? state : 0;
}

static int uevents_open(struct uevents *u)
{
	const struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = GROUP_KERNEL};
	int on = 1, size = RECEIVE_BUFFER;

	u->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (u->fd < 0 || setsockopt(u->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	/* Beyond net.core.rmem_max with CAP_NET_ADMIN alone; what is lost counts as a change. */
	if (setsockopt(u->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return bind(u->fd, (const struct sockaddr *)&group, sizeof(group)) < 0 ? -errno : 0;
}

static int uevents_watch(struct uevents *u)
{
	int r = sd_event_add_io(u->event, &u->io, u->fd, EPOLLIN, on_io, u);

	if (r >= 0)
		r = sd_event_add_time(u->event, &u->settle, CLOCK_MONOTONIC, 0, 1, on_settled, u);
	return r < 0 ? r : sd_event_source_set_enabled(u->settle, SD_EVENT_OFF);
}

int uevents_new(
	sd_event *event, void (*changed)(void *userdata), void *userdata, struct uevents **ret)
{
	__attribute__((cleanup(uevents_freep))) struct uevents *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->event = sd_event_ref(event);
	u->changed = changed;
	u->userdata = userdata;
	u->fd = -EBADF;
	atomic_init(&u->state, 2);
	r = uevents_open(u);
	if (r >= 0)
		r = uevents_watch(u);
	if (r >= 0)
		*ret = TAKE_PTR(u);
	return r;
}

struct uevents *uevents_free(struct uevents *u)
{
	if (!u)
		return NULL;
	sd_event_source_disable_unref(u->io);
	sd_event_source_disable_unref(u->settle);
	sd_event_unref(u->event);
	close_fd(&u->fd);
	free(u);
	return NULL;
}
