/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A worker: an expendable process that answers the notifications of one listener, the messages of
 * one connection of LXC's, or the OpenPerfEvent calls of one account. It alone reads a container's
 * memory and receives its fds; whatever these do to it they do to their own container. It has
 * PERFMON and SYS_PTRACE. It decides by policy/perf.h; what it cannot know (grants, the scope) it
 * asks the core for, once for each task, until the registry's generation says otherwise.
 *
 * Everything that is read by a notification's tid is read between RECV and NOTIF_ID_VALID: while
 * the id is valid the thread waits in its system call, so the number was its own all the time.
 *
 * Who asks more often than the rate allows is not answered with an error but waits: what the worker
 * does not take costs nobody anything.
 */
#pragma once

#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/types.h>

#include "registry.h"
#include "spawner.h"

/* Over the channel, SOCK_SEQPACKET. From the core. */
enum perf_to_worker {
	PERF_REGISTRY,	/* first; carries the memfd */
	PERF_SERVE,	/* second; carries the listener or connection, none of a BROKER. The worker
			   waits until no other has the slot: it locks (F_SETLKW) the byte of the memfd
			   that the slot's number says */
	PERF_FACTS_ARE, /* to PERF_FACTS; carries the scope's directory (O_RDONLY) if result is 0 */
	PERF_OPEN,	/* BROKER: carries the group's fd if there is one */
	PERF_REVOKE,	/* BROKER: carries the cgroup's directory */
	PERF_SLOT_IS,	/* to PERF_FOUND: a perf_serve of the same worker, which serves the listener
			   that it found as PERF_SERVE_NOTIFY from here on; no slot: the core closes
			   the channel */
};

/* From the worker. */
enum perf_from_worker {
	PERF_FACTS,   /* what may this thread do? A perf_ask */
	PERF_FOUND,   /* OCI: carries the listener that came, which it knows to be one; it wants a
			 slot. No struct */
	PERF_OPENED,  /* to PERF_OPEN: result, and the event */
	PERF_REVOKED, /* to PERF_REVOKE */
	PERF_NEWS,    /* a line for the log, static text by its number: a perf_ask with an enum
			 perf_news */
	PERF_DONE,    /* nobody is filtered by the listener any more, or the connection is over: it
			 exits, and its slot is free. No struct. Whoever ends without has failed, and
			 another takes its place. */
};

struct perf_ask {
	int32_t tid;   /* FACTS: the host's number */
	uint32_t news; /* NEWS */
};

enum perf_serve_kind { PERF_SERVE_NOTIFY, PERF_SERVE_LXC, PERF_SERVE_OCI, PERF_SERVE_BROKER };

#define PERF_PATH_MAX 108

struct perf_serve {
	uint32_t kind;
	uint32_t slot;	  /* of OCI: none yet */
	int32_t peer_pid; /* LXC: who connected, from SO_PEERCRED; it was compared with a pidfd */
	uint32_t peer_uid;
	uint32_t rate, burst; /* calls a second, and at once */
	uint32_t max_events;  /* of a scope on one CPU, and PERF_TASK_EVENTS_FACTOR times that of
				 tasks */
	uint32_t pad;
	char next[PERF_PATH_MAX]; /* LXC: --lxc-next or "" */
};
#define PERF_TASK_EVENTS_FACTOR 16

/* What the core knows of a thread. Of what lies outside everything the core manages: no grant, and
 * its own cgroup as the scope. */
struct perf_facts_are {
	int32_t tid;	     /* as it was asked */
	int32_t result;	     /* -ESRCH: it has gone */
	uint64_t generation; /* of the registry, as it was before anything was gathered */
	uint64_t scope_id;   /* cgroup whose events count together: the scope or above */
	uint32_t own_pidns;  /* the daemon's: no opener is needed */
	uint32_t up;	     /* so many levels above the scope */
	struct perf_grant grant;
};

struct perf_open {
	int32_t tid;	   /* whose call it is: the requestor, host's number, held by the core */
	uint32_t uid, gid; /* which it had when it asked */
	int32_t pid, cpu;  /* pid as the requestor's pid namespace has it */
	uint32_t size;	   /* of the attr's bytes */
	uint64_t flags;
	uint64_t cookie;
	uint32_t has_group, pad;
	uint8_t attr[PERF_ATTR_BYTES_MAX];
};

struct perf_opened {
	uint64_t cookie;
	int32_t result;	 /* 0 or a negative errno */
	uint32_t reason; /* enum reason, of a refusal by perf_decide(); else OK */
};

struct perf_revoke {
	uint64_t cookie;
	uint32_t kill, pad;
};

/* What was found: events in the fds of tasks in the cgroup or below that their cgroup's grant would
 * not open any more. */
struct perf_revoked {
	uint64_t cookie;
	int32_t result;
	uint32_t disabled; /* events */
	uint32_t holders;  /* processes that hold any of them, and might enable them again */
	uint32_t killed;   /* of these */
	uint32_t unknown;  /* perf events that are not in the ledger: left alone */
	uint32_t pad;
};

/* NEWS: what went wrong, each at most once a second. */
enum perf_news {
	PERF_NEWS_HALF, /* half a message */
	PERF_NEWS_SIZE, /* a message of another size than the wire's */
	PERF_NEWS_FDS,	/* not the fds that belong to it */
	PERF_NEWS_PEER, /* a notification for somebody who is not the peer's */
	PERF_NEWS_DEAF, /* the peer does not read */
	PERF_NEWS_JSON, /* OCI: not the state of a container */
	PERF_NEWS_NEXT, /* --lxc-next does not answer */
	PERF_NEWS_CALL, /* a system call that is not perf_event_open */
	PERF_NEWS_MAX,
};

/* One packet is a uint32_t of the enums above, a uint32_t 0, and that struct: exactly so many
 * bytes. PERF_REGISTRY has no struct. The core does not block on the channel; the worker may, as
 * long as it is not busy (perf_slot.busy). */
struct perf_head {
	uint32_t type, zero;
};

/* Takes both channels; answers until the core's closes. `confine`: capabilities and system calls
 * are given up first. */
_Noreturn void perf_worker_run(int core, int spawner, bool confine);
