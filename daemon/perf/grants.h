/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants where they are kept: in trusted.cgmd.perf of cgroup directories of the hierarchy that
 * perf_event lives in (v1's where it is mounted there, else v2), with the cgroup's id, so that a
 * new cgroup of the same name inherits nothing. See ../../policy/perf-items.h for what a record
 * means.
 */
#pragma once

#include <sys/types.h>

#include "../../policy/perf-items.h"
#include "../../policy/perf.h"

struct hierarchy;
struct inspector;
struct manager;

/* The hierarchy of perf events, NULL: none is managed. */
const struct hierarchy *perf_hierarchy(const struct manager *m);

/* By a directory's fd (not O_PATH). None: an empty record. */
int perf_record_get(struct inspector *i, int dirfd, struct perf_record *ret);
int perf_record_set(struct inspector *i, int dirfd, const struct perf_record *record);

/* What the cgroup at `path` ("/a/b", as the daemon's namespace shows it) has, and its parent. With
 * *ret_len the length of the path of the deepest cgroup that gave any of it: no event reaches
 * above. `ret_above` may be NULL. */
struct perf_had {
	struct perf_items items, above;
	size_t carrier_len; /* 0: it has none */
};
int perf_had_at(
	struct manager *m, const struct hierarchy *h, const char *path, struct perf_had *ret);

/* As numbers of the kernel's, for the decision: PMUs from sysfs, tracepoints from tracefs, GPUs
 * that the cgroup's device rules allow. *ret is written whole. */
int perf_grant_resolve(struct manager *m, const struct hierarchy *h, const char *path,
	const struct perf_items *items, struct perf_grant *ret);

/* What is to be known of a thread, for workers: the items of its cgroup, the scope, as
 * PERF_FACTS_ARE has it; *ret_scope_fd is an O_RDONLY directory, the caller's. -ESRCH. */
struct perf_facts_are;
int perf_facts_of(struct manager *m, pid_t tid, struct perf_facts_are *ret, int *ret_scope_fd);
