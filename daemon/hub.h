/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all transports of a process share: the socketpair that every sd_bus reads from, which is
 * empty but while one of them is fed, and the list of those to go on with in the loop's next turn.
 * There as long as there are transports.
 */
#pragma once

#include <stdbool.h>
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>

#define HUB_MESSAGE_MAX 65536
/* Of sources whose events wait until those of all others were handled. */
#define HUB_PRIORITY_LATER SD_EVENT_PRIORITY_IDLE

struct link {
	struct link *prev, *next; /* itself: in no list */
};

struct hub {
	unsigned refs;
	sd_event *event;
	sd_event_source *source, *source_later;
	struct link ready, later;
	void (*turn)(struct link *l);
	int feed, food; /* written by us; read by sd-bus, each connection through a duplicate */
	sd_id128_t id;	/* the server's, made once */
};

/* The hub, or a new one. -EBUSY: it is on another event loop. */
int hub_get(sd_event *event, void (*turn)(struct link *l), struct hub **ret);
struct hub *hub_unref(struct hub *h); /* returns NULL */

/* All or nothing; at most HUB_MESSAGE_MAX bytes. `with_fd`: a socket of ours that leads nowhere
 * rides on them. -ENOBUFS. */
int hub_feed(struct hub *h, const void *data, size_t size, bool with_fd);

/* What one connection left unread must never be read by another. Fds in it are ours. */
void hub_drain(struct hub *h);

/* turn() is called for `l` once, in one of the loop's next turns, behind other events; `later`:
 * when there is nothing else to do. A few at a time, so that nobody waits for all of them. */
void hub_enqueue(struct hub *h, struct link *l, bool later);

void link_init(struct link *l);
void link_remove(struct link *l);
