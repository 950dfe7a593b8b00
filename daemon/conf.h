/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The policy file, from the disk. It counts for what root alone can have written: the file and each
 * directory on the way to it belong to root and nobody else may write them (a directory as /tmp,
 * where nobody can rename what is root's, does too), and nothing on the way is a symlink.
 */
#pragma once

#include "../policy/grant.h"

#define CONF_PATH "/etc/cgmd/policy.conf"
#define CONF_SIZE_MAX (1 << 20)

/*
 * *grants, initialised, becomes what the file says; with no such file, nothing is granted. A file
 * that does not count, or says what cannot be understood: a negative errno, *grants as it was, and
 * one line in the log, with the number of the file's line.
 */
int conf_load(const char *path, struct grants *grants);
