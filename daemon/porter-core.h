/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What porter.c and undertaker.c share: the porters' processes as the core sees them. */
#pragma once

#include "porter.h"
#include "porter-wire.h"

/* Something that a porter judges or holds for us. Freed by its owner, or when nobody waits for it
 * any more and the porter has answered. */
struct passed {
	struct porters *porters;
	struct porter *porter; /* NULL: it has ended, or is about to */
	struct passed *next, **link;
	uint32_t id;
	int fd; /* < 0: not judged yet */
	enum passed_kind kind;
	uint64_t deadline; /* an answer is owed by then; 0: none is */
	void (*judged)(void *userdata, int result, struct passed *passed);
	void (*received)(void *userdata, int result, const struct ucred *creds); /* or sent */
	void *userdata;
};

struct judging {
	struct passed passed; /* becomes it */
};

struct porter {
	struct porters *porters;
	struct porter *next, **link;
	uint64_t account;
	int channel, pidfd; /* channel < 0: it was told to end, or has been killed */
	sd_event_source *io, *end;
	struct passed *things;
	unsigned n; /* things; what the undertaker holds */
	uint32_t last_id;
	uint64_t since;	  /* when the last thing was gone; when it was told to end */
	bool retired : 1; /* works off what it has */
	bool killed : 1;
};

struct burial {
	struct burial *next;
	uint64_t account; /* UINT64_MAX: nobody's */
	int fd;
};

struct porters {
	sd_event *event;
	struct zygote *zygote;
	struct porter *list;
	struct porter *undertaker; /* or NULL; also in the list */
	struct burial *unburied;   /* tried again */
	sd_event_source *tick;
	bool ticking;
};

uint64_t porters_now(const struct porters *all);
/* The timer that ends, kills and tries again: on while there is something for it to do. */
void porters_tick_on(struct porters *all);

#define ACCOUNT_UNDERTAKER (UINT64_MAX - 1) /* nobody's */

/* -EDQUOT: too many await their end. */
int porter_new(struct porters *all, uint64_t account, struct porter **ret);
/* Non-blocking; -EAGAIN: its channel is full. */
int porter_send(
	struct porter *p, enum porter_op op, uint32_t id, uint32_t size, uint64_t usec, int fd);
/* No more for it: it ends, at once or killed. Its things have none then, and are not told. */
void porter_end(struct porter *p, bool kill);

/* The undertaker's part of the tick. */
void undertaker_tick(struct porters *all, uint64_t now);
