/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command: one invocation from its words to its exit status. */
#pragma once

/* Of `device explain`, which never ends with EXIT_FAILURE: that it failed must not look like an
 * answer. */
#define EXIT_DENIED 1
#define EXIT_UNKNOWN 3
/* The words make no sense; and any failure of `device explain`. */
#define EXIT_TROUBLE 2

/* Prints to stdout and stderr. EXIT_SUCCESS, EXIT_FAILURE or one of these, all but EXIT_DENIED and
 * EXIT_UNKNOWN with a message on stderr. */
int cgm_run(int argc, char *const *argv);
