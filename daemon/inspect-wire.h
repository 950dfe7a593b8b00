/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core and the inspector say to each other over a SOCK_SEQPACKET pair: one request, one
 * reply, each of fixed size but for a tail, and with at most one fd. Both ends are the same
 * program, so there are no versions. A reply that comes after its caller gave up is known by its
 * number and thrown away.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hierarchy.h"

enum inspect_op {
	INSPECT_REQUESTOR, /* pid, other: a victim or 0, number: a hierarchy's index or
			      INSPECT_NO_HIERARCHY */
	INSPECT_PIDNS,	   /* pid; the reply carries the fd */
	INSPECT_ACCOUNT,   /* pid, value: its uid */
	INSPECT_MARK_SET,  /* number: enum mark; the request carries the directory's fd */
	INSPECT_MARK_CLEAR,
	INSPECT_MARK_GET,
	INSPECT_NOTE_SET, /* number: enum note, value; the request carries the directory's fd */
	INSPECT_NOTE_GET,
	INSPECT_SYSTEMD, /* the request carries the directory's fd */
	INSPECT_WRITE, /* text, number: not 0, its lines one by one; the request carries the file's
			  fd */
	INSPECT_PIDS,  /* pids; the request carries the socket's fd */
	INSPECT_VICTIMS, /* pid, pids: the victims */
	INSPECT_PIDS_IN, /* pids; the request carries the pid namespace's fd */
	INSPECT_PIDS_FROM,
	INSPECT_NODE, /* pid, other: the requestor or 0, node; the request carries pid's pidfd, the
			 reply a socket over which the result will come */
	INSPECT_PROGRAM,     /* number: its id; the reply carries the instructions */
	INSPECT_PROGRAM_FD,  /* number: its id; the reply carries its fd */
	INSPECT_PROGRAM_MAP, /* number: its id; the reply carries the fd of its first map */
	INSPECT_PERF_GET,    /* the request carries the directory's fd, the reply a tail */
	INSPECT_PERF_SET,    /* the request carries the directory's fd and a tail; none: remove */
	INSPECT_MAX,
};

#define INSPECT_NO_HIERARCHY UINT32_MAX
#define INSPECT_TEXT_MAX 256
#define INSPECT_PIDS_MAX 64

#define INSPECT_PATH_MAX 128
/* What follows a request or a reply in its packet; of most there is none. */
#define INSPECT_TAIL_MAX 4096

/* See devnode.h. */
struct inspect_node {
	uint32_t remove, is_char, major, minor, mode, uid, gid;
	char path[INSPECT_PATH_MAX]; /* NUL-terminated */
};

struct inspect_request {
	uint32_t seq;
	uint32_t op;
	int32_t pid, other;
	uint32_t number;
	uint32_t n; /* of pids */
	union {
		uint64_t value;
		char text[INSPECT_TEXT_MAX]; /* NUL-terminated */
		int32_t pids[INSPECT_PIDS_MAX];
		struct inspect_node node;
	};
};

struct inspect_reply {
	uint32_t seq;
	int32_t result; /* >= 0 or a negative errno */
	uint64_t root_id, number;
	uint32_t own_userns, own_pidns, own_cgroupns, victim_below; /* no bytes of padding travel */
	union {
		int32_t pids[INSPECT_PIDS_MAX]; /* of each of the request's, what was asked */
		char text[INSPECT_TEXT_MAX];	/* NUL-terminated */
	};
};

/* The child: takes `sock`, answers until the other end closes. */
_Noreturn void inspect_child_run(int sock, pid_t parent, const struct hierarchies *hierarchies);
