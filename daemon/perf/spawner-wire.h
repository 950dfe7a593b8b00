/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core and the workers say to the spawner, and what its children say, each over a
 * SOCK_SEQPACKET pair: packets of fixed size with at most one fd. All are the same program, so
 * there are no versions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "spawner.h"

enum spawn_op {
	/* The core's. */
	SPAWN_WORKER, /* carries its channel; the answer carries its pidfd */
	SPAWN_KEEPER, /* carries the listening socket */
	/* A worker's; the answer carries its end of a new channel, over which comes first of all a
	 * perf_order_reply: whether the process is what it was to be. */
	SPAWN_OPENER,
	SPAWN_CALLER,
	SPAWN_CALLER_LOOSE, /* with uid and gid */
};

struct spawn_request {
	uint32_t seq;
	uint32_t op;
	int32_t tid;
	uint32_t uid, gid, pad;
};

struct spawn_reply {
	uint32_t seq;
	int32_t result;
};

/* From the child that makes an opener or a caller to the spawner, with the pidfd. */
struct spawn_report {
	uint32_t worker; /* for whom: never the same number twice */
	uint32_t op;
};

/* One packet with as many fds as are not negative. */
int order_wire_send(int sock, const void *data, size_t size, const int *fds, unsigned n);
/* -EPIPE, -ETIMEDOUT, -EPROTO: another size, or more than `max` fds. Those that did not come are
 * -EBADF. */
int order_wire_recv(int sock, void *data, size_t size, int *fds, unsigned max);

struct sock_fprog;

/* What an opener or a caller is made with. All fds but these are closed first. */
struct opening {
	uint32_t worker, op;
	pid_t tid;
	uid_t uid; /* of a loose caller */
	gid_t gid;
	int channel, report, proc_fd;
	const struct sock_fprog *filter; /* NULL: none */
};

/* In a child of the spawner's, which makes the process in the other pid namespace, tells of it and
 * ends. */
_Noreturn void opening_run(const struct opening *o);
int opening_filter(enum spawn_op op, struct sock_fprog *ret);

/* The thread's pid namespace for what is forked next, and as few rights as may be: PERFMON, a uid
 * that nobody has, an empty root. -EPERM: see spawn_opener(). */
int place_opener(const struct opening *o);

/* Of the thread that a caller stands for. */
struct caller_of {
	pid_t tgid;   /* in its pid namespace; 0: loose */
	bool perfmon; /* CAP_PERFMON in the initial user namespace */
};

/* The thread's namespaces, ids and capabilities, and an empty root. */
int place_caller(const struct opening *o, struct caller_of *ret);
