/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers of processes between the daemon's pid namespace and another, which `pidns_fd` is: by the
 * namespace's ioctls (6.11), on older kernels by the inspector, which has credentials translated.
 *
 * May run on a worker.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "inspect.h"

/* The daemon's number of a process (a thread group's leader) of that namespace. -ESRCH: it has none
 * such. */
int pidns_to_host(struct inspector *i, int pidns_fd, int32_t pid);

/* In place; 0 where the other namespace does not have it. Threads have numbers too;
 * inspect_pids_from() tells where they are not found by them. */
int pidns_from_host(struct inspector *i, int pidns_fd, int32_t *pids, size_t n);
int pidns_all_to_host(struct inspector *i, int pidns_fd, int32_t *pids, size_t n);
