/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the inspector's own end share. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "inspect-wire.h"
#include "wire.h"

/* user_namespaces(7), pid_namespaces(7): nested up to 32 deep */
#define NS_DEPTH 33

#define CACHE_MAX 64

struct ns_id {
	dev_t dev;
	ino_t ino;
};

/*
 * The roots of a cgroup namespace, which never change. The namespace is held by its fd, or its
 * number could go to another; and since that pins cgroups it is let go when nobody asks.
 */
struct cached {
	struct ns_id id;
	int fd;
	time_t used;
	uint64_t root[HIERARCHIES_MAX]; /* 0: not asked yet */
};

#define HELPERS_MAX 4
#define HELPER_IDLE_MSEC 1000

/* A process of ours in another pid namespace: inspect-helper.h. */
struct helper {
	struct ns_id id;
	int sock, pidfd;
	uint64_t used; /* monotonic_msec() */
};

struct child {
	int sock;
	int proc_fd;		   /* /proc */
	int root_fd;		   /* / */
	int cgroupns_fd, pidns_fd; /* its own */
	unsigned timeout; /* of receiving, for the cache's and the helpers' sake; seconds */
	bool isolated;	  /* from what helpers must not show */
	struct ns_id userns, pidns, cgroupns;
	const struct hierarchies *hierarchies;
	unsigned n;
	struct cached cache[CACHE_MAX];
	unsigned n_helpers;
	struct helper helpers[HELPERS_MAX];
};

bool ns_same(const struct ns_id *a, const struct ns_id *b);
/* The namespace of a process, by the name of its link. -ESRCH: the process has gone. */
int ns_open(struct child *c, pid_t pid, const char *name);
int ns_of_fd(int fd, struct ns_id *ret);
int ns_of_pid(struct child *c, pid_t pid, const char *name, struct ns_id *ret);

/* Failures that say nothing about what was asked. */
bool is_shortage(int err);

/* Is the victim's user namespace the requestor's or below it? */
int userns_below(struct child *c, pid_t victim, pid_t pid);
/* As that, of an fd of a user namespace. */
int userns_of_fd_below(struct child *c, int userns_fd, pid_t pid);

/*
 * The topmost pid namespace below our own in which this one lies (the fd is taken), if that was
 * made without a user namespace: a container as Docker makes them. Whatever namespaces and uids it
 * takes on besides, it stays that one's. 0: it is in none.
 */
int pidns_container(struct child *c, int pidns_fd, struct ns_id *ret);

int answer_account(struct child *c, const struct inspect_request *q, struct inspect_reply *reply);
/* INSPECT_PROGRAM and its like: the fd goes to *ret_fd. */
int answer_program(const struct inspect_request *q, struct inspect_reply *reply, int *ret_fd);
int answer_mark(const struct inspect_request *q, int dirfd);
int answer_note(const struct inspect_request *q, int dirfd, struct inspect_reply *reply);
/* INSPECT_PERF_GET, INSPECT_PERF_SET: `tail` is the request's and becomes the reply's. */
int answer_perf(const struct inspect_request *q, int dirfd, struct wire_tail *tail);
int answer_systemd(struct child *c, int dirfd);
int answer_victims(struct child *c, const struct inspect_request *q, struct inspect_reply *reply);
/* INSPECT_PIDS: how many were sent. */
int answer_pids(const struct inspect_request *q, int sock);
/* INSPECT_PIDS_IN, INSPECT_PIDS_FROM. */
int answer_translate(struct child *c, const struct inspect_request *q, int pidns_fd,
	struct inspect_reply *reply);
/* The same without a helper, but for threads of PIDS_FROM: what /proc has. */
int answer_scan(struct child *c, const struct inspect_request *q, int pidns_fd,
	struct inspect_reply *reply);
/* INSPECT_NODE: begins it, without waiting. */
int answer_node(struct child *c, const struct inspect_request *q, int pidfd,
	struct inspect_reply *reply, int *ret_fd);
/* Ends those that had no work for HELPER_IDLE_MSEC. */
void helpers_expire(struct child *c);
