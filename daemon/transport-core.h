/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What transport.c (life, loop) and transport-read.c (what is read, and when) share. */
#pragma once

#include "hub.h"
#include "transport.h"

#define MESSAGE_MAX HUB_MESSAGE_MAX

enum timer_kind {
	TIMER_NONE,
	TIMER_AUTH,
	TIMER_MESSAGE, /* a message has begun and is not whole */
	TIMER_STALL,   /* reading is paused because the peer does not read */
};

struct transport {
	struct link ready; /* must be first */
	struct hub *hub;
	const struct transport_limits *limits;
	const struct transport_ops *ops;
	void *userdata;
	sd_bus *bus;
	sd_event_source *io, *timer;
	/* The beginning of a message that is not whole yet, taken off the queue so that the peer
	 * can send the rest: in one-byte pieces some 270 bytes fill it. */
	unsigned char *begun;
	size_t n_begun;
	struct porters *porters;
	uint64_t account;
	/* Bytes at the head of the queue that a porter looks at, or has looked at and holds what
	 * came with them. */
	struct judging *judging;
	struct passed *passed;
	uint32_t asked, judged;
	const char *why; /* it is over, and the owner is about to be told */
	int fd;		 /* the client's socket */
	uint16_t auth_bytes;
	uint8_t auth_lines;
	uint8_t timer_kind;
	bool authenticated : 1;
	bool fds : 1; /* it has negotiated them */
	bool held : 1;
	bool want_write : 1;
	bool overdue : 1;
	bool hangup : 1; /* behind what is queued there is an end */
	bool dispatched : 1;
	bool rehearsal : 1;  /* a message is only to be understood */
	bool bus_has_fd : 1; /* and closes it */
	bool later : 1;	     /* its event source has the priority of what comes later */
};

void transport_enqueue(struct transport *t);
/* The owner is told from the loop, never from within a call of its own. */
void transport_doom(struct transport *t, const char *why);
void timer_clear(struct transport *t);
void timer_set(struct transport *t, enum timer_kind kind, uint64_t usec);
uint64_t transport_n_queued(struct transport *t);
/* sd_bus_process() until it has nothing to do. It finds no byte but what was passed on. */
int transport_process(struct transport *t);
/* Brings event mask and timer in line with the queue of replies. */
void transport_settle(struct transport *t);

/* Goes on with it, or has others go first. */
void transport_turn(struct transport *t);
uint64_t transport_clock(void); /* CLOCK_MONOTONIC, in ns */

/* Reads and dispatches what there is, for some time after `begun`. */
void transport_read(struct transport *t, uint64_t begun);
int transport_on_message(sd_bus_message *m, void *userdata, sd_bus_error *error);
