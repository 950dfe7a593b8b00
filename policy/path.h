/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths of cgroups as clients write them, and names of new cgroups.
 *
 * A path is text until path_parse() has folded and judged it; everything later works on whole
 * components, so that /a/bc is never taken for a child of /a/b. Nothing here looks at a file
 * system.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reason.h"

/* The kernel cuts /proc/PID/cgroup at this length; longer paths cannot be told apart. */
#define PATH_TEXT_MAX 4095
/* NAME_MAX. v1 accepts longer names, openat2(2) does not. */
#define PATH_NAME_MAX 255
/* How many components one path in a message may have. */
#define PATH_COMPONENTS_MAX 64

/* See daemon/leaf.h. */
#define LEAF_NAME ".cgm_leaf"

struct path {
	bool absolute;		      /* the text began with '/' */
	unsigned n;		      /* components; 0 for "", "/", "." */
	size_t len;		      /* strlen(text) */
	char text[PATH_TEXT_MAX + 1]; /* components joined by one '/', no '/' at either end */
};

/* Bytes of the control character that `text` starts with: 1 for C0 and DEL, 2 for C1 in UTF-8
 * (U+009B starts a terminal's escape sequence as ESC [ does), 0 if it is none. */
size_t path_control(const char *text);

/*
 * Folds "//", "./" and a trailing "/", and refuses: a ".." component (PATH_DOTDOT), control
 * characters and DEL (PATH_CONTROL), a component over PATH_NAME_MAX (NAME_LENGTH), a text over
 * PATH_TEXT_MAX (PATH_LENGTH), more than PATH_COMPONENTS_MAX components (PATH_DEPTH).
 * `a..b` and `...` are fine names. `ret` is only valid on REASON_OK.
 */
enum reason path_parse(const char *text, struct path *ret);

/*
 * May a new cgroup have this name (one component, already through path_parse)? Refuses
 * (NAME_RESERVED) what the kernel names files in cgroup directories: "tasks", "notify_on_release",
 * "release_agent", "cgroup.*", "CONTROLLER.*" for every controller the kernel knows (a directory of
 * that name makes enabling the controller fail later), and our own prefix ".cgm_".
 */
enum reason path_name_check(const char *name, size_t len);

/*
 * Both absolute, normalised ("/" or "/a/b"). True if `path` is `ancestor` or lies below it, by
 * components. The remainder without its leading '/' ("" if equal) goes to *ret_rest if not NULL;
 * it points into `path`.
 */
bool path_is_within(const char *path, const char *ancestor, const char **ret_rest);

/* The length of the longest common ancestor of two absolute, normalised paths; "/a/b" and "/a/bc"
 * give 2 ("/a"); 1 means "/". */
size_t path_common(const char *a, const char *b);

/* Components of an absolute, normalised path: 0 for "/". */
unsigned path_depth(const char *path);

/* The length of the prefix of an absolute, normalised path that has `depth` components: 1 for 0. */
size_t path_prefix(const char *path, unsigned depth);
/* The other way round: how many components the first `len` bytes have. */
unsigned path_prefix_depth(const char *path, size_t len);
