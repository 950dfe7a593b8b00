/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Facts about a process, read through the pinned O_PATH fd of its /proc/PID directory. Each file is
 * opened anew, for an fd that is already open keeps showing what was. The parsers are pure and have
 * their own tests; the readers loop to the end of the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../policy/idmap.h"
#include "../policy/subject.h"

struct proc_status {
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;
	uint64_t caps;
	unsigned threads; /* 0: it does not say */
	unsigned n_groups;
	bool groups_cut;
	gid_t groups[SUBJECT_GROUPS_MAX];
};

/* Reads a whole file relative to `dirfd`; NUL-terminated. -EFBIG: more than size - 1 bytes. -ESRCH:
 * gone. */
ssize_t proc_read(int dirfd, const char *name, char *buf, size_t size);

/* The same onto the heap, NUL-terminated, at most `max` bytes of text; the caller frees. Returns
 * the length. */
ssize_t proc_read_heap(int dirfd, const char *name, size_t max, char **ret);

/* Of the supplementary groups (65,536 at most) what does not fit is cut; see groups_cut. */
ssize_t proc_read_again(int *fd, int dirfd, const char *name, char *buf, size_t size);
int proc_status_read(int proc_fd, struct proc_status *ret);
/* The same by number, beneath an fd of /proc. */
int proc_status_read_pid(int proc_root_fd, pid_t pid, struct proc_status *ret);
int proc_status_parse(const char *text, struct proc_status *ret);

int proc_idmap_read(int proc_fd, const char *name, struct idmap *ret);

/* The task is exiting (PF_EXITING in /proc/PID/stat): its main thread is dead and its cgroup file
 * lies
 * ("/" on v1, stale on v2). 1, 0 or a negative errno. `comm` may hold spaces and parentheses. */
int proc_exiting(int proc_fd);
/* The same by number, beneath an fd of /proc. */
int proc_exiting_pid(int proc_root_fd, pid_t pid);
int proc_exiting_parse(const char *text);

/* Field 22 of stat: the start in clock ticks since boot. */
int proc_start_parse(const char *text, uint64_t *ret);
