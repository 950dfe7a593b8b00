/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A worker in a process of its own, the core that it asks, which is the test, and a client whose
 * perf_event_open is trapped, in a cgroup of its own. The spawner's part is played in the worker's
 * process, which tells in shared memory what it was asked for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../daemon/perf/worker-core.h"

/* What the worker's process shares with the test. */
struct stage {
	unsigned n_openers, n_callers, n_traces;
	unsigned openers_that_die; /* at their first order */
	unsigned traces_left;	   /* before the target is no longer to be read; 0: it stays so */
	int trace_result, caller_result;
	struct perf_order last; /* of OPEN */
};

struct show {
	bool skipped;
	int top, below; /* the client's cgroup, and one in it */
	int registry_fd;
	struct perf_registry *registry;
	struct perf_slot *slot; /* the worker's */
	struct stage *stage;
	/* The worker. */
	pid_t worker;
	int core;
	struct perf_serve serve;
	/* The client. */
	pid_t client;
	int client_sock, listener;
	/* What the core says, and what it was asked. */
	struct perf_grant grant;
	bool own_pidns;
	int facts_result;
	unsigned n_facts, n_news[PERF_NEWS_MAX];
	bool done;
	bool silent; /* the core does not answer */
	struct perf_opened opened;
	int opened_fd;
	struct perf_revoked revoked;
	unsigned n_opened, n_revoked;
};

/* cmocka's. */
int show_begin(void **state);
int show_end(void **state);

/* Another worker for the same slot, or one of another kind (slot 1). */
void show_worker(struct show *s, enum perf_serve_kind kind);
void show_worker_kill(struct show *s); /* SIGKILL */
void show_send(struct show *s, uint32_t type, const void *data, size_t size, int fd);

/* A call in the client, of the same program: what it returns comes back. */
typedef int (*client_fn)(const void *data);
#define CLIENT_DATA_MAX 512
int show_run(struct show *s, client_fn fn, const void *data, size_t size);
/* Only begun; show_result() waits for what it returns. */
void show_run_begin(struct show *s, client_fn fn, const void *data, size_t size);
int show_result(struct show *s);
/* The core serves until so. */
bool show_until(struct show *s, bool (*is_so)(struct show *s));

#define SKIP(s)           \
	if ((s)->skipped) \
	return

/* What clients are asked for. */
/* A call as the client makes it; `pad` is the test's own. */
struct order {
	uint8_t attr[200];
	int32_t pid, cpu, group;
	uint32_t pad;
	uint64_t flags;
};

struct perf_event_attr *attr_of(struct order *o);
struct order software(int pid, int cpu); /* task-clock, counted */
int call(const void *attr, const struct order *o);

int client_open(const void *data);   /* a struct order */
int client_close(const void *data);  /* an int: its fd; and below */
int client_flags(const void *data);  /* is it an event, and of what flags? */
int client_counts(const void *data); /* 1: it counts what the client does */
int open_software(struct show *s, int pid, int cpu);
