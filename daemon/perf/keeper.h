/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper: a process that outlives the daemon and does nothing but hold: the registry, and the
 * listeners of its slots. Where systemd runs the daemon its fd store does that, and there is no
 * keeper. It listens on a socket that only the host's root can reach, outside of the folder that is
 * mounted into containers, takes and gives fds by name, and ends when it holds no listener that
 * anybody is filtered by and no daemon is connected.
 *
 * While no daemon is connected for longer than KEEPER_ALONE_MSEC it answers what comes with ENOSYS,
 * as the kernel would without a listener, so that nobody waits for a daemon that was taken away.
 * It never answers a notification that is noted in the registry.
 */
#pragma once

#include <stdbool.h>

#include "registry.h"

#define KEEPER_SOCKET "/run/cgmd-keeper/socket"
#define KEEPER_ALONE_MSEC 10000

struct keeper;
struct spawner;

/* A slot's name in systemd's store is "slot-N", the registry's "registry". */

/* Connects to what an earlier daemon left, or begins anew; the fd store if there is one
 * (NOTIFY_SOCKET and FDSTORE, which our unit sets for systemd before 254; what comes back by
 * LISTEN_FDNAMES). The process is started when the first listener is to be kept. *ret_registry is a
 * memfd or -EBADF: there is none yet. listener[N] is that of slot N, or -EBADF; all are the
 * caller's. -EBUSY: another daemon uses the keeper there. */
int keeper_open(struct spawner *spawner, const char *path, struct keeper **ret, int *ret_registry,
	int listener[PERF_SLOTS_MAX]);
struct keeper *keeper_free(struct keeper *k); /* what it holds stays held; returns NULL */

/* The fds stay the caller's. `k` may be NULL. Failures were logged, once until it goes well. */
int keeper_store_registry(struct keeper *k, int fd);
int keeper_store(struct keeper *k, unsigned slot, int listener);
int keeper_drop(struct keeper *k, unsigned slot);

/* Is that the name of what keeper_open() takes, and no socket? */
bool keeper_inherited(const char *name);
/* Whoever does not want it has it taken out of systemd's store. */
void keeper_disown(const char *name);

/* For the spawner's child. `sock` listens. */
_Noreturn void keeper_run(int sock, bool confine);
