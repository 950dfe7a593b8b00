/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of perf in the core share: perf.c (start, registry, clock), perf-worker.c
 * (workers' lives), perf-broker.c (what is asked of an account's broker), perf-listen.c (LXC, OCI).
 */
#pragma once

#include <sys/queue.h>

#include "../account.h"
#include "keeper.h"
#include "perf.h"
#include "worker.h"

struct listener;
struct perf_gate;
struct perf_life;

/* Listeners, connections and brokers; those without a slot among them. */
#define PERF_LIVES_MAX (PERF_SLOTS_MAX + 64)
#define PERF_NO_SLOT UINT32_MAX
/* Of these slots account 0 alone gets one. */
#define PERF_SLOTS_KEPT 32
/* Calls of one account that wait for its broker. */
#define PERF_WAITING_MAX 256

/* A call that is to be answered by a broker. */
struct perf_wait {
	TAILQ_ENTRY(perf_wait) list;
	uint64_t cookie;
	struct op *op;
	void (*done)(struct op *op);
	int fd; /* borrowed */
	bool kill, revoke, sent;
};
TAILQ_HEAD(perf_waits, perf_wait);

/* What a worker is there for. It may be without one because that has died too often lately. */
struct perf_life {
	LIST_ENTRY(perf_life) list;
	struct perf *perf;
	struct account *account;
	struct waiter waiter;
	enum perf_serve_kind kind;
	uint32_t slot;	    /* PERF_NO_SLOT: none yet */
	int fd;		    /* the listener; or a connection until a worker has it */
	int channel, pidfd; /* of its worker; pidfd < 0: there is none */
	sd_event_source *io, *end;
	int32_t peer_pid;
	uint32_t peer_uid;
	uint64_t since; /* when the worker was started or killed, or last had something to do */
	uint64_t begun; /* of the minute in which `n_begun` workers were started */
	unsigned n_begun;
	bool over;   /* no further worker; it goes with the one that it has */
	bool killed; /* it was told to end by SIGKILL */
	bool wedged; /* ... and does not */
	/* Of a broker. */
	struct perf_waits waits;
	unsigned n_waits;
};
LIST_HEAD(perf_lives, perf_life);

struct perf {
	struct manager *manager;
	struct spawner *spawner;
	struct keeper *keeper; /* NULL: nothing is kept */
	struct perf_gate *gate;
	const char *off;
	struct perf_registry *registry;
	int registry_fd;
	struct perf_lives lives;
	unsigned n_lives;
	uint64_t cookie;
	sd_event_source *tick, *end;
	struct listener *lxc, *oci;
	/* What the log has told of. */
	uint64_t dropped[PERF_SLOTS_MAX];
};

uint64_t perf_msec(void);				   /* CLOCK_MONOTONIC, as perf_slot.busy */
struct perf_slot *perf_slot_of(const struct perf_life *l); /* NULL: it has none */

/* perf-worker.c */

/* May this account have one more? */
bool life_allowed(const struct perf *p, const struct account *account);
/* Takes `fd` on success. The account gets a reference more. -EDQUOT. */
int life_new(struct perf *p, enum perf_serve_kind kind, struct account *account, uint32_t slot,
	int fd, struct perf_life **ret);
/* Memory and fds alone: its worker ends when it notices, its slot and what is kept stay. */
struct perf_life *life_free(struct perf_life *l);
/* A free slot. -EDQUOT. */
int life_slot(struct perf *p, enum perf_slot_kind kind, const struct account *account);
/* A worker for it. A failure is told by the log, and tried again. */
void life_start(struct perf_life *l);
/* No more for it: its slot goes, and it goes itself once its worker has. */
void life_end(struct perf_life *l);
/* Looks after it, every now and then. */
void life_look(struct perf_life *l, uint64_t now);
/* At once. */
void life_kill(struct perf_life *l);
/* Nothing more is heard of its worker, which ends by that. */
void channel_close(struct perf_life *l);

/* perf-channel.c */

/* What its worker is told to serve. */
void serve_fill(const struct perf_life *l, struct perf_serve *ret);
int channel_watch(struct perf_life *l);
/* Works on one packet. 1: there was one. Who is not to be believed is killed. */
int channel_read(struct perf_life *l);
/* One packet to its worker. -EAGAIN: its channel is full; another error: the worker was killed. */
int life_send(struct perf_life *l, enum perf_to_worker type, const void *data, size_t size, int fd);

/* perf-broker.c */

/* What has come for it; takes `fd`. Negative: it is not what a worker says. */
int broker_opened(struct perf_life *l, const struct perf_opened *opened, int fd);
int broker_revoked(struct perf_life *l, const struct perf_revoked *revoked);
/* Sends what waits, as far as the channel takes it. */
void broker_push(struct perf_life *l);
/* Whatever waits is answered with this; what was not sent yet waits on, if `sent`. */
void broker_fail(struct perf_life *l, bool sent, enum reason reason);

/* perf-listen.c */

/* A socket that cannot be had is logged, and done without. */
int perf_listen(struct perf *p);
