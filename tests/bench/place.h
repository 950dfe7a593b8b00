/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* The cgroups that the benchmark works in: one of a name of ours in every hierarchy of the cage. */
#include <sys/types.h>

#define CGROUPS "/sys/fs/cgroup"
#define MEMORY CGROUPS "/memory"

/* Makes /NAME in every hierarchy, delegated to the uid as a container manager would do it. */
void place_make(const char *name, uid_t owner);
void place_enter(const char *name, pid_t pid);
/* In one directory, by cgroup.procs. Returns 0 or a negative errno. */
int place_move(int dirfd, const char *name, pid_t pid);
int place_write(int dirfd, const char *name, const char *text);
