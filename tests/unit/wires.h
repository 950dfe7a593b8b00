/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection of LXC's or an OCI runtime's, served in a process of its own, where what judges and
 * opens is played: the first argument of a call says how it goes. What the worker tells comes by a
 * pipe. For programs that link with --wrap.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "../../daemon/perf/worker-core.h"

#define OURS 298
#define NUMBER 42 /* of the injected fd */
#define SOON 20000

enum told { TOLD_DONE = 100, TOLD_FAIL, TOLD_FOUND };

struct stand {
	pid_t pid;
	int sock, told;
	int copy; /* of the worker's end, as the core has one for a while */
};

extern struct perf_slot *slot; /* the worker's, shared */
extern uint32_t peer_uid;      /* of the next stand's peer */
extern int trapped, other[3];  /* a listener, and what comes with it or is wrong */

/* cmocka's. */
int wires_begin(void **state);

struct stand stand_new(int type, void (*serve)(struct worker *w), const char *next);
void stand_end(struct stand *s);

/* What it tells next; -1: nothing for a while; -2: it has ended. */
int told_within(struct stand *s, int msec);
int told(struct stand *s);
/* It says that, and ends. */
void dropped_for(struct stand *s, enum perf_news news);

void packet_send(int sock, const void *bytes, size_t size, const int *fds, unsigned n);
