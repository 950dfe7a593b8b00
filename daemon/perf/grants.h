/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants where they are kept: in trusted.cgmd.perf of cgroup directories of the hierarchy that
 * perf_event lives in (v1's where it is mounted there, else v2), with the cgroup's id, so that a
 * new cgroup of the same name inherits nothing. See ../../policy/perf-items.h for what a record
 * means. On the loop's thread alone.
 */
#pragma once

#include <sys/types.h>

#include "../../policy/perf-items.h"
#include "../../policy/perf.h"

struct devway;
struct hierarchy;
struct inspector;
struct manager;

/* The hierarchy of perf events, NULL: none is managed. */
const struct hierarchy *perf_hierarchy(const struct manager *m);

/* By a directory's fd (not O_PATH). None, or none that this daemon could have written: an empty
 * record. */
int perf_record_get(struct inspector *i, int dirfd, struct perf_record *ret);
int perf_record_set(struct inspector *i, int dirfd, const struct perf_record *record);
/* perf_record_get() of a cgroup is asked for once; but what root has written by hand counts after
 * this. */
void perf_records_forget(void);

/* A cgroup on the way from the hierarchy's root, path[:len]. */
struct perf_level {
	size_t len;
	const struct perf_record *record;
	const struct perf_items *policy; /* what the policy file gives to it */
	const struct perf_items *have;	 /* what it has, with what comes from above */
};

/* Each cgroup down to `path` ("/a/b", as the daemon's namespace shows it), until one call does not
 * return 0, which is returned. -ENOENT. */
int perf_way(struct manager *m, const struct hierarchy *h, const char *path,
	int (*each)(void *userdata, const struct perf_level *level), void *userdata);

/* What the cgroup has, and its parent. With *ret_len the length of the path of the deepest cgroup
 * that gave any of it: no event reaches above. */
struct perf_had {
	struct perf_items items, above;
	size_t carrier_len; /* 0: it has none */
};
int perf_had_at(
	struct manager *m, const struct hierarchy *h, const char *path, struct perf_had *ret);

/* As numbers of the kernel's, for the decision: PMUs from sysfs, tracepoints from tracefs, GPUs
 * that all of these device rules allow (devway.h, DEVWAY_READ; none: all GPUs). *ret is written
 * whole. */
int perf_grant_resolve(struct manager *m, const struct perf_items *items,
	const struct devway *const *way, unsigned n_ways, struct perf_grant *ret);
/* What has a say about a cgroup's devices: the cgroups of this path, or as much of it as there is,
 * in the hierarchies that govern devices. The caller frees each. */
#define PERF_WAYS_MAX 2
int perf_ways_at(
	struct manager *m, const char *path, struct devway *ret[PERF_WAYS_MAX], unsigned *ret_n);

/*
 * What is to be known of a thread, for workers: all of *ret but the generation, and *ret_scope_fd,
 * an O_RDONLY directory, the caller's. Where its cgroup cannot be told it has no grant, scope_id is
 * 0, and the directory is that of no cgroup. -ESRCH: it has gone; the caller sees to it that the
 * number was that thread's before.
 */
struct perf_facts_are;
int perf_facts_of(struct manager *m, pid_t tid, struct perf_facts_are *ret, int *ret_scope_fd);
