/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "hub.h"

/* How many links are gone on with before the loop looks for events again. */
#define BATCH_MAX 8

static struct hub *the_hub;

void link_init(struct link *l)
{
	l->prev = l->next = l;
}

void link_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

static void link_append(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

struct hub *hub_unref(struct hub *h)
{
	if (!h || --h->refs > 0)
		return NULL;
	if (h == the_hub)
		the_hub = NULL;
	sd_event_source_disable_unref(h->source);
	sd_event_source_disable_unref(h->source_later);
	sd_event_unref(h->event);
	if (h->feed >= 0)
		close(h->feed);
	if (h->food >= 0)
		close(h->food);
	free(h);
	return NULL;
}

static void hub_unrefp(struct hub **h)
{
	hub_unref(*h);
}

static int on_ready(sd_event_source *source, void *userdata)
{
	__attribute__((cleanup(hub_unrefp))) struct hub *h = userdata;
	struct link batch, *list = source == h->source ? &h->ready : &h->later;
	unsigned n = source == h->source ? BATCH_MAX : 1;

	/* The last transport may go within. */
	h->refs++;
	/* Those that are queued from here on wait for the next turn. */
	link_init(&batch);
	while (n-- > 0 && list->next != list) {
		struct link *l = list->next;

		link_remove(l);
		link_append(&batch, l);
	}
	while (batch.next != &batch) {
		struct link *l = batch.next;

		link_remove(l);
		h->turn(l);
	}
	if (list->next != list)
		(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int add_source(struct hub *h, int64_t priority, sd_event_source **ret)
{
	int r = sd_event_add_defer(h->event, ret, on_ready, h);

	if (r >= 0)
		r = sd_event_source_set_priority(*ret, priority);
	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int hub_fill(struct hub *h, sd_event *event)
{
	int r, fds[2], size = 4 * HUB_MESSAGE_MAX;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	h->feed = fds[0];
	h->food = fds[1];
	/* A whole message must fit, or it could not be fed in one piece. */
	if (setsockopt(h->feed, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return -errno;
	r = sd_id128_randomize(&h->id);
	if (r < 0)
		return r;
	h->event = sd_event_ref(event);
	r = add_source(h, SD_EVENT_PRIORITY_NORMAL, &h->source);
	return r < 0 ? r : add_source(h, HUB_PRIORITY_LATER, &h->source_later);
}

int hub_get(sd_event *event, void (*turn)(struct link *l), struct hub **ret)
{
	__attribute__((cleanup(hub_unrefp))) struct hub *h = NULL;
	int r;

	if (the_hub) {
		if (the_hub->event != event)
			return -EBUSY;
		the_hub->refs++;
		*ret = the_hub;
		return 0;
	}
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->refs = 1;
	h->turn = turn;
	h->feed = h->food = -EBADF;
	link_init(&h->ready);
	link_init(&h->later);
	r = hub_fill(h, event);
	if (r < 0)
		return r;
	the_hub = *ret = h;
	h = NULL;
	return 0;
}

static int send_dummy(struct hub *h, const void *data, size_t size)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};

	if (fd < 0)
		return -errno;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	return sendmsg(h->feed, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size ? 0 : -ENOBUFS;
}

int hub_feed(struct hub *h, const void *data, size_t size, bool with_fd)
{
	int r;

	if (with_fd)
		r = send_dummy(h, data, size);
	else
		r = send(h->feed, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size
			    ? 0
			    : -ENOBUFS;
	if (r < 0)
		hub_drain(h);
	return r < 0 ? -ENOBUFS : 0;
}

void hub_drain(struct hub *h)
{
	char buf[4096];

	while (recv(h->food, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

void hub_enqueue(struct hub *h, struct link *l, bool later)
{
	if (l->next != l)
		return;
	link_append(later ? &h->later : &h->ready, l);
	(void)sd_event_source_set_enabled(later ? h->source_later : h->source, SD_EVENT_ONESHOT);
}
