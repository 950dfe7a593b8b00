/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cgroup directories and files by directory fd. Every open is an openat2(2) that stays beneath its
 * directory, follows no link of any kind and crosses no mount. Nothing here judges.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../policy/decide.h"
#include "../policy/path.h"

/* Opens a directory (O_RDONLY | O_DIRECTORY) beneath `dirfd`; "" is `dirfd` itself, anew. */
int cgroup_open(int dirfd, const char *path);
/* As above for `len` bytes of an absolute path of a hierarchy ("/" or "/a/b"), beneath its root. */
int cgroup_open_path(int root_fd, const char *path, size_t len);
/* One regular file of a cgroup. `flags` O_RDONLY or O_WRONLY. -EISDIR: it is not a regular file.
 * `ret` (may be NULL) gets its fstat. */
int cgroup_open_file(int dirfd, const char *name, int flags, struct node *ret);

int cgroup_stat(int dirfd, struct node *ret);
/* The parent of the very cgroup that `dirfd` is. 0: it has none in this hierarchy, else 1. */
int cgroup_stat_parent(int dirfd, uint64_t dev, struct node *ret);
/* An ancestor by path, checked to lie in the same file system. */
int cgroup_stat_path(int root_fd, uint64_t dev, const char *path, size_t len, struct node *ret);

/* The whole text of an open file, NUL-terminated; the caller frees. -EFBIG: over `max` bytes. */
int cgroup_read(int fd, size_t max, char **ret, size_t *ret_len);
/* The whole text of a small file into `buf`, NUL-terminated, newlines at the end stripped. */
ssize_t cgroup_read_small(int dirfd, const char *name, char *buf, size_t size);
/* One write(2), the way the kernel's parsers want it. */
int cgroup_write(int dirfd, const char *name, const char *text, size_t len);
int cgroup_write_fd(int fd, const char *text, size_t len);

/* Takes back what was made, unless the name is another cgroup's by now. Errors are ignored. */
void cgroup_remove_same(int dirfd, const char *name, uint64_t id);

/* The entries of a directory, one call of `fn` each until it returns non-zero (which is returned).
 */
int cgroup_each(int dirfd, bool directories, int (*fn)(void *userdata, int dirfd, const char *name),
	void *userdata);

/* The pids in a text of one number a line, appended. */
int pids_append(const char *text, int32_t **pids, size_t *n, size_t max);
void pids_sort_unique(int32_t *pids, size_t *n);
/* Of sorted ones. */
bool pids_have(const int32_t *pids, size_t n, int32_t pid);
