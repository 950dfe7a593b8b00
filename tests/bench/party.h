/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The processes of the benchmark: the servers, and workers that do a job so many times when they
 * are told to. A worker stands in cgroups, and perhaps namespaces, of its own.
 */
#include <stdbool.h>
#include <sys/types.h>

/* Which requestor a worker is. */
enum who {
	WHO_ROOT,      /* host root, in a cgroup of its own */
	WHO_CONTAINER, /* root of user, pid and cgroup namespaces, uid 100000 outside, in one too
			*/
	WHO_RAW_ROOT,  /* no client at all: the system calls, on what WHO_ROOT would have */
	WHO_RAW_CONTAINER,
};

struct worker;

/* Forks a worker; address is the server's, or NULL. */
struct worker *worker_new(enum who who, const char *address);
/* Does the job of that name (jobs.h) n times; microseconds for one. */
double worker_run(struct worker *w, const char *job, unsigned n);
/* The name of its cgroup; borrowed. */
const char *worker_place(const struct worker *w);
void worker_free(struct worker *w);

struct daemon {
	pid_t core, inspector;
};

/* Starts cgmd on the socket and waits until it is ready. */
struct daemon daemon_start(const char *program, const char *socket_path);
/* The same with one more option. */
struct daemon daemon_start_with(
	const char *program, const char *socket_path, const char *option, const char *value);
void daemon_stop(struct daemon *d);
/* fork and exec of cgmd until it is ready; with `answer` until a client has its answer. */
double daemon_first(const char *program, const char *socket_path, bool answer);

/* A bare sd-bus server (sd_bus_attach_event) that listens on the path. */
pid_t bare_start(const char *socket_path);
void process_stop(pid_t pid);
