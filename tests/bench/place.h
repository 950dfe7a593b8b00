/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* The cgroups that the benchmark works in: one of a name of ours in every hierarchy of the cage, or
 * in the one that there is on pure cgroup v2. */
#include <stdbool.h>
#include <sys/types.h>

#define CGROUPS "/sys/fs/cgroup"
/* Those that the jobs use. */
#define ENABLE "+memory +pids +cpu"
#define DISABLE "-memory -pids -cpu"

bool place_pure(void);
/* /NAME in the hierarchy that has memory: a directory fd. */
int place_open(const char *name);
/* The same where devices are governed: in v2's hierarchy, or in v1's of devices; -ENOENT: there is
 * none. */
int place_open_governing(const char *name, bool v2);
/* The file of the memory limit there. */
const char *place_limit(void);
/* From a place: where its own tasks are. */
const char *place_home(void);

/* Makes /NAME in every hierarchy, delegated to the uid as a container manager would do it. */
void place_make(const char *name, uid_t owner);
void place_enter(const char *name, pid_t pid);
/* On pure v2: puts what is in it into its leaf, and enables the controllers for its children. */
void place_settle(const char *name, uid_t owner);
/* In one directory, by cgroup.procs. Returns 0 or a negative errno. */
int place_move(int dirfd, const char *name, pid_t pid);
/* All that are in one into the other. */
void place_move_all(int dirfd, const char *from, const char *to);
int place_write(int dirfd, const char *name, const char *text);
