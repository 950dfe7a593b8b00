/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A task that a pidfd holds. What is read of it by number counts once the pidfd has been polled
 * afterwards. Any thread. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "../policy/subject.h"
#include "hierarchy.h"

/* By polling the pidfd: a zombie is not alive. */
bool task_alive(int pidfd);

/* Its real, effective and saved uids, as the host has them: by the pidfd (PIDFD_GET_INFO, 6.13), on
 * older kernels by its number beneath an fd of /proc. -ESRCH: gone. *ret_alone, which may be NULL:
 * it is known to have no thread but the main one. */
int task_ids(int proc_root_fd, pid_t pid, int pidfd, struct victim *ret, bool *ret_alone);

/* Is it in the cgroup of v2 with that id? 1 or 0; what is exiting is in none. -ESRCH: gone. */
int task_is_in(int proc_root_fd, pid_t pid, const struct hierarchy *h, uint64_t id);
