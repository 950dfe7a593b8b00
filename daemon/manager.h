/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager owns everything: the loop, the hierarchies, the inspector, the listeners, the peers.
 * Its methods run on the loop's thread alone.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "../policy/grant.h"
#include "account.h"
#include "devlock.h"
#include "devprog.h"
#include "hierarchy.h"
#include "identity.h"
#include "inspect.h"
#include "listener.h"
#include "perf/unread.h"
#include "porter.h"
#include "transport.h"
#include "watch.h"
#include "workers.h"

#define LISTENERS_MAX 16
#define DELEGATION_FILES_MAX 16

struct devnames;
struct governed;
struct exchange;
struct op;
struct peer;
struct perf;
struct spawner;

enum device_programs { DEVICES_CHOOSE, DEVICES_STORAGE, DEVICES_PROGRAMS, DEVICES_OFF };

struct options {
	const char *sockets[LISTENERS_MAX];
	unsigned n_sockets;
	const char *mount, *ignore, *pidfile, *policy;
	unsigned max_depth, max_peers, max_peers_uid;
	uint64_t scm_usec; /* each step of an exchange of credentials */
	int ready_fd;
	bool daemonize, sigstop, strict, debug, no_sandbox;
	const char *bpffs;
	enum device_programs device_programs;
	bool perf_off, perf_gate;
	const char *perf_keeper, *lxc_socket, *lxc_next, *oci_socket;
	unsigned perf_events_max, perf_rate, perf_listeners_max;
	struct transport_limits limits;
};

struct manager {
	const struct options *options;
	sd_event *event;
	struct hierarchies hierarchies;
	struct inspector *inspector;
	struct devprog *devprog; /* perhaps of kind NONE */
	struct devlocks *devlocks;
	struct spawner *spawner;
	struct perf *perf;
	struct perf_unreads unread;
	struct zygote *zygote;
	struct porters *porters;
	struct workers *workers;
	struct watch *watch;
	struct devnames *devnames;
	struct grants grants;	   /* of the policy file; anew at SIGHUP */
	struct governed *governed; /* cgroups of v2 with device rules of ours */
	struct listener *listeners[LISTENERS_MAX];
	unsigned n_listeners;
	LIST_HEAD(, peer) peers;
	struct accounts accounts;
	/* The peers that called last keep what was opened for it; see identity_rest(). */
	TAILQ_HEAD(recent_peers, peer) recent;
	unsigned n_recent, max_recent;
	unsigned peak_peers; /* since memory was given back */
	sd_event_source *trim;
	struct exchange *exchanges; /* that are under way; see scm.h */
	struct op *spare_op;	    /* the last op, kept for the next call */
	int proc_fd;		    /* /proc */
	int pidns_fd;		    /* the daemon's own pid namespace */
	int sys_fd, tracefs_fd;	    /* for perf: /sys and tracefs; the latter may be -EBADF */
	/* v2's delegation files, from /sys/kernel/cgroup/delegate without memory.reclaim; heap */
	char *delegation[DELEGATION_FILES_MAX + 1]; /* NULL after the last */
	unsigned n_delegation;
};

/* What the kernel offers is found, and the inspector and the listeners started: after this the
 * daemon answers as soon as the loop runs. Errors were logged. */
int manager_new(const struct options *options, struct manager **ret);
struct manager *manager_free(struct manager *m);
/* Until SIGTERM or SIGINT, or a fault that only a restart mends. */
int manager_run(struct manager *m);
/* An inspector that is gone, memory that is out: ends the loop with `err`. */
void manager_fail(struct manager *m, int err, const char *what);
