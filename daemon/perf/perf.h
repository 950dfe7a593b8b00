/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Perf in the core: listeners and their workers, what workers ask, OpenPerfEvent, revocation. On
 * the loop's thread. Where the kernel has no perf events, or --perf=off, it says so and refuses.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "registry.h"
#include "spawner.h"

struct manager;
struct op;
struct perf;

/* Takes over what an earlier daemon left (keeper.h), listens on --lxc-socket and --oci-socket.
 * Before the core is confined; `spawner` is borrowed, NULL: perf is off, for the reason `why`. */
int perf_new(struct manager *m, struct spawner *spawner, const char *why, struct perf **ret);
struct perf *perf_free(struct perf *p);	    /* listeners stay with the keeper; returns NULL */
const char *perf_off(const struct perf *p); /* why it is, or NULL: it is on */
bool perf_gated(const struct perf *p);	    /* there is a gate, whose map the core writes to */

/* AttachPerfListener: takes `listener` (judged to be a seccomp notification fd), for an account.
 * -EDQUOT: its listeners are too many. */
int perf_attach(struct perf *p, uint64_t account, int listener);

/* OpenPerfEvent, RevokePerf: `done` is called later, once, from the loop, with op->reply filled;
 * the caller holds the op. Negative at once: it is not. `group_fd`, `cgroup_fd` stay the caller's.
 */
int perf_open_for(struct perf *p, struct op *op, int group_fd, void (*done)(struct op *op));
int perf_revoke_in(
	struct perf *p, struct op *op, int cgroup_fd, bool kill, void (*done)(struct op *op));

/* What is there of an account's, or of all. */
#define PERF_ALL UINT64_MAX
struct perf_tally {
	unsigned listeners, events, wedged;
	uint64_t calls, refused, dropped;
};
void perf_tally(const struct perf *p, uint64_t account, struct perf_tally *ret);

/* There is something to be looked at every now and then: see unread.h. */
void perf_look(struct perf *p);

/* Grants, the policy file, PMUs or GPUs have changed: workers ask again. `p` may be NULL. */
void perf_changed(struct perf *p);
