/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core says to the zygote and to porters, each over a SOCK_SEQPACKET pair: packets of
 * fixed size, but for data to be sent on, with at most one fd. All are the same program, so there
 * are no versions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* To the zygote, with the new porter's end of its channel; the answer carries its pidfd. */
struct fork_request {
	uint32_t seq;
};

struct fork_reply {
	uint32_t seq;
	int32_t result;
};

enum porter_op {
	PORTER_JUDGE,	/* id, size; carries the connection. A reply */
	PORTER_RECEIVE, /* id, size: rounds; usec. A reply */
	PORTER_SEND,	/* id, size: of the data that follow. A reply: how many were sent */
	PORTER_YIELD,	/* carries the core's copy of what it holds; no reply */
	PORTER_RELEASE, /* id; after the core has closed its own; no reply */
	PORTER_HOLD,	/* carries what to hold; no reply */
};

/* What one porter holds and works on. */
#define PORTER_THINGS_MAX 128
#define PORTER_ROUNDS_MAX 2
/* What goes in one packet to a porter: as much as one to a client's socket can, by default. */
#define PORTER_DATA_MAX 212992

struct porter_request {
	uint32_t op;
	uint32_t id; /* the core's, never used twice in a porter's life */
	uint32_t size;
	uint32_t pad;
	uint64_t usec;
};

struct porter_reply {
	uint32_t id;
	int32_t result;	  /* as porters_judge() and passed_receive() have it; 1 carries the fd */
	uint32_t tainted; /* it holds what it must not close, and wants no further work */
	uint32_t kind;	  /* enum passed_kind */
	struct ucred creds[PORTER_ROUNDS_MAX];
};

/* As passed_is_pair() has it. */
bool socket_is_pair(int fd);

/* The zygote: takes `sock`, answers until the other end closes. */
_Noreturn void zygote_run(int sock, pid_t parent, bool confine);

/* A porter: `sock` is its channel, `proc` a /proc. */
_Noreturn void porter_run(int sock, int proc);
