/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One call on its way: request -> facts -> verdict -> act -> reply.
 *
 * An op owns every fd that was judged and hands these same fds to the act, which may run on a
 * worker thread. An act therefore touches its op and nothing else: not the manager, the peer or the
 * bus.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "../dbus/method.h"
#include "../policy/decide.h"
#include "../policy/path.h"
#include "../policy/translate.h"
#include "hierarchy.h"
#include "identity.h"
#include "workers.h"

struct devfiles_change;
struct device_call;
struct device_change;
struct exchange;
struct manager;
struct passed;
struct peer;
struct perf_asked;

/* Somebody who is judged: the requestor; and in an Scm call the proxy that speaks for it. */
struct party {
	struct identity *identity; /* borrowed; the connection's may go while a worker acts */
	pid_t pid;		   /* the same, */
	int pidfd;		   /* and for an act that goes on asking about it; or -EBADF */
	struct subject subject;
	struct victim victim; /* whom the call is about; the ids are the same for all parties */
};

/* Where a party stands in one hierarchy. */
struct standing {
	/* Its cgroup as the daemon's namespace shows it. The base is that without a leaf
	 * (init.scope, .cgm_leaf) that only stands for its parent. */
	char own[PATH_TEXT_MAX + 1];
	size_t base_len;
	size_t scope_len; /* own[:scope_len] is the scope's root; 0: not looked for yet */
	uint64_t root_id; /* FACT_ROOT: the root of its cgroup namespace here, or 0 */
	bool have_root;
};

/* What a key stands for in one hierarchy: see value.h. */
struct value {
	struct plan plan;
	bool by_program;		  /* no file, but what devfiles.h does in its place */
	struct devfiles_change *change;	  /* by_program: heap or NULL */
	int fd[PLAN_FILES_MAX];		  /* of the plan's files; -EBADF: not there */
	struct node node[PLAN_FILES_MAX]; /* of those that are there, one behind the other */
};

/* One hierarchy of a call. */
struct target {
	const struct hierarchy *h;
	enum reason reason;    /* why it is left out, or OK */
	int err;	       /* the errno behind REASON_KERNEL, positive; 0: none */
	char *detail;	       /* heap: what else there is to tell of the reason, or NULL */
	enum reason detail_of; /* ... if it is this reason; OK: of any */

	struct standing who;	/* the requestor's */
	struct standing *proxy; /* heap; NULL: nobody speaks for it. The root of the proxy's scope
				   is who.own[:proxy->scope_len] as well. */
	size_t scope_len; /* FACT_SCOPE: who.own[:scope_len] is the root of what is in all scopes */
	const char *rest; /* the path below `start_len`, into op->path.text */
	size_t start_len; /* the walk began at who.own[:start_len] */
	char victim_path[PATH_TEXT_MAX + 1];

	int dir_fd;	     /* the deepest cgroup of the path that exists */
	int parent_fd;	     /* its parent, where the walk passed it */
	int file_fd;	     /* the key's file, where it is read */
	const char *name;    /* the last component of rest, "" if there is none */
	const char *missing; /* the part of rest that does not exist, "" */

	struct node way[PATH_COMPONENTS_MAX + 1];
	struct place place;
	struct node file;
	struct facts facts;
	struct value value;	      /* READ, LIMIT */
	struct levels *levels;	      /* FACT_LEVELS, see levels.h; heap or NULL */
	unsigned controllers;	      /* CREATE: what was granted */
	struct device_change *change; /* DEVICES, FACT_DEVICES, see devices.h; heap or NULL */
	bool widens;		      /* DEVICES, PERF: as it was granted */

	/* results */
	bool done; /* the act ran and did not fail */
	bool existed;
	char **left; /* PRUNE: paths that were busy, NULL-terminated */
};

struct op {
	struct manager *manager;
	struct peer *peer; /* NULL: the client has gone meanwhile; act on, answer nobody */
	uint64_t account;  /* the peer's, for when it has gone */
	sd_bus_message *message;
	struct request request;
	struct question question;
	struct key key;		     /* question.key of LIMIT, where it is no row */
	struct device_call *devices; /* see devices.h; heap or NULL */
	struct perf_asked *perf;     /* see perf/act-perf.h; heap or NULL */
	struct path path;
	struct party who;
	struct party *proxy; /* heap; NULL: nobody speaks for the requestor */
	pid_t victim_pid;    /* as the daemon sees it */
	int victim_pidfd;
	struct passed *passed; /* what came with the call, of whatever kind; or NULL */
	int pidns_fd;	       /* lists: the requestor's pid namespace; -EBADF: the daemon's own */

	unsigned n_targets;
	struct target *targets; /* &first, or a heap array */
	struct target first;

	struct reply reply;
	struct job job;	      /* in a worker's queue */
	struct exchange *scm; /* where the answer goes instead of a D-Bus reply; see scm.h */
};

struct op *op_new(struct manager *manager, struct peer *peer);
/* Of nobody who has called: only to gather facts with. `requestor` stays the caller's. */
struct op *op_new_of(struct manager *manager, struct identity *requestor);
struct op *op_free(struct op *op);

/* Before op_run(): the peer speaks for another process, which becomes the requestor. `requestor`
 * stays the caller's and must live as long as nothing has been answered. */
int op_speak(struct op *op, struct identity *requestor);

/* Takes the op through all five steps. The answer goes out before this returns, or later if the act
 * is on a worker; either way peer_answer() gets the op. */
void op_run(struct op *op);

/* The verdict on one hierarchy; for who runs no op but asks as one would be asked. */
enum reason op_judge(struct op *op, struct target *t);

/* Fails one hierarchy by a negative errno of the kernel. */
void target_fail(struct target *t, int err);
/* What to add to the message if `reason` becomes the answer; not before that, for it may tell of
 * what another reason keeps to itself. */
void target_detail(struct target *t, enum reason reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The path of the target in its hierarchy. `buf` holds PATH_TEXT_MAX + 1. False: it would not fit.
 */
bool target_path(const struct target *t, char *buf);
