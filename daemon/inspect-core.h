/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the inspector's own end share. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "inspect-wire.h"

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

struct child {
	int sock;
	int proc_fd;	 /* /proc */
	int cgroupns_fd; /* its own */
	bool timed;	 /* receiving times out, for the cache's sake */
	struct ns_id userns, pidns, cgroupns;
	const struct hierarchies *hierarchies;
	unsigned n;
	struct cached cache[CACHE_MAX];
};

bool ns_same(const struct ns_id *a, const struct ns_id *b);
/* The namespace of a process, by the name of its link. -ESRCH: the process has gone. */
int ns_open(struct child *c, pid_t pid, const char *name);
int ns_of_fd(int fd, struct ns_id *ret);
int ns_of_pid(struct child *c, pid_t pid, const char *name, struct ns_id *ret);

/* INSPECT_ACCOUNT. */
int answer_account(struct child *c, const struct inspect_request *q, struct inspect_reply *reply);
