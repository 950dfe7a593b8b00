/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command: one invocation from its words to its exit status. */
#pragma once

/* The command line makes no sense. */
#define EXIT_TROUBLE 2

/* Prints to stdout and stderr. EXIT_SUCCESS, or one of EXIT_FAILURE and EXIT_TROUBLE with a message
 * on stderr. */
int cgm_run(int argc, char *const *argv);
