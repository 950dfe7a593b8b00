/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of devprog share. */
#pragma once

#include <dirent.h>
#include <linux/bpf.h>
#include <pthread.h>

#include "../policy/device-policy.h"
#include "devprog.h"

#define CLASSES_MAX 5
/* Of kind PROGRAMS there is one size of pins, and that is none of a class. */
#define NO_CLASS 0

struct class
{
	size_t size;
	uint32_t id;	     /* of the program */
	int prog_fd, map_fd; /* kind STORAGE */
};

/* A program that was made for one policy. */
struct made {
	uint32_t id;
	int prog_fd;
	uint64_t seen; /* seconds: when it was last found attached, or was attached */
	struct device_policy policy;
};

struct devprog {
	enum devprog_kind kind;
	char why[160];
	struct sandbox_bpf rights;
	/* What is attached, pinned and detached here, and `made`. */
	pthread_mutex_t lock;
	unsigned n_classes; /* from the smallest on */
	struct class classes[CLASSES_MAX];
	unsigned n_made;
	struct made *made;
	int links_fd;	  /* BPFFS/cgmd/links; < 0: attached directly */
	char *links_path; /* of the same: pinning by a directory's fd came with 6.5 */
	DIR *round;	  /* devprog_collect() */
};

/* ---- devprog.c; the lock is held */
int devprog_query_locked(struct devprog *d, int fd, struct devprog_attached *ret);
int devprog_set_locked(struct devprog *d, int fd, const struct device_policy *policy);
int devprog_get_locked(
	struct devprog *d, int fd, const struct devprog_attached *have, struct device_policy *ret);

bool devprog_has(const struct devprog_attached *have, uint32_t id);
struct class *class_by_id(struct devprog *d, uint32_t id);

/* ---- devprog-storage.c: kind STORAGE */

/* 1 and *ret, or 0. */
int storage_get(const struct class *c, uint64_t cgroup, struct device_policy *ret);
int storage_set(struct devprog *d, int fd, uint64_t cgroup, const struct device_policy *policy);
/* For what is attached by a link that somebody else holds: it has no opinion any more. Tasks that
 * are being judged may have got the list of programs before ours was in it; they are waited for.
 * -EBUSY: that cannot be done. */
int storage_silence(int map_fd, size_t size, uint64_t cgroup);
/* Detaches all of ours but one. */
int storage_drop_all(struct devprog *d, int fd, uint64_t cgroup,
	const struct devprog_attached *have, const struct class *but);

/* ---- devprog-load.c */

/* As many classes as the kernel takes; 0: not even the smallest. -errno: of that. */
int classes_load(struct devprog *d);
void classes_done(struct devprog *d);
/* The smallest that a policy of this size fits into; NULL: none. */
struct class *class_for(struct devprog *d, size_t size);
/* A program with a policy of its own, which has the size of a class. */
int program_load(const struct device_policy *policy, int *ret_prog_fd, uint32_t *ret_id);

/* ---- devprog-pin.c */

/* Makes BPFFS/cgmd, and takes from there what is the same as was loaded, or pins it there. What
 * speaks against pins goes to the log. */
int pins_open(struct devprog *d, const char *bpffs);
void pins_done(struct devprog *d);
/* Attaches: by a link, which is in *ret_link then and is to be pinned; else directly. */
int pin_attach(struct devprog *d, int fd, int prog_fd, int *ret_link);
/* Takes the link. What was attached by a pin of this name before is detached. On failure so is what
 * the link attaches. */
int pin_keep(struct devprog *d, int fd, uint64_t cgroup, size_t size, int prog_fd, int link);
/* An fd of the link. -ENOENT: none. */
int pin_open(const struct devprog *d, uint64_t cgroup, size_t size);
/* Detaches the program by its pin, which goes, and wherever it is attached directly. `prog_fd` < 0:
 * by its pin alone. -ENOENT: it is attached by a link that somebody else holds. */
int pin_detach(
	struct devprog *d, int fd, uint64_t cgroup, size_t size, uint32_t prog_id, int prog_fd);

/* ---- devprog-made.c: the programs of kind PROGRAMS */
struct made *made_find(struct devprog *d, uint32_t id);
int made_set(struct devprog *d, int fd, uint64_t cgroup, const struct device_policy *policy);
int made_drop_all(struct devprog *d, int fd, uint64_t cgroup, const struct devprog_attached *have,
	const struct made *but);
/* Those that nobody saw for long. */
void made_expire(struct devprog *d);
void made_done(struct devprog *d);

/* ---- */

/* The number by which the kernel names a cgroup: its inode's (5.5). */
int cgroup_number(int fd, uint64_t *ret);
int device_policy_copy(const void *data, size_t size, struct device_policy *ret);
