/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gathering: what the decision must know, read from the kernel when it is asked for and not before.
 *
 * The requestor can change between two reads, but only downwards: into user and cgroup namespaces
 * below its own, where it has more capabilities and less reach. So what capabilities it has is
 * always read before the maps and the namespaces: mixed facts then grant no more than the later
 * ones alone.
 */
#pragma once

#include "op.h"

/* Expands request.controller into op->targets; of a native call, which names none, to those
 * that govern devices, or to perf's. */
enum reason facts_hierarchies(struct op *op);
/* op->targets are all hierarchies, and the requestor itself is whom the call is about. */
enum reason facts_self(struct op *op);

/* May the proxy speak for the requestor? Before anything else is gathered. */
enum reason facts_speech(struct op *op);

/* Reads the requestor's cgroups once for all targets and opens each target's path. Per-target
 * failures go to target.reason; a failure of all is returned. */
enum reason facts_open(struct op *op);

/* Resolves request.pid to a held task; MOVE and LOCATE. */
enum reason facts_victim(struct op *op);
/* Reads the victim's uids again: 0 as judged, -EPERM changed, -ESRCH gone. */
int facts_victim_again(const struct op *op);

/* Gathers the facts that a verdict about one party asked for. */
enum reason facts_gather(struct op *op, struct party *p, struct target *t, unsigned need);

/* Is the requestor host root, and still who it was? False also where that cannot be told. */
bool facts_host_root(struct op *op);

/* Last, before the act: the requestor, and who speaks for it, live and are who they were. */
enum reason facts_requestor_still(const struct op *op);
